/* fast_clock.c - a wall clock that runs FAST_CLOCK times as fast, for a program
 * that cannot be asked to: LD_PRELOAD=fast_clock.so FAST_CLOCK=500 redis-server
 *
 * redis tells recency by a clock of seconds, and takes a point off frequencies
 * every minute. A replay sends in seconds what a trace's clients sent in hours, and
 * to such a clock that would be one moment. Only the wall clock is fast: what waits
 * (timers, epoll) goes by the monotonic one. The system calls are made directly,
 * because allocators read the clock before anything could have looked up libc's. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int64_t began_ns, factor;

static int64_t true_ns(void)
{
    struct timespec t = {0};

    syscall(SYS_clock_gettime, CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

__attribute__((constructor)) static void begin(void)
{
    const char *text = getenv("FAST_CLOCK");

    factor = text != NULL ? strtol(text, NULL, 10) : 1;
    began_ns = true_ns();
}

static int64_t fast_ns(void)
{
    int64_t now = true_ns();

    return factor > 1 ? began_ns + (now - began_ns) * factor : now;
}

int clock_gettime(clockid_t clock, struct timespec *t)
{
    int64_t ns;

    if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)
        return (int)syscall(SYS_clock_gettime, clock, t);
    ns = fast_ns();
    *t = (struct timespec){.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
    return 0;
}

int gettimeofday(struct timeval *restrict t, void *restrict zone)
{
    int64_t ns = fast_ns();

    (void)zone;
    *t = (struct timeval){.tv_sec = ns / 1000000000, .tv_usec = ns / 1000 % 1000000};
    return 0;
}

time_t time(time_t *out)
{
    time_t now = (time_t)(fast_ns() / 1000000000);

    if (out != NULL)
        *out = now;
    return now;
}
