/* session.h - one client as the protocols see it; knows no socket.
 *
 * Only its worker writes it. Other workers (CLIENT LIST, CLIENT KILL) look
 * at it under the registry lock (clients.h), and the owner changes the plain
 * fields they look at (name, lib, resp, db) under that lock too. What changes
 * with every request is atomic instead, written relaxed: a look is a moment. */
#ifndef CORRAL_SESSION_H
#define CORRAL_SESSION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/clock.h"
#include "server/herd/waiters.h"

enum dialect { DIALECT_RESP, DIALECT_MEMCACHE, DIALECT_PEER };
enum reply_mode { REPLY_ON, REPLY_OFF, REPLY_SKIP_NEXT, REPLY_SKIPPING };

/* What makes more of a request than its handler. While a session has none of
 * these and the server has none of its own, the hot path tests a single word. */
enum session_mode {
    SESSION_MULTI = 1 << 0,      /* between MULTI and EXEC: requests are queued */
    SESSION_SUBSCRIBED = 1 << 1, /* has subscriptions; in RESP2 few commands are allowed */
    SESSION_TRACKING = 1 << 2,   /* what it reads is remembered */
    SESSION_MONITOR = 1 << 3,    /* watches everybody's requests */
    SESSION_NO_TOUCH = 1 << 4,   /* its reads are not counted as use */
};
enum server_mode {
    SERVER_MONITORED = 1 << 16, /* somebody watches every request */
    SERVER_PAUSED = 1 << 17,    /* CLIENT PAUSE */
    SERVER_ORIGINS = 1 << 19,   /* missing keys may have to be fetched; origin/origins.h */
    SERVER_CLUSTER = 1 << 20,   /* keys may live on other nodes; cluster/routes.h */
};

/* What CLIENT LIST shows as flags, in this order; "N" when there is nothing. */
enum session_shown {
    SHOWN_MONITOR = 1 << 0,         /* O */
    SHOWN_PUBSUB = 1 << 1,          /* P */
    SHOWN_MULTI = 1 << 2,           /* x */
    SHOWN_BLOCKED = 1 << 3,         /* b */
    SHOWN_TRACKING = 1 << 4,        /* t */
    SHOWN_BROKEN_REDIRECT = 1 << 5, /* R */
    SHOWN_BROADCAST = 1 << 6,       /* B */
    SHOWN_DIRTY = 1 << 7,           /* d */
    SHOWN_UNIX = 1 << 8,            /* U */
    SHOWN_NO_EVICT = 1 << 9,        /* e */
};
#define SESSION_SHOWN_LETTERS "OPxbtRBdUe"

/* Why its next request is not executed yet, and what ended that; see park.h. */
enum park_kind {
    PARK_NOT,
    PARK_PAUSED,
    PARK_WAITING,
    PARK_CALL,   /* for another node's answer */
    PARK_ASKING, /* nobody outside of dispatch.c sees it: run again at once, see exec->hopeful */
};
enum park_outcome { PARK_FRESH, PARK_WOKEN, PARK_TIMED_OUT, PARK_UNBLOCKED };

struct push;
struct transaction;
struct exec;
struct held_lease;
struct forward;

/* A reply too long to be made at once: conn asks for the next piece whenever
 * the one before is through, and nothing else of the connection is done until
 * the last. */
struct producer {
    /* Appends some to x->out, in bounded time. False: that was the last. */
    bool (*more)(struct exec *x, struct producer *p);
    void (*free)(struct producer *p);
    size_t held; /* bytes of blobs that it keeps for the reply */
};

struct session {
    uint64_t id;
    unsigned modes; /* enum session_mode */
    enum dialect dialect;
    bool redirects;            /* came by cluster-client-port: is told where keys are */
    bool binary;               /* memcached's binary protocol; only its worker looks */
    struct producer *producer; /* of the reply under way, or NULL; owned */
    int resp;                  /* 2 or 3 */
    bool authenticated;        /* or no password was set when it came */
    enum reply_mode replies;   /* CLIENT REPLY */
    bool close_after_reply;    /* QUIT, protocol error, own CLIENT KILL */
    enum park_kind parked;
    enum park_outcome outcome; /* of its first request; PARK_FRESH when that was never parked */
    instant parked_first;      /* when its first request was parked first; unless PARK_FRESH */
    instant park_until;        /* PARK_WAITING: ms 0 for ever */
    instant park_look;   /* ... or PARK_CALL: before that it wants to be looked at again; ms 0: no need */
    struct push *push;   /* NULL until it is spoken to unasked; push.h */
    _Atomic bool killed; /* CLIENT KILL by another: the worker closes it */
    int db;
    int fd;                              /* for CLIENT LIST only */
    unsigned worker;                     /* index of its owner */
    char *name, *lib_name, *lib_version; /* NULL until set; owned */
    char *address, *local_address;       /* "127.0.0.1:1234", or "/path:0"; owned */
    instant created;
    _Atomic int64_t last_active_ms;
    _Atomic(const char *) last_command; /* "get", "client|list"; static text; NULL: none yet */
    _Atomic size_t input_bytes;         /* of an unfinished request */
    _Atomic size_t output_bytes;        /* replies waiting for the client to read */
    struct transaction *transaction;    /* transaction.h; NULL until the first MULTI or WATCH */
    _Atomic int32_t queued;             /* requests since MULTI; -1: not in one */
    _Atomic size_t queued_bytes;        /* of them */
    _Atomic unsigned shown;             /* enum session_shown */
    _Atomic uint32_t subscriptions[3];  /* enum pubsub_kind */
    _Atomic int64_t redirect_shown;     /* of tracking: -1 none, 0 to itself */
    _Atomic bool waiting;               /* parked by its handler, so CLIENT UNBLOCK may end it */
    struct waiter waiter;               /* for a key that another client fills; herd.h */
    struct held_lease *held;            /* leases it got without asking; herd/protect.c's */
    uint64_t held_last;                 /* of its own leases, the token of the one it filled last */
    unsigned held_len;
    size_t held_bytes;
    struct gather *gather; /* of its first request, while other nodes answer parts of it; cluster/gather.h */
    instant moved;         /* when it was last told MOVED; ms 0: never; cluster/redirect.h */
    uint64_t commands;
    uint64_t position;                  /* bytes of what its client has sent that are done with */
    struct forward *calls, *calls_last; /* requests that other nodes execute; cluster/forward.c's */
    struct session *next, *prev;        /* in the registry; clients.c's alone */
};

/* Takes over nothing: addresses are copied. False when memory is short. */
bool session_init(struct session *s, enum dialect dialect, int fd, const char *address,
                  const char *local_address, instant now);
void session_free(struct session *s); /* what it owns, not itself */
/* Ends the reply under way, if any. */
void session_end_producer(struct session *s);

/* Replaces an owned string by a copy, or by NULL when len is 0. False when memory is short. */
bool session_set_text(char **field, const uint8_t *text, size_t len);

/* Writes the line of CLIENT LIST, "\n" at its end, cut to cap; returns its length. */
size_t session_line(const struct session *s, instant now, char *line, size_t cap);
enum {
    SESSION_TEXT_MAX = 512, /* bytes of a name, so that nobody keeps a novel in one */
    SESSION_LINE_MAX = 2560,
};

/* Only its owner. */
static inline void session_show(struct session *s, enum session_shown what, bool on)
{
    unsigned shown = atomic_load_explicit(&s->shown, memory_order_relaxed);

    atomic_store_explicit(&s->shown, on ? shown | what : shown & ~(unsigned)what, memory_order_relaxed);
}

static inline void session_doing(struct session *s, const char *command)
{
    atomic_store_explicit(&s->last_command, command, memory_order_relaxed);
}

/* What it did last: a verb, or a verb and its subcommand; never NULL after a request. */
static inline const char *session_does(const struct session *s)
{
    return atomic_load_explicit(&s->last_command, memory_order_relaxed);
}

#endif
