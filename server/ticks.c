#include "server/ticks.h"

#ifdef __x86_64__
#include <cpuid.h>
#endif

uint64_t ticks_scale;

#ifdef __x86_64__

enum {
    CALIBRATION_NS = 2000000,
    LEAF_POWER = 0x80000007,
    EDX_INVARIANT_TSC = 1 << 8, /* the same speed in every state of the core, and never stopped */
};

static bool counter_is_steady(void)
{
    unsigned a, b, c, d;

    return __get_cpuid(LEAF_POWER, &a, &b, &c, &d) != 0 && (d & EDX_INVARIANT_TSC) != 0;
}

void ticks_calibrate(void)
{
    int64_t from_ns, to_ns;
    uint64_t from, to;

    if (!counter_is_steady())
        return;
    from_ns = clock_ticks_ns();
    from = __builtin_ia32_rdtsc();
    do
        to_ns = clock_ticks_ns();
    while (to_ns - from_ns < CALIBRATION_NS);
    to = __builtin_ia32_rdtsc();
    if (to > from)
        ticks_scale = ((uint64_t)(to_ns - from_ns) << 32) / (to - from);
}

#else

void ticks_calibrate(void)
{
}

#endif
