/* test_traces.c - miss ratios on public traces against published ones.
 *
 * The traces are not part of Corral. They are looked for in the directory
 * that the environment names as CORRAL_TRACES, else in ../shared/traces; what
 * is not there is skipped. The files are those listed in docs/EVICTION.md.
 *
 *     CORRAL_TRACES=dir test_traces           compares
 *     CORRAL_TRACES=dir test_traces --speed   prints the tables of docs/EVICTION.md
 *
 * Every weight is 1 unless said otherwise, the cache sizes are 1 % and 10 % of
 * the distinct keys. */
#include "bench/replay.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

/* Where other simulators agree with each other (lru, sieve, arc, twoq) we must
 * agree with them to the last digit printed, give or take; s3fifo's ghost and
 * the bound of lirs' stack are allowed a little more. The rest was measured here
 * and may not move. */
enum { LRU, SIEVE, ARC, S3FIFO, LFU, CLOCK, FIFO, TWOQ, LIRS, SLRU, GDSF, WTINYLFU, POLICIES };

static const struct {
    const char *name;
    double tolerance;
} policies[POLICIES] = {
    [LRU] = {"lru", .0003},       [SIEVE] = {"sieve", .0003}, [ARC] = {"arc", .0003},
    [S3FIFO] = {"s3fifo", .0005}, [LFU] = {"lfu", .0001},     [CLOCK] = {"clock", .0001},
    [FIFO] = {"fifo", .0001},     [TWOQ] = {"twoq", .0003},   [LIRS] = {"lirs", .0005},
    [SLRU] = {"slru", .0001},     [GDSF] = {"gdsf", .0001},   [WTINYLFU] = {"wtinylfu", .0001},
};

struct cell {
    uint64_t capacity;
    double miss_ratio[POLICIES];
};

static const struct file {
    const char *path;
    enum trace_format format;
    struct cell cells[2];
} files[] = {
    {"cloudphysics_w92.tr.zst",
     TRACE_TIME_KEY_SIZE,
     {{489, {.8380, .8292, .8275, .8304, .8339, .8372, .8476, .8305, .8315, .8307, .8315, .8295}},
      {4897, {.8049, .7907, .7728, .7525, .8026, .8044, .8054, .7742, .7518, .7905, .8026, .7888}}}},
    {"orm_busy.txt.zst",
     TRACE_KEYS,
     {{763, {.2297, .2947, .2325, .2433, .2485, .2322, .2406, .2351, .2855, .2837, .2880, .2560}},
      {7634, {.1199, .1188, .1196, .1110, .1147, .1226, .1321, .1090, .1224, .1200, .1137, .1199}}}},
    {"scarab_recs.txt.zst",
     TRACE_KEYS,
     {{2583, {.6529, .5919, .5918, .5725, .6038, .6431, .6817, .5742, .6002, .5946, .6004, .5749}},
      {25836, {.3940, .3909, .3765, .3718, .3790, .3913, .4291, .3770, .3792, .3891, .3792, .3879}}}},
    {"arc_oltp.txt.zst",
     TRACE_KEYS,
     {{1868, {.5837, .5971, .5460, .5354, .5505, .5783, .6341, .5412, .5837, .5476, .5538, .5510}},
      {18688, {.3348, .3334, .3273, .3222, .3211, .3314, .3666, .3233, .3434, .3267, .3218, .3357}}}},
    /* 70 objects: our small queue has a floor (s3fifo.c) that the published
     * .7872 does not know. */
    {"fixtures/lirs_sprite.txt.zst",
     TRACE_KEYS,
     {{70, {.8367, .8071, .8097, .8052, .8260, .8385, .8304, .7942, .7978, .7935, .8131, .7534}},
      {707, {.1352, .1848, .1450, .1380, .1381, .1359, .1804, .1428, .1598, .1403, .1518, .1580}}}},
};
enum { FILES = sizeof(files) / sizeof(files[0]) };

/* NULL when the file is not there. */
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

static void miss_ratios_are_the_published_ones(void **state)
{
    const struct file *file = *state;
    struct trace *t = open_trace(file->path, file->format);
    bool as_expected = true;

    if (t == NULL)
        skip();
    for (int c = 0; c < 2; c++)
        for (int p = 0; p < POLICIES; p++) {
            const struct cell *cell = &file->cells[c];
            double got = replay_miss_ratio(t, evict_type_find(policies[p].name), cell->capacity, false);

            if (fabs(got - cell->miss_ratio[p]) <= policies[p].tolerance)
                continue;
            print_message("%s at %llu, %s: %.4f instead of %.4f\n", file->path,
                          (unsigned long long)cell->capacity, policies[p].name, got, cell->miss_ratio[p]);
            as_expected = false;
        }
    trace_free(&t);
    assert_true(as_expected);
}

/* Published figures of a climber of its own; ours has other constants (wtinylfu.c), so it
 * has a band: it may miss as much less as it can, but hardly more. */
static void wtinylfu_is_hardly_worse_than_published(void **state)
{
    static const double published[FILES][2] = {
        {.8293, .7936}, {.2798, .1164}, {.5771, .4025}, {.5521, .3742}, {.7536, .1613}};

    (void)state;
    for (size_t f = 0; f < FILES; f++)
        for (int c = 0; c < 2; c++)
            assert_true(files[f].cells[c].miss_ratio[WTINYLFU] < published[f][c] + .004);
}

/* A loop over 1011 keys in a cache of 1000: order by recency misses always. */
static void a_loop_defeats_recency(void **state)
{
    static const char *const beaten[] = {"lru", "clock", "arc", "sieve", "fifo"};
    struct trace *t = open_trace("fixtures/lirs_loop.txt.zst", TRACE_KEYS);

    (void)state;
    if (t == NULL)
        skip();
    for (size_t i = 0; i < sizeof(beaten) / sizeof(beaten[0]); i++)
        assert_true(replay_miss_ratio(t, evict_type_find(beaten[i]), 1000, false) >= 1);
    assert_true(replay_miss_ratio(t, evict_type_find("s3fifo"), 1000, false) < .11);
    assert_true(fabs(replay_miss_ratio(t, evict_type_find("lirs"), 1000, false) - .0227) < .0005);
    assert_true(replay_miss_ratio(t, evict_type_find("random"), 1000, false) < .03);
    trace_free(&t);
}

/* Weights in bytes: 64 MiB of a block trace, and a tenth of it. */
static void bytes_weigh_as_published(void **state)
{
    static const struct {
        const char *name;
        uint64_t capacity;
        double miss_ratio;
    } expected[] = {{"lru", 64 << 20, .8273},  {"s3fifo", 64 << 20, .8126}, {"slru", 64 << 20, .8073},
                    {"gdsf", 64 << 20, .8085}, {"lru", 202976972, .8097},   {"s3fifo", 202976972, .7356},
                    {"gdsf", 202976972, .7582}};
    struct trace *t = open_trace("cloudphysics_w92.tr.zst", TRACE_TIME_KEY_SIZE);

    (void)state;
    if (t == NULL)
        skip();
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        double got = replay_miss_ratio(t, evict_type_find(expected[i].name), expected[i].capacity, true);

        assert_true(fabs(got - expected[i].miss_ratio) <= .0003);
    }
    trace_free(&t);
}

/* Every policy, weights, deletions and a limit that moves, on real keys. */
static void no_invariant_breaks_on_the_way(void **state)
{
    struct trace *t = open_trace("cloudphysics_w92.tr.zst", TRACE_TIME_KEY_SIZE);
    const struct evict_type *type;

    (void)state;
    if (t == NULL)
        skip();
    for (size_t i = 0; (type = evict_type_at(i)) != NULL; i++) {
        struct replay *r = replay_new(type, 64 << 20, t->unique, 1, REPLAY_WEIGHTS);

        assert_non_null(r);
        for (size_t at = 0; at < t->requests; at++) {
            replay_get(r, t->keys[at], t->sizes[at] + (at % 7 == 0 ? 512 : 0));
            if (at % 11 == 0)
                replay_drop(r, t->keys[at / 2]);
            if (at % 10000 == 9999) {
                replay_set_capacity(r, (16 + at / 1000 % 64) << 20);
                replay_check(r);
            }
        }
        replay_free(&r);
    }
    trace_free(&t);
}

/* ---- --speed ---- */

static double cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void print_cell(const struct trace *t, const char *path, uint64_t capacity)
{
    const struct evict_type *type;

    printf("%s %llu\n", path, (unsigned long long)capacity);
    for (size_t i = 0; (type = evict_type_at(i)) != NULL; i++) {
        double best = INFINITY, miss_ratio = 0;

        for (int round = 0; round < 3; round++) {
            double start = cpu_ns(), took;

            miss_ratio = replay_miss_ratio(t, type, capacity, false);
            took = (cpu_ns() - start) / (double)t->requests;
            if (took < best)
                best = took;
        }
        printf("  %-8s %.4f  %5.1f ns\n", type->name, miss_ratio, best);
    }
}

static int print_tables(void)
{
    for (size_t f = 0; f < FILES; f++) {
        struct trace *t = open_trace(files[f].path, files[f].format);

        for (int c = 0; c < 2 && t != NULL; c++)
            print_cell(t, files[f].path, files[f].cells[c].capacity);
        trace_free(&t);
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct CMUnitTest tests[FILES + 4];
    size_t n = 0;

    if (argc > 1 && strcmp(argv[1], "--speed") == 0)
        return print_tables();
    for (; n < FILES; n++)
        tests[n] = (struct CMUnitTest){files[n].path, miss_ratios_are_the_published_ones, NULL, NULL,
                                       (void *)(uintptr_t)&files[n]};
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(wtinylfu_is_hardly_worse_than_published);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(a_loop_defeats_recency);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(bytes_weigh_as_published);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(no_invariant_breaks_on_the_way);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
