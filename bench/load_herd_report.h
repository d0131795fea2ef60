/* load_herd_report.h - what a herd found, for people and for scripts. */
#ifndef CORRAL_BENCH_LOAD_HERD_REPORT_H
#define CORRAL_BENCH_LOAD_HERD_REPORT_H

#include "bench/load_herd_run.h"

void herd_report(const struct herd_options *o, const struct herd_finding *f);

#endif
