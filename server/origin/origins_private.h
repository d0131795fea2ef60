/* origins_private.h - what the workers' side (serve.c) and the thread (origins.c) share. */
#ifndef CORRAL_ORIGIN_ORIGINS_PRIVATE_H
#define CORRAL_ORIGIN_ORIGINS_PRIVATE_H

#include <pthread.h>

#include "server/origin/origin.h"
#include "server/origin/origins.h"
#include "server/origin/outcomes.h"

/* A key being fetched. Made by a worker, then the thread's alone. */
struct fetch {
    struct job job; /* first */
    struct origins *origins;
    struct fetch *next, *prev; /* on the way to the thread; then in its list of all */
    uint64_t token;
    uint8_t db;
    size_t len;
    uint8_t name[];
};

/* The grace of a value whose origin allows that it is served while it is asked
 * for anew (stale-while-revalidate, in whole seconds) is this much more than
 * whole seconds; any other grace is for when the origin fails. */
enum { GRACE_REVALIDATES_MS = 1, SECOND_MS = 1000 };
static inline bool grace_revalidates(uint32_t grace_ms)
{
    return grace_ms % SECOND_MS == GRACE_REVALIDATES_MS;
}

struct origins {
    struct loop_source source; /* first: of the eventfd */
    int eventfd;
    struct server *server;
    struct loop *loop;
    struct timers timers;
    struct store_local *local;
    pthread_t thread;
    bool running; /* under options_lock */
    _Atomic bool stopping;
    _Atomic int64_t stop_by_ms;
    struct fetch *fetches; /* the thread's: all that are under way */
    pthread_mutex_t lock;  /* of what follows; a leaf, inside the shards' locks */
    unsigned len;
    struct origin *all[ORIGIN_RULES_MAX];     /* pinned */
    struct origin *retired[ORIGIN_RULES_MAX]; /* until nobody else has them pinned */
    struct fetch *inbox, *inbox_last;
    struct outcomes *outcomes;
    struct writes *writes;     /* has a lock of its own */
    _Atomic bool takes_writes; /* one of the rules does */
};

/* ---- workers ---- */

/* The key's origin, pinned; NULL: it has none. */
struct origin *origins_match(struct origins *origins, struct slice name);
/* NULL when memory is short. Takes over one pin of the origin with success. */
struct fetch *origins_fetch_new(struct origins *origins, struct origin *origin, const struct key *key);
void origins_fetch_free(struct fetch **fetch);
/* Hands it over, for the lease `token`. The key's outcome of before is forgotten. */
void origins_submit(struct fetch *fetch, uint64_t token);
/* The key's outcome is from before the reader came, who must not be told it. In the
 * key's open edit and while its lease is out, so that it is not the one to come. */
void origins_forget(struct origins *origins, const struct key *key);
void origins_wake_thread(struct origins *origins);

/* serve_writes.c: the same as origins_ready(), for requests that write. */
bool origins_write_ready(struct exec *x, const struct command *command, const struct request *rq);
bool origins_write_ready_memcache(struct exec *x, const struct request *rq, const struct request *packet);
/* "SERVER_ERROR origin <why>", or what that is in the binary protocol. */
void origins_refuse_memcache(struct exec *x, const struct request *packet, const char *why);

/* ---- store.c: what fetches bring ---- */

/* A fetch has ended: fills the key if its token still allows it, leaves an
 * outcome if nothing can be seen, and wakes those who wait. */
void origins_settle(struct fetch *fetch, const struct answer *answer);

#endif
