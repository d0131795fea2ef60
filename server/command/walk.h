/* walk.h - going through all items on behalf of one client.
 *
 * A walk over millions of items takes a second. It does some of it at a time,
 * as the producer of a reply (session.h): in between, its worker serves other
 * clients, and whoever must be alone gets through the gate. Its own client's
 * next request waits for the end. Within a transaction, or where replies are
 * turned off, it is done in one go. */
#ifndef CORRAL_COMMAND_WALK_H
#define CORRAL_COMMAND_WALK_H

#include "server/exec.h"

struct walk;

struct walk_kind {
    /* An item of the walk's database. Under a shard's lock: must not call the store. */
    void (*visit)(struct walk *walk, const struct scan_item *item);
    bool (*has_enough)(const struct walk *walk);       /* need not see the rest; NULL: never */
    void (*answer)(struct exec *x, struct walk *walk); /* at the end */
};

struct walk {
    struct producer producer; /* first: the session knows it by that */
    const struct walk_kind *kind;
    uint64_t cursor;
    unsigned again;       /* how often the walk begins anew at its end */
    uint8_t db;           /* the store's number */
    size_t step;          /* buckets under one lock */
    int64_t count;        /* of keys listed, or whatever else `visit` counts */
    struct blob **listed; /* what walk_list() has written, in pieces that need not be copied again */
    size_t listed_len, listed_cap;
    size_t last_len;     /* bytes in the last of them */
    size_t bytes, limit; /* of all of them, allocated; as of a reply */
    bool failed, over;   /* memory is short; as `limit` has been reached */
};

/* size bytes that begin with a struct walk, all else of them zero; NULL when memory is short, and then the
 * connection closes. */
void *walk_new(struct exec *x, size_t size, const struct walk_kind *kind);
/* Begins, and maybe ends. Takes the walk over; free() is enough for what `size` had more. */
void walk_run(struct exec *x, struct walk *walk);

/* For visit: one key more; and none any longer. */
void walk_list(struct walk *walk, struct slice key);
void walk_forget(struct walk *walk);
/* For answer: the keys listed, one after the other. */
void walk_reply_listed(struct exec *x, struct walk *walk);

/* The word as SCAN's cursor. False: it is none. */
bool read_cursor(struct slice word, uint64_t *cursor);

#endif
