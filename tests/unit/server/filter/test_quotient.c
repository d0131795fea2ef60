/* test_quotient.c - the counting quotient filter against exact counts and its formula.
 *
 *     test_quotient --speed    prints ns per operation, as in bench/RESULTS-FILTERS.md */
#include "server/filter/quotient.h"

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

static uint64_t dice;

static uint64_t roll(uint64_t sides)
{
    dice = hash_of(dice);
    return dice % sides;
}

/* ---- against exact counts ---- */

enum { FINGERPRINTS = 1 << 13 };

/* A filter and what it must say of every odd fingerprint; see rule (5) of quotient.c
 * for why not of the even ones. */
struct pair {
    struct quotient *filter;
    uint64_t counts[FINGERPRINTS];
    uint64_t seen;
};

static uint64_t hash_with(const struct quotient *f, uint64_t fingerprint)
{
    unsigned rest = 64 - quotient_bits(f);

    return (fingerprint * 2 + 1) << rest | roll(UINT64_C(1) << rest);
}

static void see(void *arg, uint64_t hash, uint64_t count)
{
    struct pair *p = arg;
    uint64_t fingerprint = hash >> (64 - quotient_bits(p->filter)) >> 1;

    assert_true(fingerprint < FINGERPRINTS);
    assert_int_equal(p->counts[fingerprint], count);
    p->seen++;
}

static void compare(struct pair *p)
{
    uint64_t distinct = 0;

    quotient_check(p->filter);
    for (uint64_t i = 0; i < FINGERPRINTS; i++) {
        distinct += p->counts[i] > 0;
        assert_int_equal(quotient_count(p->filter, hash_with(p->filter, i)), p->counts[i]);
    }
    p->seen = 0;
    quotient_each(p->filter, see, p);
    assert_int_equal(p->seen, distinct);
    assert_int_equal(quotient_distinct(p->filter), distinct);
}

static uint64_t some_count(void)
{
    switch (roll(8)) {
    case 0: return 1 + roll(1000);
    case 1: return UINT64_C(1) << roll(40);
    default: return 1 + roll(3);
    }
}

/* Crowded places now and then, so that runs push each other over block ends. */
static uint64_t some_fingerprint(uint64_t span)
{
    return roll(4) == 0 ? roll(FINGERPRINTS) : span * (FINGERPRINTS / 16) + roll(FINGERPRINTS / 16);
}

static void one_step(struct pair *p, uint64_t i, uint64_t span)
{
    uint64_t hash = hash_with(p->filter, i), count = some_count();

    if (roll(100) < 60 - span) {
        uint64_t before = quotient_bytes(p->filter);
        enum quotient_status status = quotient_add(p->filter, hash, count);

        if (status == QUOTIENT_OK)
            p->counts[i] += count;
        else
            assert_true(status == QUOTIENT_FULL && quotient_bytes(p->filter) == before);
        return;
    }
    if (roll(2) == 0)
        count = UINT64_MAX;
    count = count < p->counts[i] ? count : p->counts[i];
    assert_int_equal(quotient_remove(p->filter, hash, count), count);
    p->counts[i] -= count;
}

static void every_step_is_exact(void **state)
{
    struct pair *p = calloc(1, sizeof(*p));

    (void)state;
    for (dice = 1; dice <= 3; dice++) {
        uint64_t seed = dice;

        p->filter = quotient_new(1 + roll(100), 1600, .125); /* 14 bits: odd ones are FINGERPRINTS */
        assert_int_equal(quotient_bits(p->filter), 14);
        memset(p->counts, 0, sizeof(p->counts));
        for (unsigned step = 0; step < 40000; step++) {
            uint64_t span = step / 2500;

            one_step(p, some_fingerprint(span), span);
            if (step % 64 == 0)
                quotient_check(p->filter);
            if (step % 5000 == 4999)
                compare(p);
            if (roll(2000) == 0)
                assert_true(quotient_fit(p->filter, 1 + roll(3000)) != QUOTIENT_NO_MEMORY);
        }
        for (uint64_t i = 0; i < FINGERPRINTS; i++)
            assert_int_equal(quotient_remove(p->filter, hash_with(p->filter, i), UINT64_MAX), p->counts[i]);
        memset(p->counts, 0, sizeof(p->counts));
        compare(p);
        assert_int_equal(quotient_used(p->filter), 0);
        quotient_free(&p->filter);
        assert_null(p->filter);
        dice = seed;
    }
    free(p);
}

static void counts_of_any_size_are_kept(void **state)
{
    struct quotient *f = quotient_new(200, 100000, 1e-4);

    (void)state;
    for (unsigned key = 0; key < 64; key++) {
        assert_int_equal(quotient_add(f, hash_of(key), UINT64_C(1) << key), QUOTIENT_OK);
        assert_int_equal(quotient_add(f, hash_of(key), (UINT64_C(1) << key) - 1), QUOTIENT_OK);
    }
    quotient_check(f);
    for (unsigned key = 0; key < 64; key++)
        assert_true(quotient_count(f, hash_of(key)) == (UINT64_C(1) << key) * 2 - 1);
    assert_true(quotient_used(f) < 64 * 12); /* digits, not unary */
    assert_int_equal(quotient_add(f, hash_of(63), 5), QUOTIENT_OK);
    assert_true(quotient_count(f, hash_of(63)) == UINT64_MAX);
    assert_true(quotient_total(f) == UINT64_MAX);
    quotient_free(&f);
}

/* ---- real hashes ---- */

static double strangers_taken(const struct quotient *f, unsigned asked)
{
    unsigned taken = 0;

    for (uint64_t i = 0; i < asked; i++)
        taken += quotient_count(f, hash_of(UINT64_C(1) << 40 | i)) > 0;
    return (double)taken / asked;
}

static void assert_rate(double got, double expected, unsigned asked)
{
    double slack = 5 * sqrt(expected * (1 - expected) / asked) + .02 * expected;

    if (fabs(got - expected) > slack)
        print_message("a rate of %g where %g is expected\n", got, expected);
    assert_true(fabs(got - expected) <= slack);
}

/* From 50 keys to 100000: nothing is ever denied, and strangers are taken at the
 * rate of the formula, which is the error asked for at the end. */
static void growth_denies_nothing_and_keeps_the_error(void **state)
{
    enum { KEYS = 100000, ASKED = 400000 };
    static const double errors[] = {.2, .01, .0005};

    (void)state;
    for (unsigned e = 0; e < 3; e++) {
        struct quotient *f = quotient_new(50, KEYS, errors[e]);
        size_t small = quotient_bytes(f);

        for (uint64_t key = 0; key < KEYS; key++) {
            assert_int_equal(quotient_add(f, hash_of(key), 1), QUOTIENT_OK);
            if (key % 20000 == 0)
                quotient_check(f);
        }
        quotient_check(f);
        for (uint64_t key = 0; key < KEYS; key++)
            assert_true(quotient_count(f, hash_of(key)) >= 1);
        assert_int_equal(quotient_total(f), KEYS);
        assert_true(quotient_rate(f) <= errors[e] && quotient_rate(f) > errors[e] / 2.5);
        assert_rate(strangers_taken(f, ASKED), quotient_rate(f), ASKED);
        assert_true(quotient_bytes(f) > 100 * small);
        for (uint64_t key = 0; key < KEYS; key++)
            assert_int_equal(quotient_remove(f, hash_of(key), 1), 1);
        assert_int_equal(quotient_distinct(f), 0);
        assert_int_equal(quotient_fit(f, 50), QUOTIENT_OK);
        assert_int_equal(quotient_bytes(f), small);
        quotient_free(&f);
    }
}

static void shrinking_denies_nothing(void **state)
{
    struct quotient *f = quotient_new(50000, 50000, .05);

    (void)state;
    for (uint64_t key = 0; key < 2000; key++)
        assert_int_equal(quotient_add(f, hash_of(key), 1 + key % 5), QUOTIENT_OK);
    assert_int_equal(quotient_fit(f, 1), QUOTIENT_OK);
    quotient_check(f);
    assert_true(quotient_capacity(f) < 10000);
    for (uint64_t key = 0; key < 2000; key++)
        assert_true(quotient_count(f, hash_of(key)) >= 1 + key % 5);
    for (uint64_t key = 2000; key < 30000; key++) /* and out again */
        assert_int_equal(quotient_add(f, hash_of(key), 1), QUOTIENT_OK);
    for (uint64_t key = 0; key < 30000; key++)
        assert_true(quotient_count(f, hash_of(key)) >= 1);
    quotient_check(f);
    quotient_free(&f);
}

static void merging_adds_up(void **state)
{
    static const uint64_t most[][2] = {{20000, 20000}, {20000, 5000000}};

    (void)state;
    for (unsigned m = 0; m < 2; m++) {
        struct quotient *a = quotient_new(100, most[m][0], .01), *b = quotient_new(16000, most[m][1], .01);

        for (uint64_t key = 0; key < 10000; key++)
            assert_int_equal(quotient_add(a, hash_of(key), 2), QUOTIENT_OK);
        for (uint64_t key = 5000; key < 15000; key++)
            assert_int_equal(quotient_add(b, hash_of(key), 3), QUOTIENT_OK);
        /* b's remainders were never as narrow as a's: its fingerprints are treated otherwise */
        assert_int_equal(quotient_merge(a, b), QUOTIENT_OK);
        quotient_check(a);
        assert_int_equal(quotient_total(a), 50000);
        for (uint64_t key = 0; key < 15000; key++)
            assert_true(quotient_count(a, hash_of(key)) >= (key < 10000 ? 2u : 0u) + (key >= 5000 ? 3u : 0u));
        assert_rate(strangers_taken(a, 200000), quotient_rate(a), 200000);
        quotient_free(&a);
        quotient_free(&b);
    }
}

/* One that had to fold more than the one it is merged into. */
static void merging_takes_over_the_narrower_fold(void **state)
{
    struct quotient *wide = quotient_new(100, 30000, .2), *narrow = quotient_new(100, 30000, .2);

    (void)state;
    for (uint64_t key = 0; key < 30000; key++)
        assert_int_equal(quotient_add(narrow, hash_of(key), 1), QUOTIENT_OK);
    assert_int_equal(quotient_add(wide, hash_of(40000), 1), QUOTIENT_OK);
    assert_int_equal(quotient_merge(wide, narrow), QUOTIENT_OK);
    quotient_check(wide);
    for (uint64_t key = 0; key < 30000; key++)
        assert_true(quotient_count(wide, hash_of(key)) >= 1);
    assert_true(quotient_count(wide, hash_of(40000)) >= 1);
    quotient_free(&wide);
    quotient_free(&narrow);
}

static void what_does_not_fit_is_refused_and_changes_nothing(void **state)
{
    struct quotient *f = quotient_new(60, 60, .25);
    uint64_t held = 0, distinct;

    (void)state;
    while (quotient_add(f, hash_of(held), 1) == QUOTIENT_OK)
        assert_true(++held < 100000);
    distinct = quotient_distinct(f);
    assert_int_equal(quotient_add(f, hash_of(held), 1), QUOTIENT_FULL);
    quotient_check(f);
    assert_int_equal(quotient_distinct(f), distinct);
    for (uint64_t key = 0; key < held; key++)
        assert_true(quotient_count(f, hash_of(key)) >= 1);
    quotient_clear(f);
    quotient_check(f);
    assert_int_equal(quotient_used(f), 0);
    assert_int_equal(quotient_count(f, hash_of(0)), 0);
    quotient_free(&f);
}

/* ---- --speed ---- */

static double now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double pass(struct quotient *f, uint64_t keys, uint64_t first, char what)
{
    double start = now_ns();
    uint64_t sum = 0;

    for (uint64_t key = first; key < first + keys; key++)
        switch (what) {
        case '+': sum += quotient_add(f, hash_of(key), 1); break;
        case '-': sum += quotient_remove(f, hash_of(key), 1); break;
        default: sum += quotient_count(f, hash_of(key)); break;
        }
    if (sum == UINT64_MAX)
        puts("");
    return (now_ns() - start) / (double)keys;
}

static void time_one(unsigned q, double load)
{
    uint64_t slots = UINT64_C(1) << q, keys = (uint64_t)((double)slots * load);
    double best[4] = {INFINITY, INFINITY, INFINITY, INFINITY}, bits = 0;

    for (int round = 0; round < 3; round++) {
        struct quotient *f =
            quotient_new((uint64_t)((double)slots * .94), (uint64_t)((double)slots * .94), .004);

        best[0] = fmin(best[0], pass(f, keys, 0, '+'));
        best[1] = fmin(best[1], pass(f, keys, 0, '?'));
        best[2] = fmin(best[2], pass(f, keys, UINT64_C(1) << 40, '?'));
        bits = (double)quotient_bytes(f) * 8 / (double)keys;
        best[3] = fmin(best[3], pass(f, keys, 0, '-'));
        quotient_free(&f);
    }
    printf("quotient 2^%u slots, %2.0f %% full: add %5.1f ns, hit %5.1f ns, miss %5.1f ns, remove %5.1f ns, "
           "%4.1f bits a key\n",
           q, load * 100, best[0], best[1], best[2], best[3], bits);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_step_is_exact),
        cmocka_unit_test(counts_of_any_size_are_kept),
        cmocka_unit_test(growth_denies_nothing_and_keeps_the_error),
        cmocka_unit_test(shrinking_denies_nothing),
        cmocka_unit_test(merging_adds_up),
        cmocka_unit_test(merging_takes_over_the_narrower_fold),
        cmocka_unit_test(what_does_not_fit_is_refused_and_changes_nothing),
    };

    if (argc > 1 && strcmp(argv[1], "--speed") == 0) {
        time_one(17, .5);
        time_one(17, .9);
        time_one(24, .5);
        time_one(24, .9);
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
