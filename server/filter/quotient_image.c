/* quotient_image.c - runs of remainders, found by counting bits.
 *
 *   fingerprint:  | quotient: q bits | remainder: r bits |      the high bits of a hash
 *   block:        offset | occupied: 64 bits | ends: 64 bits | 64 slots of r bits
 *
 * Rules: (1) the slots of one quotient are a run, at its own place or as soon after
 * it as the runs before allow, so runs lie in the order of their quotients;
 * (2) `occupied` tells at a quotient's place that it has a run, `ends` where the
 * runs end; so the n-th end belongs to the n-th quotient that has a run; (3) a
 * block's offset is how many of the slots from its first on hold runs of quotients
 * before it; so the counting begins at the block; (4) the remainders of a run
 * ascend, and each is followed by its count less one in digits, lowest first. A
 * digit is at most its remainder, which the next remainder exceeds: so no sign is
 * needed where a count ends. The base is the remainder plus one, digits stand for 1
 * to that, and no digit at all is a count of one; (5) for that no remainder may be 0: such
 * fingerprints have their lowest bit set. It goes by the narrowest remainder that
 * the filter ever had, so that all of its fingerprints were treated alike; (6) runs
 * do not wrap around: behind the last quotient's place are spare blocks, and when
 * a run reaches the last two of them, the filter grows. */
#include "server/filter/quotient_image.h"
#include "server/check.h"

#include <math.h>
#include <string.h>

enum {
    HEAD_WORDS = 3,
    BLOCK_SLOTS = 64,
    QUOTIENT_BITS_MIN = 6,
    REMAINDER_BITS_MIN = 2,
    SPARE_BLOCKS = 2,
    DIGITS_MAX = 66 /* a remainder and 64 digits of base 2, and one to spare */
};

/* Beyond it runs get long. */
#define LOAD_MAX .95

struct quotient_image {
    uint32_t kind;
    uint32_t q, r, fold;
    uint64_t blocks, slots; /* slots: places of quotients, the spare ones not counted */
    uint64_t used, distinct, total;
    uint64_t changes; /* since it was made */
    uint64_t words[];
};

/* A remainder with its count, within a run. */
struct group {
    uint64_t at, end; /* slots; without such a group both are where it belongs */
    uint64_t run_end; /* the slot after the run; `at` when there is no run */
    uint64_t count;   /* 0: there is none */
    bool has_run;
};

/* ---- bits ---- */

static uint64_t low_bits(unsigned n)
{
    return n >= 64 ? UINT64_MAX : (UINT64_C(1) << n) - 1;
}

/* In each byte the ones of it and of all bytes below. */
static uint64_t running_ones(uint64_t w)
{
    w -= w >> 1 & UINT64_C(0x5555555555555555);
    w = (w & UINT64_C(0x3333333333333333)) + (w >> 2 & UINT64_C(0x3333333333333333));
    w = (w + (w >> 4)) & UINT64_C(0x0F0F0F0F0F0F0F0F);
    return w * UINT64_C(0x0101010101010101);
}

static unsigned ones(uint64_t w)
{
    return (unsigned)(running_ones(w) >> 56);
}

/* Where the n-th one is, from 1; there are that many. */
static unsigned nth_one(uint64_t w, unsigned n)
{
    uint64_t sums = running_ones(w);
    uint64_t reach = ((sums | UINT64_C(0x8080808080808080)) - n * UINT64_C(0x0101010101010101)) &
                     UINT64_C(0x8080808080808080);
    unsigned at = (unsigned)__builtin_ctzll(reach) & ~7u, before = (unsigned)(sums << 8 >> at & 255);
    uint64_t byte = w >> at & 255;

    for (unsigned left = n - before; left > 1; left--)
        byte &= byte - 1;
    return at + (unsigned)__builtin_ctzll(byte);
}

/* ---- blocks and slots ---- */

static uint64_t *block_at(const struct quotient_image *f, uint64_t block)
{
    return (uint64_t *)(uintptr_t)f->words + block * (HEAD_WORDS + f->r);
}

static uint64_t *offset_of(const struct quotient_image *f, uint64_t block)
{
    return block_at(f, block);
}

static uint64_t *occupied_of(const struct quotient_image *f, uint64_t block)
{
    return block_at(f, block) + 1;
}

static uint64_t *ends_of(const struct quotient_image *f, uint64_t block)
{
    return block_at(f, block) + 2;
}

static uint64_t slot_get(const struct quotient_image *f, uint64_t slot)
{
    const uint64_t *words = block_at(f, slot / BLOCK_SLOTS) + HEAD_WORDS;
    unsigned bit = (unsigned)(slot % BLOCK_SLOTS) * f->r, shift = bit % 64;
    uint64_t value = words[bit / 64] >> shift;

    if (shift + f->r > 64)
        value |= words[bit / 64 + 1] << (64 - shift);
    return value & low_bits(f->r);
}

static void slot_set(struct quotient_image *f, uint64_t slot, uint64_t value)
{
    uint64_t *words = block_at(f, slot / BLOCK_SLOTS) + HEAD_WORDS;
    unsigned bit = (unsigned)(slot % BLOCK_SLOTS) * f->r, shift = bit % 64;

    words[bit / 64] = (words[bit / 64] & ~(low_bits(f->r) << shift)) | value << shift;
    if (shift + f->r > 64)
        words[bit / 64 + 1] = (words[bit / 64 + 1] & ~low_bits(shift + f->r - 64)) | value >> (64 - shift);
}

static bool is_occupied(const struct quotient_image *f, uint64_t quotient)
{
    return (*occupied_of(f, quotient / 64) >> (quotient % 64) & 1) != 0;
}

static void set_end(struct quotient_image *f, uint64_t slot, bool is_end)
{
    uint64_t *ends = ends_of(f, slot / 64), bit = UINT64_C(1) << (slot % 64);

    *ends = is_end ? *ends | bit : *ends & ~bit;
}

/* The slot of the n-th end at or after a slot. */
static uint64_t nth_end(const struct quotient_image *f, uint64_t slot, unsigned n)
{
    uint64_t block = slot / 64, ends = *ends_of(f, block) & ~low_bits((unsigned)(slot % 64));

    for (;;) {
        unsigned there = ones(ends);

        if (n <= there)
            return block * 64 + nth_one(ends, n);
        n -= there;
        CHECK(++block < f->blocks);
        ends = *ends_of(f, block);
    }
}

/* The slot after all runs of quotients up to this one; not beyond it if none comes so far. */
static uint64_t after_runs(const struct quotient_image *f, uint64_t quotient)
{
    uint64_t block = quotient / 64, start = block * 64 + *offset_of(f, block);
    unsigned runs = ones(*occupied_of(f, block) & low_bits((unsigned)(quotient % 64) + 1));

    return runs == 0 ? start : nth_end(f, start, runs) + 1;
}

static uint64_t run_start(const struct quotient_image *f, uint64_t quotient)
{
    uint64_t after;

    if (quotient % 64 == 0)
        return quotient + *offset_of(f, quotient / 64);
    after = after_runs(f, quotient - 1);
    return after > quotient ? after : quotient;
}

static uint64_t first_unused(const struct quotient_image *f, uint64_t slot)
{
    for (;;) {
        uint64_t after = after_runs(f, slot);

        if (after <= slot)
            return slot;
        slot = after;
    }
}

/* ---- making and closing gaps ---- */

/* Moves the slots from..to-1 of a block one up; `from` keeps what it has. */
static void block_shift_up(struct quotient_image *f, uint64_t block, unsigned from, unsigned to)
{
    uint64_t *words = block_at(f, block) + HEAD_WORDS, *ends = ends_of(f, block);
    uint64_t moved = low_bits(to + 1) & ~low_bits(from + 1);
    unsigned low = (from + 1) * f->r, high = (to + 1) * f->r; /* bits that change */

    *ends = (*ends & ~moved) | (*ends << 1 & moved);
    for (unsigned w = (high - 1) / 64 + 1; w-- > low / 64;) {
        uint64_t mask = UINT64_MAX, shifted = words[w] << f->r;

        if (w > 0)
            shifted |= words[w - 1] >> (64 - f->r);
        if (w == low / 64)
            mask &= ~low_bits(low % 64);
        if (w == (high - 1) / 64)
            mask &= low_bits((high - 1) % 64 + 1);
        words[w] = (words[w] & ~mask) | (shifted & mask);
    }
}

/* Moves the slots from..to-1 of a block one down, over from-1; to-1 keeps what it has. */
static void block_shift_down(struct quotient_image *f, uint64_t block, unsigned from, unsigned to)
{
    uint64_t *words = block_at(f, block) + HEAD_WORDS, *ends = ends_of(f, block);
    uint64_t moved = low_bits(to - 1) & ~low_bits(from - 1);
    unsigned low = (from - 1) * f->r, high = (to - 1) * f->r;

    *ends = (*ends & ~moved) | (*ends >> 1 & moved);
    for (unsigned w = low / 64; w <= (high - 1) / 64; w++) {
        uint64_t mask = UINT64_MAX, shifted = words[w] >> f->r;

        if (w + 1 < f->r)
            shifted |= words[w + 1] << (64 - f->r);
        if (w == low / 64)
            mask &= ~low_bits(low % 64);
        if (w == (high - 1) / 64)
            mask &= low_bits((high - 1) % 64 + 1);
        words[w] = (words[w] & ~mask) | (shifted & mask);
    }
}

static bool end_at(const struct quotient_image *f, uint64_t slot)
{
    return (*ends_of(f, slot / 64) >> (slot % 64) & 1) != 0;
}

/* Puts a value at `at`, within or right after the run of the quotient or where that
 * begins; `run_end` is the slot after the run. There is room. */
static void insert_slot(struct quotient_image *f, uint64_t quotient, uint64_t at, uint64_t run_end,
                        bool has_run, uint64_t value)
{
    uint64_t free_slot = first_unused(f, at), block = free_slot / 64;
    unsigned to = (unsigned)(free_slot % 64);

    CHECK(block < f->blocks);
    for (; block > at / 64; block--, to = 63) {
        uint64_t carried = slot_get(f, block * 64 - 1);
        bool carried_end = end_at(f, block * 64 - 1);

        if (to > 0)
            block_shift_up(f, block, 0, to);
        slot_set(f, block * 64, carried);
        set_end(f, block * 64, carried_end);
    }
    if (to > at % 64)
        block_shift_up(f, block, (unsigned)(at % 64), to);
    slot_set(f, at, value);
    set_end(f, at, !has_run || at == run_end);
    if (has_run && at == run_end)
        set_end(f, at - 1, false);
    *occupied_of(f, quotient / 64) |= UINT64_C(1) << (quotient % 64);
    for (uint64_t b = quotient / 64 + 1; b <= free_slot / 64; b++)
        ++*offset_of(f, b);
    f->used++;
}

/* The slot where moving down has to stop: it is free, or a run is at its own place there. */
static uint64_t chain_end(const struct quotient_image *f, uint64_t quotient, uint64_t run_end)
{
    for (uint64_t y = quotient + 1; y < run_end && y < f->slots;) {
        uint64_t rest = *occupied_of(f, y / 64) & ~low_bits((unsigned)(y % 64));

        if (rest == 0) {
            y = (y / 64 + 1) * 64;
            continue;
        }
        y = y / 64 * 64 + (unsigned)__builtin_ctzll(rest);
        if (y >= run_end)
            break;
        run_end = nth_end(f, run_end, 1) + 1;
        y++;
    }
    return run_end;
}

/* Takes the slot out of the run from run_first to run_end - 1. */
static void remove_slot(struct quotient_image *f, uint64_t quotient, uint64_t at, uint64_t run_first,
                        uint64_t run_end)
{
    uint64_t stop = chain_end(f, quotient, run_end), last = stop - 1;

    if (run_first + 1 == run_end)
        *occupied_of(f, quotient / 64) &= ~(UINT64_C(1) << (quotient % 64));
    else if (at + 1 == run_end)
        set_end(f, at - 1, true);
    for (uint64_t block = at / 64; block <= last / 64; block++) {
        unsigned from = block == at / 64 ? (unsigned)(at % 64) : 0;
        unsigned to = block == last / 64 ? (unsigned)(last % 64) : 63;
        bool more = block < last / 64;

        if (to > from)
            block_shift_down(f, block, from + 1, to + 1);
        slot_set(f, block * 64 + to, more ? slot_get(f, (block + 1) * 64) : 0);
        set_end(f, block * 64 + to, more && end_at(f, (block + 1) * 64));
    }
    for (uint64_t b = quotient / 64 + 1; b <= last / 64; b++)
        --*offset_of(f, b);
    f->used--;
}

/* ---- counts ---- */

static unsigned encode(uint64_t remainder, uint64_t count, uint64_t digits[DIGITS_MAX])
{
    unsigned len = 1;

    digits[0] = remainder;
    for (uint64_t n = count - 1; n > 0; n /= remainder + 1)
        digits[len++] = --n % (remainder + 1);
    return len;
}

static uint64_t decode(const struct quotient_image *f, uint64_t at, uint64_t end)
{
    uint64_t base = slot_get(f, at) + 1, n = 0;

    while (--end > at)
        n = n * base + slot_get(f, end) + 1;
    return n + 1;
}

static struct group find(const struct quotient_image *f, uint64_t quotient, uint64_t remainder)
{
    struct group g = {.at = run_start(f, quotient), .has_run = is_occupied(f, quotient)};

    g.end = g.run_end = g.at;
    if (!g.has_run)
        return g;
    g.run_end = nth_end(f, g.at, 1) + 1;
    while (g.at < g.run_end) {
        uint64_t value = slot_get(f, g.at);

        g.end = g.at;
        if (value > remainder)
            return g;
        do
            g.end++;
        while (g.end < g.run_end && slot_get(f, g.end) <= value);
        if (value == remainder) {
            g.count = decode(f, g.at, g.end);
            return g;
        }
        g.at = g.end;
    }
    return g;
}

/* Gives a group this count, from 0; there is room for the slots it takes. */
static void recount(struct quotient_image *f, uint64_t quotient, uint64_t remainder, struct group *g,
                    uint64_t count)
{
    uint64_t digits[DIGITS_MAX], len = g->end - g->at, first = len > 0 ? run_start(f, quotient) : 0;
    uint64_t want = count > 0 ? encode(remainder, count, digits) : 0;

    for (; len < want; len++) {
        insert_slot(f, quotient, g->at + len, g->run_end, g->has_run, 0);
        g->has_run = true;
        g->run_end++;
    }
    for (; len > want; len--) {
        remove_slot(f, quotient, g->at + len - 1, first, g->run_end);
        g->run_end--;
    }
    for (uint64_t i = 0; i < want; i++)
        slot_set(f, g->at + i, digits[i]);
}

/* ---- fingerprints ---- */

static uint64_t folded(uint64_t fingerprint, unsigned fold)
{
    return (fingerprint & low_bits(fold)) == 0 ? fingerprint | 1 : fingerprint;
}

static uint64_t fingerprint_of(const struct quotient_image *f, uint64_t hash)
{
    return folded(hash >> (64 - f->q - f->r), f->fold);
}

/* ---- as a whole ---- */

static uint64_t slots_max(const struct quotient_image *f)
{
    return (uint64_t)((double)f->slots * LOAD_MAX);
}

static unsigned quotient_bits_for(uint64_t capacity)
{
    unsigned q = QUOTIENT_BITS_MIN;

    while ((double)(UINT64_C(1) << q) * LOAD_MAX < (double)capacity)
        q++;
    return q;
}

/* Of which the lowest `fold` are never all zero: where they would be, two
 * fingerprints are one, and twice as likely to be asked for. */
static double rate_of(double distinct, unsigned bits, unsigned fold)
{
    return distinct * ldexp(1, -(int)bits) * (1 + ldexp(2, -(int)fold));
}

struct quotient_shape quotient_shape_for(uint64_t capacity, uint64_t most, double error)
{
    unsigned q = quotient_bits_for(capacity), q_most = quotient_bits_for(most);
    unsigned bits = q_most + REMAINDER_BITS_MIN;

    CHECK(capacity > 0 && capacity <= most && most <= QUOTIENT_CAPACITY_MAX);
    CHECK(error >= QUOTIENT_ERROR_MIN && error <= QUOTIENT_ERROR_MAX);
    while (bits < 64 && rate_of((double)most, bits, bits - q_most) > error)
        bits++;
    return (struct quotient_shape){.q = q, .r = bits - q, .fold = bits - q};
}

static uint64_t blocks_of(const struct quotient_shape *shape)
{
    uint64_t slots = UINT64_C(1) << shape->q;

    return slots / BLOCK_SLOTS + (uint64_t)(10 * sqrt((double)slots)) / BLOCK_SLOTS + 1 + SPARE_BLOCKS;
}

size_t quotient_image_size(const struct quotient_shape *shape)
{
    return sizeof(struct quotient_image) + blocks_of(shape) * (HEAD_WORDS + shape->r) * sizeof(uint64_t);
}

void quotient_image_make(struct quotient_image *f, const struct quotient_shape *shape)
{
    memset(f, 0, quotient_image_size(shape));
    f->kind = IMAGE_QUOTIENT;
    f->q = shape->q;
    f->r = shape->r;
    f->fold = shape->fold;
    f->slots = UINT64_C(1) << shape->q;
    f->blocks = blocks_of(shape);
}

bool quotient_image_reshaped(const struct quotient_image *f, unsigned q, unsigned fold,
                             struct quotient_shape *shape)
{
    unsigned r = f->q + f->r - q;

    if (q + REMAINDER_BITS_MIN > f->q + f->r)
        return false;
    *shape = (struct quotient_shape){.q = q, .r = r, .fold = r < fold ? r : fold};
    return true;
}

bool quotient_image_larger(const struct quotient_image *f, struct quotient_shape *shape)
{
    return quotient_image_reshaped(f, f->q + 1, f->fold, shape);
}

bool quotient_image_fitted(const struct quotient_image *f, uint64_t capacity, struct quotient_shape *shape)
{
    return quotient_image_reshaped(f, quotient_bits_for(capacity > f->used ? capacity : f->used), f->fold,
                                   shape);
}

void quotient_image_clear(struct quotient_image *f)
{
    memset(f->words, 0, f->blocks * (HEAD_WORDS + f->r) * sizeof(f->words[0]));
    f->used = f->distinct = f->total = 0;
}

/* ---- one key ---- */

static uint64_t added(uint64_t a, uint64_t b)
{
    return a + b < a ? UINT64_MAX : a + b;
}

static bool has_room(const struct quotient_image *f, uint64_t more)
{
    return f->used + more <= slots_max(f) && *offset_of(f, f->blocks - SPARE_BLOCKS) == 0;
}

enum quotient_status quotient_image_add(struct quotient_image *f, uint64_t hash, uint64_t count)
{
    uint64_t fingerprint = fingerprint_of(f, hash), quotient = fingerprint >> f->r;
    uint64_t digits[DIGITS_MAX], remainder = fingerprint & low_bits(f->r), sum, want, len;
    struct quotient_shape larger;
    struct group g;

    if (count == 0)
        return QUOTIENT_OK;
    g = find(f, quotient, remainder);
    sum = added(g.count, count);
    want = encode(remainder, sum, digits);
    len = g.end - g.at;
    if (want > len && !has_room(f, want - len))
        return quotient_image_larger(f, &larger) ? QUOTIENT_NO_MEMORY : QUOTIENT_FULL;
    f->changes++;
    f->distinct += g.count == 0;
    f->total = added(f->total, sum - g.count);
    recount(f, quotient, remainder, &g, sum);
    return QUOTIENT_OK;
}

uint64_t quotient_image_count(const struct quotient_image *f, uint64_t hash)
{
    uint64_t fingerprint = fingerprint_of(f, hash), quotient = fingerprint >> f->r;

    if (!is_occupied(f, quotient))
        return 0;
    return find(f, quotient, fingerprint & low_bits(f->r)).count;
}

uint64_t quotient_image_remove(struct quotient_image *f, uint64_t hash, uint64_t count)
{
    uint64_t fingerprint = fingerprint_of(f, hash), quotient = fingerprint >> f->r;
    uint64_t remainder = fingerprint & low_bits(f->r), before;
    struct group g = find(f, quotient, remainder);

    before = g.count;
    if (before == 0 || count == 0)
        return 0;
    if (count > before)
        count = before;
    f->changes++;
    recount(f, quotient, remainder, &g, before - count);
    f->distinct -= count == before;
    f->total -= count;
    return count;
}

/* ---- all of them ---- */

static void each_of_run(const struct quotient_image *f, uint64_t quotient, uint64_t from, uint64_t end,
                        void (*visit)(void *arg, uint64_t hash, uint64_t count), void *arg)
{
    while (from < end) {
        uint64_t remainder = slot_get(f, from), at = from;

        do
            from++;
        while (from < end && slot_get(f, from) <= remainder);
        visit(arg, (quotient << f->r | remainder) << (64 - f->q - f->r), decode(f, at, from));
    }
}

void quotient_image_each(const struct quotient_image *f,
                         void (*visit)(void *arg, uint64_t hash, uint64_t count), void *arg)
{
    uint64_t at = 0;

    for (uint64_t block = 0; block < f->slots / 64; block++)
        for (uint64_t left = *occupied_of(f, block); left != 0; left &= left - 1) {
            uint64_t quotient = block * 64 + (unsigned)__builtin_ctzll(left), end;

            at = at > quotient ? at : quotient;
            end = nth_end(f, at, 1) + 1;
            each_of_run(f, quotient, at, end, visit, arg);
            at = end;
        }
}

/* ---- all of them, into an empty one ---- */

/* They come in ascending order, so each run follows the last one, and nothing has to
 * be looked for or shifted. */
struct refill {
    struct quotient_image *to;
    uint64_t fingerprint, count; /* the last one, not written yet; count 0: there is none */
    uint64_t at;                 /* the slot after all runs */
    uint64_t run;                /* the quotient whose run that is */
    uint64_t blocks;             /* whose offsets are known */
    enum quotient_status status;
};

/* Of all blocks up to that of a quotient, whose run has not begun. */
static void set_offsets(struct refill *r, uint64_t blocks)
{
    for (; r->blocks < blocks; r->blocks++)
        *offset_of(r->to, r->blocks) = r->at > r->blocks * 64 ? r->at - r->blocks * 64 : 0;
}

static void write_last(struct refill *r)
{
    struct quotient_image *f = r->to;
    uint64_t quotient = r->fingerprint >> f->r, remainder = r->fingerprint & low_bits(f->r);
    uint64_t digits[DIGITS_MAX], slots;

    if (r->count == 0 || r->status != QUOTIENT_OK)
        return;
    slots = encode(remainder, r->count, digits);
    if (f->used > 0 && quotient == r->run) {
        set_end(f, r->at - 1, false);
    } else {
        set_offsets(r, quotient / 64 + 1);
        r->at = r->at > quotient ? r->at : quotient;
        *occupied_of(f, quotient / 64) |= UINT64_C(1) << (quotient % 64);
        r->run = quotient;
    }
    if (f->used + slots > slots_max(f) || r->at + slots > (f->blocks - SPARE_BLOCKS) * 64) {
        r->status = QUOTIENT_NO_MEMORY;
        return;
    }
    for (uint64_t i = 0; i < slots; i++)
        slot_set(f, r->at++, digits[i]);
    set_end(f, r->at - 1, true);
    f->used += slots;
    f->distinct++;
    f->total = added(f->total, r->count);
}

static void refill_one(void *arg, uint64_t hash, uint64_t count)
{
    struct refill *r = arg;
    uint64_t fingerprint = fingerprint_of(r->to, hash);

    if (r->count > 0 && r->fingerprint == fingerprint) { /* folding has made them one */
        r->count = added(r->count, count);
        return;
    }
    write_last(r);
    r->fingerprint = fingerprint;
    r->count = count;
}

enum quotient_status quotient_image_refill(struct quotient_image *to, const struct quotient_image *from)
{
    struct refill r = {.to = to};
    struct quotient_shape larger;

    CHECK(to->used == 0);
    quotient_image_each(from, refill_one, &r);
    write_last(&r);
    set_offsets(&r, to->blocks);
    if (r.status != QUOTIENT_OK && !quotient_image_larger(to, &larger))
        return QUOTIENT_FULL;
    return r.status;
}

/* ---- figures ---- */

uint64_t quotient_image_changes(const struct quotient_image *f)
{
    return f->changes;
}

uint64_t quotient_image_distinct(const struct quotient_image *f)
{
    return f->distinct;
}

uint64_t quotient_image_total(const struct quotient_image *f)
{
    return f->total;
}

uint64_t quotient_image_capacity(const struct quotient_image *f)
{
    return slots_max(f);
}

uint64_t quotient_image_used(const struct quotient_image *f)
{
    return f->used;
}

unsigned quotient_image_bits(const struct quotient_image *f)
{
    return f->q + f->r;
}

unsigned quotient_image_fold(const struct quotient_image *f)
{
    return f->fold;
}

unsigned quotient_image_split(const struct quotient_image *f)
{
    return f->q;
}

double quotient_image_rate(const struct quotient_image *f)
{
    return rate_of((double)f->distinct, f->q + f->r, f->fold);
}

size_t quotient_image_bytes(const struct quotient_image *f)
{
    return sizeof(*f) + f->blocks * (HEAD_WORDS + f->r) * sizeof(f->words[0]);
}

struct tally {
    const struct quotient_image *f;
    uint64_t distinct, total, last;
};

static void tally(void *arg, uint64_t hash, uint64_t count)
{
    struct tally *t = arg;

    CHECK(count > 0 && (t->distinct == 0 || hash > t->last));
    CHECK(fingerprint_of(t->f, hash) == hash >> (64 - t->f->q - t->f->r));
    t->last = hash;
    t->distinct++;
    t->total = added(t->total, count);
}

void quotient_image_check(const struct quotient_image *f)
{
    struct tally t = {.f = f};
    uint64_t at = 0, runs = 0, all_ends = 0, used = 0;

    CHECK(f->r >= REMAINDER_BITS_MIN && f->q + f->r <= 64 && f->fold <= f->r && f->used <= slots_max(f));
    for (uint64_t block = 0; block < f->blocks; block++) {
        CHECK(*offset_of(f, block) == (at > block * 64 ? at - block * 64 : 0));
        all_ends += ones(*ends_of(f, block));
        CHECK(block < f->slots / 64 || *occupied_of(f, block) == 0);
        for (uint64_t left = *occupied_of(f, block); left != 0; left &= left - 1, runs++) {
            uint64_t quotient = block * 64 + (unsigned)__builtin_ctzll(left), end;

            at = at > quotient ? at : quotient;
            CHECK(run_start(f, quotient) == at);
            end = nth_end(f, at, 1) + 1;
            CHECK(after_runs(f, quotient) == end && slot_get(f, at) > 0);
            used += end - at;
            at = end;
        }
    }
    CHECK(runs == all_ends && used == f->used);
    quotient_image_each(f, tally, &t);
    CHECK(t.distinct == f->distinct && (t.total == f->total || f->total == UINT64_MAX));
}
