/* load_histogram.h - how long things took, to two significant digits.
 *
 * Log-linear: every power of two is cut into 128 equal steps, so a reported
 * value is never below the true one and at most 1/128 above it. Values beyond
 * LOAD_HISTOGRAM_MAX_NS (73 minutes) count as that much; the largest value is
 * also kept exactly. */
#ifndef CORRAL_BENCH_LOAD_HISTOGRAM_H
#define CORRAL_BENCH_LOAD_HISTOGRAM_H

#include <stdint.h>

#define LOAD_HISTOGRAM_MAX_NS ((UINT64_C(1) << 42) - 1)

struct histogram;

struct histogram *histogram_new(void); /* NULL when memory is short */
void histogram_free(struct histogram **h);

void histogram_add(struct histogram *h, uint64_t ns);
void histogram_merge(struct histogram *into, const struct histogram *from);

uint64_t histogram_count(const struct histogram *h);
uint64_t histogram_max(const struct histogram *h); /* exact; 0 when empty */
/* The value that `fraction` (0..1) of all values do not exceed; 0 when empty. */
uint64_t histogram_at(const struct histogram *h, double fraction);

void histogram_check(const struct histogram *h);

#endif
