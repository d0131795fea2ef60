/* test_figures.c - figures per command: buckets, percentiles, sums, resets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "server/figures.h"

static void buckets_are_in_order_and_without_gaps(void **state)
{
    (void)state;
    for (unsigned bucket = 8; bucket + 1 < FIGURES_BUCKETS; bucket++) {
        uint64_t end = figures_bucket_end(bucket);

        assert_int_equal(figures_bucket(end - 1), bucket);
        assert_int_equal(figures_bucket(end), bucket + 1);
        assert_true(figures_bucket_end(bucket + 1) > end);
    }
    assert_int_equal(figures_bucket(0), 8);
    assert_int_equal(figures_bucket(UINT64_MAX), FIGURES_BUCKETS - 1);
}

/* A bucket is at most a quarter of its beginning wide. */
static void buckets_are_narrow(void **state)
{
    (void)state;
    for (unsigned bucket = 9; bucket < FIGURES_BUCKETS; bucket++) {
        uint64_t from = figures_bucket_end(bucket - 1), to = figures_bucket_end(bucket);

        assert_true((to - from) * 4 <= from);
    }
}

static void percentiles_come_from_the_histogram(void **state)
{
    uint64_t histogram[FIGURES_BUCKETS] = {0};

    (void)state;
    assert_int_equal(figures_percentile(histogram, 50), 0);
    histogram[figures_bucket(1000)] = 90;
    histogram[figures_bucket(1000000)] = 10;
    assert_int_equal(figures_bucket(figures_percentile(histogram, 50)), figures_bucket(1000));
    assert_int_equal(figures_bucket(figures_percentile(histogram, 90)), figures_bucket(1000));
    assert_int_equal(figures_bucket(figures_percentile(histogram, 91)), figures_bucket(1000000));
    assert_int_equal(figures_bucket(figures_percentile(histogram, 100)), figures_bucket(1000000));
}

static struct figures *make(void)
{
    struct figures *f = figures_new();

    assert_non_null(f);
    return f;
}

static void workers_are_summed_and_a_reset_subtracts(void **state)
{
    static const char config_get[] = "config|get";
    const struct command *get = command_find(slice_of("get")), *config = command_find(slice_of("config"));
    struct figures *a = make(), *b = make(), *total = make(), *baseline = make();
    struct command_figures *row;

    (void)state;
    figures_end(a, get, get->name, ticks_now(), false, true);
    figures_end(a, get, get->name, ticks_now(), true, true);
    figures_count(&figures_of(b, get)->calls);
    figures_count(&figures_of(b, get)->rejected);
    figures_end(b, config, config_get, ticks_now(), false, false);
    figures_add(total, a);
    figures_add(total, b);
    row = figures_named(total, slice_of("GET"));
    assert_int_equal(row->calls, 3);
    assert_int_equal(row->timed, 2);
    assert_int_equal(row->failed, 1);
    assert_int_equal(row->rejected, 1);
    assert_int_equal(figures_named(total, slice_of("Config|Get"))->calls, 1);
    assert_int_equal(figures_named(total, slice_of("config"))->calls, 0);
    assert_null(figures_named(total, slice_of("config|set")));

    figures_add(baseline, a);
    figures_add(baseline, b);
    figures_subtract(total, baseline);
    assert_int_equal(row->calls, 0);
    assert_int_equal(row->timed, 0);
    assert_int_equal(row->ns, 0);
    uint64_t *histogram = atomic_load(&row->histogram);
    for (unsigned i = 0; i < FIGURES_BUCKETS; i++)
        assert_int_equal(histogram[i], 0);
    figures_free(&a);
    figures_free(&b);
    figures_free(&total);
    figures_free(&baseline);
}

static void the_total_is_extrapolated(void **state)
{
    struct command_figures row = {.calls = 1000, .timed = 10, .ns = 5000};

    (void)state;
    assert_int_equal(figures_ns(&row), 500000);
    row = (struct command_figures){.calls = 3, .timed = 3, .ns = 7};
    assert_int_equal(figures_ns(&row), 7);
    row = (struct command_figures){.calls = 3};
    assert_int_equal(figures_ns(&row), 0);
}

/* More subcommands than there is room for are counted, for their parent. */
static void a_full_table_loses_no_call(void **state)
{
    static char names[FIGURES_SUBCOMMANDS + 5][16]; /* the address tells them apart */
    const struct command *config = command_find(slice_of("config"));
    struct figures *f = make();
    uint64_t calls = 0;

    (void)state;
    for (size_t i = 0; i < FIGURES_SUBCOMMANDS + 5; i++) {
        memcpy(names[i], "config|x", 9);
        figures_end(f, config, names[i], ticks_now(), false, false);
    }
    for (size_t i = 0; i < FIGURES_SUBCOMMANDS; i++)
        calls += f->subcommands[i].figures.calls;
    assert_int_equal(calls, FIGURES_SUBCOMMANDS);
    assert_int_equal(figures_of(f, config)->calls, 5);
    figures_free(&f);
}

/* EXEC ends with the name of what ran last in it. */
static void another_name_is_no_subcommand(void **state)
{
    const struct command *config = command_find(slice_of("config"));
    struct figures *f = make();

    (void)state;
    figures_end(f, config, "get", ticks_now(), false, false);
    figures_end(f, config, "configs|get", ticks_now(), false, false);
    assert_int_equal(figures_of(f, config)->calls, 2);
    figures_free(&f);
}

static void wait_ns(int64_t ns)
{
    int64_t from = clock_ticks_ns();

    while (clock_ticks_ns() - from < ns)
        ;
}

/* Who has been timed in a batch is not in what the others took together. */
static void a_batch_is_told_without_those_already_known(void **state)
{
    const struct command *keys = command_find(slice_of("keys"));
    struct figures *f = make();
    uint64_t began, known, rest;
    int64_t from_ns;

    (void)state;
    from_ns = clock_ticks_ns();
    figures_batch_whole(f);
    wait_ns(1000000);
    began = figures_begin(f);
    wait_ns(20000000);
    known = figures_end(f, keys, keys->name, began, false, false);
    rest = figures_batch_end(f);
    assert_true(known >= 19000000);
    assert_true(rest >= 900000);
    assert_true(rest + known <= (uint64_t)(clock_ticks_ns() - from_ns) / 100 * 101);
    figures_free(&f);
}

static void who_is_timed(void **state)
{
    const struct command *get = command_find(slice_of("get")), *keys = command_find(slice_of("keys"));
    struct figures *f = make();
    unsigned one_by_one = 0;

    (void)state;
    figures_batch_begin(f, FIGURES_SHORT - 1, false);
    assert_true(figures_times(f, get, 2));
    for (unsigned i = 0; i < 1600; i++) {
        figures_batch_begin(f, 32, false);
        one_by_one += f->one_by_one;
        assert_true(figures_times(f, keys, 2));
        assert_true(figures_times(f, get, FIGURES_WORDS + 1));
    }
    assert_in_range(one_by_one, 1600 / FIGURES_SAMPLE / 2, 1600 / FIGURES_SAMPLE * 2);
    figures_batch_begin(f, 32, true);
    assert_true(figures_times(f, get, 2));
    assert_int_equal(figures_batch_end(f), 0);
    figures_look_closer(f);
    figures_batch_begin(f, 32, false);
    assert_true(figures_times(f, get, 2));
    figures_free(&f);
}

/* Between two readings of the clock inside, and two outside; a percent is far more than calibration misses
 * by. */
static void ticks_keep_the_time(void **state)
{
    int64_t outer, inner, inner_ns, outer_ns;
    uint64_t from, ns;

    (void)state;
    ticks_calibrate();
    outer = clock_ticks_ns();
    from = ticks_now();
    inner = clock_ticks_ns();
    wait_ns(20000000);
    inner_ns = clock_ticks_ns() - inner;
    ns = ticks_to_ns(ticks_between(from, ticks_now()));
    outer_ns = clock_ticks_ns() - outer;
    assert_true(ns >= (uint64_t)inner_ns / 100 * 99);
    assert_true(ns <= (uint64_t)outer_ns / 100 * 101);
    assert_int_equal(ticks_between(5, 3), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buckets_are_in_order_and_without_gaps),
        cmocka_unit_test(buckets_are_narrow),
        cmocka_unit_test(percentiles_come_from_the_histogram),
        cmocka_unit_test(workers_are_summed_and_a_reset_subtracts),
        cmocka_unit_test(the_total_is_extrapolated),
        cmocka_unit_test(a_full_table_loses_no_call),
        cmocka_unit_test(another_name_is_no_subcommand),
        cmocka_unit_test(a_batch_is_told_without_those_already_known),
        cmocka_unit_test(who_is_timed),
        cmocka_unit_test(ticks_keep_the_time),
    };

    return cmocka_run_group_tests_name("figures", tests, NULL, NULL);
}
