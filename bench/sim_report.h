/* sim_report.h - what a simulation found, as text, CSV, JSON, SVG and HTML. */
#ifndef CORRAL_BENCH_SIM_REPORT_H
#define CORRAL_BENCH_SIM_REPORT_H

#include "bench/sim_run.h"

struct sim_report {
    const struct sim_trace *trace;
    const char *name; /* of the trace */
    bool by_bytes;
    double sample;
    unsigned threads;
    double read_seconds, run_seconds;
    unsigned policies, sizes;
    const struct cell *cells; /* [policy * sizes + size]; sizes ascend */
};

/* The table, to stdout. */
void report_table(const struct sim_report *);
/* report.csv, report.json, report.html and the pictures as .svg into a
 * directory, which is made if need be. False with a message. */
bool report_write(const struct sim_report *, const char *dir);

#endif
