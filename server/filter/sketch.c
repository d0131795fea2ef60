/* sketch.c - four rows of counters in every block of 64 bytes.
 *
 *   block:  row 0: 2 words | row 1: 2 words | row 2: 2 words | row 3: 2 words
 *   word:   16 counters of 4 bits
 *
 * Rules: (1) the high half of the hash picks the block, a byte of the low half
 * picks one of a row's 32 counters; (2) the estimate is the lowest of the four;
 * (3) an addition raises each of the four that is below 15, and counts only if
 * it raised one; (4) after `period` of them every counter is halved, and the
 * tally becomes what a sketch of the halved counters would have counted;
 * (5) growing doubles the table by copying it behind itself: the block's
 * number gains a high bit, and both halves answer as before. */
#include "server/filter/sketch.h"
#include "server/check.h"

#include <stdlib.h>
#include <string.h>

enum { ROWS = 4, BLOCK_WORDS = 8, WORDS_MIN = 256, PERIOD_PER_ENTRY = 10 };

#define ONES  UINT64_C(0x1111111111111111)
#define HALFS UINT64_C(0x7777777777777777)

struct sketch {
    uint64_t *words;
    uint64_t size; /* words, a power of two */
    uint64_t entries, additions;
};

static uint64_t size_for(uint64_t entries)
{
    uint64_t size = WORDS_MIN;

    while (size < entries)
        size *= 2;
    return size;
}

struct sketch *sketch_new(uint64_t entries)
{
    struct sketch *s = calloc(1, sizeof(*s));

    if (s == NULL)
        return NULL;
    s->size = size_for(entries);
    s->entries = entries > 0 ? entries : 1;
    s->words = aligned_alloc(64, s->size * sizeof(s->words[0]));
    if (s->words == NULL) {
        free(s);
        return NULL;
    }
    memset(s->words, 0, s->size * sizeof(s->words[0]));
    return s;
}

void sketch_free(struct sketch **sp)
{
    if (*sp == NULL)
        return;
    free((*sp)->words);
    free(*sp);
    *sp = NULL;
}

bool sketch_fit(struct sketch *s, uint64_t entries)
{
    uint64_t size = size_for(entries);

    if (size > s->size) {
        uint64_t *words = aligned_alloc(64, size * sizeof(words[0]));

        if (words == NULL)
            return false;
        for (uint64_t at = 0; at < size; at += s->size)
            memcpy(words + at, s->words, s->size * sizeof(words[0]));
        free(s->words);
        s->words = words;
        s->size = size;
    }
    s->entries = entries > 0 ? entries : 1;
    return true;
}

static uint64_t *block_of(const struct sketch *s, uint64_t hash)
{
    return s->words + ((hash >> 32) & (s->size / BLOCK_WORDS - 1)) * BLOCK_WORDS;
}

/* The word of the row's counter; `shift` is where in it. */
static uint64_t *counter_of(uint64_t *block, uint64_t hash, unsigned row, unsigned *shift)
{
    unsigned byte = (unsigned)(hash >> (8 * row)) & 31;

    *shift = byte / 2 * 4;
    return block + 2 * row + byte % 2;
}

static void halve(struct sketch *s)
{
    uint64_t odd = 0;

    for (uint64_t i = 0; i < s->size; i++) {
        odd += (uint64_t)__builtin_popcountll(s->words[i] & ONES);
        s->words[i] = s->words[i] >> 1 & HALFS;
    }
    odd /= ROWS;
    s->additions = s->additions > odd ? (s->additions - odd) / 2 : 0;
}

bool sketch_add(struct sketch *s, uint64_t hash)
{
    uint64_t *block = block_of(s, hash);
    bool raised = false;

    for (unsigned row = 0; row < ROWS; row++) {
        unsigned shift;
        uint64_t *word = counter_of(block, hash, row, &shift);

        if ((*word >> shift & SKETCH_COUNT_MAX) < SKETCH_COUNT_MAX) {
            *word += UINT64_C(1) << shift;
            raised = true;
        }
    }
    return raised && sketch_pass(s);
}

bool sketch_pass(struct sketch *s)
{
    if (++s->additions < sketch_period(s))
        return false;
    halve(s);
    return true;
}

unsigned sketch_count(const struct sketch *s, uint64_t hash)
{
    uint64_t *block = block_of(s, hash);
    unsigned least = SKETCH_COUNT_MAX;

    for (unsigned row = 0; row < ROWS; row++) {
        unsigned shift, count;
        const uint64_t *word = counter_of(block, hash, row, &shift);

        count = (unsigned)(*word >> shift) & SKETCH_COUNT_MAX;
        if (count < least)
            least = count;
    }
    return least;
}

uint64_t sketch_period(const struct sketch *s)
{
    return s->entries * PERIOD_PER_ENTRY;
}

uint64_t sketch_entries(const struct sketch *s)
{
    return s->entries;
}

size_t sketch_bytes(const struct sketch *s)
{
    return sizeof(*s) + s->size * sizeof(s->words[0]);
}

void sketch_check(const struct sketch *s)
{
    CHECK(s->size >= WORDS_MIN && (s->size & (s->size - 1)) == 0);
    CHECK(s->entries > 0 && s->entries <= s->size);
}
