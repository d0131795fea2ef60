/* load_herd_queue.c - a binary heap whose members know their place. */
#include "bench/load_herd_queue.h"

#include "server/check.h"

static void put_at(struct herd_queue *q, size_t place, struct herd_alarm *alarm)
{
    q->heap[place - 1] = alarm;
    alarm->place = place;
}

static void settle(struct herd_queue *q, struct herd_alarm *alarm)
{
    size_t place = alarm->place;

    while (place > 1 && q->heap[place / 2 - 1]->due_ns > alarm->due_ns) {
        put_at(q, place, q->heap[place / 2 - 1]);
        place /= 2;
    }
    for (;;) {
        size_t child = place * 2;

        if (child < q->len && q->heap[child]->due_ns < q->heap[child - 1]->due_ns)
            child++;
        if (child > q->len || q->heap[child - 1]->due_ns >= alarm->due_ns)
            break;
        put_at(q, place, q->heap[child - 1]);
        place = child;
    }
    put_at(q, place, alarm);
}

void herd_queue_set(struct herd_queue *q, struct herd_alarm *alarm, int64_t due_ns)
{
    alarm->due_ns = due_ns;
    if (alarm->place == 0) {
        CHECK(q->len < q->size);
        put_at(q, ++q->len, alarm);
    }
    settle(q, alarm);
}

void herd_queue_cancel(struct herd_queue *q, struct herd_alarm *alarm)
{
    struct herd_alarm *last;
    size_t place = alarm->place;

    if (place == 0)
        return;
    alarm->place = 0;
    last = q->heap[--q->len];
    if (last == alarm)
        return;
    put_at(q, place, last);
    settle(q, last);
}

struct herd_alarm *herd_queue_pop(struct herd_queue *q, int64_t now_ns)
{
    struct herd_alarm *first;

    if (herd_queue_next(q) > now_ns || q->len == 0)
        return NULL;
    first = q->heap[0];
    herd_queue_cancel(q, first);
    return first;
}

int64_t herd_queue_next(const struct herd_queue *q)
{
    return q->len > 0 ? q->heap[0]->due_ns : INT64_MAX;
}
