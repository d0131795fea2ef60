/* memcache_dump.h - lru_crawler metadump and mgdump: every key, in pieces.
 *
 * The list may be longer than memory has room for, so it is made as the client
 * reads it (struct producer): an item that is there throughout is listed at
 * least once, and what comes or goes meanwhile perhaps. */
#ifndef CORRAL_COMMAND_MEMCACHE_DUMP_H
#define CORRAL_COMMAND_MEMCACHE_DUMP_H

#include "server/exec.h"

enum dump_format {
    DUMP_META, /* key=a exp=-1 la=0 cas=0 fetch=no cls=1 size=63 */
    DUMP_MG,   /* mg a, to be sent back as it is */
};

/* From now on the session answers with the dump. False when memory is short. */
bool memcache_dump_begin(struct exec *x, enum dump_format format);
/* The line that ends one, without \r\n. */
const char *memcache_dump_end(enum dump_format format);

#endif
