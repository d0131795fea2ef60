/* watch.c - a table of watched keys; see watch.h.
 *
 * Rules: (1) one lock for the whole table, inside the shards' locks. It is
 * taken when keys are added and forgotten, once or twice per transaction,
 * which stops everybody for its EXEC anyway; (2) whoever changes a key that
 * nobody watches nearly always finds its bucket empty, and takes no lock. */
#include "server/watch.h"

#include <stdlib.h>

#include "server/changes.h"
#include "server/check.h"
#include "server/command/arguments.h"
#include "server/server.h"

enum { BUCKETS = 1 << 16 }; /* watch-limit's default fills them with one or two each */

struct watch {
    struct watch *next, **prev; /* in the bucket; under the table's lock */
    struct watch *next_of_list; /* the session's alone */
    struct watch_list *list;
    uint64_t hash;
    uint8_t db;   /* the store's number */
    bool present; /* when it was added */
    uint32_t len;
    uint8_t name[];
};

struct watch_bucket {
    struct watch *_Atomic first; /* changed under the lock; looked at without it to see whether it is NULL */
};

struct watches {
    pthread_mutex_t lock;
    struct watch_bucket *buckets; /* made for the first one; under the lock, or who knows of a watch */
    _Atomic(struct watch_bucket *) published;
    uint64_t len; /* under the lock */
};

bool watches_init(struct server *server)
{
    struct watches *t = calloc(1, sizeof *t);

    if (t == NULL)
        return false;
    pthread_mutex_init(&t->lock, NULL);
    server->watches = t;
    return true;
}

void watches_free(struct server *server)
{
    struct watches *t = server->watches;

    server->watches = NULL;
    if (t == NULL)
        return;
    CHECK(t->len == 0);
    pthread_mutex_destroy(&t->lock);
    free(t->buckets);
    free(t);
}

/* ---- the table, locked ---- */

static bool has_buckets(struct watches *t)
{
    if (t->buckets != NULL)
        return true;
    if ((t->buckets = calloc(BUCKETS, sizeof *t->buckets)) == NULL)
        return false;
    /* Pairs with the acquire load in watch_changed(). */
    atomic_store_explicit(&t->published, t->buckets, memory_order_release);
    return true;
}

static struct watch_bucket *bucket_of(struct watch_bucket *buckets, uint64_t hash)
{
    return &buckets[hash % BUCKETS];
}

static struct watch *first_of(struct watch_bucket *b)
{
    return atomic_load_explicit(&b->first, memory_order_relaxed);
}

/* Relaxed is enough: whoever must see this takes the lock of the key's shard
 * after the caller has let go of it. */
static void link_watch(struct watches *t, struct watch *w)
{
    struct watch_bucket *b = bucket_of(t->buckets, w->hash);

    w->next = first_of(b);
    w->prev = NULL;
    if (w->next != NULL)
        w->next->prev = &w->next;
    atomic_store_explicit(&b->first, w, memory_order_relaxed);
}

static void unlink_watch(struct watches *t, struct watch *w)
{
    if (w->next != NULL)
        w->next->prev = w->prev;
    if (w->prev != NULL)
        *w->prev = w->next;
    else
        atomic_store_explicit(&bucket_of(t->buckets, w->hash)->first, w->next, memory_order_relaxed);
}

/* Found by its bucket: lists may be thousands long. */
static bool is_listed(const struct watches *t, const struct watch *new)
{
    for (const struct watch *w = first_of(bucket_of(t->buckets, new->hash)); w != NULL; w = w->next) {
        if (w->list == new->list && w->hash == new->hash && w->db == new->db && w->len == new->len &&
            (new->len == 0 || memcmp(w->name, new->name, new->len) == 0))
            return true;
    }
    return false;
}

static void break_list(struct watch_list *list)
{
    atomic_store_explicit(&list->changed, true, memory_order_relaxed);
}

/* ---- a session's keys ---- */

static struct watch *watch_new(struct watch_list *list, const struct key *key)
{
    struct watch *w = malloc(sizeof *w + key->len);

    if (w == NULL)
        return NULL;
    *w = (struct watch){.list = list, .hash = key->hash, .db = key->db, .len = key->len};
    if (key->len > 0)
        memcpy(w->name, key->data, key->len);
    return w;
}

enum put_result { PUT_DOWN, PUT_ALREADY, PUT_REFUSED };

/* In an edit, which finds out whether the key is there and keeps everybody
 * from changing it until it is in the table. */
static enum put_result put_down(struct exec *x, struct watch *w, const struct key *key)
{
    struct watches *t = x->server->watches;
    uint64_t limit = (uint64_t)option_live(x->options, watch_limit);
    uint32_t limit_of_list = (uint32_t)option_live(x->options, client_watch_limit);
    enum put_result result = PUT_REFUSED;
    struct store_edit edit;

    store_edit_begin(x->store, x->local, key, x->now, &edit);
    w->present = edit_exists(&edit);
    pthread_mutex_lock(&t->lock);
    if (has_buckets(t) && is_listed(t, w)) {
        result = PUT_ALREADY;
    } else if (t->buckets != NULL && w->list->len < limit_of_list && t->len < limit) {
        link_watch(t, w);
        t->len++;
        result = PUT_DOWN;
    }
    pthread_mutex_unlock(&t->lock);
    store_edit_end(&edit);
    return result;
}

bool watch_add(struct exec *x, struct watch_list *list, const struct key *key)
{
    enum put_result result;
    struct watch *w;

    if (atomic_load_explicit(&list->changed, memory_order_relaxed))
        return true; /* the next EXEC is void already */
    if ((w = watch_new(list, key)) == NULL)
        return false;
    if (list->len == 0)
        changes_want(x->server, CHANGES_WATCH);
    if ((result = put_down(x, w, key)) != PUT_DOWN) {
        free(w);
        if (list->len == 0)
            changes_unwant(x->server, CHANGES_WATCH);
        return result == PUT_ALREADY;
    }
    w->next_of_list = list->first;
    list->first = w;
    list->len++;
    list->bytes += sizeof *w + w->len;
    return true;
}

void watch_end(struct server *server, struct watch_list *list)
{
    struct watches *t = server->watches;
    struct watch *next;

    if (list->len > 0) {
        pthread_mutex_lock(&t->lock);
        for (struct watch *w = list->first; w != NULL; w = w->next_of_list)
            unlink_watch(t, w);
        t->len -= list->len;
        pthread_mutex_unlock(&t->lock);
        changes_unwant(server, CHANGES_WATCH);
    }
    for (struct watch *w = list->first; w != NULL; w = next) {
        next = w->next_of_list;
        free(w);
    }
    list->first = NULL;
    list->len = 0;
    list->bytes = 0;
    atomic_store_explicit(&list->changed, false, memory_order_relaxed);
}

/* Finds a name under this number of the store. May wait for the shard's lock, so
 * never under the table's. */
static bool look(struct exec *x, uint8_t db, struct slice name, struct store_peek *peek)
{
    struct key key = store_key_in(x->store, db, name);
    enum peek_status status;

    do {
        status = store_look(x->store, x->local, &key, x->now, false, peek);
    } while (status == PEEK_HIT && !store_peek_ok(peek));
    return status == PEEK_HIT && state_exists(peek->state);
}

/* Expired, and nobody has come across it yet: then nobody has said so either. */
static bool has_expired(struct exec *x, const struct watch *w)
{
    struct store_peek peek;

    return w->present && !look(x, w->db, (struct slice){w->name, w->len}, &peek) && peek.expired;
}

bool watch_is_broken(struct exec *x, struct watch_list *list)
{
    for (const struct watch *w = list->first; w != NULL; w = w->next_of_list) {
        if (has_expired(x, w))
            return true;
    }
    return atomic_load_explicit(&list->changed, memory_order_relaxed);
}

/* ---- what happens to keys ---- */

void watch_changed(struct server *server, uint8_t db, struct slice name)
{
    struct watches *t = server->watches;
    struct watch_bucket *buckets = atomic_load_explicit(&t->published, memory_order_acquire);
    struct key key;
    struct watch_bucket *b;

    if (buckets == NULL)
        return;
    key = store_key_in(server->store, db, name);
    b = bucket_of(buckets, key.hash);
    if (first_of(b) == NULL)
        return;
    pthread_mutex_lock(&t->lock);
    for (struct watch *w = first_of(b); w != NULL; w = w->next) {
        if (w->hash == key.hash && w->db == db && w->len == name.len &&
            (name.len == 0 || memcmp(w->name, name.data, name.len) == 0))
            break_list(w->list);
    }
    pthread_mutex_unlock(&t->lock);
}

void watch_flushed(struct server *server, int db)
{
    struct watches *t = server->watches;

    pthread_mutex_lock(&t->lock);
    for (size_t i = 0; i < BUCKETS && t->len > 0; i++) {
        for (struct watch *w = first_of(&t->buckets[i]); w != NULL; w = w->next) {
            if (w->present && (db == CHANGES_ALL_DATABASES || w->db == db))
                break_list(w->list);
        }
    }
    pthread_mutex_unlock(&t->lock);
}

void watch_lost(struct server *server, bool (*lost)(void *arg, struct slice name), void *arg)
{
    struct watches *t = server->watches;

    pthread_mutex_lock(&t->lock);
    for (size_t i = 0; i < BUCKETS && t->len > 0; i++) {
        for (struct watch *w = first_of(&t->buckets[i]); w != NULL; w = w->next) {
            if (lost(arg, (struct slice){w->name, w->len}))
                break_list(w->list);
        }
    }
    pthread_mutex_unlock(&t->lock);
}

/* Takes what is watched in either database out of the table. */
static struct watch *take_out(struct watches *t, uint8_t a, uint8_t b)
{
    struct watch *taken = NULL, *next;

    for (size_t i = 0; i < BUCKETS && t->len > 0; i++) {
        for (struct watch *w = first_of(&t->buckets[i]); w != NULL; w = next) {
            next = w->next;
            if (w->db != a && w->db != b)
                continue;
            unlink_watch(t, w);
            w->next = taken;
            taken = w;
        }
    }
    return taken;
}

/* A watched name that may be there in the database that is about to be its session's. */
struct suspect {
    struct suspect *next;
    uint8_t db;
    size_t len;
    uint8_t name[];
};

static bool suspect(struct suspect **list, const struct watch *w)
{
    struct suspect *s = malloc(sizeof *s + w->len);

    if (s == NULL)
        return false;
    *s = (struct suspect){.next = *list, .db = w->db, .len = w->len};
    memcpy(s->name, w->name, w->len);
    *list = s;
    return true;
}

/* A session watches a name in its own database, which will have the other
 * number: first all go over to that, then those are looked for that were not
 * there under the old one. Nobody watches or writes meanwhile. */
void watch_swapped(struct exec *x, uint8_t a, uint8_t b)
{
    struct watches *t = x->server->watches;
    struct suspect *suspects = NULL, *after;
    struct store_peek peek;
    struct watch *next;

    pthread_mutex_lock(&t->lock);
    for (struct watch *w = take_out(t, a, b); w != NULL; w = next) {
        next = w->next;
        w->db = w->db == a ? b : a;
        w->hash = store_key_in(x->store, w->db, (struct slice){w->name, w->len}).hash;
        link_watch(t, w);
        if (w->present || !suspect(&suspects, w))
            break_list(w->list);
    }
    pthread_mutex_unlock(&t->lock);
    for (struct suspect *s = suspects; s != NULL; s = after) {
        struct slice name = {s->name, s->len};

        after = s->next;
        if (look(x, s->db, name, &peek))
            watch_changed(x->server, s->db, name);
        free(s);
    }
}
