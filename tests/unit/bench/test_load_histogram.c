/* test_load_histogram.c - percentiles against a sorted list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "bench/load_histogram.c"
#include "bench/load_pick.h"

static void empty_says_zero(void **state)
{
    struct histogram *h = histogram_new();

    (void)state;
    histogram_check(h);
    assert_int_equal(histogram_count(h), 0);
    assert_int_equal(histogram_at(h, 0.5), 0);
    assert_int_equal(histogram_max(h), 0);
    histogram_free(&h);
    assert_null(h);
}

static void every_value_lands_within_a_128th_above(void **state)
{
    (void)state;
    for (uint64_t value = 1; value <= LOAD_HISTOGRAM_MAX_NS / 2; value += value / 97 + 1) {
        uint64_t top = cell_top(cell_of(value));

        assert_true(top >= value);
        assert_true((double)(top - value) <= (double)value / 128);
    }
}

static void cells_touch_without_overlap(void **state)
{
    (void)state;
    for (unsigned cell = 0; cell + 1 < CELLS; cell++) {
        assert_int_equal(cell_of(cell_top(cell)), cell);
        assert_int_equal(cell_of(cell_top(cell) + 1), cell + 1);
    }
}

static void too_long_counts_as_the_longest(void **state)
{
    struct histogram *h = histogram_new();

    (void)state;
    histogram_add(h, UINT64_MAX);
    histogram_check(h);
    assert_int_equal(histogram_max(h), UINT64_MAX);
    assert_int_equal(histogram_at(h, 0.5), LOAD_HISTOGRAM_MAX_NS);
    histogram_free(&h);
}

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static void percentiles_agree_with_a_sorted_list(void **state)
{
    enum { VALUES = 20000 };
    static uint64_t values[VALUES];
    static const double FRACTIONS[] = {0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 1};
    struct histogram *h = histogram_new(), *half = histogram_new();
    uint64_t dice = 7;

    (void)state;
    for (int i = 0; i < VALUES; i++) {
        values[i] = dice_roll(&dice) >> (24 + i % 36);
        histogram_add(i % 2 ? h : half, values[i]);
    }
    histogram_merge(h, half);
    histogram_check(h);
    assert_int_equal(histogram_count(h), VALUES);
    qsort(values, VALUES, sizeof values[0], by_size);
    assert_int_equal(histogram_max(h), values[VALUES - 1]);
    for (size_t i = 0; i < sizeof FRACTIONS / sizeof FRACTIONS[0]; i++) {
        uint64_t exact = values[(int)(FRACTIONS[i] * VALUES + 0.5) - 1];
        uint64_t told = histogram_at(h, FRACTIONS[i]);

        assert_true(told >= exact);
        assert_true((double)told <= (double)exact * (1 + 1.0 / 128));
    }
    histogram_free(&h);
    histogram_free(&half);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_says_zero),
        cmocka_unit_test(every_value_lands_within_a_128th_above),
        cmocka_unit_test(cells_touch_without_overlap),
        cmocka_unit_test(too_long_counts_as_the_longest),
        cmocka_unit_test(percentiles_agree_with_a_sorted_list),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
