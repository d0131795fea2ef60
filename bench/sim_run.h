/* sim_run.h - runs every policy at every size over one trace, on all cores. */
#ifndef CORRAL_BENCH_SIM_RUN_H
#define CORRAL_BENCH_SIM_RUN_H

#include "bench/sim_trace.h"
#include "server/evict/evict.h"

struct cell {
    const struct evict_type *type;
    uint64_t capacity; /* as asked for: bytes or objects of the whole trace */
    /* results */
    uint64_t reads, misses, expired; /* expired: misses because the time had come; they count as misses too */
    uint64_t read_bytes, miss_bytes; /* by the sizes of the trace, 1 each without */
    uint64_t evicted;
    double miss_ratio, byte_miss_ratio; /* corrected for the sample where there is one */
    double error;                       /* with a sample: 1.96 standard errors of miss_ratio, else 0 */
    double seconds;                     /* of CPU */
    bool done;                          /* false: memory was short */
};

struct sim_run_options {
    bool by_bytes;  /* weights are bytes; else 1 each */
    double sample;  /* the share of keys that the trace holds: capacities are scaled by it */
    bool as_served; /* the server's own objects, with ghosts by fingerprint; else they are compiled in */
    unsigned threads;
    bool quiet;
};

/* Runs the cells on threads that share the trace. */
void sim_run(const struct sim_trace *, struct cell *cells, unsigned count, const struct sim_run_options *);

#endif
