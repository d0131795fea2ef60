/* test_counters.c - counting in one thread while others sum. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "server/counters.h"

static void every_worker_has_its_own_cache_lines(void **state)
{
    struct counters two[2];

    (void)state;
    assert_int_equal((uintptr_t)&two[0] % COUNTERS_ALIGN, 0);
    assert_int_equal(sizeof two[0] % COUNTERS_ALIGN, 0);
    assert_true(sizeof two[0] >= counters_count() * sizeof(uint64_t));
}

static void adding_changes_one_field_only(void **state)
{
    struct counters c = {0};

    (void)state;
    counter_add(&c, keyspace_hits, 1);
    counter_add(&c, keyspace_hits, 2);
    counter_add(&c, net_input_bytes, UINT64_C(5000000000));
    for (size_t i = 0; i < counters_count(); i++) {
        uint64_t want = 0;

        if (strcmp(counters_name(i), "keyspace_hits") == 0)
            want = 3;
        if (strcmp(counters_name(i), "net_input_bytes") == 0)
            want = UINT64_C(5000000000);
        assert_true(counters_value(&c, i) == want);
    }
}

static void sums_add_up_and_overwrite(void **state)
{
    struct counters a = {0};
    struct counters b = {0};
    struct counters *const all[] = {&a, &b};
    struct counters out;

    (void)state;
    counter_add(&a, mc_cas_badval, 1);
    counter_add(&b, mc_cas_badval, 10);
    counter_add(&b, mc_touch_misses, 7); /* the last row */
    memset(&out, 0xff, sizeof out);
    counters_sum(all, 2, &out);
    assert_int_equal(out.mc_cas_badval, 11);
    assert_int_equal(out.mc_touch_misses, 7);
    assert_int_equal(out.connections_received, 0);
    counters_sum(all, 0, &out);
    assert_int_equal(out.mc_cas_badval, 0);
}

static void a_reset_is_a_subtraction(void **state)
{
    struct counters now = {0};
    struct counters at_reset = {0};

    (void)state;
    counter_add(&now, commands_processed, 10);
    counter_add(&at_reset, commands_processed, 4);
    counter_add(&at_reset, too_large, 1);
    counters_subtract(&now, &at_reset);
    assert_int_equal(now.commands_processed, 6);
    assert_int_equal(now.too_large, 0); /* never below zero */
}

static void every_row_has_a_name_of_its_own_and_help(void **state)
{
    (void)state;
    assert_string_equal(counters_name(0), "connections_received");
    for (size_t i = 0; i < counters_count(); i++) {
        assert_true(counters_help(i)[0] != '\0');
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(counters_name(i), counters_name(j));
    }
}

enum { OWNERS = 3, ROUNDS = 200000 };

static void *count_up(void *arg)
{
    struct counters *mine = arg;

    for (int i = 0; i < ROUNDS; i++)
        counter_add(mine, commands_processed, 1);
    return NULL;
}

static void readers_see_sums_that_only_grow(void **state)
{
    static struct counters owned[OWNERS];
    struct counters *all[OWNERS];
    pthread_t threads[OWNERS];
    struct counters out = {0};
    uint64_t before = 0;

    (void)state;
    for (size_t i = 0; i < OWNERS; i++) {
        all[i] = &owned[i];
        assert_int_equal(pthread_create(&threads[i], NULL, count_up, all[i]), 0);
    }
    while (before < (uint64_t)OWNERS * ROUNDS) {
        counters_sum(all, OWNERS, &out);
        assert_true(out.commands_processed >= before);
        before = out.commands_processed;
    }
    for (size_t i = 0; i < OWNERS; i++)
        pthread_join(threads[i], NULL);
    counters_sum(all, OWNERS, &out);
    assert_int_equal(out.commands_processed, OWNERS * ROUNDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_worker_has_its_own_cache_lines),
        cmocka_unit_test(adding_changes_one_field_only),
        cmocka_unit_test(sums_add_up_and_overwrite),
        cmocka_unit_test(a_reset_is_a_subtraction),
        cmocka_unit_test(every_row_has_a_name_of_its_own_and_help),
        cmocka_unit_test(readers_see_sums_that_only_grow),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
