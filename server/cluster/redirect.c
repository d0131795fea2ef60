#include "server/cluster/redirect.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "server/cluster/gather.h"
#include "server/cluster/keys.h"
#include "server/cluster/whole.h"
#include "server/transaction.h"
#include "server/worker.h"

bool redirect_tells(instant *told, instant created, instant changed, instant now)
{
    instant settled = after(changed, (span){REDIRECT_LEARN_MS});
    instant learnt = after(*told, (span){REDIRECT_LEARN_MS});

    if ((told->ms != 0 && is_before(now, learnt)) || (is_before(created, changed) && is_before(now, settled)))
        return false;
    *told = now;
    return true;
}

/* ---- answers ---- */

static void reply_cross_slot(struct exec *x)
{
    counter_add(x->counters, redirect_crossslot, 1);
    reply_error(x, "CROSSSLOT Keys in request don't hash to the same slot");
}

static void reply_moved(struct exec *x, unsigned slot, const struct view_member *m)
{
    char host[INET6_ADDRSTRLEN] = "";

    inet_ntop(m->ip_bytes == 4 ? AF_INET : AF_INET6, m->ip, host, sizeof host);
    counter_add(x->counters, redirect_moved, 1);
    reply_error(x, "MOVED %u %s:%u", slot, host, m->client_port);
}

static void reply_not_served(struct exec *x)
{
    counter_add(x->counters, redirect_unserved, 1);
    reply_error(x, "CLUSTERDOWN Hash slot not served");
}

/* Where the keys are, if they are not all here. */
static void reply_place(struct exec *x, const struct key_place *place)
{
    if (place->many_slots)
        reply_cross_slot(x);
    else if (place->holder == ROUTE_NOBODY)
        reply_not_served(x);
    else
        reply_moved(x, place->slot, &x->worker->routes.routes->view->members[place->holder]);
}

static bool is_here(const struct key_place *place)
{
    return !place->some || (!place->many_slots && place->holder == ROUTE_HERE);
}

/* ---- what a cluster does not have ---- */

static bool names_other_database(const struct command *command, const struct request *rq)
{
    int64_t db;

    if (command->handler == cmd_select)
        return slice_to_i64(rq->argv[1], &db) && db != 0;
    for (uint32_t i = 3; command->handler == cmd_copy && i + 1 < rq->argc; i++) {
        if (slice_is(rq->argv[i], "db"))
            return slice_to_i64(rq->argv[i + 1], &db) && db != 0;
    }
    return false;
}

/* NULL: it may be sent. */
static const char *refusal(const struct command *command, const struct request *rq)
{
    if (command->handler == cmd_swapdb)
        return "ERR SWAPDB is not allowed in cluster mode";
    if (command->handler == cmd_move)
        return "ERR MOVE is not allowed in cluster mode";
    if (!names_other_database(command, rq))
        return NULL;
    return command->handler == cmd_select ? "ERR SELECT is not allowed in cluster mode"
                                          : "ERR Copying to another database is not allowed in cluster mode";
}

/* ---- transactions ---- */

static bool in_multi(const struct exec *x)
{
    return x->session->modes & SESSION_MULTI;
}

static bool exec_ready(struct exec *x)
{
    const struct transaction *t = x->session->transaction;
    struct key_place place = {0};

    if (!in_multi(x) || t->spoilt)
        return true;
    for (const struct queued *q = t->first; q != NULL; q = q->next)
        keys_place(x->worker->routes.routes, &q->request, keys_of(q->command, &q->request), &place);
    if (is_here(&place))
        return true;
    counter_add(x->counters, transactions_aborted, 1);
    reply_place(x, &place);
    transaction_end(x->server, x->session);
    return false;
}

/* ---- all ---- */

/* Commands whose "keys" are no reason to go elsewhere. */
static bool stays(const struct command *command)
{
    return command->handler == cmd_sunsubscribe;
}

/* Only what may wait can be passed on, and what leaves nothing behind in the session. */
static bool may_pass_on(const struct exec *x, const struct command *command)
{
    return !in_multi(x) && command->handler != cmd_watch && command->handler != cmd_ssubscribe &&
           !(x->session->modes & SESSION_TRACKING);
}

bool redirect_ready(struct exec *x, const struct command *command, const struct request *rq)
{
    const struct routes *routes = x->worker->routes.routes;
    struct key_place place = {0};
    const char *why = refusal(command, rq);

    if (command->handler == cmd_exec)
        return exec_ready(x);
    if (why != NULL) {
        reply_error(x, "%s", why);
        transaction_spoil(x->session);
        return false;
    }
    if (!stays(command))
        keys_place(routes, rq, keys_of(command, rq), &place);
    if (gather_of(x) != NULL)
        return whole_ready(x, command, rq, &place);
    if (is_here(&place))
        return true;
    if (place.many_slots || place.holder == ROUTE_NOBODY || !may_pass_on(x, command) ||
        redirect_tells(&x->session->moved, x->session->created, routes->since, x->now)) {
        reply_place(x, &place);
        transaction_spoil(x->session);
        return false;
    }
    counter_add(x->counters, redirect_passed_on, 1);
    return whole_ready(x, command, rq, &place);
}
