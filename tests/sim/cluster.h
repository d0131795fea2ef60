/* cluster.h - memberships in a fake world, and what they believe of each other. */
#ifndef CORRAL_TESTS_CLUSTER_H
#define CORRAL_TESTS_CLUSTER_H

#include "cluster/member.h"
#include "tests/sim/world.h"

enum { MS = 1000, SECOND = 1000000 };

struct cluster {
    struct world *world;
    struct membership_options options;
    unsigned count;
    struct membership **nodes; /* NULL while it does not run */
    unsigned *boots;
    /* What was told through the hooks. `failed` counts, by who was declared dead.*/
    uint64_t events[MEMBER_CONFLICT + 1];
    unsigned *failed;
    bool trace; /* print events */
};

struct cluster *cluster_new(unsigned nodes, uint64_t seed);
void cluster_free(struct cluster **);
/* Starts one; its seeds are the first three nodes. Zones are a, b, c in turn. */
void cluster_start(struct cluster *, unsigned node);
/* Starts all, and lets each know all, as if they had found each other long ago. */
void cluster_start_acquainted(struct cluster *);
/* The process ends without a word. */
void cluster_kill(struct cluster *, unsigned node);
void cluster_run(struct cluster *, int64_t us);

/* What a believes of b: an enum member_state, or -1 when it never heard of it. */
int cluster_belief(const struct cluster *, unsigned a, unsigned b);
/* How many running nodes, b itself left out, believe that of b. */
unsigned cluster_believers(const struct cluster *, unsigned b, int state);
/* Every running node believes every running node alive, and no other. */
bool cluster_agrees(const struct cluster *);
/* Runs in steps until it is so, and says how long it took; -1 if it never came. */
int64_t cluster_until(struct cluster *, bool (*so)(const struct cluster *, unsigned), unsigned about,
                      int64_t step_us, int64_t most_us);
bool cluster_knows_dead(const struct cluster *, unsigned node); /* all who run, of node */
bool cluster_knows_alive(const struct cluster *, unsigned node);
bool cluster_all_agree(const struct cluster *, unsigned unused);
void cluster_check(const struct cluster *);
/* The sum of that counter over all that run. */
#define CLUSTER_SUM(c, counter)                                                                              \
    __extension__({                                                                                          \
        uint64_t sum_ = 0;                                                                                   \
        for (unsigned i_ = 0; i_ < (c)->count; i_++)                                                         \
            sum_ += (c)->nodes[i_] == NULL ? 0 : membership_counters((c)->nodes[i_])->counter;               \
        sum_;                                                                                                \
    })

#endif
