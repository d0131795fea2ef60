/* load_data.h - which keys and values the load is made of.
 *
 * Everything follows from the key's number: its text is the prefix and the
 * number in decimal, filled with zeros to the wanted size; its value is a
 * window into one fixed random text, at a place the number decides. So any
 * process can tell whether a value belongs to a key, in pieces of any size,
 * without having written it. */
#ifndef CORRAL_BENCH_LOAD_DATA_H
#define CORRAL_BENCH_LOAD_DATA_H

#include "protocol/bytes.h"

enum { LOAD_KEY_SIZE_MAX = 250 }; /* memcached's limit, so every dialect can carry it */

struct load_data;

/* NULL when memory is short. Ask load_data_key_fits first. */
struct load_data *load_data_new(const char *prefix, uint32_t keys, uint32_t key_size, uint32_t value_size);
void load_data_free(struct load_data **d);

/* False when `key_size` cannot hold `keys` different numbers. A prefix that
 * does not fit is cut. */
bool load_data_key_fits(uint32_t keys, uint32_t key_size);

uint32_t load_data_key_size(const struct load_data *d);
uint32_t load_data_value_size(const struct load_data *d);
/* Writes the key's key_size bytes and returns the byte after them. */
uint8_t *load_data_put_key(const struct load_data *d, uint32_t id, uint8_t *to);
/* False when no key of this load has this text. */
bool load_data_id_of(const struct load_data *d, struct slice key, uint32_t *id);
/* value_size bytes, good for as long as d lives. */
const uint8_t *load_data_value(const struct load_data *d, uint32_t id);

#endif
