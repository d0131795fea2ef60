/* sim_trace.h - a whole trace with its keys renumbered.
 *
 * Keys are interned once to dense numbers from 1, so that afterwards a look-up
 * is an array access, in every cell of a simulation. Requests take 4 to 21
 * bytes each; where they are many they go to an unlinked file in TMPDIR that is
 * mapped, so a trace may be larger than memory. Keys must fit: about 20 bytes
 * each. */
#ifndef CORRAL_BENCH_SIM_TRACE_H
#define CORRAL_BENCH_SIM_TRACE_H

#include "bench/trace_read.h"

struct sim_trace {
    uint64_t requests;   /* rows */
    uint64_t reads;      /* of them; what a miss ratio counts */
    uint64_t read_bytes; /* what they asked for together; 1 each without sizes */
    uint64_t rows_all;   /* the same before sampling */
    uint64_t reads_all;
    uint32_t unique; /* keys are 1..unique in order of first appearance */
    bool has_sizes, has_ops;
    uint32_t *keys;     /* one per request, and so on */
    uint32_t *sizes;    /* at least 1; NULL without sizes */
    uint8_t *ops;       /* enum request_op; NULL: all are reads */
    int64_t *times;     /* NULL without ops */
    uint32_t *ttls;     /* seconds, of a read the key's last one; NULL without ops */
    uint32_t *next;     /* index of the key's next request or REPLAY_NEVER; see sim_trace_look_ahead() */
    uint64_t footprint; /* bytes of all keys at their largest; unique without sizes */
    char format[64];    /* as detected */
    /* pictures */
    uint64_t reuse[64];   /* reads by log2 of the requests since the key's last one */
    uint32_t *popularity; /* reads by key, sorted, most first */
};

struct sim_trace_options {
    struct read_options read;
    double sample;       /* share of keys kept, by hash; 1 for all */
    uint64_t memory_max; /* bytes for keys and for requests that are not in a file */
    bool quiet;
};

/* Reads one or several files one after the other. NULL with a message. */
struct sim_trace *sim_trace_read(char *const *paths, unsigned count, const struct sim_trace_options *);
/* Fills in `next`. False, with a message, when there are too many requests or memory is short. */
bool sim_trace_look_ahead(struct sim_trace *);
void sim_trace_free(struct sim_trace **);

#endif
