/* load_cpu.h - what another process has spent, read from outside. */
#ifndef CORRAL_BENCH_LOAD_CPU_H
#define CORRAL_BENCH_LOAD_CPU_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct cpu_reading {
    int64_t total_ns;   /* all threads, ended ones too */
    int64_t user_ticks; /* of 10 ms: only good for splitting the total */
    int64_t system_ticks;
};

struct cpu_spent {
    double total_ns;
    double user_ns; /* the total, split in the proportion of the ticks */
    double system_ns;
};

/* False when there is no such process or the kernel will not say. */
bool cpu_read(pid_t pid, struct cpu_reading *out);
struct cpu_spent cpu_between(const struct cpu_reading *before, const struct cpu_reading *after);

#endif
