/* handover_ready.c - whether all keys of a request are where they are to be. */
#include "cluster/slot.h"
#include "protocol/memcache_meta.h"
#include "protocol/memcache_text.h"
#include "server/cluster/handover.h"
#include "server/command/command.h"
#include "server/command/memcache.h"
#include "server/transaction.h"
#include "server/worker.h"

/* Asks for all keys before it waits, so that a request waits once. */
static bool have_resp(struct exec *x, const struct command *c, const struct request *rq)
{
    uint32_t last, step = (uint32_t)c->key_step;
    bool all = true;

    if ((c->handler == cmd_object || c->handler == cmd_memory) && rq->argc >= 3)
        return handover_has(x, rq->argv[2]);
    if (c->first_key <= 0 || (c->flags & CMD_PUBSUB))
        return true;
    last = command_last_key(c, rq->argc);
    for (uint32_t i = (uint32_t)c->first_key; i <= last && i < rq->argc; i += step)
        all &= handover_has(x, rq->argv[i]);
    return all;
}

/* EXEC may wait: nothing of it has been executed. */
static bool have_queued(struct exec *x)
{
    struct session *s = x->session;
    unsigned modes = s->modes;
    bool all = true;

    if (s->transaction == NULL)
        return true;
    s->modes &= ~(unsigned)SESSION_MULTI;
    for (const struct queued *q = s->transaction->first; q != NULL; q = q->next)
        all &= have_resp(x, q->command, &q->request);
    if (!all)
        handover_park(x);
    s->modes = modes;
    return all;
}

bool handover_ready(struct exec *x, const struct command *command, const struct request *rq)
{
    if (!x->worker->routes.routes->pulls)
        return true;
    if (command->handler == cmd_exec)
        return have_queued(x);
    if (have_resp(x, command, rq))
        return true;
    handover_park(x);
    return false;
}

static bool have_meta(struct exec *x, const struct request *rq)
{
    uint8_t room[META_KEY_ROOM];
    struct slice key = rq->argv[1];

    if (key.len > MEMCACHE_KEY_MAX)
        return true;
    for (uint32_t i = 2; i < rq->argc; i++) {
        if (slice_equals(rq->argv[i], slice_of("b")))
            key = (struct slice){room, base64_decode(room, rq->argv[1])};
    }
    return key.len == 0 || handover_has(x, key);
}

/* The first key, and those behind it of a verb that takes a list. */
static bool have_line(struct exec *x, const struct request *rq)
{
    static const char *const lists[] = {"get", "gets", "bget", "gat", "gats", "lease-get"};
    enum meta_verb meta;
    struct slice key;
    bool all = true, list = false;

    if (meta_verb_of(rq->argv[0], &meta))
        return rq->argc < 2 || meta == META_NOOP || have_meta(x, rq);
    if (!memcache_first_key(rq, &key))
        return true;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        list |= slice_equals(rq->argv[0], slice_of(lists[i]));
    for (uint32_t i = 1; i < rq->argc; i++) {
        if (rq->argv[i].data >= key.data && rq->argv[i].len <= MEMCACHE_KEY_MAX &&
            (list || rq->argv[i].data == key.data))
            all &= handover_has(x, rq->argv[i]);
    }
    return all;
}

bool handover_ready_memcache(struct exec *x, const struct request *rq)
{
    struct slice key;
    bool all;

    if (!x->worker->routes.routes->pulls || rq->argc == 0)
        return true;
    if (x->session->binary)
        all = !binary_first_key(rq, &key) || handover_has(x, key);
    else
        all = have_line(x, rq);
    if (!all)
        handover_park(x);
    return all;
}
