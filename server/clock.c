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

int64_t clock_ticks_ms(void)
{
    return read_ns(CLOCK_MONOTONIC_COARSE) / 1000000;
}

/* Slewing by ntp is at most half a millisecond a second, and the coarse clock
 * may be some milliseconds behind; a step that matters is more than both. */
enum { STEP_MS = 500 };

int64_t clock_watch_step(struct clock_watch *watch, instant wall, int64_t ticks_ms)
{
    int64_t step = (wall.ms - watch->wall_ms) - (ticks_ms - watch->ticks_ms);
    bool first = watch->wall_ms == 0 && watch->ticks_ms == 0;

    *watch = (struct clock_watch){wall.ms, ticks_ms};
    return first || (step < STEP_MS && step > -STEP_MS) ? 0 : step;
}

int64_t clock_moved(int64_t noted_ms, int64_t step_ms, int64_t now_ms)
{
    if (step_ms < 0 && noted_ms <= now_ms)
        return noted_ms;
    return noted_ms + step_ms < now_ms ? noted_ms + step_ms : now_ms;
}

int64_t clock_ticks_ns(void)
{
    return read_ns(CLOCK_MONOTONIC);
}
