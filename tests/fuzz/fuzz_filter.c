/* fuzz_filter.c - a Bloom filter from the network: whatever bytes it was loaded
 * from, asking it, adding to it, letting it grow and taking it apart again stays
 * within its image.
 *
 *   u16 length of the head | head | (u16 blocks of the part | part) ... */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/filter/bloom_image.h"

#define HOLDS(ok) ((ok) ? (void)0 : (fprintf(stderr, "line %d: %s does not hold\n", __LINE__, #ok), abort()))

enum { IMAGE_MAX = 1 << 20, BLOCK = 64, KEYS = 300 };

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len);

static size_t take_u16(const uint8_t **in, size_t *len)
{
    size_t n;

    if (*len < 2)
        return 0;
    n = (size_t)((*in)[0] | (*in)[1] << 8);
    *in += 2;
    *len -= 2;
    return n;
}

static struct bloom_image *grown(struct bloom_image *image)
{
    size_t size = bloom_image_grown_size(image);
    struct bloom_image *larger;

    if (size == 0 || size > IMAGE_MAX || (larger = malloc(size)) == NULL)
        return NULL;
    bloom_image_grow(larger, image);
    HOLDS(bloom_image_bytes(larger) == size);
    HOLDS(bloom_image_layers(larger) == bloom_image_layers(image) + 1);
    free(image);
    return larger;
}

static struct bloom_image *use(struct bloom_image *image)
{
    for (uint64_t key = 0; key < KEYS; key++) {
        uint64_t hash = key * UINT64_C(0x9E3779B97F4A7C15) ^ key << 60;
        enum bloom_added how = bloom_image_add(image, hash);

        if (how == BLOOM_NO_MEMORY) {
            struct bloom_image *larger = grown(image);

            if (larger == NULL)
                break;
            image = larger;
            how = bloom_image_add(image, hash);
            HOLDS(how != BLOOM_FULL);
        }
        HOLDS(how == BLOOM_FULL || how == BLOOM_NO_MEMORY || bloom_image_maybe(image, hash));
    }
    return image;
}

/* What was taken apart is put together to the same. */
static void travel(const struct bloom_image *image)
{
    uint64_t parts = bloom_image_parts(image), next;
    uint8_t head[BLOOM_HEAD_MAX];
    size_t head_len = bloom_image_head(image, head), size = bloom_image_sized(head, head_len);
    struct bloom_image *copy;

    HOLDS(size == bloom_image_bytes(image));
    copy = malloc(size);
    bloom_image_load(copy, head, head_len);
    for (uint64_t at = 0; at < parts;) {
        size_t len;
        const uint8_t *part = bloom_image_part(image, at, 1 << 12, &len);

        HOLDS(bloom_image_is_loading(copy, &next) && next == at);
        HOLDS(bloom_image_load_part(copy, part, len));
        at += len;
    }
    HOLDS(!bloom_image_is_loading(copy, &next));
    HOLDS(memcmp(copy, image, size) == 0);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len)
{
    size_t head_len = take_u16(&in, &len), size;
    struct bloom_image *image;
    uint64_t next;

    if (head_len > len || (size = bloom_image_sized(in, head_len)) == 0 || size > IMAGE_MAX)
        return 0;
    image = malloc(size);
    bloom_image_load(image, in, head_len);
    in += head_len;
    len -= head_len;
    HOLDS(bloom_image_maybe(image, 1)); /* nothing has been loaded: nothing is denied */
    while (len > 2) {
        size_t part = take_u16(&in, &len);

        part = part < len ? part : len;
        (void)bloom_image_load_part(image, in, part);
        in += part;
        len -= part;
    }
    if (!bloom_image_is_loading(image, &next)) {
        image = use(image);
        travel(image);
    }
    (void)bloom_image_rate(image);
    (void)bloom_image_capacity(image);
    free(image);
    return 0;
}
