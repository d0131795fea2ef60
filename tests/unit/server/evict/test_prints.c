/* test_prints.c - the ghost of fingerprints: exact while small, within a
 * thousandth when large, at most 8 bytes an entry, and nothing returns to life
 * when the stamps come round. */
#include "server/evict/prints.h"

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

/* Adds keys from..to-1 of weight 1. */
static void add(struct prints *p, uint64_t from, uint64_t to)
{
    for (uint64_t key = from; key < to; key++)
        prints_add(p, hash_of(key), 1);
}

static uint64_t take(struct prints *p, uint64_t from, uint64_t to)
{
    uint64_t found = 0;

    for (uint64_t key = from; key < to; key++)
        found += prints_take(p, hash_of(key), 1);
    return found;
}

static void a_small_one_is_an_exact_fifo(void **state)
{
    (void)state;
    for (uint64_t capacity = 1; capacity < 2000; capacity = capacity * 3 + 1) {
        struct prints *p = prints_new(capacity);

        assert_non_null(p);
        add(p, 0, 5000);
        prints_check(p);
        assert_int_equal(prints_weight(p), capacity);
        assert_int_equal(prints_count(p), capacity);
        assert_int_equal(take(p, 0, 5000 - capacity), 0);
        assert_int_equal(take(p, 5000 - capacity, 5000), capacity);
        assert_int_equal(prints_weight(p), 0);
        prints_check(p);
        prints_free(&p);
        assert_null(p);
    }
}

static void a_hit_makes_room_for_older_ones(void **state)
{
    struct prints *p = prints_new(1000);

    (void)state;
    add(p, 0, 1000);
    assert_int_equal(take(p, 500, 600), 100);
    assert_int_equal(take(p, 500, 600), 0);
    add(p, 1000, 1100);
    prints_check(p);
    assert_int_equal(prints_weight(p), 1000);
    assert_int_equal(take(p, 0, 100), 100); /* nothing had to go for the last hundred */
    prints_free(&p);
}

static void a_large_one_forgets_in_grains_of_a_thousandth(void **state)
{
    const uint64_t capacity = 1000000, added = 3000000;
    struct prints *p = prints_new(capacity);

    (void)state;
    add(p, 0, added);
    prints_check(p);
    assert_in_range(prints_weight(p), capacity - capacity / 1000, capacity);
    assert_in_range(prints_count(p), capacity - capacity / 500, capacity);
    /* Strangers: 34 bits of hash are compared, so one look-up in 17,000. */
    assert_in_range(take(p, added, 2 * added), 0, 300);
    assert_in_range(take(p, 0, added - capacity), 0, 300);
    assert_in_range(take(p, added - capacity, added), capacity - capacity / 500, capacity);
    prints_free(&p);
}

static void an_entry_takes_at_most_eight_bytes(void **state)
{
    const size_t fixed = 17 * 1024; /* the ring of epochs */

    (void)state;
    for (uint64_t capacity = 10000; capacity <= 300000; capacity = capacity * 4 / 3) {
        struct prints *p = prints_new(capacity);

        add(p, 0, capacity); /* while it fills: measured where it may have just grown */
        assert_true(prints_bytes(p) - fixed <= capacity * 8);
        add(p, capacity, 4 * capacity);
        assert_true(prints_bytes(p) - fixed <= capacity * 8);
        prints_free(&p);
    }
}

/* Weights as in a server: pages are many and small. */
static void pages_of_a_server_are_as_dense(void **state)
{
    const uint64_t capacity = 64 << 20, weight = 200, entries = capacity / weight;
    struct prints *p = prints_new(capacity);

    (void)state;
    for (uint64_t key = 0; key < 3 * entries; key++)
        prints_add(p, hash_of(key), weight);
    prints_check(p);
    assert_in_range(prints_count(p), entries - entries / 500, entries);
    assert_true(prints_bytes(p) <= entries * 8 + 32 * 1024);
    prints_free(&p);
}

static void nothing_returns_to_life(void **state)
{
    struct prints *p = prints_new(100);

    (void)state;
    /* One entry an epoch; the page is big enough to keep dead ones for long. */
    add(p, 0, 300);
    for (uint64_t key = 300; key < 400000; key++) {
        prints_add(p, hash_of(key), 1);
        assert_false(prints_take(p, hash_of(key % 97), 1));
        if (key % 1000 == 0)
            assert_int_equal(prints_count(p), 100);
    }
    prints_check(p);
    prints_free(&p);
}

/* A page that nothing is added to any more is swept too. */
static void a_deserted_page_dies(void **state)
{
    struct prints *p = prints_new(4 << 20); /* 16 pages */

    (void)state;
    for (uint64_t key = 0; key < 4096; key++)
        prints_add(p, hash_of(key) & ~(UINT64_C(15) << 32), 1024); /* page 0 */
    assert_in_range(prints_count(p), 4000, 4096);
    for (uint64_t key = 4096; key < 400000; key++)
        prints_add(p, (hash_of(key) & ~(UINT64_C(15) << 32)) | UINT64_C(1) << 32, 1024);
    assert_int_equal(take(p, 0, 4096), 0);
    for (uint64_t key = 0; key < 4096; key++)
        assert_false(prints_take(p, hash_of(key) & ~(UINT64_C(15) << 32), 1024));
    prints_check(p);
    prints_free(&p);
}

static void it_shrinks_with_its_capacity(void **state)
{
    struct prints *p = prints_new(1000000);
    size_t before;

    (void)state;
    add(p, 0, 1000000);
    before = prints_bytes(p);
    prints_set_capacity(p, 100500);
    prints_check(p);
    assert_in_range(prints_weight(p), 99000, 100500);
    assert_true(prints_bytes(p) < before / 5);
    assert_in_range(take(p, 901000, 1000000), 98500, 99000);
    prints_set_capacity(p, 0);
    assert_int_equal(prints_weight(p), 0);
    prints_add(p, hash_of(1), 1);
    assert_false(prints_take(p, hash_of(1), 1));
    prints_check(p);
    prints_set_capacity(p, 1000);
    add(p, 0, 2000);
    prints_check(p);
    assert_int_equal(take(p, 0, 2000), 1000);
    prints_free(&p);
}

static void weights_may_change_while_away(void **state)
{
    struct prints *p = prints_new(1000);

    (void)state;
    prints_add(p, hash_of(1), 10);
    prints_add(p, hash_of(2), 10);
    assert_true(prints_take(p, hash_of(1), 500)); /* frees what it weighed, no more */
    assert_int_equal(prints_weight(p), 10);
    prints_add(p, hash_of(3), 2000); /* more than everything: not remembered */
    assert_false(prints_take(p, hash_of(3), 2000));
    assert_true(prints_take(p, hash_of(2), 10));
    prints_check(p);
    prints_free(&p);
}

/* All keys want the same two buckets: entries are lost, memory is not. */
static void a_bad_hash_costs_entries_not_memory(void **state)
{
    struct prints *p = prints_new(100000);

    (void)state;
    for (uint32_t i = 0; i < 100000; i++)
        prints_add(p, 7, 1);
    assert_true(prints_bytes(p) < 32 * 1024);
    prints_check(p);
    prints_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_small_one_is_an_exact_fifo),
        cmocka_unit_test(a_hit_makes_room_for_older_ones),
        cmocka_unit_test(a_large_one_forgets_in_grains_of_a_thousandth),
        cmocka_unit_test(an_entry_takes_at_most_eight_bytes),
        cmocka_unit_test(pages_of_a_server_are_as_dense),
        cmocka_unit_test(nothing_returns_to_life),
        cmocka_unit_test(a_deserted_page_dies),
        cmocka_unit_test(it_shrinks_with_its_capacity),
        cmocka_unit_test(weights_may_change_while_away),
        cmocka_unit_test(a_bad_hash_costs_entries_not_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
