/* latency.h - moments in which something made others wait, as LATENCY shows them.
 *
 * Per event the last LATENCY_SAMPLES seconds in which it was over the limit,
 * with the worst of that second. Under a lock of its own, taken only when the
 * limit is exceeded and by who looks; it is last in the order of locks. */
#ifndef CORRAL_LATENCY_H
#define CORRAL_LATENCY_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/bytes.h"

enum latency_kind {
    LATENCY_COMMAND,      /* a request of a command that may take long */
    LATENCY_FAST_COMMAND, /* one that should not (CMD_FAST), or a pipeline of those */
    LATENCY_EXPIRE_CYCLE, /* a slice of the store's upkeep: expiry, compaction */
    LATENCY_KINDS
};

enum { LATENCY_SAMPLES = 160 };

struct latency_sample {
    int64_t seconds; /* Unix time; 0: none */
    uint32_t ms;
};

/* Oldest sample first. */
struct latency_event {
    const char *name; /* as redis calls it */
    unsigned samples;
    uint32_t ms_max; /* ever */
    struct latency_sample sample[LATENCY_SAMPLES];
};

struct latency;

/* NULL when memory is short. */
struct latency *latency_new(void);
void latency_free(struct latency **latency);

void latency_add(struct latency *latency, enum latency_kind kind, int64_t seconds, uint32_t ms);
/* False when there is nothing about it. */
bool latency_look(struct latency *latency, enum latency_kind kind, struct latency_event *out);
/* The kind of that name, in any case; LATENCY_KINDS if there is none. */
enum latency_kind latency_named(struct slice name);
/* Forgets; true if there was something. */
bool latency_reset(struct latency *latency, enum latency_kind kind);

#endif
