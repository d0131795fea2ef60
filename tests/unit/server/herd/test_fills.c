/* test_fills.c - how long leases last, learned from fills. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "server/herd/bins.h"
#include "server/herd/fills.h"

static const struct fills_bounds bounds = {.min_ms = 50, .max_ms = 10000, .default_ms = 1000};
static struct fills *fills;

static int setup(void **state)
{
    (void)state;
    fills = fills_new(7);
    return fills == NULL;
}

static int teardown(void **state)
{
    (void)state;
    fills_free(&fills);
    return 0;
}

static uint32_t lease(const char *name)
{
    return fills_lease_ms(fills, slice_of(name), &bounds);
}

static void note(const char *name, uint32_t ms, int times)
{
    while (times-- > 0)
        fills_note(fills, slice_of(name), ms);
}

static void test_bins_hold_what_falls_into_them(void **state)
{
    (void)state;
    for (uint32_t ms = 0; ms < 1u << BINS_BITS; ms += 1 + ms / 100) {
        unsigned bin = bin_of(ms);

        assert_true(bin < BINS);
        assert_true(bin_top(bin) >= ms);
        assert_true(bin == 0 || bin_top(bin - 1) < ms);
        assert_true(bin_top(bin) <= ms + ms / 4);
    }
    assert_int_equal(bin_of(UINT32_MAX), BINS - 1);
}

static void test_prefix_ends_with_its_delimiter(void **state)
{
    (void)state;
    assert_int_equal(fills_prefix(slice_of("user:1:name")).len, 5);
    assert_int_equal(fills_prefix(slice_of("a/b:c")).len, 2);
    assert_int_equal(fills_prefix(slice_of("a.b")).len, 2);
    assert_int_equal(fills_prefix(slice_of("ab|c")).len, 3);
    assert_int_equal(fills_prefix(slice_of(":x")).len, 1);
    assert_int_equal(fills_prefix(slice_of("plain")).len, 0);
    assert_int_equal(fills_prefix(slice_of("")).len, 0);
}

static void test_default_while_little_is_known(void **state)
{
    (void)state;
    assert_int_equal(lease("a:1"), 1000);
    note("a:1", 20, 4);
    assert_int_equal(lease("a:1"), 1000);
    note("a:1", 20, 1);
    assert_in_range(lease("a:2"), 50, 60);
    assert_int_equal(lease("b:1"), 1000);
}

static void test_slow_fills_count_at_once(void **state)
{
    (void)state;
    note("a:1", 3000, 1);
    assert_in_range(lease("a:1"), 4500, 5700);
}

static void test_bounds_hold(void **state)
{
    (void)state;
    note("quick:", 1, 100);
    note("slow:", 60000, 100);
    assert_int_equal(lease("quick:1"), 50);
    assert_int_equal(lease("slow:1"), 10000);
}

/* Nearly all fills must fit: one in a hundred may be longer. */
static void test_follows_the_slowest_but_for_one_percent(void **state)
{
    (void)state;
    note("a:", 100, 97);
    note("a:", 800, 3);
    assert_in_range(lease("a:"), 1200, 1520);
    note("b:", 100, 199);
    note("b:", 800, 1);
    assert_in_range(lease("b:"), 150, 200);
}

static void test_forgets_how_it_was_long_ago(void **state)
{
    (void)state;
    note("a:", 5000, 200);
    note("a:", 100, 4000);
    assert_in_range(lease("a:"), 150, 200);
}

/* Doubled with each lease that runs out, until somebody fills. */
static void test_a_lease_that_ran_out_makes_the_next_longer(void **state)
{
    (void)state;
    note("a:", 100, 50);
    uint32_t first = lease("a:1");

    fills_note_expired(fills, slice_of("a:1"));
    assert_int_equal(lease("a:1"), 2 * first);
    fills_note_expired(fills, slice_of("a:1"));
    assert_int_equal(lease("a:1"), 4 * first);
    for (int i = 0; i < 100; i++)
        fills_note_expired(fills, slice_of("a:1"));
    assert_int_equal(lease("a:1"), 10000);
    note("a:", 100, 1);
    assert_int_equal(lease("a:1"), first);
}

/* A few failures in a row are enough, and a few fills. */
static void test_waiting_is_worth_while_where_misses_are_filled(void **state)
{
    unsigned failures = 0, repairs = 0;

    (void)state;
    assert_true(fills_are_likely(fills, slice_of("a:1")));
    while (!fills_note_expired(fills, slice_of("a:1")))
        failures++;
    assert_in_range(failures, 4, 10);
    assert_false(fills_are_likely(fills, slice_of("a:2")));
    assert_true(fills_are_likely(fills, slice_of("b:1")));
    assert_int_equal(fills_unlikely(fills), 1);
    assert_false(fills_note_expired(fills, slice_of("a:1"))); /* it has ended already */
    while (!fills_are_likely(fills, slice_of("a:1"))) {
        note("a:1", 10, 1);
        repairs++;
    }
    assert_in_range(repairs, 4, 12);
    note("a:1", 10, 200); /* always filled: now it takes longer */
    for (failures = 0; !fills_note_expired(fills, slice_of("a:1")); failures++)
        note("b:1", 10, 1);
    assert_in_range(failures, 15, 30);
    assert_int_equal(fills_unlikely(fills), 1);
    note("a:1", 10, 20);
    assert_int_equal(fills_unlikely(fills), 0);
}

/* A thousand who waited together are one failure. */
static void test_a_crowd_that_waited_in_vain_counts_once(void **state)
{
    instant now = {1700000000000};
    span park = {500};
    bool ended = false;

    (void)state;
    for (unsigned i = 0; i < 1000; i++)
        assert_false(fills_note_vain(fills, slice_of("a:"), after(now, (span){i % 100}), park));
    for (unsigned i = 1; i < 12 && !ended; i++)
        ended = fills_note_vain(fills, slice_of("a:"), after(now, (span){i * 500}), park);
    assert_true(ended);
}

/* More prefixes than there is room for: those in use are kept, and others get the default. */
static void test_table_is_bounded(void **state)
{
    char name[32];

    (void)state;
    note("kept:", 100, 50);
    uint32_t kept = lease("kept:");
    for (int i = 0; i < 100000; i++) {
        snprintf(name, sizeof name, "%d:x", i);
        note(name, 2000, 1);
        if (i % 10 == 0)
            note("kept:", 100, 1);
    }
    assert_int_equal(lease("kept:"), kept);
    assert_int_equal(lease("never:"), 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bins_hold_what_falls_into_them),
        cmocka_unit_test(test_prefix_ends_with_its_delimiter),
        cmocka_unit_test_setup_teardown(test_default_while_little_is_known, setup, teardown),
        cmocka_unit_test_setup_teardown(test_slow_fills_count_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bounds_hold, setup, teardown),
        cmocka_unit_test_setup_teardown(test_follows_the_slowest_but_for_one_percent, setup, teardown),
        cmocka_unit_test_setup_teardown(test_forgets_how_it_was_long_ago, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_lease_that_ran_out_makes_the_next_longer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_waiting_is_worth_while_where_misses_are_filled, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_crowd_that_waited_in_vain_counts_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_table_is_bounded, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
