#include "server/cluster/scope.h"

#include "cluster/slot.h"
#include "server/check.h"
#include "server/cluster/everywhere.h"
#include "server/cluster/forward.h"
#include "server/cluster/gather.h"
#include "server/cluster/guest.h"
#include "server/cluster/keys.h"
#include "server/cluster/redirect.h"
#include "server/cluster/several.h"
#include "server/cluster/whole.h"
#include "server/post.h"
#include "server/transaction.h"
#include "server/watch.h"
#include "server/worker.h"

#define TRACKING_REFUSED                                                                                     \
    "ERR CLIENT TRACKING hears of this node's keys only; connect to the cluster-client-port of each node "   \
    "for it"

/* ---- requests ---- */

static void refuse(struct exec *x, const char *why)
{
    reply_error(x, "%s", why);
    transaction_spoil(x->session);
}

static bool in_multi(const struct exec *x)
{
    return x->session->modes & SESSION_MULTI;
}

static bool turns_tracking_on(const struct command *command, const struct request *rq)
{
    return command->handler == cmd_client && rq->argc > 2 && slice_is(rq->argv[1], "tracking") &&
           slice_is(rq->argv[2], "on");
}

/* NULL: it can be done. */
static const char *refusal(const struct command *command, const struct request *rq,
                           const struct key_place *place)
{
    if (turns_tracking_on(command, rq))
        return TRACKING_REFUSED;
    if (command->handler == cmd_swapdb)
        return "ERR SWAPDB cannot exchange databases on all nodes at once; it is for a node that is alone";
    if (command->handler == cmd_watch && place->some && (place->many_holders || place->holder != ROUTE_HERE))
        return "CROSSSLOT a key on another node cannot be watched from here; use the cluster-client-port of "
               "the "
               "node that holds it";
    return NULL;
}

/* Channels are keys by their position alone: on this port everybody hears everything. */
static bool is_about_channels(const struct command *command)
{
    return command->handler == cmd_ssubscribe || command->handler == cmd_sunsubscribe ||
           command->handler == cmd_spublish;
}

static bool is_all_here(const struct key_place *place)
{
    return !place->some || (!place->many_holders && place->holder == ROUTE_HERE);
}

/* Words that its handler will refuse. */
static bool is_malformed(const struct command *command, const struct request *rq)
{
    return (command->handler == cmd_mset || command->handler == cmd_msetnx) && rq->argc % 2 == 0;
}

static bool keyed_ready(struct exec *x, const struct command *command, struct request **rq,
                        const struct key_place *place)
{
    if (several_knows(command))
        return several_ready(x, command, rq);
    if (place->many_holders && (gather_of(x) == NULL || gather_of(x)->under_way == 0)) {
        counter_add(x->counters, redirect_crossslot, 1);
        gather_end(x->session);
        refuse(x, "CROSSSLOT the keys of the request are on several nodes; give those that belong together a "
                  "common part in braces, as {user1}.name");
        return false;
    }
    return whole_ready(x, command, *rq, place);
}

/* Between MULTI and EXEC. */
static bool queue_ready(struct exec *x, const struct command *command)
{
    if (whole_may_queue(x, command))
        return true;
    transaction_spoil(x->session);
    return false;
}

/* What another node asks of this one is executed if all its keys are here; else it looks again at who has
 * them. */
static bool asked_ready(struct exec *x, const struct request *rq, struct key_words keys)
{
    struct key_place place = {0};

    if (x->asked->header.flags & PEER_LOCAL)
        return true;
    keys_place(x->worker->routes.routes, rq, keys, &place);
    if (is_all_here(&place))
        return true;
    x->asked->status = PEER_NOT_MINE;
    return false;
}

/* A client that began to track when this node had all keys, and asks for one that it has no more: nobody
 * would tell it of changes. True: refused. */
static bool is_tracked_in_vain(struct exec *x, const struct routes *routes, const struct command *command,
                               const struct request *rq)
{
    struct key_place place = {0};

    if (!(x->session->modes & SESSION_TRACKING) || routes->alone || is_about_channels(command))
        return false;
    keys_place(routes, rq, keys_of(command, rq), &place);
    if (is_all_here(&place))
        return false;
    refuse(x, TRACKING_REFUSED);
    return true;
}

bool scope_ready(struct exec *x, const struct command *command, struct request **rq)
{
    const struct routes *routes = x->worker->routes.routes;
    struct key_place place = {0};
    const char *why;

    CHECK(x->gathered == NULL);
    if (routes == NULL)
        return true;
    if (x->session->redirects)
        return redirect_ready(x, command, *rq);
    if (is_tracked_in_vain(x, routes, command, *rq))
        return false;
    if (!in_multi(x) && forward_takes(command, *rq))
        return true;
    if (x->asked != NULL)
        return asked_ready(x, *rq, keys_of(command, *rq));
    /* SCAN's cursors say whose they are from the beginning, as others may join. */
    if (routes->alone && gather_of(x) == NULL && (command->handler != cmd_scan || in_multi(x)))
        return true;
    if (command->handler == cmd_exec)
        return whole_exec_ready(x);
    if (!is_about_channels(command) && !is_malformed(command, *rq))
        keys_place(routes, *rq, keys_of(command, *rq), &place);
    if ((why = refusal(command, *rq, &place)) != NULL) {
        refuse(x, why);
        return false;
    }
    if (in_multi(x) && !(command->flags & CMD_NOT_QUEUED))
        return queue_ready(x, command);
    if (everywhere_knows(command))
        return everywhere_ready(x, command, rq);
    return (gather_of(x) == NULL && is_all_here(&place)) || keyed_ready(x, command, rq, &place);
}

bool scope_ready_line(struct exec *x, struct request **rq, const struct request *packet)
{
    const struct routes *routes = x->worker->routes.routes;
    struct key_place place = {0};

    CHECK(x->gathered == NULL);
    if (routes == NULL)
        return true;
    if (x->asked != NULL)
        return x->session->binary || !several_knows_line(*rq) || asked_ready(x, *rq, keys_of_line(*rq));
    if (routes->alone && gather_of(x) == NULL)
        return true;
    if (everywhere_knows_line(*rq))
        return everywhere_ready_line(x, *rq, packet);
    if (x->session->binary || !several_knows_line(*rq))
        return true;
    keys_place(routes, *rq, keys_of_line(*rq), &place);
    return (gather_of(x) == NULL && is_all_here(&place)) || several_ready_line(x, rq);
}

void scope_end(struct exec *x, const struct command *command)
{
    bool everywhere = command != NULL ? everywhere_knows(command) : x->gathered->keys == 0;

    if (everywhere)
        everywhere_end(x, command);
    else
        several_end(x);
}

/* ---- slots that have gone ---- */

struct loss {
    const struct routes *before, *now;
};

static bool is_lost(const struct loss *loss, unsigned slot)
{
    return loss->before->holder[slot] == ROUTE_HERE && loss->now->holder[slot] != ROUTE_HERE;
}

static bool key_is_lost(void *arg, struct slice name)
{
    return is_lost(arg, slot_of_key(name));
}

void scope_lost_slots(struct server *server, const struct routes *before, const struct routes *now)
{
    struct loss loss = {before, now};
    unsigned slot = 0;

    while (slot < SLOTS && !is_lost(&loss, slot))
        slot++;
    if (slot == SLOTS)
        return;
    watch_lost(server, key_is_lost, &loss);
    post_everybody(server, LETTER_ALL_INVALID);
}
