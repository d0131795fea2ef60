/* bytes.h - a window over somebody else's memory. */
#ifndef CORRAL_BYTES_H
#define CORRAL_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Looks, never owns. data may be NULL only when len is 0. */
struct slice {
    const uint8_t *data;
    size_t len;
};

static inline struct slice slice_of(const char *text)
{
    return (struct slice){(const uint8_t *)text, strlen(text)};
}
static inline bool slice_equals(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}
static inline bool slice_begins_with(struct slice s, struct slice prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.data, prefix.data, prefix.len) == 0);
}
/* For qsort() of slices: by their bytes, and of two that begin alike the shorter first. */
int slice_compare(const void *a, const void *b);
/* ASCII letters compare without case; `text` must be lower case. */
static inline bool slice_is(struct slice s, const char *text)
{
    size_t i;

    for (i = 0; i < s.len; i++) {
        uint8_t c = s.data[i];
        if (c >= 'A' && c <= 'Z')
            c = (uint8_t)(c | 0x20);
        if (text[i] == '\0' || c != (uint8_t)text[i])
            return false;
    }
    return text[i] == '\0';
}

/* Decimal text to integer: the whole slice, no blanks, no leading '+'; as
 * strict as redis's string2ll ("-0", "01" and "" are refused). False when it
 * is not such a number or does not fit. */
bool slice_to_i64(struct slice s, int64_t *out);
/* As memcached's safe_strtoull sees a token: digits only; leading zeros allowed. */
bool slice_to_u64(struct slice s, uint64_t *out);
/* Writes v in decimal, returns the number of bytes (at most 20). No NUL. */
size_t u64_to_text(uint8_t *to, uint64_t v);
size_t i64_to_text(uint8_t *to, int64_t v); /* at most 20 */

#endif
