/* member.h - who is in the cluster, as this node believes: SWIM with Lifeguard's additions.
 *
 * Each period a node probes one other; who does not answer, neither to it nor
 * to those it asks to try, is suspected, may defend himself, and is then held
 * for dead. News rides on probes and on gossip while there is any. An exchange
 * with a random peer now and then repairs what gossip missed.
 *
 * Rules: (1) one thread, and only through the seam (transport.h); (2) only a
 * node itself raises its incarnation, and nothing else ends a suspicion, a
 * death or a leave; (3) a node that slept accuses nobody of having been silent
 * meanwhile; (4) what failed is contacted again for as long as it is known,
 * and the seeds for ever; (5) everything is bounded, and what was refused for
 * that is counted. docs/CLUSTER.md describes the whole. */
#ifndef CORRAL_MEMBER_H
#define CORRAL_MEMBER_H

#include "cluster/message.h"

struct membership;

/* All times in microseconds. Start from membership_lan() or membership_wan(). */
struct membership_options {
    int64_t probe_period_us;
    int64_t answer_least_us; /* a direct answer is waited for no less than this */
    unsigned helpers;        /* whom to ask when there is none; at most 8 */
    unsigned suspicion_mult; /* least time to defend oneself: mult * max(1, log10 n) * period */
    unsigned suspicion_most; /* and the most, as a multiple of the least */
    unsigned confirmations;  /* further accusers that bring it down to the least; below ACCUSERS_MAX */
    int64_t hard_least_us;   /* ... when two were told that the port is dead */
    unsigned health_max;
    int64_t gossip_period_us; /* between rounds, while there are rumours */
    unsigned gossip_fanout;
    unsigned retransmit_mult; /* a rumour is told mult * ceil(log10(n + 1)) times */
    int64_t exchange_period_us;
    int64_t reconnect_period_us; /* between attempts to reach one that failed, or a seed */
    int64_t dead_keep_us, left_keep_us;
    int64_t flap_window_us; /* flap_limit returns from death in this time: probation */
    unsigned flap_limit;    /* at most 8 */
    int64_t probation_first_us, probation_most_us;
    uint32_t members_max;
    unsigned relays_max, sessions_max, seeds_max;
};
struct membership_options membership_lan(void);
struct membership_options membership_wan(void);

/* Who this node is. */
struct membership_self {
    struct node_id id;
    uint64_t boots; /* how often it has been started, this one included: must rise */
    struct address address;
    uint16_t weight; /* 0: owns nothing */
    char zone[ZONE_MAX + 1];
    struct services services;
};

enum member_event {
    MEMBER_JOINED,    /* not known before */
    MEMBER_RESTARTED, /* a new process: what it held is gone */
    MEMBER_UPDATED,   /* its address, weight, zone or probation changed */
    MEMBER_SUSPECTED,
    MEMBER_REFUTED, /* a suspect lives */
    MEMBER_FAILED,
    MEMBER_REVIVED, /* one that failed or left is back, the same process */
    MEMBER_WENT,    /* in peace */
    MEMBER_REMOVED, /* forgotten after a long time, or told to be */
    MEMBER_CONFLICT /* another process says that it is this node */
};
const char *member_event_name(enum member_event);
const char *member_state_name(enum member_state);

struct membership_hooks {
    void *owner;
    /* May look, may not change anything here. */
    void (*changed)(void *owner, enum member_event, const struct record *);
};

#define MEMBERSHIP_COUNTERS(X)                                                                               \
    X(probes, "probes begun")                                                                                \
    X(probes_spared, "probes left out, because the target was heard otherwise")                              \
    X(probes_failed, "probes without any answer")                                                            \
    X(probes_void, "probes given up because this node slept")                                                \
    X(answers_relayed, "probes answered only through another node")                                          \
    X(answers_streamed, "probes answered only on a stream")                                                  \
    X(relays, "probes made for others")                                                                      \
    X(relays_refused, "and refused, being too many at once")                                                 \
    X(nacks, "others told that they asked in vain for us")                                                   \
    X(suspicions, "suspicions begun or heard of")                                                            \
    X(refutations, "times this node had to defend itself")                                                   \
    X(hard_evidence, "ports found dead")                                                                     \
    X(failures_declared, "suspicions that ran out here")                                                     \
    X(stalls, "times this node's loop slept too long")                                                       \
    X(probations, "times this node put itself on probation")                                                 \
    X(gossip_packets, "packets sent only for rumours")                                                       \
    X(exchanges_begun, "exchanges of records begun")                                                         \
    X(exchanges_served, "exchanges of records served")                                                       \
    X(sessions_refused, "streams refused, being too many at once")                                           \
    X(sessions_expired, "streams that took too long")                                                        \
    X(reconnects, "attempts to reach what failed, or a seed")                                                \
    X(packets_bad, "packets that are none, or of another version")                                           \
    X(strangers, "pings meant for another node that lived here")                                             \
    X(members_refused, "nodes refused, being too many")                                                      \
    X(conflicts, "records of this node that it did not write")

struct membership_counters {
#define X(name, help) uint64_t name;
    MEMBERSHIP_COUNTERS(X)
#undef X
};

/* NULL when memory, the options, the zone or the hostname forbid. */
struct membership *membership_new(const struct membership_options *, const struct membership_self *,
                                  struct transport, struct membership_hooks);
void membership_free(struct membership **);
/* What the transport is to call. */
struct transport_user membership_user(struct membership *);

/* From now on probes and answers. */
void membership_start(struct membership *);
/* Where to look for a cluster: replaces the seeds known before. More than seeds_max are cut off. */
void membership_seeds(struct membership *, const struct address *, size_t count);
/* Whether there are seeds other than this node. */
bool membership_seeks(const struct membership *);
/* Tells everybody; after membership_gone() nobody needs this node any more. */
void membership_leave(struct membership *);
bool membership_gone(const struct membership *);

/* Rides along on every probe. */
void membership_tell_vitals(struct membership *, struct vitals);
/* The highest epoch that any other has told; 0: none. */
uint64_t membership_epoch_heard(const struct membership *);
void membership_set_weight(struct membership *, uint16_t weight);
/* A reply came on the data link: no need to probe it for a period. */
void membership_vouch(struct membership *, const struct node_id *);
/* The data link was reset or refused: counts as hard evidence of one observer. */
void membership_link_refused(struct membership *, const struct node_id *);
/* Removes one that failed or left; false when there is none such. */
bool membership_forget(struct membership *, const struct node_id *);

/* Itself included; *cursor starts at 0. NULL after the last. Good until the next event. */
const struct record *membership_next(const struct membership *, uint32_t *cursor);
/* NULL when unknown. */
const struct record *membership_find(const struct membership *, const struct node_id *, struct vitals *out);
/* Alive and suspect, itself included unless it left. */
uint32_t membership_live(const struct membership *);
unsigned membership_health(const struct membership *); /* 0 is well */
const struct membership_counters *membership_counters(const struct membership *);
/* Whether all that is always true is true; stops the process otherwise. For tests. */
void membership_check(const struct membership *);

#endif
