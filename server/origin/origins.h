/* origins.h - read-through: keys that the node fetches by itself when they are missing.
 *
 *   worker                                   origin thread
 *   a read misses a key of an origin         its own loop: sockets, timers
 *   takes the key's lease (herd/lease.h) ──> fetches, tries again, gives up
 *   and waits (herd_wait())                  fills by the lease's token
 *   woken, runs the same request again <──   wakes whoever waits for the key
 *
 * So however many readers there are, of whatever dialect, the one who got the
 * lease has the origin asked, and a value that was fetched before somebody
 * wrote or deleted the key is refused. What leaves nothing in the store (a
 * failure) is told by an outcome (outcomes.h).
 *
 * A node without origins has no such thread, and no request looks in here:
 * dispatch.c asks only while SERVER_ORIGINS is among server->modes. */
#ifndef CORRAL_ORIGIN_ORIGINS_H
#define CORRAL_ORIGIN_ORIGINS_H

#include "server/command/command.h"
#include "server/exec.h"
#include "server/out.h"

struct origins;

/* Whether a key is read from an origin when it is missing; only while SERVER_ORIGINS is set. */
bool origins_has(struct exec *x, struct slice name);

/* ---- life; server.c ---- */

/* Reads the option. False, with the reason in err. */
bool origins_init(struct server *server, char *err, size_t err_len);
/* Starts the thread if there are origins. False: it could not be. */
bool origins_start(struct server *server);
/* The option has changed; under options_lock. NULL, or why it was refused. Origins
 * whose rule is the same as before keep their connections and their figures. */
const char *origins_apply(struct server *server);
/* The workers have ended. Waits for writes that are under way, at most limit_ms. */
void origins_stop(struct server *server, int64_t limit_ms);
void origins_free(struct server *server);

/* ---- for dispatch.c; only while SERVER_ORIGINS is set ---- */

/* Whether a request only reads, and asks at each key that it misses: then its
 * handler may run with x->hopeful before origins_ready() is called, which a hit
 * is spared. If it parks with PARK_ASKING it has done and counted nothing yet, and
 * goes the long way. `rq` is as it came. */
static inline bool origins_may_hope(const struct command *command)
{
    return command->handler == cmd_get || command->handler == cmd_mget;
}
bool origins_may_hope_memcache(const struct exec *x, const struct request *rq);

/* Before a handler. */

/* True: let the handler run; x->instead says that origins_instead() may know of
 * something for keys that it misses. False: the request waits, or is answered. */
bool origins_ready(struct exec *x, const struct command *command, const struct request *rq);
/* `rq` is in words; `packet` is the same request as it came, in the binary protocol. */
bool origins_ready_memcache(struct exec *x, const struct request *rq, const struct request *packet);

/* A request that writes is about to be queued by MULTI. False: its keys are written to
 * their origin, which EXEC cannot wait for; answered. */
bool origins_may_queue(struct exec *x, const struct command *command, const struct request *rq);

/* ---- for handlers, while x->hopeful is set; herd/reads.h calls them ---- */

/* A key is not there. True: it has an origin, and the request is parked with PARK_ASKING. */
bool origins_ask(struct exec *x, const struct key *key);
/* A key is there, and was filled: it may be time to fetch it anew. */
void origins_hit_slowly(struct exec *x, const struct key *key, const struct store_peek *peek);
static inline void origins_hit(struct exec *x, const struct key *key, const struct store_peek *peek)
{
    enum { FARTHEST = 23 }; /* more than -log() of the least dice: before that none would choose it */
    int64_t reach = (int64_t)peek->herd.fill_ms * option_live(x->options, origin_refresh_beta) * FARTHEST;

    if (peek->expires.ms != 0 && since(peek->expires, x->now).ms * 100 < reach)
        origins_hit_slowly(x, key, peek);
}

/* ---- for handlers, while x->instead is set ---- */

/* What to answer with for a key that is not there: a value that may not be kept,
 * or one out of time whose origin fails. The blob is pinned for the caller, and
 * is all of the value. */
struct origin_gift {
    struct blob *blob;
    struct slice value;
    uint32_t flags;
};
bool origins_instead(struct exec *x, const struct key *key, struct origin_gift *gift);

/* ---- for conn.c ---- */

/* The connection closes: nobody waits for what it has written any more. */
void origins_leave(struct server *server, const struct session *session);

/* ---- INFO ---- */

/* Clients that wait until an origin with `write through` has acknowledged. */
unsigned origins_writers_waiting(struct server *server);
/* Bytes of writes that origins with `write behind` have not acknowledged. */
uint64_t origins_write_bytes(struct server *server);
/* What there is to tell of the i-th origin, one figure after the other: glob, url,
 * breaker, then numbers. False: there is no i-th. */
typedef void origin_figure_visit(void *arg, const char *name, const char *value);
bool origins_figures(struct server *server, unsigned i, origin_figure_visit *visit, void *arg);

#endif
