/* test_load_reply.c - every dialect's answers, however the stream is cut, and
 * the requests that ask for them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "bench/load_data.c"
#include "bench/load_reply.c"
#include "bench/load_request.c"

enum { KEYS = 1000, KEY_SIZE = 12, VALUE_SIZE = 5 };

static struct load_data *data;
static const uint32_t IDS[] = {7, 123, 999};
static const struct reply_asked GET = {false, 1, IDS};
static const struct reply_asked MANY = {false, 3, IDS};
static const struct reply_asked SET = {true, 1, IDS};

/* A stream under construction. %K stands for key 7, %A %B %C for the values of
 * keys 7, 123 and 999; the rest is as written. */
static char text[4096];
static size_t text_len;

static void put_text(const void *from, size_t len)
{
    assert_true(text_len + len <= sizeof text);
    memcpy(text + text_len, from, len);
    text_len += len;
}

static void write_stream(const char *pattern)
{
    uint8_t key[KEY_SIZE];

    text_len = 0;
    for (const char *at = pattern; *at != '\0'; at++) {
        if (*at != '%') {
            put_text(at, 1);
            continue;
        }
        at++;
        if (*at >= 'A' && *at <= 'C') {
            put_text(load_data_value(data, IDS[*at - 'A']), VALUE_SIZE);
        } else {
            assert_in_range(*at, 'K', 'M'); /* keys 7, 123, 999 */
            load_data_put_key(data, IDS[*at - 'K'], key);
            put_text(key, KEY_SIZE);
        }
    }
}

struct outcome {
    enum reply_status last;
    int replies;
    struct reply_tally tally;
    char complaint[COMPLAINT_MAX_BYTES];
};

/* Feeds the stream in pieces: up to `cut`, then `step` bytes at a time. Each
 * piece is copied to a buffer of its own, so that reading beyond it shows. */
static struct outcome feed(enum load_protocol protocol, const struct reply_asked *asked, size_t cut,
                           size_t step)
{
    struct reply_parser *p = reply_parser_new(protocol, data, true);
    struct outcome o = {.last = REPLY_MORE};
    size_t at = 0, len = cut;

    while (at < text_len && o.last != REPLY_BROKEN) {
        uint8_t *piece;
        struct slice in;

        if (len > text_len - at)
            len = text_len - at;
        piece = malloc(len > 0 ? len : 1);
        memcpy(piece, text + at, len);
        in = (struct slice){piece, len};
        do {
            o.last = reply_take(p, &in, asked, &o.tally);
            o.replies += o.last == REPLY_DONE;
        } while (o.last == REPLY_DONE && in.len > 0);
        free(piece);
        at += len;
        len = step;
    }
    strcpy(o.complaint, reply_complaint(p));
    reply_parser_free(&p);
    assert_null(p);
    return o;
}

/* The stream holds `replies` answers to `asked`; whole, cut in two at every
 * place and byte by byte it must count the same. */
static void expect(enum load_protocol protocol, const struct reply_asked *asked, const char *pattern,
                   int replies, struct reply_tally tally)
{
    write_stream(pattern);
    for (size_t cut = 1; cut <= text_len; cut++) {
        for (size_t step = 1; step <= text_len; step += text_len - 1) {
            struct outcome o = feed(protocol, asked, cut, step);

            assert_int_equal(o.last, REPLY_DONE);
            assert_int_equal(o.replies, replies);
            assert_memory_equal(&o.tally, &tally, sizeof tally);
        }
    }
}

static void expect_broken(enum load_protocol protocol, const struct reply_asked *asked, const char *pattern,
                          const char *complaint)
{
    write_stream(pattern);
    for (size_t cut = 1; cut <= text_len; cut++) {
        struct outcome o = feed(protocol, asked, cut, 1);

        assert_int_equal(o.last, REPLY_BROKEN);
        assert_string_equal(o.complaint, complaint);
    }
}

#define TALLY(...) ((struct reply_tally){__VA_ARGS__})

static void resp_answers(void **state)
{
    (void)state;
    expect(LOAD_RESP, &GET, "$5\r\n%A\r\n$-1\r\n$5\r\n%A\r\n_\r\n", 4, TALLY(.hits = 2, .misses = 2));
    expect(LOAD_RESP, &SET, "+OK\r\n+OK\r\n", 2, TALLY(.stored = 2));
    expect(LOAD_RESP, &MANY, "*3\r\n$5\r\n%A\r\n$-1\r\n$5\r\n%C\r\n*3\r\n$-1\r\n$5\r\n%B\r\n_\r\n", 2,
           TALLY(.hits = 3, .misses = 3));
    expect(LOAD_RESP, &SET, "-OOM no room\r\n+OK\r\n", 2, TALLY(.stored = 1, .errors = 1));
    expect(LOAD_RESP, &MANY, "-ERR no\r\n", 1, TALLY(.errors = 1));
}

static void memcache_answers(void **state)
{
    (void)state;
    expect(LOAD_MEMCACHE, &GET, "VALUE %K 0 5\r\n%A\r\nEND\r\nEND\r\n", 2, TALLY(.hits = 1, .misses = 1));
    expect(LOAD_MEMCACHE, &SET, "STORED\r\nSTORED\r\nNOT_STORED\r\nSERVER_ERROR out of memory\r\n", 4,
           TALLY(.stored = 2, .errors = 2));
    expect(LOAD_MEMCACHE, &MANY, "VALUE %K 0 5\r\n%A\r\nVALUE %M 7 5 12\r\n%C\r\nEND\r\nEND\r\n", 2,
           TALLY(.hits = 2, .misses = 4));
    expect(LOAD_MEMCACHE, &MANY, "VALUE %L 0 5\r\n%B\r\nSERVER_ERROR oops\r\nEND\r\n", 2,
           TALLY(.hits = 1, .misses = 3, .errors = 1));
}

static void meta_answers(void **state)
{
    (void)state;
    expect(LOAD_META, &GET, "VA 5\r\n%A\r\nEN\r\nVA 5 f3 t-1\r\n%A\r\n", 3, TALLY(.hits = 2, .misses = 1));
    expect(LOAD_META, &SET, "HD\r\nHD\r\nNS\r\nCLIENT_ERROR bad\r\n", 4, TALLY(.stored = 2, .errors = 2));
    expect(LOAD_META, &MANY, "VA 5 k%K\r\n%A\r\nVA 5 f0 k%M\r\n%C\r\nMN\r\nMN\r\n", 2,
           TALLY(.hits = 2, .misses = 4));
    expect(LOAD_META, &MANY, "VA 5 k%K\r\n%A\r\nCLIENT_ERROR bad\r\nMN\r\n", 1,
           TALLY(.hits = 1, .misses = 1, .errors = 1));
}

static void wrong_values_are_counted_and_passed(void **state)
{
    (void)state;
    expect(LOAD_RESP, &GET, "$5\r\n%B\r\n$5\r\n%A\r\n", 2, TALLY(.hits = 2, .corrupt = 1));
    expect(LOAD_RESP, &GET, "$3\r\nabc\r\n$0\r\n\r\n", 2, TALLY(.hits = 2, .corrupt = 2));
    expect(LOAD_RESP, &MANY, "*3\r\n$5\r\n%A\r\n$5\r\n%C\r\n$5\r\n%B\r\n", 1, TALLY(.hits = 3, .corrupt = 2));
    expect(LOAD_MEMCACHE, &MANY, "VALUE %K 0 5\r\n%B\r\nEND\r\n", 1,
           TALLY(.hits = 1, .misses = 2, .corrupt = 1));
    expect(LOAD_META, &GET, "VA 6\r\nabcdef\r\n", 1, TALLY(.hits = 1, .corrupt = 1));
}

static void strange_answers_end_the_connection(void **state)
{
    (void)state;
    expect_broken(LOAD_RESP, &GET, "+OK\r\n", "+OK");
    expect_broken(LOAD_RESP, &SET, "$5\r\n", "$5");
    expect_broken(LOAD_RESP, &GET, "$-2\r\n", "$-2");
    expect_broken(LOAD_RESP, &GET, "$\r\n", "$");
    expect_broken(LOAD_RESP, &MANY, "*2\r\n", "*2");
    expect_broken(LOAD_RESP, &MANY, "$5\r\n", "$5");
    expect_broken(LOAD_RESP, &MANY, "*3\r\n-ERR in the middle\r\n", "-ERR in the middle");
    expect_broken(LOAD_RESP, &GET, "\r\n", "");
    expect_broken(LOAD_RESP, &GET, "$5\n", "$5");
    expect_broken(LOAD_RESP, &GET, "$5\r\n%Axx", "a value is not followed by a line end");
    expect_broken(LOAD_MEMCACHE, &GET, "STORED\r\n", "STORED");
    expect_broken(LOAD_MEMCACHE, &GET, "VALUE %L 0 5\r\n", "VALUE key:00000123 0 5");
    expect_broken(LOAD_MEMCACHE, &MANY, "VALUE %L 0 5\r\n%B\r\nVALUE %K 0 5\r\n", "VALUE key:00000007 0 5");
    expect_broken(LOAD_MEMCACHE, &SET, "END\r\n", "END");
    expect_broken(LOAD_META, &GET, "HD\r\n", "HD");
    expect_broken(LOAD_META, &GET, "MN\r\n", "MN");
    expect_broken(LOAD_META, &MANY, "EN\r\n", "EN");
    expect_broken(LOAD_META, &MANY, "VA 5\r\n", "VA 5");
}

static void endless_lines_end_the_connection(void **state)
{
    (void)state;
    memset(text, 'x', sizeof text);
    text_len = sizeof text;
    for (size_t step = 1; step <= 1000; step += 333)
        assert_int_equal(feed(LOAD_RESP, &GET, step, step).last, REPLY_BROKEN);
}

static void keys_tell_their_number(void **state)
{
    uint8_t key[KEY_SIZE];
    uint32_t id;

    (void)state;
    for (uint32_t i = 0; i < KEYS; i++) {
        assert_ptr_equal(load_data_put_key(data, i, key), key + KEY_SIZE);
        assert_true(load_data_id_of(data, (struct slice){key, KEY_SIZE}, &id));
        assert_int_equal(id, i);
    }
    assert_false(load_data_id_of(data, slice_of("key:0000100"), &id));
    assert_false(load_data_id_of(data, slice_of("kex:00000007"), &id));
    assert_false(load_data_id_of(data, slice_of("key:00001000"), &id));
    assert_false(load_data_id_of(data, slice_of("key:0000000x"), &id));
    assert_true(load_data_key_fits(1000, 3));
    assert_false(load_data_key_fits(1001, 3));
    assert_false(load_data_key_fits(1, LOAD_KEY_SIZE_MAX + 1));
}

static void expect_requests(enum load_protocol protocol, uint32_t multiget, struct expiry_wish expiry,
                            const char *get, const char *set)
{
    struct request_form *f = request_form_new(protocol, data, multiget, expiry);
    uint8_t out[512];
    size_t len;

    write_stream(get);
    len = (size_t)(request_put_get(f, IDS, out) - out);
    assert_int_equal(len, request_get_size(f));
    assert_int_equal(len, text_len);
    assert_memory_equal(out, text, len);
    write_stream(set);
    len = (size_t)(request_put_set(f, IDS[0], out) - out);
    assert_int_equal(len, request_set_size(f));
    assert_int_equal(len, text_len);
    assert_memory_equal(out, text, len);
    request_form_free(&f);
    assert_null(f);
}

static void requests_are_what_the_dialects_want(void **state)
{
    struct expiry_wish never = {0}, soon = {.seconds = 60}, then = {.at = 1900000000};

    (void)state;
    expect_requests(LOAD_RESP, 1, never, "*2\r\n$3\r\nGET\r\n$12\r\n%K\r\n",
                    "*3\r\n$3\r\nSET\r\n$12\r\n%K\r\n$5\r\n%A\r\n");
    expect_requests(LOAD_RESP, 3, soon, "*4\r\n$4\r\nMGET\r\n$12\r\n%K\r\n$12\r\n%L\r\n$12\r\n%M\r\n",
                    "*5\r\n$3\r\nSET\r\n$12\r\n%K\r\n$5\r\n%A\r\n$2\r\nEX\r\n$2\r\n60\r\n");
    expect_requests(LOAD_RESP, 1, then, "*2\r\n$3\r\nGET\r\n$12\r\n%K\r\n",
                    "*5\r\n$3\r\nSET\r\n$12\r\n%K\r\n$5\r\n%A\r\n$4\r\nEXAT\r\n$10\r\n1900000000\r\n");
    expect_requests(LOAD_MEMCACHE, 1, never, "get %K\r\n", "set %K 0 0 5\r\n%A\r\n");
    expect_requests(LOAD_MEMCACHE, 3, soon, "get %K %L %M\r\n", "set %K 0 60 5\r\n%A\r\n");
    expect_requests(LOAD_META, 1, never, "mg %K v\r\n", "ms %K 5\r\n%A\r\n");
    expect_requests(LOAD_META, 3, then, "mg %K k v q\r\nmg %L k v q\r\nmg %M k v q\r\nmn\r\n",
                    "ms %K 5 T1900000000\r\n%A\r\n");
}

static int make_data(void **state)
{
    (void)state;
    data = load_data_new("key:", KEYS, KEY_SIZE, VALUE_SIZE);
    return data == NULL;
}

static int free_data(void **state)
{
    (void)state;
    load_data_free(&data);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resp_answers),
        cmocka_unit_test(memcache_answers),
        cmocka_unit_test(meta_answers),
        cmocka_unit_test(wrong_values_are_counted_and_passed),
        cmocka_unit_test(strange_answers_end_the_connection),
        cmocka_unit_test(endless_lines_end_the_connection),
        cmocka_unit_test(keys_tell_their_number),
        cmocka_unit_test(requests_are_what_the_dialects_want),
    };

    return cmocka_run_group_tests(tests, make_data, free_data);
}
