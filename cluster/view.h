/* view.h - one epoch of the cluster: who is there, and who has which slot. Frozen.
 *
 * A view is never edited: a change makes the next one, and whoever still reads
 * the old one keeps it by its pin. Any number of threads may read it without a
 * lock. Two nodes with the same hash have the same view.
 *
 * Rules: (1) the owner of a granule is what placement.h says of the members;
 * (2) its holder, who serves it, is the owner, unless an override says who has
 * it still, or that nobody has it yet; (3) members stand in the order of their ids; (4) the encoding of a
 * view is unique: what decodes, encodes to the same bytes.
 *
 * The wire has the members and the overrides only; owners are computed. All
 * numbers are big-endian:
 *
 *   1 version (1)   1 log2 of granules   2 headroom   4 generation   8 epoch
 *   16 cluster   2 members   2 overrides
 *   then each member, ids ascending:
 *     20 id   8 incarnation   1 state   2 weight   2 cluster port   2 client port
 *     2 port   2 memcache port   2 link port   1 bytes of ip, 4 or 16   ip
 *     1 length of zone   zone   1 length of hostname   hostname
 *   then each override, granules ascending:   2 granule   2 member that holds it, ffff: nobody
 *
 * The version says what follows; a decoder refuses all that it does not know. */
#ifndef CORRAL_VIEW_H
#define CORRAL_VIEW_H

#include "cluster/placement.h"
#include "protocol/bytes.h"

enum {
    VIEW_VERSION = 1,
    VIEW_CLUSTER_BYTES = 16,
    VIEW_MEMBERS_MAX = PLACEMENT_NODES_MAX,
    VIEW_ZONE_MAX = 63,      /* of letters, digits and ._:/- */
    VIEW_HOSTNAME_MAX = 253, /* of letters, digits and ._- */
};

enum view_state {
    VIEW_ACTIVE,  /* owns what its weight asks for */
    VIEW_LEAVING, /* owns nothing, serves what it still holds */
    VIEW_FAILED,  /* neither; known until it is back or forgotten */
};

struct view_member {
    struct node_id id;
    uint64_t incarnation;
    enum view_state state;
    uint16_t weight; /* 0: a member that owns nothing */
    uint16_t cluster_port, client_port, port, memcache_port, link_port;
    uint8_t ip_bytes; /* 4 or 16 */
    uint8_t ip[16];
    const char *zone;     /* "": a zone like any other */
    const char *hostname; /* "": none */
};

struct view_override {
    uint16_t granule;
    uint16_t holder; /* index among the members, not of a VIEW_FAILED; or NOBODY */
};

struct view {
    uint8_t cluster[VIEW_CLUSTER_BYTES];
    uint32_t generation;
    uint64_t epoch;
    struct placement_rules rules;
    size_t member_count, override_count;
    const struct view_member *members;
    /* By granule, indices of members, or NOBODY. */
    const uint16_t *owner, *holder;
    const uint16_t *deputy; /* who stands in for the holder: placement_seconds() of the holders */
    struct slice encoded;
    uint64_t hash;               /* XXH3, 64 bits, of `encoded` */
    uint16_t slot_holder[SLOTS]; /* the same as `holder`, by slot */
};

enum view_fault {
    VIEW_OK,
    VIEW_NO_MEMORY,
    VIEW_BAD_VERSION,
    VIEW_BAD_LENGTH,   /* ends too early or too late */
    VIEW_BAD_RULES,    /* granules or headroom */
    VIEW_BAD_MEMBER,   /* a field out of its range, or too many members */
    VIEW_BAD_ORDER,    /* the same id, or the same granule, twice; or not ascending on the wire */
    VIEW_BAD_OVERRIDE, /* no such granule or member, a failed one, or the owner itself */
};
const char *view_fault_text(enum view_fault fault);

/* What a view is made of; copied. */
struct view_parts {
    uint8_t cluster[VIEW_CLUSTER_BYTES];
    uint32_t generation;
    uint64_t epoch;
    struct placement_rules rules;
    const struct view_member *members; /* in any order */
    size_t member_count;
    const struct view_override *overrides; /* in any order */
    size_t override_count;
    /* By granule, indices among `members`, or NOBODY: instead of the overrides, unless NULL. */
    const uint16_t *holders;
};

/* NULL, and why, when the parts do not make a view. The caller has one pin on what is returned. */
const struct view *view_new(const struct view_parts *parts, enum view_fault *fault);
const struct view *view_decode(struct slice bytes, enum view_fault *fault);

/* Whether they say the same, epochs aside. */
bool view_alike(const struct view *, const struct view *);

/* What is to change. Everything else stays as it is. */
struct view_change {
    const struct view_member *members; /* all there are from now on, in any order */
    size_t member_count;
    const uint16_t *released; /* granules that their holder has handed over */
    size_t released_count;
};
/* The next epoch. A granule stays with its holder for as long as that one is a
 * member (whatever its incarnation) and has neither failed nor released it,
 * whatever the placement is now; so a change of members moves what the gone ones
 * held and nothing else. */
const struct view *view_next(const struct view *view, const struct view_change *change,
                             enum view_fault *fault);

const struct view *view_pin(const struct view *view);
void view_unpin(const struct view **view);

/* The index of a member; NOBODY when it is none. */
uint16_t view_find(const struct view *view, const struct node_id *id);

/* Slots first..last went from one node to another; indices in the old and in the new view, or NOBODY. */
struct view_move {
    uint16_t first, last;
    uint16_t from, to;
};
/* Calls back for each run of slots whose holder is not the same node in both, in
 * ascending order. The views may differ in their granules. */
void view_compare(const struct view *before, const struct view *now,
                  void (*moved)(void *arg, const struct view_move *move), void *arg);

/* Aborts when something that is always true is not; for tests. */
void view_check(const struct view *view);

#endif
