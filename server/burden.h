/* burden.h - which connections of a worker hold memory, the heaviest first.
 *
 * A connection is in here while it holds anything: the beginning of a request,
 * replies that wait. Most hold nothing and are not. They are sorted into
 * classes of twice the size of the one below, so that entering, leaving and
 * finding one of the heaviest cost the same for ten as for a million.
 *
 * Used by one worker only; but any thread may ask how heavy the heaviest is. */
#ifndef CORRAL_BURDEN_H
#define CORRAL_BURDEN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BURDEN_CLASSES = 48 };

/* All zeroes is one that holds nothing. */
struct burden {
    struct burden *next, *prev;
    unsigned class; /* 1 + the binary logarithm of what it holds; 0: not in the list */
};

struct burden_list {
    struct burden *heads[BURDEN_CLASSES];
    _Atomic uint64_t filled; /* bit c: class c is not empty */
};

/* It holds that many bytes now. 0 takes it out. */
void burden_set(struct burden_list *list, struct burden *burden, size_t bytes);
/* One of the heaviest class, NULL when nobody holds anything. */
struct burden *burden_heaviest(struct burden_list *list);
/* All of them, in no order that matters: the first, and who follows. The next
 * is to be asked for before this one is changed. */
struct burden *burden_first(struct burden_list *list);
struct burden *burden_next(struct burden_list *list, struct burden *burden);
/* The heaviest class: larger is heavier, 0 is nobody. Any thread. */
unsigned burden_class(struct burden_list *list);

#endif
