#include "server/herd/waiters.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "server/check.h"

enum { STRIPES = 64, QUEUES = 64 }; /* of buckets per stripe */

struct stripe {
    pthread_mutex_t lock;
    struct waiter *queues[QUEUES]; /* firsts, linked by next_queue */
};

struct waiters {
    _Atomic uint64_t len, tickets;
    struct stripe stripes[STRIPES];
};

struct waiters *waiters_new(void)
{
    struct waiters *t = calloc(1, sizeof *t);

    if (t == NULL)
        return NULL;
    for (unsigned i = 0; i < STRIPES; i++)
        pthread_mutex_init(&t->stripes[i].lock, NULL);
    return t;
}

void waiters_free(struct waiters **waiters)
{
    struct waiters *t = *waiters;

    *waiters = NULL;
    if (t == NULL)
        return;
    CHECK(waiters_len(t) == 0);
    for (unsigned i = 0; i < STRIPES; i++)
        pthread_mutex_destroy(&t->stripes[i].lock);
    free(t);
}

uint64_t waiters_len(const struct waiters *t)
{
    return atomic_load_explicit(&t->len, memory_order_relaxed);
}

/* ---- queues, locked ---- */

static struct stripe *lock(struct waiters *t, uint64_t hash)
{
    struct stripe *s = &t->stripes[hash % STRIPES];

    pthread_mutex_lock(&s->lock);
    return s;
}

/* Where the key's first is linked, or would be. */
static struct waiter **find(struct stripe *s, uint64_t hash, uint8_t db)
{
    struct waiter **at = &s->queues[hash / STRIPES % QUEUES];

    while (*at != NULL && ((*at)->hash != hash || (*at)->db != db))
        at = &(*at)->next_queue;
    return at;
}

/* The queue's first is another now, or the queue is gone. */
static void begin_with(struct waiter **at, struct waiter *first)
{
    struct waiter *old = *at;

    if (first != NULL) {
        first->next_queue = old->next_queue;
        first->last = old->last;
        first->len = old->len;
        *at = first;
    } else {
        *at = old->next_queue;
    }
    old->next_queue = old->last = NULL;
    old->len = 0;
}

/* Behind all who have a lower ticket: nearly always the end, or near the beginning. */
static struct waiter *place_behind(const struct waiter *first, uint64_t ticket)
{
    struct waiter *behind = NULL;

    if (first->last->ticket < ticket)
        return first->last;
    for (const struct waiter *w = first; w != NULL && w->ticket < ticket; w = w->next)
        behind = (struct waiter *)(uintptr_t)w;
    return behind;
}

static void enter(struct waiter **at, struct waiter *w)
{
    struct waiter *first = *at, *behind;

    if (first == NULL) {
        w->next = w->prev = w->next_queue = NULL;
        w->last = w;
        w->len = 0;
        *at = w;
    } else if ((behind = place_behind(first, w->ticket)) == NULL) {
        w->prev = NULL;
        w->next = first;
        first->prev = w;
        begin_with(at, w);
    } else {
        w->prev = behind;
        w->next = behind->next;
        behind->next = w;
        if (w->next != NULL)
            w->next->prev = w;
        else
            first->last = w;
    }
    (*at)->len++;
    w->queued = true;
}

static void drop(struct waiters *t, struct waiter **at, struct waiter *w)
{
    struct waiter *first = *at;

    first->len--;
    if (w->next != NULL)
        w->next->prev = w->prev;
    else
        first->last = w->prev;
    if (w->prev != NULL)
        w->prev->next = w->next;
    else
        begin_with(at, w->next);
    w->next = w->prev = NULL;
    w->queued = false;
    atomic_fetch_sub_explicit(&t->len, 1, memory_order_relaxed);
}

/* ---- joining and leaving ---- */

enum waiters_answer waiters_join(struct waiters *t, struct waiter *w, uint64_t hash, uint8_t db,
                                 uint64_t most, uint32_t most_per_key)
{
    enum waiters_answer answer = WAITERS_FULL;
    struct waiter **at;
    struct stripe *s;

    CHECK(!w->joined || waiters_is_at(w, hash, db));
    if (w->ticket == 0)
        w->ticket = atomic_fetch_add_explicit(&t->tickets, 1, memory_order_relaxed) + 1;
    s = lock(t, hash);
    at = find(s, hash, db);
    if (!w->queued && (*at != NULL ? (*at)->len : 0) < most_per_key) {
        /* Counted first, so that no two who ask at once both get the last place. */
        if (atomic_fetch_add_explicit(&t->len, 1, memory_order_relaxed) < most) {
            w->hash = hash;
            w->db = db;
            enter(at, w);
        } else {
            atomic_fetch_sub_explicit(&t->len, 1, memory_order_relaxed);
        }
    }
    if (w->queued)
        answer = *at == w ? WAITERS_FIRST : WAITERS_BEHIND;
    w->joined = w->queued;
    pthread_mutex_unlock(&s->lock);
    return answer;
}

uint64_t waiters_leave(struct waiters *t, struct waiter *w)
{
    struct waiter **at;
    uint64_t next = 0;
    struct stripe *s;

    if (!w->joined)
        return 0;
    w->joined = false;
    s = lock(t, w->hash);
    if (w->queued) {
        at = find(s, w->hash, w->db);
        if (*at == w && w->next != NULL)
            next = w->next->who;
        drop(t, at, w);
    }
    pthread_mutex_unlock(&s->lock);
    return next;
}

/* ---- waking ---- */

uint64_t waiters_first(struct waiters *t, uint64_t hash, uint8_t db)
{
    struct stripe *s = lock(t, hash);
    const struct waiter *first = *find(s, hash, db);
    uint64_t who = first != NULL ? first->who : 0;

    pthread_mutex_unlock(&s->lock);
    return who;
}

size_t waiters_take(struct waiters *t, uint64_t hash, uint8_t db, uint64_t *who, size_t most)
{
    struct stripe *s = lock(t, hash);
    struct waiter **at = find(s, hash, db), *w;
    size_t n = 0;

    while (n < most && (w = *at) != NULL && w->hash == hash && w->db == db) {
        who[n++] = w->who;
        drop(t, at, w);
    }
    pthread_mutex_unlock(&s->lock);
    return n;
}

void waiters_each_first(struct waiters *t, int db, void (*visit)(void *arg, uint64_t who), void *arg)
{
    for (unsigned i = 0; i < STRIPES; i++) {
        struct stripe *s = &t->stripes[i];

        pthread_mutex_lock(&s->lock);
        for (unsigned q = 0; q < QUEUES; q++) {
            for (const struct waiter *w = s->queues[q]; w != NULL; w = w->next_queue) {
                if (db < 0 || w->db == db)
                    visit(arg, w->who);
            }
        }
        pthread_mutex_unlock(&s->lock);
    }
}

/* ---- checking ---- */

static uint64_t check_queue(const struct waiter *first)
{
    const struct waiter *before = NULL;
    uint32_t n = 0;

    CHECK(first->prev == NULL);
    for (const struct waiter *w = first; w != NULL; before = w, w = w->next, n++) {
        CHECK(w->queued && w->hash == first->hash && w->db == first->db && w->prev == before);
        CHECK(before == NULL || (before->ticket < w->ticket && w->last == NULL && w->next_queue == NULL));
    }
    CHECK(first->last == before && first->len == n);
    return n;
}

void waiters_check(struct waiters *t)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < STRIPES; i++) {
        struct stripe *s = &t->stripes[i];

        pthread_mutex_lock(&s->lock);
        for (unsigned q = 0; q < QUEUES; q++) {
            for (const struct waiter *w = s->queues[q]; w != NULL; w = w->next_queue)
                n += check_queue(w);
        }
        pthread_mutex_unlock(&s->lock);
    }
    CHECK(n == waiters_len(t));
}
