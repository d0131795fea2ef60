/* slowlog.h - the last requests that took too long, as SLOWLOG shows them.
 *
 * Under a lock of its own, taken only for slow requests and by who looks; it
 * is last in the order of locks. What is kept is bounded: so many entries, of
 * SLOWLOG_WORDS words of SLOWLOG_WORD bytes and a remark. */
#ifndef CORRAL_SLOWLOG_H
#define CORRAL_SLOWLOG_H

#include <stddef.h>
#include <stdint.h>

#include "protocol/bytes.h"

enum { SLOWLOG_WORDS = 32, SLOWLOG_WORD = 128 };

struct slowlog;

struct slowlog_entry {
    uint64_t id;
    int64_t seconds;            /* Unix time at its end */
    uint64_t us;                /* that it took */
    struct slowlog_entry *next; /* the one before it in time */
    const char *address, *name; /* of the client; name may be empty */
    unsigned words;
    struct slice word[];
};

/* NULL when memory is short. */
struct slowlog *slowlog_new(void);
void slowlog_free(struct slowlog **log);

/* How many entries are kept; the oldest go at once. */
void slowlog_set_max(struct slowlog *log, size_t entries);

struct slow_request {
    const struct slice *argv;
    uint32_t argc;
    unsigned followers; /* that many more requests of its pipeline took that time together with it */
    int64_t seconds;
    uint64_t us;
    const char *address, *name; /* name may be NULL */
};
/* Copies the request, shortened as redis does. An entry for which there is no memory is dropped. */
void slowlog_add(struct slowlog *log, const struct slow_request *request);

size_t slowlog_len(struct slowlog *log);
void slowlog_reset(struct slowlog *log);

/* While locked, entries stay. first: the newest, NULL if there is none. */
const struct slowlog_entry *slowlog_lock(struct slowlog *log);
void slowlog_unlock(struct slowlog *log);

#endif
