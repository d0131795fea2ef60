/* memcache.h - the memcached dialects' door to the store, as commands.def is RESP's.
 *
 * dispatch.c parses; these answer. A handler appends its reply to x->out and
 * keeps no pointer into the request. */
#ifndef CORRAL_COMMAND_MEMCACHE_H
#define CORRAL_COMMAND_MEMCACHE_H

#include "protocol/memcache_binary.h"
#include "server/exec.h"
#include "server/prefixes.h"

/* Executes one well-formed line (with its data block, if the verb has one). x->first_key holds the hash of
 * the key that memcache_first_key() named. `quit` sets session->close_after_reply. */
void memcache_execute(struct exec *x, struct request *rq);
/* Answers a request that the parser refused: `error` is its text without CR LF. With too_large the data
 * block did not fit max-item-size and was thrown away; a `set` must then not leave the old value behind. */
void memcache_refused(struct exec *x, struct request *rq, const char *error, bool too_large);
/* The first key of a line, for prefetching; false when it has none (stats, version, mn ...). */
bool memcache_first_key(const struct request *rq, struct slice *key);

/* ---- the binary protocol, in the same way ---- */

void binary_execute(struct exec *x, struct request *rq);
/* What binary_parse() refused: the header contradicts itself, or the value did not fit. */
void binary_refused(struct exec *x, struct request *rq);
bool binary_first_key(const struct request *rq, struct slice *key);
/* The packet as a line of the text protocol would have it, quiet forms as the
 * loud ones and passwords left out, for MONITOR and CLIENT PAUSE. `words` must stay. */
struct request binary_in_words(const struct request *rq, struct slice words[2]);
/* GET and its forms, which change nothing. */
bool binary_is_get(const struct request *rq);
/* The origin of a key has failed, and `text` says how. */
void binary_refuse_origin(struct exec *x, const struct request *rq, const char *text);
/* The flags and the time of a SET or SETQ without a cas; false for other packets. */
bool binary_read_set(const struct request *rq, uint32_t *flags, int64_t *exptime);
/* A set or delete was done elsewhere: the answer that its handler would have given. */
void binary_answer_written(struct exec *x, const struct request *rq, bool found);
void memcache_meta_answer_written(struct exec *x, const struct request *rq, bool found);
/* An unfinished packet is longer than who has not given a password may send. `head` is its header. */
void binary_refuse_stranger(struct exec *x, const uint8_t *head);

/* ---- for the handlers ---- */

/* Where the answer to stats goes: lines, or packets with the request's opcode and opaque. */
struct stats_reply {
    struct exec *x;
    const struct binary_header *binary; /* NULL: lines */
};
enum stats_outcome { STATS_DONE, STATS_RESET, STATS_UNKNOWN };
/* The figures of `stats <group>`, "" for the general ones; without the line or packet that ends them. */
enum stats_outcome memcache_stats(const struct stats_reply *reply, struct slice group);
/* "PREFIX ..." lines and END, as stats detail dump gives them. */
void memcache_detail_dump(struct exec *x);

/* The node list that clients with auto-discovery ask for: "config get cluster", and before that a key. */
#define MEMCACHE_CLUSTER_KEY "AmazonElastiCache:cluster"
/* "<head> 0 <bytes>", the list, and an empty line; END is the caller's. */
void memcache_put_cluster(struct exec *x, const char *head);

/* For stats detail: a key was asked for, stored or deleted. */
void memcache_note(struct exec *x, struct slice key, enum prefix_event event);

#endif
