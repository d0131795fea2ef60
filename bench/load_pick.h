/* load_pick.h - which key is asked for next.
 *
 * The table is built once and shared by all threads; each thread brings its
 * own dice. Zipf uses the alias method: one random number and one look-up per
 * pick, whatever the skew. Its ranks are spread over the key numbers, so keys
 * that are hot together were not written together. */
#ifndef CORRAL_BENCH_LOAD_PICK_H
#define CORRAL_BENCH_LOAD_PICK_H

#include <stdint.h>

enum pick_kind { PICK_UNIFORM, PICK_ZIPF };

struct pick_table;

/* `exponent` is zipf's, 0 < exponent <= 5. NULL when memory is short. */
struct pick_table *pick_table_new(enum pick_kind kind, uint32_t keys, double exponent);
void pick_table_free(struct pick_table **t);

/* Advances *dice (any start value) and returns 64 random bits. */
static inline uint64_t dice_roll(uint64_t *dice)
{
    /* A Weyl sequence, each term multiplied wide by a twisted copy of itself:
     * a few cycles, and good enough for a million picks to look like zipf. */
    unsigned __int128 wide;

    *dice += UINT64_C(0xa0761d6478bd642f);
    wide = (unsigned __int128)*dice * (*dice ^ UINT64_C(0xe7037ed1a0b428db));
    return (uint64_t)(wide >> 64) ^ (uint64_t)wide;
}

uint32_t pick_next(const struct pick_table *t, uint64_t *dice); /* 0 .. keys-1 */

#endif
