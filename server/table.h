/* table.h - uthash, set up for what clients name: hashed with a seed of the
 * process, so that nobody can choose names that collide, and without an exit
 * when memory is short: an element that could not be added has hh.tbl NULL. */
#ifndef CORRAL_TABLE_H
#define CORRAL_TABLE_H

#include <stddef.h>

unsigned table_hash(const void *key, size_t len);

#define HASH_NONFATAL_OOM                1
#define HASH_FUNCTION(key, len, hashval) ((hashval) = table_hash((key), (len)))
#include <uthash.h>

#endif
