/* cluster.h - the whole control plane of one node: who is there (member.h), who serves which granule
 * (holders.h), and the view that follows from both (view.h).
 *
 * It is the one user of a transport and shares it out by the first byte of each message. Pure logic:
 * the simulator runs it as the node does.
 *
 * Rules: (1) one thread. (2) The owner of a granule is what placement says of the members that live; its
 * holder serves it, and stays until it has yielded to the owner, or is dead. (3) A holder yields only
 * after everything on its node acts by the view that says so (`publish` has returned): so of two live
 * nodes that hear each other never both serve. (4) Table entries merge by version, the higher one wins,
 * of equals the lower node id: all who hear the same believe the same. (5) The epoch never falls, and
 * rises with every change that clients could see; nodes adopt the highest they hear of. */
#ifndef CORRAL_CLUSTER_H
#define CORRAL_CLUSTER_H

#include "cluster/member.h"
#include "cluster/view.h"

struct cluster;

/* What a node publishes of itself: frozen, and pinned by `view`. */
struct cluster_state {
    const struct view *view;
    uint16_t self;          /* index among view->members; NOBODY while leaving is over */
    const uint16_t *source; /* by granule that this node holds: who still has items of it, or NOBODY */
};

enum cluster_cause {
    CLUSTER_MEMBERS, /* somebody came, went or changed; what dead nodes held is taken */
    CLUSTER_CLAIMED, /* granules came to this node */
    CLUSTER_YIELDED, /* this node gave granules to others */
    CLUSTER_PULLED,  /* a source has nothing more */
    CLUSTER_TOLD     /* others did so among themselves, or a later epoch was heard of */
};
const char *cluster_cause_name(enum cluster_cause);

#define CLUSTER_COUNTERS(X)                                                                                  \
    X(publications, "views published")                                                                       \
    X(publications_failed, "views not made for want of memory")                                              \
    X(claims_made, "granules asked of their holders, repetitions included")                                  \
    X(claims_refused, "granules asked of this node, and kept for the time being")                            \
    X(yields, "granules given to their owners")                                                              \
    X(gains, "granules given to this node")                                                                  \
    X(takeovers, "granules taken whose holder was dead, or that nobody had held")                            \
    X(lost, "granules lost to a newer entry that this node did not make")                                    \
    X(entries_told, "entries of the table told to others")                                                   \
    X(entries_news, "entries heard that were news")                                                          \
    X(table_digests, "digests of the table sent")                                                            \
    X(table_exchanges_begun, "exchanges of entries begun")                                                   \
    X(table_exchanges_served, "exchanges of entries served")                                                 \
    X(table_sessions_refused, "streams refused, being too many at once")                                     \
    X(table_sessions_expired, "streams that took too long")                                                  \
    X(table_packets_bad, "packets about the table that are none, or of other rules")

struct cluster_counters {
#define X(name, help) uint64_t name;
    CLUSTER_COUNTERS(X)
#undef X
};

struct cluster_hooks {
    void *owner;
    /* Must return only when all of the node acts by it. `state` is good during the call; pin the view to
     * keep it, copy the rest. `about` names the member whose change it was, or is NULL. */
    void (*publish)(void *owner, const struct cluster_state *state, enum cluster_cause cause,
                    const struct node_id *about);
    /* For the log; see member.h. */
    void (*changed)(void *owner, enum member_event, const struct record *);
};

struct cluster_options {
    struct membership_options membership;
    struct placement_rules rules;
    uint8_t identity[VIEW_CLUSTER_BYTES];
    uint64_t epoch;    /* to begin with: Unix seconds << 16 will do, so that it does not fall over restarts */
    int64_t settle_us; /* members must have been the same for so long before granules are claimed */
    int64_t alone_us;  /* and who has seeds and finds nobody waits so long before it owns everything */
    int64_t claim_patience_us; /* an unanswered claim is made again */
};
struct cluster_options cluster_lan(void);

/* NULL when memory or the options forbid. */
struct cluster *cluster_new(const struct cluster_options *, const struct membership_self *, struct transport,
                            struct cluster_hooks);
void cluster_free(struct cluster **);
struct transport_user cluster_user(struct cluster *);
void cluster_start(struct cluster *);
/* For seeds, vouching, refused links, forgetting, and looking; the weight is set here. */
struct membership *cluster_membership(struct cluster *);
/* What is published now. */
const struct cluster_state *cluster_state(const struct cluster *);

const struct cluster_counters *cluster_counters(const struct cluster *);
/* Whether it has learned the table, and may own something: until then its weight is 0. */
bool cluster_learned(const struct cluster *);
void cluster_set_weight(struct cluster *, uint16_t weight);

/* This node gives all its granules away and then leaves; poll cluster_gone(). */
void cluster_drain(struct cluster *);
/* Leaves at once: what it held is lost. */
void cluster_leave(struct cluster *);
bool cluster_gone(const struct cluster *);
/* The data plane has all items of that granule from its source, or the source has ended: closed. */
void cluster_pulled(struct cluster *, uint16_t granule);
/* Whether others still pull from this node: a drain waits for them. */
uint32_t cluster_pulled_from(const struct cluster *);
void cluster_check(const struct cluster *);

#endif
