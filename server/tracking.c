/* tracking.c - see tracking.h for the rules.
 *
 * Keys are kept in stripes by hash, each with a lock of its own that is taken
 * by readers who note their interest and, under a shard's lock, by the store's
 * observer. BCAST clients have no entries there: changed keys are gathered in
 * the worker that changed them and compared with the prefixes after its batch. */
#include "server/tracking.h"

#include <pthread.h>
#include <stdlib.h>

#include "server/changes.h"
#include "server/check.h"
#include "server/push.h"
#include "server/server.h"
#include "server/table.h"
#include "server/worker.h"

enum {
    STRIPES = 64,
    INLINE_CLIENTS = 2,
    BCAST_BYTES = 1024 * 1024, /* of changed keys in one batch; beyond it everything is invalid */
};

/* A key somebody has a copy of. Its database does not matter: clients are told names only, as redis does. */
struct tracked {
    UT_hash_handle hh;
    post_address *to; /* `few`, or of its own */
    post_address few[INLINE_CLIENTS];
    uint32_t to_len, to_cap;
    uint32_t len;
    uint8_t name[];
};

struct stripe {
    _Alignas(64) pthread_mutex_t lock;
    struct tracked *keys; /* in the order they came */
};

struct tracking_prefix {
    UT_hash_handle hh;
    post_address *to;
    uint32_t to_len, to_cap;
    size_t len;
    uint8_t name[];
};

struct tracking {
    struct server *server;
    _Atomic uint64_t clients, keys, items, bytes;
    _Atomic uint64_t broadcast; /* clients in BCAST mode */
    _Atomic unsigned next_victim;
    pthread_mutex_t prefixes_lock;
    struct tracking_prefix *prefixes;
    _Atomic uint64_t prefixes_len, prefixes_used; /* names, and clients' uses of them */
    _Atomic uint64_t prefix_bytes;                /* of the names */
    struct stripe stripes[STRIPES];
};

#define COUNT(field)  atomic_load_explicit(&t->field, memory_order_relaxed)
#define ADD(field, n) atomic_fetch_add_explicit(&t->field, (uint64_t)(n), memory_order_relaxed)
#define SUB(field, n) atomic_fetch_sub_explicit(&t->field, (uint64_t)(n), memory_order_relaxed)

/* ---- the table ---- */

static struct stripe *stripe_of(struct tracking *t, struct slice name)
{
    /* The tables inside use the low bits. */
    return &t->stripes[table_hash(name.data, name.len) >> 26];
}

static size_t tracked_bytes(const struct tracked *key)
{
    size_t more = key->to_cap > INLINE_CLIENTS ? key->to_cap * sizeof *key->to : 0;

    return sizeof *key + key->len + more + sizeof(UT_hash_bucket) / 4;
}

static void tracked_free(struct tracked *key)
{
    if (key->to != key->few)
        free(key->to);
    free(key);
}

/* Under the stripe's lock. */
static void take_out(struct tracking *t, struct stripe *s, struct tracked *key)
{
    HASH_DEL(s->keys, key);
    SUB(keys, 1);
    SUB(items, key->to_len);
    SUB(bytes, tracked_bytes(key));
}

static struct tracked *add_key(struct tracking *t, struct stripe *s, struct slice name)
{
    struct tracked *key = calloc(1, sizeof *key + name.len);

    if (key == NULL)
        return NULL;
    key->to = key->few;
    key->to_cap = INLINE_CLIENTS;
    key->len = (uint32_t)name.len;
    if (name.len > 0)
        memcpy(key->name, name.data, name.len);
    HASH_ADD_KEYPTR(hh, s->keys, key->name, key->len, key);
    if (key->hh.tbl == NULL) {
        free(key);
        return NULL;
    }
    ADD(keys, 1);
    ADD(bytes, tracked_bytes(key));
    return key;
}

static bool grow_key(struct tracking *t, struct tracked *key)
{
    uint32_t cap = key->to_cap * 2;
    post_address *to = realloc(key->to == key->few ? NULL : key->to, cap * sizeof *to);

    if (to == NULL)
        return false;
    if (key->to == key->few)
        memcpy(to, key->few, sizeof key->few);
    SUB(bytes, tracked_bytes(key));
    key->to = to;
    key->to_cap = cap;
    ADD(bytes, tracked_bytes(key));
    return true;
}

static bool has_client(const struct tracked *key, post_address who)
{
    for (uint32_t i = key->to_len; i-- > 0;) { /* who asked last asks again */
        if (key->to[i] == who)
            return true;
    }
    return false;
}

/* Under the lock. False: there is no memory for it. */
static bool note(struct tracking *t, struct stripe *s, struct slice name, post_address who)
{
    struct tracked *key;

    HASH_FIND(hh, s->keys, name.data, name.len, key);
    if (key == NULL && (key = add_key(t, s, name)) == NULL)
        return false;
    if (has_client(key, who))
        return true;
    if (key->to_len == key->to_cap && !grow_key(t, key))
        return false; /* an entry without clients does no harm */
    key->to[key->to_len++] = who;
    ADD(items, 1);
    return true;
}

/* ---- telling ---- */

/* The key is out of the table; `but` is not told. */
static void tell(struct tracking *t, struct tracked *key, post_address but)
{
    struct slice name = {key->name, key->len};
    struct blob *body;
    uint32_t n = 0;

    for (uint32_t i = 0; i < key->to_len; i++) {
        if (key->to[i] != but)
            key->to[n++] = key->to[i];
    }
    if (n > 0) {
        if ((body = push_words(&name, 1)) != NULL)
            post_later(t->server, LETTER_INVALID, body, 0, key->to, n);
        else
            post_everybody(t->server, LETTER_ALL_INVALID);
        blob_unpin(&body);
    }
    tracked_free(key);
}

/* Who makes a change and asked not to hear of its own. */
static post_address silent_writer(const struct exec *by)
{
    const struct push *push = by != NULL && by->session != NULL ? by->session->push : NULL;

    return push != NULL && push->tracking.on && push->tracking.noloop ? address_of(by->session) : 0;
}

static uint64_t bytes_max(struct tracking *t)
{
    enum { SHARE = 4 }; /* of maxmemory at most: one quarter */

    return server_at_most(t->server, option_live(&t->server->options, tracking_table_max_memory), SHARE);
}

static bool is_over_limit(struct tracking *t)
{
    const struct options *o = &t->server->options;
    uint64_t keys_max = (uint64_t)option_live(o, tracking_table_max_keys);

    return (keys_max > 0 && COUNT(keys) > keys_max) || COUNT(bytes) + COUNT(prefix_bytes) > bytes_max(t);
}

/* The oldest of a stripe goes, and whoever has a copy of it is told. One stripe after the other. */
static void evict_over_limit(struct tracking *t)
{
    for (unsigned tries = 0; tries < STRIPES && is_over_limit(t); tries++) {
        struct stripe *s =
            &t->stripes[atomic_fetch_add_explicit(&t->next_victim, 1, memory_order_relaxed) % STRIPES];
        struct tracked *victim;

        pthread_mutex_lock(&s->lock);
        if ((victim = s->keys) != NULL)
            take_out(t, s, victim);
        pthread_mutex_unlock(&s->lock);
        if (victim == NULL)
            continue;
        tell(t, victim, 0);
        if (post_me() != NULL)
            counter_add(post_me()->exec.counters, tracking_evicted, 1);
    }
}

static void note_interest(struct exec *x, struct slice name)
{
    struct tracking *t = x->server->tracking;
    struct stripe *s = stripe_of(t, name);
    bool noted;

    pthread_mutex_lock(&s->lock);
    noted = note(t, s, name, address_of(x->session));
    pthread_mutex_unlock(&s->lock);
    if (!noted) {
        /* What it is about to read may go stale unheard: it must not keep it. */
        x->out->failed = true;
        counter_add(x->counters, tracking_overflows, 1);
    }
    if (is_over_limit(t))
        evict_over_limit(t);
}

/* ---- commands ---- */

void tracking_before(struct exec *x, const struct command *command, const struct request *rq)
{
    const struct tracking_state *state = &x->session->push->tracking;
    int step = command->key_step;
    uint32_t last;

    if (!(command->flags & CMD_READONLY) || command->first_key <= 0 || state->bcast)
        return;
    if ((state->optin && !state->caching) || (state->optout && state->caching))
        return;
    last = command_last_key(command, rq->argc);
    for (uint32_t i = (uint32_t)command->first_key; i <= last && i < rq->argc; i += (uint32_t)step)
        note_interest(x, rq->argv[i]);
}

/* CLIENT CACHING is about the next command, or all of the next transaction. */
void tracking_after(struct exec *x, const struct command *command)
{
    if (command->handler != cmd_client && !(x->session->modes & SESSION_MULTI) && !x->alone &&
        x->session->push != NULL)
        x->session->push->tracking.caching = false;
}

/* ---- changes ---- */

/* As in struct worker's bcast: length, whose it is, name. */
struct changed_key {
    uint32_t len;
    bool own; /* of a client in NOLOOP mode, bcast_writer */
};

static void gather(struct worker *w, struct slice name, post_address writer)
{
    struct changed_key head = {.len = (uint32_t)name.len, .own = writer != 0};

    if (w->bcast.len + sizeof head + name.len > BCAST_BYTES || w->bcast.failed) {
        w->bcast_lost = true;
        return;
    }
    if (writer != 0)
        w->bcast_writer = writer;
    out_append(&w->bcast, &head, sizeof head);
    out_append(&w->bcast, name.data, name.len);
    if (w->bcast.failed)
        w->bcast_lost = true;
}

/* Under a shard's lock. */
static void on_change(struct server *server, struct exec *by, uint8_t db, struct slice name,
                      enum store_change change)
{
    struct tracking *t = server->tracking;
    post_address writer = silent_writer(by);
    struct worker *w = post_me();
    struct stripe *s = stripe_of(t, name);
    struct tracked *key;

    (void)db;
    (void)change;
    if (COUNT(broadcast) > 0) {
        if (w != NULL)
            gather(w, name, writer);
        else
            post_everybody(server, LETTER_ALL_INVALID);
    }
    pthread_mutex_lock(&s->lock);
    HASH_FIND(hh, s->keys, name.data, name.len, key);
    if (key != NULL)
        take_out(t, s, key);
    pthread_mutex_unlock(&s->lock);
    if (key != NULL)
        tell(t, key, writer);
}

static void forget_all(struct tracking *t)
{
    for (unsigned i = 0; i < STRIPES; i++) {
        struct stripe *s = &t->stripes[i];
        struct tracked *key;

        pthread_mutex_lock(&s->lock);
        while ((key = s->keys) != NULL) {
            take_out(t, s, key);
            tracked_free(key);
        }
        pthread_mutex_unlock(&s->lock);
    }
}

static void on_flush(struct server *server, struct exec *by, int db)
{
    (void)by;
    (void)db;
    forget_all(server->tracking);
    post_everybody(server, LETTER_ALL_INVALID);
}

/* ---- BCAST ---- */

struct changed_names {
    struct slice *names; /* in order of their bytes, each once */
    bool *own;           /* changed by the client in NOLOOP mode, and by nobody else */
    size_t len;
};

/* The names that begin with the prefix as one body. */
static struct blob *names_with_prefix(const struct changed_names *c, struct slice prefix, bool skip_own,
                                      struct slice *scratch, size_t *n)
{
    size_t first = 0, end = c->len;

    while (first < end) {
        size_t middle = first + (end - first) / 2;

        if (slice_compare(&c->names[middle], &prefix) < 0)
            first = middle + 1;
        else
            end = middle;
    }
    *n = 0;
    for (size_t i = first; i < c->len && slice_begins_with(c->names[i], prefix); i++) {
        if (!skip_own || !c->own[i])
            scratch[(*n)++] = c->names[i];
    }
    return *n > 0 ? push_words(scratch, *n) : NULL;
}

static bool is_among(const struct tracking_prefix *prefix, post_address who)
{
    for (uint32_t i = 0; i < prefix->to_len; i++) {
        if (prefix->to[i] == who)
            return true;
    }
    return false;
}

static void tell_but_one(struct tracking *t, const struct tracking_prefix *prefix, struct blob *body,
                         post_address but)
{
    for (uint32_t i = 0; i < prefix->to_len; i++) {
        if (prefix->to[i] != but)
            post_later(t->server, LETTER_INVALID, body, 0, &prefix->to[i], 1);
    }
}

/* Under the prefixes' lock. */
static void tell_prefix(struct tracking *t, const struct tracking_prefix *prefix,
                        const struct changed_names *c, struct slice *scratch, post_address writer)
{
    struct slice name = {prefix->name, prefix->len};
    size_t n;
    struct blob *body = names_with_prefix(c, name, false, scratch, &n);

    if (n == 0)
        return;
    if (body == NULL) {
        post_everybody(t->server, LETTER_ALL_INVALID);
        return;
    }
    if (writer == 0 || !is_among(prefix, writer)) {
        post_later(t->server, LETTER_INVALID, body, 0, prefix->to, prefix->to_len);
    } else {
        tell_but_one(t, prefix, body, writer);
        blob_unpin(&body);
        body = names_with_prefix(c, name, true, scratch, &n);
        if (body != NULL)
            post_later(t->server, LETTER_INVALID, body, 0, &writer, 1);
        else if (n > 0)
            post_everybody(t->server, LETTER_ALL_INVALID);
    }
    blob_unpin(&body);
}

struct gathered {
    struct slice name; /* first: slice_compare() looks at it */
    bool own;
};

/* Sorts what was gathered, each name once. False when memory is short. */
static bool sort_names(const struct out *bytes, struct changed_names *c)
{
    size_t count = 0, n = 0;
    struct changed_key head;
    struct gathered *all;

    for (size_t at = 0; at < bytes->len; at += sizeof head + head.len, count++)
        memcpy(&head, bytes->data + at, sizeof head);
    all = calloc(count, sizeof *all);
    c->names = calloc(count, sizeof *c->names);
    c->own = calloc(count, sizeof *c->own);
    if (all == NULL || c->names == NULL || c->own == NULL) {
        free(all);
        return false;
    }
    for (size_t at = 0; at < bytes->len; at += sizeof head + head.len) {
        memcpy(&head, bytes->data + at, sizeof head);
        all[n++] = (struct gathered){{bytes->data + at + sizeof head, head.len}, head.own};
    }
    qsort(all, n, sizeof *all, slice_compare);
    for (size_t i = 0; i < n; i++) {
        if (c->len > 0 && slice_equals(c->names[c->len - 1], all[i].name)) {
            c->own[c->len - 1] = c->own[c->len - 1] && all[i].own;
            continue;
        }
        c->names[c->len] = all[i].name;
        c->own[c->len++] = all[i].own;
    }
    free(all);
    return true;
}

static bool tell_prefixes(struct tracking *t, struct worker *w)
{
    struct changed_names changed = {0};
    struct slice *scratch = NULL;
    bool done = sort_names(&w->bcast, &changed) && (scratch = calloc(changed.len, sizeof *scratch)) != NULL;

    if (done) {
        pthread_mutex_lock(&t->prefixes_lock);
        for (struct tracking_prefix *p = t->prefixes; p != NULL; p = p->hh.next)
            tell_prefix(t, p, &changed, scratch, w->bcast_writer);
        pthread_mutex_unlock(&t->prefixes_lock);
    }
    free(scratch);
    free(changed.names);
    free(changed.own);
    return done;
}

void tracking_flush(struct worker *w)
{
    if (w->bcast.len == 0 && !w->bcast_lost)
        return;
    if (w->bcast_lost || !tell_prefixes(w->server->tracking, w)) {
        counter_add(w->exec.counters, tracking_overflows, 1);
        post_everybody(w->server, LETTER_ALL_INVALID);
    }
    out_clear(&w->bcast, 4096);
    w->bcast_lost = false;
    w->bcast_writer = 0;
}

/* ---- prefixes ---- */

static size_t prefix_bytes(const struct tracking_prefix *p)
{
    return sizeof *p + p->len;
}

static bool prefix_join(struct tracking_prefix *p, post_address who)
{
    if (p->to_len == p->to_cap) {
        uint32_t cap = p->to_cap > 0 ? 2 * p->to_cap : 2;
        post_address *to = realloc(p->to, cap * sizeof *to);

        if (to == NULL)
            return false;
        p->to = to;
        p->to_cap = cap;
    }
    p->to[p->to_len++] = who;
    return true;
}

static void prefix_leave(struct tracking *t, struct tracking_prefix *p, post_address who)
{
    for (uint32_t i = 0; i < p->to_len; i++) {
        if (p->to[i] == who) {
            p->to[i] = p->to[--p->to_len];
            break;
        }
    }
    if (p->to_len > 0)
        return;
    HASH_DEL(t->prefixes, p);
    SUB(prefixes_len, 1);
    SUB(prefix_bytes, prefix_bytes(p));
    free(p->to);
    free(p);
}

static struct tracking_prefix *prefix_of(struct tracking *t, struct slice name)
{
    struct tracking_prefix *p;

    HASH_FIND(hh, t->prefixes, name.data, name.len, p);
    if (p != NULL || (p = calloc(1, sizeof *p + name.len)) == NULL)
        return p;
    p->len = name.len;
    if (name.len > 0)
        memcpy(p->name, name.data, name.len);
    HASH_ADD_KEYPTR(hh, t->prefixes, p->name, p->len, p);
    if (p->hh.tbl == NULL) {
        free(p);
        return NULL;
    }
    ADD(prefixes_len, 1);
    ADD(prefix_bytes, prefix_bytes(p));
    return p;
}

struct slice tracking_prefix_name(const struct push *push, uint32_t i)
{
    return (struct slice){push->tracking.prefixes[i]->name, push->tracking.prefixes[i]->len};
}

static int by_name(const void *a, const void *b)
{
    const struct tracking_prefix *left = *(struct tracking_prefix *const *)a;
    const struct tracking_prefix *right = *(struct tracking_prefix *const *)b;
    struct slice names[] = {{left->name, left->len}, {right->name, right->len}};

    return slice_compare(&names[0], &names[1]);
}

void tracking_sort_prefixes(struct push *push)
{
    if (push->tracking.prefixes_len > 1)
        qsort(push->tracking.prefixes, push->tracking.prefixes_len, sizeof(struct tracking_prefix *),
              by_name);
}

static bool list_prefix(struct push *push, struct tracking_prefix *p)
{
    struct tracking_state *state = &push->tracking;

    if (state->prefixes_len == state->prefixes_cap) {
        uint32_t cap = state->prefixes_cap > 0 ? 2 * state->prefixes_cap : 2;
        struct tracking_prefix **list = realloc(state->prefixes, cap * sizeof(*list));

        if (list == NULL)
            return false;
        state->prefixes = list;
        state->prefixes_cap = cap;
    }
    state->prefixes[state->prefixes_len++] = p;
    return true;
}

static bool prefix_fits(struct exec *x, struct slice name)
{
    struct tracking *t = x->server->tracking;

    return name.len <= STORE_KEY_MAX &&
           COUNT(prefixes_used) < (uint64_t)option_live(x->options, tracking_max_prefixes) &&
           COUNT(prefix_bytes) + name.len <= bytes_max(t);
}

bool tracking_add_prefix(struct exec *x, struct push *push, struct slice name)
{
    struct tracking *t = x->server->tracking;
    post_address who = address_of(push->session);
    struct tracking_prefix *p;
    bool done = false;

    if (!prefix_fits(x, name))
        return false;
    pthread_mutex_lock(&t->prefixes_lock);
    if ((p = prefix_of(t, name)) != NULL) {
        done = prefix_join(p, who) && list_prefix(push, p);
        if (!done)
            prefix_leave(t, p, who);
    }
    pthread_mutex_unlock(&t->prefixes_lock);
    if (done)
        ADD(prefixes_used, 1);
    return done;
}

/* ---- life ---- */

static void show(struct push *push)
{
    const struct tracking_state *state = &push->tracking;
    struct session *s = push->session;
    int64_t redirect = state->on ? (int64_t)address_id(state->redirect) : -1;

    session_show(s, SHOWN_TRACKING, state->on);
    session_show(s, SHOWN_BROADCAST, state->bcast);
    session_show(s, SHOWN_BROKEN_REDIRECT, state->broken);
    atomic_store_explicit(&s->redirect_shown, redirect, memory_order_relaxed);
}

void tracking_on(struct exec *x, struct push *push)
{
    struct tracking *t = x->server->tracking;
    struct tracking_state *state = &push->tracking;

    if (!state->on) {
        state->on = true;
        ADD(clients, 1);
        if (state->bcast)
            ADD(broadcast, 1);
        changes_want(x->server, CHANGES_TRACKING);
        push->session->modes |= SESSION_TRACKING;
    }
    show(push);
}

void tracking_off(struct server *server, struct push *push)
{
    struct tracking *t = server->tracking;
    struct tracking_state *state = &push->tracking;

    pthread_mutex_lock(&t->prefixes_lock);
    for (uint32_t i = 0; i < state->prefixes_len; i++)
        prefix_leave(t, state->prefixes[i], address_of(push->session));
    pthread_mutex_unlock(&t->prefixes_lock);
    SUB(prefixes_used, state->prefixes_len);
    free(state->prefixes);
    if (state->on) {
        SUB(clients, 1);
        if (state->bcast)
            SUB(broadcast, 1);
        changes_unwant(server, CHANGES_TRACKING);
    }
    *state = (struct tracking_state){0};
    push->session->modes &= ~(unsigned)SESSION_TRACKING;
    show(push);
}

struct tracking *tracking_new(struct server *server)
{
    struct tracking *t = aligned_alloc(64, sizeof *t);

    if (t == NULL)
        return NULL;
    memset(t, 0, sizeof *t);
    t->server = server;
    pthread_mutex_init(&t->prefixes_lock, NULL);
    for (unsigned i = 0; i < STRIPES; i++)
        pthread_mutex_init(&t->stripes[i].lock, NULL);
    changes_set_tracking_hook(server, on_change);
    changes_set_flush_hook(server, on_flush);
    return t;
}

void tracking_free(struct tracking **tracking)
{
    struct tracking *t = *tracking;

    *tracking = NULL;
    if (t == NULL)
        return;
    forget_all(t);
    CHECK(t->prefixes == NULL);
    for (unsigned i = 0; i < STRIPES; i++)
        pthread_mutex_destroy(&t->stripes[i].lock);
    pthread_mutex_destroy(&t->prefixes_lock);
    free(t);
}

void tracking_stats(const struct tracking *t, struct tracking_stats *out)
{
    *out = (struct tracking_stats){.clients = COUNT(clients),
                                   .keys = COUNT(keys),
                                   .items = COUNT(items),
                                   .prefixes = COUNT(prefixes_len),
                                   .bytes = COUNT(bytes) + COUNT(prefix_bytes)};
}
