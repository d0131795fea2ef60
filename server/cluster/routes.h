/* routes.h - where each slot is served, as this node sees it now: one frozen table, read without a lock.
 *
 * The control thread makes and publishes routes; each worker takes the latest at the beginning of a batch
 * (routes_enter) and acts by them to its end (routes_leave). routes_publish() returns once no worker acts
 * by older ones any more: that is what lets a granule be yielded. */
#ifndef CORRAL_ROUTES_H
#define CORRAL_ROUTES_H

#include "cluster/describe.h"
#include "cluster/view.h"
#include "server/server.h"

enum { ROUTE_HERE = 0xfffe, ROUTE_NOBODY = NOBODY };

struct routes {
    _Atomic uint32_t pins;
    uint64_t version;        /* of this node alone; rises with every publication */
    const struct view *view; /* pinned */
    instant since;           /* when this node began to act by the view's epoch */
    uint16_t self;           /* index in view->members */
    bool alone;              /* all slots are HERE */
    bool pulls;              /* some source is not NOBODY */
    const struct description *description;
    uint16_t holder[SLOTS];        /* index in view->members, ROUTE_HERE or ROUTE_NOBODY */
    uint16_t source[GRANULES_MAX]; /* by granule, of those held here: who still has items of it, or NOBODY */
};

/* What a worker keeps; embedded in it. */
struct routes_user {
    const struct routes *routes; /* pinned; NULL before the first */
    _Atomic uint64_t acting_by;  /* their version; 0: between two batches */
};

/* Takes over the pin that the caller has. Waits for workers in the middle of a batch. */
void routes_publish(struct server *server, struct routes *routes);
/* Empty ones, with one pin. NULL without memory. */
struct routes *routes_new(const struct view *view, uint16_t self);
void routes_unpin(const struct routes **routes);
/* For threads that are no workers, and for INFO; unpin it. NULL when there are none. */
const struct routes *routes_pin_current(struct server *server);

/* Around each batch of a worker, when server->modes has SERVER_CLUSTER. */
void routes_enter(struct server *server, struct routes_user *user);
void routes_leave(struct routes_user *user);

/* Whether there is anybody else in the cluster, so that it is told by addresses that all agree on. */
static inline bool routes_of_several(const struct routes *r)
{
    return r != NULL && (r->view->member_count > 1 || r->self == NOBODY);
}

static inline unsigned routes_granule(const struct routes *r, unsigned slot)
{
    return granule_of_slot(slot, r->view->rules.granules);
}

#endif
