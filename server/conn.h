/* conn.h - a socket, and what is left over between two looks at it.
 *
 * Knows no verb: bytes go to dispatch, replies come back in the worker's out.
 * Rules: (1) an idle connection holds no buffer; (2) replies leave in one send
 * per turn, and only what the kernel refused is kept; (3) a client that does
 * not read is not read from; (4) what it holds is in the accounts of its worker
 * (burden.h) after each turn, so that too much in all can be let go. */
#ifndef CORRAL_CONN_H
#define CORRAL_CONN_H

#include "server/burden.h"
#include "server/dispatch.h"
#include "server/loop.h"
#include "server/out.h"
#include "server/session.h"
#include "server/timers.h"

struct worker;
struct peer;
struct host;

struct conn {
    struct loop_source source; /* first: the loop calls back with it */
    struct worker *worker;     /* NULL until adopted */
    struct conn *next, *prev;  /* its worker's */
    union dispatch_parser parser;
    uint8_t *rest; /* the bytes of an unfinished request; exactly rest_len, or NULL */
    size_t rest_len;
    struct blob *big; /* the same for one that is large, with room for all of it */
    size_t big_len;
    uint8_t *staged; /* read ahead of its turn, into the worker's stage; NULL: nothing was */
    size_t staged_len;
    uint64_t staged_hash; /* of its first key, for prefetching; 0: none was found */
    struct out pending;   /* replies the kernel did not take */
    unsigned listens_to;  /* enum loop_event */
    bool paused;          /* does not read: too much is pending, its own or all clients' */
    bool draining;        /* will be closed when what is pending is through */
    bool touched;         /* in its worker's list of those, by the next two */
    bool woken;           /* a parked request is to be looked at again */
    enum park_outcome outcome;
    struct conn *touched_next, *touched_prev;
    struct timer timer; /* of a parked request */
    bool finishing;     /* the node stops: what has been read is still answered */
    bool asked_all;     /* and what it had sent by then has been read */
    bool lingering;     /* all is sent; what the client still sends is thrown away until it closes */
    struct burden burden;
    size_t owned, owned_blob; /* bytes of buffers as they were last accounted for; of these in `big` */
    int64_t begun_ms;         /* when the unfinished request began, in ticks; 0: there is none */
    int64_t taken_ms;         /* when the client last took replies that waited; 0: none wait */
    struct peer *peer;        /* whom it counts for, or NULL */
    struct host *host;        /* of a data link and its guests: cluster/guest.h; NULL: of a client */
    struct session session;
};

/* Takes over the fd, also when it fails and returns NULL. */
struct conn *conn_new(enum dialect dialect, int fd, const char *address, const char *local_address,
                      instant now);
/* Starts listening; the connection is in the worker's list. False: it is gone. */
bool conn_open(struct conn *conn, struct worker *worker);
/* Closes and frees. Copes with one that was never opened. */
void conn_close(struct conn *conn);
/* The node stops: answers what the client has sent so far, and closes as soon as
 * the replies are taken; maybe at once. */
void conn_finish(struct conn *conn);
/* ---- for guests of data links, which have no socket: cluster/guest.c ---- */

/* Zeroed memory becomes one, beside its link. False: memory is short. */
bool conn_init_guest(struct conn *guest, struct host *host, const struct conn *link);
/* Its request, which is the frame, was parked, or parked again (no frame): keeps a copy. False: memory is short. */
bool conn_park_guest(struct conn *guest, struct slice frame);

/* ---- for those who speak to it unasked: push.c ---- */

struct conn *conn_of(struct session *session);
/* Where to write what its client is to hear now: whole messages only. While its
 * own request is being executed, that is among its replies; otherwise it is sent
 * by conn_speak(), for which it is now in its worker's list. NULL: it has so much
 * unread that it will be closed. */
struct out *conn_voice(struct conn *conn);
/* A parked request is to be looked at again, in conn_speak(). */
void conn_wake_later(struct conn *conn, enum park_outcome outcome);
/* Takes it off the list; sends, wakes, or closes it. Only between two turns. True: a parked request was
 * looked at. */
bool conn_speak(struct conn *conn);
/* It is waiting for us: `timeout` is not about it. */
bool conn_may_idle(const struct conn *conn);

/* A last attempt to send what is pending; never waits. */
void conn_flush_at_exit(struct conn *conn);

/* Brings the accounts up to date. conn.c does so itself; for others who have
 * added to what is pending. */
void conn_account(struct conn *conn);
/* CLIENT NO-EVICT: not to be closed because clients hold too much. Its account
 * calls it as light as can be, so that all others go before it is looked at. */
bool conn_is_spared(const struct conn *conn);
/* It was paused because all clients held too much: does it still have to be? May close it. */
void conn_retry(struct conn *conn);
/* What it holds: buffers, and its part of large values that wait to be sent. */
size_t conn_holds(const struct conn *conn);
struct conn *conn_of_burden(struct burden *burden);
/* Why it has had time enough, or NULL. limit_ms: client-request-timeout. */
const char *conn_overdue(const struct conn *conn, int64_t ticks_ms, int64_t limit_ms);

#endif
