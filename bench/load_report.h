/* load_report.h - what a run found, for people and for scripts. */
#ifndef CORRAL_BENCH_LOAD_REPORT_H
#define CORRAL_BENCH_LOAD_REPORT_H

#include "bench/load_cpu.h"
#include "bench/load_drive.h"

struct load_finding {
    bool ran;     /* this phase was asked for */
    bool has_cpu; /* the server's process was known */
    double seconds;
    uint64_t requests;
    uint64_t unsent;
    struct reply_tally tally;
    struct histogram *latency; /* owned by whoever made the finding */
    struct cpu_spent cpu;
};

void load_report(const struct load_options *o, const struct load_finding *preload,
                 const struct load_finding *measured);

#endif
