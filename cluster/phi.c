#include "cluster/phi.h"

#include <math.h>

/* Regular links vary by less than the loops at their ends: a millisecond at least. */
#define LEAST_DEVIATION_MS 1.0

/* Sums are made anew when the window comes round, so that rounding cannot add up. */
static void sum_up(struct phi *p)
{
    p->sum = p->squares = 0;
    for (uint32_t i = 0; i < p->count; i++) {
        p->sum += p->interval_ms[i];
        p->squares += (double)p->interval_ms[i] * p->interval_ms[i];
    }
}

void phi_heard(struct phi *p, int64_t now_us)
{
    float ms = (float)((double)(now_us - p->last_us) / 1000), old;

    if (p->last_us == 0 || now_us < p->last_us) {
        p->last_us = now_us;
        return;
    }
    p->last_us = now_us;
    old = p->count == PHI_WINDOW ? p->interval_ms[p->next] : 0;
    p->interval_ms[p->next] = ms;
    p->sum += (double)ms - old;
    p->squares += (double)ms * ms - (double)old * old;
    p->count += p->count < PHI_WINDOW;
    if (++p->next == PHI_WINDOW) {
        p->next = 0;
        sum_up(p);
    }
}

double phi_value(const struct phi *p, int64_t now_us)
{
    double mean, variance, deviation, later;

    if (p->count == 0 || now_us <= p->last_us)
        return 0;
    mean = p->sum / p->count;
    variance = p->squares / p->count - mean * mean;
    deviation = variance > LEAST_DEVIATION_MS * LEAST_DEVIATION_MS ? sqrt(variance) : LEAST_DEVIATION_MS;
    later = 0.5 * erfc(((double)(now_us - p->last_us) / 1000 - mean) / deviation / sqrt(2));
    return later > 1e-300 ? -log10(later) : PHI_MOST;
}
