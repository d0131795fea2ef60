/* bloom.h - was this key added? "No" is certain, "maybe" is wrong at a rate
 * that was asked for.
 *
 * Blocked (Putze, Sanders, Singler: "Cache-, Hash- and Space-Efficient Bloom
 * Filters", 2007): all bits of a key lie in one block of 64 bytes, so that a look
 * costs one cache line per layer. Blocks fill unevenly, for which it takes more
 * bits than a plain Bloom filter; their number is chosen by the exact formula.
 *
 * Scalable (Almeida, Baquero, Preguiça, Hutchison: "Scalable Bloom Filters",
 * 2007): when the last layer has what it was made for, another one follows,
 * larger by a factor and with half its error, so that all of them together keep
 * the rate asked for. */
#ifndef CORRAL_FILTER_BLOOM_H
#define CORRAL_FILTER_BLOOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BLOOM_ERROR_MIN 1e-9
#define BLOOM_ERROR_MAX .5

enum { BLOOM_EXPANSION_MAX = 32768, BLOOM_LAYERS_MAX = 32 };

enum bloom_added {
    BLOOM_NEW,      /* it certainly was not there */
    BLOOM_KNOWN,    /* it was there, or seems to be; nothing changed */
    BLOOM_FULL,     /* it may not grow, and has what it was made for */
    BLOOM_NO_MEMORY /* it should have grown; nothing changed */
};

struct bloom;

/* For `capacity` keys (at least 1) at an error from BLOOM_ERROR_MIN to _MAX. The
 * next layers are `expansion` (1..BLOOM_EXPANSION_MAX) times as large as the ones
 * before; 0: there are none. NULL when memory is short. */
struct bloom *bloom_new(uint64_t capacity, double error, unsigned expansion);
void bloom_free(struct bloom **);

/* Hashes must be well mixed in all their 64 bits. */
enum bloom_added bloom_add(struct bloom *, uint64_t hash);
bool bloom_maybe(const struct bloom *, uint64_t hash);
/* Forgets all, and all layers but the first. */
void bloom_clear(struct bloom *);

uint64_t bloom_items(const struct bloom *);    /* that were new */
uint64_t bloom_capacity(const struct bloom *); /* of all layers that are there */
unsigned bloom_layers(const struct bloom *);
unsigned bloom_expansion(const struct bloom *);
double bloom_error(const struct bloom *); /* as asked for */
size_t bloom_bytes(const struct bloom *);
/* The rate at which it says "maybe" of keys that were never added, as it stands;
 * from the bits of at most some thousand blocks of each layer. */
double bloom_rate(const struct bloom *);
void bloom_check(const struct bloom *);

/* The rate of a blocked filter with so many bits per key and bits set by each. */
double bloom_blocked_rate(double bits_per_key, unsigned bits_set);

#endif
