/* server.h - the process: what the workers share. */
#ifndef CORRAL_SERVER_H
#define CORRAL_SERVER_H

#include <pthread.h>
#include <stdatomic.h>

#include "server/counters.h"
#include "server/loop.h"
#include "server/options.h"
#include "server/prefixes.h"
#include "server/session.h"
#include "server/store/store.h"

/* The redis whose clients and replies this is compatible with, as they compare versions. */
#define SERVER_REDIS_VERSION "7.2.4"

struct listener;
struct changes;
struct watches;
struct pubsub;
struct tracking;
struct monitors;
struct memcache_auth;
struct peers;
struct herd;
struct herd_rules;
struct origins;
struct routes;
struct control;
struct plane;

enum { ERROR_CODES_MAX = 64, ERROR_CODE_LEN = 24 };

/* What clients hold together; see overload.h. */
struct overload {
    _Atomic int64_t buffers; /* bytes of all connections' buffers */
    _Atomic int64_t blobs;   /* the blobs among them */
    _Atomic uint64_t strays; /* bytes of values that only replies hold; as of the last measurement */
};

/* How often each kind of error was answered, for INFO errorstats. */
struct error_stats {
    pthread_mutex_t lock;
    unsigned len;
    struct error_stat {
        char code[ERROR_CODE_LEN]; /* "WRONGTYPE" */
        uint64_t count;
    } rows[ERROR_CODES_MAX];
};

/* Per second, over the last second and a half or so; worker 0 keeps them. */
enum { RATE_SAMPLES = 16 };
struct rate_ring {
    struct rate_sample {
        int64_t ms;
        uint64_t commands, input, output;
    } samples[RATE_SAMPLES];
    unsigned next;
};
struct server_rates {
    _Atomic uint64_t commands, input_bytes, output_bytes;
    struct rate_ring ring; /* worker 0's alone */
};

/* SIGINT and SIGTERM stop the node, SIGHUP opens the log anew; read by worker 0. */
struct server_signals {
    struct loop_source source; /* first: the loop calls back with it */
    struct server *server;
    int fd;
};

/* What RESETSTAT remembers, to be subtracted from then on. */
struct server_baseline {
    pthread_mutex_t lock;
    struct counters counters;
    struct store_stats store;
};

/* CLIENT PAUSE; pause.h. */
struct server_pause {
    pthread_mutex_t lock;
    _Atomic int64_t until_ms;
    _Atomic bool all; /* or only writes */
};

struct server {
    struct options options; /* CONFIG SET edits it under options_lock; others read relaxed */
    pthread_mutex_t options_lock;
    struct store *store;
    struct gate *gate;
    struct changes *changes;               /* who hears of changed keys; changes.h */
    struct watches *watches;               /* keys under WATCH; watch.h */
    struct herd *herd;                     /* leases and who waits for them; herd.h */
    struct herd_rules *_Atomic herd_rules; /* herd/protect.c's; NULL: none */
    struct store_shaper herd_shaper;       /* the same */
    struct origins *origins;               /* who knows keys that are not here; origin/origins.h */
    _Atomic unsigned modes;                /* enum server_mode */
    _Atomic uint8_t
        databases[STORE_DATABASES_MAX]; /* the store's number of each database; SWAPDB swaps two */
    struct pubsub *pubsub;
    struct tracking *tracking;
    struct monitors *monitors;
    struct server_pause pause;
    _Atomic uint32_t blocked; /* connections with a parked request */
    struct worker **workers;
    unsigned workers_len;
    instant started;
    char run_id[41];
    _Atomic bool
        stopping; /* set by SHUTDOWN or a signal: every worker finishes what its clients have asked */
    _Atomic bool stopping_now; /* the same, and nobody waits for clients to take their replies */
    _Atomic uint32_t clients;
    struct clients *registry;    /* all sessions; clients.h */
    struct listener **listeners; /* worker 0's */
    unsigned listeners_len;
    struct peers *peers; /* who has how many connections */
    int spare_fd;        /* given up for a moment to tell a client that there are no more */
    struct overload overload;
    struct error_stats errors;
    struct server_signals signals;
    struct server_rates rates;
    struct server_baseline baseline;
    struct lookout *lookout; /* lookout.h */
    uint64_t base_bytes;     /* resident at the start, before there was any data */
    _Atomic uint64_t memory_peak;
    _Atomic uint64_t heap_bytes; /* resident, outside the store: connections, buffers; measured by worker 0 */
    _Atomic uint64_t other_bytes;          /* what the store was last told about the heap */
    int64_t next_tick_ms;                  /* worker 0's: see server_tick() */
    _Atomic int64_t flush_at_ms;           /* server_flush_at(); 0: none is waiting */
    struct memcache_auth *memcache_auth;   /* memcache_auth.c's, under options_lock; NULL: no file */
    struct prefixes prefixes;              /* memcached's stats detail */
    struct control *control;               /* cluster/control.h; NULL: this node is in no cluster */
    struct plane *plane;                   /* cluster/plane.h */
    _Atomic(const struct routes *) routes; /* the latest, pinned; NULL: none. cluster/routes.h */
    pthread_mutex_t routes_lock;           /* around pinning them */
};

/* Everything but its threads. Keeps a copy of *options, whose strings it takes over. NULL after saying why on
 * standard error. */
struct server *server_new(struct options *options);
/* Runs until server_stop(); worker 0 is the calling thread. Returns the exit code. */
int server_run(struct server *server);
void server_free(struct server **server);

/* The store's number of a session's database. */
static inline uint8_t server_db(struct server *server, int db)
{
    return atomic_load_explicit(&server->databases[db], memory_order_relaxed);
}

/* For options.policy_ok: is there such a policy in this build? */
bool server_policy_ok(const char *name);
/* Sums every worker's counters. Lock-free, approximately now. */
void server_counters(struct server *server, struct counters *out);
/* Zeroes the statistics that CONFIG RESETSTAT / stats reset zero. */
void server_reset_stats(struct server *server);
/* The store's, since the last reset where that applies. */
void server_store_stats(struct server *server, struct store_stats *out);
/* An error was answered; `text` begins with its code. */
void server_count_error(struct server *server, struct slice text);
/* Does this password open the door? True when none is set. */
bool server_password_ok(struct server *server, struct slice password);
bool server_password_set(struct server *server);
/* Worker 0, about ten times a second: rates, memory, a flush that is due. */
void server_tick(struct server *server, instant now);
/* What the process holds by its own arithmetic (redis's used_memory), within 5 % of RSS. */
uint64_t server_used_memory(struct server *server);
/* Resident set from the kernel. */
uint64_t server_rss(void);
/* Applies the effect of a changed option (maxmemory, policy, loglevel ...). NULL, or why it was refused. */
const char *server_apply_option(struct server *server, const char *name);
/* Asks all workers to stop; returns at once. Any thread. `now`: clients get no time to take their replies. */
void server_stop(struct server *server, bool now);
/* maxmemory, or all that the machine has when it is 0. */
uint64_t server_memory_limit(const struct options *o);
/* A limit, or one part of so many of maxmemory where that is less: what suits a large node must not fill a
 * small one. */
size_t server_at_most(const struct server *server, size_t limit, unsigned part);
/* flush_all with a delay: drops all of database 0 at `when` (memcached); a later call replaces it. */
void server_flush_at(struct server *server, instant when);

#endif
