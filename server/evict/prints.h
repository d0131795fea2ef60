/* prints.h - remembers which keys were evicted lately, in 7 to 8 bytes each.
 *
 * A FIFO of fingerprints bounded by the weight of what they stand for. It is
 * allowed two small lies: a key may be taken for another one (one look-up in
 * thousands of millions per entry held), and the oldest entries leave in
 * grains of a thousandth of the capacity rather than one by one. For exact
 * order see ghost.h, which costs twice as much. */
#ifndef CORRAL_EVICT_PRINTS_H
#define CORRAL_EVICT_PRINTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct prints;

/* Remembers up to `capacity` of weight. NULL when memory is short. */
struct prints *prints_new(uint64_t capacity);
void prints_free(struct prints **);
/* The hash must be well mixed in all its 64 bits. */
void prints_add(struct prints *, uint64_t hash, uint32_t weight);
/* Was it remembered? Forgets it if so. `weight` is what it weighs now. */
bool prints_take(struct prints *, uint64_t hash, uint32_t weight);
/* Forgets what is too much, and gives memory back. */
void prints_set_capacity(struct prints *, uint64_t capacity);
uint64_t prints_weight(const struct prints *);
/* Entries remembered; counts them all. */
uint64_t prints_count(const struct prints *);
size_t prints_bytes(const struct prints *);
void prints_check(const struct prints *);

#endif
