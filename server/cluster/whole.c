#include "server/cluster/whole.h"

#include <stdlib.h>

#include "server/batch.h"
#include "server/cluster/everywhere.h"
#include "server/cluster/gather.h"
#include "server/cluster/guest.h"
#include "server/origin/origins.h"
#include "server/transaction.h"
#include "server/worker.h"

/* ---- both ---- */

/* Of a gather with one part at a time: the last. NULL: none was asked yet. */
static struct part *part_of(const struct gather *g)
{
    return g->parts_len > 0 ? g->parts[g->parts_len - 1] : NULL;
}

/* Whether the holder of now is to be asked. */
static bool is_to_be_asked(const struct gather *g)
{
    const struct part *p = part_of(g);

    return p == NULL || p->state == PART_AGAIN;
}

/* True: it has been executed, and what it answered is the answer. */
static bool is_answered(struct exec *x, const struct gather *g)
{
    const struct part *p = part_of(g);

    if (p == NULL || p->state != PART_ANSWERED)
        return false;
    gather_put(x, p, p->answer);
    return true;
}

/* It may have been executed, this time or one before. */
static bool is_lost(const struct gather *g)
{
    for (uint32_t i = 0; i < g->parts_len; i++) {
        if (g->parts[i]->lost)
            return true;
    }
    return false;
}

static void reply_unknown(struct exec *x)
{
    counter_add(x->counters, gather_lost, 1);
    reply_error(x,
                "CLUSTERDOWN the node that holds the keys has not answered: whether it has done what it was "
                "asked to is unknown");
}

static void reply_not_done(struct exec *x)
{
    counter_add(x->counters, gather_lost, 1);
    reply_error(x, "CLUSTERDOWN the node that holds the keys cannot be reached: nothing was done");
}

/* ---- a request ---- */

static bool may_be_done_twice(const struct command *command)
{
    static command_handler *const handlers[] = {cmd_del, cmd_invalidate, cmd_mset, cmd_setex, cmd_psetex};

    for (size_t i = 0; i < sizeof handlers / sizeof *handlers; i++) {
        if (command->handler == handlers[i])
            return true;
    }
    return (command->flags & CMD_WRITE) == 0;
}

/* False: it waits, or cannot be had. */
static bool is_asked_now(struct exec *x, struct gather *g, const struct request *rq, uint16_t holder)
{
    struct part *p = holder != ROUTE_NOBODY ? gather_part(x, g, holder) : NULL;

    if (p == NULL)
        return false;
    gather_ask(x, p, rq, 0);
    return p->state == PART_ASKED;
}

bool whole_ready(struct exec *x, const struct command *command, const struct request *rq,
                 const struct key_place *place)
{
    struct gather *g = gather_of(x);
    bool open = false, again;

    if (g == NULL && (g = gather_new(x, 0, 0)) == NULL)
        return false;
    again = !is_lost(g) || may_be_done_twice(command);
    if (is_to_be_asked(g) && again && place->holder == ROUTE_HERE) {
        gather_end(x->session);
        return true;
    }
    if (is_to_be_asked(g) && again && is_before(x->now, g->deadline))
        open = !is_asked_now(x, g, rq, place->holder);
    if (gather_waits(x, g, open))
        return false;
    if (g->over)
        x->out->over = x->out->failed = true;
    else if (is_answered(x, g))
        ;
    else if (is_lost(g))
        reply_unknown(x);
    else
        reply_not_done(x);
    gather_end(x->session);
    return false;
}

/* ---- transactions ---- */

bool whole_may_queue(struct exec *x, const struct command *command)
{
    if (!everywhere_knows(command))
        return true;
    reply_error(x,
                "ERR %s asks every node of the cluster, which a transaction cannot; send it by itself, or "
                "use the cluster-client-port, where it means that node alone",
                command->name);
    return false;
}

/* Commands that may be executed elsewhere on behalf of a session: they change nothing of it. */
static bool is_about_keys(const struct queued *q)
{
    return keys_count(keys_of(q->command, &q->request)) > 0 || q->command->handler == cmd_ping ||
           q->command->handler == cmd_echo || q->command->handler == cmd_publish;
}

static bool all_about_keys(const struct transaction *t)
{
    for (const struct queued *q = t->first; q != NULL; q = q->next) {
        if (!is_about_keys(q))
            return false;
    }
    return true;
}

static struct key_place place_of(struct exec *x, const struct transaction *t)
{
    struct key_place place = {0};

    for (const struct queued *q = t->first; q != NULL; q = q->next)
        keys_place(x->worker->routes.routes, &q->request, keys_of(q->command, &q->request), &place);
    return place;
}

/* NULL: it may be sent there. */
static const char *refusal(const struct transaction *t, const struct key_place *place)
{
    if (place->many_holders)
        return "CROSSSLOT the keys of the transaction are on several nodes; give those that belong together "
               "a "
               "common part in braces, as {user1}.name";
    if (t->watched.len > 0)
        return "CROSSSLOT watched keys are on this node, those of the transaction on another one; watch and "
               "change keys with a common part in braces, or use the cluster-client-port";
    if (!all_about_keys(t))
        return "ERR the keys of the transaction are on another node, where only commands on keys can be "
               "executed; leave out the others";
    return NULL;
}

static uint8_t *put_length(uint8_t *p, size_t n)
{
    for (unsigned i = 0; i < PEER_LENGTH; i++)
        *p++ = (uint8_t)(n >> 8 * i);
    return p;
}

static bool ask_transaction(struct exec *x, struct gather *g, const struct transaction *t, uint16_t holder)
{
    struct part *p = holder != ROUTE_NOBODY ? gather_part(x, g, holder) : NULL;
    size_t size = 0;
    uint8_t *body, *at;

    for (const struct queued *q = t->first; q != NULL; q = q->next)
        size += PEER_LENGTH + peer_request_size(&q->request);
    if (p == NULL || (body = malloc(size)) == NULL)
        return false;
    at = body;
    for (const struct queued *q = t->first; q != NULL; q = q->next) {
        at = put_length(at, peer_request_size(&q->request));
        at = peer_put_request(at, &q->request, x->session->id);
    }
    gather_ask_body(x, p, (struct slice){body, size});
    free(body);
    return p->state == PART_ASKED;
}

static void end(struct exec *x)
{
    gather_end(x->session);
    transaction_end(x->server, x->session);
}

/* While it waits the session is not in MULTI, where nothing may wait; its queue stays. */
static bool waits(struct exec *x, struct gather *g, bool open)
{
    x->session->modes &= ~(unsigned)SESSION_MULTI;
    if (gather_waits(x, g, open))
        return true;
    x->session->modes |= SESSION_MULTI;
    return false;
}

static bool run_there(struct exec *x, struct transaction *t, const struct key_place *place)
{
    struct gather *g = gather_of(x);
    bool open = false;

    if (g == NULL && (g = gather_new(x, 0, 0)) == NULL)
        return false;
    if (is_to_be_asked(g) && !is_lost(g) && is_before(x->now, g->deadline))
        open = !ask_transaction(x, g, t, place->holder);
    if (waits(x, g, open))
        return false;
    if (g->over)
        x->out->over = x->out->failed = true;
    else if (is_answered(x, g))
        ;
    else if (is_lost(g))
        reply_unknown(x);
    else
        reply_not_done(x);
    end(x);
    return false;
}

bool whole_exec_ready(struct exec *x)
{
    struct transaction *t = x->session->transaction;
    struct gather *g = gather_of(x);
    struct key_place place;
    const char *why;

    if (g != NULL)
        x->session->modes |= SESSION_MULTI;
    if (!(x->session->modes & SESSION_MULTI) || t->spoilt)
        return true;
    if (g != NULL && !is_to_be_asked(g))
        return run_there(x, t, &(struct key_place){0});
    place = place_of(x, t);
    if (!place.some || (place.holder == ROUTE_HERE && !place.many_holders)) {
        if (g != NULL && is_lost(g))
            return run_there(x, t, &place);
        gather_end(x->session);
        return true;
    }
    if ((why = refusal(t, &place)) != NULL) {
        counter_add(x->counters, transactions_aborted, 1);
        reply_error(x, "%s", why);
        end(x);
        return false;
    }
    return run_there(x, t, &place);
}

/* ---- for another node ---- */

enum { WORDS_AT_FIRST = 64 };

/* The words of one part, in room that grows. False: it is none, or memory is short. */
static bool read_part(struct slice part, struct request *rq)
{
    uint64_t asker;

    for (;;) {
        enum parse_status status = peer_request_decode(part, rq, &asker);
        struct slice *more;

        if (status != PARSE_ARGV_FULL)
            return status == PARSE_DONE && rq->argc > 0;
        if ((more = realloc(rq->argv, rq->argc * sizeof *more)) == NULL)
            return false;
        rq->argv = more;
        rq->argv_max = rq->argc;
    }
}

/* What it answers is no part of the transaction's reply, but for what is wrong with it. */
static bool queue_part(struct exec *x, const struct request *rq)
{
    const struct command *command = command_find(rq->argv[0]);
    unsigned modes = atomic_load_explicit(&x->server->modes, memory_order_relaxed);
    size_t mark = out_mark(x->out);

    if (command == NULL || !command_arity_ok(command->arity, rq->argc)) {
        reply_error(x, "EXECABORT the node that has the keys does not know a command of the transaction");
        return false;
    }
    if ((modes & SERVER_ORIGINS) && !origins_may_queue(x, command, rq))
        return false;
    transaction_queue(x, command, rq);
    if (x->session->transaction->spoilt)
        return false;
    out_rollback(x->out, mark);
    return true;
}

static bool queue_all(struct exec *x, struct slice body)
{
    struct request rq = {.argv = malloc(WORDS_AT_FIRST * sizeof *rq.argv), .argv_max = WORDS_AT_FIRST};
    struct slice part;
    bool ok = rq.argv != NULL;

    while (ok && peer_next_part(&body, &part)) {
        if ((ok = read_part(part, &rq)))
            ok = queue_part(x, &rq);
        else
            x->asked->status = PEER_OVERLOADED;
    }
    free(rq.argv);
    return ok;
}

void whole_execute(struct exec *x, struct slice body)
{
    struct slice word = slice_of("exec");
    struct entry exec = {.request = {.argv = &word, .argc = 1, .argv_max = 1},
                         .status = PARSE_DONE,
                         .command = command_find(word)};
    struct session *s = x->session;
    struct key_place place;

    transaction_end(x->server, s); /* what it queued before it was parked */
    if (transaction_of(s) == NULL) {
        x->asked->status = PEER_OVERLOADED;
        return;
    }
    transaction_begin(s);
    x->backing = NULL;
    if (queue_all(x, body)) {
        place = place_of(x, s->transaction);
        if (place.some && (place.many_holders || place.holder != ROUTE_HERE))
            x->asked->status = PEER_NOT_MINE;
        else
            entry_run(x, &exec);
    }
    if (s->parked == PARK_NOT)
        transaction_end(x->server, s);
}
