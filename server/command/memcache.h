/* memcache.h - the memcached dialects' door to the store, as commands.def is RESP's.
 *
 * dispatch.c parses; these answer. A handler appends its reply to x->out and
 * keeps no pointer into the request. */
#ifndef CORRAL_COMMAND_MEMCACHE_H
#define CORRAL_COMMAND_MEMCACHE_H

#include "server/exec.h"

/* Executes one well-formed line (with its data block, if the verb has one). x->first_key holds the hash of
 * the key that memcache_first_key() named. `quit` sets session->close_after_reply. */
void memcache_execute(struct exec *x, struct request *rq);
/* Answers a request that the parser refused: `error` is its text without CR LF. With too_large the data
 * block did not fit max-item-size and was thrown away; a `set` must then not leave the old value behind. */
void memcache_refused(struct exec *x, struct request *rq, const char *error, bool too_large);
/* The first key of a line, for prefetching; false when it has none (stats, version, mn ...). */
bool memcache_first_key(const struct request *rq, struct slice *key);

#endif
