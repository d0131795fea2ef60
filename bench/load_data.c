/* load_data.c - keys and values from numbers. */
#include "bench/load_data.h"

#include <stdlib.h>

enum {
    WINDOWS = 1 << 14 /* different values; small enough that writing them stays in the L2 cache */
};

struct load_data {
    uint32_t keys;
    uint32_t key_size;
    uint32_t value_size;
    uint32_t digits; /* how many bytes at the key's end the number may need */
    uint8_t key[LOAD_KEY_SIZE_MAX];
    uint8_t text[]; /* WINDOWS + value_size bytes */
};

static uint32_t digits_of(uint32_t number)
{
    uint32_t digits = 1;

    while (number >= 10) {
        number /= 10;
        digits++;
    }
    return digits;
}

bool load_data_key_fits(uint32_t keys, uint32_t key_size)
{
    return key_size >= digits_of(keys > 0 ? keys - 1 : 0) && key_size <= LOAD_KEY_SIZE_MAX;
}

struct load_data *load_data_new(const char *prefix, uint32_t keys, uint32_t key_size, uint32_t value_size)
{
    size_t text_len = (size_t)WINDOWS + value_size;
    struct load_data *d = malloc(sizeof *d + text_len);
    uint64_t random = UINT64_C(0x9e3779b97f4a7c15);
    size_t prefix_len = strlen(prefix);

    if (d == NULL)
        return NULL;
    d->keys = keys;
    d->key_size = key_size;
    d->value_size = value_size;
    d->digits = digits_of(keys > 0 ? keys - 1 : 0);
    memset(d->key, '0', sizeof d->key);
    if (prefix_len > key_size - d->digits)
        prefix_len = key_size - d->digits;
    memcpy(d->key, prefix, prefix_len);
    /* Letters only: no value holds a line end by chance, and a dump is readable. */
    for (size_t i = 0; i < text_len; i++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        d->text[i] = (uint8_t)('a' + (random >> 33) % 26);
    }
    return d;
}

void load_data_free(struct load_data **d)
{
    free(*d);
    *d = NULL;
}

uint32_t load_data_key_size(const struct load_data *d)
{
    return d->key_size;
}

uint32_t load_data_value_size(const struct load_data *d)
{
    return d->value_size;
}

uint8_t *load_data_put_key(const struct load_data *d, uint32_t id, uint8_t *to)
{
    uint8_t *end = to + d->key_size;
    uint8_t *at = end;

    memcpy(to, d->key, d->key_size);
    do {
        *--at = (uint8_t)('0' + id % 10);
        id /= 10;
    } while (id > 0);
    return end;
}

bool load_data_id_of(const struct load_data *d, struct slice key, uint32_t *id)
{
    uint64_t number = 0;
    size_t fixed = d->key_size - d->digits;

    if (key.len != d->key_size || memcmp(key.data, d->key, fixed) != 0)
        return false;
    for (size_t i = fixed; i < key.len; i++) {
        if (key.data[i] < '0' || key.data[i] > '9')
            return false;
        number = number * 10 + (uint64_t)(key.data[i] - '0');
    }
    if (number >= d->keys)
        return false;
    *id = (uint32_t)number;
    return true;
}

const uint8_t *load_data_value(const struct load_data *d, uint32_t id)
{
    /* Neighbouring numbers land far apart, so a mix-up of two keys shows. */
    return d->text + ((id * UINT32_C(2654435769)) >> 18);
}
