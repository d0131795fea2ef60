#include "server/store/blob.h"

#include <malloc.h>
#include <stdlib.h>

#include "server/check.h"

/* Alone on its line: large values come and go on every worker. */
static _Alignas(64) _Atomic uint64_t bytes_alive;
static _Atomic uint64_t bytes_rounding;

/* Size classes lie up to a fifth apart. */
static size_t rounding(struct blob *blob)
{
    return malloc_usable_size(blob) - sizeof *blob - blob->capacity;
}

static void account_new(struct blob *blob)
{
    atomic_fetch_add_explicit(&bytes_alive, sizeof *blob + blob->capacity, memory_order_relaxed);
    atomic_fetch_add_explicit(&bytes_rounding, rounding(blob), memory_order_relaxed);
}

static void account_gone(struct blob *blob)
{
    atomic_fetch_sub_explicit(&bytes_alive, sizeof *blob + blob->capacity, memory_order_relaxed);
    atomic_fetch_sub_explicit(&bytes_rounding, rounding(blob), memory_order_relaxed);
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
    account_new(blob);
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
    account_gone(b);
    free(b);
}

bool blob_is_sole(const struct blob *blob)
{
    return atomic_load_explicit(&blob->pins, memory_order_acquire) == 1; /* pairs with blob_unpin() */
}

struct blob *blob_grow(struct blob *blob, size_t capacity)
{
    struct blob *grown;

    CHECK(atomic_load_explicit(&blob->pins, memory_order_relaxed) == 1);
    if (capacity <= blob->capacity)
        return blob;
    if (capacity > SIZE_MAX - sizeof *blob)
        return NULL;
    account_gone(blob);
    if ((grown = realloc(blob, sizeof *blob + capacity)) == NULL) {
        account_new(blob);
        return NULL;
    }
    grown->capacity = capacity;
    account_new(grown);
    return grown;
}

uint64_t blob_bytes_total(void)
{
    return atomic_load_explicit(&bytes_alive, memory_order_relaxed);
}

uint64_t blob_bytes_rounding(void)
{
    return atomic_load_explicit(&bytes_rounding, memory_order_relaxed);
}
