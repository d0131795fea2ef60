/* bloom.c - an image in memory of its own. */
#include "server/filter/bloom.h"

#include <stdlib.h>

#include "server/filter/bloom_image.h"

enum { LINE = 64, BEFORE = 16 }; /* so that blocks lie on cache lines: see bloom_image.h */

struct bloom {
    uint8_t *memory;
    struct bloom_image *image;
};

static struct bloom_image *image_at(uint8_t *memory)
{
    return (struct bloom_image *)(void *)(memory + BEFORE);
}

static uint8_t *memory_for(size_t bytes)
{
    return bytes > 0 ? aligned_alloc(LINE, (BEFORE + bytes + LINE - 1) / LINE * LINE) : NULL;
}

struct bloom *bloom_new(uint64_t capacity, double error, unsigned expansion)
{
    struct bloom *b = calloc(1, sizeof(*b));

    if (b == NULL)
        return NULL;
    if ((b->memory = memory_for(bloom_image_size(capacity, error, expansion))) == NULL) {
        bloom_free(&b);
        return NULL;
    }
    b->image = image_at(b->memory);
    bloom_image_make(b->image, capacity, error, expansion);
    return b;
}

void bloom_free(struct bloom **bp)
{
    if (*bp == NULL)
        return;
    free((*bp)->memory);
    free(*bp);
    *bp = NULL;
}

bool bloom_maybe(const struct bloom *b, uint64_t hash)
{
    return bloom_image_maybe(b->image, hash);
}

static bool grow(struct bloom *b)
{
    uint8_t *memory = memory_for(bloom_image_grown_size(b->image));

    if (memory == NULL)
        return false;
    bloom_image_grow(image_at(memory), b->image);
    free(b->memory);
    b->memory = memory;
    b->image = image_at(memory);
    return true;
}

enum bloom_added bloom_add(struct bloom *b, uint64_t hash)
{
    enum bloom_added how = bloom_image_add(b->image, hash);

    return how == BLOOM_NO_MEMORY && grow(b) ? bloom_image_add(b->image, hash) : how;
}

void bloom_clear(struct bloom *b)
{
    bloom_image_clear(b->image);
}

uint64_t bloom_items(const struct bloom *b)
{
    return bloom_image_items(b->image);
}

uint64_t bloom_capacity(const struct bloom *b)
{
    return bloom_image_capacity(b->image);
}

unsigned bloom_layers(const struct bloom *b)
{
    return bloom_image_layers(b->image);
}

unsigned bloom_expansion(const struct bloom *b)
{
    return bloom_image_expansion(b->image);
}

double bloom_error(const struct bloom *b)
{
    return bloom_image_error(b->image);
}

size_t bloom_bytes(const struct bloom *b)
{
    return sizeof(*b) + bloom_image_bytes(b->image);
}

double bloom_rate(const struct bloom *b)
{
    return bloom_image_rate(b->image);
}

void bloom_check(const struct bloom *b)
{
    bloom_image_check(b->image);
}
