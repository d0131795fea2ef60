/* member_inside.h - what member.c, records.c, probe.c and exchange.c share, and nobody else. */
#ifndef CORRAL_MEMBER_INSIDE_H
#define CORRAL_MEMBER_INSIDE_H

#include "cluster/health.h"
#include "cluster/member.h"
#include "cluster/roster.h"
#include "cluster/rumours.h"

enum { SELF = 0, FLAPS_MAX = 8 };
#define NEVER_US INT64_MAX

struct suspicion {
    uint32_t member;
    int64_t since_us, until_us;
    unsigned wanted; /* confirmations */
    struct accusation by;
};

struct probe {
    bool active, asked;
    bool accused; /* on hard evidence, before its end */
    uint32_t member;
    struct node_id id;
    uint32_t seq;
    unsigned helpers, nacks;
    int64_t sent_us, answer_until_us, until_us;
};

/* A probe that somebody asked for. */
struct relay {
    struct address asker, target_address;
    struct node_id target;
    uint32_t seq, asker_seq;
    int64_t nack_us; /* NEVER_US once it was told */
    int64_t until_us;
};

enum session_kind { SESSION_PROBE, SESSION_ASKED, SESSION_SERVED };
struct session {
    uint64_t stream;
    enum session_kind kind;
    struct node_id target; /* of a probe */
    uint32_t number, buckets;
    unsigned news;
    int64_t until_us;
};

struct membership {
    struct membership_options options;
    struct transport out;
    struct membership_hooks hooks;
    struct membership_counters counters;
    bool started, leaving;
    bool in_bulk; /* what is told now is old to the others: not to be spread */
    struct roster *roster;
    struct rumours *rumours;
    struct vitals vitals;
    uint64_t epoch_heard;
    struct health health;
    int64_t alarm_us;

    struct suspicion *suspicions;
    size_t suspicion_count, suspicion_room;
    int64_t suspicion_us; /* not later than the first that ends */

    struct probe probe;
    uint32_t seq;
    int64_t cluster_ahead_us; /* the time that all count rounds by, minus our clock */
    int64_t phase_us;         /* when in a round it is our turn */
    int64_t probe_us;
    unsigned spared; /* probes left out in a row */
    int64_t rtt_us, rtt_deviation_us;
    struct relay *relays;
    size_t relay_count;
    int64_t relay_us;

    int64_t gossip_us, gossiped_us;

    struct session *sessions;
    size_t session_count;
    uint32_t session_number;
    int64_t exchange_us, reconnect_us, session_us;
    unsigned age;    /* exchanges begun, up to a few */
    unsigned lonely; /* attempts to join in vain */
    struct address *seeds;
    size_t seed_count, seed_turn;
    size_t refusals; /* by seeds, in a row, while alone */

    int64_t flaps[FLAPS_MAX];
    uint64_t dead_incarnation; /* the last in which we were held for dead */
    int64_t conflict_us;
    unsigned probation_level;
    int64_t probation_until_us, reap_us;
};

/* ---- member.c: time, dice, packets ---- */
int64_t member_now(const struct membership *);
uint64_t member_random(const struct membership *);
/* Evenly between 3/4 and 5/4 of it, so that nodes do not march in step. */
int64_t member_jitter(const struct membership *, int64_t us);
/* A random live one that is not suspect and not `but`; NO_MEMBER when none was found. */
uint32_t member_pick(const struct membership *, uint32_t but);
bool member_put_record(struct membership *, struct packet *, uint32_t member);
/* Fills the packet up with rumours, and sends it. */
void member_send(struct membership *, struct packet *, const struct address *);
void member_arm(struct membership *);

/* ---- records.c: what is believed ---- */
/* How many records it changed: 0 or 1. `exchanged`: not fresh, but somebody's old belief. */
unsigned records_told(struct membership *, const struct record *told, const struct accusation *by,
                      bool exchanged, const struct node_id *by_whom);
/* This node itself accuses. */
void records_accuse(struct membership *, uint32_t member, bool hard);
void records_announce(struct membership *); /* self changed: raise the incarnation and tell */
void records_spread(struct membership *, uint32_t member);
bool records_remove(struct membership *, uint32_t member);
void records_repeat(struct membership *);                 /* once in a period: what we alone suspect */
void records_decide(struct membership *, int64_t now_us); /* suspicions, probation, reaping */
void records_flapped(struct membership *);                /* this node was held for dead, and was not */
void records_slept(struct membership *, int64_t gap_us);

/* ---- probe.c ---- */
void probe_decide(struct membership *, int64_t now_us);
void probe_slept(struct membership *, int64_t now_us);
int64_t probe_next_us(const struct membership *);
void probe_pinged(struct membership *, const struct origin *, const struct message *, uint64_t stream);
void probe_acked(struct membership *, const struct origin *, const struct message *, bool streamed);
void probe_nacked(struct membership *, const struct message *);
void probe_asked(struct membership *, const struct origin *, const struct message *);
void probe_strange(struct membership *, const struct message *);
void probe_unreachable(struct membership *, const struct address *);
void probe_refused(struct membership *, const struct node_id *);

/* ---- exchange.c ---- */
void exchange_decide(struct membership *, int64_t now_us);
int64_t exchange_next_us(const struct membership *);
/* Somebody of this cluster has spoken. */
void exchange_met(struct membership *, const struct origin *);
void exchange_digest(struct membership *, const struct origin *, const struct digest *);
void exchange_message(struct membership *, uint64_t stream, const struct origin *, struct slice);
void exchange_ended(struct membership *, uint64_t stream, enum stream_end);
/* A stream for one question; the answer comes as a message. */
void exchange_probe(struct membership *, uint32_t member, uint32_t seq);

#endif
