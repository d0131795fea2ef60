/* quotient_image.h - a counting quotient filter (quotient.h says of which kind) as
 * an image. Only who holds the lock may look into it: see image.h.
 *
 * An image has a shape and keeps it: a larger one is made, and all fingerprints are
 * carried over. */
#ifndef CORRAL_FILTER_QUOTIENT_IMAGE_H
#define CORRAL_FILTER_QUOTIENT_IMAGE_H

#include "server/filter/image.h"
#include "server/filter/quotient.h"

struct quotient_image;

struct quotient_shape {
    unsigned q, r; /* bits of a fingerprint that say where, and that are stored */
    unsigned fold; /* rule 5 in quotient_image.c */
};

/* For quotient_new()'s arguments. */
struct quotient_shape quotient_shape_for(uint64_t capacity, uint64_t most, double error);
/* For the fingerprints of this one, split otherwise. False: they have too few bits. */
bool quotient_image_reshaped(const struct quotient_image *, unsigned q, unsigned fold,
                             struct quotient_shape *);
bool quotient_image_larger(const struct quotient_image *, struct quotient_shape *); /* twice as large */
bool quotient_image_fitted(const struct quotient_image *, uint64_t capacity, struct quotient_shape *);

size_t quotient_image_size(const struct quotient_shape *);
/* Makes one in so many bytes at a multiple of 8. */
void quotient_image_make(struct quotient_image *at, const struct quotient_shape *);
void quotient_image_clear(struct quotient_image *);

/* QUOTIENT_NO_MEMORY: it has to be a larger one. */
enum quotient_status quotient_image_add(struct quotient_image *, uint64_t hash, uint64_t count);
uint64_t quotient_image_count(const struct quotient_image *, uint64_t hash);
uint64_t quotient_image_remove(struct quotient_image *, uint64_t hash, uint64_t count);
/* Fills an empty one with all that `from` has, whose fingerprints have as many bits.
 * On failure it is of no use any more. */
enum quotient_status quotient_image_refill(struct quotient_image *to, const struct quotient_image *from);
void quotient_image_each(const struct quotient_image *,
                         void (*visit)(void *arg, uint64_t hash, uint64_t count), void *arg);

/* A number that every change makes another one. */
uint64_t quotient_image_changes(const struct quotient_image *);
uint64_t quotient_image_distinct(const struct quotient_image *);
uint64_t quotient_image_total(const struct quotient_image *);
uint64_t quotient_image_capacity(const struct quotient_image *);
uint64_t quotient_image_used(const struct quotient_image *);
unsigned quotient_image_bits(const struct quotient_image *);
unsigned quotient_image_fold(const struct quotient_image *);
unsigned quotient_image_split(const struct quotient_image *); /* q */
double quotient_image_rate(const struct quotient_image *);
size_t quotient_image_bytes(const struct quotient_image *);
void quotient_image_check(const struct quotient_image *);

#endif
