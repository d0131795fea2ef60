/* test_placement.c - the placement is the published one, whatever the order, and moves little. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cluster/placement.h"

enum { MOST = 512 };

static uint64_t dice;

static uint64_t roll(void)
{
    dice ^= dice << 13;
    dice ^= dice >> 7;
    return dice ^= dice << 17;
}

/* How nodes are given weights and zones. */
enum mix { ALIKE, WEIGHTS, ZONES, LOPSIDED, WITH_IDLE, MIXES };

static void draw_nodes(struct placement_node *nodes, size_t count, enum mix mix, uint64_t seed)
{
    dice = seed * 0x9e3779b97f4a7c15 + 1;
    for (size_t i = 0; i < count; i++) {
        nodes[i] = (struct placement_node){.weight = 1};
        for (size_t j = 0; j < NODE_ID_BYTES; j++)
            nodes[i].id.bytes[j] = (uint8_t)(roll() >> 32);
        if (mix == WEIGHTS || mix == LOPSIDED)
            nodes[i].weight = (uint16_t)(roll() % 65535 + 1);
        if (mix == ZONES)
            nodes[i].zone = (uint16_t)(roll() % 3);
        if (mix == LOPSIDED) /* one node has a zone for itself */
            nodes[i].zone = i > 0;
        if (mix == WITH_IDLE)
            nodes[i].weight = i % 3 == 2 ? 0 : 100;
    }
}

/* ---- test vectors, as they stand in the document ---- */

static FILE *open_in_root(const char *name)
{
    const char *root = getenv("CORRAL_ROOT");
    char path[4096];

    snprintf(path, sizeof path, "%s/%s", root != NULL ? root : ".", name);
    return fopen(path, "r");
}

/* Node i has the id i + 1, as 40 digits. */
static void count_nodes(struct placement_node *nodes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        nodes[i] = (struct placement_node){.weight = 1, .zone = (uint16_t)(i % 3)};
        nodes[i].id.bytes[18] = (uint8_t)((i + 1) >> 8);
        nodes[i].id.bytes[19] = (uint8_t)(i + 1);
    }
}

static void check_cost(unsigned long long number, unsigned granule, unsigned weight, unsigned long long key,
                       unsigned long long cost)
{
    struct node_id id = {{0}};

    for (unsigned i = 0; i < 8; i++)
        id.bytes[19 - i] = (uint8_t)(number >> 8 * i);
    assert_true(placement_node_key(&id) == key);
    assert_true(placement_cost(key, granule, weight) == cost);
}

/* weights and zones: a digit a node */
static void check_digits(const char *weights, const char *zones, const char *owners, const char *seconds)
{
    struct placement_node nodes[10];
    struct placement_rules rules = {64, 50};
    uint16_t first[64], second[64];
    size_t count = strlen(weights);

    assert_true(count <= 10 && strlen(zones) == count && strlen(owners) == 64 && strlen(seconds) == 64);
    count_nodes(nodes, count);
    for (size_t i = 0; i < count; i++) {
        nodes[i].weight = (uint16_t)(weights[i] - '0');
        nodes[i].zone = (uint16_t)(zones[i] - '0');
    }
    assert_true(placement_owners(nodes, count, rules, first));
    assert_true(placement_seconds(nodes, count, rules, first, second));
    for (unsigned g = 0; g < 64; g++) {
        assert_int_equal(first[g], owners[g] - '0');
        assert_int_equal(second[g], seconds[g] - '0');
    }
}

static uint64_t sum_of(const uint16_t *owners, unsigned granules)
{
    uint64_t sum = 0xcbf29ce484222325;

    for (unsigned g = 0; g < granules; g++) {
        sum = (sum ^ owners[g] >> 8) * 0x100000001b3;
        sum = (sum ^ (owners[g] & 255)) * 0x100000001b3;
    }
    return sum;
}

static void check_sums(size_t count, unsigned granules, unsigned headroom, unsigned long long owners,
                       unsigned long long seconds)
{
    static struct placement_node nodes[MOST];
    static uint16_t first[GRANULES_MAX], second[GRANULES_MAX];
    struct placement_rules rules = {granules, headroom};

    assert_true(count <= MOST);
    memset(nodes, 0, sizeof nodes);
    count_nodes(nodes, count);
    assert_true(placement_owners(nodes, count, rules, first));
    assert_true(placement_seconds(nodes, count, rules, first, second));
    assert_true(sum_of(first, granules) == owners);
    assert_true(sum_of(second, granules) == seconds);
}

static void the_vectors_of_the_document_hold(void **state)
{
    FILE *page = open_in_root("docs/PLACEMENT.md");
    char line[1024], weights[16], zones[16], owners[80], seconds[80];
    unsigned long long number, a, b;
    unsigned granule, weight, found = 0;

    (void)state;
    assert_non_null(page);
    while (fgets(line, sizeof line, page) != NULL) {
        if (sscanf(line, " cost %llu %u %u %llx %llu", &number, &granule, &weight, &a, &b) == 5)
            check_cost(number, granule, weight, a, b);
        else if (sscanf(line, " owners %15s %15s %79s %79s", weights, zones, owners, seconds) == 4)
            check_digits(weights, zones, owners, seconds);
        else if (sscanf(line, " sums %llu %u %u %llx %llx", &number, &granule, &weight, &a, &b) == 5)
            check_sums(number, granule, weight, a, b);
        else
            continue;
        found++;
    }
    fclose(page);
    assert_true(found >= 15);
}

/* ---- the same as the published program ---- */

static uint16_t named(const struct placement_node *nodes, size_t count, const char *name)
{
    char text[NODE_ID_TEXT];

    for (size_t i = 0; i < count; i++) {
        node_id_to_text(&nodes[i].id, text);
        if (memcmp(name, text, NODE_ID_TEXT) == 0)
            return (uint16_t)i;
    }
    assert_string_equal(name, "-");
    return NOBODY;
}

/* What docs/placement.py makes of the nodes. False when there is no python3. */
static bool python_says(const struct placement_node *nodes, size_t count, struct placement_rules rules,
                        uint16_t *firsts, uint16_t *seconds)
{
    const char *root = getenv("CORRAL_ROOT");
    char input[] = "/tmp/corral-placement-XXXXXX", command[4096], line[128], text[NODE_ID_TEXT + 1] = "";
    char first[64], second[64];
    int fd = mkstemp(input);
    FILE *file = fdopen(fd, "w");
    unsigned lines = 0;

    assert_non_null(file);
    for (size_t i = 0; i < count; i++) {
        node_id_to_text(&nodes[i].id, text);
        fprintf(file, "%s %u zone-%u\n", text, nodes[i].weight, nodes[i].zone);
    }
    fclose(file);
    snprintf(command, sizeof command,
             "command -v python3 >/dev/null && python3 %s/docs/placement.py %u %u <%s",
             root != NULL ? root : ".", rules.granules, rules.headroom, input);
    file = popen(command, "r");
    assert_non_null(file);
    for (; lines < rules.granules && fgets(line, sizeof line, file) != NULL; lines++) {
        assert_int_equal(sscanf(line, "%63s %63s", first, second), 2);
        firsts[lines] = named(nodes, count, first);
        seconds[lines] = named(nodes, count, second);
    }
    pclose(file);
    unlink(input);
    assert_true(lines == 0 || lines == rules.granules);
    return lines != 0;
}

static void the_published_program_says_the_same(void **state)
{
    static const struct {
        size_t count;
        enum mix mix;
        struct placement_rules rules;
    } cases[] = {
        {1, ALIKE, {64, 50}},      {2, WEIGHTS, {128, 0}},      {5, WITH_IDLE, {64, 50}},
        {5, LOPSIDED, {64, 50}},   {20, ZONES, {256, 1000}},    {60, WEIGHTS, {64, 50}},
        {20, LOPSIDED, {512, 20}}, {7, WITH_IDLE, {1024, 100}}, {40, ZONES, {512, 50}},
        {20, ZONES, {512, 0}},     {12, WEIGHTS, {1024, 0}},    {3, LOPSIDED, {16384, 1000}},
    };
    static uint16_t first[GRANULES_MAX], second[GRANULES_MAX], want1[GRANULES_MAX], want2[GRANULES_MAX];
    struct placement_node nodes[60];

    (void)state;
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        struct placement_rules rules = cases[c].rules;
        size_t count = cases[c].count;

        draw_nodes(nodes, count, cases[c].mix, c + 1);
        assert_true(placement_owners(nodes, count, rules, first));
        assert_true(placement_seconds(nodes, count, rules, first, second));
        if (!python_says(nodes, count, rules, want1, want2))
            skip();
        assert_memory_equal(first, want1, rules.granules * sizeof *first);
        assert_memory_equal(second, want2, rules.granules * sizeof *first);
    }
}

/* ---- what it promises ---- */

static const struct placement_rules usual = {GRANULES_DEFAULT, HEADROOM_DEFAULT};

static void order_does_not_matter(void **state)
{
    struct placement_node nodes[100], shuffled[100];
    uint16_t from[100], first[GRANULES_DEFAULT], second[GRANULES_DEFAULT];
    uint16_t first_again[GRANULES_DEFAULT], second_again[GRANULES_DEFAULT];

    (void)state;
    for (unsigned round = 0; round < 60; round++) {
        size_t count = round % 20 == 0 ? 100 : roll() % 30 + 1;

        draw_nodes(nodes, count, round % MIXES, round + 1);
        assert_true(placement_owners(nodes, count, usual, first));
        assert_true(placement_seconds(nodes, count, usual, first, second));
        for (size_t i = 0; i < count; i++)
            from[i] = (uint16_t)i;
        for (size_t i = count - 1; i > 0; i--) {
            size_t j = roll() % (i + 1);
            uint16_t other = from[i];

            from[i] = from[j];
            from[j] = other;
        }
        for (size_t i = 0; i < count; i++) {
            shuffled[i] = nodes[from[i]];
            shuffled[i].zone = (uint16_t)(9999 - shuffled[i].zone); /* the numbers are names only */
        }
        assert_true(placement_owners(shuffled, count, usual, first_again));
        assert_true(placement_seconds(shuffled, count, usual, first_again, second_again));
        for (unsigned g = 0; g < usual.granules; g++) {
            assert_int_equal(from[first_again[g]], first[g]);
            assert_int_equal(second[g], second_again[g] == NOBODY ? NOBODY : from[second_again[g]]);
        }
    }
}

/* Nobody has more than the quota; and no granule and node would rather have each other. */
static void the_matching_is_stable(void **state)
{
    struct placement_node nodes[60];
    uint16_t owner[GRANULES_DEFAULT];

    (void)state;
    for (unsigned round = 1; round <= 20; round++) {
        size_t count = roll() % 59 + 2;
        unsigned has[60] = {0}, quota[60];
        uint64_t dearest[60] = {0}, all = 0;

        draw_nodes(nodes, count, round % MIXES, round);
        assert_true(placement_owners(nodes, count, usual, owner));
        for (size_t i = 0; i < count; i++)
            all += nodes[i].weight;
        for (size_t i = 0; i < count; i++) {
            uint64_t part = (uint64_t)1050 * GRANULES_DEFAULT * nodes[i].weight;

            quota[i] = (unsigned)((part + 1000 * all - 1) / (1000 * all));
        }
        for (unsigned g = 0; g < usual.granules; g++) {
            const struct placement_node *n = &nodes[owner[g]];
            uint64_t cost = placement_cost(placement_node_key(&n->id), g, n->weight);

            has[owner[g]]++;
            dearest[owner[g]] = cost > dearest[owner[g]] ? cost : dearest[owner[g]];
        }
        for (size_t i = 0; i < count; i++) {
            assert_true(has[i] <= quota[i]);
            for (unsigned g = 0; g < usual.granules && nodes[i].weight > 0; g++) {
                const struct placement_node *n = &nodes[owner[g]];
                uint64_t here = placement_cost(placement_node_key(&nodes[i].id), g, nodes[i].weight);
                uint64_t there = placement_cost(placement_node_key(&n->id), g, n->weight);

                assert_true(here >= there || (has[i] == quota[i] && here > dearest[i]));
            }
        }
    }
}

static void who_has_no_weight_owns_nothing(void **state)
{
    struct placement_node nodes[3];
    uint16_t owner[64], second[64];
    struct placement_rules rules = {64, 50};

    (void)state;
    draw_nodes(nodes, 3, ALIKE, 5);
    nodes[1].weight = 0;
    assert_true(placement_owners(nodes, 3, rules, owner));
    assert_true(placement_seconds(nodes, 3, rules, owner, second));
    for (unsigned g = 0; g < 64; g++) {
        assert_int_not_equal(owner[g], 1);
        assert_int_equal(second[g], 2 - owner[g]);
    }
    nodes[2].weight = 0;
    assert_true(placement_owners(nodes, 3, rules, owner));
    assert_true(placement_seconds(nodes, 3, rules, owner, second));
    for (unsigned g = 0; g < 64; g++) {
        assert_int_equal(owner[g], 0);
        assert_int_equal(second[g], NOBODY);
    }
    nodes[0].weight = 0;
    assert_true(placement_owners(nodes, 3, rules, owner));
    assert_true(placement_seconds(nodes, 3, rules, owner, second));
    for (unsigned g = 0; g < 64; g++) {
        assert_int_equal(owner[g], NOBODY);
        assert_int_equal(second[g], NOBODY);
    }
    assert_true(placement_owners(nodes, 0, rules, owner));
    assert_int_equal(owner[63], NOBODY);
}

/* Of all that moves when a node goes, what was its own must; the rest is the quotas' doing. */
static void removing_a_node_moves_little_else(void **state)
{
    static struct placement_node nodes[101];
    static uint16_t before[GRANULES_MAX], now[GRANULES_MAX];
    static const size_t counts[] = {3, 10, 30, 100};
    static const double others_most[] = {0.06, 0.08, 0.13, 0.45}; /* as a part of what was its own */
    struct placement_rules rules = {GRANULES_MAX, HEADROOM_DEFAULT};

    (void)state;
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        size_t n = counts[c];
        unsigned own = 0, others = 0;

        for (unsigned seed = 1; seed <= 5; seed++) {
            draw_nodes(nodes, n, ALIKE, seed);
            assert_true(placement_owners(nodes, n, rules, before));
            assert_true(placement_owners(nodes, n - 1, rules, now)); /* the last one goes */
            for (unsigned g = 0; g < rules.granules; g++) {
                own += before[g] == n - 1;
                others += before[g] != n - 1 && before[g] != now[g];
            }
        }
        assert_true(others <= others_most[c] * own);
    }
}

/* Without quotas in the way it is plain rendezvous hashing: nothing else moves at all. */
static void with_room_nothing_else_moves(void **state)
{
    struct placement_node nodes[30];
    uint16_t before[GRANULES_DEFAULT], now[GRANULES_DEFAULT];
    struct placement_rules rules = {GRANULES_DEFAULT, HEADROOM_MAX};

    (void)state;
    draw_nodes(nodes, 30, ALIKE, 3);
    assert_true(placement_owners(nodes, 30, rules, before));
    assert_true(placement_owners(nodes, 29, rules, now));
    for (unsigned g = 0; g < rules.granules; g++)
        assert_true(before[g] == 29 || before[g] == now[g]);
}

static void seconds_are_in_another_zone(void **state)
{
    struct placement_node nodes[60];
    uint16_t first[GRANULES_DEFAULT], second[GRANULES_DEFAULT];

    (void)state;
    for (unsigned round = 1; round <= 30; round++) {
        size_t count = roll() % 50 + 6;
        enum mix mix = round % 2 == 0 ? ZONES : LOPSIDED;
        bool zones = false;

        draw_nodes(nodes, count, mix, round);
        for (size_t i = 1; i < count; i++)
            zones |= nodes[i].zone != nodes[0].zone;
        assert_true(zones);
        assert_true(placement_owners(nodes, count, usual, first));
        assert_true(placement_seconds(nodes, count, usual, first, second));
        for (unsigned g = 0; g < usual.granules; g++)
            assert_int_not_equal(nodes[first[g]].zone, nodes[second[g]].zone);
    }
}

/* Zones of one size: a node is second for as much as it is first for, and the headroom. */
static void seconds_are_spread_evenly(void **state)
{
    struct placement_node nodes[99];
    uint16_t first[GRANULES_MAX], second[GRANULES_MAX];
    struct placement_rules rules = {GRANULES_MAX, HEADROOM_DEFAULT};

    (void)state;
    for (int zones = 0; zones < 2; zones++) {
        for (size_t count = 3; count <= 99; count += 24) {
            unsigned has[99] = {0}, most = 0;

            draw_nodes(nodes, count, ALIKE, count);
            for (size_t i = 0; i < count && zones; i++)
                nodes[i].zone = (uint16_t)(i % 3);
            assert_true(placement_owners(nodes, count, rules, first));
            assert_true(placement_seconds(nodes, count, rules, first, second));
            for (unsigned g = 0; g < rules.granules; g++) {
                assert_int_not_equal(first[g], second[g]);
                if (++has[second[g]] > most)
                    most = has[second[g]];
            }
            assert_true(most <= 1.08 * GRANULES_MAX / (double)count + 1);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vectors_of_the_document_hold),
        cmocka_unit_test(the_published_program_says_the_same),
        cmocka_unit_test(order_does_not_matter),
        cmocka_unit_test(the_matching_is_stable),
        cmocka_unit_test(who_has_no_weight_owns_nothing),
        cmocka_unit_test(removing_a_node_moves_little_else),
        cmocka_unit_test(with_room_nothing_else_moves),
        cmocka_unit_test(seconds_are_in_another_zone),
        cmocka_unit_test(seconds_are_spread_evenly),
    };

    dice = 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
