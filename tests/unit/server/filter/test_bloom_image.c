/* test_bloom_image.c - Bloom filters as bytes: growing, travelling, and what is no filter.
 * fuzz_filter.c says more of the last. */
#include "server/filter/bloom_image.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static uint64_t hash_of(uint64_t key)
{
    uint64_t x = (key + 1) * UINT64_C(0x9E3779B97F4A7C15);

    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}

static struct bloom_image *image_new(uint64_t capacity, double error, unsigned expansion)
{
    struct bloom_image *b = malloc(bloom_image_size(capacity, error, expansion));

    bloom_image_make(b, capacity, error, expansion);
    return b;
}

/* Adds keys from..to - 1, growing as needed. */
static struct bloom_image *filled(struct bloom_image *b, uint64_t from, uint64_t to)
{
    for (uint64_t key = from; key < to; key++)
        while (bloom_image_add(b, hash_of(key)) == BLOOM_NO_MEMORY) {
            struct bloom_image *larger = malloc(bloom_image_grown_size(b));

            bloom_image_grow(larger, b);
            free(b);
            b = larger;
        }
    return b;
}

static void an_image_is_the_same_anywhere(void **state)
{
    struct bloom_image *b = filled(image_new(100, .01, 2), 0, 1000), *copy;

    (void)state;
    bloom_image_check(b);
    assert_int_equal(image_kind(b), IMAGE_BLOOM);
    assert_true(bloom_image_layers(b) == 4);
    copy = malloc(bloom_image_bytes(b));
    memcpy(copy, b, bloom_image_bytes(b));
    free(b);
    bloom_image_check(copy);
    for (uint64_t key = 0; key < 1000; key++)
        assert_true(bloom_image_maybe(copy, hash_of(key)));
    free(filled(copy, 1000, 3000));
}

/* In parts of any size; until the last is in, nothing is denied and nothing is taken. */
static void it_travels_in_parts(void **state)
{
    struct bloom_image *b = filled(image_new(50, .001, 3), 0, 5000), *copy;
    size_t sizes[] = {64, 128, 4096, 1 << 20};
    uint8_t head[BLOOM_HEAD_MAX];
    uint64_t next;

    (void)state;
    for (unsigned s = 0; s < 4; s++) {
        size_t head_len = bloom_image_head(b, head), size = bloom_image_sized(head, head_len), len;

        assert_int_equal(size, bloom_image_bytes(b));
        copy = malloc(size);
        bloom_image_load(copy, head, head_len);
        while (bloom_image_is_loading(copy, &next)) {
            const uint8_t *part = bloom_image_part(b, next, sizes[s], &len);

            assert_true(bloom_image_maybe(copy, hash_of(UINT64_C(1) << 40)));
            assert_true(bloom_image_add(copy, hash_of(UINT64_C(1) << 40)) == BLOOM_KNOWN);
            assert_true(len > 0 && len <= sizes[s]);
            assert_false(bloom_image_load_part(copy, part, len - 1));
            assert_false(bloom_image_load_part(copy, part, 0));
            assert_true(bloom_image_load_part(copy, part, len));
        }
        assert_int_equal(next, bloom_image_parts(b));
        assert_false(bloom_image_load_part(copy, head, 64));
        assert_memory_equal(copy, b, size);
        free(copy);
    }
    free(b);
}

static void a_part_stays_within_its_layer(void **state)
{
    struct bloom_image *b = filled(image_new(100, .01, 1), 0, 250), *copy;
    uint8_t head[BLOOM_HEAD_MAX], *bytes = calloc(1, bloom_image_bytes(b));
    size_t head_len = bloom_image_head(b, head), first;

    (void)state;
    copy = malloc(bloom_image_bytes(b));
    bloom_image_load(copy, head, head_len);
    (void)bloom_image_part(b, 0, SIZE_MAX, &first);
    assert_true(first < bloom_image_parts(b));
    assert_false(bloom_image_load_part(copy, bytes, first + 64));
    assert_true(bloom_image_load_part(copy, bytes, first));
    free(bytes);
    free(copy);
    free(b);
}

/* Every byte of a head changed by itself: it is refused, or what it makes is a filter. */
static void other_bytes_are_no_head(void **state)
{
    struct bloom_image *b = filled(image_new(100, .01, 2), 0, 500);
    uint8_t head[BLOOM_HEAD_MAX];
    size_t len = bloom_image_head(b, head), refused = 0;

    (void)state;
    assert_int_equal(bloom_image_sized(head, 0), 0);
    assert_int_equal(bloom_image_sized(head, len - 1), 0);
    assert_int_equal(bloom_image_sized(head, len - 64), 0);
    for (size_t i = 0; i < len; i++)
        for (unsigned bit = 0; bit < 8; bit++) {
            size_t size;

            head[i] = (uint8_t)(head[i] ^ 1u << bit);
            size = bloom_image_sized(head, len);
            refused += size == 0;
            if (size > 0 && size < 1 << 20) {
                struct bloom_image *copy = malloc(size);

                bloom_image_load(copy, head, len);
                assert_true(bloom_image_maybe(copy, 1));
                free(copy);
            }
            head[i] = (uint8_t)(head[i] ^ 1u << bit);
        }
    assert_true(refused > len * 8 / 3); /* the rest is rate and padding */
    free(b);
}

/* Seeds for tests/fuzz/corpus/filter: test_bloom_image --seeds DIRECTORY */
static void write_seed(const char *directory, const char *name, const struct bloom_image *b, size_t most)
{
    uint8_t head[BLOOM_HEAD_MAX];
    size_t head_len = bloom_image_head(b, head), len;
    char path[512];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", directory, name);
    if ((f = fopen(path, "wb")) == NULL)
        return;
    fputc((int)(head_len & 255), f);
    fputc((int)(head_len >> 8), f);
    fwrite(head, 1, head_len, f);
    for (uint64_t at = 0; at < bloom_image_parts(b); at += len) {
        const uint8_t *part = bloom_image_part(b, at, most, &len);

        fputc((int)(len & 255), f);
        fputc((int)(len >> 8), f);
        fwrite(part, 1, len, f);
    }
    fclose(f);
}

static int write_seeds(const char *directory)
{
    struct bloom_image *small = filled(image_new(3, .1, 2), 0, 5),
                       *fixed = filled(image_new(20, .01, 0), 0, 20),
                       *tall = filled(image_new(2, .05, 1), 0, 20);

    write_seed(directory, "small", small, 64);
    write_seed(directory, "fixed", fixed, 128);
    write_seed(directory, "tall", tall, 64);
    free(small);
    free(fixed);
    free(tall);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_image_is_the_same_anywhere),
        cmocka_unit_test(it_travels_in_parts),
        cmocka_unit_test(a_part_stays_within_its_layer),
        cmocka_unit_test(other_bytes_are_no_head),
    };

    if (argc > 2 && strcmp(argv[1], "--seeds") == 0)
        return write_seeds(argv[2]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
