/* out.h - replies on their way out: bytes, with pinned blobs between them.
 *
 * Short replies are copied into one growing buffer; a large value is a pin on
 * its blob at the place where it belongs. Failure to grow is remembered
 * (out_failed), swallowed until the batch ends, and then closes the
 * connection: a half-written reply must never be sent. */
#ifndef CORRAL_OUT_H
#define CORRAL_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "protocol/bytes.h"
#include "server/store/blob.h"

struct out_pin {
    size_t at; /* offset in data before which the blob's bytes go */
    struct blob *blob;
    struct slice bytes;
};

struct out {
    uint8_t *data;
    size_t len, cap;
    struct out_pin *pins;
    size_t pins_len, pins_cap;
    size_t pinned_bytes;
    size_t sent;  /* bytes already taken by out_advance(), blobs included */
    size_t limit; /* more bytes than this, blobs included, are a failure; 0: no limit */
    bool failed;
    bool over; /* that is why it failed */
};

/* At least n writable bytes; write, then out_commit() with the end. Never NULL for n <= 1 MiB: when memory is
 * short the bytes go nowhere. A larger n may give NULL, and failed is set. */
uint8_t *out_grow(struct out *out, size_t n); /* slow half of out_room() */
static inline uint8_t *out_room(struct out *out, size_t n)
{
    return out->cap - out->len >= n ? out->data + out->len : out_grow(out, n);
}
static inline void out_commit(struct out *out, const uint8_t *end)
{
    out->len = (size_t)(end - out->data);
}
void out_append(struct out *out, const void *data, size_t n);
/* Takes over the caller's pin. */
void out_blob(struct out *out, struct blob *blob, struct slice bytes);

/* For undoing an optimistic copy: no blobs may lie in between. */
static inline size_t out_mark(const struct out *out)
{
    return out->len;
}
static inline void out_rollback(struct out *out, size_t mark)
{
    if (mark < out->len) /* not so only after a failure, which emptied it */
        out->len = mark;
}
/* The same across blobs: `pins` is what out->pins_len was at the mark. Nothing past the mark may be sent yet.
 */
void out_cut(struct out *out, size_t mark, size_t pins);

/* Puts n bytes in at a mark, moving back what was written since, blobs included; a blob at the very mark
 * counts as since, so take no mark right behind one. */
void out_insert(struct out *out, size_t mark, const void *data, size_t n);

size_t out_pending(const struct out *out); /* bytes not yet sent, blobs included */
/* Fills up to max iovecs with what is pending; returns how many. */
int out_iovecs(const struct out *out, struct iovec *iov, int max);
/* n bytes went out: unpins blobs that are through. */
void out_advance(struct out *out, size_t n);
/* Empties it, unpinning; keeps the buffer if it is at most keep bytes. */
void out_clear(struct out *out, size_t keep);
/* Moves everything pending from one to the (empty or not) other. */
void out_move(struct out *to, struct out *from);
void out_free(struct out *out);

#endif
