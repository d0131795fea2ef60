/* blob.h - a large value: reference-counted memory outside the log.
 *
 * A value too large for a segment lives in a blob of its own. It may be the
 * very buffer its bytes were received into, and it is sent from where it
 * lies, so a 64 MiB value is copied by the kernel only. */
#ifndef CORRAL_BLOB_H
#define CORRAL_BLOB_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct blob {
    _Atomic uint32_t pins;
    size_t capacity; /* bytes at data */
    uint8_t data[];
};

/* One pin, held by the caller. NULL when memory is short. Contents undefined. */
struct blob *blob_new(size_t capacity);
/* Another pin; may be called by any thread that knows somebody holds one. */
void blob_pin(struct blob *blob);
/* Gives a pin back and forgets the pointer; the last one frees. Copes with NULL. */
void blob_unpin(struct blob **blob);
/* Whether the caller's pin is the only one, and everything that others did with
 * the bytes is over. Stays so only while nobody can find the blob to pin it. */
bool blob_is_sole(const struct blob *blob);
/* Enlarges a blob that only the caller has pinned; NULL (and *blob unharmed) when memory is short. */
struct blob *blob_grow(struct blob *blob, size_t capacity);
/* Heap bytes of all blobs alive in the process. */
uint64_t blob_bytes_total(void);
/* What the allocator set aside for them beyond that by rounding up: address space that nobody touches. */
uint64_t blob_bytes_rounding(void);

#endif
