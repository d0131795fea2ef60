/* test_memcache_text.c - memcached's lines come out the same however they were
 * cut; errors, and what is read after them, are those of memcached 1.6.18,
 * where each case was observed. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include "tests/unit/protocol/replay.h"
#include <cmocka.h>

#define SPELLED(text) ((const uint8_t *)(text)), (sizeof(text) - 1)
#define BAD_LINE      "[CLIENT_ERROR bad command line format]"
#define K50           "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"
#define K250          K50 K50 K50 K50 K50

static const struct replay usual = {.dialect = REPLAY_MEMCACHE, .value_max = 20};

static void expect(const uint8_t *in, size_t len, const char *record)
{
    struct replay r = usual;

    replay_run(&r, in, len, (struct cuts){0});
    assert_string_equal(r.text, record);
    free(r.text);
    replay_compare_all(&usual, in, len);
}

static void lines_are_words(void **state)
{
    (void)state;
    expect(SPELLED("get a\r\n"), "done 3:get 1:a\nleft 0\n");
    expect(SPELLED("  gets  foo bar \nversion\r\n"), "done 4:gets 3:foo 3:bar\ndone 7:version\nleft 0\n");
    expect(SPELLED("get a\tb\r\r\n"), "done 3:get 4:a\tb\r\nleft 0\n");
    expect(SPELLED("get a_key_longer_than_eight another_such_key_00000000 x\r\n"),
           "done 3:get 23:a_key_longer_than_eight 25:another_such_key_00000000 1:x\nleft 0\n");
    expect(SPELLED("get \xa0\x21\x1f\x20\xff\r\n"), "done 3:get 3:\xa0\x21\x1f 1:\xff\nleft 0\n");
    expect(SPELLED("mg foo v t\r\nmn\r\n"), "done 2:mg 3:foo 1:v 1:t\ndone 2:mn\nleft 0\n");
    expect(SPELLED("get a"), "left 5\n");
}

static void blank_lines_are_errors(void **state)
{
    (void)state;
    expect(SPELLED("\r\n\n   \r\nmn\r\n"),
           "refused [ERROR]\nrefused [ERROR]\nrefused [ERROR]\ndone 2:mn\nleft 0\n");
}

static void storage_lines_bring_data(void **state)
{
    (void)state;
    expect(SPELLED("set k 1 0 3\r\nabc\r\n"), "done 3:set 1:k 1:1 1:0 1:3 data 3:abc\nleft 0\n");
    expect(SPELLED("add k 1 0 0\r\n\r\nmn\r\n"), "done 3:add 1:k 1:1 1:0 1:0 data 0:\ndone 2:mn\nleft 0\n");
    expect(SPELLED("replace k 1 -1 4 noreply\nab\r\n\r\n"),
           "done 7:replace 1:k 1:1 2:-1 1:4 7:noreply data 4:ab\r\n\nleft 0\n");
    expect(SPELLED("append k 0 0 1\r\na\r\nprepend k 0 0 1\r\nb\r\n"),
           "done 6:append 1:k 1:0 1:0 1:1 data 1:a\ndone 7:prepend 1:k 1:0 1:0 1:1 data 1:b\nleft 0\n");
    expect(SPELLED("cas k 0 0 1 18446744073709551615\r\na\r\n"),
           "done 3:cas 1:k 1:0 1:0 1:1 20:18446744073709551615 data 1:a\nleft 0\n");
    expect(SPELLED("lease-set k 9 1 0 3 noreply\r\nabc\r\nlease-get k\r\n"),
           "done 9:lease-set 1:k 1:9 1:1 1:0 1:3 7:noreply data 3:abc\ndone 9:lease-get 1:k\nleft 0\n");
    expect(SPELLED("ms k 20 T0\r\n01234567890123456789\r\n"),
           "done 2:ms 1:k 2:20 2:T0 data 20:01234567890123456789\nleft 0\n");
    expect(SPELLED("set k -0 +0 +2\r\nab\r\n"), "done 3:set 1:k 2:-0 2:+0 2:+2 data 2:ab\nleft 0\n");
    expect(SPELLED("set k \t1 0 02\t\r\nab\r\n"), "done 3:set 1:k 2:\t1 1:0 3:02\t data 2:ab\nleft 0\n");
    expect(SPELLED("set k 4294967295 0 2 norep\r\nab\r\n"),
           "done 3:set 1:k 10:4294967295 1:0 1:2 5:norep data 2:ab\nleft 0\n");
}

static void bad_storage_lines_leave_their_data_behind(void **state)
{
    (void)state;
    expect(SPELLED("set k 0 0\r\nmn\r\n"), "refused 3:set 1:k 1:0 1:0 [ERROR]\ndone 2:mn\nleft 0\n");
    expect(SPELLED("set k 0 0 2 noreply x\r\n"),
           "refused 3:set 1:k 1:0 1:0 1:2 7:noreply 1:x [ERROR]\nleft 0\n");
    expect(SPELLED("set k 0 0 2 0 noreply\r\n"),
           "refused 3:set 1:k 1:0 1:0 1:2 1:0 7:noreply [ERROR]\nleft 0\n");
    expect(SPELLED("cas k 0 0 2\r\n"), "refused 3:cas 1:k 1:0 1:0 1:2 [ERROR]\nleft 0\n");
    expect(SPELLED("set k 0 0 -1\r\nmn\r\n"),
           "refused 3:set 1:k 1:0 1:0 2:-1 " BAD_LINE "\ndone 2:mn\nleft 0\n");
    expect(SPELLED("set k 0 0 2147483646\r\n"),
           "refused 3:set 1:k 1:0 1:0 10:2147483646 " BAD_LINE "\nleft 0\n");
    expect(SPELLED("set k 0x0 0 2\r\n"), "refused 3:set 1:k 3:0x0 1:0 1:2 " BAD_LINE "\nleft 0\n");
    expect(SPELLED("set k -1 0 2\r\n"), "refused 3:set 1:k 2:-1 1:0 1:2 " BAD_LINE "\nleft 0\n");
    expect(SPELLED("set k 0 x 2 noreply\r\n"),
           "refused 3:set 1:k 1:0 1:x 1:2 7:noreply " BAD_LINE " silent\nleft 0\n");
    expect(SPELLED("cas k 0 0 2 noreply\r\n"),
           "refused 3:cas 1:k 1:0 1:0 1:2 7:noreply " BAD_LINE " silent\nleft 0\n");
    expect(SPELLED("cas k 0 0 2 -1\r\n"), "refused 3:cas 1:k 1:0 1:0 1:2 2:-1 " BAD_LINE "\nleft 0\n");
    expect(SPELLED("set " K250 " 0 0 2\r\nab\r\n"),
           "done 3:set 250:" K250 " 1:0 1:0 1:2 data 2:ab\nleft 0\n");
    expect(SPELLED("set k" K250 " 0 0 2\r\nmn\r\n"),
           "refused 3:set 251:k" K250 " 1:0 1:0 1:2 " BAD_LINE "\ndone 2:mn\nleft 0\n");
    expect(SPELLED("ms\r\n"), "refused 2:ms [ERROR]\nleft 0\n");
    expect(SPELLED("ms k\r\n"), "refused 2:ms 1:k " BAD_LINE "\nleft 0\n");
    expect(SPELLED("ms k S2\r\n"), "refused 2:ms 1:k 2:S2 " BAD_LINE "\nleft 0\n");
    expect(SPELLED("ms k" K250 " 2\r\n"), "refused 2:ms 251:k" K250 " 1:2 " BAD_LINE "\nleft 0\n");
    expect(SPELLED("ms k 2 a b c d e f g h i j k l m n o p q\r\nmn\r\n"),
           "refused 2:ms 1:k 1:2 1:a 1:b 1:c 1:d 1:e 1:f 1:g 1:h 1:i 1:j 1:k 1:l 1:m 1:n 1:o 1:p 1:q "
           "[CLIENT_ERROR options flags too long]\ndone 2:mn\nleft 0\n");
}

static void bad_data_is_swallowed_by_its_length(void **state)
{
    (void)state;
    expect(
        SPELLED("set k 0 0 3\r\nabcde\r\nmn\r\n"),
        "refused 3:set 1:k 1:0 1:0 1:3 [CLIENT_ERROR bad data chunk]\nrefused [ERROR]\ndone 2:mn\nleft 0\n");
    expect(SPELLED("set k 0 0 3\r\nabcXYmn\r\n"),
           "refused 3:set 1:k 1:0 1:0 1:3 [CLIENT_ERROR bad data chunk]\ndone 2:mn\nleft 0\n");
    expect(
        SPELLED("set k 0 0 3 noreply\r\nabcXYmn\r\n"),
        "refused 3:set 1:k 1:0 1:0 1:3 7:noreply [CLIENT_ERROR bad data chunk] silent\ndone 2:mn\nleft 0\n");
    expect(SPELLED("ms k 3 q\r\nabcXYmn\r\n"),
           "refused 2:ms 1:k 1:3 1:q [CLIENT_ERROR bad data chunk]\ndone 2:mn\nleft 0\n");
    expect(SPELLED("ms k 3 c c\r\nabcXYmn\r\n"),
           "refused 2:ms 1:k 1:3 1:c 1:c [CLIENT_ERROR duplicate flag]\ndone 2:mn\nleft 0\n");
}

static void large_data_is_swallowed_unseen(void **state)
{
    (void)state;
    expect(SPELLED("set k 0 0 21\r\n012345678901234567890\r\nmn\r\n"),
           "refused 3:set 1:k 1:0 1:0 2:21 [SERVER_ERROR object too large for cache] large\nnothing 23\n"
           "done 2:mn\nleft 0\n");
    expect(SPELLED("set k 0 0 21 noreply\r\n012345678901234567890XYmn\r\n"),
           "refused 3:set 1:k 1:0 1:0 2:21 7:noreply [SERVER_ERROR object too large for cache] silent large\n"
           "nothing 23\ndone 2:mn\nleft 0\n");
    expect(SPELLED("ms k 21 q\r\n012345678901234567890\r\nmn\r\n"),
           "refused 2:ms 1:k 2:21 1:q [SERVER_ERROR object too large for cache] large\nnothing 23\ndone "
           "2:mn\nleft 0\n");
    expect(SPELLED("ms k 21 Z\r\n012345678901234567890\r\nmn\r\n"),
           "refused 2:ms 1:k 2:21 1:Z [CLIENT_ERROR invalid flag]\nnothing 23\ndone 2:mn\nleft 0\n");
    expect(SPELLED("set k 0 0 2147483645\r\nabc"), "refused 3:set 1:k 1:0 1:0 10:2147483645 [SERVER_ERROR "
                                                   "object too large for cache] large\nnothing 3\nleft 0\n");
}

static void check_length(const char *verb, size_t line, size_t total, const char *record)
{
    uint8_t *in = malloc(total);
    struct replay r = usual;

    memset(in, 'a', total);
    memcpy(in, verb, strlen(verb));
    if (line < total)
        in[line] = '\n';
    replay_run(&r, in, total, (struct cuts){0});
    assert_true(strncmp(r.text, record, strlen(record)) == 0);
    free(r.text);
    replay_compare(&usual, in, total, (struct cuts){1, 1, false});
    replay_compare(&usual, in, total, (struct cuts){100, 100, false});
    replay_compare(&usual, in, total, (struct cuts){MEMCACHE_LINE_MAX, 1, true});
    free(in);
}

static void only_key_lists_may_be_long(void **state)
{
    static const char blanks_100[] =
        "                                                                              "
        "                      get ";
    static const char blanks_101[] =
        "                                                                              "
        "                       get ";
    (void)state;
    check_length("x", MEMCACHE_LINE_MAX, MEMCACHE_LINE_MAX + 1, "done 2048:");
    check_length("x", MEMCACHE_LINE_MAX, MEMCACHE_LINE_MAX, "left 2048\n");
    check_length("x", MEMCACHE_LINE_MAX + 1, MEMCACHE_LINE_MAX + 2, "broken []\n");
    check_length("x", 5000, 5001, "broken []\n");
    check_length("x", 5001, 5001, "broken []\n");
    check_length("mg ", 5001, 5001, "broken []\n");
    check_length("getx", 5001, 5001, "broken []\n");
    check_length("get ", 5000, 5001, "done 3:get 4996:");
    check_length("gets ", 5000, 5001, "done 4:gets 4995:");
    check_length("gat ", 5000, 5001, "done 3:gat 4996:");
    check_length("gats ", 5001, 5001, "left 5001\n");
    check_length("lease-get ", 5001, 5001, "left 5001\n");
    check_length(blanks_100, 5000, 5001, "done 3:get ");
    check_length(blanks_101, 5000, 5001, "broken []\n");
}

/* As in test_resp.c: what was searched is overwritten between calls. */
static void a_long_line_is_searched_once(void **state)
{
    enum { KEYS = 200000, PIECE = 16 * 1024 };
    uint8_t *in = malloc((size_t)KEYS * 8 + 8);
    struct request request = {.argv = malloc((KEYS + 1) * sizeof *request.argv), .argv_max = 4};
    struct memcache_parser parser = {0};
    size_t len = (size_t)sprintf((char *)in, "get");
    size_t consumed;
    uint8_t *seen_as;
    enum parse_status status = PARSE_MORE;

    (void)state;
    for (int i = 0; i < KEYS; i++)
        len += (size_t)sprintf((char *)in + len, " k%05x", i);
    len += (size_t)sprintf((char *)in + len, "\r\n");
    seen_as = malloc(len);
    memcpy(seen_as, in, len);
    for (size_t arrived = PIECE; arrived < len; arrived += PIECE) {
        assert_int_equal(memcache_parse(&parser, 100, seen_as, arrived, &request, &consumed), PARSE_MORE);
        assert_int_equal(parser.seen, arrived);
        memset(seen_as + 4, '\n', arrived - 4);
    }
    memcpy(seen_as, in, len);
    status = memcache_parse(&parser, 100, seen_as, len, &request, &consumed);
    assert_int_equal(status, PARSE_ARGV_FULL);
    assert_int_equal(request.argc, KEYS + 1);
    request.argv_max = request.argc;
    status = memcache_parse(&parser, 100, seen_as, len, &request, &consumed);
    assert_int_equal(status, PARSE_DONE);
    assert_int_equal(consumed, len);
    assert_int_equal(request.argc, KEYS + 1);
    assert_true(slice_is(request.argv[KEYS], "k30d3f"));
    free(seen_as);
    free(request.argv);
    free(in);
}

static void more_says_how_much(void **state)
{
    static const uint8_t in[] = "set k 0 0 15\r\n";
    struct slice argv[8];
    struct request request = {.argv = argv, .argv_max = 8};
    struct memcache_parser parser = {0};
    size_t consumed;

    (void)state;
    assert_int_equal(memcache_parse(&parser, 100, in, 0, &request, &consumed), PARSE_MORE);
    assert_int_equal(parser.wanted, 1);
    assert_int_equal(memcache_parse(&parser, 100, in, 5, &request, &consumed), PARSE_MORE);
    assert_int_equal(parser.wanted, 6);
    assert_int_equal(memcache_parse(&parser, 100, in, 14, &request, &consumed), PARSE_MORE);
    assert_int_equal(parser.wanted, 14 + 15 + 2);
}

static void store_lines_decode(void **state)
{
    struct slice argv[7] = {slice_of("cas"), slice_of("k"),  slice_of("4294967295"), slice_of("-5"),
                            slice_of("12"),  slice_of("99"), slice_of("noreply")};
    struct request request = {.argv = argv, .argc = 7};
    struct memcache_store store;

    (void)state;
    assert_null(memcache_store_decode(&request, true, &store));
    assert_true(store.flags == UINT32_MAX && store.exptime == -5 && store.bytes == 12 && store.cas == 99);
    assert_true(memcache_noreply(&request));
    request.argc = 5;
    assert_null(memcache_store_decode(&request, false, &store));
    assert_true(store.cas == 0 && !memcache_noreply(&request));
    assert_string_equal(memcache_store_decode(&request, true, &store), "ERROR");
    argv[3] = slice_of("4102444800"); /* the year 2100 */
    assert_null(memcache_store_decode(&request, false, &store));
    assert_true(store.exptime == 4102444800);
    argv[2] = slice_of("4294967296");
    assert_non_null(memcache_store_decode(&request, false, &store));
}

static void lease_lines_decode(void **state)
{
    struct slice argv[7] = {slice_of("lease-set"), slice_of("k"),  slice_of("18446744073709551615"),
                            slice_of("7"),         slice_of("-1"), slice_of("12"),
                            slice_of("noreply")};
    struct request request = {.argv = argv, .argc = 7};
    struct memcache_store store;

    (void)state;
    assert_null(memcache_lease_decode(&request, &store));
    assert_true(store.token == UINT64_MAX && store.flags == 7 && store.exptime == -1 && store.bytes == 12);
    request.argc = 6;
    assert_null(memcache_lease_decode(&request, &store));
    request.argc = 5;
    assert_string_equal(memcache_lease_decode(&request, &store), "ERROR");
    request.argc = 6;
    argv[2] = slice_of("-1"); /* not a token, though mcrouter's own code has it */
    assert_non_null(memcache_lease_decode(&request, &store));
}

static void assert_reply(const uint8_t *from, const uint8_t *to, const char *expected)
{
    assert_int_equal(to - from, strlen(expected));
    assert_memory_equal(from, expected, strlen(expected));
}

static void replies_are_lines(void **state)
{
    uint8_t b[256];

    (void)state;
    assert_reply(b, memcache_put_line(b, slice_of("ERROR")), "ERROR\r\n");
    assert_reply(b, memcache_put_value(b, slice_of("key"), 7, 100), "VALUE key 7 100\r\n");
    assert_reply(b, memcache_put_value_cas(b, slice_of("k"), UINT32_MAX, SIZE_MAX, UINT64_MAX),
                 "VALUE k 4294967295 18446744073709551615 18446744073709551615\r\n");
    assert_true(strlen("VALUE  4294967295 18446744073709551615 18446744073709551615\r\n") <=
                MEMCACHE_VALUE_ROOM(0));
    assert_reply(b, memcache_put_lvalue(b, slice_of("k"), UINT64_MAX, UINT32_MAX, SIZE_MAX),
                 "LVALUE k 18446744073709551615 4294967295 18446744073709551615\r\n");
    assert_true(strlen("LVALUE  18446744073709551615 4294967295 18446744073709551615\r\n") <=
                MEMCACHE_VALUE_ROOM(0));
    assert_reply(b, memcache_put_number(b, UINT64_MAX), "18446744073709551615\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_words),
        cmocka_unit_test(blank_lines_are_errors),
        cmocka_unit_test(storage_lines_bring_data),
        cmocka_unit_test(bad_storage_lines_leave_their_data_behind),
        cmocka_unit_test(bad_data_is_swallowed_by_its_length),
        cmocka_unit_test(large_data_is_swallowed_unseen),
        cmocka_unit_test(only_key_lists_may_be_long),
        cmocka_unit_test(a_long_line_is_searched_once),
        cmocka_unit_test(more_says_how_much),
        cmocka_unit_test(store_lines_decode),
        cmocka_unit_test(lease_lines_decode),
        cmocka_unit_test(replies_are_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
