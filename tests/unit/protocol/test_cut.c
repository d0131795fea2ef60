/* test_cut.c - replies taken apart: whole or not at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "protocol/cut.h"

static struct slice of(const char *text)
{
    return slice_of(text);
}

static void test_replies_are_cut_whole(void **state)
{
    static const char *const replies[] = {
        "+OK\r\n",
        "-ERR no\r\n",
        ":-12\r\n",
        "$5\r\nhello\r\n",
        "$0\r\n\r\n",
        "$-1\r\n",
        "_\r\n",
        "#t\r\n",
        ",3.5\r\n",
        "=7\r\ntxt:abc\r\n",
        "*-1\r\n",
        "*0\r\n",
        "*2\r\n$1\r\n\n\r\n:1\r\n",
        "%1\r\n+a\r\n*2\r\n:1\r\n~1\r\n+b\r\n",
        ">2\r\n+a\r\n+b\r\n",
    };
    char both[256];

    (void)state;
    for (size_t i = 0; i < sizeof replies / sizeof *replies; i++) {
        struct slice left, reply;
        size_t len = strlen(replies[i]);

        snprintf(both, sizeof both, "%s+next\r\n", replies[i]);
        left = of(both);
        assert_true(cut_reply(&left, &reply));
        assert_int_equal(reply.len, len);
        assert_true(slice_equals(left, of("+next\r\n")));
        for (size_t some = 0; some < len; some++) {
            struct slice part = {(const uint8_t *)replies[i], some}, before = part;

            assert_false(cut_reply(&part, &reply));
            assert_ptr_equal(part.data, before.data);
            assert_int_equal(part.len, before.len);
        }
    }
}

static void test_what_is_no_reply_is_not_cut(void **state)
{
    static const char *const none[] = {"",
                                       "\r\n",
                                       "+OK\n",
                                       "$x\r\n",
                                       "$-2\r\n",
                                       "*-2\r\n",
                                       "$99999999999999999999\r\n",
                                       "*2\r\n:1\r\n",
                                       "%9223372036854775807\r\n+a\r\n"};
    char deep[64] = "";

    (void)state;
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        struct slice left = of(none[i]), reply;

        assert_false(cut_reply(&left, &reply));
    }
    for (int i = 0; i < CUT_DEPTH_MAX + 1; i++)
        strcat(deep, "*1\r\n");
    strcat(deep, ":1\r\n");
    struct slice left = of(deep), reply;
    assert_false(cut_reply(&left, &reply));
}

static void test_parts_of_replies(void **state)
{
    struct slice left = of("*3\r\n$1\r\na\r\n$-1\r\n$2\r\nbc\r\n"), reply, value;
    size_t count;
    int64_t number;

    (void)state;
    assert_true(cut_array(&left, &count));
    assert_int_equal(count, 3);
    assert_true(cut_reply(&left, &reply) && cut_bulk(reply, &value) && slice_equals(value, of("a")));
    assert_true(cut_reply(&left, &reply) && !cut_bulk(reply, &value));
    assert_true(cut_reply(&left, &reply) && cut_bulk(reply, &value) && slice_equals(value, of("bc")));
    assert_int_equal(left.len, 0);
    assert_true(cut_integer(of(":42\r\n"), &number) && number == 42);
    assert_false(cut_integer(of(":42\r\n:1\r\n"), &number));
    assert_false(cut_integer(of("$2\r\n42\r\n"), &number));
    left = of("*-1\r\n");
    assert_false(cut_array(&left, &count));
    left = of("$1\r\na\r\n");
    assert_false(cut_array(&left, &count));
}

static void test_hits_of_a_get(void **state)
{
    struct slice left = of("VALUE a 0 1\r\n1\r\nVALUE b 5 4 99\r\n\r\nEN\r\nEND\r\n"), key, hit;

    (void)state;
    assert_true(cut_value(&left, &key, &hit));
    assert_true(slice_equals(key, of("a")) && slice_equals(hit, of("VALUE a 0 1\r\n1\r\n")));
    assert_true(cut_value(&left, &key, &hit));
    assert_true(slice_equals(key, of("b")) && slice_equals(hit, of("VALUE b 5 4 99\r\n\r\nEN\r\n")));
    assert_false(cut_value(&left, &key, &hit));
    assert_true(slice_equals(left, of("END\r\n")));
    left = of("LVALUE a 12345 0 2\r\nxy\r\nEND\r\n");
    assert_true(cut_value(&left, &key, &hit));
    assert_true(slice_equals(key, of("a")) && slice_equals(hit, of("LVALUE a 12345 0 2\r\nxy\r\n")));
    left = of("VALUE a 0 10\r\n1\r\n");
    assert_false(cut_value(&left, &key, &hit));
    left = of("VALUE a 0\r\n1\r\n");
    assert_false(cut_value(&left, &key, &hit));
}

static void test_errors(void **state)
{
    (void)state;
    assert_true(cut_is_error(of("-ERR x\r\n")));
    assert_true(cut_is_error(of("SERVER_ERROR x\r\n")));
    assert_true(cut_is_error(of("CLIENT_ERROR x\r\n")));
    assert_true(cut_is_error(of("ERROR\r\n")));
    assert_true(cut_is_error(of("")));
    assert_false(cut_is_error(of("END\r\n")));
    assert_false(cut_is_error(of(":1\r\n")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replies_are_cut_whole),
        cmocka_unit_test(test_what_is_no_reply_is_not_cut),
        cmocka_unit_test(test_parts_of_replies),
        cmocka_unit_test(test_hits_of_a_get),
        cmocka_unit_test(test_errors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
