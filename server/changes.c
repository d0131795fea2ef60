/* changes.c - the store's one observer; see changes.h.
 *
 * Locks: `lock` is outside the shards' locks, so what runs under those (the
 * observer) reads the counts without it. That is enough: who wants to hear of
 * a key raises the count before it takes the key's shard to look at it, and
 * whoever changes the key later takes that lock after. */
#include "server/changes.h"

#include <stdlib.h>

#include "server/check.h"
#include "server/herd/herd.h"
#include "server/server.h"
#include "server/watch.h"

enum { LINGER_MS = 5000 }; /* taking the observer off and putting it on locks every shard */

struct changes {
    pthread_mutex_t lock;
    struct store_observer observer;
    bool installed;           /* under the lock */
    _Atomic bool some_shards; /* it may be installed in a few, whether it is in all or not */
    int64_t last_use_ms;      /* under the lock: when a tick last saw it wanted */
    _Atomic uint64_t wants[CHANGES_KINDS];
    void (*tracking_changed)(struct server *server, struct exec *by, uint8_t db, struct slice name,
                             enum store_change change);
    void (*tracking_flushed)(struct server *server, struct exec *by, int db);
};

static bool is_wanted(const struct changes *c, enum changes_kind kind)
{
    return atomic_load_explicit(&c->wants[kind], memory_order_relaxed) > 0;
}

static void on_change(void *arg, void *by, uint8_t db, struct slice name, enum store_change change)
{
    struct server *server = arg;
    struct changes *c = server->changes;

    if (is_wanted(c, CHANGES_WATCH))
        watch_changed(server, db, name);
    if (is_wanted(c, CHANGES_TRACKING) && c->tracking_changed != NULL)
        c->tracking_changed(server, by, db, name, change);
    if (is_wanted(c, CHANGES_HERD))
        herd_changed(server, db, name, change == CHANGE_WRITTEN);
}

static void on_lease_lost(void *arg, uint8_t db, struct slice name)
{
    struct server *server = arg;

    if (is_wanted(server->changes, CHANGES_HERD))
        herd_changed(server, db, name, false);
}

bool changes_init(struct server *server)
{
    struct changes *c = calloc(1, sizeof *c);

    if (c == NULL)
        return false;
    pthread_mutex_init(&c->lock, NULL);
    c->observer = (struct store_observer){.changed = on_change, .lease_lost = on_lease_lost, .arg = server};
    server->changes = c;
    return true;
}

/* The store may be gone already. */
void changes_free(struct server *server)
{
    if (server->changes == NULL)
        return;
    pthread_mutex_destroy(&server->changes->lock);
    free(server->changes);
    server->changes = NULL;
}

void changes_want(struct server *server, enum changes_kind kind)
{
    struct changes *c = server->changes;

    pthread_mutex_lock(&c->lock);
    atomic_fetch_add_explicit(&c->wants[kind], 1, memory_order_relaxed);
    /* Those who track read without a shard's lock. Installing it anew takes all of them in turn, so
     * whoever changes a key after this sees the count, and what was changed before is seen by us. */
    if (!c->installed || kind == CHANGES_TRACKING) {
        store_observe(server->store, &c->observer);
        c->installed = true;
    }
    pthread_mutex_unlock(&c->lock);
}

void changes_want_here(struct server *server, enum changes_kind kind, const struct store_edit *edit)
{
    struct changes *c = server->changes;

    atomic_fetch_add_explicit(&c->wants[kind], 1, memory_order_relaxed);
    if (store_edit_observe(edit, &c->observer))
        atomic_store_explicit(&c->some_shards, true, memory_order_relaxed);
}

void changes_unwant(struct server *server, enum changes_kind kind)
{
    struct changes *c = server->changes;

    CHECK(atomic_fetch_sub_explicit(&c->wants[kind], 1, memory_order_relaxed) > 0);
}

static bool is_any_wanted(void *arg)
{
    const struct changes *c = arg;
    bool wanted = false;

    for (unsigned kind = 0; kind < CHANGES_KINDS; kind++)
        wanted |= is_wanted(c, kind);
    return wanted;
}

/* Whoever wants to hear of one shard from within an edit does so without our
 * lock. So each shard is asked again under its own: the count is raised there. */
static void stop_listening(struct server *server)
{
    struct changes *c = server->changes;

    c->installed = false;
    atomic_store_explicit(&c->some_shards, false, memory_order_relaxed);
    if (!store_unobserve(server->store, is_any_wanted, c))
        atomic_store_explicit(&c->some_shards, true, memory_order_relaxed);
}

void changes_tick(struct server *server, instant now)
{
    struct changes *c = server->changes;
    bool wanted = is_any_wanted(c);

    pthread_mutex_lock(&c->lock);
    if (wanted || c->last_use_ms == 0 || now.ms < c->last_use_ms)
        c->last_use_ms = now.ms;
    if ((c->installed || atomic_load_explicit(&c->some_shards, memory_order_relaxed)) &&
        now.ms - c->last_use_ms > LINGER_MS)
        stop_listening(server);
    pthread_mutex_unlock(&c->lock);
}

void changes_set_tracking_hook(struct server *server,
                               void (*changed)(struct server *server, struct exec *by, uint8_t db,
                                               struct slice name, enum store_change change))
{
    server->changes->tracking_changed = changed;
}

void changes_set_flush_hook(struct server *server,
                            void (*flushed)(struct server *server, struct exec *by, int db))
{
    server->changes->tracking_flushed = flushed;
}

void changes_swapped(struct server *server, struct exec *by)
{
    struct changes *c = server->changes;

    if (is_wanted(c, CHANGES_TRACKING) && c->tracking_flushed != NULL)
        c->tracking_flushed(server, by, CHANGES_ALL_DATABASES);
}

void changes_flushed(struct server *server, struct exec *by, int db)
{
    struct changes *c = server->changes;

    if (is_wanted(c, CHANGES_WATCH))
        watch_flushed(server, db);
    if (is_wanted(c, CHANGES_TRACKING) && c->tracking_flushed != NULL)
        c->tracking_flushed(server, by, db);
    if (is_wanted(c, CHANGES_HERD))
        herd_flushed(server, db);
}
