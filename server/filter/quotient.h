/* quotient.h - a set that counts, deletes, grows, merges and can be listed, in
 * little more than the bits that its error asks for.
 *
 * A counting quotient filter (Pandey, Bender, Johnson, Patro: "A General-Purpose
 * Counting Filter: Making Every Bit Count", 2017). What it keeps of a key is a
 * fingerprint, the high bits of its hash: their first bits say where, and only
 * the rest is stored, with the count in slots beside it. So it answers exactly for
 * fingerprints; for keys it may say too much, at the rate of two fingerprints
 * being equal, and never too little, unless something was removed that had not
 * been added. */
#ifndef CORRAL_FILTER_QUOTIENT_H
#define CORRAL_FILTER_QUOTIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define QUOTIENT_ERROR_MIN    1e-9
#define QUOTIENT_ERROR_MAX    .25
#define QUOTIENT_CAPACITY_MAX (UINT64_C(1) << 34)

enum quotient_status {
    QUOTIENT_OK,
    QUOTIENT_FULL,     /* it is as large as its fingerprints allow; nothing changed */
    QUOTIENT_NO_MEMORY /* it should have grown; nothing changed */
};

struct quotient;

/* Room for `capacity` distinct keys, and an error from QUOTIENT_ERROR_MIN to _MAX
 * that holds until there are `most` of them (capacity <= most <=
 * QUOTIENT_CAPACITY_MAX). It grows by itself, each time to twice the size. NULL
 * when memory is short. */
struct quotient *quotient_new(uint64_t capacity, uint64_t most, double error);
void quotient_free(struct quotient **);

/* A filter of its own with what an image has, and the image of a filter: see quotient_image.h. */
struct quotient_image;
struct quotient *quotient_copy(const struct quotient_image *);
const struct quotient_image *quotient_image_of(const struct quotient *);

/* Hashes must be well mixed in all their 64 bits. Counts stop at UINT64_MAX. */
enum quotient_status quotient_add(struct quotient *, uint64_t hash, uint64_t count);
uint64_t quotient_count(const struct quotient *, uint64_t hash); /* 0: certainly not there */
/* Takes away at most `count`; how many it were. Only of what was added. */
uint64_t quotient_remove(struct quotient *, uint64_t hash, uint64_t count);
void quotient_clear(struct quotient *);

/* Makes it fit for so many distinct keys, at least for those it has; larger or
 * smaller. QUOTIENT_OK where nothing is to be done. */
enum quotient_status quotient_fit(struct quotient *, uint64_t capacity);
/* Adds all that `from` has. Its fingerprints must have at least as many bits
 * (quotient_bits). On failure some of it may have been added. */
enum quotient_status quotient_merge(struct quotient *into, const struct quotient *from);
enum quotient_status quotient_merge_image(struct quotient *into, const struct quotient_image *from);
/* Every fingerprint, ascending, as the high bits of a hash that asks for it. */
void quotient_each(const struct quotient *, void (*visit)(void *arg, uint64_t hash, uint64_t count),
                   void *arg);

uint64_t quotient_distinct(const struct quotient *); /* fingerprints */
uint64_t quotient_total(const struct quotient *);    /* the sum of their counts, at most UINT64_MAX */
uint64_t quotient_capacity(const struct quotient *); /* slots it may use: one a key, and more for counts */
uint64_t quotient_used(const struct quotient *);     /* slots */
unsigned quotient_bits(const struct quotient *);     /* of a fingerprint */
/* The rate at which it says more than 0 of keys that were never added, as it stands. */
double quotient_rate(const struct quotient *);
size_t quotient_bytes(const struct quotient *);
void quotient_check(const struct quotient *);

#endif
