/* test_replay_compiled.c - a policy that is compiled into a replay evicts what the
 * server's object does, key by key.
 *
 * Both get the same requests, weights, deletions and limits. Where ghosts are known
 * by fingerprint two keys might be taken for one; among so few keys none are. */
#include "bench/replay.h"
#include "bench/sim_belady.h"
#include "bench/sim_optimum.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { KEYS = 20000, REQUESTS = 400000 };

struct victims {
    uint32_t keys[REQUESTS];
    unsigned count;
};

static uint32_t keys[REQUESTS], sizes[REQUESTS];

static void note(void *arg, uint32_t victim)
{
    struct victims *v = arg;

    assert_true(v->count < REQUESTS);
    v->keys[v->count++] = victim;
}

/* Popular keys that drift, and a scan now and then; sizes belong to keys, and sometimes change. */
static int make_requests(void **state)
{
    uint64_t dice = 7;

    (void)state;
    for (uint32_t i = 0; i < REQUESTS; i++) {
        uint64_t a, b;

        dice = dice * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        a = dice >> 33;
        b = a % KEYS;
        keys[i] =
            1 + (uint32_t)(i % 40000 < 5000 ? (i * 3) % KEYS : (b * b / KEYS * b / KEYS + i / 200) % KEYS);
        sizes[i] = 20 + keys[i] % 7 * 60 + (keys[i] % 50 == 0 ? 3000000 : 0) + (a % 101 == 0 ? 1 : 0);
    }
    return 0;
}

static struct victims *victims_of(const struct evict_type *type, uint64_t capacity, unsigned with, bool drops,
                                  uint64_t *misses)
{
    struct replay *r = replay_new(type, capacity, KEYS, 1, with);
    struct victims *v = calloc(1, sizeof(*v));
    uint64_t missed_bytes = 0;

    assert_non_null(r);
    assert_non_null(v);
    replay_watch(r, note, v);
    for (uint32_t i = 0, n; i < REQUESTS; i += n) {
        n = i % 1000 < REQUESTS - i ? 1 + i % 1000 : REQUESTS - i;
        *misses +=
            replay_many(r, keys + i, (with & REPLAY_WEIGHTS) != 0 ? sizes + i : NULL, n, &missed_bytes);
        for (uint32_t k = 0; drops && k < 5; k++)
            replay_drop(r, keys[i + k * 7 < REQUESTS ? i + k * 7 : i]);
        if (drops && i / 1000 % 10 == 9)
            replay_set_capacity(r, i / 1000 % 20 == 9 ? capacity / 2 : capacity);
    }
    replay_check(r);
    replay_free(&r);
    *misses += missed_bytes << 32;
    return v;
}

static void compare(const struct evict_type *type, uint64_t capacity, unsigned with, bool drops)
{
    uint64_t a_misses = 0, b_misses = 0;
    struct victims *a = victims_of(type, capacity, with, drops, &a_misses);
    struct victims *b = victims_of(type, capacity, with | REPLAY_COMPILED, drops, &b_misses);

    for (unsigned i = 0; i < a->count && i < b->count; i++)
        if (a->keys[i] != b->keys[i])
            fail_msg("%s at %llu: victim %u is key %u, compiled %u", type->name, (unsigned long long)capacity,
                     i, a->keys[i], b->keys[i]);
    assert_int_equal(a->count, b->count);
    assert_true(a_misses == b_misses);
    assert_true(a->count > 1000);
    free(a);
    free(b);
}

static void every_policy_is_compiled(void **state)
{
    const struct evict_type *type;

    (void)state;
    for (size_t i = 0; (type = evict_type_at(i)) != NULL; i++) {
        struct replay *r = replay_new(type, 10, 10, 1, REPLAY_COMPILED);

        assert_true(replay_is_compiled(r));
        replay_free(&r);
    }
}

static void victims_are_the_same_by_objects(void **state)
{
    const struct evict_type *type;

    (void)state;
    for (size_t i = 0; (type = evict_type_at(i)) != NULL; i++) {
        compare(type, 30, 0, false);
        compare(type, 700, 0, true);
        compare(type, 5000, 0, false);
    }
}

static void victims_are_the_same_by_bytes(void **state)
{
    const struct evict_type *type;

    (void)state;
    for (size_t i = 0; (type = evict_type_at(i)) != NULL; i++) {
        compare(type, 100000, REPLAY_WEIGHTS, false);
        compare(type, 20000000, REPLAY_WEIGHTS, true);
    }
}

/* ---- what knows the future ---- */

enum { SHORT = 14, SHORT_KEYS = 6 };

/* next[i]: when keys[i] is asked for again. */
static void look_ahead(const uint32_t *asked, uint32_t n, uint32_t *next)
{
    for (uint32_t i = 0; i < n; i++) {
        next[i] = REPLAY_NEVER;
        for (uint32_t k = n - 1; k > i; k--)
            if (asked[k] == asked[i])
                next[i] = k;
    }
}

/* The fewest misses there can be: tries every victim. `held` has a bit for each key,
 * weights are per key. A key that is missed is stored, as in a replay, if it can be. */
static unsigned fewest_misses(const uint32_t *asked, uint32_t n, const uint32_t *weights, uint32_t capacity,
                              uint32_t held)
{
    uint32_t used = 0, least;

    for (; n > 0 && (held >> *asked & 1) != 0; asked++, n--) {
    }
    if (n == 0)
        return 0;
    if (weights[*asked] > capacity)
        return 1 + fewest_misses(asked + 1, n - 1, weights, capacity, held);
    for (uint32_t key = 1; key <= SHORT_KEYS; key++)
        used += (held >> key & 1) != 0 ? weights[key] : 0;
    if (used + weights[*asked] <= capacity)
        return 1 + fewest_misses(asked + 1, n - 1, weights, capacity, held | 1u << *asked);
    least = UINT32_MAX;
    for (uint32_t key = 1; key <= SHORT_KEYS; key++)
        if ((held >> key & 1) != 0) {
            uint32_t misses = fewest_misses(asked, n, weights, capacity, held & ~(1u << key));

            least = misses < least ? misses : least;
        }
    return least;
}

static unsigned misses_of(const struct evict_type *type, const uint32_t *asked, const uint32_t *next,
                          const uint32_t *weights, uint32_t capacity)
{
    struct replay *r =
        replay_new(type, capacity, SHORT_KEYS, 1, REPLAY_FUTURE | (weights != NULL ? REPLAY_WEIGHTS : 0));
    unsigned misses = 0;

    assert_non_null(r);
    for (uint32_t i = 0; i < SHORT; i++) {
        replay_know(r, asked[i], next[i]);
        misses += !replay_get(r, asked[i], weights != NULL ? weights[asked[i]] : 1);
        replay_check(r);
    }
    replay_free(&r);
    return misses;
}

static void belady_has_the_fewest_misses(void **state)
{
    static const uint32_t ones[SHORT_KEYS + 1] = {1, 1, 1, 1, 1, 1, 1};
    uint64_t dice = 3;

    (void)state;
    for (unsigned round = 0; round < 400; round++) {
        uint32_t asked[SHORT], next[SHORT];
        uint64_t missed_bytes = 0;

        for (uint32_t i = 0; i < SHORT; i++) {
            dice = dice * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            asked[i] = 1 + (uint32_t)(dice >> 33) % SHORT_KEYS;
        }
        look_ahead(asked, SHORT, next);
        for (uint32_t capacity = 1; capacity < SHORT_KEYS; capacity++) {
            unsigned fewest = fewest_misses(asked, SHORT, ones, capacity, 0);
            struct optimum *o = optimum_new(SHORT, capacity);

            assert_non_null(o);
            assert_int_equal(misses_of(&sim_belady, asked, next, NULL, capacity), fewest);
            assert_int_equal(optimum_many(o, next, NULL, SHORT, &missed_bytes), fewest);
            optimum_free(&o);
        }
    }
}

/* With weights nobody has fewer than the optimum, and those who are good have hardly more. */
static void beladysize_comes_close_to_the_fewest(void **state)
{
    uint64_t dice = 5;
    unsigned fewest = 0, size = 0, belady = 0, lru = 0;

    (void)state;
    for (unsigned round = 0; round < 400; round++) {
        uint32_t asked[SHORT], next[SHORT], weights[SHORT_KEYS + 1] = {0};

        for (uint32_t i = 0; i < SHORT; i++) {
            dice = dice * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            asked[i] = 1 + (uint32_t)(dice >> 33) % SHORT_KEYS;
            weights[1 + i % SHORT_KEYS] = 1 + (uint32_t)(dice >> 50) % 5;
        }
        look_ahead(asked, SHORT, next);
        for (uint32_t capacity = 3; capacity < 10; capacity += 3) {
            unsigned least = fewest_misses(asked, SHORT, weights, capacity, 0);
            unsigned mine = misses_of(&sim_beladysize, asked, next, weights, capacity);

            assert_true(mine >= least);
            fewest += least;
            size += mine;
            belady += misses_of(&sim_belady, asked, next, weights, capacity);
            lru += misses_of(evict_type_find("lru"), asked, next, weights, capacity);
        }
    }
    print_message("misses: fewest %u, beladysize %u, belady %u, lru %u\n", fewest, size, belady, lru);
    assert_true(size < fewest * 1.05 && size < belady && belady < lru);
}

/* The set of times agrees with the heap of keys where a trace is long. */
static void the_optimum_is_beladys(void **state)
{
    static const uint32_t capacities[] = {1, 30, 700, 5000, KEYS};
    uint32_t *next = calloc(REQUESTS, sizeof(next[0])), *later = calloc(KEYS + 1, sizeof(later[0]));

    (void)state;
    assert_non_null(next);
    assert_non_null(later);
    memset(later, 255, (KEYS + 1) * sizeof(later[0]));
    for (uint32_t i = REQUESTS; i-- > 0; later[keys[i]] = i)
        next[i] = later[keys[i]];
    for (size_t c = 0; c < sizeof(capacities) / sizeof(capacities[0]); c++) {
        struct replay *r = replay_new(&sim_belady, capacities[c], KEYS, 1, REPLAY_FUTURE);
        struct optimum *o = optimum_new(REQUESTS, capacities[c]);
        uint64_t misses = 0, missed_bytes = 0, bytes = 0;

        assert_non_null(r);
        assert_non_null(o);
        for (uint32_t i = 0; i < REQUESTS; i++) {
            bool hit;

            replay_know(r, keys[i], next[i]);
            hit = replay_get(r, keys[i], 1);
            misses += !hit;
            bytes += hit ? 0 : sizes[i];
        }
        assert_true(optimum_many(o, next, sizes, 1000, &missed_bytes) +
                        optimum_many(o, next + 1000, sizes + 1000, REQUESTS - 1000, &missed_bytes) ==
                    misses);
        assert_true(missed_bytes == bytes);
        assert_true(optimum_evicted(o) == replay_evicted(r));
        replay_free(&r);
        optimum_free(&o);
    }
    free(next);
    free(later);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_policy_is_compiled),
        cmocka_unit_test(victims_are_the_same_by_objects),
        cmocka_unit_test(victims_are_the_same_by_bytes),
        cmocka_unit_test(belady_has_the_fewest_misses),
        cmocka_unit_test(beladysize_comes_close_to_the_fewest),
        cmocka_unit_test(the_optimum_is_beladys),
    };

    return cmocka_run_group_tests(tests, make_requests, NULL);
}
