/* bulkhead.h - so many at once, and the others in line, first come, first served. */
#ifndef CORRAL_ORIGIN_BULKHEAD_H
#define CORRAL_ORIGIN_BULKHEAD_H

#include <stdbool.h>
#include <stddef.h>

/* Embedded in what waits. */
struct in_line {
    struct in_line *next, *prev;
    bool waits;
};

struct bulkhead {
    unsigned inside, most;
    unsigned waiting;
    struct in_line *first, *last;
};

void bulkhead_queue(struct bulkhead *b, struct in_line *one);
/* Copes with one that does not wait. */
void bulkhead_leave_line(struct bulkhead *b, struct in_line *one);
/* Lets the first of the line in. NULL: nobody waits, or it is full. */
struct in_line *bulkhead_next(struct bulkhead *b);
/* One of those inside is done. */
void bulkhead_done(struct bulkhead *b);

#endif
