/* load_histogram.c - log-linear counting.
 *
 *   value   0 .. 127            one step each
 *   value   2^e .. 2^(e+1)-1    128 steps of 2^(e-7) each, e = 7 .. 41
 */
#include "bench/load_histogram.h"

#include "server/check.h"

#include <stdlib.h>

enum {
    STEP_BITS = 7,
    STEPS = 1 << STEP_BITS,
    POWERS = 42 - STEP_BITS + 1, /* the linear start, then one row per power of two */
    CELLS = POWERS * STEPS
};

struct histogram {
    uint64_t total;
    uint64_t max_ns;
    uint64_t count[CELLS];
};

static unsigned cell_of(uint64_t ns)
{
    unsigned shift;

    if (ns < STEPS)
        return (unsigned)ns;
    shift = (unsigned)(63 - __builtin_clzll(ns)) - STEP_BITS;
    return (shift + 1) * STEPS + (unsigned)(ns >> shift) - STEPS;
}

/* The largest value that lands in this cell. */
static uint64_t cell_top(unsigned cell)
{
    unsigned row = cell / STEPS;

    if (row == 0)
        return cell;
    return ((uint64_t)(cell % STEPS + STEPS + 1) << (row - 1)) - 1;
}

struct histogram *histogram_new(void)
{
    return calloc(1, sizeof(struct histogram));
}

void histogram_free(struct histogram **h)
{
    free(*h);
    *h = NULL;
}

void histogram_add(struct histogram *h, uint64_t ns)
{
    h->count[cell_of(ns < LOAD_HISTOGRAM_MAX_NS ? ns : LOAD_HISTOGRAM_MAX_NS)]++;
    h->total++;
    if (ns > h->max_ns)
        h->max_ns = ns;
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    for (unsigned i = 0; i < CELLS; i++)
        into->count[i] += from->count[i];
    into->total += from->total;
    if (from->max_ns > into->max_ns)
        into->max_ns = from->max_ns;
}

uint64_t histogram_count(const struct histogram *h)
{
    return h->total;
}

uint64_t histogram_max(const struct histogram *h)
{
    return h->max_ns;
}

uint64_t histogram_at(const struct histogram *h, double fraction)
{
    uint64_t seen = 0;
    double rank = fraction * (double)h->total;

    if (h->total == 0)
        return 0;
    for (unsigned i = 0; i < CELLS; i++) {
        seen += h->count[i];
        if (seen > 0 && (double)seen >= rank)
            return cell_top(i) < h->max_ns ? cell_top(i) : h->max_ns;
    }
    return h->max_ns;
}

void histogram_check(const struct histogram *h)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < CELLS; i++)
        sum += h->count[i];
    CHECK(sum == h->total);
    CHECK(h->total > 0 || h->max_ns == 0);
    CHECK(cell_of(LOAD_HISTOGRAM_MAX_NS) == CELLS - 1);
}
