#include "server/timers.h"

#include <stdlib.h>

#include "server/check.h"

enum { FIRST_CAPACITY = 16 };

/* heap[i] is at place i + 1; its children are at places 2 * place and 2 * place + 1. */
static void put(struct timers *t, size_t place, struct timer *timer)
{
    t->heap[place - 1] = timer;
    timer->place = place;
}

static struct timer *at(const struct timers *t, size_t place)
{
    return t->heap[place - 1];
}

static void rise(struct timers *t, struct timer *timer)
{
    size_t place = timer->place;

    while (place > 1 && is_before(timer->due, at(t, place / 2)->due)) {
        put(t, place, at(t, place / 2));
        place /= 2;
    }
    put(t, place, timer);
}

static void sink(struct timers *t, struct timer *timer)
{
    size_t place = timer->place, child;

    while ((child = 2 * place) <= t->len) {
        if (child < t->len && is_before(at(t, child + 1)->due, at(t, child)->due))
            child++;
        if (!is_before(at(t, child)->due, timer->due))
            break;
        put(t, place, at(t, child));
        place = child;
    }
    put(t, place, timer);
}

static bool make_room(struct timers *t)
{
    size_t cap = t->cap > 0 ? 2 * t->cap : FIRST_CAPACITY;
    struct timer **heap;

    if (t->len < t->cap)
        return true;
    if ((heap = realloc(t->heap, cap * sizeof(*heap))) == NULL)
        return false;
    t->heap = heap;
    t->cap = cap;
    return true;
}

void timers_free(struct timers *t)
{
    free(t->heap);
    *t = (struct timers){0};
}

bool timers_set(struct timers *t, struct timer *timer, instant due)
{
    timers_cancel(t, timer);
    if (!make_room(t))
        return false;
    timer->due = due;
    timer->place = ++t->len;
    rise(t, timer);
    return true;
}

void timers_cancel(struct timers *t, struct timer *timer)
{
    size_t place = timer->place;
    struct timer *last;

    if (place == 0)
        return;
    CHECK(place <= t->len && at(t, place) == timer);
    timer->place = 0;
    last = at(t, t->len--);
    if (t->len == 0) { /* nothing waits: hold nothing */
        timers_free(t);
        return;
    }
    if (last == timer)
        return;
    put(t, place, last);
    rise(t, last);
    sink(t, last);
}

instant timers_next(const struct timers *t)
{
    return at(t, 1)->due;
}

void timers_run(struct timers *t, instant now)
{
    while (t->len > 0 && !is_before(now, timers_next(t))) {
        struct timer *timer = at(t, 1);

        timers_cancel(t, timer);
        timer->fire(timer);
    }
}
