#include "server/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "server/clock.h"

/* Both are read by every thread and stand alone, so relaxed loads do. */
static int level_least = LOG_LEVEL_NOTICE;
static int log_fd = STDERR_FILENO;
static int file_fd = -1; /* the file's own number, kept for good once there was one */

static const char *level_name(enum log_level level)
{
    switch (level) {
    case LOG_LEVEL_DEBUG: return "debug";
    case LOG_LEVEL_VERBOSE: return "verbose";
    case LOG_LEVEL_NOTICE: return "notice";
    case LOG_LEVEL_WARNING: return "warning";
    }
    return "unknown";
}

/* dup3 swaps the file under its number at once: a thread in the middle of a
 * write never meets a closed number, nor one that now means something else. */
static bool file_replace(int fd)
{
    if (file_fd < 0) {
        file_fd = fd;
        return true;
    }
    bool swapped = dup3(fd, file_fd, O_CLOEXEC) >= 0;
    int why = errno;

    close(fd);
    errno = why;
    return swapped;
}

bool log_open(const char *path)
{
    if (path == NULL || path[0] == '\0') {
        __atomic_store_n(&log_fd, STDERR_FILENO, __ATOMIC_RELAXED);
        return true;
    }

    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);

    if (fd < 0 || !file_replace(fd))
        return false;
    __atomic_store_n(&log_fd, file_fd, __ATOMIC_RELAXED);
    return true;
}

void log_set_level(enum log_level least)
{
    __atomic_store_n(&level_least, (int)least, __ATOMIC_RELAXED);
}

bool log_wanted(enum log_level level)
{
    return (int)level >= __atomic_load_n(&level_least, __ATOMIC_RELAXED);
}

/* What snprintf really wrote, given what it says it would have. */
static size_t written(int said, size_t room)
{
    if (said < 0 || room == 0)
        return 0;
    return (size_t)said < room ? (size_t)said : room - 1;
}

static size_t put_head(char *line, size_t room, enum log_level level, const char *event)
{
    instant now = clock_now();
    time_t seconds = (time_t)(now.ms / 1000);
    struct tm tm;
    char when[32];

    gmtime_r(&seconds, &tm);
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &tm);
    return written(
        snprintf(line, room, "%s.%03dZ %s event=%s", when, (int)(now.ms % 1000), level_name(level), event),
        room);
}

void log_event(enum log_level level, const char *event, const char *fmt, ...)
{
    if (!log_wanted(level))
        return;

    char line[LOG_LINE_MAX];
    int errno_before = errno; /* so that logging can go between a failure and its handling */
    size_t length = put_head(line, sizeof line, level, event);

    if (fmt[0] != '\0' && length + 1 < sizeof line) {
        va_list args;

        line[length++] = ' ';
        va_start(args, fmt);
        length += written(vsnprintf(line + length, sizeof line - length, fmt, args), sizeof line - length);
        va_end(args);
    }
    for (size_t i = 0; i < length; i++) {
        if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
            line[i] = '?';
    }
    line[length++] = '\n'; /* over the zero byte: a cut line ends in one too */

    while (write(__atomic_load_n(&log_fd, __ATOMIC_RELAXED), line, length) < 0 && errno == EINTR)
        ;
    errno = errno_before;
}
