/* test_peer.c - frames of data links: each has one encoding, and nothing else decodes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "protocol/peer.h"

enum { ROOM = 4096, WORDS = 8 };

static const struct peer_header asking = {.kind = PEER_REQUEST,
                                          .dialect = PEER_TEXT,
                                          .db = 3,
                                          .flags = 2 | PEER_NO_TOUCH,
                                          .id = 7,
                                          .time_ms = 900,
                                          .epoch = 1ull << 40};

static size_t put_frame(uint8_t *to, const struct peer_header *h, const struct request *rq)
{
    return (size_t)(peer_put_request(peer_put_header(to, h, peer_request_size(rq)), rq, 1ull << 50 | 5) - to);
}

static struct request a_set(struct slice *words)
{
    words[0] = slice_of("set");
    words[1] = slice_of("key");
    words[2] = slice_of("");
    return (struct request){.argv = words, .argc = 3, .argv_max = WORDS, .data = slice_of("value")};
}

static void requests_arrive_as_they_were_sent(void **state)
{
    uint8_t frame[ROOM];
    struct slice words[WORDS], back[WORDS], body;
    struct request rq = a_set(words), got = {.argv = back, .argv_max = WORDS};
    size_t len = put_frame(frame, &asking, &rq);
    struct peer_header h;
    uint64_t asker;

    (void)state;
    assert_int_equal(peer_cut(frame, len, &h, &body), PEER_FRAME);
    assert_int_equal(h.kind, PEER_REQUEST);
    assert_int_equal(h.dialect, PEER_TEXT);
    assert_int_equal(h.db, 3);
    assert_int_equal(h.flags, 2 | PEER_NO_TOUCH);
    assert_int_equal(h.id, 7);
    assert_int_equal(h.time_ms, 900);
    assert_true(h.epoch == 1ull << 40);
    assert_int_equal(peer_request_decode(body, &got, &asker), PARSE_DONE);
    assert_true(asker == (1ull << 50 | 5));
    assert_int_equal(got.argc, 3);
    for (unsigned i = 0; i < 3; i++)
        assert_true(slice_equals(got.argv[i], words[i]));
    assert_true(slice_equals(got.data, slice_of("value")));
    assert_true(got.argv[1].data >= frame && got.argv[1].data < frame + len); /* not copied */
}

static void a_piece_of_a_frame_is_waited_for(void **state)
{
    uint8_t frame[ROOM];
    struct slice words[WORDS], body;
    struct request rq = a_set(words);
    size_t len = put_frame(frame, &asking, &rq);
    struct peer_header h;

    (void)state;
    for (size_t n = 0; n < len; n++) {
        assert_int_equal(peer_cut(frame, n, &h, &body), PEER_MORE);
        assert_int_equal(h.length, n < PEER_HEADER ? 0 : len - PEER_LENGTH);
    }
}

static void lengths_that_lie_are_found_out(void **state)
{
    uint8_t frame[ROOM];
    struct slice words[WORDS], back[WORDS];
    struct request rq = a_set(words), got;
    size_t size = peer_request_size(&rq);
    uint64_t asker;

    (void)state;
    peer_put_request(frame, &rq, 1);
    for (size_t n = 0; n < size; n++) { /* of its body */
        got = (struct request){.argv = back, .argv_max = WORDS};
        assert_int_equal(peer_request_decode((struct slice){frame, n}, &got, &asker), PARSE_BROKEN);
    }
    for (unsigned at = 8; at < PEER_REQUEST_HEAD + 12; at++) { /* any of the lengths, one bit off */
        uint8_t was = frame[at];

        frame[at] ^= 1;
        got = (struct request){.argv = back, .argv_max = WORDS};
        assert_int_not_equal(peer_request_decode((struct slice){frame, size}, &got, &asker), PARSE_DONE);
        frame[at] = was;
    }
    got = (struct request){.argv = back, .argv_max = 2};
    assert_int_equal(peer_request_decode((struct slice){frame, size}, &got, &asker), PARSE_ARGV_FULL);
    assert_int_equal(got.argc, 3);
}

static bool is_a_frame(struct peer_header h, size_t body)
{
    uint8_t head[PEER_HEADER];

    peer_put_header(head, &h, body);
    return peer_header_decode(head, &h);
}

static void what_a_kind_does_not_use_is_zero(void **state)
{
    struct peer_header h = asking;

    (void)state;
    assert_true(is_a_frame(h, 100));
    h.dialect = PEER_BINARY + 1;
    assert_false(is_a_frame(h, 100));
    h = asking;
    h.flags = PEER_FLAGS + 1;
    assert_false(is_a_frame(h, 100));
    assert_false(is_a_frame(asking, 4));
    assert_false(is_a_frame(asking, PEER_BODY_MAX + 1));
    h = (struct peer_header){.kind = PEER_ANSWER, .id = 1, .epoch = 1};
    assert_true(is_a_frame(h, 1));
    assert_false(is_a_frame(h, 0));
    h.flags = 1;
    assert_false(is_a_frame(h, 1));
    h = (struct peer_header){.kind = PEER_ANSWER, .id = 1, .time_ms = 1};
    assert_false(is_a_frame(h, 1));
    h = (struct peer_header){.kind = PEER_PARKED, .id = 1, .time_ms = 1};
    assert_true(is_a_frame(h, 0));
    assert_false(is_a_frame(h, 1));
    h = (struct peer_header){.kind = PEER_HELLO};
    assert_true(is_a_frame(h, PEER_HELLO_BYTES));
    assert_false(is_a_frame(h, PEER_HELLO_BYTES + 1));
    h.id = 1;
    assert_false(is_a_frame(h, PEER_HELLO_BYTES));
    for (unsigned kind = 0; kind < 256; kind++) {
        h = (struct peer_header){.kind = (uint8_t)kind};
        if (kind == 0 || (kind > PEER_TRANSACTION && kind < PEER_TAKE) || kind > PEER_TAKEN)
            assert_false(is_a_frame(h, 100));
    }
}

static void parts_of_a_transaction_are_cut_whole(void **state)
{
    uint8_t body[] = {2, 0, 0, 0, 'a', 'b', 0, 0, 0, 0, 9, 0, 0, 0, 'c'};
    struct slice left = {body, sizeof body}, part;

    (void)state;
    assert_true(peer_next_part(&left, &part));
    assert_true(slice_equals(part, slice_of("ab")));
    assert_true(peer_next_part(&left, &part));
    assert_int_equal(part.len, 0);
    assert_false(peer_next_part(&left, &part));
    assert_int_equal(left.len, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_arrive_as_they_were_sent),
        cmocka_unit_test(a_piece_of_a_frame_is_waited_for),
        cmocka_unit_test(lengths_that_lie_are_found_out),
        cmocka_unit_test(what_a_kind_does_not_use_is_zero),
        cmocka_unit_test(parts_of_a_transaction_are_cut_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
