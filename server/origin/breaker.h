/* breaker.h - stops asking an origin that keeps failing.
 *
 *   closed     everything goes through; `failures` failures in a row open it
 *   open       nothing does, for open_ms; each time it opens again without a
 *              success in between that doubles, up to BREAKER_DOUBLINGS times
 *   half-open  one request at a time is let through: a success closes it, a
 *              failure opens it again
 *
 * Time is handed in; one thread uses it. */
#ifndef CORRAL_ORIGIN_BREAKER_H
#define CORRAL_ORIGIN_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_HALF_OPEN };
enum { BREAKER_DOUBLINGS = 4 };

struct breaker {
    enum breaker_state state;
    bool probing;      /* half-open: the one is under way */
    unsigned in_a_row; /* failures */
    unsigned opened;   /* times without a success in between */
    int64_t until_ms;  /* open: when it will be half-open */
    uint64_t openings; /* in all */
};

/* May a request go to the origin now? After a yes, tell how it ended. */
bool breaker_asks(struct breaker *b, int64_t now_ms);
void breaker_succeeded(struct breaker *b);
void breaker_failed(struct breaker *b, int64_t now_ms, unsigned failures, int64_t open_ms);
/* It was let through, and nothing can be said of the origin: it was called off. */
void breaker_forgotten(struct breaker *b);
const char *breaker_name(enum breaker_state state);

#endif
