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

static bool all_start_long(uint64_t seed)
{
    return start(seed, 100);
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

/* ---- deaths ----------------------------------------------------------- */

/* All data links to it are refused, as far as those who have them live. */
static void refuse_links(struct fleet *f, unsigned victim)
{
    struct node_id id = world_id(f->world, victim);

    for (unsigned i = 0; i < f->count; i++)
        if (fleet_runs(f, i) && i != victim)
            membership_link_refused(cluster_membership(f->nodes[i].cluster), &id);
}

/* How long until everything is served again, by routes that all have. */
static bool crashes(uint64_t seed, unsigned nodes, unsigned times, bool linked, int64_t p99_most)
{
    struct fleet *f = usual(nodes, seed);
    unsigned granules = f->options.rules.granules, cold = 0, share = 0, warm = 0;
    struct sample took = {0};

    fleet_start_acquainted(f);
    for (unsigned k = 0; k < times; k++) {
        unsigned victim = (unsigned)(world_random(f->world) % nodes), witness = (victim + 1) % nodes;
        struct node_id *before, *after, *later;
        int64_t us = 0;

        EXPECT(fleet_until_agreed(f, 50 * FLEET_MS, 30 * FLEET_SECOND) >= 0);
        any_time(f);
        before = holders_by(f, witness);
        share += fleet_share(f, victim);
        fleet_forgive(f);
        if (!linked)
            world_unplug(f->world, victim, true);
        fleet_kill(f, victim);
        if (linked)
            refuse_links(f, victim);
        for (; us < 60 * FLEET_SECOND; us += 5 * FLEET_MS) {
            bool all = true;
            for (unsigned i = 0; i < nodes && all; i++)
                all = i == victim || fleet_routes(f, i);
            if (all)
                break;
            fleet_run(f, 5 * FLEET_MS);
        }
        EXPECT(us < 60 * FLEET_SECOND);
        sample_add(&took, seconds(us));
        after = holders_by(f, witness);
        for (unsigned g = 0; g < granules; g++) {
            struct node_id id = world_id(f->world, victim);
            bool its = node_id_equals(&before[g], &id);
            cold += !node_id_equals(&before[g], &after[g]);
            EXPECT(its || node_id_equals(&before[g], &after[g]));
        }
        EXPECT(fleet_until_agreed(f, 10 * FLEET_MS, 30 * FLEET_SECOND) >= 0);
        later = holders_by(f, witness);
        warm += moved(f, after, later);
        EXPECT(f->doubled == 0);
        world_unplug(f->world, victim, false);
        fleet_start(f, victim);
        fleet_check(f);
        free(before);
        free(after);
        free(later);
    }
    figure("T3, T13 %u nodes, %s: everything is served again after p50 %.2f s, worst %.2f s of %u; moved at "
           "once "
           "%.2f of what it held, %.2f more afterwards",
           nodes, linked ? "a process dies, its data links are refused" : "a machine dies",
           sample_part(&took, 0.5), sample_part(&took, 0.99), times, (double)cold / share,
           (double)warm / share);
    EXPECT(cold == share);
    EXPECT(sample_part(&took, 0.99) <= seconds(p99_most));
    EXPECT(f->epoch_fell == 0);
    sample_free(&took);
    fleet_free(&f);
    return true;
}

static bool crashes_move_what_died(uint64_t seed)
{
    return crashes(seed, 3, 20, true, 300 * FLEET_MS) && crashes(seed, 16, 20, true, 300 * FLEET_MS) &&
           crashes(seed, 3, 5, false, 2 * FLEET_SECOND) && crashes(seed, 16, 5, false, 2 * FLEET_SECOND);
}

static bool crashes_move_what_died_long(uint64_t seed)
{
    return crashes(seed, 3, 100, true, 300 * FLEET_MS) && crashes(seed, 16, 100, true, 300 * FLEET_MS) &&
           crashes(seed, 3, 50, false, 2 * FLEET_SECOND) && crashes(seed, 16, 100, false, 2 * FLEET_SECOND);
}

/* One observer alone proves nothing, where there are others who could see it. */
static bool one_refusal_is_no_death(uint64_t seed)
{
    struct fleet *f = usual(5, seed);
    struct node_id id = world_id(f->world, 3);

    fleet_start_acquainted(f);
    for (int i = 0; i < 20; i++) {
        membership_link_refused(cluster_membership(f->nodes[0].cluster), &id);
        any_time(f);
    }
    EXPECT(f->events[MEMBER_SUSPECTED] > 0);
    EXPECT(f->events[MEMBER_FAILED] == 0);
    EXPECT(fleet_until_agreed(f, 10 * FLEET_MS, 10 * FLEET_SECOND) >= 0);
    fleet_free(&f);
    return true;
}

/* Waits until the last node has got something from a source that lives, and says from whom; -1: never. */
static int pulling_from(struct fleet *f, unsigned node)
{
    for (int i = 0; i < 5000; i++) {
        const struct cluster_state *state = cluster_state(f->nodes[node].cluster);
        for (unsigned g = 0; g < f->options.rules.granules; g++) {
            if (state->source[g] == NOBODY)
                continue;
            for (unsigned n = 0; n < f->count; n++) {
                struct node_id id = world_id(f->world, n);
                if (node_id_equals(&state->view->members[state->source[g]].id, &id))
                    return (int)n;
            }
        }
        fleet_run(f, FLEET_MS);
    }
    return -1;
}

/* In the midst of a hand-over the source, the claimer, or both are gone. */
static bool crash_in_hand_over(uint64_t seed)
{
    for (int who = 1; who <= 3; who++) {
        struct fleet *f = usual(5, seed + (uint64_t)who);
        int source;

        f->pull_us = 5 * FLEET_SECOND;
        for (unsigned i = 0; i < 4; i++)
            fleet_start(f, i);
        EXPECT(fleet_until_agreed(f, 10 * FLEET_MS, 30 * FLEET_SECOND) >= 0);
        fleet_forgive(f);
        fleet_start(f, 4);
        source = pulling_from(f, 4);
        EXPECT(source >= 0);
        if (who & 1)
            fleet_kill(f, (unsigned)source);
        if (who & 2)
            fleet_kill(f, 4);
        EXPECT(fleet_until_agreed(f, 10 * FLEET_MS, 30 * FLEET_SECOND) >= 0);
        EXPECT(f->doubled == 0);
        EXPECT(fleet_unserved(f) == 0);
        fleet_check(f);
        fleet_free(&f);
    }
    return true;
}

/* Before anybody noticed: it is the same node, and holds nothing any more. */
static bool restarts_hold_nothing(uint64_t seed)
{
    struct fleet *f = usual(5, seed);
    struct node_id it = world_id(f->world, 1);

    fleet_start_acquainted(f);
    for (int i = 0; i < 5; i++) {
        fleet_kill(f, 1);
        fleet_start(f, 1);
        EXPECT(fleet_share(f, 1) == 0);
        EXPECT(fleet_until_agreed(f, 10 * FLEET_MS, 30 * FLEET_SECOND) >= 0);
        EXPECT(fleet_unserved(f) == 0);
        EXPECT(fleet_share(f, 1) > 0);
        EXPECT(f->doubled == 0);
        fleet_check(f);
    }
    EXPECT(f->events[MEMBER_RESTARTED] > 0);
    fleet_kill(f, 1);
    EXPECT(fleet_until_agreed(f, 10 * FLEET_MS, 30 * FLEET_SECOND) >= 0);
    for (unsigned i = 0; i < 5; i++)
        EXPECT(i == 1 || membership_forget(cluster_membership(f->nodes[i].cluster), &it));
    fleet_run(f, 5 * FLEET_SECOND);
    EXPECT(fleet_until_agreed(f, 10 * FLEET_MS, 30 * FLEET_SECOND) >= 0);
    fleet_check(f);
    fleet_free(&f);
    return true;
}

/* Each side goes on with everything; afterwards there is one of each again, and one server. */
static bool partitions_become_one(uint64_t seed)
{
    struct fleet *f = usual(7, seed);
    int64_t us;

    fleet_start_acquainted(f);
    for (unsigned i = 0; i < 3; i++)
        world_side(f->world, i, 1);
    fleet_run(f, 30 * FLEET_SECOND);
    EXPECT(fleet_unserved(f) == 0);
    EXPECT(f->doubled > 0);
    for (unsigned i = 0; i < 3; i++)
        world_side(f->world, i, 0);
    fleet_forgive(f);
    us = fleet_until_agreed(f, 10 * FLEET_MS, 60 * FLEET_SECOND);
    EXPECT(us >= 0);
    figure("3 and 4 nodes apart for 30 s: as one again after %.2f s; two who heard each other both served "
           "for %.0f ms",
           seconds(us), seconds(f->doubled_worst_us) * 1000);
    EXPECT(f->doubled_worst_us < FLEET_SECOND);
    EXPECT(f->epoch_fell == 0);
    fleet_check(f);
    fleet_free(&f);
    return true;
}

/* ---- traffic ---------------------------------------------------------- */

static bool idle(uint64_t seed, unsigned nodes, int64_t us)
{
    struct fleet *f = usual(nodes, seed);
    uint64_t bytes = 0, most = 0, *before = calloc(nodes, sizeof *before);

    f->step_us = FLEET_SECOND;
    f->watches = nodes <= 100;
    fleet_start_acquainted(f);
    for (unsigned i = 0; i < nodes; i++) {
        struct world_traffic t = world_traffic(f->world, i);
        before[i] = t.datagram_bytes + t.stream_bytes;
    }
    fleet_run(f, us);
    for (unsigned i = 0; i < nodes; i++) {
        struct world_traffic t = world_traffic(f->world, i);
        uint64_t sent = t.datagram_bytes + t.stream_bytes - before[i];
        bytes += sent;
        most = sent > most ? sent : most;
    }
    figure("T10 %u idle nodes, digests of the table included: each sends %.0f B/s (most %.0f)", nodes,
           (double)bytes / nodes / seconds(us), (double)most / seconds(us));
    EXPECT((double)most / seconds(us) <= 2048);
    EXPECT(fleet_agrees(f));
    EXPECT(f->events[MEMBER_SUSPECTED] == 0);
    free(before);
    fleet_free(&f);
    return true;
}

static bool idle_is_cheap(uint64_t seed)
{
    return idle(seed, 3, 300 * FLEET_SECOND) && idle(seed, 30, 60 * FLEET_SECOND) &&
           idle(seed, 1000, 20 * FLEET_SECOND);
}

/* ---- everything at once ----------------------------------------------- */

static void trouble(struct fleet *f)
{
    unsigned node = (unsigned)(world_random(f->world) % f->count);
    unsigned other = (unsigned)(world_random(f->world) % f->count);

    switch (world_random(f->world) % 13) {
    case 0:
        if (fleet_runs(f, node))
            fleet_kill(f, node);
        break;
    case 1:
    case 2:
    case 3:
        if (!fleet_runs(f, node))
            fleet_start(f, node);
        break;
    case 4: world_stall(f->world, node, (int64_t)(world_random(f->world) % (10 * FLEET_SECOND))); break;
    case 5: world_cut(f->world, node, other, world_random(f->world) % 2 == 0); break;
    case 6: world_side(f->world, node, (unsigned)(world_random(f->world) % 2)); break;
    case 7: world_unplug(f->world, node, world_random(f->world) % 2 == 0); break;
    case 8: world_node_loss(f->world, node, 0.3, 0.3); break;
    case 9:
        if (fleet_runs(f, node))
            cluster_drain(f->nodes[node].cluster);
        break;
    case 10:
        if (fleet_runs(f, node))
            refuse_links(f, node); /* somebody's firewall */
        break;
    case 11:
        if (fleet_runs(f, node)) { /* before anybody notices */
            fleet_kill(f, node);
            fleet_start(f, node);
        }
        break;
    case 12:
        world_set_weather(f->world, (struct world_weather){.delay_us = 100,
                                                           .jitter_us = 20 * FLEET_MS,
                                                           .loss = 0.2,
                                                           .doubled = 0.1,
                                                           .late = 0.1,
                                                           .late_us = 500 * FLEET_MS});
        break;
    }
    for (unsigned i = 0; i < f->count; i++)
        if (fleet_runs(f, i) && cluster_gone(f->nodes[i].cluster))
            fleet_kill(f, i);
}

static void calm(struct fleet *f)
{
    world_set_weather(f->world, (struct world_weather){.delay_us = 100, .jitter_us = 100});
    for (unsigned i = 0; i < f->count; i++) {
        world_side(f->world, i, 0);
        world_unplug(f->world, i, false);
        world_node_loss(f->world, i, 0, 0);
        for (unsigned j = 0; j < f->count; j++)
            world_cut(f->world, i, j, false);
        if (!fleet_runs(f, i) && world_random(f->world) % 2 == 0)
            fleet_start(f, i);
    }
    if (!fleet_runs(f, 0))
        fleet_start(f, 0);
}

/* All agree but for those who are on their way out. */
static int64_t until_agreed(struct fleet *f)
{
    for (int64_t us = 0; us < 1200 * FLEET_SECOND; us += 100 * FLEET_MS) {
        for (unsigned i = 0; i < f->count; i++)
            if (fleet_runs(f, i) && cluster_gone(f->nodes[i].cluster)) {
                fleet_kill(f, i);
                if (i == 0)
                    fleet_start(f, 0);
            }
        if (fleet_agrees(f))
            return us;
        fleet_run(f, 100 * FLEET_MS);
    }
    return -1;
}

static bool swarm(uint64_t seed, unsigned nodes, unsigned rounds, int64_t *doubled, int64_t *agreed)
{
    struct fleet *f = usual(nodes, seed);
    int64_t us;

    f->options.rules.granules = GRANULES_MIN;
    f->trace = getenv("TRACE") != NULL;
    for (unsigned i = 0; i < nodes; i++)
        fleet_start(f, i);
    for (unsigned round = 0; round < rounds; round++) {
        for (unsigned i = 0; i < 20; i++) {
            trouble(f);
            fleet_run(f, (int64_t)(world_random(f->world) % (2 * FLEET_SECOND)));
            fleet_check(f);
        }
        calm(f);
        us = until_agreed(f);
        if (us < 0 || f->epoch_fell > 0 || f->doubled_worst_us > FLEET_SECOND)
            figure("seed %llu, %u nodes, round %u: agreed after %.1f s, doubled for %.3f s",
                   (unsigned long long)seed, nodes, round, seconds(us), seconds(f->doubled_worst_us));
        EXPECT(us >= 0);
        EXPECT(fleet_unserved(f) == 0);
        EXPECT(f->epoch_fell == 0);
        EXPECT(f->doubled_worst_us <= FLEET_SECOND);
        *agreed = us > *agreed ? us : *agreed;
        fleet_check(f);
    }
    *doubled = f->doubled_worst_us > *doubled ? f->doubled_worst_us : *doubled;
    fleet_free(&f);
    return true;
}

static bool swarms(uint64_t seed, unsigned times, unsigned rounds)
{
    int64_t doubled = 0, agreed = 0;

    for (unsigned i = 0; i < times; i++)
        EXPECT(swarm(seed + 1000 * i, 2 + i % 9, rounds, &doubled, &agreed));
    figure("2 to 10 nodes in %u storms: always one table, epoch and view again, the latest after %.1f s; two "
           "who "
           "heard each other both served for %.0f ms at most",
           times * rounds, seconds(agreed), seconds(doubled) * 1000);
    return true;
}

static bool all_troubles_end(uint64_t seed)
{
    return swarms(seed, 9, 2);
}

static bool all_troubles_end_long(uint64_t seed)
{
    return swarms(seed, 200, 10);
}

const struct story fleet_stories[] = {
    {"start", all_start, false, "nodes that start at once share out everything"},
    {"start-100", all_start_long, true, "also 100"},
    {"join", joins_are_warm, false, "a granule moves to who joins when its holder has let go of it"},
    {"drain", drains_are_warm, false, "who drains gives everything away, then leaves"},
    {"drain-last", the_last_one_leaves, false, "unless nobody else is there"},
    {"crash", crashes_move_what_died, false,
     "a death moves what the dead one held, at once, and nothing else"},
    {"crash-often", crashes_move_what_died_long, true, "also a hundred times"},
    {"one-refusal", one_refusal_is_no_death, false, "one refused link is no death"},
    {"hand-over-crash", crash_in_hand_over, false, "source or claimer die in the midst of a hand-over"},
    {"restart-holds", restarts_hold_nothing, false, "who restarts holds nothing, and gets its share again"},
    {"partition-holders", partitions_become_one, false, "two sides that both served become one"},
    {"idle-fleet", idle_is_cheap, false, "digests of the table cost little"},
    {"storms", all_troubles_end, false,
     "after any trouble there is one table, and one server of each granule"},
    {"storms-long", all_troubles_end_long, true, "2000 of them"},
    {NULL, NULL, false, NULL},
};
