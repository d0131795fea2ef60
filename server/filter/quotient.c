/* quotient.c - an image in memory of its own, that grows. */
#include "server/filter/quotient.h"

#include <stdlib.h>
#include <string.h>

#include "server/check.h"
#include "server/filter/quotient_image.h"

struct quotient {
    struct quotient_image *image;
};

static struct quotient_image *image_new(const struct quotient_shape *shape)
{
    struct quotient_image *image = malloc(quotient_image_size(shape));

    if (image != NULL)
        quotient_image_make(image, shape);
    return image;
}

static struct quotient *holding(struct quotient_image *image)
{
    struct quotient *f = image != NULL ? malloc(sizeof(*f)) : NULL;

    if (f == NULL)
        free(image);
    else
        f->image = image;
    return f;
}

struct quotient *quotient_new(uint64_t capacity, uint64_t most, double error)
{
    struct quotient_shape shape = quotient_shape_for(capacity, most, error);

    return holding(image_new(&shape));
}

struct quotient *quotient_copy(const struct quotient_image *from)
{
    struct quotient_image *image = malloc(quotient_image_bytes(from));

    if (image != NULL)
        memcpy(image, from, quotient_image_bytes(from));
    return holding(image);
}

const struct quotient_image *quotient_image_of(const struct quotient *f)
{
    return f->image;
}

void quotient_free(struct quotient **fp)
{
    if (*fp == NULL)
        return;
    free((*fp)->image);
    free(*fp);
    *fp = NULL;
}

void quotient_clear(struct quotient *f)
{
    quotient_image_clear(f->image);
}

static enum quotient_status rebuild(struct quotient *f, const struct quotient_shape *shape)
{
    struct quotient_image *next = image_new(shape);
    enum quotient_status status;

    if (next == NULL)
        return QUOTIENT_NO_MEMORY;
    status = quotient_image_refill(next, f->image);
    if (status != QUOTIENT_OK) {
        free(next);
        return status;
    }
    free(f->image);
    f->image = next;
    return QUOTIENT_OK;
}

enum quotient_status quotient_fit(struct quotient *f, uint64_t capacity)
{
    struct quotient_shape shape;

    if (!quotient_image_fitted(f->image, capacity, &shape))
        return QUOTIENT_FULL;
    return shape.q == quotient_image_split(f->image) ? QUOTIENT_OK : rebuild(f, &shape);
}

enum quotient_status quotient_add(struct quotient *f, uint64_t hash, uint64_t count)
{
    struct quotient_shape larger;

    for (;;) {
        enum quotient_status status = quotient_image_add(f->image, hash, count);

        if (status != QUOTIENT_NO_MEMORY)
            return status;
        CHECK(quotient_image_larger(f->image, &larger));
        if ((status = rebuild(f, &larger)) != QUOTIENT_OK)
            return status;
    }
}

struct carrying {
    struct quotient *to;
    enum quotient_status status;
};

static void carry(void *arg, uint64_t hash, uint64_t count)
{
    struct carrying *c = arg;

    if (c->status == QUOTIENT_OK)
        c->status = quotient_add(c->to, hash, count);
}

enum quotient_status quotient_merge_image(struct quotient *into, const struct quotient_image *from)
{
    unsigned bits = quotient_image_bits(into->image), fold = quotient_image_fold(from);
    struct carrying c = {.to = into};
    struct quotient_shape shape;

    CHECK(into->image != from && quotient_image_bits(from) >= bits);
    if (quotient_image_bits(from) == bits && fold < quotient_image_fold(into->image)) {
        CHECK(quotient_image_reshaped(into->image, quotient_image_split(into->image), fold, &shape));
        c.status = rebuild(into, &shape);
    }
    if (c.status == QUOTIENT_OK)
        quotient_image_each(from, carry, &c);
    return c.status;
}

enum quotient_status quotient_merge(struct quotient *into, const struct quotient *from)
{
    return quotient_merge_image(into, from->image);
}

uint64_t quotient_count(const struct quotient *f, uint64_t hash)
{
    return quotient_image_count(f->image, hash);
}

uint64_t quotient_remove(struct quotient *f, uint64_t hash, uint64_t count)
{
    return quotient_image_remove(f->image, hash, count);
}

void quotient_each(const struct quotient *f, void (*visit)(void *arg, uint64_t hash, uint64_t count),
                   void *arg)
{
    quotient_image_each(f->image, visit, arg);
}

uint64_t quotient_distinct(const struct quotient *f)
{
    return quotient_image_distinct(f->image);
}

uint64_t quotient_total(const struct quotient *f)
{
    return quotient_image_total(f->image);
}

uint64_t quotient_capacity(const struct quotient *f)
{
    return quotient_image_capacity(f->image);
}

uint64_t quotient_used(const struct quotient *f)
{
    return quotient_image_used(f->image);
}

unsigned quotient_bits(const struct quotient *f)
{
    return quotient_image_bits(f->image);
}

double quotient_rate(const struct quotient *f)
{
    return quotient_image_rate(f->image);
}

size_t quotient_bytes(const struct quotient *f)
{
    return sizeof(*f) + quotient_image_bytes(f->image);
}

void quotient_check(const struct quotient *f)
{
    quotient_image_check(f->image);
}
