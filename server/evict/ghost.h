/* ghost.h - keys that were evicted, in the exact order they were.
 *
 * For policies that compare the lengths of their ghosts (ARC). About 15 bytes
 * an entry. Keys are known by 40 bits of their hash: among a million entries
 * one look-up in a million takes a stranger for one of them. With a stamp in
 * each entry (LIRS) they are 8 bytes larger. */
#ifndef CORRAL_EVICT_GHOST_H
#define CORRAL_EVICT_GHOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ghost;

struct ghost *ghost_new(void);         /* NULL when memory is short */
struct ghost *ghost_new_stamped(void); /* the same, for ghost_push_stamped() */
void ghost_free(struct ghost **);
/* Remembers as the newest. When memory is short, the oldest makes room. The
 * key must not be in it. The hash must be well mixed. */
void ghost_push(struct ghost *, uint64_t hash, uint32_t weight);
/* The same with a number of the caller's, which must not be lower than the
 * newest one's. */
void ghost_push_stamped(struct ghost *, uint64_t hash, uint32_t weight, uint64_t stamp);
/* The stamp of the oldest; UINT64_MAX when there is none. */
uint64_t ghost_oldest_stamp(const struct ghost *);
bool ghost_has(const struct ghost *, uint64_t hash);
/* Forgets one key; false if it was not there. */
bool ghost_take(struct ghost *, uint64_t hash);
/* Forgets the oldest; false when there is none. */
bool ghost_drop_oldest(struct ghost *);
uint64_t ghost_count(const struct ghost *);
/* What they weighed together; a weight above 512 Ki is rounded by up to two
 * millionths, the same way in and out. */
uint64_t ghost_weight(const struct ghost *);
size_t ghost_bytes(const struct ghost *);
void ghost_check(const struct ghost *);

#endif
