/* test_bloom.c - the Bloom filter against exact sets and against its formula.
 *
 *     test_bloom --speed    prints ns per operation, as in bench/RESULTS-FILTERS.md */
#include "server/filter/bloom.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

static uint64_t hash_of(uint64_t key)
{
    uint64_t x = (key + 1) * UINT64_C(0x9E3779B97F4A7C15);

    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}

/* Of so many strangers, how many does it take for its own? */
static double strangers_taken(const struct bloom *b, unsigned asked)
{
    unsigned taken = 0;

    for (uint64_t i = 0; i < asked; i++)
        taken += bloom_maybe(b, hash_of(UINT64_C(1) << 40 | i));
    return (double)taken / asked;
}

/* Within five standard deviations, and 4 % for the chances of one set of keys. */
static void assert_rate(double got, double expected, unsigned asked)
{
    double slack = 5 * sqrt(expected * (1 - expected) / asked) + .04 * expected;

    if (fabs(got - expected) > slack)
        print_message("a rate of %g where %g is expected\n", got, expected);
    assert_true(fabs(got - expected) <= slack);
}

static void nothing_added_is_ever_denied(void **state)
{
    static const double errors[] = {.3, .01, .0001, 1e-7};
    static const unsigned expansions[] = {0, 1, 2, 4};

    (void)state;
    for (unsigned e = 0; e < 4; e++)
        for (unsigned x = 0; x < 4; x++) {
            struct bloom *b = bloom_new(500, errors[e], expansions[x]);
            uint64_t added = 0;

            assert_non_null(b);
            for (uint64_t key = 0; key < 3000; key++) {
                enum bloom_added how = bloom_add(b, hash_of(key));

                if (how == BLOOM_FULL) {
                    assert_int_equal(expansions[x], 0);
                    break;
                }
                assert_true(how == BLOOM_NEW || how == BLOOM_KNOWN);
                added = key + 1;
                assert_int_equal(bloom_add(b, hash_of(key)), BLOOM_KNOWN);
                if (key % 100 == 0)
                    bloom_check(b);
            }
            assert_true(added >= 500 && (expansions[x] == 0 || added == 3000));
            for (uint64_t key = 0; key < added; key++)
                assert_true(bloom_maybe(b, hash_of(key)));
            bloom_free(&b);
            assert_null(b);
        }
}

/* A filter that is as full as it was made for keeps its error and nearly uses it up. */
static void a_full_filter_keeps_its_error(void **state)
{
    enum { KEYS = 50000, ASKED = 400000 };
    static const double errors[] = {.1, .01, .001};

    (void)state;
    for (unsigned e = 0; e < 3; e++) {
        struct bloom *b = bloom_new(KEYS, errors[e], 0);

        for (uint64_t key = 0; bloom_items(b) < KEYS; key++)
            bloom_add(b, hash_of(key));
        assert_int_equal(bloom_add(b, hash_of(UINT64_C(1) << 50)) == BLOOM_NEW, false);
        assert_true(bloom_rate(b) <= errors[e] * 1.01 && bloom_rate(b) > .85 * errors[e]);
        assert_rate(strangers_taken(b, ASKED), bloom_rate(b), ASKED);
        bloom_free(&b);
    }
}

/* With fewer keys than it was made for the rate is that of the formula, too. */
static void rates_are_those_of_the_formula(void **state)
{
    enum { ASKED = 1000000 };

    (void)state;
    for (unsigned keys = 10000; keys <= 40000; keys += 10000) {
        struct bloom *b = bloom_new(40000, .001, 0);
        double bits = (double)(bloom_bytes(b) * 8);

        for (uint64_t key = 0; key < keys; key++)
            bloom_add(b, hash_of(key));
        assert_rate(strangers_taken(b, ASKED), bloom_blocked_rate(bits / keys, 9), ASKED);
        bloom_free(&b);
    }
}

/* Blocks cost: 9.6 bits per key is what a plain filter takes for 1 %. */
static void the_formula_is_known_at_some_points(void **state)
{
    (void)state;
    assert_true(fabs(bloom_blocked_rate(1e6, 7)) < 1e-9);
    assert_true(fabs(bloom_blocked_rate(1, 1) - (1 - exp(-1))) < .001); /* one bit: blocks do not matter */
    assert_true(bloom_blocked_rate(9.6, 7) > .0105 && bloom_blocked_rate(9.6, 7) < .0125);
}

static void growth_keeps_the_error(void **state)
{
    enum { KEYS = 100000, ASKED = 400000 };
    struct bloom *b = bloom_new(1000, .01, 2);

    (void)state;
    for (uint64_t key = 0; key < KEYS; key++)
        assert_true(bloom_add(b, hash_of(key)) != BLOOM_NO_MEMORY);
    bloom_check(b);
    assert_int_equal(bloom_layers(b), 7); /* 1000 + 2000 + .. + 64000 */
    assert_int_equal(bloom_capacity(b), 127000);
    assert_int_equal(bloom_expansion(b), 2);
    assert_true(bloom_error(b) == .01);
    assert_true(bloom_items(b) <= KEYS && bloom_items(b) > .99 * KEYS);
    assert_true(bloom_rate(b) <= .01);
    assert_rate(strangers_taken(b, ASKED), bloom_rate(b), ASKED);
    bloom_clear(b);
    bloom_check(b);
    assert_int_equal(bloom_layers(b), 1);
    assert_int_equal(bloom_items(b), 0);
    assert_true(strangers_taken(b, 1000) == 0);
    bloom_free(&b);
}

static void what_cannot_be_held_is_refused(void **state)
{
    (void)state;
    assert_null(bloom_new(UINT64_C(1) << 60, .01, 2));
}

/* ---- --speed ---- */

static double now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void time_one(uint64_t keys, double error)
{
    double add = INFINITY, hit = INFINITY, miss = INFINITY, bits = 0;
    uint64_t found = 0;

    for (int round = 0; round < 3; round++) {
        struct bloom *b = bloom_new(keys, error, 0);
        double start = now_ns();

        for (uint64_t key = 0; key < keys; key++)
            bloom_add(b, hash_of(key));
        add = fmin(add, now_ns() - start);
        start = now_ns();
        for (uint64_t key = 0; key < keys; key++)
            found += bloom_maybe(b, hash_of(key));
        hit = fmin(hit, now_ns() - start);
        start = now_ns();
        for (uint64_t key = 0; key < keys; key++)
            found += bloom_maybe(b, hash_of(UINT64_C(1) << 40 | key));
        miss = fmin(miss, now_ns() - start);
        bits = (double)bloom_bytes(b) * 8 / (double)keys;
        bloom_free(&b);
    }
    printf("bloom %9llu keys, error %-6g: add %5.1f ns, hit %5.1f ns, miss %5.1f ns, %4.1f bits a key%s\n",
           (unsigned long long)keys, error, add / (double)keys, hit / (double)keys, miss / (double)keys, bits,
           found < 3 * keys ? " (keys were lost)" : "");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_added_is_ever_denied),
        cmocka_unit_test(a_full_filter_keeps_its_error),
        cmocka_unit_test(rates_are_those_of_the_formula),
        cmocka_unit_test(the_formula_is_known_at_some_points),
        cmocka_unit_test(growth_keeps_the_error),
        cmocka_unit_test(what_cannot_be_held_is_refused),
    };

    if (argc > 1 && strcmp(argv[1], "--speed") == 0) {
        time_one(100000, .01);
        time_one(10000000, .01);
        time_one(10000000, .004);
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
