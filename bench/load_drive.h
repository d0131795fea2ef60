/* load_drive.h - one thread's connections and the loop that keeps them busy.
 *
 * Closed loop (no rate): a connection sends a full pipeline in one write and
 * sends the next when every answer is in. Open loop: requests have times at
 * which they should be sent, late or not, and latency counts from those, so a
 * server that stalls cannot hide it by slowing the questions down. */
#ifndef CORRAL_BENCH_LOAD_DRIVE_H
#define CORRAL_BENCH_LOAD_DRIVE_H

#include "bench/load_histogram.h"
#include "bench/load_options.h"

/* Shared by all threads, frozen. */
struct drive_setup {
    const struct load_options *options;
    const struct load_data *data;
    const struct request_form *form;
    const struct pick_table *picks; /* NULL when the keys are taken in order */
    uint32_t pipeline_max;          /* of all phases */
};

/* One stretch of load, for all drivers together. */
struct drive_phase {
    uint32_t pipeline;
    uint32_t get_weight;
    uint32_t set_weight;
    bool sequential;
    uint64_t requests; /* 0 = no limit */
    double seconds;    /* 0 = no limit; not both */
    double rate;       /* 0 = closed loop */
    int64_t start_ns;  /* on clock_ticks_ns */
};

struct drive_result {
    struct reply_tally tally;
    uint64_t requests; /* answered */
    uint64_t unsent;   /* open loop: due, but the time was up before a connection was free */
    int64_t end_ns;    /* the last answer */
};

struct driver;

/* Connects. NULL and a sentence in `why` when that fails. */
struct driver *driver_new(const struct drive_setup *setup, uint32_t index, char *why, size_t why_size);
void driver_free(struct driver **d);

/* Runs this driver's share of the phase. False when the server cannot be
 * loaded any further; driver_complaint says why. */
bool driver_run(struct driver *d, const struct drive_phase *phase);

/* Of the latest phase. */
const struct drive_result *driver_result(const struct driver *d);
const struct histogram *driver_latency(const struct driver *d);
/* Why driver_run failed, else the first refusal of the server, else "". */
const char *driver_complaint(const struct driver *d);

#endif
