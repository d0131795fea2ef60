#include "server/cluster/secrets.h"

#include <errno.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/check.h"

enum { FILE_LINE_MAX = 1024 };

struct secrets {
    struct keyring *ring;
    pthread_mutex_t lock; /* around changes of the ring, and looks of other threads */
};

struct secrets *secrets_new(void)
{
    struct secrets *s = calloc(1, sizeof *s);

    if (s == NULL || (s->ring = keyring_new()) == NULL) {
        free(s);
        return NULL;
    }
    pthread_mutex_init(&s->lock, NULL);
    return s;
}

void secrets_free(struct secrets **secrets)
{
    struct secrets *s = *secrets;

    *secrets = NULL;
    if (s == NULL)
        return;
    keyring_free(&s->ring);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

const struct keyring *secrets_ring(const struct secrets *secrets)
{
    return secrets->ring;
}

void secrets_current(struct secrets *s, uint32_t *id, uint8_t key[KEY_BYTES])
{
    const uint8_t *bytes;

    pthread_mutex_lock(&s->lock);
    bytes = keyring_current(s->ring, id);
    CHECK(bytes != NULL);
    memcpy(key, bytes, KEY_BYTES);
    pthread_mutex_unlock(&s->lock);
}

bool secrets_find(struct secrets *s, uint32_t id, uint8_t key[KEY_BYTES])
{
    const uint8_t *bytes;

    pthread_mutex_lock(&s->lock);
    if ((bytes = keyring_find(s->ring, id)) != NULL)
        memcpy(key, bytes, KEY_BYTES);
    pthread_mutex_unlock(&s->lock);
    return bytes != NULL;
}

/* ---- from a name ---- */

static void hash_name(const char *purpose, const char *name, uint8_t *out, size_t len)
{
    crypto_generichash(out, len, (const uint8_t *)name, strlen(name), (const uint8_t *)purpose,
                       strlen(purpose));
}

struct cluster_identity secrets_identity(const char *cluster_name)
{
    struct cluster_identity identity = {.generation = 1};

    hash_name("corral cluster identity", cluster_name, identity.id, sizeof identity.id);
    return identity;
}

void secrets_derive(struct secrets *s, const char *cluster_name)
{
    uint8_t key[KEY_BYTES];
    uint32_t id;

    hash_name("corral loopback secret", cluster_name, key, sizeof key);
    pthread_mutex_lock(&s->lock);
    CHECK(keyring_install(s->ring, key, &id) == KEYRING_DONE);
    pthread_mutex_unlock(&s->lock);
}

/* ---- from a file ---- */

struct keys {
    uint8_t bytes[KEYS_MAX][KEY_BYTES];
    size_t count;
};

/* The word of a line, without what is around it; empty for lines that say nothing. */
static char *trimmed(char *line)
{
    static const char blanks[] = " \t\r\n";
    char *end;

    line += strspn(line, blanks);
    if (*line == '#')
        *line = '\0';
    end = line + strlen(line);
    while (end > line && strchr(blanks, end[-1]) != NULL)
        end--;
    *end = '\0';
    return line;
}

static bool read_keys(FILE *file, struct keys *keys, char *err, size_t err_len)
{
    char line[FILE_LINE_MAX];

    for (unsigned number = 1; fgets(line, sizeof line, file) != NULL; number++) {
        const char *word = trimmed(line);

        if (*word == '\0')
            continue;
        if (keys->count == KEYS_MAX) {
            snprintf(err, err_len, "more than %d keys: take out those that are not used any more", KEYS_MAX);
            return false;
        }
        if (!key_parse(word, keys->bytes[keys->count])) {
            snprintf(err, err_len, "line %u is no key: make one with corral keygen", number);
            return false;
        }
        keys->count++;
    }
    sodium_memzero(line, sizeof line);
    if (ferror(file)) {
        snprintf(err, err_len, "%s", strerror(errno));
        return false;
    }
    if (keys->count == 0)
        snprintf(err, err_len, "no key in it: make one with corral keygen");
    return keys->count > 0;
}

/* Takes away what the file has no more, but not the key in use. */
static void forget_others(struct keyring *ring, const uint32_t *ids, size_t count)
{
    uint32_t had[KEYS_MAX];
    size_t had_count = keyring_list(ring, had);

    for (size_t i = 1; i < had_count; i++) {
        bool stays = false;

        for (size_t k = 0; k < count; k++)
            stays |= ids[k] == had[i];
        if (!stays)
            keyring_remove(ring, had[i]);
    }
}

/* The ids that the keys will have. False when two, or one of them and one of the ring, would have the same.
 */
static bool ids_of(const struct keyring *ring, const struct keys *keys, uint32_t ids[KEYS_MAX])
{
    struct keyring *dry = keyring_new();
    bool ok = dry != NULL;

    for (size_t i = 0; ok && i < keys->count; i++) {
        const uint8_t *there;

        ok = keyring_install(dry, keys->bytes[i], &ids[i]) == KEYRING_DONE &&
             ((there = keyring_find(ring, ids[i])) == NULL ||
              sodium_memcmp(there, keys->bytes[i], KEY_BYTES) == 0);
    }
    keyring_free(&dry);
    return ok;
}

/* At every step the ring has room for one more, and there is a key in use. */
static void install(struct keyring *ring, const struct keys *keys, const uint32_t *ids)
{
    uint32_t id;

    forget_others(ring, ids, keys->count);
    if (keyring_find(ring, ids[0]) == NULL && keyring_list(ring, (uint32_t[KEYS_MAX]){0}) == KEYS_MAX)
        forget_others(ring, ids, 0); /* those that stay come back below */
    CHECK(keyring_install(ring, keys->bytes[0], &id) == KEYRING_DONE);
    CHECK(keyring_use(ring, id) == KEYRING_DONE);
    forget_others(ring, ids, keys->count);
    for (size_t i = 1; i < keys->count; i++)
        CHECK(keyring_install(ring, keys->bytes[i], &id) == KEYRING_DONE);
}

bool secrets_load(struct secrets *s, const char *path, char *err, size_t err_len)
{
    FILE *file = fopen(path, "re");
    struct keys keys = {.count = 0};
    uint32_t ids[KEYS_MAX];
    bool ok;

    if (file == NULL) {
        snprintf(err, err_len, "%s", strerror(errno));
        return false;
    }
    ok = read_keys(file, &keys, err, err_len);
    fclose(file);
    if (ok && !(ok = ids_of(s->ring, &keys, ids)))
        snprintf(err, err_len, "two of its keys have the same id: make others with corral keygen");
    if (ok) {
        pthread_mutex_lock(&s->lock);
        install(s->ring, &keys, ids);
        pthread_mutex_unlock(&s->lock);
    }
    sodium_memzero(&keys, sizeof keys);
    return ok;
}
