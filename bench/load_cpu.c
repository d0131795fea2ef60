/* load_cpu.c - the process clock for the sum, /proc for the split.
 *
 * The process CPU clock counts nanoseconds of every thread, also of those
 * running right now; /proc/PID/stat counts ticks. Where the clock of another
 * process may not be read, the ticks must do. */
#include "bench/load_cpu.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static bool read_ticks(pid_t pid, int64_t *user, int64_t *system)
{
    char path[64], text[1024];
    long long u, s;
    const char *at;
    size_t len;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    file = fopen(path, "r");
    if (file == NULL)
        return false;
    len = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[len] = '\0';
    /* "pid (name) state ..." - the name may hold blanks, so start after its
     * last bracket: field 3. utime and stime are fields 14 and 15. */
    at = strrchr(text, ')');
    if (at == NULL || sscanf(at + 1, " %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %lld %lld", &u, &s) != 2)
        return false;
    *user = u;
    *system = s;
    return true;
}

bool cpu_read(pid_t pid, struct cpu_reading *out)
{
    struct timespec ts;
    clockid_t clock;

    if (!read_ticks(pid, &out->user_ticks, &out->system_ticks))
        return false;
    if (clock_getcpuclockid(pid, &clock) == 0 && clock_gettime(clock, &ts) == 0)
        out->total_ns = (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
    else
        out->total_ns = (out->user_ticks + out->system_ticks) * (1000000000 / sysconf(_SC_CLK_TCK));
    return true;
}

struct cpu_spent cpu_between(const struct cpu_reading *before, const struct cpu_reading *after)
{
    double user = (double)(after->user_ticks - before->user_ticks);
    double system = (double)(after->system_ticks - before->system_ticks);
    struct cpu_spent spent = {.total_ns = (double)(after->total_ns - before->total_ns)};

    if (user + system > 0) {
        spent.user_ns = spent.total_ns * user / (user + system);
        spent.system_ns = spent.total_ns * system / (user + system);
    }
    return spent;
}
