/* bloom.c - layers of blocks.
 *
 * Rules: (1) a layer's high half of the hash picks the block, the rest, mixed
 * again, nine bits at a time, the bits in it; (2) a key is added to the last
 * layer only, and only if no layer has it; (3) a layer takes as many keys as it
 * was made for, so that its rate never exceeds its error; (4) the first layer
 * has half the error asked for and each next one half of that, so the sum stays
 * below; without growth the one layer has all of it. */
#include "server/filter/bloom.h"
#include "server/check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    BLOCK_BITS = 512,
    BLOCK_WORDS = 8,
    BITS_SET_MAX = 32,
    PICK_BITS = 9,
    PICKS_PER_MIX = 7,
    RATE_SAMPLE = 8192 /* blocks */
};

/* Keys that are taken for known are not counted, and by being passed over they
 * leave more bits set per key counted: at an error of .5 (one bit each) .77 of the
 * error more, at lower ones less. */
#define TAKEN_FOR_KNOWN .8

struct layer {
    uint64_t *words;
    uint64_t blocks, items, capacity;
    unsigned bits_set;
};

struct bloom {
    struct layer layers[BLOOM_LAYERS_MAX];
    unsigned count, expansion;
    double error;
    uint64_t items;
};

/* ---- how large ---- */

/* The number of keys in a block is Poisson distributed around its mean; of a block
 * with i keys a stranger's bits are all set with (1 - (1 - 1/512)^(i k))^k. */
double bloom_blocked_rate(double bits_per_key, unsigned bits_set)
{
    double mean = BLOCK_BITS / bits_per_key, rate = 0, spread = 12 * sqrt(mean) + 12;
    double from = floor(fmax(0, mean - spread)), to = mean + spread;

    for (double keys = from; keys <= to; keys++) {
        double chance = exp(keys * log(mean) - mean - lgamma(keys + 1));
        double is_set = 1 - pow(1 - 1.0 / BLOCK_BITS, keys * bits_set);

        rate += chance * pow(is_set, bits_set);
    }
    return rate;
}

/* The least bits per key, to a percent, with which some number of bits keeps the error. */
static double bits_per_key_for(double error, unsigned *bits_set)
{
    for (double bits = 1.44 * log2(1 / error);; bits *= 1.01) {
        double best = 1;

        for (unsigned k = 1; k <= BITS_SET_MAX; k++) {
            double rate = bloom_blocked_rate(bits, k);

            if (rate > best)
                break; /* it only gets worse from here */
            best = rate;
            *bits_set = k;
        }
        if (best <= error)
            return bits;
    }
}

static bool add_layer(struct bloom *b, uint64_t capacity, double error)
{
    struct layer *l = &b->layers[b->count];
    unsigned bits_set = 1;
    double bits = (double)capacity * (1 + TAKEN_FOR_KNOWN * error) * bits_per_key_for(error, &bits_set);
    uint64_t blocks;

    if (b->count == BLOOM_LAYERS_MAX || bits > (double)(UINT64_C(1) << 46))
        return false;
    blocks = (uint64_t)(bits / BLOCK_BITS) + 1;
    *l = (struct layer){.blocks = blocks, .capacity = capacity, .bits_set = bits_set};
    l->words = aligned_alloc(64, blocks * BLOCK_WORDS * sizeof(l->words[0]));
    if (l->words == NULL)
        return false;
    memset(l->words, 0, blocks * BLOCK_WORDS * sizeof(l->words[0]));
    b->count++;
    return true;
}

struct bloom *bloom_new(uint64_t capacity, double error, unsigned expansion)
{
    struct bloom *b = calloc(1, sizeof(*b));

    CHECK(capacity > 0 && error >= BLOOM_ERROR_MIN && error <= BLOOM_ERROR_MAX &&
          expansion <= BLOOM_EXPANSION_MAX);
    if (b == NULL)
        return NULL;
    b->error = error;
    b->expansion = expansion;
    if (!add_layer(b, capacity, expansion > 0 ? error / 2 : error))
        bloom_free(&b);
    return b;
}

void bloom_free(struct bloom **bp)
{
    if (*bp == NULL)
        return;
    for (unsigned i = 0; i < (*bp)->count; i++)
        free((*bp)->layers[i].words);
    free(*bp);
    *bp = NULL;
}

/* ---- one key ---- */

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 32)) * UINT64_C(0xD6E8FEB86659FD93);
    x = (x ^ (x >> 32)) * UINT64_C(0xD6E8FEB86659FD93);
    return x ^ (x >> 32);
}

static uint64_t *block_of(const struct layer *l, uint64_t hash)
{
    uint64_t number = (uint64_t)(((unsigned __int128)hash * l->blocks) >> 64);

    return l->words + number * BLOCK_WORDS;
}

/* Where the bits of a key lie in its block; seven come out of one mixing. */
struct picks {
    uint64_t hash, mixed;
    unsigned left;
};

static unsigned next_pick(struct picks *p)
{
    unsigned pick;

    if (p->left == 0) {
        p->hash += UINT64_C(0x9E3779B97F4A7C15);
        p->mixed = mix(p->hash);
        p->left = PICKS_PER_MIX;
    }
    pick = (unsigned)p->mixed & (BLOCK_BITS - 1);
    p->mixed >>= PICK_BITS;
    p->left--;
    return pick;
}

/* No early end: the line is there after the first bit, and a branch costs more than the others. */
static bool layer_has(const struct layer *l, uint64_t hash)
{
    const uint64_t *block = block_of(l, hash);
    struct picks picks = {.hash = hash};
    uint64_t has = 1;

    for (unsigned i = 0; i < l->bits_set; i++) {
        unsigned pick = next_pick(&picks);

        has &= block[pick / 64] >> (pick % 64);
    }
    return (has & 1) != 0;
}

static void layer_add(struct layer *l, uint64_t hash)
{
    uint64_t *block = block_of(l, hash);
    struct picks picks = {.hash = hash};

    for (unsigned i = 0; i < l->bits_set; i++) {
        unsigned pick = next_pick(&picks);

        block[pick / 64] |= UINT64_C(1) << (pick % 64);
    }
    l->items++;
}

bool bloom_maybe(const struct bloom *b, uint64_t hash)
{
    for (unsigned i = b->count; i-- > 0;) /* the newest is the largest */
        if (layer_has(&b->layers[i], hash))
            return true;
    return false;
}

static bool grow(struct bloom *b)
{
    const struct layer *last = &b->layers[b->count - 1];
    double error = b->error / 2;

    if (last->capacity > UINT64_MAX / b->expansion)
        return false;
    for (unsigned i = 0; i < b->count; i++)
        error /= 2;
    return add_layer(b, last->capacity * b->expansion, error);
}

enum bloom_added bloom_add(struct bloom *b, uint64_t hash)
{
    struct layer *last = &b->layers[b->count - 1];

    if (bloom_maybe(b, hash))
        return BLOOM_KNOWN;
    if (last->items == last->capacity) {
        if (b->expansion == 0)
            return BLOOM_FULL;
        if (!grow(b))
            return BLOOM_NO_MEMORY;
        last = &b->layers[b->count - 1];
    }
    layer_add(last, hash);
    b->items++;
    return BLOOM_NEW;
}

void bloom_clear(struct bloom *b)
{
    struct layer *first = &b->layers[0];

    for (unsigned i = 1; i < b->count; i++)
        free(b->layers[i].words);
    b->count = 1;
    b->items = 0;
    first->items = 0;
    memset(first->words, 0, first->blocks * BLOCK_WORDS * sizeof(first->words[0]));
}

/* ---- figures ---- */

uint64_t bloom_items(const struct bloom *b)
{
    return b->items;
}

uint64_t bloom_capacity(const struct bloom *b)
{
    uint64_t capacity = 0;

    for (unsigned i = 0; i < b->count; i++)
        capacity += b->layers[i].capacity;
    return capacity;
}

unsigned bloom_layers(const struct bloom *b)
{
    return b->count;
}

unsigned bloom_expansion(const struct bloom *b)
{
    return b->expansion;
}

double bloom_error(const struct bloom *b)
{
    return b->error;
}

size_t bloom_bytes(const struct bloom *b)
{
    size_t bytes = sizeof(*b);

    for (unsigned i = 0; i < b->count; i++)
        bytes += b->layers[i].blocks * BLOCK_WORDS * sizeof(uint64_t);
    return bytes;
}

/* Of the bits that are set, in a sample of the blocks. */
static double layer_rate(const struct layer *l)
{
    uint64_t step = l->blocks / RATE_SAMPLE + 1, seen = 0;
    double rate = 0;

    for (uint64_t block = 0; block < l->blocks; block += step, seen++) {
        unsigned set = 0;

        for (unsigned i = 0; i < BLOCK_WORDS; i++)
            set += (unsigned)__builtin_popcountll(l->words[block * BLOCK_WORDS + i]);
        rate += pow((double)set / BLOCK_BITS, l->bits_set);
    }
    return rate / (double)seen;
}

double bloom_rate(const struct bloom *b)
{
    double right = 1;

    for (unsigned i = 0; i < b->count; i++)
        right *= 1 - layer_rate(&b->layers[i]);
    return 1 - right;
}

void bloom_check(const struct bloom *b)
{
    uint64_t items = 0;

    CHECK(b->count >= 1 && b->count <= BLOOM_LAYERS_MAX);
    for (unsigned i = 0; i < b->count; i++) {
        const struct layer *l = &b->layers[i];
        uint64_t set = 0;

        CHECK(l->items <= l->capacity && (i + 1 == b->count || l->items == l->capacity));
        for (uint64_t w = 0; w < l->blocks * BLOCK_WORDS; w++)
            set += (uint64_t)__builtin_popcountll(l->words[w]);
        CHECK(set <= l->items * l->bits_set && (set > 0) == (l->items > 0));
        items += l->items;
    }
    CHECK(items == b->items);
}
