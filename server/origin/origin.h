/* origin.h - one origin: its requests, and what protects it and us.
 *
 * All on the origin thread, but for what is said to be for any thread. A job is
 * one key that is fetched or written. It waits in line (the bulkhead: `in-flight`
 * at once), is tried, tried again after a back-off when the origin failed, and
 * ends exactly once by its ended(): with the origin's answer, or with the
 * reason why there is none. Nothing is tried while the breaker is open. */
#ifndef CORRAL_ORIGIN_ORIGIN_H
#define CORRAL_ORIGIN_ORIGIN_H

#include <stdatomic.h>

#include "server/figures.h"
#include "server/options.h"
#include "server/origin/backend.h"
#include "server/origin/breaker.h"
#include "server/origin/bulkhead.h"

struct origin;

enum job_state { JOB_NEW, JOB_IN_LINE, JOB_RUNNING, JOB_BACKING_OFF };

struct job {
    struct call call; /* first */
    struct in_line in_line;
    struct timer timer;
    struct origin *origin; /* pinned */
    void (*ended)(struct job *job, const struct answer *answer);
    enum job_state state;
    unsigned tries;
    bool patient;        /* write-behind: tried until it is through */
    int64_t deadline_ms; /* on the ticks' clock; patient: none */
    int64_t began_ns;    /* this try */
};

/* Sums since the start; written by the origin thread unless it says otherwise. */
#define ORIGIN_COUNTS(COUNT)                                                                                 \
    COUNT(fetches)   /* keys the origin was asked for; any thread */                                         \
    COUNT(coalesced) /* readers who waited for another's fetch; any thread */                                \
    COUNT(hits)      /* fetches that brought a value */                                                      \
    COUNT(absent)    /* ... and those that found the origin has none */                                      \
    COUNT(failures)  /* fetches and writes that failed in the end */                                         \
    COUNT(timeouts)  /* tries that took too long */                                                          \
    COUNT(retries)                                                                                           \
    COUNT(refused_breaker)  /* any thread */                                                                 \
    COUNT(refused_bulkhead) /* any thread */                                                                 \
    COUNT(late)             /* values that came when the key had been written or deleted */                  \
    COUNT(stale_served)     /* any thread */                                                                 \
    COUNT(refreshes)        /* fetches of keys that were still fresh; any thread */                          \
    COUNT(writes)           /* acknowledged by the origin */                                                 \
    COUNT(writes_coalesced) /* replaced by a later one before they were sent; any thread */                  \
    COUNT(writes_refused)   /* told the client; any thread */                                                \
    COUNT(writes_lost)      /* accepted from the client, and then refused for good, or left at shutdown */

struct origin_counts {
#define COUNT(name) _Atomic uint64_t name;
    ORIGIN_COUNTS(COUNT)
#undef COUNT
};

struct origin {
    struct origin_rule rule;
    struct origin_rules *rules; /* its own copy, that the rule's strings lie in */
    const struct options *options;
    struct loop *loop;
    struct timers *timers;
    struct backend *backend; /* NULL until it is first needed */
    struct breaker breaker;
    struct bulkhead bulkhead;
    uint64_t dice;
    struct origin *next_busy; /* in the thread's list of those to be pumped */
    /* any thread */
    _Atomic unsigned pins;
    _Atomic unsigned jobs;         /* reserved, waiting or under way; not patient ones */
    _Atomic unsigned in_flight;    /* as the bulkhead has it, to be shown */
    _Atomic int breaker_shown;     /* enum breaker_state */
    _Atomic int64_t shut_until_ms; /* the breaker is open until then, in ticks; 0: it is not */
    struct origin_counts counts;
    uint64_t latency[FIGURES_BUCKETS]; /* of tries that were answered, in ns; relaxed */
};

#define origin_count(origin, name)                                                                           \
    ((void)atomic_fetch_add_explicit(&(origin)->counts.name, 1, memory_order_relaxed))

/* The first rule of `rules`, which it takes over. NULL when memory is short, or
 * `rules` is NULL. One pin, the caller's. */
struct origin *origin_new(struct origin_rules **rules, const struct options *options, struct loop *loop,
                          struct timers *timers);
void origin_pin(struct origin *origin); /* any thread that knows somebody holds one */
/* The last one frees; that one must be the origin thread's, or come when it has ended. */
void origin_unpin(struct origin **origin);

/* ---- any thread ---- */

/* May another job be made? Counts the refusal. True: a place is kept for it. */
enum origin_place { PLACE_KEPT, PLACE_SHUT, PLACE_FULL };
enum origin_place origin_reserve(struct origin *origin);
/* The same, whatever there is already: for what the origin will not be asked. */
void origin_keep(struct origin *origin);
void origin_unreserve(struct origin *origin);
/* How long all tries of a job may take. */
int64_t origin_patience_ms(const struct origin *origin);
int64_t origin_ticks_ms(void);

/* ---- the origin thread ---- */

/* `job` has its call, origin and ended set. It is begun by the next pump. */
void origin_begin(struct job *job);
/* Lets those in line go as far as they may. */
void origin_pump(struct origin *origin);
/* The node stops: ends all that is in line, backs off or runs; patient ones too. */
void job_give_up(struct job *job, const char *why);

#endif
