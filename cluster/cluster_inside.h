/* cluster_inside.h - what cluster.c, spread.c and claims.c share, and nobody else. */
#ifndef CORRAL_CLUSTER_INSIDE_H
#define CORRAL_CLUSTER_INSIDE_H

#include "cluster/cluster.h"
#include "cluster/holder_message.h"
#include "cluster/rumours.h"

enum { TABLE_SESSIONS_MAX = 16 };
#define NEVER_US INT64_MAX

enum table_session_kind { TABLE_ASKED, TABLE_LEARNING, TABLE_SERVED };
struct table_session {
    uint64_t stream;
    enum table_session_kind kind;
    int64_t until_us;
};

struct cluster {
    struct cluster_options options;
    struct cluster_hooks hooks;
    struct cluster_counters counters;
    struct transport out;
    struct membership *members;
    struct transport_user member_user;
    struct node_id self;
    uint16_t weight; /* once it has learned the table */
    bool started, draining, left;

    struct cluster_state state;
    struct view_member *parts; /* of the next view, in the order of ids */
    uint32_t parts_room;
    uint16_t *holders; /* of the next view, by granule */
    uint16_t *source, *next_source;
    uint64_t epoch;
    /* What the next view is for. While `dirty`, no entry is told: others would act by it before we do. */
    bool dirty, about_known;
    enum cluster_cause cause;
    struct node_id about;
    int64_t member_us, publish_us, published_us, alarm_us;
    int64_t members_us, owners_us; /* when last it changed who lives, and who owns what */

    struct holders *table;
    /* spread.c */
    struct rumours *news; /* of granules */
    int64_t news_us, spread_us;
    int64_t quiet_us; /* until when tables may well differ, for want of time */
    struct table_session sessions[TABLE_SESSIONS_MAX];
    unsigned session_count;
    int64_t session_us, digest_us;
    bool returned_known;
    struct node_id returned; /* who came back, and is to be compared with first */
    bool learned;
    /* Of the nodes it knows of half or more are dead to this one, or were until a while ago. */
    bool cut_off;
    unsigned vain; /* how many were asked for the table that had not learned it themselves */
    int64_t ask_us;
    /* claims.c; each by granule, boots 0: nobody */
    struct holder *pull;  /* who has items of it still, and gave it to us */
    struct holder *given; /* who has it from us, and has not pulled all yet */
    struct holder *tell;  /* who is to be told its entry, once that is published */
    struct holder *done;  /* who is to be told that all is pulled */
    bool to_tell;
    unsigned wanting; /* granules that we own and do not hold */
    int64_t claim_us, claimed_us, given_us;
};

/* ---- cluster.c ---- */
int64_t cluster_now(const struct cluster *);
int64_t cluster_jitter(const struct cluster *, int64_t us);
void cluster_arm(struct cluster *);
/* The next view is due. Of several reasons the first is told. */
void cluster_changed(struct cluster *, enum cluster_cause, const struct node_id *about);
/* The same when it is no hurry, and no entry changed. */
void cluster_publish_soon(struct cluster *);
/* Publishes if anything changed. False: that is not possible now, and no entry may be told. */
bool cluster_settled(struct cluster *);
/* The process that this is. */
struct holder cluster_self(const struct cluster *);

enum holder_life { HOLDER_LIVES, HOLDER_DEAD, HOLDER_UNKNOWN };
enum holder_life cluster_life(const struct cluster *, const struct holder *);
/* Whether all granules are owned by the same nodes in both. */
bool cluster_owners_alike(const struct view *, const struct view *);
/* Whether who lives has been the same for a while. */
bool cluster_is_calm(const struct cluster *, int64_t now_us);
void cluster_tell_vitals(struct cluster *);
void cluster_send(struct cluster *, const struct node_id *to, struct slice datagram);

/* ---- spread.c: the table, from node to node ---- */
void spread_start(struct cluster *);
/* Others are to hear of it. */
void spread_news(struct cluster *, unsigned granule);
/* Entries and digests. `stream` is 0 for a datagram. */
void spread_message(struct cluster *, const struct origin *, uint64_t stream, const struct holder_message *);
/* Whether this stream may bring a message. */
bool spread_accepts(struct cluster *, uint64_t stream);
void spread_ended(struct cluster *, uint64_t stream);
void spread_close(struct cluster *, uint64_t stream);
/* That member's table has this hash. */
void spread_seen(struct cluster *, const struct node_id *, uint64_t hash);
void spread_returned(struct cluster *, const struct node_id *);
void spread_decide(struct cluster *, int64_t now_us);
int64_t spread_next_us(const struct cluster *);

/* ---- claims.c: granules change hands ---- */
/* What is owned here and held by nobody. True when the table changed. */
bool claims_take(struct cluster *, const struct view *);
/* An entry was news. */
/* Somebody is back who has been dead to this side, the larger one: he may have taken what is held here. */
void claims_insist(struct cluster *);
void claims_told(struct cluster *, unsigned granule, const struct held *was);
void claims_message(struct cluster *, const struct origin *, const struct holder_message *);
/* Forgets givers and takers that are gone; fills `next_source`. */
void claims_sources(struct cluster *, const struct view *);
/* A view was taken. */
void claims_seen(struct cluster *);
void claims_decide(struct cluster *, int64_t now_us);
/* After a publication: what it was for, to whom it concerns. */
void claims_tell(struct cluster *);
int64_t claims_next_us(const struct cluster *);

#endif
