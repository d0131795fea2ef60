#include "server/cluster/pulls.h"

#include <pthread.h>
#include <stdlib.h>

enum { STRIPES = 64, SETTLED = 4096, WAITERS_MAX = 65536 };

struct pull {
    struct pull *next;
    uint64_t id;
    uint64_t serial;
    bool given_up;
    uint32_t waiters_len, waiters_cap;
    post_address *waiters;
};

/* `settled` is as a cache of one way: what falls into a place that is taken, takes it. 0: free, or of the key
 * with that id, which so costs one question more, or less: both are misses at worst. */
struct stripe {
    _Alignas(64) pthread_mutex_t lock;
    struct pull *under_way;
    uint64_t *settled;
    size_t count;
};

struct pulls {
    struct stripe stripes[STRIPES];
    _Atomic uint64_t begun; /* the serial of the last one */
};

struct pulls *pulls_new(void)
{
    struct pulls *ps = aligned_alloc(64, sizeof *ps);

    if (ps == NULL)
        return NULL;
    atomic_init(&ps->begun, 0);
    for (unsigned i = 0; i < STRIPES; i++) {
        ps->stripes[i] = (struct stripe){.under_way = NULL};
        pthread_mutex_init(&ps->stripes[i].lock, NULL);
    }
    return ps;
}

static void pull_free(struct pull *p)
{
    free(p->waiters);
    free(p);
}

void pulls_free(struct pulls **pulls)
{
    struct pulls *ps = *pulls;

    *pulls = NULL;
    if (ps == NULL)
        return;
    for (unsigned i = 0; i < STRIPES; i++) {
        struct stripe *s = &ps->stripes[i];

        while (s->under_way != NULL) {
            struct pull *p = s->under_way;

            s->under_way = p->next;
            pull_free(p);
        }
        free(s->settled);
        pthread_mutex_destroy(&s->lock);
    }
    free(ps);
}

static struct stripe *stripe_of(struct pulls *ps, uint64_t id)
{
    return &ps->stripes[id >> 58];
}

static uint64_t *place_of(struct stripe *s, uint64_t id)
{
    return s->settled == NULL ? NULL : &s->settled[id >> 8 & (SETTLED - 1)];
}

static void note_settled(struct stripe *s, uint64_t id)
{
    if (s->settled == NULL)
        s->settled = calloc(SETTLED, sizeof *s->settled); /* without, keys are asked for once more */
    if (s->settled != NULL)
        *place_of(s, id) = id;
}

static struct pull **find(struct stripe *s, uint64_t id)
{
    struct pull **at = &s->under_way;

    while (*at != NULL && (*at)->id != id)
        at = &(*at)->next;
    return at;
}

static bool wait_for(struct pull *p, post_address who)
{
    if (who == 0)
        return true;
    for (uint32_t i = 0; i < p->waiters_len; i++) {
        if (p->waiters[i] == who)
            return true;
    }
    if (p->waiters_len == p->waiters_cap) {
        uint32_t cap = p->waiters_cap == 0 ? 4 : 2 * p->waiters_cap;
        post_address *grown = cap > WAITERS_MAX ? NULL : realloc(p->waiters, cap * sizeof *grown);

        if (grown == NULL)
            return false;
        p->waiters = grown;
        p->waiters_cap = cap;
    }
    p->waiters[p->waiters_len++] = who;
    return true;
}

static enum pulls_answer begin(struct pulls *ps, struct stripe *s, uint64_t id, post_address who)
{
    const uint64_t *place = place_of(s, id);
    struct pull *p = *find(s, id);

    if ((p != NULL && p->given_up) || (place != NULL && *place == id))
        return PULLS_SETTLED;
    if (p != NULL)
        return wait_for(p, who) ? PULLS_UNDER_WAY : PULLS_NO_MEMORY;
    if ((p = calloc(1, sizeof *p)) == NULL)
        return PULLS_NO_MEMORY;
    p->id = id;
    if (!wait_for(p, who)) {
        pull_free(p);
        return PULLS_NO_MEMORY;
    }
    p->serial = atomic_fetch_add_explicit(&ps->begun, 1, memory_order_relaxed) + 1;
    p->next = s->under_way;
    s->under_way = p;
    s->count++;
    return PULLS_YOURS;
}

enum pulls_answer pulls_begin(struct pulls *ps, uint64_t id, post_address who)
{
    struct stripe *s = stripe_of(ps, id);
    enum pulls_answer answer;

    pthread_mutex_lock(&s->lock);
    answer = begin(ps, s, id, who);
    pthread_mutex_unlock(&s->lock);
    return answer;
}

void pulls_end(struct pulls *ps, struct server *server, uint64_t id, bool settled, void (*put)(void *arg),
               void *arg)
{
    struct stripe *s = stripe_of(ps, id);
    struct pull **at, *p;

    pthread_mutex_lock(&s->lock);
    at = find(s, id);
    if ((p = *at) == NULL) {
        pthread_mutex_unlock(&s->lock);
        return;
    }
    *at = p->next;
    s->count--;
    /* Under the lock, so that whoever gives it up comes wholly before or wholly after. */
    if (put != NULL && !p->given_up)
        put(arg);
    if (settled)
        note_settled(s, id);
    pthread_mutex_unlock(&s->lock);
    if (p->waiters_len > 0)
        post_to(server, LETTER_WAKE, NULL, 0, p->waiters, p->waiters_len);
    pull_free(p);
}

void pulls_drop(struct pulls *ps, uint64_t id)
{
    struct stripe *s = stripe_of(ps, id);
    struct pull **at, *p;

    pthread_mutex_lock(&s->lock);
    at = find(s, id);
    if ((p = *at) != NULL) {
        *at = p->next;
        s->count--;
    }
    pthread_mutex_unlock(&s->lock);
    if (p != NULL)
        pull_free(p);
}

void pulls_settle(struct pulls *ps, uint64_t id)
{
    struct stripe *s = stripe_of(ps, id);
    struct pull *p;

    pthread_mutex_lock(&s->lock);
    if ((p = *find(s, id)) != NULL)
        p->given_up = true;
    note_settled(s, id);
    pthread_mutex_unlock(&s->lock);
}

uint64_t pulls_serial(struct pulls *ps)
{
    return atomic_load_explicit(&ps->begun, memory_order_relaxed);
}

bool pulls_ended_until(struct pulls *ps, uint64_t serial)
{
    bool ended = true;

    for (unsigned i = 0; i < STRIPES && ended; i++) {
        struct stripe *s = &ps->stripes[i];

        pthread_mutex_lock(&s->lock);
        for (const struct pull *p = s->under_way; p != NULL; p = p->next)
            ended &= p->serial > serial;
        pthread_mutex_unlock(&s->lock);
    }
    return ended;
}

size_t pulls_under_way(struct pulls *ps)
{
    size_t n = 0;

    for (unsigned i = 0; i < STRIPES; i++) {
        pthread_mutex_lock(&ps->stripes[i].lock);
        n += ps->stripes[i].count;
        pthread_mutex_unlock(&ps->stripes[i].lock);
    }
    return n;
}
