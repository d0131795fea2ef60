#include "server/post.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "server/server.h"
#include "server/worker.h"

enum {
    WORKERS_MAX = 256,
    OUTBOX_BYTES = 256 * 1024, /* at which it is emptied at once */
    SHARE = 8,                 /* of maxmemory at most, for all inboxes: one eighth */
};

static _Thread_local struct worker *me;

struct worker *post_me(void)
{
    return me;
}

void post_set_me(struct worker *worker)
{
    me = worker;
}

static size_t weight(const struct letter *l)
{
    return sizeof *l + l->to_len * sizeof *l->to + (l->body != NULL ? l->body->capacity : 0);
}

void letter_free(struct letter *l)
{
    blob_unpin(&l->body);
    free(l);
}

static struct letter *letter_new(enum letter_kind kind, struct blob *body, post_address about,
                                 unsigned worker, uint32_t n)
{
    struct letter *l = malloc(sizeof *l + n * sizeof *l->to);

    if (l == NULL)
        return NULL;
    *l = (struct letter){.kind = kind, .body = body, .about = about, .worker = worker, .to_len = n};
    if (body != NULL)
        blob_pin(body);
    return l;
}

static void free_list(struct letter *l)
{
    while (l != NULL) {
        struct letter *next = l->next;

        letter_free(l);
        l = next;
    }
}

void post_box_clear(struct post_box *box)
{
    free_list(box->first);
    box->first = box->last = NULL;
    box->bytes = 0;
}

/* ---- what does not fit ---- */

static bool is_invalidation(enum letter_kind kind)
{
    return kind == LETTER_INVALID || kind == LETTER_ALL_INVALID || kind == LETTER_REDIRECTED ||
           kind == LETTER_REDIRECT_LOST;
}

/* Few and small: as many as there are parked connections. */
static bool is_always_taken(enum letter_kind kind)
{
    return kind == LETTER_WAKE || kind == LETTER_TIME_OUT || kind == LETTER_UNBLOCK || kind == LETTER_UNPAUSE;
}

static void count_lost(enum letter_kind kind, size_t recipients)
{
    if (me == NULL)
        return;
    if (is_invalidation(kind))
        counter_add(me->exec.counters, tracking_overflows, 1);
    else
        counter_add(me->exec.counters, push_dropped, recipients);
}

/* Memory is short, or the inbox is full. Under its lock. */
static void lose(struct post_box *box, enum letter_kind kind, size_t recipients)
{
    if (is_invalidation(kind))
        box->all_invalid = true;
    count_lost(kind, recipients);
}

/* ---- sending ---- */

/* Takes the letter over; NULL: it could not be made. */
static void deliver(struct server *server, unsigned to, enum letter_kind kind, struct letter *l,
                    size_t recipients)
{
    struct worker *w = server->workers[to];
    struct post_box *box = &w->inbox.post;
    size_t limit =
        server_at_most(server, option_live(&server->options, push_queue_limit), SHARE * server->workers_len);
    bool first;

    pthread_mutex_lock(&w->inbox.lock);
    first = !atomic_load_explicit(&box->some, memory_order_relaxed);
    atomic_store_explicit(&box->some, true, memory_order_relaxed);
    if (l == NULL || (box->bytes + weight(l) > limit && !is_always_taken(kind))) {
        lose(box, kind, recipients);
    } else {
        l->next = NULL;
        if (box->last != NULL)
            box->last->next = l;
        else
            box->first = l;
        box->last = l;
        box->bytes += weight(l);
        l = NULL;
    }
    pthread_mutex_unlock(&w->inbox.lock);
    if (l != NULL)
        letter_free(l);
    if (first && w != me) /* one's own is looked at after this turn in any case */
        worker_wake(w);
}

static void outbox_add(struct server *server, unsigned to, enum letter_kind kind, struct letter *l,
                       size_t recipients)
{
    if (l == NULL || me == NULL) {
        deliver(server, to, kind, l, recipients);
        return;
    }
    l->next = NULL;
    if (me->outbox.last != NULL)
        me->outbox.last->next = l;
    else
        me->outbox.first = l;
    me->outbox.last = l;
    me->outbox.bytes += weight(l);
    if (me->outbox.bytes > OUTBOX_BYTES)
        post_flush(me);
}

void post_flush(struct worker *w)
{
    struct letter *l = w->outbox.first, *next;

    w->outbox.first = w->outbox.last = NULL;
    w->outbox.bytes = 0;
    for (; l != NULL; l = next) {
        next = l->next;
        deliver(w->server, l->worker, l->kind, l, l->to_len);
    }
}

typedef void send_one(struct server *server, unsigned to, enum letter_kind kind, struct letter *l,
                      size_t recipients);

static void send_to_one(struct server *server, enum letter_kind kind, struct blob *body, post_address about,
                        post_address to, send_one *send)
{
    unsigned worker = address_worker(to);
    struct letter *l = letter_new(kind, body, about, worker, 1);

    if (l != NULL)
        l->to[0] = address_id(to);
    send(server, worker, kind, l, 1);
}

/* One letter per worker. */
static void send_to(struct server *server, enum letter_kind kind, struct blob *body, post_address about,
                    const post_address *to, size_t n, send_one *send)
{
    uint32_t counts[WORKERS_MAX] = {0};
    struct letter *letters[WORKERS_MAX];

    if (n == 0)
        return;
    if (n == 1) {
        send_to_one(server, kind, body, about, to[0], send);
        return;
    }
    for (size_t i = 0; i < n; i++)
        counts[address_worker(to[i])]++;
    for (unsigned w = 0; w < server->workers_len; w++) {
        letters[w] = NULL;
        if (counts[w] > 0 && (letters[w] = letter_new(kind, body, about, w, counts[w])) != NULL)
            letters[w]->to_len = 0;
    }
    for (size_t i = 0; i < n; i++) {
        struct letter *l = letters[address_worker(to[i])];

        if (l != NULL)
            l->to[l->to_len++] = address_id(to[i]);
    }
    for (unsigned w = 0; w < server->workers_len; w++) {
        if (counts[w] > 0)
            send(server, w, kind, letters[w], counts[w]);
    }
}

void post_to(struct server *server, enum letter_kind kind, struct blob *body, post_address about,
             const post_address *to, size_t n)
{
    send_to(server, kind, body, about, to, n, deliver);
}

void post_later(struct server *server, enum letter_kind kind, struct blob *body, post_address about,
                const post_address *to, size_t n)
{
    send_to(server, kind, body, about, to, n, outbox_add);
}

void post_everybody(struct server *server, enum letter_kind kind)
{
    for (unsigned w = 0; w < server->workers_len; w++)
        deliver(server, w, kind, letter_new(kind, NULL, 0, w, 0), 0);
}
