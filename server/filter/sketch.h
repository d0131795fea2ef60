/* sketch.h - how often was this key seen lately? An estimate, never too low
 * before aging, in 4 bits a counter.
 *
 * The count-min sketch of TinyLFU (Einziger, Friedman, Manes: "TinyLFU: a
 * highly efficient cache admission policy", 2017) in the layout that
 * Caffeine uses: each key has four counters in one 64-byte block, so that
 * one look costs one cache line. Counters stop at 15. After a period of
 * 10 additions per expected entry all are halved, so old fame fades. */
#ifndef CORRAL_FILTER_SKETCH_H
#define CORRAL_FILTER_SKETCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SKETCH_COUNT_MAX = 15 };

struct sketch;

/* For about so many distinct keys: 8 bytes each, rounded up to a power of two,
 * at least 2 KiB. NULL when memory is short. */
struct sketch *sketch_new(uint64_t entries);
void sketch_free(struct sketch **);
/* Makes it fit for so many keys, and its period that long; it grows but never
 * shrinks. Estimates stay what they were. False when memory is short: then
 * nothing has changed. */
bool sketch_fit(struct sketch *, uint64_t entries);
/* Saw the key once more; true if that ended a period, so all is halved now. The hash must be
 * well mixed in all its 64 bits. */
bool sketch_add(struct sketch *, uint64_t hash);
/* A use that someone else remembers: it counts for the period only. */
bool sketch_pass(struct sketch *);
/* 0..SKETCH_COUNT_MAX */
unsigned sketch_count(const struct sketch *, uint64_t hash);
/* Additions that changed something between two halvings. */
uint64_t sketch_period(const struct sketch *);
uint64_t sketch_entries(const struct sketch *); /* as fitted */
size_t sketch_bytes(const struct sketch *);
void sketch_check(const struct sketch *);

#endif
