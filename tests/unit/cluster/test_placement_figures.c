/* test_placement_figures.c - how even the placement is, and how much a change moves.
 *
 * The suite goes up to 100 nodes. `make placement` goes to 1000 (PLACEMENT_NODES),
 * and prints the tables of docs/PLACEMENT.md. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "cluster/placement.h"

enum { MOST = 1001 };

static struct placement_node nodes[MOST];
static uint16_t before[GRANULES_MAX], after[GRANULES_MAX];

static uint64_t dice;

static uint64_t roll(void)
{
    dice ^= dice << 13;
    dice ^= dice >> 7;
    return dice ^= dice << 17;
}

enum weights { ALL_ALIKE, ONE_OR_TWO };

static void draw_nodes(size_t count, enum weights weights, uint64_t seed)
{
    dice = seed * 0x9e3779b97f4a7c15 + 1;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < NODE_ID_BYTES; j++)
            nodes[i].id.bytes[j] = (uint8_t)(roll() >> 32);
        nodes[i].weight = weights == ONE_OR_TWO && i % 2 == 1 ? 200 : 100;
        nodes[i].zone = (uint16_t)(i % 3);
    }
}

static void place(size_t count, unsigned granules, uint16_t *owners)
{
    struct placement_rules rules = {granules, HEADROOM_DEFAULT};

    assert_true(placement_owners(nodes, count, rules, owners));
}

static double weight_of(size_t count)
{
    double all = 0;

    for (size_t i = 0; i < count; i++)
        all += nodes[i].weight;
    return all;
}

/* What a node has at most, over what its weight asks for. */
static double imbalance(size_t count, unsigned granules, const uint16_t *owners)
{
    static unsigned has[MOST];
    double all = weight_of(count), most = 0;

    memset(has, 0, sizeof has);
    for (unsigned g = 0; g < granules; g++)
        has[owners[g]]++;
    for (size_t i = 0; i < count; i++) {
        double ratio = has[i] * all / (granules * (double)nodes[i].weight);

        if (ratio > most)
            most = ratio;
    }
    return most;
}

static unsigned differing(unsigned granules)
{
    unsigned count = 0;

    for (unsigned g = 0; g < granules; g++)
        count += before[g] != after[g];
    return count;
}

struct figures {
    double most, most_second, joined, joined_most, reweighed, ms, ms_second;
    int samples;
};

static double cpu_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* `count` nodes, then one more, which is a join or, backwards, a leave; then one with a tenth more weight. */
static void measure(size_t count, unsigned granules, enum weights weights, uint64_t seed, struct figures *f)
{
    static uint16_t seconds[GRANULES_MAX];
    struct placement_rules rules = {granules, HEADROOM_DEFAULT};
    double all, was, joined, start = cpu_ms();

    draw_nodes(count + 1, weights, seed);
    place(count, granules, before);
    f->ms += cpu_ms() - start;
    all = imbalance(count, granules, before);
    f->most = all > f->most ? all : f->most;
    start = cpu_ms();
    assert_true(placement_seconds(nodes, count, rules, before, seconds));
    f->ms_second += cpu_ms() - start;

    place(count + 1, granules, after);
    joined = differing(granules) * weight_of(count + 1) / (granules * (double)nodes[count].weight);
    f->joined += joined;
    f->joined_most = joined > f->joined_most ? joined : f->joined_most;

    all = weight_of(count);
    was = nodes[0].weight;
    nodes[0].weight = (uint16_t)(nodes[0].weight * 11 / 10);
    place(count, granules, after);
    f->reweighed += differing(granules) / (granules * (nodes[0].weight / weight_of(count) - was / all));
    f->samples++;
}

static struct figures figures_of(size_t count, unsigned granules, enum weights weights, int seeds)
{
    struct figures f = {0};

    for (int seed = 1; seed <= seeds; seed++)
        measure(count, granules, weights, (uint64_t)seed * 1000 + count, &f);
    f.joined /= f.samples;
    f.reweighed /= f.samples;
    f.ms /= f.samples;
    f.ms_second /= f.samples;
    return f;
}

static size_t nodes_max(void)
{
    const char *text = getenv("PLACEMENT_NODES");

    return text != NULL ? (size_t)atoi(text) : 100;
}

static const size_t counts[] = {3, 10, 30, 60, 100, 300, 1000};

static void show(const char *what, unsigned granules, size_t count, const struct figures *f)
{
    if (getenv("PLACEMENT_NODES") != NULL)
        print_message("# %-12s %5u granules %4zu nodes: most/share %.3f  join %.2f (worst %.2f)  "
                      "weight +10%% %.2f  CPU %.2f + %.2f ms\n",
                      what, granules, count, f->most, f->joined, f->joined_most, f->reweighed, f->ms,
                      f->ms_second);
}

/* The promises of slots as granules: 1.10, 1.11 with weights; a join moves 1.25 x the ideal, 2.1 x beyond
 * 100. */
static void with_a_granule_for_each_slot(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof counts / sizeof counts[0] && counts[i] <= nodes_max(); i++) {
        size_t n = counts[i];
        struct figures alike = figures_of(n, SLOTS, ALL_ALIKE, n <= 100 ? 10 : 4);
        struct figures mixed = figures_of(n, SLOTS, ONE_OR_TWO, n <= 100 ? 10 : 4);

        show("alike", SLOTS, n, &alike);
        show("weights 1:2", SLOTS, n, &mixed);
        assert_true(alike.most <= 1.10);
        assert_true(mixed.most <= 1.11);
        assert_true(alike.joined <= (n <= 100 ? 1.25 : 2.1));
        assert_true(mixed.joined <= (n <= 100 ? 1.30 : 2.1));
    }
}

static void with_fewer_granules(void **state)
{
    static const unsigned granules[] = {GRANULES_DEFAULT, 4096};
    static const size_t good_until[] = {60, 250};
    static const double moved[] = {1.6, 2.0};

    (void)state;
    for (int j = 0; j < 2; j++) {
        for (size_t i = 0; i < sizeof counts / sizeof counts[0] && counts[i] <= nodes_max(); i++) {
            size_t n = counts[i];
            struct figures alike = figures_of(n, granules[j], ALL_ALIKE, 40);

            show("alike", granules[j], n, &alike);
            if (n > good_until[j])
                continue;
            assert_true(alike.most <= (j == 0 ? 1.056 : 1.10));
            assert_true(alike.joined <= moved[j]);
        }
    }
}

/* Each number of nodes from 3 to 100, by joins, one after the other. */
static void from_three_to_a_hundred(void **state)
{
    double most = 0, sum = 0, worst = 0;
    size_t worst_at = 0;

    (void)state;
    draw_nodes(101, ALL_ALIKE, 7);
    place(3, SLOTS, before);
    for (size_t n = 3; n <= 100; n++) {
        double ratio = imbalance(n, SLOTS, before), joined;

        most = ratio > most ? ratio : most;
        place(n + 1, SLOTS, after);
        joined = differing(SLOTS) * (double)(n + 1) / SLOTS;
        sum += joined;
        if (joined > worst) {
            worst = joined;
            worst_at = n;
        }
        memcpy(before, after, sizeof before);
    }
    if (getenv("PLACEMENT_NODES") != NULL)
        print_message(
            "# 3 to 100 by joins: most/share %.3f, a join %.3f x on average, %.2f x at worst (%zu)\n", most,
            sum / 98, worst, worst_at);
    assert_true(most <= 1.057); /* 1.05 and the rounding up */
    assert_true(sum / 98 <= 1.25);
    assert_true(worst <= 1.5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(with_a_granule_for_each_slot),
        cmocka_unit_test(with_fewer_granules),
        cmocka_unit_test(from_three_to_a_hundred),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
