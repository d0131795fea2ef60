#include "server/pubsub.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "server/check.h"
#include "server/glob.h"
#include "server/push.h"
#include "server/server.h"
#include "server/table.h"
#include "server/worker.h"

enum {
    FIRST_SUBSCRIBERS = 2,
    SHARE = 8, /* of maxmemory, at most: one eighth */
};

/* A name somebody subscribed to. */
struct topic {
    UT_hash_handle hh;
    enum pubsub_kind kind;
    uint32_t len, cap;
    post_address *to;             /* len of them: what is posted to */
    struct subscription **owners; /* whose each is */
    size_t name_len;
    uint8_t name[];
};

struct subscription {
    UT_hash_handle hh; /* in its client's set, by topic */
    struct topic *topic;
    uint32_t place; /* in topic->to */
};

struct pubsub {
    pthread_rwlock_t lock;
    struct topic *topics[PUBSUB_KINDS];
    size_t bytes; /* of all topics and subscriptions */
    _Atomic size_t clients;
};

struct pubsub *pubsub_new(void)
{
    struct pubsub *p = calloc(1, sizeof *p);
    pthread_rwlockattr_t attr;

    if (p == NULL)
        return NULL;
    /* Else those who publish all the time would keep subscribers out. */
    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&p->lock, &attr);
    pthread_rwlockattr_destroy(&attr);
    return p;
}

void pubsub_free(struct pubsub **pubsub)
{
    if (*pubsub == NULL)
        return;
    for (unsigned kind = 0; kind < PUBSUB_KINDS; kind++)
        CHECK((*pubsub)->topics[kind] == NULL);
    pthread_rwlock_destroy(&(*pubsub)->lock);
    free(*pubsub);
    *pubsub = NULL;
}

/* ---- topics; under the lock ---- */

static size_t topic_bytes(const struct topic *t)
{
    return sizeof *t + t->name_len + t->cap * (sizeof *t->to + sizeof *t->owners);
}

static struct topic *topic_find(struct pubsub *p, enum pubsub_kind kind, struct slice name)
{
    struct topic *t;

    HASH_FIND(hh, p->topics[kind], name.data, name.len, t);
    return t;
}

static struct topic *topic_new(struct pubsub *p, enum pubsub_kind kind, struct slice name)
{
    struct topic *t = calloc(1, sizeof *t + name.len);

    if (t == NULL)
        return NULL;
    t->kind = kind;
    t->name_len = name.len;
    if (name.len > 0)
        memcpy(t->name, name.data, name.len);
    HASH_ADD_KEYPTR(hh, p->topics[kind], t->name, t->name_len, t);
    if (t->hh.tbl == NULL) {
        free(t);
        return NULL;
    }
    p->bytes += topic_bytes(t);
    return t;
}

static void topic_drop_if_empty(struct pubsub *p, struct topic *t)
{
    if (t->len > 0)
        return;
    p->bytes -= topic_bytes(t);
    HASH_DEL(p->topics[t->kind], t);
    free(t->to);
    free(t->owners);
    free(t);
}

static bool topic_grow(struct pubsub *p, struct topic *t)
{
    uint32_t cap = t->cap > 0 ? 2 * t->cap : FIRST_SUBSCRIBERS;
    post_address *to = realloc(t->to, cap * sizeof *to);
    struct subscription **owners;

    if (to == NULL)
        return false;
    t->to = to;
    if ((owners = realloc(t->owners, cap * sizeof(*owners))) == NULL)
        return false;
    t->owners = owners;
    p->bytes -= topic_bytes(t);
    t->cap = cap;
    p->bytes += topic_bytes(t);
    return true;
}

static bool topic_add(struct pubsub *p, struct topic *t, struct subscription *sub, post_address who)
{
    if (t->len == t->cap && !topic_grow(p, t))
        return false;
    sub->place = t->len;
    t->to[t->len] = who;
    t->owners[t->len++] = sub;
    p->bytes += sizeof *sub;
    return true;
}

static void topic_remove(struct pubsub *p, struct topic *t, struct subscription *sub)
{
    uint32_t last = --t->len;

    t->to[sub->place] = t->to[last];
    t->owners[sub->place] = t->owners[last];
    t->owners[sub->place]->place = sub->place;
    p->bytes -= sizeof *sub;
}

/* ---- subscriptions ---- */

static uint32_t total(const struct session *s)
{
    uint32_t sum = 0;

    for (unsigned kind = 0; kind < PUBSUB_KINDS; kind++)
        sum += atomic_load_explicit(&s->subscriptions[kind], memory_order_relaxed);
    return sum;
}

static void count(struct pubsub *p, struct session *s, enum pubsub_kind kind, int change)
{
    bool before = total(s) > 0, now;

    atomic_fetch_add_explicit(&s->subscriptions[kind], (uint32_t)change, memory_order_relaxed);
    now = total(s) > 0;
    if (before == now)
        return;
    atomic_fetch_add_explicit(&p->clients, now ? 1 : (size_t)-1, memory_order_relaxed);
    session_show(s, SHOWN_PUBSUB, now);
    s->modes = now ? s->modes | SESSION_SUBSCRIBED : s->modes & ~(unsigned)SESSION_SUBSCRIBED;
}

static struct subscription *find(struct pubsub *p, struct push *push, enum pubsub_kind kind,
                                 struct slice name)
{
    struct topic *t = topic_find(p, kind, name);
    struct subscription *sub = NULL;

    if (t != NULL)
        HASH_FIND_PTR(push->subscriptions[kind], &t, sub);
    return sub;
}

/* Under the lock. False: there was no memory for it. */
static bool subscribe(struct pubsub *p, struct push *push, enum pubsub_kind kind, struct slice name)
{
    struct subscription *sub = calloc(1, sizeof *sub);
    struct topic *t = topic_find(p, kind, name);

    if (sub == NULL)
        return false;
    if (t == NULL && (t = topic_new(p, kind, name)) == NULL) {
        free(sub);
        return false;
    }
    sub->topic = t;
    if (topic_add(p, t, sub, address_of(push->session))) {
        HASH_ADD_PTR(push->subscriptions[kind], topic, sub);
        if (sub->hh.tbl != NULL) {
            count(p, push->session, kind, 1);
            return true;
        }
        topic_remove(p, t, sub);
    }
    topic_drop_if_empty(p, t);
    free(sub);
    return false;
}

static bool fits(struct exec *x, const struct pubsub *p, struct slice name)
{
    size_t needed = sizeof(struct topic) + sizeof(struct subscription) + name.len;

    return total(x->session) < (uint32_t)option_live(x->options, pubsub_max_subscriptions) &&
           p->bytes + needed <= server_at_most(x->server, option_live(x->options, pubsub_max_memory), SHARE);
}

bool pubsub_subscribe(struct exec *x, struct push *push, enum pubsub_kind kind, struct slice name)
{
    struct pubsub *p = x->server->pubsub;
    bool done;

    pthread_rwlock_wrlock(&p->lock);
    done = find(p, push, kind, name) != NULL || (fits(x, p, name) && subscribe(p, push, kind, name));
    pthread_rwlock_unlock(&p->lock);
    if (!done)
        counter_add(x->counters, subscriptions_refused, 1);
    return done;
}

/* Under the lock. */
static void unsubscribe(struct pubsub *p, struct push *push, struct subscription *sub)
{
    struct topic *t = sub->topic;
    enum pubsub_kind kind = t->kind;

    HASH_DEL(push->subscriptions[kind], sub);
    topic_remove(p, t, sub);
    topic_drop_if_empty(p, t);
    free(sub);
    count(p, push->session, kind, -1);
}

void pubsub_unsubscribe(struct server *server, struct push *push, enum pubsub_kind kind, struct slice name)
{
    struct pubsub *p = server->pubsub;
    struct subscription *sub;

    pthread_rwlock_wrlock(&p->lock);
    if ((sub = find(p, push, kind, name)) != NULL)
        unsubscribe(p, push, sub);
    pthread_rwlock_unlock(&p->lock);
}

bool pubsub_unsubscribe_any(struct server *server, struct push *push, enum pubsub_kind kind, struct out *name)
{
    struct subscription *sub = push->subscriptions[kind];

    if (sub == NULL)
        return false;
    pthread_rwlock_wrlock(&server->pubsub->lock);
    out_append(name, sub->topic->name, sub->topic->name_len);
    unsubscribe(server->pubsub, push, sub);
    pthread_rwlock_unlock(&server->pubsub->lock);
    return true;
}

void pubsub_unsubscribe_all(struct server *server, struct push *push)
{
    pthread_rwlock_wrlock(&server->pubsub->lock);
    for (unsigned kind = 0; kind < PUBSUB_KINDS; kind++) {
        while (push->subscriptions[kind] != NULL)
            unsubscribe(server->pubsub, push, push->subscriptions[kind]);
    }
    pthread_rwlock_unlock(&server->pubsub->lock);
}

/* ---- publishing ---- */

static void send_message(struct exec *x, const struct topic *t, const struct slice *words, size_t n)
{
    struct blob *body = push_words(words, n);

    if (body == NULL) {
        counter_add(x->counters, push_dropped, t->len);
        return;
    }
    post_to(x->server, LETTER_MESSAGE, body, 0, t->to, t->len);
    blob_unpin(&body);
}

static size_t publish_to_patterns(struct exec *x, struct slice name, struct slice payload)
{
    size_t n = 0;

    for (struct topic *t = x->server->pubsub->topics[PUBSUB_PATTERN]; t != NULL; t = t->hh.next) {
        struct slice pattern = {t->name, t->name_len};

        if (!glob_matches(pattern, name))
            continue;
        n += t->len;
        send_message(x, t, (struct slice[]){slice_of("pmessage"), pattern, name, payload}, 4);
    }
    return n;
}

size_t pubsub_publish(struct exec *x, enum pubsub_kind kind, struct slice name, struct slice payload)
{
    struct pubsub *p = x->server->pubsub;
    struct topic *t;
    size_t n = 0;

    pthread_rwlock_rdlock(&p->lock);
    if ((t = topic_find(p, kind, name)) != NULL) {
        n = t->len;
        send_message(x, t,
                     (struct slice[]){slice_of(kind == PUBSUB_SHARD ? "smessage" : "message"), name, payload},
                     3);
    }
    if (kind == PUBSUB_CHANNEL)
        n += publish_to_patterns(x, name, payload);
    pthread_rwlock_unlock(&p->lock);
    return n;
}

/* ---- looking ---- */

size_t pubsub_names(struct pubsub *p, enum pubsub_kind kind)
{
    size_t n;

    pthread_rwlock_rdlock(&p->lock);
    n = HASH_COUNT(p->topics[kind]);
    pthread_rwlock_unlock(&p->lock);
    return n;
}

size_t pubsub_subscribers(struct pubsub *p, enum pubsub_kind kind, struct slice name)
{
    struct topic *t;
    size_t n;

    pthread_rwlock_rdlock(&p->lock);
    t = topic_find(p, kind, name);
    n = t != NULL ? t->len : 0;
    pthread_rwlock_unlock(&p->lock);
    return n;
}

size_t pubsub_clients(const struct pubsub *p)
{
    return atomic_load_explicit(&p->clients, memory_order_relaxed);
}

void pubsub_each(struct pubsub *p, enum pubsub_kind kind, struct slice pattern,
                 void (*visit)(void *arg, struct slice name), void *arg)
{
    pthread_rwlock_rdlock(&p->lock);
    for (struct topic *t = p->topics[kind]; t != NULL; t = t->hh.next) {
        struct slice name = {t->name, t->name_len};

        if (glob_matches(pattern, name))
            visit(arg, name);
    }
    pthread_rwlock_unlock(&p->lock);
}
