/* replay.h - runs a trace through an eviction policy.
 *
 * The smallest possible host: a cache of names and weights without values.
 * Keys are dense numbers from 1, so a look-up is an array access and the
 * policy is nearly all there is to measure. */
#ifndef CORRAL_BENCH_REPLAY_H
#define CORRAL_BENCH_REPLAY_H

#include "server/evict/auto.h"

/* ---- traces ---- */

enum trace_format {
    TRACE_KEYS,         /* one integer key a line */
    TRACE_TIME_KEY_SIZE /* "time key size" a line, separated by blanks */
};

struct trace {
    size_t requests;
    uint32_t unique; /* keys are 1..unique, in order of first appearance */
    uint32_t *keys;  /* one per request */
    uint32_t *sizes; /* one per request; NULL where the format has none */
};

/* Reads a file, through zstd when its name ends in .zst. NULL with a message
 * on stderr when it cannot be read; a line that is not as promised is an error. */
struct trace *trace_read(const char *path, enum trace_format format);
void trace_free(struct trace **);

#define REPLAY_NEVER UINT32_MAX /* as a next use */

/* ---- one policy at one size ---- */

struct replay;

enum {
    REPLAY_WEIGHTS = 1, /* without it every weight is 1 */
    REPLAY_FUTURE = 2,  /* replay_know() will be called */
    REPLAY_EXPIRY = 4,  /* so will replay_set_expiry() */
    /* The policy as it is compiled into a loop, with ghosts by key instead of by
     * fingerprint, where the program has that; not with replay_set_hashes(). */
    REPLAY_COMPILED = 8
};

/* As a type: no policy but the choice between some, as allkeys-auto makes it. */
extern const struct evict_type replay_auto;
enum { REPLAY_SHADOW_ITEMS = 2048 }; /* as shadow-items by default */

/* Keys 1..unique. NULL when memory is short. */
struct replay *replay_new(const struct evict_type *type, uint64_t capacity, uint32_t unique, uint64_t seed,
                          unsigned with);
void replay_free(struct replay **);
bool replay_is_compiled(const struct replay *); /* see REPLAY_COMPILED */
/* Asks for a key and stores it on a miss; true on a hit. What weighs more
 * than the capacity is never stored. A hit of another weight resizes. */
bool replay_get(struct replay *, uint32_t key, uint32_t weight);
/* The same for many; the number of misses. With REPLAY_WEIGHTS the weights are the
 * sizes. Where sizes is not NULL, what was missed of them is added to *missed_bytes. */
uint64_t replay_many(struct replay *, const uint32_t *keys, const uint32_t *sizes, size_t n,
                     uint64_t *missed_bytes);
/* A client stores the key, without having asked for it; true if it was there. */
bool replay_put(struct replay *, uint32_t key, uint32_t weight);
bool replay_holds(const struct replay *, uint32_t key);
/* Hashes by key, 0..unique, that stay the caller's; before the first request.
 * Without them a key's hash is made of its number. */
void replay_set_hashes(struct replay *, const uint64_t *hashes);
/* Calls the watcher with every key that is evicted, in order. */
void replay_watch(struct replay *, void (*watcher)(void *arg, uint32_t victim), void *arg);
/* Tells when the key is asked for next, before it is asked for now. */
void replay_know(struct replay *, uint32_t key, uint32_t next_use);
/* What it was told; for policies that know the future. ctx is the host's. */
uint32_t replay_next_use(const void *ctx, evict_id id);
/* When the key expires, 0 for never. Who notices and drops it is the caller. */
void replay_set_expiry(struct replay *, uint32_t key, int64_t expires);
int64_t replay_expiry(const struct replay *, uint32_t key);
/* What time it is, in the unit of the expiries; only replay_auto wants to know. */
void replay_set_time(struct replay *, int64_t now);
/* Deletes a key; false if it was not there. */
bool replay_drop(struct replay *, uint32_t key);
void replay_set_capacity(struct replay *, uint64_t capacity);
uint64_t replay_held(const struct replay *);       /* weight */
uint64_t replay_evicted(const struct replay *);    /* items */
size_t replay_policy_bytes(const struct replay *); /* the policy's heap; not its nodes */
/* Those of replay_auto; NULL for others. */
const struct shadows *replay_shadows(const struct replay *);
const struct evict_auto *replay_autos(const struct replay *);
void replay_check(const struct replay *);

/* Replays a whole trace, every weight 1 or as the trace says; the miss ratio,
 * negative when memory is short. */
double replay_miss_ratio(const struct trace *, const struct evict_type *type, uint64_t capacity,
                         bool weighted);

#endif
