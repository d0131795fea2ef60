/* test_shadow.c - shadows against whole simulations, and auto against the best
 * of its candidates on public traces (see test_traces.c for where they are). */
#include "bench/replay.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

enum { KEYS = 3000, REQUESTS = 60000 };

static uint64_t dice = 88172645463325252u;

static uint32_t roll(uint32_t sides)
{
    dice ^= dice << 13;
    dice ^= dice >> 7;
    dice ^= dice << 17;
    return (uint32_t)(((dice >> 32) * sides) >> 32);
}

static uint64_t salt; /* another sample */

static uint64_t hash_of(uint32_t key)
{
    uint64_t x = (key + salt + 1) * UINT64_C(0x9E3779B97F4A7C15);

    x = (x ^ x >> 32) * UINT64_C(0xD6E8FEB86659FD93);
    x = (x ^ x >> 29) * UINT64_C(0xBF58476D1CE4E5B9);
    return x ^ x >> 32;
}

static struct trace *open_trace(const char *name, enum trace_format format)
{
    const char *dir = getenv("CORRAL_TRACES");
    char path[4096];

    snprintf(path, sizeof(path), "%s/%s", dir != NULL ? dir : "../shared/traces", name);
    if (access(path, R_OK) != 0) {
        print_message("no %s: set CORRAL_TRACES to where the traces are\n", path);
        return NULL;
    }
    return trace_read(path, format);
}

/* Popular keys, and now and then a scan. */
static uint32_t next_key(unsigned i)
{
    if (i % 10000 < 1500)
        return 1 + i % KEYS;
    return 1 + (uint32_t)((uint64_t)roll(KEYS) * roll(KEYS) / KEYS * roll(KEYS) / KEYS);
}

static uint32_t weight_of(uint32_t key, unsigned i)
{
    return 1 + key % 5 + (i / 20000) % 2; /* overwritten with another weight now and then */
}

/* A real cache, of whatever policy, tells what happened to the key. */
static bool ask(struct replay *real, struct shadows *all, uint32_t key, uint32_t weight)
{
    struct shadow_item item = {.hash = hash_of(key), .weight = weight};
    bool hit = replay_get(real, key, weight);

    shadows_count_reads(all, 1);
    if (hit) {
        shadows_hit(all, &item, 0);
        return true;
    }
    shadows_missed(all, &item, 0);
    if (replay_holds(real, key))
        shadows_stored(all, &item, 0);
    return false;
}

static void drop(struct replay *real, struct shadows *all, uint32_t key)
{
    (void)replay_drop(real, key);
    shadows_dropped(all, hash_of(key));
}

/* Whatever the real cache is, and whatever it holds: the whole of a small one is no sample. */
static void small_caches_are_shadowed_whole(void **state)
{
    static uint64_t hashes[KEYS + 1];
    const struct evict_type *type;

    (void)state;
    for (uint32_t key = 1; key <= KEYS; key++)
        hashes[key] = hash_of(key);
    for (size_t i = 0; (type = evict_type_at(i)) != NULL; i++) {
        struct shadow_kind kind = {type, SHADOW_EVICTS_ALL, 1};
        struct shadows *all = shadows_new(&kind, 1, 2000, 1);
        struct replay *real = replay_new(evict_type_find("clock"), 700, KEYS, 1, REPLAY_WEIGHTS);
        struct replay *whole = replay_new(type, 500, KEYS, 1, REPLAY_WEIGHTS);
        struct shadow_figures f;
        unsigned misses = 0;

        replay_set_hashes(real, hashes);
        replay_set_hashes(whole, hashes);
        shadows_set_capacity(all, 0, 500);
        for (unsigned r = 0; r < REQUESTS; r++) {
            uint32_t key = next_key(r), weight = weight_of(key, r);
            if (r % 97 == 0) {
                drop(real, all, key);
                (void)replay_drop(whole, key);
            }
            (void)ask(real, all, key, weight);
            misses += !replay_get(whole, key, weight);
            if (r % 5000 == 0)
                shadows_check(all);
        }
        shadows_figures(all, 0, &f);
        assert_true(shadows_rate(all) == 1 && f.reads == REQUESTS && f.error == 0);
        if (strcmp(type->name, "random") == 0)
            assert_true(fabs(f.misses - misses) < REQUESTS / 100.);
        else if (f.misses != misses)
            fail_msg("%s: the shadow misses %.0f, the whole %u", type->name, f.misses, misses);
        replay_free(&real);
        replay_free(&whole);
        shadows_free(&all);
    }
}

static const struct {
    const char *policy;
    double scale;
} said[] = {{"lru", 1}, {"s3fifo", 1}, {"arc", 1}, {"sieve", 1}, {"lru", .5}, {"lru", 2}};
enum { SAID = sizeof(said) / sizeof(said[0]) };

/* How many of the hit ratios are off by more than is said. */
static unsigned count_wrong(const struct trace *t, uint64_t capacity, const double exact[SAID], double most)
{
    struct shadow_kind kinds[SAID];
    unsigned wrong = 0;

    for (unsigned k = 0; k < SAID; k++)
        kinds[k] = (struct shadow_kind){evict_type_find(said[k].policy), SHADOW_EVICTS_ALL, said[k].scale};
    struct shadows *all = shadows_new(kinds, SAID, 2048, 1);
    struct replay *real = replay_new(kinds[0].type, capacity, t->unique, 1, 0);
    for (unsigned k = 0; k < SAID; k++)
        shadows_set_capacity(all, k, capacity);
    for (size_t r = 0; r < t->requests; r++)
        (void)ask(real, all, t->keys[r], 1);
    shadows_check(all);
    for (unsigned k = 0; k < SAID; k++) {
        struct shadow_figures f;
        shadows_figures(all, k, &f);
        print_message("%-6s x%-3g R=1/%-2.0f said %.4f +- %.4f, is %.4f\n", said[k].policy, said[k].scale,
                      1 / shadows_rate(all), f.hit_ratio, f.error, exact[k]);
        assert_true(shadows_rate(all) < 1 && f.error > 0 && f.error < .05);
        assert_true(fabs(f.hit_ratio - exact[k]) < most);
        wrong += fabs(f.hit_ratio - exact[k]) > f.error;
    }
    replay_free(&real);
    shadows_free(&all);
    return wrong;
}

/* What is said of a trace, with the error that is said, holds in six samples of seven. A block trace with
 * its loops is worse: there a cache a little too small misses much more, and so does a shadow. */
static void samples_are_as_good_as_they_say(void **state)
{
    enum { SAMPLES = 6 };
    static const struct {
        const char *name;
        enum trace_format format;
        uint64_t capacity;
        double most; /* that a hit ratio may be off by */
        bool counts;
    } cells[] = {{"scarab_recs.txt.zst", TRACE_KEYS, 25836, .015, true},
                 {"arc_oltp.txt.zst", TRACE_KEYS, 18688, .015, true},
                 {"cloudphysics_w92.tr.zst", TRACE_TIME_KEY_SIZE, 4897, .05, false}};
    unsigned wrong = 0, all = 0;

    (void)state;
    for (unsigned c = 0; c < sizeof(cells) / sizeof(cells[0]); c++) {
        struct trace *t = open_trace(cells[c].name, cells[c].format);
        double exact[SAID];
        if (t == NULL)
            skip();
        for (unsigned k = 0; k < SAID; k++)
            exact[k] = 1 - replay_miss_ratio(t, evict_type_find(said[k].policy),
                                             (uint64_t)((double)cells[c].capacity * said[k].scale), false);
        for (unsigned sample = 1; sample <= SAMPLES; sample++) {
            salt = sample * UINT64_C(1000003);
            unsigned here = count_wrong(t, cells[c].capacity, exact, cells[c].most);
            wrong += cells[c].counts ? here : 0;
            all += cells[c].counts ? (unsigned)SAID : 0;
        }
        trace_free(&t);
    }
    salt = 0;
    print_message("%u of %u outside the error said\n", wrong, all);
    assert_true(wrong * 6 <= all); /* one sample errs with all at once */
}

/* It follows the number of items, and so do memory and rate. */
static void the_sample_is_bounded(void **state)
{
    enum { MANY = 400000, ITEMS = 256 };
    struct shadow_kind kinds[] = {{evict_type_find("lru"), SHADOW_EVICTS_ALL, 1},
                                  {evict_type_find("s3fifo"), SHADOW_EVICTS_ALL, 1},
                                  {evict_type_find("s3fifo"), SHADOW_EVICTS_ALL, 4}};
    struct shadows *all = shadows_new(kinds, 3, ITEMS, 1);
    struct shadow_figures f;
    uint64_t bytes = shadows_bytes(all);

    (void)state;
    for (unsigned i = 0; i < 3; i++)
        shadows_set_capacity(all, i, 100000);
    for (unsigned i = 0; i < MANY; i++) {
        struct shadow_item item = {.hash = hash_of(i), .weight = 1};
        shadows_missed(all, &item, 0);
        shadows_stored(all, &item, 0);
        if (i % 20000 == 0)
            shadows_check(all);
        for (unsigned k = 0; k < 2; k++)
            assert_true(shadows_items(all, k) <= ITEMS + 1);
        assert_true(shadows_items(all, 2) <= 4 * (ITEMS + 1));
    }
    shadows_figures(all, 0, &f);
    assert_true(f.full && f.items > ITEMS / 4);
    assert_true(fabs(shadows_rate(all) * 100000 - (double)f.items) < 2);
    assert_true(shadows_bytes(all) < 2 * bytes + 65536);
    /* A smaller cache can be shadowed more closely. */
    double rate = shadows_rate(all);
    for (unsigned i = 0; i < 3; i++)
        shadows_set_capacity(all, i, 1000);
    for (unsigned i = 0; i < 20; i++)
        shadows_age(all, .5);
    assert_true(shadows_rate(all) > rate);
    shadows_check(all);
    shadows_free(&all);
}

/* What a policy takes, however little it has to remember, must not be taken for its share in a large cache.
 */
static double overhead_at(const char *policy, uint32_t items)
{
    struct shadow_kind kind = {evict_type_find(policy), SHADOW_EVICTS_ALL, 1};
    struct shadows *all = shadows_new(&kind, 1, 2 * items, 1);
    double overhead;

    assert_non_null(all);
    shadows_set_capacity(all, 0, (uint64_t)items * 540);
    for (uint32_t key = 1; key <= 10 * items; key++) {
        struct shadow_item item = {.hash = hash_of(key), .weight = 540};

        shadows_missed(all, &item, 0);
        shadows_stored(all, &item, 0);
    }
    overhead = shadows_overhead(all, 0);
    shadows_free(&all);
    return overhead;
}

static void small_shadows_tell_what_a_policy_takes(void **state)
{
    static const char *const names[] = {"s3fifo", "arc", "twoq", "wtinylfu", "lru", "sieve"};

    (void)state;
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        double small = overhead_at(names[i], 150), large = overhead_at(names[i], 16 * 150);

        print_message("%-9s %.4f of a small one, %.4f of a large one\n", names[i], small, large);
        assert_true(small >= 0 && small < large + .03);
    }
}

static void what_is_out_of_time_is_nobodys_miss(void **state)
{
    struct shadow_kind kind = {evict_type_find("lru"), SHADOW_EVICTS_ALL, 1};
    struct shadows *all = shadows_new(&kind, 1, 256, 1);
    struct shadow_item item = {.hash = hash_of(1), .weight = 1, .expires = 100};
    struct shadow_figures f;

    (void)state;
    shadows_set_capacity(all, 0, 10);
    shadows_stored(all, &item, 0);
    shadows_hit(all, &item, 99);
    shadows_missed(all, &item, 100);
    shadows_figures(all, 0, &f);
    assert_true(f.reads == 1 && f.misses == 0 && f.items == 0);
    shadows_stored(all, &item, 50);
    item.expires = 200;
    shadows_expiry_changed(all, &item);
    shadows_hit(all, &item, 150);
    shadows_figures(all, 0, &f);
    assert_true(f.reads == 2 && f.misses == 0 && f.items == 1);
    shadows_free(&all);
}

/* A client's filling after a miss is no use of its own; any other store is. */
static void a_filling_is_no_second_use(void **state)
{
    struct shadow_kind kind = {evict_type_find("lru"), SHADOW_EVICTS_ALL, 1};
    struct shadows *all = shadows_new(&kind, 1, 256, 1);
    struct shadow_item a = {.hash = hash_of(1), .weight = 1}, b = {.hash = hash_of(2), .weight = 1},
                       c = {.hash = hash_of(3), .weight = 1};
    struct shadow_figures f;

    (void)state;
    shadows_set_capacity(all, 0, 2);
    shadows_stored(all, &a, 0);
    shadows_missed(all, &a, 0); /* the real cache has lost it, so a is used and awaited */
    shadows_stored(all, &b, 0);
    shadows_stored(all, &a, 0); /* the filling: b stays the newest */
    shadows_stored(all, &c, 0);
    shadows_missed(all, &b, 0);
    shadows_figures(all, 0, &f);
    assert_true(f.reads == 2 && f.misses == 0); /* both were held when they were asked for */
    shadows_missed(all, &a, 0);
    shadows_figures(all, 0, &f);
    assert_true(f.misses == 1);
    shadows_check(all);
    shadows_free(&all);
}

static void who_may_not_go_stays(void **state)
{
    struct shadow_kind kinds[] = {{evict_type_find("lru"), SHADOW_EVICTS_NONE, 1},
                                  {evict_type_find("lru"), SHADOW_EVICTS_EXPIRING, 1}};
    struct shadows *all = shadows_new(kinds, 2, 256, 1);

    (void)state;
    for (unsigned i = 0; i < 2; i++)
        shadows_set_capacity(all, i, 100);
    for (uint32_t key = 0; key < 300; key++) {
        struct shadow_item item = {.hash = hash_of(key), .weight = 1, .expires = key % 2 ? 1000 : 0};
        shadows_stored(all, &item, 0);
    }
    shadows_check(all);
    for (uint32_t key = 0; key < 300; key++) {
        struct shadow_item item = {.hash = hash_of(key)};
        shadows_missed(all, &item, 0);
    }
    struct shadow_figures none, expiring;
    shadows_figures(all, 0, &none);
    shadows_figures(all, 1, &expiring);
    assert_true(none.misses == 200 && none.items == 100);         /* the first hundred */
    assert_true(expiring.misses == 200 && expiring.items == 100); /* the first hundred without an expiry */
    shadows_flushed_db(all, 1);
    assert_true(shadows_items(all, 0) == 100);
    shadows_flushed_db(all, 0);
    assert_true(shadows_items(all, 0) == 0 && shadows_items(all, 1) == 0);
    shadows_check(all);
    shadows_free(&all);
}

/* ---- auto ---- */

static void auto_goes_with_the_traffic(void **state)
{
    enum { CACHE = 1000, LOOP = 1100, LENGTH = 200000 };
    struct replay *r = replay_new(&replay_auto, CACHE, 100000, 1, 0);
    struct auto_figures f;
    unsigned misses = 0;

    (void)state;
    for (unsigned i = 0; i < LENGTH; i++) /* a loop a little too large: lirs keeps most of it */
        misses += !replay_get(r, 1 + i % LOOP, 1);
    auto_figures(replay_autos(r), &f);
    assert_true(misses < LENGTH / 3); /* s3fifo, which it begins with, and lru miss nearly all */
    assert_true(f.switches > 0 && f.before != NULL && f.margin > .05 && f.reads > 0);
    for (unsigned i = 0; i < LENGTH; i++) /* what was used just now is used again, and never after */
        (void)replay_get(r, 1 + i / 30 + roll(900), 1);
    auto_figures(replay_autos(r), &f);
    print_message("now %s, before %s\n", f.now->name, f.before->name);
    assert_true(f.now != evict_type_find("lirs") && f.now != evict_type_find("lfu"));
    replay_check(r);
    replay_free(&r);
}

/* The bars: within 2 % of the best candidate on average, 5 % each, 4 % of LRU. */
static void auto_stays_close_to_the_best(void **state)
{
    static const struct {
        const char *name;
        enum trace_format format;
    } files[] = {{"cloudphysics_w92.tr.zst", TRACE_TIME_KEY_SIZE},
                 {"orm_busy.txt.zst", TRACE_KEYS},
                 {"scarab_recs.txt.zst", TRACE_KEYS},
                 {"arc_oltp.txt.zst", TRACE_KEYS},
                 {"fixtures/lirs_sprite.txt.zst", TRACE_KEYS},
                 {"wiki_upload_a.tr.zst", TRACE_TIME_KEY_SIZE}};
    double sum = 0;
    unsigned cells = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        struct trace *t = open_trace(files[i].name, files[i].format);
        if (t == NULL)
            skip();
        for (unsigned share = 100; share >= 10; share /= 10) {
            uint64_t capacity = t->unique / share;
            double best = 1, lru = replay_miss_ratio(t, evict_type_find("lru"), capacity, false);
            double got = replay_miss_ratio(t, &replay_auto, capacity, false);
            for (unsigned c = 0; c < AUTO_CANDIDATES; c++)
                best = fmin(best, replay_miss_ratio(t, auto_candidate(c), capacity, false));
            print_message("%-30s %6llu auto %.4f best %.4f %+.2f%%\n", files[i].name,
                          (unsigned long long)capacity, got, best, 100 * (got - best) / best);
            assert_true(got <= best * 1.05 && got <= lru * 1.04);
            sum += (got - best) / best;
            cells++;
        }
        trace_free(&t);
    }
    assert_true(sum / cells <= .02);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_caches_are_shadowed_whole),
        cmocka_unit_test(samples_are_as_good_as_they_say),
        cmocka_unit_test(the_sample_is_bounded),
        cmocka_unit_test(small_shadows_tell_what_a_policy_takes),
        cmocka_unit_test(what_is_out_of_time_is_nobodys_miss),
        cmocka_unit_test(a_filling_is_no_second_use),
        cmocka_unit_test(who_may_not_go_stays),
        cmocka_unit_test(auto_goes_with_the_traffic),
        cmocka_unit_test(auto_stays_close_to_the_best),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
