/* test_sketch.c - the frequency sketch: against exact counts, its aging, its growth. */
#include "server/filter/sketch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static uint64_t hash_of(uint64_t key)
{
    uint64_t x = (key + 1) * UINT64_C(0x9E3779B97F4A7C15);

    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}

/* Before anything is halved an estimate is never too low, and seldom too high. */
static void estimates_are_never_too_low(void **state)
{
    enum { KEYS = 4096 };
    struct sketch *s = sketch_new(KEYS);
    unsigned too_high = 0;

    (void)state;
    assert_non_null(s);
    for (unsigned round = 1; round <= 8; round++)
        for (uint64_t key = 0; key < KEYS; key++)
            if (key % 8 < round)
                sketch_add(s, hash_of(key));
    for (uint64_t key = 0; key < KEYS; key++) {
        unsigned truth = 8 - (unsigned)(key % 8), count = sketch_count(s, hash_of(key));

        assert_true(count >= truth);
        too_high += count > truth;
    }
    assert_true(too_high < KEYS / 20);
    sketch_check(s);
    sketch_free(&s);
    assert_null(s);
}

static void counters_stop_at_fifteen(void **state)
{
    struct sketch *s = sketch_new(1000);

    (void)state;
    for (unsigned i = 1; i <= 40; i++) {
        sketch_add(s, hash_of(7));
        assert_int_equal(sketch_count(s, hash_of(7)), i < SKETCH_COUNT_MAX ? i : SKETCH_COUNT_MAX);
    }
    assert_int_equal(sketch_count(s, hash_of(8)), 0);
    sketch_free(&s);
}

/* 10 additions an entry, then everything is worth half; additions that find
 * every counter full do not hurry it. */
static void a_period_halves_everything(void **state)
{
    enum { ENTRIES = 300 };
    struct sketch *s = sketch_new(ENTRIES);

    (void)state;
    assert_int_equal(sketch_period(s), 10 * ENTRIES);
    for (unsigned i = 0; i < 10000; i++)
        sketch_add(s, hash_of(0));
    assert_int_equal(sketch_count(s, hash_of(0)), SKETCH_COUNT_MAX);
    for (unsigned i = 0; i < 10 * ENTRIES - SKETCH_COUNT_MAX - 1; i++)
        sketch_add(s, hash_of(1 + i));
    assert_int_equal(sketch_count(s, hash_of(0)), SKETCH_COUNT_MAX);
    sketch_add(s, hash_of(1000000));
    assert_int_equal(sketch_count(s, hash_of(0)), SKETCH_COUNT_MAX / 2);
    sketch_free(&s);
}

/* What another remembers brings the halving nearer, and is in no counter. */
static void what_passes_counts_for_the_period_only(void **state)
{
    enum { ENTRIES = 300 };
    struct sketch *s = sketch_new(ENTRIES);

    (void)state;
    for (unsigned i = 0; i < 8; i++)
        assert_false(sketch_add(s, hash_of(0)));
    for (unsigned i = 0; i < 10 * ENTRIES - 8 - 1; i++)
        assert_false(sketch_pass(s));
    assert_int_equal(sketch_count(s, hash_of(0)), 8);
    assert_int_equal(sketch_count(s, hash_of(1)), 0);
    assert_true(sketch_pass(s));
    assert_int_equal(sketch_count(s, hash_of(0)), 4);
    sketch_free(&s);
}

static void growing_changes_no_estimate(void **state)
{
    struct sketch *s = sketch_new(256);
    static unsigned before[2000];
    size_t bytes;

    (void)state;
    for (uint64_t i = 0; i < 2000; i++)
        sketch_add(s, hash_of(i % 700));
    for (uint64_t key = 0; key < 2000; key++)
        before[key] = sketch_count(s, hash_of(key));
    bytes = sketch_bytes(s);
    assert_true(sketch_fit(s, 10000));
    assert_int_equal(sketch_entries(s), 10000);
    assert_true(sketch_bytes(s) >= 10000 * 8 && sketch_bytes(s) > bytes);
    for (uint64_t key = 0; key < 2000; key++)
        assert_int_equal(sketch_count(s, hash_of(key)), before[key]);
    sketch_check(s);
    sketch_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(estimates_are_never_too_low),
        cmocka_unit_test(counters_stop_at_fifteen),
        cmocka_unit_test(a_period_halves_everything),
        cmocka_unit_test(what_passes_counts_for_the_period_only),
        cmocka_unit_test(growing_changes_no_estimate),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
