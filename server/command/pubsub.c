/* pubsub.c - SUBSCRIBE and its kin, PUBLISH, PUBSUB, MONITOR. */
#include "protocol/resp.h"
#include "server/cluster/everywhere.h"
#include "server/command/command.h"
#include "server/monitor.h"
#include "server/pubsub.h"
#include "server/push.h"
#include "server/server.h"

/* ---- subscribing ---- */

static const char *const subscribe_words[] = {"subscribe", "psubscribe", "ssubscribe"};
static const char *const unsubscribe_words[] = {"unsubscribe", "punsubscribe", "sunsubscribe"};

/* Shard channels are counted by themselves. */
static int64_t count_of(const struct session *s, enum pubsub_kind kind)
{
    const _Atomic uint32_t *n = s->subscriptions;

    if (kind == PUBSUB_SHARD)
        return atomic_load_explicit(&n[PUBSUB_SHARD], memory_order_relaxed);
    return (int64_t)atomic_load_explicit(&n[PUBSUB_CHANNEL], memory_order_relaxed) +
           atomic_load_explicit(&n[PUBSUB_PATTERN], memory_order_relaxed);
}

static void reply_push_open(struct exec *x, const char *word)
{
    out_commit(x->out, resp_put_push(out_room(x->out, RESP_HEADER_MAX), x->session->resp, 3));
    reply_text(x, word);
}

static void subscribe(struct exec *x, const struct request *rq, enum pubsub_kind kind)
{
    struct push *push = push_of(x);

    for (uint32_t i = 1; push != NULL && i < rq->argc; i++) {
        if (!pubsub_subscribe(x, push, kind, rq->argv[i])) {
            reply_error(x, "ERR too many subscriptions; see pubsub-max-subscriptions and pubsub-max-memory");
            continue;
        }
        reply_push_open(x, subscribe_words[kind]);
        reply_bulk(x, rq->argv[i]);
        reply_integer(x, count_of(x->session, kind));
    }
}

static void unsubscribe_from_all(struct exec *x, struct push *push, enum pubsub_kind kind)
{
    struct out name = {0};

    if (push->subscriptions[kind] == NULL) {
        reply_push_open(x, unsubscribe_words[kind]);
        reply_null(x);
        reply_integer(x, count_of(x->session, kind));
        return;
    }
    while (pubsub_unsubscribe_any(x->server, push, kind, &name)) {
        push_deliver(x->worker);
        reply_push_open(x, unsubscribe_words[kind]);
        reply_bulk(x, name.len > 0 ? (struct slice){name.data, name.len} : slice_of(""));
        reply_integer(x, count_of(x->session, kind));
        x->out->failed |= name.failed;
        out_clear(&name, SIZE_MAX);
    }
    out_free(&name);
}

/* What was published before comes before the reply, and nothing after it. */
static void unsubscribe(struct exec *x, const struct request *rq, enum pubsub_kind kind)
{
    struct push *push = push_of(x);

    if (push == NULL)
        return;
    if (rq->argc == 1) {
        unsubscribe_from_all(x, push, kind);
        return;
    }
    for (uint32_t i = 1; i < rq->argc; i++) {
        pubsub_unsubscribe(x->server, push, kind, rq->argv[i]);
        push_deliver(x->worker);
        reply_push_open(x, unsubscribe_words[kind]);
        reply_bulk(x, rq->argv[i]);
        reply_integer(x, count_of(x->session, kind));
    }
}

void cmd_subscribe(struct exec *x, struct request *rq)
{
    subscribe(x, rq, PUBSUB_CHANNEL);
}

void cmd_psubscribe(struct exec *x, struct request *rq)
{
    subscribe(x, rq, PUBSUB_PATTERN);
}

void cmd_ssubscribe(struct exec *x, struct request *rq)
{
    subscribe(x, rq, PUBSUB_SHARD);
}

void cmd_unsubscribe(struct exec *x, struct request *rq)
{
    unsubscribe(x, rq, PUBSUB_CHANNEL);
}

void cmd_punsubscribe(struct exec *x, struct request *rq)
{
    unsubscribe(x, rq, PUBSUB_PATTERN);
}

void cmd_sunsubscribe(struct exec *x, struct request *rq)
{
    unsubscribe(x, rq, PUBSUB_SHARD);
}

/* ---- publishing ---- */

static void publish(struct exec *x, const struct request *rq, enum pubsub_kind kind)
{
    size_t n = pubsub_publish(x, kind, rq->argv[1], rq->argv[2]);

    if (x->session->modes & SESSION_SUBSCRIBED)
        push_deliver(x->worker); /* redis gives the publisher its own copy before the reply */
    reply_integer(x, (int64_t)n);
    if (atomic_load_explicit(&x->server->modes, memory_order_relaxed) & SERVER_CLUSTER)
        everywhere_tell(x, rq);
}

void cmd_publish(struct exec *x, struct request *rq)
{
    publish(x, rq, PUBSUB_CHANNEL);
}

void cmd_spublish(struct exec *x, struct request *rq)
{
    publish(x, rq, PUBSUB_SHARD);
}

/* ---- PUBSUB ---- */

struct name_list {
    struct exec *x;
    size_t n;
};

static void list_name(void *arg, struct slice name)
{
    struct name_list *list = arg;

    reply_bulk(list->x, name);
    list->n++;
}

static void list_names(struct exec *x, const struct request *rq, enum pubsub_kind kind)
{
    struct name_list list = {.x = x};
    size_t mark;

    if (rq->argc > 3) {
        reply_error(x, "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try PUBSUB HELP.",
                    EXEC_QUOTED(rq->argv[1]));
        return;
    }
    mark = reply_array_open(x);
    pubsub_each(x->server->pubsub, kind, rq->argc == 3 ? rq->argv[2] : slice_of("*"), list_name, &list);
    reply_array_close(x, mark, list.n);
}

static void count_names(struct exec *x, const struct request *rq, enum pubsub_kind kind)
{
    reply_array(x, 2 * (size_t)(rq->argc - 2));
    for (uint32_t i = 2; i < rq->argc; i++) {
        reply_bulk(x, rq->argv[i]);
        reply_integer(x, (int64_t)pubsub_subscribers(x->server->pubsub, kind, rq->argv[i]));
    }
}

static void pubsub_channels(struct exec *x, struct request *rq)
{
    list_names(x, rq, PUBSUB_CHANNEL);
}

static void pubsub_shardchannels(struct exec *x, struct request *rq)
{
    list_names(x, rq, PUBSUB_SHARD);
}

static void pubsub_numsub(struct exec *x, struct request *rq)
{
    count_names(x, rq, PUBSUB_CHANNEL);
}

static void pubsub_shardnumsub(struct exec *x, struct request *rq)
{
    count_names(x, rq, PUBSUB_SHARD);
}

static void pubsub_numpat(struct exec *x, struct request *rq)
{
    (void)rq;
    reply_integer(x, (int64_t)pubsub_names(x->server->pubsub, PUBSUB_PATTERN));
}

static const struct subcommand pubsub_subcommands[] = {
    {"channels", "pubsub|channels", -2, pubsub_channels},
    {"numpat", "pubsub|numpat", 2, pubsub_numpat},
    {"numsub", "pubsub|numsub", -2, pubsub_numsub},
    {"shardchannels", "pubsub|shardchannels", -2, pubsub_shardchannels},
    {"shardnumsub", "pubsub|shardnumsub", -2, pubsub_shardnumsub},
    {0},
};

static const char *const pubsub_help[] = {
    "CHANNELS [<pattern>]",
    "    Channels that have subscribers, or those of them that match.",
    "NUMPAT",
    "    How many patterns have subscribers.",
    "NUMSUB [<channel> ...]",
    "    How many subscribers each of the channels has; patterns do not count.",
    "SHARDCHANNELS [<pattern>]",
    "    Shard channels that have subscribers, or those of them that match.",
    "SHARDNUMSUB [<shardchannel> ...]",
    "    How many subscribers each of the shard channels has.",
    NULL,
};

void cmd_pubsub(struct exec *x, struct request *rq)
{
    static const struct command_family family = {"PUBSUB", "pubsub|help", pubsub_subcommands, pubsub_help};

    command_family_run(x, rq, &family);
}

/* ---- MONITOR ---- */

void cmd_monitor(struct exec *x, struct request *rq)
{
    (void)rq;
    if (x->alone || (x->session->modes & SESSION_MULTI)) {
        reply_error(x, "ERR MONITOR isn't allowed for DENY BLOCKING client");
        return;
    }
    if (x->session->modes & SESSION_MONITOR)
        return; /* redis does not answer a second time either */
    if (push_of(x) != NULL && monitor_start(x->server, x->session))
        reply_ok(x);
    else
        x->out->failed = true;
}
