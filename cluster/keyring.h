/* keyring.h - the secrets of a cluster, and how they are changed while it runs.
 *
 * All keys in the ring are accepted, one is used. A new key is installed
 * everywhere, then used everywhere, then the old one removed: at no step are
 * there two nodes that cannot hear each other. Frames name the key by its id,
 * so nobody has to try. */
#ifndef CORRAL_KEYRING_H
#define CORRAL_KEYRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { KEY_BYTES = 32, KEYS_MAX = 8, KEY_TEXT_MAX = 45 /* base64, and the NUL */ };

struct keyring;

/* Empty. NULL without memory or dice. */
struct keyring *keyring_new(void);
void keyring_free(struct keyring **); /* wipes the keys */

enum keyring_answer {
    KEYRING_DONE,
    KEYRING_UNKNOWN, /* no such key */
    KEYRING_IN_USE,  /* use another before this one is removed */
    KEYRING_FULL,
    KEYRING_CLASH /* another key has that id: make a new one */
};
/* The first one installed is the one in use. One that is there already: done. */
enum keyring_answer keyring_install(struct keyring *, const uint8_t key[KEY_BYTES], uint32_t *id);
enum keyring_answer keyring_use(struct keyring *, uint32_t id);
enum keyring_answer keyring_remove(struct keyring *, uint32_t id);
/* How many; their ids go to `ids`, the one in use first. */
size_t keyring_list(const struct keyring *, uint32_t ids[KEYS_MAX]);

/* NULL when there is none. Good until the ring changes. */
const uint8_t *keyring_find(const struct keyring *, uint32_t id);
const uint8_t *keyring_current(const struct keyring *, uint32_t *id);

/* A key as text is base64 of its 32 bytes, as `openssl rand -base64 32` makes it. */
bool key_parse(const char *text, uint8_t key[KEY_BYTES]);
void key_make(uint8_t key[KEY_BYTES]);
void key_print(const uint8_t key[KEY_BYTES], char text[KEY_TEXT_MAX]);

#endif
