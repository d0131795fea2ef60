/* test_frame.c - frames open for whom they are meant, once, and for nobody else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cluster/frame.h"

enum { ROOM = 256 };

static struct cluster_identity ours = {.id = "our own cluster", .generation = 1};

static struct node_id id_of(uint8_t byte)
{
    struct node_id id;

    memset(id.bytes, byte, sizeof id.bytes);
    return id;
}

static struct keyring *ring_of(uint8_t byte)
{
    struct keyring *ring = keyring_new();
    uint8_t key[KEY_BYTES];
    uint32_t id;

    assert_non_null(ring);
    memset(key, byte, sizeof key);
    assert_int_equal(keyring_install(ring, key, &id), KEYRING_DONE);
    return ring;
}

static struct frames *node_of(const struct keyring *ring, uint8_t id)
{
    struct node_id self = id_of(id);
    struct frames *f = frames_new(ring, &ours, &self, 1000, 64);

    assert_non_null(f);
    return f;
}

static enum frame_verdict open_by(struct frames *f, const uint8_t *frame, size_t len)
{
    uint8_t out[ROOM];
    struct node_id sender;
    size_t got;

    return frame_open(f, (struct slice){frame, len}, out, &got, &sender);
}

static void what_is_sealed_opens(void **state)
{
    struct keyring *ring = ring_of(1);
    struct frames *a = node_of(ring, 1), *b = node_of(ring, 2);
    struct node_id sender, self = id_of(1);
    uint8_t frame[ROOM], out[ROOM];
    size_t len = frame_seal(a, slice_of("hello"), frame), got;

    (void)state;
    assert_int_equal(len, 5 + FRAME_OVERHEAD);
    assert_int_equal(frame_open(b, (struct slice){frame, len}, out, &got, &sender), FRAME_GOOD);
    assert_int_equal(got, 5);
    assert_memory_equal(out, "hello", 5);
    assert_true(node_id_equals(&sender, &self));
    assert_int_equal(open_by(b, frame, len), FRAME_REPLAYED);
    assert_int_equal(open_by(a, frame, len), FRAME_OURS);
    len = frame_seal(a, slice_of(""), frame);
    assert_int_equal(open_by(b, frame, len), FRAME_GOOD);
    frames_free(&a);
    frames_free(&b);
    keyring_free(&ring);
}

static void a_changed_bit_is_noticed(void **state)
{
    struct keyring *ring = ring_of(1);
    struct frames *a = node_of(ring, 1), *b = node_of(ring, 2);
    uint8_t frame[ROOM];
    size_t len = frame_seal(a, slice_of("hello"), frame);

    (void)state;
    for (size_t bit = 0; bit < len * 8; bit++) {
        frame[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_not_equal(open_by(b, frame, len), FRAME_GOOD);
        frame[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t cut = 0; cut < len; cut++)
        assert_int_equal(open_by(b, frame, cut), cut < FRAME_OVERHEAD ? FRAME_SHORT : FRAME_FORGED);
    assert_int_equal(open_by(b, frame, len), FRAME_GOOD);
    frames_free(&a);
    frames_free(&b);
    keyring_free(&ring);
}

static void clusters_do_not_mix(void **state)
{
    struct keyring *ring = ring_of(1), *other_ring = ring_of(2);
    struct cluster_identity other = ours, newer = ours;
    struct node_id self = id_of(2);
    struct frames *a = node_of(ring, 1), *keyless = node_of(other_ring, 2), *stranger, *later;
    uint8_t frame[ROOM];
    size_t len = frame_seal(a, slice_of("hello"), frame);

    (void)state;
    other.id[0] ^= 1;
    newer.generation++;
    stranger = frames_new(ring, &other, &self, 1, 64);
    later = frames_new(ring, &newer, &self, 1, 64);
    assert_int_equal(open_by(keyless, frame, len), FRAME_UNKNOWN_KEY);
    assert_int_equal(open_by(stranger, frame, len), FRAME_FORGED);
    assert_int_equal(open_by(later, frame, len), FRAME_FORGED);
    frame[0]++;
    assert_int_equal(open_by(stranger, frame, len), FRAME_OTHER_VERSION);
    frames_free(&a);
    frames_free(&keyless);
    frames_free(&stranger);
    frames_free(&later);
    keyring_free(&ring);
    keyring_free(&other_ring);
}

static void the_window_forgives_what_was_overtaken(void **state)
{
    enum { MANY = 200 };
    static uint8_t frames[MANY][ROOM];
    struct keyring *ring = ring_of(1);
    struct frames *a = node_of(ring, 1), *b = node_of(ring, 2);
    size_t len = 0;

    (void)state;
    for (int i = 0; i < MANY; i++)
        len = frame_seal(a, slice_of("x"), frames[i]);
    assert_int_equal(open_by(b, frames[100], len), FRAME_GOOD);
    assert_int_equal(open_by(b, frames[100 - FRAME_WINDOW + 1], len), FRAME_GOOD);
    assert_int_equal(open_by(b, frames[100 - FRAME_WINDOW], len), FRAME_REPLAYED);
    for (int i = 99; i > 100 - FRAME_WINDOW + 1; i--)
        assert_int_equal(open_by(b, frames[i], len), FRAME_GOOD);
    for (int i = 0; i <= 100; i++)
        assert_int_equal(open_by(b, frames[i], len), FRAME_REPLAYED);
    assert_int_equal(open_by(b, frames[199], len), FRAME_GOOD);
    assert_int_equal(open_by(b, frames[136], len), FRAME_GOOD);
    assert_int_equal(open_by(b, frames[100], len), FRAME_REPLAYED);
    frames_free(&a);
    frames_free(&b);
    keyring_free(&ring);
}

static void more_senders_than_places(void **state)
{
    struct keyring *ring = ring_of(1);
    struct frames *b = node_of(ring, 255);
    uint8_t frame[ROOM];

    (void)state;
    for (uint8_t i = 1; i < 250; i++) {
        struct frames *a = node_of(ring, i);
        size_t len = frame_seal(a, slice_of("x"), frame);
        assert_int_equal(open_by(b, frame, len), FRAME_GOOD);
        assert_int_equal(open_by(b, frame, len), FRAME_REPLAYED);
        frames_free(&a);
    }
    frames_free(&b);
    keyring_free(&ring);
}

static void streams_are_in_order_and_belong_to_one_challenge(void **state)
{
    struct keyring *ring = ring_of(1);
    struct frames *a = node_of(ring, 1), *b = node_of(ring, 2);
    struct frame_stream open_end = {.opener = true}, end = {0}, other = {0};
    uint8_t first[ROOM], second[ROOM], back[ROOM], out[ROOM];
    struct node_id sender;
    size_t len, got;

    (void)state;
    frame_challenge(end.challenge);
    frame_challenge(other.challenge);
    memcpy(open_end.challenge, end.challenge, CHALLENGE_BYTES);
    len = frame_seal_on(a, &open_end, slice_of("1"), first);
    frame_seal_on(a, &open_end, slice_of("2"), second);
    frame_seal_on(b, &end, slice_of("3"), back);
#define OPEN(who, on, what) frame_open_on(who, on, (struct slice){what, len}, out, &got, &sender)
    assert_int_equal(OPEN(b, &other, first), FRAME_FORGED);
    assert_int_equal(open_by(b, first, len), FRAME_FORGED); /* not a datagram */
    assert_int_equal(OPEN(b, &end, second), FRAME_FORGED);
    assert_int_equal(OPEN(b, &end, first), FRAME_GOOD);
    assert_int_equal(OPEN(b, &end, first), FRAME_FORGED);
    assert_int_equal(OPEN(b, &end, second), FRAME_GOOD);
    assert_int_equal(out[0], '2');
    assert_int_equal(OPEN(a, &end, back), FRAME_FORGED); /* its own direction */
    assert_int_equal(OPEN(a, &open_end, back), FRAME_GOOD);
#undef OPEN
    frames_free(&a);
    frames_free(&b);
    keyring_free(&ring);
}

static void keys_rotate_without_a_gap(void **state)
{
    struct keyring *ra = ring_of(1), *rb = ring_of(1);
    struct frames *a = node_of(ra, 1), *b = node_of(rb, 2);
    uint8_t key[KEY_BYTES] = {9}, again[KEY_BYTES], frame[ROOM];
    uint32_t ids[KEYS_MAX], fresh, unused;
    char text[KEY_TEXT_MAX];
    size_t len;

    (void)state;
#define HEARD(from, to)                                                                                      \
    do {                                                                                                     \
        len = frame_seal(from, slice_of("x"), frame);                                                        \
        assert_int_equal(open_by(to, frame, len), FRAME_GOOD);                                               \
    } while (0)
    assert_int_equal(keyring_install(ra, key, &fresh), KEYRING_DONE);
    assert_int_equal(keyring_install(ra, key, &unused), KEYRING_DONE);
    assert_int_equal(keyring_list(ra, ids), 2);
    HEARD(a, b);
    assert_int_equal(keyring_install(rb, key, &fresh), KEYRING_DONE);
    assert_int_equal(keyring_use(ra, fresh), KEYRING_DONE);
    HEARD(a, b);
    HEARD(b, a);
    assert_int_equal(keyring_use(rb, fresh), KEYRING_DONE);
    assert_int_equal(keyring_remove(ra, fresh), KEYRING_IN_USE);
    assert_int_equal(keyring_list(ra, ids), 2);
    assert_int_equal(ids[0], fresh);
    assert_int_equal(keyring_remove(ra, ids[1]), KEYRING_DONE);
    assert_int_equal(keyring_remove(ra, ids[1]), KEYRING_UNKNOWN);
    assert_int_equal(keyring_use(ra, ids[1]), KEYRING_UNKNOWN);
    HEARD(a, b);
    HEARD(b, a);
    for (uint8_t i = 0; keyring_list(ra, ids) < KEYS_MAX; i++) {
        key[1] = i + 1;
        assert_int_equal(keyring_install(ra, key, &unused), KEYRING_DONE);
    }
    key[2] = 1;
    assert_int_equal(keyring_install(ra, key, &unused), KEYRING_FULL);
    key_make(key);
    key_print(key, text);
    assert_true(key_parse(text, again));
    assert_memory_equal(key, again, KEY_BYTES);
    assert_false(key_parse("", again));
    assert_false(key_parse("AAAA", again));
    text[0] = '!';
    assert_false(key_parse(text, again));
    frames_free(&a);
    frames_free(&b);
    keyring_free(&ra);
    keyring_free(&rb);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_sealed_opens),
        cmocka_unit_test(a_changed_bit_is_noticed),
        cmocka_unit_test(clusters_do_not_mix),
        cmocka_unit_test(the_window_forgives_what_was_overtaken),
        cmocka_unit_test(more_senders_than_places),
        cmocka_unit_test(streams_are_in_order_and_belong_to_one_challenge),
        cmocka_unit_test(keys_rotate_without_a_gap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
