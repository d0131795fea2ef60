/* test_bytes.c - numbers survive the way to text and back; anything else is refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <cmocka.h>

#include "protocol/bytes.h"

static void signed_text_is_as_strict_as_redis(void **state)
{
    static const struct {
        const char *text;
        bool ok;
        int64_t v;
    } cases[] = {
        {"0", true, 0},
        {"7", true, 7},
        {"-1", true, -1},
        {"9223372036854775807", true, INT64_MAX},
        {"-9223372036854775808", true, INT64_MIN},
        {"1000000000000000000", true, 1000000000000000000},
        {"9223372036854775808", false, 0},
        {"-9223372036854775809", false, 0},
        {"18446744073709551616", false, 0},
        {"99999999999999999999", false, 0},
        {"", false, 0},
        {"-", false, 0},
        {"-0", false, 0},
        {"01", false, 0},
        {"-01", false, 0},
        {"00", false, 0},
        {"+1", false, 0},
        {" 1", false, 0},
        {"1 ", false, 0},
        {"1a", false, 0},
        {"a", false, 0},
        {"--1", false, 0},
        {"1/", false, 0},
        {"1:", false, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t v = 0;
        assert_int_equal(slice_to_i64(slice_of(cases[i].text), &v), cases[i].ok);
        if (cases[i].ok)
            assert_true(v == cases[i].v);
    }
}

static void unsigned_text_is_digits_only(void **state)
{
    uint64_t v = 0;

    (void)state;
    assert_true(slice_to_u64(slice_of("0"), &v) && v == 0);
    assert_true(slice_to_u64(slice_of("007"), &v) && v == 7);
    assert_true(slice_to_u64(slice_of("00000000000000000000000000000012"), &v) && v == 12);
    assert_true(slice_to_u64(slice_of("18446744073709551615"), &v) && v == UINT64_MAX);
    assert_false(slice_to_u64(slice_of("18446744073709551616"), &v));
    assert_false(slice_to_u64(slice_of("28446744073709551615"), &v));
    assert_false(slice_to_u64(slice_of("184467440737095516150"), &v));
    assert_false(slice_to_u64(slice_of(""), &v));
    assert_false(slice_to_u64(slice_of("-1"), &v));
    assert_false(slice_to_u64(slice_of("+1"), &v));
    assert_false(slice_to_u64(slice_of("1 "), &v));
    assert_false(slice_to_u64(slice_of("0000000000000000000x"), &v));
    assert_false(slice_to_u64((struct slice){NULL, 0}, &v));
}

static void round_trip(int64_t v)
{
    uint8_t text[20];
    char expected[32];
    int64_t back;
    size_t len = i64_to_text(text, v);

    assert_int_equal(len, snprintf(expected, sizeof expected, "%lld", (long long)v));
    assert_memory_equal(text, expected, len);
    assert_true(slice_to_i64((struct slice){text, len}, &back) && back == v);
    len = u64_to_text(text, (uint64_t)v);
    assert_int_equal(len, snprintf(expected, sizeof expected, "%llu", (unsigned long long)v));
    assert_memory_equal(text, expected, len);
}

static void numbers_round_trip(void **state)
{
    uint64_t power = 1;

    (void)state;
    for (int64_t v = -12000; v < 12000; v++)
        round_trip(v);
    for (int digits = 0; digits < 20; digits++, power *= 10)
        for (uint64_t near = 0; near < 3; near++) {
            round_trip((int64_t)(power + near - 1));
            round_trip((int64_t)(0 - (power + near - 1)));
        }
    round_trip(INT64_MAX);
    round_trip(INT64_MIN);
}

/* Not inlined: with constants in sight gcc 12 warns of bounds it cannot follow. */
static __attribute__((noinline)) bool is(struct slice s, const char *text)
{
    return slice_is(s, text);
}

static void words_compare_without_case(void **state)
{
    (void)state;
    assert_true(is(slice_of("GeT"), "get"));
    assert_false(is(slice_of("ge"), "get"));
    assert_false(is(slice_of("gets"), "get"));
    assert_false(is((struct slice){(const uint8_t *)"get\0", 4}, "get"));
    assert_true(slice_equals(slice_of(""), (struct slice){NULL, 0}));
    assert_false(slice_equals(slice_of("a"), slice_of("b")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signed_text_is_as_strict_as_redis),
        cmocka_unit_test(unsigned_text_is_digits_only),
        cmocka_unit_test(numbers_round_trip),
        cmocka_unit_test(words_compare_without_case),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
