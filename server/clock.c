#include "server/clock.h"

#include <time.h>

static int64_t read_ns(clockid_t which)
{
    struct timespec ts;

    clock_gettime(which, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

instant clock_now(void)
{
    return (instant){read_ns(CLOCK_REALTIME) / 1000000};
}

int64_t clock_now_us(void)
{
    return read_ns(CLOCK_REALTIME) / 1000;
}

int64_t clock_ticks_ns(void)
{
    return read_ns(CLOCK_MONOTONIC);
}
