/* members.h - memberships in a fake world, and what they believe of each other. */
#ifndef CORRAL_TESTS_MEMBERS_H
#define CORRAL_TESTS_MEMBERS_H

#include "cluster/member.h"
#include "tests/sim/world.h"

enum { MS = 1000, SECOND = 1000000 };

struct members {
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

struct members *members_new(unsigned nodes, uint64_t seed);
void members_free(struct members **);
/* Starts one; its seeds are the first three nodes. Zones are a, b, c in turn. */
void members_start(struct members *, unsigned node);
/* Starts all, and lets each know all, as if they had found each other long ago. */
void members_start_acquainted(struct members *);
/* The process ends without a word. */
void members_kill(struct members *, unsigned node);
void members_run(struct members *, int64_t us);

/* What a believes of b: an enum member_state, or -1 when it never heard of it. */
int members_belief(const struct members *, unsigned a, unsigned b);
/* How many running nodes, b itself left out, believe that of b. */
unsigned members_believers(const struct members *, unsigned b, int state);
/* Every running node believes every running node alive, and no other. */
bool members_agrees(const struct members *);
/* Runs in steps until it is so, and says how long it took; -1 if it never came. */
int64_t members_until(struct members *, bool (*so)(const struct members *, unsigned), unsigned about,
                      int64_t step_us, int64_t most_us);
bool members_knows_dead(const struct members *, unsigned node); /* all who run, of node */
bool members_knows_alive(const struct members *, unsigned node);
bool members_all_agree(const struct members *, unsigned unused);
void members_check(const struct members *);
/* The sum of that counter over all that run. */
#define MEMBERS_SUM(c, counter)                                                                              \
    __extension__({                                                                                          \
        uint64_t sum_ = 0;                                                                                   \
        for (unsigned i_ = 0; i_ < (c)->count; i_++)                                                         \
            sum_ += (c)->nodes[i_] == NULL ? 0 : membership_counters((c)->nodes[i_])->counter;               \
        sum_;                                                                                                \
    })

#endif
