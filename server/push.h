/* push.h - clients to whom the server speaks without being asked.
 *
 * A session gets a struct push the first time it subscribes, tracks, monitors
 * or is redirected to; its worker finds it by the client's id when a letter
 * comes (post.h). Only that worker ever looks at it. */
#ifndef CORRAL_PUSH_H
#define CORRAL_PUSH_H

#include "server/exec.h"
#include "server/post.h"
#include "server/pubsub.h"
#include "server/table.h"
#include "server/worker.h"

/* CLIENT TRACKING of one client; tracking.c's. */
struct tracking_state {
    bool on, bcast, optin, optout, noloop;
    bool caching;          /* CLIENT CACHING was said about the next command */
    bool broken;           /* whom it redirects to is gone */
    post_address redirect; /* 0: it is told itself */
    struct tracking_prefix **prefixes;
    uint32_t prefixes_len, prefixes_cap;
};

struct push {
    uint64_t id;
    struct session *session;
    struct subscription *subscriptions[PUBSUB_KINDS]; /* pubsub.c's */
    struct tracking_state tracking;
    UT_hash_handle hh; /* in its worker's pushes */
};

/* The session's, made now if need be. NULL when memory is short, and then the connection closes. */
struct push *push_of(struct exec *x);

/* An array of bulks, the way RESP2 writes it; NULL when memory is short. */
struct blob *push_words(const struct slice *words, size_t n);

/* Hands what is in the inbox to the clients, as long as that is not too much
 * to hold: beyond that it waits for those spoken to so far to be sent to
 * (worker.c). What the client whose request is being executed is told comes
 * before the reply that is still to be written; all others are sent to after
 * the turn. */
void push_deliver(struct worker *worker);
/* Whether there is anything to hand over. */
bool push_waits(const struct worker *worker);

/* After each batch, and after background work: lets go of what it caused. */
void push_flush_slowly(struct worker *worker);
static inline void push_flush(struct worker *w)
{
    if (__builtin_expect(w->outbox.first != NULL || w->bcast.len > 0 || w->bcast_lost, 0))
        push_flush_slowly(w);
}

/* RESET: whatever it was told, it is told no more. */
void push_reset(struct exec *x);
/* The connection closes. */
void push_leave(struct worker *worker, struct session *session);

#endif
