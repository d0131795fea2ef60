/* roster.h - every node that this one knows of, itself included, and what is last known of it.
 *
 * Rules: (1) a record yields to one with a higher incarnation, or of the same
 * incarnation with a later state; this is the only rule of merging, so all who
 * hear the same things believe the same, in whatever order they hear. (2) A
 * member keeps its place (an index) until it is removed. (3) Bounded. */
#ifndef CORRAL_ROSTER_H
#define CORRAL_ROSTER_H

#include "cluster/message.h"

enum { NO_MEMBER = UINT32_MAX };

struct member {
    struct record record;
    struct vitals vitals;
    int64_t changed_us; /* when its state last changed here */
    int64_t vouched_us; /* when something else than a probe last showed that it lives */
    uint32_t live_at;   /* its place among the live, or NO_MEMBER */
    uint32_t session;   /* the exchange in which a peer last told us as much as we know */
    uint32_t suspicion; /* of a suspect: which of the suspicions */
};

struct roster;

/* `self` has the index 0 and is never removed. NULL without memory. */
struct roster *roster_new(const struct record *self, uint32_t max);
void roster_free(struct roster **);

uint32_t roster_find(const struct roster *, const struct node_id *); /* or NO_MEMBER */
/* A new one; its id must not be there yet. NO_MEMBER when full or out of memory. */
uint32_t roster_add(struct roster *, const struct record *);
/* Replaces what is known of it. */
void roster_set(struct roster *, uint32_t, const struct record *);
void roster_remove(struct roster *, uint32_t);
struct member *roster_at(struct roster *, uint32_t); /* good until the next roster_add */
bool roster_news(const struct record *known, const struct record *told);

uint32_t roster_count(const struct roster *); /* all, dead and left ones as well */
/* One above the highest index in use; roster_used() tells whether there is a member. */
uint32_t roster_end(const struct roster *);
bool roster_used(const struct roster *, uint32_t);

/* The others that are alive or suspect, in the order of their ids. */
uint32_t roster_live(const struct roster *);
uint32_t roster_live_at(const struct roster *, uint32_t place);
/* Among them, where self would stand. */
uint32_t roster_place(const struct roster *);
bool roster_is_live(const struct roster *, uint32_t);

/* Equal for those who know the same live nodes in the same incarnations. */
void roster_digest(const struct roster *, struct digest *out);
unsigned roster_bucket(const struct node_id *); /* in which bucket of the digest it counts */

#endif
