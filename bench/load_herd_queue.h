/* load_herd_queue.h - what happens when: a heap of deadlines in nanoseconds.
 *
 * server/timers.h counts milliseconds, which is what a server needs; here a
 * thousand clients on one millisecond's tick would be a herd of its own. */
#ifndef CORRAL_BENCH_LOAD_HERD_QUEUE_H
#define CORRAL_BENCH_LOAD_HERD_QUEUE_H

#include <stddef.h>
#include <stdint.h>

/* Embedded in what waits. All zeroes is one that does not. */
struct herd_alarm {
    int64_t due_ns;
    size_t place; /* in the heap, counted from 1; 0: not in it */
};

struct herd_queue {
    struct herd_alarm **heap; /* room for `size`, from the caller */
    size_t size;
    size_t len;
};

/* Sets it, or moves it. */
void herd_queue_set(struct herd_queue *q, struct herd_alarm *alarm, int64_t due_ns);
/* Copes with one that is not set. */
void herd_queue_cancel(struct herd_queue *q, struct herd_alarm *alarm);
/* The earliest that is due, no longer set; NULL when there is none. */
struct herd_alarm *herd_queue_pop(struct herd_queue *q, int64_t now_ns);
/* When the earliest is due; INT64_MAX when there is none. */
int64_t herd_queue_next(const struct herd_queue *q);

#endif
