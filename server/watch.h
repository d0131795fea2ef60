/* watch.h - the keys that sessions WATCH, and whether they have changed since.
 *
 * A key is put down under its shard's lock, together with whether it was
 * there; from then on the store's observer (changes.h) reports each change to
 * it, under that same lock. So nothing is missed and nothing reported that was
 * before. A flush is not reported key by key: it changes the watched keys that
 * were there, and of those that have not changed since, that is known. */
#ifndef CORRAL_WATCH_H
#define CORRAL_WATCH_H

#include "server/exec.h"

struct watch;

/* A session's own. All zero: it watches nothing. */
struct watch_list {
    struct watch *first;
    uint32_t len;
    size_t bytes;         /* of memory */
    _Atomic bool changed; /* at least one of them */
};

/* Before the workers start, and after they have ended. False when memory is short. */
bool watches_init(struct server *server);
void watches_free(struct server *server);

/* False: one of the limits client-watch-limit and watch-limit is reached, or memory is short. */
bool watch_add(struct exec *x, struct watch_list *list, const struct key *key);
/* Forgets all of them. Also when the list is empty. */
void watch_end(struct server *server, struct watch_list *list);
/* Whether any has changed, or reached the end of its time, since it was added. */
bool watch_is_broken(struct exec *x, struct watch_list *list);

/* Called by changes.c: under the lock of the key's shard; and after a flush,
 * where `db` is the store's number or CHANGES_ALL_DATABASES. */
void watch_changed(struct server *server, uint8_t db, struct slice name);
void watch_flushed(struct server *server, int db);
/* Of keys that `lost` is true of nobody hears any more: they count as changed. Any thread. */
void watch_lost(struct server *server, bool (*lost)(void *arg, struct slice name), void *arg);
/* For SWAPDB, while alone (gate.h) and before it: these two numbers of the
 * store change places. A watched name has changed unless neither has it. */
void watch_swapped(struct exec *x, uint8_t a, uint8_t b);

#endif
