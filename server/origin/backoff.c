#include "server/origin/backoff.h"

static int64_t ceiling(unsigned attempt, int64_t base_ms, int64_t most_ms)
{
    int64_t ms = base_ms;

    while (attempt-- > 0 && ms < most_ms)
        ms *= 2;
    return ms < most_ms ? ms : most_ms;
}

int64_t backoff_ms(unsigned attempt, int64_t base_ms, int64_t most_ms, uint64_t dice)
{
    return (int64_t)(dice % (uint64_t)(ceiling(attempt, base_ms, most_ms) + 1));
}

int64_t backoff_most_ms(unsigned retries, int64_t base_ms, int64_t most_ms)
{
    int64_t sum = 0;

    for (unsigned i = 0; i < retries; i++)
        sum += ceiling(i, base_ms, most_ms);
    return sum;
}
