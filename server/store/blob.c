#include "server/store/blob.h"

#include <stdlib.h>

#include "server/check.h"

/* Alone on its line: large values come and go on every worker. */
static _Alignas(64) _Atomic uint64_t bytes_alive;

static void account(size_t more, size_t less)
{
    atomic_fetch_add_explicit(&bytes_alive, (uint64_t)more - (uint64_t)less, memory_order_relaxed);
}

struct blob *blob_new(size_t capacity)
{
    struct blob *blob;

    if (capacity > SIZE_MAX - sizeof *blob)
        return NULL;
    if ((blob = malloc(sizeof *blob + capacity)) == NULL)
        return NULL;
    atomic_init(&blob->pins, 1);
    blob->capacity = capacity;
    account(sizeof *blob + capacity, 0);
    return blob;
}

void blob_pin(struct blob *blob)
{
    uint32_t before = atomic_fetch_add_explicit(&blob->pins, 1, memory_order_relaxed);

    CHECK(before > 0 && before < UINT32_MAX);
}

void blob_unpin(struct blob **blob)
{
    struct blob *b = *blob;

    *blob = NULL;
    if (b == NULL)
        return;
    /* Release pairs with the acquire of whoever lets go last: everything others
     * did with the bytes has happened before they are freed. */
    if (atomic_fetch_sub_explicit(&b->pins, 1, memory_order_acq_rel) != 1)
        return;
    account(0, sizeof *b + b->capacity);
    free(b);
}

struct blob *blob_grow(struct blob *blob, size_t capacity)
{
    size_t before = blob->capacity;
    struct blob *grown;

    CHECK(atomic_load_explicit(&blob->pins, memory_order_relaxed) == 1);
    if (capacity <= before)
        return blob;
    if (capacity > SIZE_MAX - sizeof *blob || (grown = realloc(blob, sizeof *blob + capacity)) == NULL)
        return NULL;
    grown->capacity = capacity;
    account(capacity, before);
    return grown;
}

uint64_t blob_bytes_total(void)
{
    return atomic_load_explicit(&bytes_alive, memory_order_relaxed);
}
