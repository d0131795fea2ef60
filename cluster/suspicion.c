#include "cluster/suspicion.h"

#include <math.h>

int64_t suspicion_least_us(unsigned mult, uint32_t nodes, int64_t period_us)
{
    double scale = nodes > 10 ? log10(nodes) : 1;

    return (int64_t)(mult * scale * (double)period_us);
}

int64_t suspicion_span_us(int64_t least_us, int64_t most_us, unsigned confirmations, unsigned wanted)
{
    double part;

    if (confirmations >= wanted)
        return least_us;
    part = log(confirmations + 1.0) / log(wanted + 1.0);
    return most_us - (int64_t)((double)(most_us - least_us) * part);
}
