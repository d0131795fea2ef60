/* bloom_image.c - layers of blocks.
 *
 * Rules: (1) a layer's high half of the hash picks the block, the rest, mixed
 * again, nine bits at a time, the bits in it; (2) a key is added to the last
 * layer only, and only if no layer has it; (3) a layer takes as many keys as it
 * was made for, so that its rate never exceeds its error; (4) the first layer
 * has half the error asked for and each next one half of that, so the sum stays
 * below; without growth the one layer has all of it. */
#include "server/filter/bloom_image.h"
#include "server/check.h"

#include <math.h>
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
    uint64_t blocks, capacity, items;
    uint32_t bits_set, zero;
    uint64_t zeros[4];
    uint64_t words[];
};

struct bloom_image {
    uint32_t kind, layers;
    uint64_t bytes;
    uint64_t loaded; /* of the parts; all of them unless it is being loaded */
    double error;
    uint32_t expansion, zero;
    uint64_t items;
    struct layer first;
};

enum { HEAD = 48, LAYER_HEAD = 64, BLOCK_BYTES = BLOCK_WORDS * 8 };

_Static_assert(offsetof(struct bloom_image, first) == HEAD && sizeof(struct layer) == LAYER_HEAD, "");

/* ---- how large ---- */

static double to_the(double base, unsigned exponent)
{
    double power = 1;

    for (; exponent > 0; exponent >>= 1, base *= base)
        power *= exponent & 1 ? base : 1;
    return power;
}

/* lgamma() has a global variable for the sign, which is positive here. */
static double log_gamma(double x)
{
    int sign;

    return lgamma_r(x, &sign);
}

/* The number of keys in a block is Poisson distributed around its mean; of a block
 * with i keys a stranger's bits are all set with (1 - (1 - 1/512)^(i k))^k. */
double bloom_blocked_rate(double bits_per_key, unsigned bits_set)
{
    double mean = BLOCK_BITS / bits_per_key, rate = 0, spread = 12 * sqrt(mean) + 12;
    double from = floor(fmax(0, mean - spread)), to = mean + spread;
    double chance = exp(from * log(mean) - mean - log_gamma(from + 1));
    double clear_after_one = pow(1 - 1.0 / BLOCK_BITS, bits_set), clear = pow(clear_after_one, from);

    for (double keys = from; keys <= to; keys++) {
        rate += chance * to_the(1 - clear, bits_set);
        chance *= mean / (keys + 1);
        clear *= clear_after_one;
    }
    return rate;
}

struct shape {
    double error, bits_per_key;
    unsigned bits_set;
};

/* The least bits per key, to a percent, with which some number of bits keeps the
 * error. The best number of bits only grows with the bits per key. */
static struct shape find_shape(double error)
{
    struct shape shape = {.error = error, .bits_set = 1};

    for (shape.bits_per_key = 1.44 * log2(1 / error);; shape.bits_per_key *= 1.01) {
        double best = 1;

        for (unsigned k = shape.bits_set; k <= BITS_SET_MAX; k++) {
            double rate = bloom_blocked_rate(shape.bits_per_key, k);

            if (rate > best)
                break; /* it only gets worse from here */
            best = rate;
            shape.bits_set = k;
        }
        if (best <= error)
            return shape;
    }
}

/* That takes ten microseconds or more, and the same few errors come again and again. */
static struct shape shape_for(double error)
{
    enum { KEPT = 64 };
    static _Thread_local struct shape kept[KEPT];
    uint64_t bits;
    struct shape *shape;

    memcpy(&bits, &error, sizeof bits);
    shape = &kept[(bits ^ bits >> 52) * UINT64_C(0x9E3779B97F4A7C15) >> 58];
    if (shape->error != error)
        *shape = find_shape(error);
    return *shape;
}

struct layer_plan {
    uint64_t blocks;
    unsigned bits_set;
};

/* False: no memory could hold it. */
static bool plan_layer(uint64_t capacity, double error, struct layer_plan *plan)
{
    struct shape shape = shape_for(error);
    double bits = (double)capacity * (1 + TAKEN_FOR_KNOWN * error) * shape.bits_per_key;

    if (bits > (double)(UINT64_C(1) << 46))
        return false;
    *plan = (struct layer_plan){.blocks = (uint64_t)(bits / BLOCK_BITS) + 1, .bits_set = shape.bits_set};
    return true;
}

static size_t layer_bytes(uint64_t blocks)
{
    return LAYER_HEAD + blocks * BLOCK_BYTES;
}

static double first_error(double error, unsigned expansion)
{
    return expansion > 0 ? error / 2 : error;
}

static struct layer *next_layer(const struct layer *l)
{
    return (struct layer *)(uintptr_t)(l->words + l->blocks * BLOCK_WORDS);
}

static struct layer *last_layer(const struct bloom_image *b)
{
    struct layer *l = (struct layer *)(uintptr_t)&b->first;

    for (uint32_t i = 1; i < b->layers; i++)
        l = next_layer(l);
    return l;
}

static void make_layer(struct layer *l, uint64_t capacity, const struct layer_plan *plan)
{
    memset(l, 0, layer_bytes(plan->blocks));
    l->blocks = plan->blocks;
    l->capacity = capacity;
    l->bits_set = plan->bits_set;
}

static uint64_t parts_of(const struct bloom_image *b)
{
    return b->bytes - HEAD - (uint64_t)b->layers * LAYER_HEAD;
}

size_t bloom_image_size(uint64_t capacity, double error, unsigned expansion)
{
    struct layer_plan plan;

    CHECK(capacity > 0 && error >= BLOOM_ERROR_MIN && error <= BLOOM_ERROR_MAX &&
          expansion <= BLOOM_EXPANSION_MAX);
    return plan_layer(capacity, first_error(error, expansion), &plan) ? HEAD + layer_bytes(plan.blocks) : 0;
}

void bloom_image_make(struct bloom_image *b, uint64_t capacity, double error, unsigned expansion)
{
    struct layer_plan plan;

    CHECK(plan_layer(capacity, first_error(error, expansion), &plan));
    memset(b, 0, HEAD);
    b->kind = IMAGE_BLOOM;
    b->layers = 1;
    b->bytes = HEAD + layer_bytes(plan.blocks);
    b->error = error;
    b->expansion = expansion;
    b->loaded = parts_of(b);
    make_layer(&b->first, capacity, &plan);
}

/* The layer that follows the last one. */
static bool plan_growth(const struct bloom_image *b, uint64_t *capacity, struct layer_plan *plan)
{
    const struct layer *last = last_layer(b);
    double error = b->error / 2;

    if (b->expansion == 0 || b->layers == BLOOM_LAYERS_MAX || last->capacity > UINT64_MAX / b->expansion)
        return false;
    for (unsigned i = 0; i < b->layers; i++)
        error /= 2;
    *capacity = last->capacity * b->expansion;
    return plan_layer(*capacity, error, plan);
}

size_t bloom_image_grown_size(const struct bloom_image *b)
{
    struct layer_plan plan;
    uint64_t capacity;

    return plan_growth(b, &capacity, &plan) ? b->bytes + layer_bytes(plan.blocks) : 0;
}

void bloom_image_grow(struct bloom_image *to, const struct bloom_image *from)
{
    struct layer_plan plan;
    uint64_t capacity;

    CHECK(plan_growth(from, &capacity, &plan));
    memcpy(to, from, from->bytes);
    to->layers++;
    to->bytes += layer_bytes(plan.blocks);
    to->loaded = parts_of(to);
    make_layer(last_layer(to), capacity, &plan);
}

/* ---- one key ---- */

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 32)) * UINT64_C(0xD6E8FEB86659FD93);
    x = (x ^ (x >> 32)) * UINT64_C(0xD6E8FEB86659FD93);
    return x ^ (x >> 32);
}

static uint64_t block_of(const struct layer *l, uint64_t hash)
{
    return (uint64_t)(((unsigned __int128)hash * l->blocks) >> 64) * BLOCK_WORDS;
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
    const uint64_t *block = l->words + block_of(l, hash);
    struct picks picks = {.hash = hash};
    uint64_t has = 1;

    for (unsigned i = 0; i < l->bits_set; i++) {
        unsigned pick = next_pick(&picks);

        has &= __atomic_load_n(&block[pick / 64], __ATOMIC_RELAXED) >> (pick % 64);
    }
    return (has & 1) != 0;
}

/* Relaxed: nobody reads two of them together; see image.h. */
static void count_up(uint64_t *counter)
{
    __atomic_store_n(counter, *counter + 1, __ATOMIC_RELAXED);
}

static void layer_add(struct layer *l, uint64_t hash)
{
    uint64_t *block = l->words + block_of(l, hash);
    struct picks picks = {.hash = hash};

    for (unsigned i = 0; i < l->bits_set; i++) {
        unsigned pick = next_pick(&picks);
        uint64_t *word = &block[pick / 64];

        __atomic_store_n(word, *word | UINT64_C(1) << (pick % 64), __ATOMIC_RELAXED);
    }
    count_up(&l->items);
}

bool bloom_image_is_loading(const struct bloom_image *b, uint64_t *next)
{
    *next = __atomic_load_n(&b->loaded, __ATOMIC_ACQUIRE); /* pairs with load_part() */
    return *next != parts_of(b);
}

bool bloom_image_maybe(const struct bloom_image *b, uint64_t hash)
{
    const struct layer *l = &b->first;
    uint64_t next;

    if (__builtin_expect(bloom_image_is_loading(b, &next), 0))
        return true;
    for (uint32_t i = 0; i < b->layers; i++, l = next_layer(l))
        if (layer_has(l, hash))
            return true;
    return false;
}

enum bloom_added bloom_image_add(struct bloom_image *b, uint64_t hash)
{
    struct layer *last;

    if (bloom_image_maybe(b, hash))
        return BLOOM_KNOWN;
    last = last_layer(b);
    if (last->items == last->capacity)
        return b->expansion == 0 ? BLOOM_FULL : BLOOM_NO_MEMORY;
    layer_add(last, hash);
    count_up(&b->items);
    return BLOOM_NEW;
}

void bloom_image_clear(struct bloom_image *b)
{
    b->layers = 1;
    b->items = b->first.items = 0;
    b->bytes = HEAD + layer_bytes(b->first.blocks);
    b->loaded = parts_of(b);
    memset(b->first.words, 0, b->first.blocks * BLOCK_BYTES);
}

/* ---- travelling ---- */

size_t bloom_image_head(const struct bloom_image *b, uint8_t to[BLOOM_HEAD_MAX])
{
    struct bloom_image head = {.kind = b->kind,
                               .layers = b->layers,
                               .bytes = b->bytes,
                               .error = b->error,
                               .expansion = b->expansion};
    const struct layer *l = &b->first;

    for (uint32_t i = 0; i < b->layers; i++, l = next_layer(l)) {
        struct layer layer = {.blocks = l->blocks, .capacity = l->capacity, .bits_set = l->bits_set};

        layer.items = __atomic_load_n(&l->items, __ATOMIC_RELAXED);
        head.items += layer.items;
        memcpy(to + HEAD + i * LAYER_HEAD, &layer, LAYER_HEAD);
    }
    memcpy(to, &head, HEAD);
    return HEAD + b->layers * LAYER_HEAD;
}

uint64_t bloom_image_parts(const struct bloom_image *b)
{
    return parts_of(b);
}

const uint8_t *bloom_image_part(const struct bloom_image *b, uint64_t at, size_t most, size_t *len)
{
    const struct layer *l = &b->first;

    CHECK(at < parts_of(b));
    for (; at >= l->blocks * BLOCK_BYTES; l = next_layer(l))
        at -= l->blocks * BLOCK_BYTES;
    *len = l->blocks * BLOCK_BYTES - at;
    *len = *len < most ? *len : most;
    return (const uint8_t *)l->words + at;
}

/* With which every later step stays within its layer, and every sum within 64 bits. */
static bool layer_is_sound(const struct layer *l, bool is_last)
{
    return l->blocks > 0 && l->blocks <= UINT64_C(1) << 40 && l->capacity > 0 && l->items <= l->capacity &&
           l->capacity <= UINT64_C(1) << 50 && (is_last || l->items == l->capacity) && l->bits_set > 0 &&
           l->bits_set <= BITS_SET_MAX;
}

size_t bloom_image_sized(const uint8_t *from, size_t len)
{
    uint64_t bytes = HEAD, items = 0;
    struct bloom_image head;

    if (len < HEAD + LAYER_HEAD || len > BLOOM_HEAD_MAX)
        return 0;
    memcpy(&head, from, HEAD);
    if (head.kind != IMAGE_BLOOM || head.layers == 0 || head.layers > BLOOM_LAYERS_MAX ||
        len != HEAD + head.layers * LAYER_HEAD || !(head.error >= BLOOM_ERROR_MIN) ||
        !(head.error <= BLOOM_ERROR_MAX) || head.expansion > BLOOM_EXPANSION_MAX ||
        (head.expansion == 0 && head.layers > 1))
        return 0;
    for (uint32_t i = 0; i < head.layers; i++) {
        struct layer layer;

        memcpy(&layer, from + HEAD + i * LAYER_HEAD, LAYER_HEAD);
        if (!layer_is_sound(&layer, i + 1 == head.layers))
            return 0;
        bytes += layer_bytes(layer.blocks);
        items += layer.items;
    }
    return bytes == head.bytes && items == head.items ? bytes : 0;
}

void bloom_image_load(struct bloom_image *to, const uint8_t *from, size_t len)
{
    size_t bytes = bloom_image_sized(from, len);
    struct layer *l = &to->first;

    CHECK(bytes > 0);
    memset(to, 0, bytes);
    memcpy(to, from, HEAD);
    to->loaded = 0;
    to->zero = 0;
    for (uint32_t i = 0; i < to->layers; i++, l = next_layer(l)) {
        struct layer layer;

        memcpy(&layer, from + HEAD + i * LAYER_HEAD, LAYER_HEAD);
        l->blocks = layer.blocks;
        l->capacity = layer.capacity;
        l->items = layer.items;
        l->bits_set = layer.bits_set;
    }
}

bool bloom_image_load_part(struct bloom_image *b, const uint8_t *part, size_t len)
{
    uint64_t at, next;
    struct layer *l = &b->first;

    if (!bloom_image_is_loading(b, &next) || len == 0 || len % BLOCK_BYTES != 0)
        return false;
    for (at = next; at >= l->blocks * BLOCK_BYTES; l = next_layer(l))
        at -= l->blocks * BLOCK_BYTES;
    if (len > l->blocks * BLOCK_BYTES - at)
        return false;
    memcpy((uint8_t *)l->words + at, part, len);
    /* Pairs with bloom_image_is_loading(): who sees that it is whole, sees all of it. */
    __atomic_store_n(&b->loaded, next + len, __ATOMIC_RELEASE);
    return true;
}

/* ---- figures ---- */

size_t bloom_image_bytes(const struct bloom_image *b)
{
    return b->bytes;
}

uint64_t bloom_image_items(const struct bloom_image *b)
{
    return __atomic_load_n(&b->items, __ATOMIC_RELAXED);
}

uint64_t bloom_image_capacity(const struct bloom_image *b)
{
    const struct layer *l = &b->first;
    uint64_t capacity = 0;

    for (uint32_t i = 0; i < b->layers; i++, l = next_layer(l))
        capacity += l->capacity;
    return capacity;
}

unsigned bloom_image_layers(const struct bloom_image *b)
{
    return b->layers;
}

unsigned bloom_image_expansion(const struct bloom_image *b)
{
    return b->expansion;
}

double bloom_image_error(const struct bloom_image *b)
{
    return b->error;
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

double bloom_image_rate(const struct bloom_image *b)
{
    const struct layer *l = &b->first;
    double right = 1;

    for (uint32_t i = 0; i < b->layers; i++, l = next_layer(l))
        right *= 1 - layer_rate(l);
    return 1 - right;
}

void bloom_image_check(const struct bloom_image *b)
{
    const struct layer *l = &b->first;
    uint64_t items = 0;

    CHECK(b->kind == IMAGE_BLOOM && b->layers >= 1 && b->layers <= BLOOM_LAYERS_MAX);
    for (uint32_t i = 0; i < b->layers; i++, l = next_layer(l)) {
        uint64_t set = 0;

        CHECK(l->items <= l->capacity && (i + 1 == b->layers || l->items == l->capacity));
        for (uint64_t w = 0; w < l->blocks * BLOCK_WORDS; w++)
            set += (uint64_t)__builtin_popcountll(l->words[w]);
        CHECK(set <= l->items * l->bits_set && (set > 0) == (l->items > 0));
        items += l->items;
    }
    CHECK(items == b->items && (const uint8_t *)l == (const uint8_t *)b + b->bytes);
}
