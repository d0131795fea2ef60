#include "server/bits.h"

#include <endian.h>

#include "server/store/racy.h"

enum { WORD = 8 };

static uint64_t load_word(const uint8_t *from)
{
    uint64_t w;

    racy_read(&w, from, sizeof w);
    return w;
}

/* ---- counting ---- */

static uint64_t count_words_slowly(const uint8_t *bytes, size_t words)
{
    uint64_t n = 0;

    for (size_t i = 0; i < words; i++)
        n += (uint64_t)__builtin_popcountll(load_word(bytes + i * WORD));
    return n;
}

#if defined(__x86_64__)
/* The same with the instruction for it, which the oldest processors of this kind lack. */
__attribute__((target("popcnt"))) static uint64_t count_words_popcnt(const uint8_t *bytes, size_t words)
{
    uint64_t n = 0;

    for (size_t i = 0; i < words; i++)
        n += (uint64_t)__builtin_popcountll(load_word(bytes + i * WORD));
    return n;
}
#endif

static uint64_t count_words(const uint8_t *bytes, size_t words)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("popcnt"))
        return count_words_popcnt(bytes, words);
#endif
    return count_words_slowly(bytes, words);
}

static uint64_t count_in_byte(uint8_t byte)
{
    return (uint64_t)__builtin_popcount(byte);
}

/* A byte's bits before `bit`, and those after it. */
static uint8_t up_to(unsigned bit)
{
    return (uint8_t)(0xff00u >> bit);
}
static uint8_t beyond(unsigned bit)
{
    return (uint8_t)(0x7fu >> bit);
}

uint64_t bits_count(const uint8_t *bytes, uint64_t first, uint64_t last)
{
    size_t from = first / 8, to = last / 8 + 1;
    size_t words = (to - from) / WORD;
    uint64_t n = count_words(bytes + from, words);

    for (size_t i = from + words * WORD; i < to; i++)
        n += count_in_byte(racy_load8(bytes + i));
    n -= count_in_byte(racy_load8(bytes + from) & up_to(first % 8));
    n -= count_in_byte(racy_load8(bytes + to - 1) & beyond(last % 8));
    return n;
}

/* ---- finding ---- */

/* The first bit in n bytes that is set once they are flipped: all ones, to look for zeros. */
static int64_t find_in_bytes(const uint8_t *bytes, size_t n, uint64_t flip)
{
    size_t i = 0;

    for (; i + WORD <= n; i += WORD) {
        uint64_t w = load_word(bytes + i) ^ flip;
        if (w != 0)
            return (int64_t)(i * 8) + __builtin_clzll(be64toh(w));
    }
    for (; i < n; i++) {
        uint32_t byte = racy_load8(bytes + i) ^ (uint32_t)(flip & 0xff);
        if (byte != 0)
            return (int64_t)(i * 8) + __builtin_clz(byte << 24);
    }
    return -1;
}

int64_t bits_find(const uint8_t *bytes, uint64_t first, uint64_t last, bool set)
{
    uint64_t flip = set ? 0 : UINT64_MAX;
    size_t from = first / 8, to = last / 8 + 1;
    uint8_t head = (uint8_t)((racy_load8(bytes + from) ^ (uint8_t)flip) & ~up_to(first % 8));
    int64_t at;

    if (head != 0) {
        at = (int64_t)(from * 8) + __builtin_clz((uint32_t)head << 24);
    } else {
        at = find_in_bytes(bytes + from + 1, to - from - 1, flip);
        if (at >= 0)
            at += (int64_t)(from + 1) * 8;
    }
    return at <= (int64_t)last ? at : -1;
}

/* ---- combining ---- */

void bits_combine(enum bits_operation operation, uint8_t *into, const uint8_t *other, size_t n)
{
    switch (operation) {
    case BITS_AND:
        for (size_t i = 0; i < n; i++)
            into[i] &= other[i];
        return;
    case BITS_OR:
        for (size_t i = 0; i < n; i++)
            into[i] |= other[i];
        return;
    case BITS_XOR:
        for (size_t i = 0; i < n; i++)
            into[i] ^= other[i];
        return;
    }
}

void bits_invert(uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        bytes[i] = (uint8_t)~bytes[i];
}

/* ---- numbers ---- */

static uint64_t mask_of(unsigned width)
{
    return UINT64_MAX >> (64 - width);
}

uint64_t bits_load(const uint8_t *bytes, size_t len, uint64_t at, unsigned width)
{
    uint8_t window[WORD + 1] = {0}; /* as much as 64 bits can touch, wherever they begin */
    size_t from = at / 8, want = (at % 8 + width + 7) / 8;
    unsigned shift = at % 8;
    uint64_t high;

    if (from >= len)
        return 0;
    racy_read(window, bytes + from, want < len - from ? want : len - from);
    memcpy(&high, window, sizeof high);
    high = be64toh(high) << shift | (uint64_t)window[WORD] >> (8 - shift);
    return high >> (64 - width);
}

void bits_store(uint8_t *bytes, uint64_t at, unsigned width, uint64_t value)
{
    value &= mask_of(width);
    for (uint64_t end = at + width; end > at;) {
        unsigned below = 7 - (unsigned)((end - 1) % 8); /* bits of this byte after the number's */
        unsigned n = 8 - below;                         /* and how many are its own */
        if (n > end - at)
            n = (unsigned)(end - at);
        uint8_t mask = (uint8_t)(mask_of(n) << below);
        uint8_t *byte = bytes + (end - 1) / 8;
        *byte = (uint8_t)((*byte & ~mask) | (uint8_t)(value << below & mask));
        value >>= n;
        end -= n;
    }
}

int64_t bits_signed(uint64_t value, unsigned width)
{
    uint64_t sign = UINT64_C(1) << (width - 1);

    return (int64_t)(((value & mask_of(width)) ^ sign) - sign);
}
