/* routes.c - publishing routes, and waiting for workers.
 *
 * A worker says by which version it acts, and only then looks whether that is
 * the latest; who publishes puts the latest in place, and only then looks by
 * which ones workers act. Both sequentially consistent, so at least one of the
 * two sees the other: see gate.c, which rests on the same. */
#include "server/cluster/routes.h"

#include <stdlib.h>
#include <time.h>

#include "server/check.h"
#include "server/spin.h"
#include "server/worker.h"

enum {
    SPINS = 2000,          /* about as long as a batch of small requests takes */
    LOOK_NS = 50 * 1000,   /* then we look again so often, ... */
    LOOK_NS_MOST = 1000000 /* ... and ever less often up to this */
};

struct routes *routes_new(const struct view *view, uint16_t self)
{
    struct routes *r = malloc(sizeof *r);

    if (r == NULL)
        return NULL;
    atomic_init(&r->pins, 1);
    r->version = 0;
    r->view = view_pin(view);
    r->since = clock_now();
    r->self = self;
    r->alone = r->pulls = false;
    r->description = NULL;
    for (unsigned slot = 0; slot < SLOTS; slot++)
        r->holder[slot] = ROUTE_NOBODY;
    for (unsigned granule = 0; granule < GRANULES_MAX; granule++)
        r->source[granule] = NOBODY;
    return r;
}

static const struct routes *routes_pin(const struct routes *routes)
{
    struct routes *r = (struct routes *)(uintptr_t)routes; /* only the pins of it are ever written */

    atomic_fetch_add_explicit(&r->pins, 1, memory_order_relaxed);
    return routes;
}

void routes_unpin(const struct routes **routes)
{
    struct routes *r = (struct routes *)(uintptr_t)*routes;

    *routes = NULL;
    /* Release and acquire: whoever frees it does so after all who have read it. */
    if (r == NULL || atomic_fetch_sub_explicit(&r->pins, 1, memory_order_acq_rel) > 1)
        return;
    describe_free(&r->description);
    view_unpin(&r->view);
    free(r);
}

const struct routes *routes_pin_current(struct server *server)
{
    const struct routes *r;

    pthread_mutex_lock(&server->routes_lock);
    r = atomic_load_explicit(&server->routes, memory_order_relaxed);
    if (r != NULL)
        routes_pin(r);
    pthread_mutex_unlock(&server->routes_lock);
    return r;
}

/* ---- workers ---- */

static void take_latest(struct server *server, struct routes_user *user)
{
    const struct routes *latest = routes_pin_current(server);

    routes_unpin(&user->routes);
    user->routes = latest;
}

void routes_enter(struct server *server, struct routes_user *user)
{
    for (;;) {
        atomic_store(&user->acting_by, user->routes != NULL ? user->routes->version : 0);
        /* Ours are pinned, so no others can have come to lie at the same address. */
        if (atomic_load(&server->routes) == user->routes)
            return;
        atomic_store(&user->acting_by, 0); /* not to be waited for meanwhile */
        take_latest(server, user);
    }
}

void routes_leave(struct routes_user *user)
{
    /* Pairs with the load in wait_for(): what was done in the batch comes before. */
    atomic_store_explicit(&user->acting_by, 0, memory_order_release);
}

/* ---- publishing ---- */

static void wait_for(const struct routes_user *user, uint64_t version)
{
    struct timespec pause = {.tv_nsec = LOOK_NS};

    for (unsigned spins = 0;; spins++) {
        uint64_t by = atomic_load(&user->acting_by);

        if (by == 0 || by >= version)
            return;
        if (spins < SPINS) {
            spin_pause();
            continue;
        }
        nanosleep(&pause, NULL);
        if (pause.tv_nsec < LOOK_NS_MOST)
            pause.tv_nsec *= 2;
    }
}

void routes_publish(struct server *server, struct routes *routes)
{
    const struct routes *before;
    uint64_t version;

    pthread_mutex_lock(&server->routes_lock);
    before = atomic_load_explicit(&server->routes, memory_order_relaxed);
    routes->version = version = before != NULL ? before->version + 1 : 1;
    atomic_store(&server->routes, routes);
    pthread_mutex_unlock(&server->routes_lock);
    for (unsigned i = 0; i < server->workers_len; i++)
        wait_for(&server->workers[i]->routes, version);
    routes_unpin(&before);
}
