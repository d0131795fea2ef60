/* transaction.c - MULTI, EXEC, DISCARD, WATCH, UNWATCH: many requests as one.
 *
 * EXEC runs while no other worker does (CMD_EXCLUSIVE), so nobody sees half of
 * it; a request that fails leaves the others standing, as in redis. */
#include "server/transaction.h"

#include "server/command/arguments.h"
#include "server/command/command.h"
#include "server/dispatch.h"
#include "server/memory.h"
#include "server/server.h"

static bool in_multi(const struct exec *x)
{
    return x->session->modes & SESSION_MULTI;
}

static bool has_transaction(struct exec *x)
{
    if (transaction_of(x->session) != NULL)
        return true;
    reply_error(x, "ERR out of memory");
    return false;
}

void cmd_multi(struct exec *x, struct request *rq)
{
    (void)rq;
    if (in_multi(x)) {
        reply_error(x, "ERR MULTI calls can not be nested");
    } else if (has_transaction(x)) {
        transaction_begin(x->session);
        reply_ok(x);
    }
}

void cmd_discard(struct exec *x, struct request *rq)
{
    (void)rq;
    if (!in_multi(x)) {
        reply_error(x, "ERR DISCARD without MULTI");
        return;
    }
    transaction_end(x->server, x->session);
    reply_ok(x);
}

void cmd_watch(struct exec *x, struct request *rq)
{
    if (in_multi(x)) {
        reply_error(x, "ERR WATCH inside MULTI is not allowed");
        return;
    }
    if (!has_transaction(x))
        return;
    for (uint32_t i = 1; i < rq->argc; i++) {
        struct key key = exec_key(x, rq, i);

        if (watch_add(x, &x->session->transaction->watched, &key))
            continue;
        counter_add(x->counters, watch_limit_refused, 1);
        reply_error(x, "ERR too many watched keys (client-watch-limit, watch-limit)");
        return;
    }
    reply_ok(x);
}

void cmd_unwatch(struct exec *x, struct request *rq)
{
    (void)rq;
    if (x->session->transaction != NULL)
        watch_end(x->server, &x->session->transaction->watched);
    reply_ok(x);
}

/* ---- EXEC ---- */

static void run_queued(struct exec *x, struct queued *q)
{
    struct session *s = x->session;
    size_t mark = out_mark(x->out), pins = x->out->pins_len;

    x->first_key = (struct key){0};
    x->backing = q->backing;
    if (q->backing != NULL)
        memory_hand_over(x->server, q->backing->capacity);
    dispatch_execute(x, q->command, &q->request);
    if (s->replies == REPLY_OFF)
        out_cut(x->out, mark, pins);
}

/* While the client has turned replies off, the array's head is not sent either. */
static void run_queue(struct exec *x, struct queued *first, uint32_t len)
{
    struct queued *next;

    if (x->session->replies != REPLY_OFF)
        reply_array(x, len);
    for (struct queued *q = first; q != NULL; q = next) {
        next = q->next;
        run_queued(x, q);
        transaction_free_queued(&q);
    }
    counter_add(x->counters, commands_processed, len);
    x->backing = NULL;
    session_doing(x->session, "exec");
}

void cmd_exec(struct exec *x, struct request *rq)
{
    struct transaction *t = x->session->transaction;
    uint32_t len;

    (void)rq;
    if (!in_multi(x)) {
        reply_error(x, "ERR EXEC without MULTI");
    } else if (t->spoilt) {
        counter_add(x->counters, transactions_aborted, 1);
        reply_error(x, "EXECABORT Transaction discarded because of previous errors.");
        transaction_end(x->server, x->session);
    } else if (watch_is_broken(x, &t->watched)) {
        counter_add(x->counters, transactions_conflicted, 1);
        reply_null_array(x);
        transaction_end(x->server, x->session);
    } else {
        counter_add(x->counters, transactions_executed, 1);
        len = t->len;
        watch_end(x->server, &t->watched);
        run_queue(x, transaction_take(x->session), len);
    }
}
