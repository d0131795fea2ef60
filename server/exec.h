/* exec.h - everything a command handler may use, and how it answers.
 *
 * A handler is a function of (request, store) that appends its reply to `out`.
 * It does no I/O and keeps no pointer into the request after it returns. */
#ifndef CORRAL_EXEC_H
#define CORRAL_EXEC_H

#include "protocol/request.h"
#include "server/clock.h"
#include "server/counters.h"
#include "server/options.h"
#include "server/out.h"
#include "server/session.h"
#include "server/store/store.h"

struct server; /* the whole process: options, workers, clients; see server.h */
struct worker;
struct command_family;
struct protect_several;
struct gather;
struct asked;

struct exec {
    struct server *server;
    struct worker *worker;
    struct session *session;
    struct store *store;
    struct store_local *local;
    struct counters *counters;
    const struct options *options;
    struct out *out;
    instant now;          /* of this loop turn */
    uint8_t db;           /* the store's number of the session's database */
    bool checking;        /* the words of a subcommand are only looked at: see transaction.h */
    bool alone;           /* no other worker executes anything meanwhile: see gate.h */
    bool instead;         /* missing keys may be answered by origins_instead(): see origin/origins.h */
    bool hopeful;         /* a read that parks (PARK_ASKING) if it misses a key of an origin */
    bool no_touch;        /* reads leave no trace for the policy: CLIENT NO-TOUCH */
    unsigned errors;      /* answered to the request at hand */
    struct asked *asked;  /* it is a frame of another node: cluster/guest.h; NULL: a client's request */
    struct key first_key; /* already hashed and prefetched when the command has a key */
    const struct command_family **family; /* not NULL: which is it? Nothing is run; see command_family_of() */
    struct protect_several *several; /* of a request that reads several keys, see herd/protect.h; else NULL */
    struct gather *gathered; /* of a request that other nodes answer, too: cluster/scope.h; else NULL */
    struct blob *backing;    /* holds the request's bytes when they came in a blob, else NULL */
};

/* Argument i as a key: uses the hash made at dispatch when it is the first key. */
struct key exec_key(const struct exec *x, const struct request *rq, uint32_t i);

/* ---- RESP replies, in the session's protocol version ---- */
void reply_ok(struct exec *x);
void reply_simple(struct exec *x, const char *text);
/* "-ERR ..." : the caller writes the code itself, e.g. "ERR syntax error". printf-like; CR and LF become
 * blanks. */
void reply_error(struct exec *x, const char *format, ...) __attribute__((format(printf, 2, 3)));
void reply_integer(struct exec *x, int64_t value);
void reply_bool(struct exec *x, bool value);     /* RESP2: integer */
void reply_double(struct exec *x, double value); /* RESP2: bulk */
void reply_bulk(struct exec *x, struct slice value);
/* The same of a value that a writer may be changing meanwhile: store_peek_ok() will tell. */
void reply_racy_bulk(struct exec *x, const uint8_t *value, size_t len);
void reply_text(struct exec *x, const char *text);       /* bulk of a C string */
void reply_verbatim(struct exec *x, struct slice value); /* RESP2: bulk */
void reply_null(struct exec *x);
void reply_null_array(struct exec *x);
void reply_array(struct exec *x, size_t elements);
void reply_map(struct exec *x, size_t pairs); /* RESP2: array of 2 * pairs */
void reply_set(struct exec *x, size_t elements);
/* An array whose length is known only later: returns a mark for reply_array_close(). */
size_t reply_array_open(struct exec *x);
void reply_array_close(struct exec *x, size_t mark, size_t elements);
/* A pinned blob's bytes as a bulk; takes over the pin. */
void reply_bulk_blob(struct exec *x, struct blob *blob, struct slice value);
/* The value under a key as a bulk, or null; counts keyspace hits and misses. True on a hit. */
bool reply_value_of(struct exec *x, const struct key *key);
/* For "%.*s" in the above: what a client sent, as much of it as redis quotes. */
#define EXEC_QUOTED(s) ((s).len < 128 ? (int)(s).len : 128), (const char *)(s).data
/* The error texts every handler needs. */
void reply_syntax_error(struct exec *x);
void reply_wrong_arity(struct exec *x, const char *command);
void reply_not_integer(struct exec *x);
void reply_wrong_type(struct exec *x); /* the key holds something the command is not about */
void reply_store_refused(struct exec *x, enum store_status why); /* OOM / too long */

/* ---- raw bytes, for the memcached dialects ---- */
void reply_raw(struct exec *x, const void *data, size_t len);
void reply_line(struct exec *x, const char *text); /* adds \r\n */

typedef void command_handler(struct exec *x, struct request *rq);

#endif
