/* post.h - letters: how one worker makes another's clients hear something.
 *
 * A connection belongs to one worker, and only that worker writes to it. So
 * what a client is to be told (a published message, an invalidated key, a line
 * of MONITOR) goes as a letter to the inbox of its worker, which hands it over
 * once it has finished what it is doing. A letter names the clients it is for;
 * its bytes are a blob that all letters about the same event share.
 *
 * Rules: (1) letters of one sender to one worker arrive in the order they were
 * sent. (2) An inbox holds at most push-queue-limit bytes. What does not fit is
 * counted; published messages and monitored lines are lost then, while a lost
 * invalidation is replaced by "everything is invalid", which is always true
 * enough. (3) The inbox lock is a leaf: letters may be sent under any other. */
#ifndef CORRAL_POST_H
#define CORRAL_POST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/session.h"
#include "server/store/blob.h"

struct server;
struct worker;

/* A client and its worker in one word, so that lists of them are short. 0: nobody. */
typedef uint64_t post_address;
enum { ADDRESS_WORKER_SHIFT = 48 };
static inline post_address address_of(const struct session *s)
{
    return s->id | (uint64_t)s->worker << ADDRESS_WORKER_SHIFT;
}
static inline uint64_t address_id(post_address a)
{
    return a & (((uint64_t)1 << ADDRESS_WORKER_SHIFT) - 1);
}
static inline unsigned address_worker(post_address a)
{
    return (unsigned)(a >> ADDRESS_WORKER_SHIFT);
}

enum letter_kind {
    LETTER_MESSAGE,     /* published; the body is written for RESP2, and differs in RESP3 by its first byte */
    LETTER_LINE,        /* for who monitors; the body as it stands */
    LETTER_INVALID,     /* keys that changed, an array; for who tracks them */
    LETTER_ALL_INVALID, /* every key; for all of that worker who track */
    LETTER_REDIRECTED,  /* LETTER_INVALID, or with no body the same for all keys, on behalf of `about` */
    LETTER_REDIRECT_LOST, /* the client whom `about` redirected to is not there; for `about` */
    LETTER_WAKE,          /* a parked request is to be looked at again */
    LETTER_TIME_OUT,      /* ... as if its time were over */
    LETTER_UNBLOCK,       /* ... and answered with an error: CLIENT UNBLOCK ERROR */
    LETTER_UNPAUSE        /* CLIENT PAUSE is over; for all of that worker */
};

struct letter {
    struct letter *next;
    struct blob *body; /* NULL: none */
    post_address about;
    enum letter_kind kind;
    unsigned worker; /* whose inbox it goes to */
    uint32_t to_len;
    uint64_t to[]; /* ids of clients */
};

/* Lets go of its body, too. */
void letter_free(struct letter *letter);

/* An inbox; embedded in its worker, and all but `some` under the worker's inbox lock. */
struct post_box {
    struct letter *first, *last;
    size_t bytes;
    bool all_invalid;  /* instead of what did not fit */
    _Atomic bool some; /* there is anything: cheap to look at */
};
void post_box_clear(struct post_box *box);

/* At once, to these addresses in any order. The body is pinned, the caller's pin stays his. */
void post_to(struct server *server, enum letter_kind kind, struct blob *body, post_address about,
             const post_address *to, size_t n);
/* The same by way of the calling worker's own outbox, which is emptied after
 * each batch, before its replies go out: cheap enough to be done under a
 * shard's lock. */
void post_later(struct server *server, enum letter_kind kind, struct blob *body, post_address about,
                const post_address *to, size_t n);
/* LETTER_ALL_INVALID or LETTER_UNPAUSE to every worker, at once. */
void post_everybody(struct server *server, enum letter_kind kind);
/* Sends what post_later() gathered. */
void post_flush(struct worker *worker);

/* The worker whose thread this is, NULL for other threads. */
struct worker *post_me(void);
void post_set_me(struct worker *worker);

#endif
