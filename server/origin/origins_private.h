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
};

/* ---- workers ---- */

/* The key's origin, pinned; NULL: it has none. */
struct origin *origins_match(struct origins *origins, struct slice name);
/* NULL when memory is short. Takes over one pin of the origin with success. */
struct fetch *origins_fetch_new(struct origins *origins, struct origin *origin, const struct key *key);
void origins_fetch_free(struct fetch **fetch);
/* Hands it over, for the lease `token`. The key's outcome of before is forgotten. */
void origins_submit(struct fetch *fetch, uint64_t token);

/* ---- store.c: what fetches bring ---- */

/* A fetch has ended: fills the key if its token still allows it, leaves an
 * outcome if nothing can be seen, and wakes those who wait. */
void origins_settle(struct fetch *fetch, const struct answer *answer);

#endif
