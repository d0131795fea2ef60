/* test_handshake.c - nodes with a key of the ring get together; nobody else does, whatever he has heard. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "server/cluster/handshake.h"

struct side {
    struct handshake_self self;
    struct handshake handshake;
};

static struct side side_of(char name, const char *cluster)
{
    struct side s = {.self.secrets = secrets_new()};

    assert_non_null(s.self.secrets);
    secrets_derive(s.self.secrets, cluster);
    memset(s.self.id.bytes, name, sizeof s.self.id.bytes);
    memcpy(s.self.cluster, "our own cluster!", sizeof s.self.cluster);
    return s;
}

/* What one has written, as the other finds it. */
struct frame {
    uint8_t bytes[PEER_GREETING_MAX], *end;
    struct peer_header header;
    struct slice body;
};

static void deliver(struct frame *f)
{
    assert_int_equal(peer_cut(f->bytes, (size_t)(f->end - f->bytes), &f->header, &f->body), PEER_FRAME);
}

static void say_hello(struct side *asker, const struct side *to, struct frame *hello)
{
    asker->handshake.other = to->self.id;
    hello->end = hello->bytes;
    handshake_begin(&asker->handshake, &asker->self, &hello->end);
    deliver(hello);
}

static enum handshake_fault greet(struct side *answerer, const struct frame *hello, struct frame *challenge)
{
    enum handshake_fault fault;

    challenge->end = challenge->bytes;
    fault = handshake_greeted(&answerer->handshake, &answerer->self, &hello->header, hello->body,
                              &challenge->end);
    if (fault == HANDSHAKE_OK)
        deliver(challenge);
    return fault;
}

static enum handshake_fault challenge(struct side *asker, const struct frame *challenge, struct frame *proof)
{
    enum handshake_fault fault;

    proof->end = proof->bytes;
    fault = handshake_challenged(&asker->handshake, &asker->self, &challenge->header, challenge->body,
                                 &proof->end);
    if (fault == HANDSHAKE_OK)
        deliver(proof);
    return fault;
}

static enum handshake_fault prove(struct side *answerer, const struct frame *proof)
{
    return handshake_proven(&answerer->handshake, &answerer->self, &proof->header, proof->body);
}

static void two_of_a_cluster_get_together(void **state)
{
    struct side a = side_of('a', "ours"), b = side_of('b', "ours");
    struct frame f[3];

    (void)state;
    say_hello(&a, &b, &f[0]);
    assert_int_equal(greet(&b, &f[0], &f[1]), HANDSHAKE_OK);
    assert_int_equal(challenge(&a, &f[1], &f[2]), HANDSHAKE_OK);
    assert_int_equal(prove(&b, &f[2]), HANDSHAKE_OK);
    assert_memory_equal(&b.handshake.other, &a.self.id, sizeof a.self.id);
    secrets_free(&a.self.secrets);
    secrets_free(&b.self.secrets);
}

static void another_key_is_found_out(void **state)
{
    struct side a = side_of('a', "ours"), b = side_of('b', "theirs");
    struct frame f[3];

    (void)state;
    say_hello(&a, &b, &f[0]);
    assert_int_equal(greet(&b, &f[0], &f[1]), HANDSHAKE_OK); /* it has shown nothing yet */
    assert_int_equal(challenge(&a, &f[1], &f[2]), HANDSHAKE_KEY);
    secrets_free(&a.self.secrets);
    secrets_free(&b.self.secrets);
}

static void who_and_where_must_be_right(void **state)
{
    struct side a = side_of('a', "ours"), b = side_of('b', "ours"), c = side_of('c', "ours");
    struct frame f[3];

    (void)state;
    say_hello(&a, &c, &f[0]); /* c was expected, and b is there */
    assert_int_equal(greet(&b, &f[0], &f[1]), HANDSHAKE_OK);
    assert_int_equal(challenge(&a, &f[1], &f[2]), HANDSHAKE_NODE);
    say_hello(&a, &a, &f[0]);
    assert_int_equal(greet(&a, &f[0], &f[1]), HANDSHAKE_NODE);
    say_hello(&a, &b, &f[0]);
    memset(b.self.cluster, 'x', sizeof b.self.cluster);
    assert_int_equal(greet(&b, &f[0], &f[1]), HANDSHAKE_CLUSTER);
    secrets_free(&a.self.secrets);
    secrets_free(&b.self.secrets);
    secrets_free(&c.self.secrets);
}

static void another_version_is_refused(void **state)
{
    struct side a = side_of('a', "ours"), b = side_of('b', "ours");
    struct frame f[3];

    (void)state;
    say_hello(&a, &b, &f[0]);
    f[0].bytes[PEER_HEADER]++;
    assert_int_equal(greet(&b, &f[0], &f[1]), HANDSHAKE_VERSION);
    f[0].bytes[PEER_HEADER]--;
    assert_int_equal(greet(&b, &f[0], &f[1]), HANDSHAKE_OK);
    f[1].bytes[PEER_HEADER]++;
    assert_int_equal(challenge(&a, &f[1], &f[2]), HANDSHAKE_VERSION);
    secrets_free(&a.self.secrets);
    secrets_free(&b.self.secrets);
}

static void any_changed_bit_is_found_out(void **state)
{
    struct side a = side_of('a', "ours"), b = side_of('b', "ours");
    struct frame f[3];

    (void)state;
    say_hello(&a, &b, &f[0]);
    assert_int_equal(greet(&b, &f[0], &f[1]), HANDSHAKE_OK);
    for (size_t i = PEER_HEADER; i < PEER_HEADER + PEER_CHALLENGE_BYTES; i++) {
        f[1].bytes[i] ^= 4;
        assert_int_not_equal(challenge(&a, &f[1], &f[2]), HANDSHAKE_OK);
        f[1].bytes[i] ^= 4;
    }
    assert_int_equal(challenge(&a, &f[1], &f[2]), HANDSHAKE_OK);
    for (size_t i = PEER_HEADER; i < PEER_HEADER + PEER_PROOF_BODY_BYTES; i++) {
        f[2].bytes[i] ^= 4;
        assert_int_not_equal(prove(&b, &f[2]), HANDSHAKE_OK);
        f[2].bytes[i] ^= 4;
    }
    assert_int_equal(prove(&b, &f[2]), HANDSHAKE_OK);
    secrets_free(&a.self.secrets);
    secrets_free(&b.self.secrets);
}

static void what_was_heard_cannot_be_said_again(void **state)
{
    struct side a = side_of('a', "ours"), b = side_of('b', "ours"), again = side_of('b', "ours");
    struct frame f[3], other;
    struct peer_challenge heard;
    struct peer_proof mirrored;

    (void)state;
    say_hello(&a, &b, &f[0]);
    assert_int_equal(greet(&b, &f[0], &f[1]), HANDSHAKE_OK);
    assert_int_equal(challenge(&a, &f[1], &f[2]), HANDSHAKE_OK);
    /* the asker's words, to a new handshake of the answerer */
    assert_int_equal(greet(&again, &f[0], &other), HANDSHAKE_OK);
    assert_int_equal(prove(&again, &f[2]), HANDSHAKE_PROOF);
    /* the answerer's, to a new one of the asker */
    say_hello(&a, &b, &f[0]);
    assert_int_equal(challenge(&a, &f[1], &other), HANDSHAKE_PROOF);
    /* the answerer's own proof, sent back to it */
    assert_true(peer_challenge_decode(f[1].body, &heard));
    mirrored.key = heard.key;
    memcpy(mirrored.proof, heard.proof, sizeof mirrored.proof);
    other.end = peer_put_proof(other.bytes, &mirrored);
    deliver(&other);
    assert_int_equal(prove(&b, &other), HANDSHAKE_PROOF);
    secrets_free(&a.self.secrets);
    secrets_free(&b.self.secrets);
    secrets_free(&again.self.secrets);
}

static void words_out_of_turn_are_refused(void **state)
{
    struct side a = side_of('a', "ours"), b = side_of('b', "ours");
    struct frame f[3];

    (void)state;
    say_hello(&a, &b, &f[0]);
    assert_int_equal(prove(&b, &f[0]), HANDSHAKE_NO_FRAME);
    assert_int_equal(challenge(&a, &f[0], &f[2]), HANDSHAKE_NO_FRAME);
    assert_int_equal(greet(&b, &f[0], &f[1]), HANDSHAKE_OK);
    assert_int_equal(greet(&b, &f[1], &f[2]), HANDSHAKE_NO_FRAME);
    secrets_free(&a.self.secrets);
    secrets_free(&b.self.secrets);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_of_a_cluster_get_together),
        cmocka_unit_test(another_key_is_found_out),
        cmocka_unit_test(who_and_where_must_be_right),
        cmocka_unit_test(another_version_is_refused),
        cmocka_unit_test(any_changed_bit_is_found_out),
        cmocka_unit_test(what_was_heard_cannot_be_said_again),
        cmocka_unit_test(words_out_of_turn_are_refused),
    };

    return sodium_init() < 0 || cmocka_run_group_tests(tests, NULL, NULL);
}
