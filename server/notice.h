/* notice.h - what the node notices about its own requests: figures per command,
 * the slow ones, the moments that made others wait. docs/SEEING.md is for who reads them. */
#ifndef CORRAL_NOTICE_H
#define CORRAL_NOTICE_H

#include <pthread.h>
#include <stdatomic.h>

#include "server/exec.h"
#include "server/figures.h"
#include "server/latency.h"
#include "server/slowlog.h"

struct notice {
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
#define NOTICE_CLOSE_NS UINT64_C(1000000)

struct notice *notice_new(void);
void notice_free(struct notice **notice);

/* The options have changed, or were just read. NULL, or why one cannot be. */
const char *notice_apply(struct notice *notice, const struct options *options);

/* Is every request to be timed, because the limits are that low? */
static inline bool notice_is_close(const struct notice *notice)
{
    return atomic_load_explicit(&notice->least_ns, memory_order_relaxed) < NOTICE_CLOSE_NS;
}

/* A request took that long. The second half, for those over a limit, is not inlined. */
void notice_slow(struct exec *x, const struct command *command, const struct request *rq, uint64_t ns);
static inline void notice_request(struct exec *x, const struct notice *notice, const struct command *command,
                                  const struct request *rq, uint64_t ns)
{
    if (__builtin_expect(ns >= atomic_load_explicit(&notice->least_ns, memory_order_relaxed), 0))
        notice_slow(x, command, rq, ns);
}
/* A batch of requests that were not timed one by one took longer than a limit. */
void notice_slow_batch(struct exec *x, const struct request *first, unsigned followers, uint64_t ns);
/* A slice of upkeep took that long. */
void notice_upkeep(struct notice *notice, instant now, uint64_t ns);

/* The sum over all workers since the last reset; free it with figures_free(). NULL when memory is short. */
struct figures *notice_figures(struct server *server);
/* Lets it begin from zero. */
void notice_reset(struct server *server);

enum { WATCH_PERCENTILES = 16 };
/* Reads latency-tracking-info-percentiles: numbers from 0 to 100. False: it is none. */
bool notice_percentiles(const char *text, double percent[WATCH_PERCENTILES], unsigned *n);

#endif
