/* sampling.h - the store's shadows: who tells them, and who goes by them.
 * Private to server/store; what others may ask is in store.h.
 *
 * Reads and edits of sampled keys go to a ring of the worker's own, which is
 * emptied into the shadows under a lock of theirs when it is full and with each
 * tick. That lock comes after a shard's and nothing is locked inside it. Shards
 * say whether anybody wants samples, so nobody pays for shadows that are not
 * there: reads look at a word that they look at anyway for the policy's touches. */
#ifndef CORRAL_SAMPLING_H
#define CORRAL_SAMPLING_H

#include "server/store/store_private.h"

bool sampling_init(struct store *store);
void sampling_destroy(struct store *store);
/* Other shadows, beginning empty; none when neither is wanted. With `first` they
 * choose the policy from now on, and begin with that one. False: no memory, nothing changed. */
bool sampling_rebuild(struct store *store, const struct evict_type *first, bool curve, uint32_t items);

/* A read of a key, found in place as an optimistic reader believes, or not found. */
void sampling_hit(struct store_local *local, const struct key *key, uint64_t weight, instant expires,
                  instant now);
void sampling_missed(struct store_local *local, const struct key *key, instant now);
/* Under the shard's lock, which says s->sampled. */
void sampling_stored(struct store_edit *e, uint64_t weight, instant expires);
void sampling_expires(struct store_edit *e, uint64_t weight, instant expires);
void sampling_touched(struct store_edit *e, uint64_t weight, instant expires);
void sampling_dropped(struct store_edit *e);
void sampling_flushed(struct store *store);
void sampling_flushed_db(struct store *store, uint8_t db);

/* What shadows may hold, from what shards can. With each tick of worker 0. */
void sampling_measure(struct store *store);
/* The shard changes its policy if another is to be followed. Wants its lock. */
void sampling_follow(struct store *store, struct shard *s);
void sampling_check(struct store *store);

#endif
