/* lookout.h - what the node notices about its own requests: figures per command,
 * the slow ones, the moments that made others wait. docs/SEEING.md is for who reads them. */
#ifndef CORRAL_LOOKOUT_H
#define CORRAL_LOOKOUT_H

#include <pthread.h>
#include <stdatomic.h>

#include "server/exec.h"
#include "server/figures.h"
#include "server/latency.h"
#include "server/slowlog.h"

struct lookout {
    _Atomic uint64_t slow_ns;    /* at which a request goes to the slowlog; UINT64_MAX: never */
    _Atomic uint64_t latency_ns; /* at which it is an event of LATENCY; UINT64_MAX: never */
    _Atomic uint64_t least_ns;   /* the smaller of both */
    _Atomic bool tracking;       /* latency-tracking: keep histograms */
    struct slowlog *slowlog;
    struct latency *latency;
    pthread_mutex_t lock;
    struct figures *baseline; /* under the lock: what RESETSTAT remembers */
};

/* Closer looks than this at every request cost more than they are worth. */
#define LOOKOUT_CLOSE_NS UINT64_C(1000000)

struct lookout *lookout_new(void);
void lookout_free(struct lookout **lookout);

/* The options have changed, or were just read. NULL, or why one cannot be. */
const char *lookout_apply(struct lookout *lookout, const struct options *options);

/* Is every request to be timed, because the limits are that low? */
static inline bool lookout_is_close(const struct lookout *lookout)
{
    return atomic_load_explicit(&lookout->least_ns, memory_order_relaxed) < LOOKOUT_CLOSE_NS;
}

/* A request took that long. The second half, for those over a limit, is not inlined. */
void lookout_slow(struct exec *x, const struct command *command, const struct request *rq, uint64_t ns);
static inline void lookout_request(struct exec *x, const struct lookout *lookout,
                                   const struct command *command, const struct request *rq, uint64_t ns)
{
    if (__builtin_expect(ns >= atomic_load_explicit(&lookout->least_ns, memory_order_relaxed), 0))
        lookout_slow(x, command, rq, ns);
}
/* A batch of requests that were not timed one by one took longer than a limit. */
void lookout_slow_batch(struct exec *x, const struct request *first, unsigned followers, uint64_t ns);
/* A slice of upkeep took that long. */
void lookout_upkeep(struct lookout *lookout, instant now, uint64_t ns);

/* The sum over all workers since the last reset; free it with figures_free(). NULL when memory is short. */
struct figures *lookout_figures(struct server *server);
/* Lets it begin from zero. */
void lookout_reset(struct server *server);

enum { LOOKOUT_PERCENTILES = 16 };
/* Reads latency-tracking-info-percentiles: numbers from 0 to 100. False: it is none. */
bool lookout_percentiles(const char *text, double percent[LOOKOUT_PERCENTILES], unsigned *n);

#endif
