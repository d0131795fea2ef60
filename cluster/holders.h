/* holders.h - who serves each granule: a table that all nodes have, entry by entry the newest that they heard
 * of.
 *
 * Rules: (1) of two entries of a granule the higher version holds; of equals the lower node id; of equals the
 * later process. Nothing else is merged, so all who have heard the same believe the same, in whatever order
 * they heard it. (2) A holder is a process, not a node: who was started anew holds nothing. (3) Who makes an
 * entry raises the version: the holder who yields, or the owner by placement when the holder is dead. (4)
 * Versions are counted in terms, and a side that has most of the nodes it knows of begins a new term with
 * each entry, where one that is cut off from them only adds 1: so when they meet again, the larger side's
 * entries hold. */
#ifndef CORRAL_HOLDERS_H
#define CORRAL_HOLDERS_H

#include <stdbool.h>
#include <stdint.h>

#include "cluster/node_id.h"

/* As many buckets as a digest has numbers; granule g is in bucket g % HOLDERS_BUCKETS. */
enum { HOLDERS_BUCKETS = 16 };
#define HOLDERS_VERSION_MAX (UINT64_C(1) << 48)
enum { HOLDERS_TERM_BITS = 16 };

/* The version of an entry that takes the place of one, by a node that is cut off or not. */
static inline uint64_t holders_next(uint64_t version, bool cut_off)
{
    uint64_t term = ((version >> HOLDERS_TERM_BITS) + 1) << HOLDERS_TERM_BITS;

    return cut_off || term > HOLDERS_VERSION_MAX ? version + 1 : term;
}

struct holder {
    struct node_id id;
    uint64_t boots; /* how often it had been started; 0: this is nobody */
};

struct held {
    uint64_t version; /* 0: never held */
    struct holder holder;
    struct holder source; /* who yielded it, if that is how it came; a hint, not merged */
};

struct holders;

/* Nobody holds anything. NULL without memory. */
struct holders *holders_new(unsigned granules);
void holders_free(struct holders **);
unsigned holders_granules(const struct holders *);
const struct held *holders_at(const struct holders *, unsigned granule);
/* Whether what is told is newer than what is known. */
bool holders_news(const struct held *known, const struct held *told);
/* Takes it if it is news, and says whether it did. */
bool holders_merge(struct holders *, unsigned granule, const struct held *told);
/* Equal for those who know the same; `out` has HOLDERS_BUCKETS numbers. */
void holders_digest(const struct holders *, uint64_t *out);
/* All of the digest in one number; 0 when nobody ever held anything. */
uint64_t holders_hash(const struct holders *);
/* Aborts when something that is always true is not; for tests. */
void holders_check(const struct holders *);

static inline bool holder_equals(const struct holder *a, const struct holder *b)
{
    return a->boots == b->boots && node_id_equals(&a->id, &b->id);
}

#endif
