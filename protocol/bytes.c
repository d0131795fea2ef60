/* bytes.c - numbers to text and back, without locale and without surprises. */
#include "protocol/bytes.h"

/* Digits only; false when empty, when a byte is not a digit, or above u64. */
static bool digits_to_u64(const uint8_t *p, size_t len, uint64_t *out)
{
    uint64_t v = 0;
    size_t i = 0;
    size_t safe = len < 19 ? len : 19; /* 19 digits always fit */

    if (len == 0)
        return false;
    for (; i < safe; i++) {
        uint8_t d = (uint8_t)(p[i] - '0');
        if (d > 9)
            return false;
        v = v * 10 + d;
    }
    for (; i < len; i++) {
        uint8_t d = (uint8_t)(p[i] - '0');
        if (d > 9 || __builtin_mul_overflow(v, (uint64_t)10, &v) ||
            __builtin_add_overflow(v, (uint64_t)d, &v))
            return false;
    }
    *out = v;
    return true;
}

bool slice_to_u64(struct slice s, uint64_t *out)
{
    return digits_to_u64(s.data, s.len, out);
}

int slice_compare(const void *a, const void *b)
{
    const struct slice *left = a, *right = b;
    size_t both = left->len < right->len ? left->len : right->len;
    int order = both > 0 ? memcmp(left->data, right->data, both) : 0;

    return order != 0 ? order : (left->len > right->len) - (left->len < right->len);
}

bool slice_to_i64(struct slice s, int64_t *out)
{
    const uint8_t *p = s.data;
    size_t len = s.len;
    bool negative = len > 0 && p[0] == '-';
    uint64_t v;

    if (negative) {
        p++;
        len--;
    }
    if (len == 0 || len > 19 || (p[0] == '0' && (len > 1 || negative)) || !digits_to_u64(p, len, &v))
        return false;
    if (v > (uint64_t)INT64_MAX + negative)
        return false;
    *out = (int64_t)(negative ? 0 - v : v);
    return true;
}

/* Two digits per division: half the divisions, and they are most of the cost. */
static const char pairs[200] = "00010203040506070809101112131415161718192021222324"
                               "25262728293031323334353637383940414243444546474849"
                               "50515253545556575859606162636465666768697071727374"
                               "75767778798081828384858687888990919293949596979899";

static size_t digits_of(uint64_t v)
{
    size_t n = 1;

    for (;;) {
        if (v < 10)
            return n;
        if (v < 100)
            return n + 1;
        if (v < 1000)
            return n + 2;
        if (v < 10000)
            return n + 3;
        v /= 10000;
        n += 4;
    }
}

size_t u64_to_text(uint8_t *to, uint64_t v)
{
    size_t len = digits_of(v);
    uint8_t *p = to + len;

    while (v >= 100) {
        p -= 2;
        memcpy(p, pairs + v % 100 * 2, 2);
        v /= 100;
    }
    if (v >= 10)
        memcpy(to, pairs + v * 2, 2);
    else
        to[0] = (uint8_t)('0' + v);
    return len;
}

size_t i64_to_text(uint8_t *to, int64_t v)
{
    if (v >= 0)
        return u64_to_text(to, (uint64_t)v);
    *to = '-';
    return 1 + u64_to_text(to + 1, 0 - (uint64_t)v);
}
