/* test_load_herd_reply.c - what an answer says, in every dialect, however it arrives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "bench/load_herd_reply.c"

static struct herd_reply reply;

/* Every proper part of the answer is "more" and is left alone; the whole is
 * taken, to its last byte and not beyond. Each piece has memory of its own, so
 * that reading past it shows. */
static void take(enum herd_dialect dialect, const char *answer)
{
    static uint8_t *whole;
    size_t len = strlen(answer);
    struct slice in;

    for (size_t cut = 0; cut < len; cut++) {
        uint8_t *piece = malloc(cut > 0 ? cut : 1);

        memcpy(piece, answer, cut);
        in = (struct slice){piece, cut};
        assert_int_equal(herd_reply_take(dialect, &in, &reply), HERD_MORE);
        assert_int_equal(in.len, cut);
        free(piece);
    }
    free(whole); /* of the answer before: the reply looks into it */
    whole = malloc(len + 1);
    memcpy(whole, answer, len);
    whole[len] = '+';
    in = (struct slice){whole, len + 1};
    assert_int_equal(herd_reply_take(dialect, &in, &reply), HERD_TAKEN);
    assert_int_equal(in.len, 1);
}

static void expect_kind(enum herd_dialect dialect, const char *answer, enum herd_reply_kind kind)
{
    take(dialect, answer);
    assert_int_equal(reply.kind, kind);
}

static void expect_text(const char *value)
{
    assert_true(reply.has_value);
    assert_int_equal(reply.value.len, strlen(value));
    assert_memory_equal(reply.value.data, value, reply.value.len);
}

static void expect_lease(enum herd_dialect dialect, const char *answer, enum herd_lease_state state,
                         uint64_t token, const char *value)
{
    expect_kind(dialect, answer, HERD_LEASE);
    assert_int_equal(reply.state, state);
    assert_int_equal(reply.token, token);
    if (value != NULL)
        expect_text(value);
    else
        assert_false(reply.has_value);
}

static void expect_broken(enum herd_dialect dialect, const char *answer)
{
    struct slice in = slice_of(answer);

    assert_int_equal(herd_reply_take(dialect, &in, &reply), HERD_BROKEN);
    assert_int_equal(in.len, strlen(answer));
}

static void plain_resp(void **state)
{
    (void)state;
    expect_kind(HERD_RESP, "+OK\r\n", HERD_OK);
    expect_kind(HERD_RESP, "$-1\r\n", HERD_NOTHING);
    expect_kind(HERD_RESP, "*-1\r\n", HERD_NOTHING);
    expect_kind(HERD_RESP, "_\r\n", HERD_NOTHING);
    expect_kind(HERD_RESP, ":17\r\n", HERD_NUMBER);
    assert_int_equal(reply.number, 17);
    expect_kind(HERD_RESP, "-ERR no\r\n", HERD_REFUSED);
    assert_true(slice_equals(reply.text, slice_of("-ERR no")));
    expect_kind(HERD_RESP, "$5\r\na\r\nbc\r\n", HERD_VALUE);
    expect_text("a\r\nbc");
    expect_kind(HERD_RESP, "$0\r\n\r\n", HERD_VALUE);
    expect_text("");
}

static void getlease(void **state)
{
    (void)state;
    expect_lease(HERD_RESP,
                 "*8\r\n$5\r\nstate\r\n$4\r\nlive\r\n$5\r\nvalue\r\n$3\r\nabc\r\n$5\r\ntoken\r\n:0\r\n"
                 "$8\r\nlease-ms\r\n:0\r\n",
                 HERD_LIVE, 0, "abc");
    expect_lease(HERD_RESP,
                 "*8\r\n$5\r\nstate\r\n$7\r\ngranted\r\n$5\r\nvalue\r\n$-1\r\n$5\r\ntoken\r\n"
                 ":9223372036854775800\r\n$8\r\nlease-ms\r\n:250\r\n",
                 HERD_GRANTED, UINT64_C(9223372036854775800), NULL);
    expect_lease(HERD_RESP,
                 "%4\r\n$5\r\nstate\r\n$5\r\nstale\r\n$5\r\nvalue\r\n$3\r\nold\r\n$5\r\ntoken\r\n:7\r\n"
                 "$8\r\nlease-ms\r\n:250\r\n",
                 HERD_OUTDATED, 7, "old");
    expect_lease(
        HERD_RESP,
        "%4\r\n+state\r\n+filling\r\n+value\r\n_\r\n+token\r\n:0\r\n+more\r\n*2\r\n:1\r\n*1\r\n:2\r\n",
        HERD_FILLING, 0, NULL);
    expect_lease(HERD_RESP, "*4\r\n+value\r\n$-1\r\n+state\r\n+negative\r\n", HERD_NEGATIVE, 0, NULL);
}

static void a_greeting_is_just_taken(void **state)
{
    (void)state;
    expect_kind(HERD_RESP, "%2\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nmodules\r\n*1\r\n%1\r\n+a\r\n#t\r\n",
                HERD_OK);
    expect_kind(HERD_RESP, "*0\r\n", HERD_OK);
}

static void plain_memcached(void **state)
{
    (void)state;
    expect_kind(HERD_MEMCACHE, "STORED\r\n", HERD_OK);
    expect_kind(HERD_MEMCACHE, "DELETED\r\n", HERD_OK);
    expect_kind(HERD_MEMCACHE, "NOT_FOUND\r\n", HERD_NOT_STORED);
    expect_kind(HERD_MEMCACHE, "NOT_STORED\r\n", HERD_NOT_STORED);
    expect_kind(HERD_MEMCACHE, "STALE_STORED\r\n", HERD_NOT_STORED);
    expect_kind(HERD_MEMCACHE, "END\r\n", HERD_NOTHING);
    expect_kind(HERD_MEMCACHE, "ERROR\r\n", HERD_REFUSED);
    expect_kind(HERD_MEMCACHE, "CLIENT_ERROR bad data chunk\r\n", HERD_REFUSED);
    expect_kind(HERD_MEMCACHE, "SERVER_ERROR out of memory\r\n", HERD_REFUSED);
    assert_true(slice_equals(reply.text, slice_of("SERVER_ERROR out of memory")));
    expect_kind(HERD_MEMCACHE, "VALUE k 0 6\r\nEND\r\nx\r\nEND\r\n", HERD_VALUE);
    expect_text("END\r\nx");
    expect_kind(HERD_MEMCACHE, "VALUE k 0 0 12\r\n\r\nEND\r\n", HERD_VALUE);
    expect_text("");
}

static void meta(void **state)
{
    (void)state;
    expect_kind(HERD_MEMCACHE, "HD\r\n", HERD_OK);
    expect_kind(HERD_MEMCACHE, "EN\r\n", HERD_NOTHING);
    expect_kind(HERD_MEMCACHE, "NS\r\n", HERD_NOT_STORED);
    expect_kind(HERD_MEMCACHE, "EX\r\n", HERD_NOT_STORED);
    expect_kind(HERD_MEMCACHE, "NF\r\n", HERD_NOT_STORED);
    expect_kind(HERD_MEMCACHE, "VA 2 c18446744073709551615\r\nab\r\n", HERD_VALUE);
    expect_text("ab");
    expect_lease(HERD_MEMCACHE, "VA 0 c5 W\r\n\r\n", HERD_GRANTED, 5, NULL);
    expect_lease(HERD_MEMCACHE, "VA 0 c5 Z\r\n\r\n", HERD_FILLING, 0, NULL);
    expect_lease(HERD_MEMCACHE, "VA 3 c6 X W\r\nold\r\n", HERD_GRANTED, 6, "old");
    expect_lease(HERD_MEMCACHE, "VA 3 c6 Z X\r\nold\r\n", HERD_OUTDATED, 0, "old");
    expect_lease(HERD_MEMCACHE, "VA 3 c6 Z\r\nnew\r\n", HERD_LIVE, 0, "new");
}

static void lease_get(void **state)
{
    (void)state;
    expect_lease(HERD_MEMCACHE, "LVALUE k 18446744073709551615 0 0\r\n\r\nEND\r\n", HERD_GRANTED, UINT64_MAX,
                 NULL);
    expect_lease(HERD_MEMCACHE, "LVALUE k 22 0 3\r\nold\r\nEND\r\n", HERD_GRANTED, 22, "old");
    expect_lease(HERD_MEMCACHE, "LVALUE k 1 0 0\r\n\r\nEND\r\n", HERD_FILLING, 0, NULL);
    expect_lease(HERD_MEMCACHE, "LVALUE k 1 0 3\r\nold\r\nEND\r\n", HERD_OUTDATED, 0, "old");
}

static void what_is_no_answer_is_broken(void **state)
{
    static const char *const RESP[] = {"\r\n",
                                       "hello\r\n",
                                       "+OK\n",
                                       "$x\r\n",
                                       "$-2\r\n",
                                       "$3\r\nabcde",
                                       "$9999999999\r\n",
                                       ":\r\n",
                                       ":12345678901234567890\r\n",
                                       "*3\r\n:1\r\n",
                                       "*2\r\n+state\r\n+odd\r\n",
                                       "*66\r\n",
                                       "%99999999\r\n",
                                       "*2\r\n+a\r\n*5000\r\n"};
    static const char *const MEMCACHE[] = {"\r\n",
                                           "VALUE k 0 x\r\n",
                                           "VALUE k 0 -1\r\n",
                                           "VALUE k 0 1\r\nabc",
                                           "VALUE k 0 1\r\na\r\nENDE\r\n",
                                           "LVALUE k 0 0 0\r\n\r\nEND\r\n",
                                           "LVALUE k -1 0 0\r\n\r\nEND\r\n",
                                           "VA\r\n",
                                           "VA 1 cx W\r\na\r\n",
                                           "$-1\r\n"};
    char longer[3000];

    (void)state;
    for (size_t i = 0; i < sizeof RESP / sizeof RESP[0]; i++)
        expect_broken(HERD_RESP, RESP[i]);
    for (size_t i = 0; i < sizeof MEMCACHE / sizeof MEMCACHE[0]; i++)
        expect_broken(HERD_MEMCACHE, MEMCACHE[i]);
    memset(longer, 'x', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    expect_broken(HERD_RESP, longer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_resp),
        cmocka_unit_test(getlease),
        cmocka_unit_test(a_greeting_is_just_taken),
        cmocka_unit_test(plain_memcached),
        cmocka_unit_test(meta),
        cmocka_unit_test(lease_get),
        cmocka_unit_test(what_is_no_answer_is_broken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
