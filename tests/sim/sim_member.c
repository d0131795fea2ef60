/* sim_member.c - stories about who is in the cluster. The figures have their
 * names (T1 ..) from docs/CLUSTER.md. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tests/sim/members.h"
#include "tests/sim/sim.h"

static double seconds(int64_t us)
{
    return (double)us / SECOND;
}

static double cpu_seconds(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

/* Every story's nodes have clocks that drift, and stand in a network that is not perfect. */
static struct members *usual(unsigned nodes, uint64_t seed)
{
    struct members *c = members_new(nodes, seed);

    world_set_weather(
        c->world, (struct world_weather){
                      .delay_us = 100, .jitter_us = 200, .doubled = 0.001, .late = 0.01, .late_us = 5 * MS});
    for (unsigned i = 0; i < nodes; i++)
        world_drift(c->world, i, (int)(world_random(c->world) % 401) - 200);
    return c;
}

static void any_time(struct members *c)
{
    members_run(c, (int64_t)(world_random(c->world) % SECOND));
}

/* ---- crashes ---------------------------------------------------------- */

enum death {
    MACHINE,       /* silence */
    PROCESS,       /* its machine says that the port is dead, to whoever asks */
    PROCESS_LINKED /* and resets the data links that others had to it */
};

/* One after the other dies and comes back; how long until all know each death? */
static bool deaths(uint64_t seed, unsigned nodes, unsigned times, enum death how, double p99_most,
                   const char *name)
{
    struct members *c = usual(nodes, seed);
    struct sample took = {0};

    members_start_acquainted(c);
    members_run(c, 2 * SECOND);
    for (unsigned i = 0; i < times; i++) {
        unsigned victim = (unsigned)(world_random(c->world) % nodes);
        int64_t us;

        any_time(c);
        if (how == MACHINE)
            world_unplug(c->world, victim, true);
        members_kill(c, victim);
        for (unsigned j = 0; how == PROCESS_LINKED && j < nodes; j++) {
            struct node_id id = world_id(c->world, victim);
            if (j != victim)
                membership_link_refused(c->nodes[j], &id);
        }
        us = members_until(c, members_knows_dead, victim, 5 * MS, 60 * SECOND);
        EXPECT(us >= 0);
        sample_add(&took, seconds(us));
        members_check(c);
        world_unplug(c->world, victim, false);
        members_start(c, victim);
        EXPECT(members_until(c, members_all_agree, 0, 50 * MS, 30 * SECOND) >= 0);
        c->failed[victim] = 0;
    }
    for (unsigned i = 0; i < nodes; i++)
        EXPECT(c->failed[i] == 0);
    figure("%s: %u nodes, known by all after p50 %.2f s, p99 %.2f s (%u deaths)", name, nodes,
           sample_part(&took, 0.5), sample_part(&took, 0.99), times);
    EXPECT(sample_part(&took, 0.99) <= p99_most);
    sample_free(&took);
    members_free(&c);
    return true;
}

static bool machine_dies(uint64_t seed)
{
    return deaths(seed, 3, 50, MACHINE, 2.0, "T1 machine death") &&
           deaths(seed, 16, 100, MACHINE, 2.0, "T1 machine death");
}

static bool process_dies(uint64_t seed)
{
    return deaths(seed, 3, 50, PROCESS, 0.8, "T3 kill -9, by probes alone") &&
           deaths(seed, 16, 100, PROCESS, 0.8, "T3 kill -9, by probes alone") &&
           deaths(seed, 3, 50, PROCESS_LINKED, 0.3, "T3 kill -9, data links reset") &&
           deaths(seed, 16, 100, PROCESS_LINKED, 0.3, "T3 kill -9, data links reset");
}

static bool machine_dies_1000(uint64_t seed)
{
    return deaths(seed, 1000, 20, MACHINE, 4.5, "T2 machine death");
}

/* ---- nobody dies ------------------------------------------------------ */

static bool quiet(uint64_t seed, unsigned nodes, double loss, int64_t us, bool strict)
{
    struct members *c = usual(nodes, seed);
    double cpu = cpu_seconds();

    world_set_weather(c->world, (struct world_weather){.delay_us = 100, .jitter_us = 200, .loss = loss});
    members_start_acquainted(c);
    members_run(c, us);
    cpu = cpu_seconds() - cpu;
    figure("T7 %u nodes, %.0f %% loss, %.0f s: %llu suspicions, %llu declared dead, %.0f x real time", nodes,
           loss * 100, seconds(us), (unsigned long long)c->events[MEMBER_SUSPECTED],
           (unsigned long long)c->events[MEMBER_FAILED], seconds(us) / cpu);
    members_check(c);
    EXPECT(!strict || c->events[MEMBER_FAILED] == 0);
    EXPECT(c->events[MEMBER_FAILED] > 0 || members_until(c, members_all_agree, 0, 10 * MS, 30 * SECOND) >= 0);
    members_free(&c);
    return true;
}

static bool loss_is_no_death(uint64_t seed)
{
    return quiet(seed, 30, 0.01, 600 * INT64_C(1) * SECOND, true) &&
           quiet(seed, 30, 0.05, 600 * INT64_C(1) * SECOND, true) &&
           quiet(seed, 30, 0.10, 600 * INT64_C(1) * SECOND, true);
}

static bool loss_is_no_death_long(uint64_t seed)
{
    return quiet(seed, 100, 0.01, 3600 * INT64_C(1) * SECOND, true) &&
           quiet(seed, 100, 0.05, 3600 * INT64_C(1) * SECOND, true) &&
           quiet(seed, 100, 0.10, 3600 * INT64_C(1) * SECOND, true) &&
           quiet(seed, 100, 0.20, 3600 * INT64_C(1) * SECOND, false);
}

/* The Lifeguard paper's experiment: some nodes run a moment now and then, and
 * hang for long in between. Who is declared dead? */
static bool stalls(uint64_t seed, unsigned nodes, unsigned sick, int64_t hang_us, int64_t run_us, int64_t us,
                   uint64_t *total, uint64_t *healthy)
{
    struct members *c = usual(nodes, seed);

    members_start_acquainted(c);
    members_run(c, 2 * SECOND);
    for (int64_t passed = 0; passed < us; passed += hang_us + run_us) {
        for (unsigned i = 0; i < sick; i++)
            world_stall(c->world, i, hang_us);
        members_run(c, hang_us + run_us);
    }
    for (unsigned i = 0; i < nodes; i++) {
        *total += i < sick ? 0 : c->failed[i];
        for (unsigned j = sick; i >= sick && j < nodes; j++)
            *healthy += i != j && members_belief(c, i, j) >= MEMBER_DEAD;
    }
    members_check(c);
    EXPECT(members_until(c, members_all_agree, 0, 100 * MS, 60 * SECOND) >= 0);
    members_free(&c);
    return true;
}

static bool stalled_nodes_accuse_nobody(uint64_t seed)
{
    static const int64_t hangs[] = {500 * MS, 2 * SECOND, 8 * SECOND};
    uint64_t total = 0, healthy = 0;

    for (unsigned sick = 4; sick <= 16; sick *= 4)
        for (unsigned h = 0; h < 3; h++)
            EXPECT(stalls(seed + sick * 8 + h, 64, sick, hangs[h], 64 * MS, 30 * SECOND, &total, &healthy));
    figure("T5 64 nodes, 4 or 16 hang for 0.5, 2 or 8 s, 30 s each: %llu deaths of healthy nodes declared",
           (unsigned long long)total);
    EXPECT(total == 0 && healthy == 0);
    return true;
}

static bool stalled_nodes_accuse_nobody_long(uint64_t seed)
{
    static const int64_t hangs[] = {2 * SECOND, 8 * SECOND, 32 * SECOND};
    static const int64_t runs[] = {64 * MS, SECOND};
    uint64_t total = 0, healthy = 0;

    for (unsigned sick = 4; sick <= 32; sick = sick == 16 ? 32 : sick * 4)
        for (unsigned h = 0; h < 3; h++)
            for (unsigned r = 0; r < 2; r++)
                EXPECT(stalls(seed + sick * 8 + h * 2 + r, 128, sick, hangs[h], runs[r], 135 * SECOND, &total,
                              &healthy));
    figure("T5 128 nodes, 4/16/32 hang for 2/8/32 s, 18 runs of 135 s: %llu deaths of healthy nodes declared",
           (unsigned long long)total);
    EXPECT(total <= 50);
    return true;
}

/* ---- broken networks -------------------------------------------------- */

/* One direction between two nodes, then everything that one node sends to half of the others. */
static bool one_way_cuts(uint64_t seed)
{
    struct members *c = usual(16, seed);

    members_start_acquainted(c);
    members_run(c, 2 * SECOND);
    world_cut(c->world, 3, 7, true);
    members_run(c, 120 * SECOND);
    EXPECT(c->events[MEMBER_FAILED] == 0);
    for (unsigned i = 8; i < 16; i++)
        world_cut(c->world, 3, i, true);
    members_run(c, 120 * SECOND);
    for (unsigned i = 0; i < 16; i++)
        EXPECT(i == 3 || c->failed[i] == 0);
    figure("one-way cut of 1, then of 9 of 15 links, 120 s each: %llu suspicions, declared dead by one: %u",
           (unsigned long long)c->events[MEMBER_SUSPECTED], c->failed[3]);
    EXPECT(c->failed[3] <= 30); /* twice by each: hardly ever once */
    for (unsigned i = 0; i < 16; i++)
        world_cut(c->world, 3, i, true);
    EXPECT(members_until(c, members_knows_dead, 3, 10 * MS, 60 * SECOND) >= 0);
    for (unsigned i = 0; i < 16; i++)
        EXPECT(i == 3 || c->failed[i] <= 1); /* in the eyes of the mute one */
    for (unsigned i = 0; i < 16; i++)
        world_cut(c->world, 3, i, false);
    EXPECT(members_until(c, members_all_agree, 0, 10 * MS, 60 * SECOND) >= 0);
    members_check(c);
    members_free(&c);
    return true;
}

static bool partition(uint64_t seed, unsigned nodes, unsigned smaller, int64_t cut_us, int64_t heal_most_us)
{
    struct members *c = usual(nodes, seed);
    int64_t us;

    members_start_acquainted(c);
    members_run(c, 2 * SECOND);
    for (unsigned i = 0; i < smaller; i++)
        world_side(c->world, i, 1);
    members_run(c, cut_us);
    for (unsigned i = 0; i < nodes; i++)
        EXPECT(membership_live(c->nodes[i]) == (i < smaller ? smaller : nodes - smaller));
    members_check(c);
    for (unsigned i = 0; i < smaller; i++)
        world_side(c->world, i, 0);
    us = members_until(c, members_all_agree, 0, 10 * MS, 10 * heal_most_us);
    figure("partition %u | %u for %.0f s: one again after %.2f s", smaller, nodes - smaller, seconds(cut_us),
           seconds(us));
    EXPECT(us >= 0 && us <= heal_most_us);
    members_check(c);
    members_free(&c);
    return true;
}

static bool partitions_heal(uint64_t seed)
{
    return partition(seed, 5, 2, 60 * SECOND, 20 * SECOND) &&
           partition(seed, 50, 20, 60 * SECOND, 15 * SECOND) &&
           partition(seed, 50, 1, 600 * INT64_C(1) * SECOND, 20 * SECOND);
}

/* T6: some nodes lose most of what they are sent. They may be held for dead; nobody else may. */
static bool lossy_nodes(uint64_t seed, unsigned nodes, unsigned bad, int64_t us)
{
    struct members *c = usual(nodes, seed);
    uint64_t healthy = 0, others = 0;

    members_start_acquainted(c);
    members_run(c, 2 * SECOND);
    for (unsigned i = 0; i < bad; i++)
        world_node_loss(c->world, i, 0, 0.8);
    members_run(c, us);
    for (unsigned i = bad; i < nodes; i++) {
        healthy += c->failed[i];
        for (unsigned j = bad; j < nodes; j++)
            others += i != j && members_belief(c, i, j) >= MEMBER_DEAD;
    }
    figure("T6 %u of %u nodes lose 80 %% of what they are sent, %.0f s: deaths of others declared %llu, "
           "believed by healthy ones at the end %llu",
           bad, nodes, seconds(us), (unsigned long long)healthy, (unsigned long long)others);
    EXPECT(others == 0);
    for (unsigned i = 0; i < bad; i++)
        world_node_loss(c->world, i, 0, 0);
    EXPECT(members_until(c, members_all_agree, 0, 100 * MS, 120 * SECOND) >= 0);
    members_check(c);
    members_free(&c);
    return true;
}

static bool lossy_node(uint64_t seed)
{
    return lossy_nodes(seed, 50, 1, 120 * SECOND);
}

static bool lossy_nodes_1000(uint64_t seed)
{
    return lossy_nodes(seed, 1000, 10, 60 * SECOND);
}

/* ---- coming and going ------------------------------------------------- */

static bool restart_is_seen(uint64_t seed)
{
    struct members *c = usual(10, seed);
    struct node_id id = world_id(c->world, 4);
    const struct record *record;

    members_start_acquainted(c);
    members_run(c, 2 * SECOND);
    members_kill(c, 4);
    members_start(c, 4); /* before anybody noticed */
    members_run(c, 3 * SECOND);
    EXPECT(c->events[MEMBER_RESTARTED] == 9);
    EXPECT(c->events[MEMBER_FAILED] == 0);
    EXPECT(members_agrees(c));
    record = membership_find(c->nodes[0], &id, NULL);
    EXPECT(record != NULL && record->incarnation >> 16 == 2);

    members_kill(c, 4);
    c->boots[4] = 0; /* its data folder was put back from a copy: it must still get in */
    members_start(c, 4);
    EXPECT(members_until(c, members_all_agree, 0, 10 * MS, 10 * SECOND) >= 0);
    EXPECT(c->events[MEMBER_CONFLICT] > 0);
    members_check(c);
    members_free(&c);
    return true;
}

static bool leaving_is_no_failure(uint64_t seed)
{
    struct members *c = usual(30, seed);
    int64_t us = 0;

    members_start_acquainted(c);
    members_run(c, 2 * SECOND);
    membership_leave(c->nodes[9]);
    for (; !membership_gone(c->nodes[9]) && us < 10 * SECOND; us += 10 * MS)
        members_run(c, 10 * MS);
    EXPECT(us < 3 * SECOND);
    members_kill(c, 9);
    members_run(c, 10 * SECOND);
    EXPECT(members_believers(c, 9, MEMBER_LEFT) == 29);
    EXPECT(c->events[MEMBER_FAILED] == 0 && c->events[MEMBER_SUSPECTED] == 0);
    figure("leave: said to all in %.2f s", seconds(us));
    members_start(c, 9);
    EXPECT(members_until(c, members_all_agree, 0, 10 * MS, 5 * SECOND) >= 0);
    members_check(c);
    members_free(&c);
    return true;
}

/* Hangs just long enough to be declared dead, comes back, hangs again. */
static bool flapping_ends_in_probation(uint64_t seed)
{
    struct members *c = usual(10, seed);
    struct node_id id = world_id(c->world, 5);
    const struct record *record;

    members_start_acquainted(c);
    members_run(c, 2 * SECOND);
    for (int i = 0; i < 2; i++) {
        world_stall(c->world, 5, 8 * SECOND);
        members_run(c, 7 * SECOND);
        EXPECT(members_knows_dead(c, 5));
        EXPECT(members_until(c, members_all_agree, 0, 10 * MS, 15 * SECOND) >= 0);
    }
    members_run(c, SECOND);
    record = membership_find(c->nodes[0], &id, NULL);
    EXPECT(record != NULL && record->probation == 1);
    members_run(c, 35 * SECOND);
    record = membership_find(c->nodes[0], &id, NULL);
    EXPECT(record != NULL && record->probation == 0);
    EXPECT(membership_counters(c->nodes[5])->probations == 1);
    members_check(c);
    members_free(&c);
    return true;
}

static bool bootstrap(uint64_t seed, unsigned nodes, int64_t most_us)
{
    struct members *c = usual(nodes, seed);
    double cpu = cpu_seconds();
    int64_t us;

    for (unsigned i = 0; i < nodes; i++)
        members_start(c, i);
    us = members_until(c, members_all_agree, 0, 50 * MS, 10 * most_us);
    figure("T9 %u nodes start at once: all know all after %.2f s (%.1f s of processor)", nodes, seconds(us),
           cpu_seconds() - cpu);
    EXPECT(us >= 0 && us <= most_us);
    EXPECT(c->events[MEMBER_FAILED] == 0);
    members_check(c);
    members_free(&c);
    return true;
}

static bool all_find_each_other(uint64_t seed)
{
    return bootstrap(seed, 1, SECOND) && bootstrap(seed, 2, 3 * SECOND) && bootstrap(seed, 3, 3 * SECOND) &&
           bootstrap(seed, 100, 5 * SECOND);
}

static bool all_find_each_other_2000(uint64_t seed)
{
    return bootstrap(seed, 2000, 10 * SECOND);
}

/* A copied data folder: two that say they are one. It is reported, and the others do not suffer. */
static bool twins(uint64_t seed)
{
    struct members *c = usual(10, seed);
    struct node_id id = world_id(c->world, 8);
    const struct record *record;

    world_set_id(c->world, 9, id);
    for (unsigned i = 0; i < 10; i++)
        members_start(c, i);
    membership_set_weight(c->nodes[9], 7); /* they differ from the start */
    members_run(c, 60 * SECOND);
    EXPECT(c->events[MEMBER_CONFLICT] > 0);
    record = membership_find(c->nodes[0], &id, NULL);
    EXPECT(record != NULL && record->incarnation < (1 << 16) + 200);
    for (unsigned i = 0; i < 8; i++)
        EXPECT(c->failed[i] == 0 && membership_live(c->nodes[i]) >= 8);
    members_kill(c, 9);
    EXPECT(members_until(c, members_knows_alive, 8, 10 * MS, 30 * SECOND) >= 0);
    members_check(c);
    members_free(&c);
    return true;
}

/* ---- rumours, traffic, speed ------------------------------------------ */

static bool rumour(uint64_t seed, unsigned nodes, double loss, unsigned times, double p99_most)
{
    struct members *c = usual(nodes, seed);
    struct sample took = {0};

    members_start_acquainted(c);
    world_set_weather(c->world, (struct world_weather){.delay_us = 100, .jitter_us = 200, .loss = loss});
    members_run(c, SECOND);
    for (unsigned i = 0; i < times; i++) {
        unsigned source = (unsigned)(world_random(c->world) % nodes);
        struct node_id id = world_id(c->world, source);
        uint16_t weight = (uint16_t)(200 + i);
        int64_t us;

        any_time(c);
        membership_set_weight(c->nodes[source], weight);
        for (us = 0; us < 60 * SECOND; us += 5 * MS) {
            unsigned know = 0;
            for (unsigned j = 0; j < nodes; j++)
                know += membership_find(c->nodes[j], &id, NULL)->weight == weight;
            if (know == nodes)
                break;
            members_run(c, 5 * MS);
        }
        EXPECT(us < 60 * SECOND);
        sample_add(&took, seconds(us));
    }
    figure("T8 %u nodes, %.0f %% loss: a rumour reaches all after p50 %.2f s, p99 %.2f s", nodes, loss * 100,
           sample_part(&took, 0.5), sample_part(&took, 0.99));
    EXPECT(sample_part(&took, 0.99) <= p99_most);
    sample_free(&took);
    members_free(&c);
    return true;
}

static bool rumours_reach_all(uint64_t seed)
{
    return rumour(seed, 100, 0, 20, 0.6) && rumour(seed, 100, 0.1, 20, 0.6);
}

static bool rumours_reach_all_1000(uint64_t seed)
{
    return rumour(seed, 1000, 0, 30, 0.6) && rumour(seed, 1000, 0.1, 30, 0.8) &&
           rumour(seed, 100, 0.3, 30, 8);
}

static bool idle(uint64_t seed, unsigned nodes, int64_t us)
{
    struct members *c = usual(nodes, seed);
    uint64_t bytes = 0, most = 0, datagrams = 0;
    double cpu, speed;

    members_start_acquainted(c);
    cpu = cpu_seconds();
    members_run(c, us);
    cpu = cpu_seconds() - cpu;
    for (unsigned i = 0; i < nodes; i++) {
        struct world_traffic t = world_traffic(c->world, i);
        uint64_t sent = t.datagram_bytes + t.stream_bytes;
        bytes += sent;
        datagrams += t.datagrams;
        most = sent > most ? sent : most;
    }
    speed = seconds(us) / cpu;
    figure(
        "T10, T11 %u idle nodes: each sends %.0f B/s (most %.0f), %.1f packets/s; %.0f x real time, %.2f M "
        "events/s",
        nodes, (double)bytes / nodes / seconds(us), (double)most / seconds(us),
        (double)datagrams / nodes / seconds(us), speed, (double)world_events(c->world) / cpu / 1e6);
    EXPECT((double)most / seconds(us) <= 2048);
    EXPECT(c->events[MEMBER_SUSPECTED] == 0);
    members_free(&c);
    return true;
}

static bool idle_is_cheap(uint64_t seed)
{
    return idle(seed, 3, 600 * INT64_C(1) * SECOND) && idle(seed, 5, 600 * INT64_C(1) * SECOND) &&
           idle(seed, 30, 120 * SECOND) && idle(seed, 1000, 20 * SECOND);
}

static bool idle_is_cheap_5000(uint64_t seed)
{
    return idle(seed, 5000, 20 * SECOND);
}

/* ---- everything at once ----------------------------------------------- */

/* A swarm of troubles, from which the cluster must recover whatever the seed. */
static void trouble(struct members *c)
{
    unsigned node = (unsigned)(world_random(c->world) % c->count);
    unsigned other = (unsigned)(world_random(c->world) % c->count);

    switch (world_random(c->world) % 9) {
    case 0:
        if (c->nodes[node] != NULL)
            members_kill(c, node);
        break;
    case 1:
    case 2:
        if (c->nodes[node] == NULL)
            members_start(c, node);
        break;
    case 3: world_stall(c->world, node, (int64_t)(world_random(c->world) % (10 * SECOND))); break;
    case 4: world_cut(c->world, node, other, world_random(c->world) % 2 == 0); break;
    case 5: world_side(c->world, node, (unsigned)(world_random(c->world) % 2)); break;
    case 6: world_unplug(c->world, node, world_random(c->world) % 2 == 0); break;
    case 7: world_node_loss(c->world, node, 0.3, 0.3); break;
    case 8:
        world_set_weather(c->world, (struct world_weather){.delay_us = 100,
                                                           .jitter_us = 20 * MS,
                                                           .loss = 0.2,
                                                           .doubled = 0.1,
                                                           .late = 0.1,
                                                           .late_us = 500 * MS});
        break;
    }
}

static bool swarm(uint64_t seed, unsigned nodes, unsigned rounds)
{
    struct members *c = usual(nodes, seed);
    int64_t us;

    for (unsigned i = 0; i < nodes; i++)
        members_start(c, i);
    for (unsigned round = 0; round < rounds; round++) {
        for (unsigned i = 0; i < 20; i++) {
            trouble(c);
            members_run(c, (int64_t)(world_random(c->world) % (2 * SECOND)));
            members_check(c);
        }
        world_set_weather(c->world, (struct world_weather){.delay_us = 100, .jitter_us = 100});
        for (unsigned i = 0; i < nodes; i++) {
            world_side(c->world, i, 0);
            world_unplug(c->world, i, false);
            world_node_loss(c->world, i, 0, 0);
            for (unsigned j = 0; j < nodes; j++)
                world_cut(c->world, i, j, false);
            if (c->nodes[i] == NULL && world_random(c->world) % 2 == 0)
                members_start(c, i);
        }
        us = members_until(c, members_all_agree, 0, 100 * MS, 300 * INT64_C(1) * SECOND);
        if (us < 0)
            figure("seed %llu round %u: no agreement", (unsigned long long)seed, round);
        EXPECT(us >= 0);
        members_check(c);
    }
    members_free(&c);
    return true;
}

static bool all_troubles_end(uint64_t seed)
{
    for (unsigned i = 0; i < 10; i++)
        EXPECT(swarm(seed + 1000 * i, 2 + i, 5));
    return true;
}

static bool all_troubles_end_long(uint64_t seed)
{
    for (unsigned i = 0; i < 200; i++)
        EXPECT(swarm(seed + 1000 * i, 2 + i % 20, 10));
    return true;
}

const struct story member_stories[] = {
    {"machine-dies", machine_dies, false, "all know soon that a machine is gone"},
    {"process-dies", process_dies, false, "all know at once that a process is gone"},
    {"machine-dies-1000", machine_dies_1000, true, "also among 1000"},
    {"loss", loss_is_no_death, false, "lost datagrams kill nobody"},
    {"loss-100", loss_is_no_death_long, true, "not among 100 in an hour"},
    {"stalls", stalled_nodes_accuse_nobody, false, "nodes that hang do not bury the others"},
    {"stalls-128", stalled_nodes_accuse_nobody_long, true, "as in Lifeguard's experiment"},
    {"one-way", one_way_cuts, false, "a link that is cut one way kills nobody"},
    {"partition", partitions_heal, false, "two halves become one again"},
    {"lossy", lossy_node, false, "a node that hardly hears does not bury the others"},
    {"lossy-1000", lossy_nodes_1000, true, "nor do 10 of 1000"},
    {"restart", restart_is_seen, false, "a restart is seen as one, even with a forgotten boot count"},
    {"leave", leaving_is_no_failure, false, "who leaves is not missed, and may come back"},
    {"flapping", flapping_ends_in_probation, false, "who dies too often is put on probation"},
    {"twins", twins, false, "a copied data folder is noticed, and harms nobody else"},
    {"bootstrap", all_find_each_other, false, "nodes that start at once find each other"},
    {"bootstrap-2000", all_find_each_other_2000, true, "also 2000"},
    {"rumour", rumours_reach_all, false, "news reaches everybody"},
    {"rumour-1000", rumours_reach_all_1000, true, "also among 1000 with much loss"},
    {"idle", idle_is_cheap, false, "a quiet cluster is quiet on the wire"},
    {"idle-5000", idle_is_cheap_5000, true, "also with 5000"},
    {"swarm", all_troubles_end, false, "after any trouble all agree again"},
    {"swarm-long", all_troubles_end_long, true, "from 200 seeds, 10 times each"},
    {NULL, NULL, false, NULL},
};
