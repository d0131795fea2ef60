/* sim_fleet.c - stories about who serves what. The figures have their names (T1 ..) from docs/CLUSTER.md. */
#include <stdlib.h>

#include "tests/sim/fleet.h"
#include "tests/sim/sim.h"

static double seconds(int64_t us)
{
    return (double)us / FLEET_SECOND;
}

/* Clocks drift, and the network is not perfect. */
static struct fleet *usual(unsigned nodes, uint64_t seed)
{
    struct fleet *f = fleet_new(nodes, seed);

    world_set_weather(
        f->world,
        (struct world_weather){
            .delay_us = 100, .jitter_us = 200, .doubled = 0.001, .late = 0.01, .late_us = 5 * FLEET_MS});
    for (unsigned i = 0; i < nodes; i++)
        world_drift(f->world, i, (int)(world_random(f->world) % 401) - 200);
    return f;
}

static void any_time(struct fleet *f)
{
    fleet_run(f, (int64_t)(world_random(f->world) % FLEET_SECOND));
}

/* Who holds each granule by that node's view; to be freed. */
static struct node_id *holders_by(const struct fleet *f, unsigned node)
{
    const struct view *view = cluster_state(f->nodes[node].cluster)->view;
    struct node_id *ids = calloc(view->rules.granules, sizeof *ids);

    for (unsigned g = 0; ids != NULL && g < view->rules.granules; g++)
        if (view->holder[g] != NOBODY)
            ids[g] = view->members[view->holder[g]].id;
    return ids;
}

static unsigned moved(const struct fleet *f, const struct node_id *before, const struct node_id *now)
{
    unsigned count = 0;

    for (unsigned g = 0; g < f->options.rules.granules; g++)
        count += !node_id_equals(&before[g], &now[g]);
    return count;
}

/* ---- nobody dies ------------------------------------------------------ */

static bool start(uint64_t seed, unsigned nodes)
{
    struct fleet *f = usual(nodes, seed);
    int64_t us;

    f->trace = getenv("TRACE") != NULL;
    for (unsigned i = 0; i < nodes; i++)
        fleet_start(f, i);
    us = fleet_until_agreed(f, 10 * FLEET_MS, 20 * FLEET_SECOND);
    EXPECT(us >= 0);
    EXPECT(fleet_unserved(f) == 0);
    EXPECT(f->doubled == 0);
    EXPECT(f->epoch_fell == 0);
    figure("%u nodes start at once: all is served after %.2f s", nodes, seconds(us));
    fleet_check(f);
    fleet_free(&f);
    return true;
}

static bool all_start(uint64_t seed)
{
    return start(seed, 1) && start(seed, 2) && start(seed, 3) && start(seed, 30);
}

/* Who joins takes over what it owns, each granule after its holder has let go of it. */
static bool join(uint64_t seed, unsigned nodes, unsigned joining)
{
    struct fleet *f = usual(nodes + joining, seed);
    unsigned count = nodes + joining, granules = f->options.rules.granules, went;
    struct node_id *before, *now;
    int64_t us, switched = -1;
    uint64_t at;

    f->step_us = FLEET_MS;
    for (unsigned i = 0; i < nodes; i++)
        fleet_start(f, i);
    EXPECT(fleet_until_agreed(f, 10 * FLEET_MS, 20 * FLEET_SECOND) >= 0);
    any_time(f);
    fleet_forgive(f);
    before = holders_by(f, 0);
    f->trace = getenv("TRACE") != NULL;
    for (unsigned i = nodes; i < count; i++)
        fleet_start(f, i);
    for (us = 0; us < 30 * FLEET_SECOND && !fleet_agrees(f); us += 5 * FLEET_MS) {
        fleet_run(f, 5 * FLEET_MS);
        at = 0;
        for (unsigned i = 0; i < count; i++)
            at += cluster_state(f->nodes[i].cluster)->view->override_count;
        if (switched < 0 && at == 0 && cluster_state(f->nodes[0].cluster)->view->member_count == count &&
            fleet_share(f, count - 1) > 0)
            switched = us;
    }
    EXPECT(fleet_agrees(f));
    now = holders_by(f, 0);
    went = moved(f, before, now);
    for (unsigned g = 0, to; g < granules; g++) {
        for (to = 0; to < count && !fleet_serves(f, to, g);)
            to++;
        EXPECT(to < count);
    }
    figure("T13, T14 %u nodes, %u more join: all switched after %.2f s, all pulled after %.2f s; %.2f of the "
           "ideal moved; "
           "unserved at most %.0f ms",
           nodes, joining, seconds(switched), seconds(us), (double)went * count / joining / granules,
           seconds(f->unserved_worst_us) * 1000);
    EXPECT(switched >= 0 && switched <= 2 * FLEET_SECOND);
    EXPECT(f->doubled == 0);
    EXPECT(f->epoch_fell == 0);
    EXPECT(f->unserved_worst_us < 100 * FLEET_MS);
    fleet_check(f);
    free(before);
    free(now);
    fleet_free(&f);
    return true;
}

static bool joins_are_warm(uint64_t seed)
{
    return join(seed, 1, 1) && join(seed, 3, 1) && join(seed, 3, 2) && join(seed, 10, 1);
}

/* It serves until others have everything, then leaves. */
static bool drains_are_warm(uint64_t seed)
{
    struct fleet *f = usual(5, seed);
    int64_t us = 0;

    f->step_us = FLEET_MS;
    fleet_start_acquainted(f);
    EXPECT(fleet_until_agreed(f, 10 * FLEET_MS, 20 * FLEET_SECOND) >= 0);
    cluster_drain(f->nodes[2].cluster);
    for (; us < 30 * FLEET_SECOND && !cluster_gone(f->nodes[2].cluster); us += 5 * FLEET_MS)
        fleet_run(f, 5 * FLEET_MS);
    EXPECT(cluster_gone(f->nodes[2].cluster));
    EXPECT(fleet_share(f, 2) == 0);
    fleet_kill(f, 2);
    EXPECT(fleet_until_agreed(f, 10 * FLEET_MS, 20 * FLEET_SECOND) >= 0);
    figure("5 nodes, one drains: gone after %.2f s; unserved at most %.0f ms", seconds(us),
           seconds(f->unserved_worst_us) * 1000);
    EXPECT(f->doubled == 0);
    EXPECT(f->events[MEMBER_FAILED] == 0);
    EXPECT(f->unserved_worst_us < 100 * FLEET_MS);
    fleet_start(f, 2);
    EXPECT(fleet_until_agreed(f, 10 * FLEET_MS, 20 * FLEET_SECOND) >= 0);
    EXPECT(f->doubled == 0);
    fleet_check(f);
    fleet_free(&f);
    return true;
}

/* The last one has nobody to give to. */
static bool the_last_one_leaves(uint64_t seed)
{
    struct fleet *f = usual(1, seed);
    int64_t us = 0;

    fleet_start(f, 0);
    EXPECT(fleet_until_agreed(f, 10 * FLEET_MS, 20 * FLEET_SECOND) >= 0);
    cluster_drain(f->nodes[0].cluster);
    for (; us < 30 * FLEET_SECOND && !cluster_gone(f->nodes[0].cluster); us += 5 * FLEET_MS)
        fleet_run(f, 5 * FLEET_MS);
    EXPECT(us < FLEET_SECOND);
    fleet_free(&f);
    return true;
}

const struct story fleet_stories[] = {
    {"start", all_start, false, "nodes that start at once share out everything"},
    {"join", joins_are_warm, false, "a granule moves to who joins when its holder has let go of it"},
    {"drain", drains_are_warm, false, "who drains gives everything away, then leaves"},
    {"drain-last", the_last_one_leaves, false, "unless nobody else is there"},
    {NULL, NULL, false, NULL},
};
