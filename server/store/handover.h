/* handover.h - residents on their way from one eviction policy to another, a
 * slice at a time; see handover.c. Private to server/store; all want the
 * shard's lock held. Slots are the ids: only linked policies take part. */
#ifndef CORRAL_HANDOVER_H
#define CORRAL_HANDOVER_H

#include "server/store/shard.h"

/* Makes what it takes, for all items that are there now. `log_order`: the old
 * policy has no order of all items. False: no memory, and nothing to abandon. */
bool handover_prepare(struct shard *s, struct handover *h, bool log_order);
/* Frees it all, the old policy too. */
void handover_abandon(struct handover *h);
/* From now on s->type and s->policy are the new ones, and no item is theirs yet. */
void handover_begin(struct shard *s, const struct handover *prepared);
/* Hands over about so many. True if one was under way. */
bool handover_step(struct shard *s, uint32_t items);
void handover_finish(struct shard *s);

/* The item is not yet the new policy's. */
static inline bool handover_waits(const struct shard *s, slot_id id)
{
    const uint64_t *handed = s->handover.handed;

    return __builtin_expect(handed != NULL, 0) && !(handed[id / 64] >> (id % 64) & 1);
}
/* Hands it over out of turn, if it waits. */
void handover_claim(struct shard *s, slot_id id);
/* A new item is the new policy's. */
void handover_admitted(struct shard *s, slot_id id);
void handover_moved(struct shard *s, slot_id from, slot_id to);
/* One that waits was hit, or goes for good. */
void handover_touch(struct shard *s, slot_id id);
void handover_drop(struct shard *s, const struct found *f);
/* Whom the new policy evicts, who may have to be handed over for it first. */
evict_id handover_victim(struct shard *s);
/* What it takes for the time being. */
uint64_t handover_bytes(const struct shard *s);
void handover_check(const struct shard *s);

#endif
