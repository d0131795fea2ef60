/* test_resp.c - RESP requests come out the same however they were cut; errors
 * and limits are those of redis-server 7.0.15, where each text was observed. */
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/unit/protocol/replay.h"

#define SPELLED(text) ((const uint8_t *)(text)), (sizeof(text) - 1)

static const struct replay usual = {.dialect = REPLAY_RESP};
static const struct replay stranger = {.dialect = REPLAY_RESP, .resp = {.stranger = true}};
static const struct replay tight = {.dialect = REPLAY_RESP, .resp = {.bulk_max = 20, .args_max = 12}};

static void expect(const struct replay *setup, const uint8_t *in, size_t len, const char *record)
{
    struct replay r = *setup;

    replay_run(&r, in, len, (struct cuts){0});
    assert_string_equal(r.text, record);
    free(r.text);
    replay_compare_all(setup, in, len);
}

static void long_words_are_refused_and_swallowed(void **state)
{
    static const struct replay thrifty = {.dialect = REPLAY_RESP, .resp = {.bulk_max = 40, .bulk_keep = 5}};

    (void)state;
    expect(&thrifty, SPELLED("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nhello\r\n"),
           "done 3:SET 1:k 5:hello\nleft 0\n");
    expect(&thrifty, SPELLED("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$6\r\nhello!\r\nPING\r\n"),
           "refused [too long]\nnothing 8\ndone 4:PING\nleft 0\n");
    /* Words behind it go the same way, however long they are, up to what is legal. */
    expect(
        &thrifty,
        SPELLED(
            "*4\r\n$3\r\nSET\r\n$8\r\n*1\r\n$1\r\n\r\n$2\r\nab\r\n$12\r\n0123456789ab\r\n*1\r\n$1\r\nx\r\n"),
        "refused [too long]\nnothing 37\ndone 1:x\nleft 0\n");
    expect(&thrifty, SPELLED("*2\r\n$6\r\nhello!\r\n$41\r\n"),
           "refused [too long]\nnothing 8\nbroken [Protocol error: invalid bulk length]\n");
    expect(&thrifty, SPELLED("*2\r\n$6\r\nhello!\r\nfoo\r\n"),
           "refused [too long]\nnothing 8\nbroken [Protocol error: expected '$', got 'f']\n");
    expect(&thrifty, SPELLED("*2\r\n$6\r\nhel"), "refused [too long]\nnothing 3\nleft 0\n");
    expect(&thrifty, SPELLED("*1\r\n$41\r\n"), "broken [Protocol error: invalid bulk length]\n");
}

static void requests_are_words(void **state)
{
    (void)state;
    expect(&usual, SPELLED("*2\r\n$3\r\nGET\r\n$5\r\nhello\r\n"), "done 3:GET 5:hello\nleft 0\n");
    expect(&usual, SPELLED("*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPING\r\nPING\r\n"),
           "done 4:PING\ndone 4:PING\ndone 4:PING\nleft 0\n");
    expect(&usual, SPELLED("*3\r\n$3\r\nSET\r\n$0\r\n\r\n$12\r\nab\r\n$3\r\n*2\r\n\r\n"),
           "done 3:SET 0: 12:ab\r\n$3\r\n*2\r\n\nleft 0\n");
    expect(&usual,
           SPELLED("*11\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n"
                   "$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n$1\r\nb\r\n"),
           "done 1:a 1:a 1:a 1:a 1:a 1:a 1:a 1:a 1:a 1:a 1:b\nleft 0\n");
    expect(&usual,
           SPELLED("*1\r\n$100\r\n0123456789012345678901234567890123456789012345678901234567890123456789"
                   "012345678901234567890123456789\r\n"),
           "done 100:0123456789012345678901234567890123456789012345678901234567890123456789"
           "012345678901234567890123456789\nleft 0\n");
    expect(&usual, SPELLED("*0\r\n*-1\r\n*-5\r\n*1\r\n$4\r\nPING\r\n*0\r\n"),
           "nothing 14\ndone 4:PING\nnothing 4\nleft 0\n");
    expect(&usual, SPELLED("*2\r\n$3\r\nGET\r\n$5\r\nhel"), "left 20\n");
    expect(&usual, SPELLED("*1\r\n$1"), "left 6\n");
}

static void ends_of_lines_are_skipped_unread(void **state)
{
    (void)state;
    expect(&usual, SPELLED("*1\r\n$4\r\nPINGXXPING\r\n"), "done 4:PING\ndone 4:PING\nleft 0\n");
    expect(&usual, SPELLED("*1\rX$4\rYPINGXX*1\rZ$10\rX0123456789XY"),
           "done 4:PING\ndone 10:0123456789\nleft 0\n");
}

static void broken_requests_are_named(void **state)
{
    static const struct {
        const char *in;
        const char *error;
    } cases[] = {
        {"*a\r\n", "invalid multibulk length"},
        {"*\r\n", "invalid multibulk length"},
        {"*+1\r\n", "invalid multibulk length"},
        {"*01\r\n", "invalid multibulk length"},
        {"*1 \r\n", "invalid multibulk length"},
        {"*1048577\r\n", "invalid multibulk length"},
        {"*99999999999999999999\r\n", "invalid multibulk length"},
        {"*1\r\nxfoo\r\n", "expected '$', got 'x'"},
        {"*1\r\n\rx\r\n", "expected '$', got ' '"},
        {"*1\r\n\n$4\r\n", "expected '$', got ' '"},
        {"*2\r\n$1\r\na\r\n:1\r\n", "expected '$', got ':'"},
        {"*1\r\n\xff\r\n", "expected '$', got '\xff'"},
        {"*1\r\n$-1\r\n", "invalid bulk length"},
        {"*1\r\n$a\r\n", "invalid bulk length"},
        {"*1\r\n$\r\n", "invalid bulk length"},
        {"*1\r\n$04\r\nPING\r\n", "invalid bulk length"},
        {"*1\r\n$536870913\r\n", "invalid bulk length"},
        {"*1\r\n$99999999999999999999\r\n", "invalid bulk length"},
        {"ECHO \"abc\r\n", "unbalanced quotes in request"},
        {"ECHO 'abc\r\n", "unbalanced quotes in request"},
        {"ECHO \"abc\"d\r\n", "unbalanced quotes in request"},
        {"ECHO 'a'b\r\n", "unbalanced quotes in request"},
        {"ECHO \"a\\\r\n", "unbalanced quotes in request"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char record[100];
        snprintf(record, sizeof record, "broken [Protocol error: %s]\n", cases[i].error);
        expect(&usual, (const uint8_t *)cases[i].in, strlen(cases[i].in), record);
    }
    expect(&usual, SPELLED("*1\r\n\0\r\n"), "broken [Protocol error: expected '$', got ' ']\n");
}

static void limits_hold(void **state)
{
    (void)state;
    expect(&stranger, SPELLED("*11\r\n"), "broken [Protocol error: unauthenticated multibulk length]\n");
    expect(&stranger, SPELLED("*10\r\n"), "left 5\n");
    expect(&stranger, SPELLED("*1\r\n$16385\r\n"), "broken [Protocol error: unauthenticated bulk length]\n");
    expect(&stranger, SPELLED("*1\r\n$16384\r\n"), "left 12\n");
    expect(&stranger, SPELLED("*1\r\n$536870913\r\n"), "broken [Protocol error: invalid bulk length]\n");
    expect(&stranger, SPELLED("*99999999999\r\n"), "broken [Protocol error: invalid multibulk length]\n");
    expect(&tight, SPELLED("*13\r\n"), "broken [Protocol error: invalid multibulk length]\n");
    expect(&tight, SPELLED("*1\r\n$21\r\n"), "broken [Protocol error: invalid bulk length]\n");
    expect(&tight, SPELLED("*1\r\n$20\r\n01234567890123456789\r\n"),
           "done 20:01234567890123456789\nleft 0\n");
}

static void inline_words_are_unquoted(void **state)
{
    (void)state;
    expect(&usual, SPELLED("PING\nPING\r\n"), "done 4:PING\ndone 4:PING\nleft 0\n");
    expect(&usual, SPELLED("\r\n\n   \r\n\tPING \r\n"), "nothing 8\ndone 4:PING\nleft 0\n");
    expect(&usual, SPELLED("ECHO \"a\\x41\\n\\t\\r\\a\\b\\q\\\"b\"\r\n"),
           "done 4:ECHO 10:aA\n\t\r\a\bq\"b\nleft 0\n");
    expect(&usual, SPELLED("ECHO 'a\\'b\\n'\r\n"), "done 4:ECHO 5:a'b\\n\nleft 0\n");
    expect(&usual, SPELLED("ECHO ab\"c d\"\r\n"), "done 4:ECHO 5:abc d\nleft 0\n");
    expect(&usual, SPELLED("ECHO \"\\x4\" \"\\xZZ\" \"\" ''\r\n"), "done 4:ECHO 2:x4 3:xZZ 0: 0:\nleft 0\n");
    expect(&usual, SPELLED("ECHO a\vb \vc \"a\"\vb\r\n"), "done 4:ECHO 3:a\vb 1:c 1:a 1:b\nleft 0\n");
    expect(&usual, SPELLED("a\rb \"a\rb\" a\\x41 'a\"b'\r\r\n"),
           "done 1:a 1:b 3:a\rb 5:a\\x41 3:a\"b\nleft 0\n");
    expect(&usual, SPELLED(" *1\r\n"), "done 2:*1\nleft 0\n");
    expect(&stranger, SPELLED("a b c d e f g h i j k l\r\n"),
           "done 1:a 1:b 1:c 1:d 1:e 1:f 1:g 1:h 1:i 1:j 1:k 1:l\nleft 0\n");
}

static void lines_have_a_longest(const char *head, const char *error)
{
    size_t len = RESP_INLINE_MAX + 20;
    size_t from = strrchr(head, '\n') != NULL ? (size_t)(strrchr(head, '\n') - head) + 1 : 0;
    uint8_t *in = malloc(len);
    char record[80];
    struct replay r = usual;

    memset(in, '1', len);
    memcpy(in, head, strlen(head));
    snprintf(record, sizeof record, "broken [Protocol error: %s]\n", error);
    replay_run(&r, in, from + RESP_INLINE_MAX + 1, (struct cuts){0});
    assert_string_equal(r.text, record);
    free(r.text);
    replay_run(&r, in, from + RESP_INLINE_MAX, (struct cuts){0});
    snprintf(record, sizeof record, "left %zu\n", from + RESP_INLINE_MAX);
    assert_string_equal(r.text, record);
    free(r.text);
    replay_compare(&usual, in, len, (struct cuts){1000, 1000, false});
    replay_compare(&usual, in, len, (struct cuts){from + RESP_INLINE_MAX, 1, false});
    in[len - 1] = '\n'; /* a line end that came too late counts for nothing */
    replay_compare(&usual, in, len, (struct cuts){1000, 1000, false});
    free(in);
}

static void endless_lines_are_cut_off(void **state)
{
    (void)state;
    lines_have_a_longest("*", "too big mbulk count string");
    lines_have_a_longest("*1\r\n$", "too big bulk count string");
    lines_have_a_longest("x", "too big inline request");
}

static void more_says_how_much(void **state)
{
    static uint8_t in[] = "*2\r\n$3\r\nGET\r\n$500\r\n";
    struct slice argv[2];
    struct request request = {.argv = argv, .argv_max = 2};
    struct resp_limits limits = {0};
    struct resp_parser parser = {0};
    size_t consumed;

    (void)state;
    assert_int_equal(resp_parse(&parser, &limits, in, 0, &request, &consumed), PARSE_MORE);
    assert_int_equal(parser.wanted, 1);
    assert_int_equal(resp_parse(&parser, &limits, in, 9, &request, &consumed), PARSE_MORE);
    assert_int_equal(parser.wanted, 13);
    assert_int_equal(resp_parse(&parser, &limits, in, 19, &request, &consumed), PARSE_MORE);
    assert_int_equal(parser.wanted, 19 + 502);
    assert_int_equal(resp_parse(&parser, &limits, in, 19, &request, &consumed), PARSE_MORE);
    assert_int_equal(parser.wanted, 19 + 502);
}

/* What was hopped over is overwritten between calls: were it read again before
 * the request is whole, the parser would stumble. */
static void a_million_words_are_hopped_over_once(void **state)
{
    enum { WORDS = RESP_ARGS_MAX, PIECE = 16 * 1024 };
    size_t len = 0;
    uint8_t *in = malloc((size_t)WORDS * 16 + 32);
    uint8_t *seen_as = malloc((size_t)WORDS * 16 + 32);
    struct request request = {.argv = malloc(WORDS * sizeof *request.argv), .argv_max = 100};
    struct resp_limits limits = {0};
    struct resp_parser parser = {0};
    size_t consumed;
    size_t calls = 0;
    enum parse_status status;

    (void)state;
    len += (size_t)sprintf((char *)in, "*%d\r\n", WORDS);
    for (int i = 0; i < WORDS; i++)
        len += (size_t)sprintf((char *)in + len, "$6\r\n%06x\r\n", i);
    memcpy(seen_as, in, len);
    for (size_t arrived = PIECE;; arrived += PIECE) {
        size_t before = parser.seen;

        if (arrived > len)
            arrived = len;
        if (arrived == len)
            memcpy(seen_as, in, len);
        status = resp_parse(&parser, &limits, seen_as, arrived, &request, &consumed);
        calls++;
        if (arrived == len)
            break;
        assert_int_equal(status, PARSE_MORE);
        assert_true(parser.seen > before && arrived - parser.seen < 12);
        memset(seen_as, '!', parser.seen);
    }
    assert_int_equal(status, PARSE_ARGV_FULL);
    assert_int_equal(request.argc, WORDS);
    assert_int_equal(calls, (len + PIECE - 1) / PIECE);
    request.argv_max = WORDS;
    status = resp_parse(&parser, &limits, seen_as, len, &request, &consumed);
    assert_int_equal(status, PARSE_DONE);
    assert_int_equal(consumed, len);
    assert_int_equal(request.argc, WORDS);
    assert_true(slice_is(request.argv[WORDS - 1], "0fffff"));
    free(request.argv);
    free(seen_as);
    free(in);
}

static void full_argv_changes_nothing(void **state)
{
    uint8_t in[] = "*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n'\\'x' \"\\x41\\x42\" c\r\n";
    struct slice argv[3];
    struct request request = {.argv = argv, .argv_max = 2};
    struct resp_limits limits = {0};
    struct resp_parser parser = {0};
    size_t first;
    size_t second;

    (void)state;
    for (int again = 0; again < 3; again++) {
        assert_int_equal(resp_parse(&parser, &limits, in, sizeof in - 1, &request, &first), PARSE_ARGV_FULL);
        assert_int_equal(request.argc, 3);
        assert_int_equal(first, 0);
    }
    request.argv_max = 3;
    assert_int_equal(resp_parse(&parser, &limits, in, sizeof in - 1, &request, &first), PARSE_DONE);
    request.argv_max = 2;
    for (int again = 0; again < 3; again++)
        assert_int_equal(resp_parse(&parser, &limits, in + first, sizeof in - 1 - first, &request, &second),
                         PARSE_ARGV_FULL);
    request.argv_max = 3;
    assert_int_equal(resp_parse(&parser, &limits, in + first, sizeof in - 1 - first, &request, &second),
                     PARSE_DONE);
    assert_true(slice_is(argv[0], "'x"));
    assert_true(slice_is(argv[1], "ab"));
    assert_int_equal(first + second, sizeof in - 1);
}

static void assert_reply(const uint8_t *from, const uint8_t *to, const char *expected)
{
    assert_int_equal(to - from, strlen(expected));
    assert_memory_equal(from, expected, strlen(expected));
}

static void replies_follow_the_version(void **state)
{
    uint8_t b[256];

    (void)state;
    assert_reply(b, resp_put_simple(b, slice_of("OK")), "+OK\r\n");
    assert_reply(b, resp_put_error(b, slice_of("ERR no\r\nsuch")), "-ERR no  such\r\n");
    assert_reply(b, resp_put_integer(b, 0), ":0\r\n");
    assert_reply(b, resp_put_integer(b, INT64_MIN), ":-9223372036854775808\r\n");
    assert_int_equal(strlen(":-9223372036854775808\r\n"), RESP_INTEGER_MAX);
    assert_reply(b, resp_put_bulk_header(b, 100), "$100\r\n");
    assert_reply(b, resp_put_bulk(b, slice_of("abc")), "$3\r\nabc\r\n");
    assert_reply(b, resp_put_bulk(b, (struct slice){NULL, 0}), "$0\r\n\r\n");
    assert_reply(b, resp_put_null(b, 2), "$-1\r\n");
    assert_reply(b, resp_put_null(b, 3), "_\r\n");
    assert_reply(b, resp_put_null_array(b, 2), "*-1\r\n");
    assert_reply(b, resp_put_null_array(b, 3), "_\r\n");
    assert_reply(b, resp_put_array(b, 12), "*12\r\n");
    assert_reply(b, resp_put_map(b, 2, 5), "*10\r\n");
    assert_reply(b, resp_put_map(b, 3, 5), "%5\r\n");
    assert_reply(b, resp_put_set(b, 2, 3), "*3\r\n");
    assert_reply(b, resp_put_set(b, 3, 3), "~3\r\n");
    assert_reply(b, resp_put_push(b, 2, 3), "*3\r\n");
    assert_reply(b, resp_put_push(b, 3, 3), ">3\r\n");
    assert_reply(b, resp_put_boolean(b, 2, true), ":1\r\n");
    assert_reply(b, resp_put_boolean(b, 3, false), "#f\r\n");
    assert_reply(b, resp_put_double(b, 2, 0.1), "$19\r\n0.10000000000000001\r\n");
    assert_reply(b, resp_put_double(b, 3, 3), ",3\r\n");
    assert_reply(b, resp_put_double(b, 3, -INFINITY), ",-inf\r\n");
    assert_reply(b, resp_put_double(b, 2, INFINITY), "$3\r\ninf\r\n");
    assert_reply(b, resp_put_double(b, 3, -(double)NAN), ",nan\r\n");
    assert_true(resp_put_double(b, 2, -1.2345678901234567e-300) - b <= RESP_DOUBLE_MAX);
    assert_reply(b, resp_put_big_number(b, 2, slice_of("123")), "$3\r\n123\r\n");
    assert_reply(b, resp_put_big_number(b, 3, slice_of("123")), "(123\r\n");
    assert_reply(b, resp_put_verbatim(b, 2, "txt", slice_of("hi")), "$2\r\nhi\r\n");
    assert_reply(b, resp_put_verbatim(b, 3, "txt", slice_of("hi")), "=6\r\ntxt:hi\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_words),
        cmocka_unit_test(ends_of_lines_are_skipped_unread),
        cmocka_unit_test(broken_requests_are_named),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(inline_words_are_unquoted),
        cmocka_unit_test(endless_lines_are_cut_off),
        cmocka_unit_test(more_says_how_much),
        cmocka_unit_test(a_million_words_are_hopped_over_once),
        cmocka_unit_test(full_argv_changes_nothing),
        cmocka_unit_test(replies_follow_the_version),
        cmocka_unit_test(long_words_are_refused_and_swallowed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
