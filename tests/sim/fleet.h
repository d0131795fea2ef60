/* fleet.h - whole control planes in a fake world, and what they publish.
 *
 * To publish takes a node a while, in which its loop stands still and its workers act by the old view or by
 * the new one: what it loses it serves until the end of that time, what it gains from the beginning. */
#ifndef CORRAL_TESTS_FLEET_H
#define CORRAL_TESTS_FLEET_H

#include "cluster/cluster.h"
#include "tests/sim/world.h"

#define FLEET_MS     INT64_C(1000)
#define FLEET_SECOND INT64_C(1000000)

struct fleet_node {
    struct fleet *fleet;
    unsigned index;
    struct cluster *cluster; /* NULL while it does not run */
    unsigned boots;
    uint16_t weight;
    uint64_t epoch, publications;
    unsigned pulls;
    bool *serves;          /* by granule */
    int64_t *serves_until; /* what it has lost */
    int64_t *pulls_until;  /* when its data plane will have all from the source; 0: no source */
};

struct fleet {
    struct world *world;
    struct cluster_options options;
    unsigned count;
    struct fleet_node *nodes;
    int64_t publish_us;       /* at most, how long it takes */
    int64_t pull_us;          /* at most, how long it takes to pull a granule */
    int64_t step_us;          /* so often it is looked at who serves what */
    int64_t *apart_us;        /* by pair: when they last did not hear each other */
    int64_t *unserved_us;     /* by granule: since when nobody serves it; 0: somebody does */
    uint64_t doubled;         /* granules found with two servers or more */
    int64_t doubled_worst_us; /* for how long two had heard each other, and both served it */
    int64_t unserved_worst_us;
    uint64_t epoch_fell;
    uint64_t events[MEMBER_CONFLICT + 1];
    bool watches; /* costs the more the more nodes there are */
    bool trace;
};

struct fleet *fleet_new(unsigned nodes, uint64_t seed);
void fleet_free(struct fleet **);
/* Its seeds are the first three nodes. */
void fleet_start(struct fleet *, unsigned node);
void fleet_kill(struct fleet *, unsigned node);
void fleet_run(struct fleet *, int64_t us);
bool fleet_runs(const struct fleet *, unsigned node);
bool fleet_serves(const struct fleet *, unsigned node, unsigned granule);
/* How many granules nobody serves. */
unsigned fleet_unserved(const struct fleet *);
/* Forgets what was worst. */
void fleet_forgive(struct fleet *);
/* Whether what that node believes leads each request to who serves it. */
bool fleet_routes(const struct fleet *, unsigned node);
/* How many are served by that node. */
unsigned fleet_share(const struct fleet *, unsigned node);
/* Starts them, and lets each know all and the table, as if they had been together long since. */
void fleet_start_acquainted(struct fleet *);
/* All that run know each other and nobody else, have the same table and view, and each granule is served by
 * its owner, which has all of it. */
bool fleet_agrees(const struct fleet *);
/* Runs in steps until all agree, and says how long it took; -1 if they never did. */
int64_t fleet_until_agreed(struct fleet *, int64_t step_us, int64_t most_us);
void fleet_check(const struct fleet *);

#endif
