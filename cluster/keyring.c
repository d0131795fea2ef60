#include "cluster/keyring.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(KEY_BYTES == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "");
_Static_assert(KEY_TEXT_MAX == sodium_base64_ENCODED_LEN(KEY_BYTES, sodium_base64_VARIANT_ORIGINAL), "");

struct key {
    uint32_t id;
    uint8_t bytes[KEY_BYTES];
};

struct keyring {
    struct key keys[KEYS_MAX]; /* [0] is in use */
    size_t count;
};

struct keyring *keyring_new(void)
{
    return sodium_init() < 0 ? NULL : calloc(1, sizeof(struct keyring));
}

void keyring_free(struct keyring **ring)
{
    if (*ring == NULL)
        return;
    sodium_memzero(*ring, sizeof **ring);
    free(*ring);
    *ring = NULL;
}

/* Says nothing about the key: a hash with a purpose of its own. */
static uint32_t id_of(const uint8_t key[KEY_BYTES])
{
    static const char purpose[] = "corral key id";
    uint8_t hash[crypto_generichash_BYTES_MIN];

    crypto_generichash(hash, sizeof hash, (const uint8_t *)purpose, sizeof purpose, key, KEY_BYTES);
    return (uint32_t)hash[0] << 24 | (uint32_t)hash[1] << 16 | (uint32_t)hash[2] << 8 | hash[3];
}

static size_t index_of(const struct keyring *ring, uint32_t id)
{
    size_t i = 0;

    while (i < ring->count && ring->keys[i].id != id)
        i++;
    return i;
}

enum keyring_answer keyring_install(struct keyring *ring, const uint8_t key[KEY_BYTES], uint32_t *id)
{
    size_t at = index_of(ring, *id = id_of(key));

    if (at < ring->count)
        return sodium_memcmp(ring->keys[at].bytes, key, KEY_BYTES) == 0 ? KEYRING_DONE : KEYRING_CLASH;
    if (ring->count == KEYS_MAX)
        return KEYRING_FULL;
    ring->keys[ring->count].id = *id;
    memcpy(ring->keys[ring->count++].bytes, key, KEY_BYTES);
    return KEYRING_DONE;
}

enum keyring_answer keyring_use(struct keyring *ring, uint32_t id)
{
    size_t at = index_of(ring, id);
    struct key first = ring->keys[0];

    if (at == ring->count)
        return KEYRING_UNKNOWN;
    ring->keys[0] = ring->keys[at];
    ring->keys[at] = first;
    sodium_memzero(&first, sizeof first);
    return KEYRING_DONE;
}

enum keyring_answer keyring_remove(struct keyring *ring, uint32_t id)
{
    size_t at = index_of(ring, id);

    if (at == ring->count)
        return KEYRING_UNKNOWN;
    if (at == 0)
        return KEYRING_IN_USE;
    ring->keys[at] = ring->keys[--ring->count];
    sodium_memzero(&ring->keys[ring->count], sizeof *ring->keys);
    return KEYRING_DONE;
}

size_t keyring_list(const struct keyring *ring, uint32_t ids[KEYS_MAX])
{
    for (size_t i = 0; i < ring->count; i++)
        ids[i] = ring->keys[i].id;
    return ring->count;
}

const uint8_t *keyring_find(const struct keyring *ring, uint32_t id)
{
    size_t at = index_of(ring, id);

    return at < ring->count ? ring->keys[at].bytes : NULL;
}

const uint8_t *keyring_current(const struct keyring *ring, uint32_t *id)
{
    if (ring->count == 0)
        return NULL;
    *id = ring->keys[0].id;
    return ring->keys[0].bytes;
}

bool key_parse(const char *text, uint8_t key[KEY_BYTES])
{
    const char *end;
    size_t len;

    return sodium_base642bin(key, KEY_BYTES, text, strlen(text), NULL, &len, &end,
                             sodium_base64_VARIANT_ORIGINAL) == 0 &&
           len == KEY_BYTES && *end == '\0';
}

void key_make(uint8_t key[KEY_BYTES])
{
    randombytes_buf(key, KEY_BYTES);
}

void key_print(const uint8_t key[KEY_BYTES], char text[KEY_TEXT_MAX])
{
    sodium_bin2base64(text, KEY_TEXT_MAX, key, KEY_BYTES, sodium_base64_VARIANT_ORIGINAL);
}
