/* test_ghost.c - the exact ghost against an array, and what an entry costs. */
#include "server/evict/ghost.h"

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

enum { KEYS = 1000 };

struct entry {
    unsigned key;
    uint32_t weight;
};

static unsigned find(const struct entry *list, unsigned n, unsigned key)
{
    unsigned i = 0;

    while (i < n && list[i].key != key)
        i++;
    return i;
}

static void random_life_agrees_with_an_array(void **state)
{
    static struct entry list[KEYS]; /* oldest first */
    struct ghost *g = ghost_new();
    unsigned n = 0;
    uint64_t dice = 1, weight = 0;

    (void)state;
    assert_non_null(g);
    for (int i = 0; i < 60000; i++) {
        unsigned key, at;
        bool growing = i / 5000 % 2 == 1; /* it grows and shrinks in turn */

        dice = dice * UINT64_C(6364136223846793005) + 1;
        key = (unsigned)((dice >> 33) % KEYS);
        at = find(list, n, key);
        assert_int_equal(ghost_has(g, hash_of(key)), at < n);
        if (at < n && (dice >> 60) < 8) {
            assert_true(ghost_take(g, hash_of(key)));
            weight -= list[at].weight;
            memmove(&list[at], &list[at + 1], (--n - at) * sizeof(list[0]));
        } else if (at == n && growing) {
            list[n++] = (struct entry){key, 1 + key % 50};
            ghost_push(g, hash_of(key), 1 + key % 50);
            weight += 1 + key % 50;
        } else if (at == n) {
            assert_false(ghost_take(g, hash_of(key)));
            assert_int_equal(ghost_drop_oldest(g), n > 0);
            if (n > 0) {
                weight -= list[0].weight;
                memmove(&list[0], &list[1], --n * sizeof(list[0]));
            }
        }
        assert_int_equal(ghost_count(g), n);
        assert_int_equal(ghost_weight(g), weight);
        if (i % 16 == 0)
            ghost_check(g);
    }
    ghost_free(&g);
    assert_null(g);
}

static void weights_go_out_as_they_came_in(void **state)
{
    const uint32_t weights[] = {0, 1, 524287, 524288, 524289, 1 << 20, 123456789, UINT32_MAX};
    struct ghost *g = ghost_new();

    (void)state;
    for (unsigned i = 0; i < sizeof(weights) / sizeof(weights[0]); i++) {
        uint64_t before = ghost_weight(g), added;

        ghost_push(g, hash_of(i), weights[i]);
        added = ghost_weight(g) - before;
        assert_true(added <= (weights[i] > 0 ? weights[i] : 1));
        assert_true((double)added >= (double)weights[i] * (1 - 2e-6));
    }
    while (ghost_drop_oldest(g))
        ghost_check(g);
    assert_int_equal(ghost_weight(g), 0);
    ghost_free(&g);
}

static void an_entry_takes_about_fifteen_bytes(void **state)
{
    struct ghost *g = ghost_new();

    (void)state;
    for (uint64_t key = 0; key < 300000; key++) {
        ghost_push(g, hash_of(key), 100);
        if (key >= 1000)
            assert_true(ghost_bytes(g) <= ghost_count(g) * 17);
    }
    for (uint64_t key = 300000; key < 900000; key++) { /* steady */
        ghost_drop_oldest(g);
        ghost_push(g, hash_of(key), 100);
    }
    ghost_check(g);
    assert_true(ghost_bytes(g) <= ghost_count(g) * 17);
    while (ghost_drop_oldest(g)) {
    }
    assert_true(ghost_bytes(g) < 2048);
    ghost_free(&g);
}

/* Holes in the middle do not make it grow. */
static void hits_leave_holes_that_are_reclaimed(void **state)
{
    struct ghost *g = ghost_new();

    (void)state;
    ghost_push(g, hash_of(0), 1); /* stays, so the oldest end never moves */
    for (uint64_t key = 1; key < 200000; key++) {
        ghost_push(g, hash_of(key), 1);
        if (key > 100)
            assert_true(ghost_take(g, hash_of(key - 100)));
    }
    ghost_check(g);
    assert_int_equal(ghost_count(g), 101);
    assert_true(ghost_bytes(g) < 4096);
    ghost_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_life_agrees_with_an_array),
        cmocka_unit_test(weights_go_out_as_they_came_in),
        cmocka_unit_test(an_entry_takes_about_fifteen_bytes),
        cmocka_unit_test(hits_leave_holes_that_are_reclaimed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
