/* transaction.c - the queue between MULTI and EXEC; see transaction.h. */
#include "server/transaction.h"

#include <stdlib.h>

#include "server/command/command.h"
#include "server/server.h"

struct transaction *transaction_of(struct session *s)
{
    if (s->transaction == NULL)
        s->transaction = calloc(1, sizeof *s->transaction);
    return s->transaction;
}

size_t transaction_holds(const struct session *s, size_t *blobs)
{
    const struct transaction *t = s->transaction;

    *blobs = t != NULL ? t->blobs : 0;
    return t != NULL ? t->bytes + t->watched.bytes : 0;
}

void transaction_free(struct server *server, struct session *s)
{
    if (s->transaction == NULL)
        return;
    transaction_end(server, s);
    free(s->transaction);
    s->transaction = NULL;
}

/* For CLIENT LIST. */
static void show(struct session *s)
{
    bool in_multi = s->modes & SESSION_MULTI;

    atomic_store_explicit(&s->queued, in_multi ? (int32_t)s->transaction->len : -1, memory_order_relaxed);
    atomic_store_explicit(&s->queued_bytes, s->transaction->bytes, memory_order_relaxed);
}

void transaction_begin(struct session *s)
{
    s->modes |= SESSION_MULTI;
    s->transaction->spoilt = false;
    show(s);
}

void transaction_spoil(struct session *s)
{
    if (s->modes & SESSION_MULTI)
        s->transaction->spoilt = true;
}

struct queued *transaction_take(struct session *s)
{
    struct transaction *t = s->transaction;
    struct queued *first = t->first;

    s->modes &= ~(unsigned)SESSION_MULTI;
    t->first = t->last = NULL;
    t->len = 0;
    t->bytes = 0;
    t->blobs = 0;
    t->spoilt = false;
    show(s);
    return first;
}

void transaction_free_queued(struct queued **queued)
{
    blob_unpin(&(*queued)->backing);
    free(*queued);
    *queued = NULL;
}

void transaction_end(struct server *server, struct session *s)
{
    struct queued *next;

    if (s->transaction == NULL)
        return;
    for (struct queued *q = transaction_take(s); q != NULL; q = next) {
        next = q->next;
        transaction_free_queued(&q);
    }
    watch_end(server, &s->transaction->watched);
}

void transaction_refuse_arity(struct exec *x, const struct command *command)
{
    if (command->handler != cmd_exec) {
        reply_wrong_arity(x, command->name);
        return;
    }
    transaction_end(x->server, x->session);
    counter_add(x->counters, transactions_aborted, 1);
    reply_error(x, "EXECABORT Transaction discarded because of: wrong number of arguments for '%s' command",
                command->name);
}

/* ---- queueing ---- */

static size_t bytes_of(const struct exec *x, const struct request *rq)
{
    size_t bytes = sizeof(struct queued) + rq->argc * sizeof *rq->argv;

    if (x->backing != NULL)
        return bytes + x->backing->capacity;
    for (uint32_t i = 0; i < rq->argc; i++)
        bytes += rq->argv[i].len;
    return bytes;
}

static bool fits(const struct exec *x, const struct transaction *t, size_t bytes)
{
    size_t limit = option_live(x->options, client_multi_bytes_limit);

    return t->len < (uint32_t)option_live(x->options, client_multi_limit) && bytes <= limit &&
           t->bytes <= limit - bytes;
}

static void copy_words(struct queued *q, const struct request *rq)
{
    uint8_t *to = (uint8_t *)(q->words + rq->argc);

    for (uint32_t i = 0; i < rq->argc; i++) {
        q->words[i] = (struct slice){to, rq->argv[i].len};
        if (rq->argv[i].len > 0)
            memcpy(to, rq->argv[i].data, rq->argv[i].len);
        to += rq->argv[i].len;
    }
}

/* A copy that stays when the input buffer is used anew. NULL when memory is short. */
static struct queued *queued_new(const struct exec *x, const struct command *command,
                                 const struct request *rq, size_t bytes)
{
    bool pinned = x->backing != NULL;
    struct queued *q = malloc(pinned ? bytes - x->backing->capacity : bytes);

    if (q == NULL)
        return NULL;
    *q = (struct queued){.command = command};
    q->request = (struct request){.argv = q->words, .argc = rq->argc, .argv_max = rq->argc};
    if (pinned) {
        blob_pin(x->backing);
        q->backing = x->backing;
        memcpy(q->words, rq->argv, rq->argc * sizeof *rq->argv);
    } else {
        copy_words(q, rq);
    }
    return q;
}

/* The subcommand, too, has to be known and to have its words. False: answered. */
static bool subcommand_is_right(struct exec *x, const struct command *command, const struct request *rq)
{
    struct request words = *rq;
    size_t before = out_mark(x->out);

    if (!(command->flags & CMD_FAMILY) || rq->argc < 2)
        return true;
    x->checking = true;
    command->handler(x, &words);
    x->checking = false;
    return out_mark(x->out) == before; /* it answers only what is wrong */
}

void transaction_queue(struct exec *x, const struct command *command, const struct request *rq)
{
    struct transaction *t = x->session->transaction;
    size_t bytes = bytes_of(x, rq);
    struct queued *q;

    if (command->flags & CMD_NO_MULTI) {
        reply_error(x, "ERR Command not allowed inside a transaction");
        t->spoilt = true;
        return;
    }
    if (!subcommand_is_right(x, command, rq)) {
        t->spoilt = true;
        return;
    }
    if (!fits(x, t, bytes) || (q = queued_new(x, command, rq, bytes)) == NULL) {
        counter_add(x->counters, multi_limit_refused, 1);
        reply_error(x, "ERR transaction is over client-multi-limit or client-multi-bytes-limit");
        t->spoilt = true;
        return;
    }
    if (t->last != NULL)
        t->last->next = q;
    else
        t->first = q;
    t->last = q;
    t->len++;
    t->bytes += bytes;
    t->blobs += q->backing != NULL ? q->backing->capacity : 0;
    show(x->session);
    reply_simple(x, "QUEUED");
}
