/* figures.h - for every command: how often it ran, how long it took, how often in vain.
 *
 * Rules: (1) each worker has its own tables and is the only one who writes
 * them; readers sum all workers with relaxed loads. (2) Calls, rejections and
 * failures are counted exactly. (3) Time is read where it costs least: the end
 * of one request is the beginning of the next, and in a pipeline of
 * FIGURES_SHORT requests or more, commands that are brief by nature (CMD_FAST
 * or CMD_BRIEF, few words) are timed in one batch of FIGURES_SAMPLE only. The total is then
 * extrapolated from those that were timed. (4) No request that takes longer
 * than the slow limits goes unnoticed: a batch that was not timed one by one
 * is timed as a whole, and whoever exceeds a limit there makes the following
 * batches be timed one by one. (5) Nobody sets a figure back: a reset
 * remembers the sums of that moment and subtracts them. */
#ifndef CORRAL_FIGURES_H
#define CORRAL_FIGURES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/command/command.h"
#include "server/ticks.h"

enum {
    FIGURES_SHORT = 8,         /* requests; shorter batches are timed one by one */
    FIGURES_SAMPLE = 16,       /* of the longer batches, one in so many is, too; a power of two */
    FIGURES_WORDS = 16,        /* a request of more words is never taken for brief */
    FIGURES_SUBCOMMANDS = 256, /* "config|get": those beyond are counted for their parent alone */
    FIGURES_BUCKETS = 160,     /* of a histogram: four per power of two, up to 2^40 ns */
};

struct command_figures {
    uint64_t calls;                /* executed, with whatever answer */
    uint64_t timed;                /* of those */
    uint64_t ns;                   /* what they took */
    uint64_t rejected;             /* refused before they were executed */
    uint64_t failed;               /* executed, and answered with an error */
    _Atomic(uint64_t *) histogram; /* of ns; NULL until something was timed while latency-tracking was on */
};

struct subcommand_figures {
    _Atomic(const char *) name; /* static text, "config|get"; NULL: free */
    struct command_figures figures;
};

/* One worker's, or the sum of all. */
struct figures {
    uint64_t clock; /* when the last request that was timed ended, or the batch began */
    uint64_t batch_began;
    uint64_t batch_known; /* ticks of it that belong to requests timed by themselves */
    bool one_by_one;      /* this batch */
    unsigned attention;   /* so many batches will be timed one by one */
    uint32_t dice;
    const struct command *first;  /* the verb table */
    struct command_figures *rows; /* one per command */
    struct subcommand_figures subcommands[FIGURES_SUBCOMMANDS];
};

/* NULL when memory is short. */
struct figures *figures_new(void);
void figures_free(struct figures **figures);

/* ---- by the worker, around each request ---- */

/* `every`: time all of it one by one. */
void figures_batch_begin(struct figures *f, unsigned requests, bool every);
/* A batch of a dialect that has no verbs in the table: timed as a whole. */
static inline void figures_batch_whole(struct figures *f)
{
    f->one_by_one = false;
    f->batch_known = 0;
    f->batch_began = ticks_now();
}
/* Nanoseconds that the requests took which were not timed by themselves; 0 if all were. */
uint64_t figures_batch_end(const struct figures *f);
/* A limit was exceeded, and nobody knows by whom: look closer for a while. */
void figures_look_closer(struct figures *f);

static inline struct command_figures *figures_of(struct figures *f, const struct command *command)
{
    return &f->rows[command - f->first];
}

/* Is this request to be timed by itself? */
static inline bool figures_times(const struct figures *f, const struct command *command, uint32_t words)
{
    return f->one_by_one || !(command->flags & (CMD_FAST | CMD_BRIEF)) || words > FIGURES_WORDS;
}

/* The moment from which a request is timed: now, or when the one before it ended. */
static inline uint64_t figures_begin(const struct figures *f)
{
    return f->one_by_one ? f->clock : ticks_now();
}

/* Adds one; only the owner of the table may. */
static inline void figures_count(uint64_t *figure)
{
    __atomic_store_n(figure, *figure + 1, __ATOMIC_RELAXED);
}

/* Records a request that has been timed; returns its nanoseconds. `name` is what
 * it turned out to be: command->name or a subcommand's; anything else (what ran
 * last inside an EXEC) is ignored. */
uint64_t figures_end(struct figures *f, const struct command *command, const char *name, uint64_t began,
                     bool failed, bool tracking);

/* ---- by whoever wants to know ---- */

/* total += one. Histograms that cannot be had for lack of memory are left out. */
void figures_add(struct figures *total, const struct figures *one);
/* total -= since, never below zero. */
void figures_subtract(struct figures *total, const struct figures *since);
/* The figures under a name, "get" or "config|get"; NULL when it never ran. */
struct command_figures *figures_named(struct figures *total, struct slice name);

/* What all calls took, by those that were timed. */
uint64_t figures_ns(const struct command_figures *row);
/* The bucket of a duration, and the first duration beyond a bucket. */
unsigned figures_bucket(uint64_t ns);
uint64_t figures_bucket_end(unsigned bucket);
/* Nanoseconds that `percent` of the requests did not exceed; exact to a quarter of a power of two. */
uint64_t figures_percentile(const uint64_t histogram[FIGURES_BUCKETS], double percent);

#endif
