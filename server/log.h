/* log.h - what happened, one line per event.
 *
 *   2026-11-21T10:20:30.123Z notice event=listening port=6379 protocol=resp
 *
 * Rules: (1) keys are stable words, so that a line can be searched and parsed;
 * a value with spaces in it goes in double quotes, or last. (2) A line is one
 * write(2): threads do not mix, and lines longer than LOG_LINE_MAX are cut.
 * (3) Control characters become '?', so no client can forge a line. (4) Times
 * are UTC. (5) A log that cannot be written never stops the cache. */
#ifndef CORRAL_LOG_H
#define CORRAL_LOG_H

#include <stdbool.h>

enum { LOG_LINE_MAX = 2048 }; /* bytes, newline included */

/* In the order of the option loglevel. */
enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_VERBOSE, LOG_LEVEL_NOTICE, LOG_LEVEL_WARNING };

/* Appends to that file from now on; NULL or "" is standard error. May be called
 * again, also with the same path once a file has been rotated away: lines of
 * other threads go to the old or the new file, none is lost. False leaves
 * everything as it was, with errno set. Called by one thread at a time. */
bool log_open(const char *path);
/* Leaves out what is less important. Any thread, at any time. Starts as notice. */
void log_set_level(enum log_level least);
/* Whether such an event would be written: for callers whose arguments cost something. */
bool log_wanted(enum log_level level);

/* log_event(LOG_LEVEL_NOTICE, "listening", "port=%d", port). fmt may be "". */
void log_event(enum log_level level, const char *event, const char *fmt, ...)
    __attribute__((format(printf, 3, 4), nonnull));

#endif
