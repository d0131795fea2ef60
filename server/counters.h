/* counters.h - what a worker counts as it goes.
 *
 * Rules: (1) each worker has its own struct and is the only one who writes it,
 * so counting costs an ordinary add and shares no cache line. (2) Readers sum
 * all workers with relaxed loads: every figure is exact a moment ago, but two
 * figures need not be from the same moment. (3) Nobody sets a counter back:
 * a reset remembers the sums of that moment and subtracts them. */
#ifndef CORRAL_COUNTERS_H
#define CORRAL_COUNTERS_H

#include <stddef.h>
#include <stdint.h>

enum { COUNTERS_ALIGN = 64 }; /* a cache line: neighbours must not share one */

struct counters {
#define COUNTER(name, help) uint64_t name;
#include "server/counters.def"
} __attribute__((aligned(COUNTERS_ALIGN)));

/* Adds n to c->field; only the owner of c may. The load can be plain because
 * nobody else writes; the store is atomic for those who read meanwhile. */
#define counter_add(c, field, n)                                                                             \
    do {                                                                                                     \
        uint64_t *counter_at_ = &(c)->field;                                                                 \
        __atomic_store_n(counter_at_, *counter_at_ + (uint64_t)(n), __ATOMIC_RELAXED);                       \
    } while (0)

/* out = the sum of all n; out itself must not be among them. */
void counters_sum(struct counters *const *all, size_t n, struct counters *out);
/* from = from - since, for figures that count from a reset on. Never below zero. */
void counters_subtract(struct counters *from, const struct counters *since);

/* The table, for dumps: name and help of row i (i < counters_count()), and its value in c. */
size_t counters_count(void);
const char *counters_name(size_t i);
const char *counters_help(size_t i);
uint64_t counters_value(const struct counters *c, size_t i);

#endif
