/* health.h - how well this node itself is, by what it misses (Lifeguard, IV-A).
 *
 * 0 is well. Each probe that fails although others could have told adds one,
 * each that succeeds takes one away. Times are stretched by health + 1: the
 * sick are slow to accuse. */
#ifndef CORRAL_HEALTH_H
#define CORRAL_HEALTH_H

#include <stdint.h>

struct health {
    unsigned score, max;
};

static inline void health_worse(struct health *h, unsigned by)
{
    h->score = h->score + by < h->max ? h->score + by : h->max;
}
static inline void health_better(struct health *h)
{
    h->score -= h->score > 0;
}
static inline int64_t health_stretch(const struct health *h, int64_t us)
{
    return us * (h->score + 1);
}

#endif
