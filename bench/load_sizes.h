/* load_sizes.h - sizes for keys of traces that have none.
 *
 * They come from a published table: one row per cluster of caches, with the
 * mean size of its keys and values, as in the statistics beside Twitter's
 * cache-trace. Every key of a replay gets the sizes of one row, chosen by its
 * hash, so that each run, of whatever server, sees the same sizes. */
#ifndef CORRAL_BENCH_LOAD_SIZES_H
#define CORRAL_BENCH_LOAD_SIZES_H

#include <stddef.h>
#include <stdint.h>

struct size_table;

/* Reads a table in Markdown whose header names the columns "key size" and
 * "value size"; rows without a number there ("N/A") are passed over. NULL and a
 * sentence in `why` when there is no such table. */
struct size_table *size_table_read(const char *path, char *why, size_t why_size);
void size_table_free(struct size_table **t);

/* Both at least 1. */
void size_table_pick(const struct size_table *t, uint64_t hash, uint32_t *key_size, uint32_t *value_size);

#endif
