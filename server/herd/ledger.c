#include "server/herd/ledger.h"

uint32_t tally_quantile(const _Atomic uint64_t *waits, unsigned percent)
{
    uint64_t bins[BINS], all = 0, passed = 0;

    for (unsigned i = 0; i < BINS; i++)
        all += bins[i] = tally_get(&waits[i]);
    for (unsigned i = 0; i < BINS; i++) {
        passed += bins[i];
        if (passed > 0 && passed * 100 >= all * percent)
            return bin_top(i);
    }
    return 0;
}

static void zero(_Atomic uint64_t *figure)
{
    atomic_store_explicit(figure, 0, memory_order_relaxed);
}

void tally_reset(struct tally *t)
{
    zero(&t->parked);
    zero(&t->fetches);
    zero(&t->avoided);
    zero(&t->stale);
    zero(&t->early);
    zero(&t->late);
    zero(&t->expired);
    zero(&t->not_parked);
    for (unsigned i = 0; i < BINS; i++)
        zero(&t->waits[i]);
}
