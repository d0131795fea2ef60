#include "server/origin/bulkhead.h"

#include "server/check.h"

void bulkhead_queue(struct bulkhead *b, struct in_line *one)
{
    CHECK(!one->waits);
    *one = (struct in_line){.prev = b->last, .waits = true};
    if (b->last != NULL)
        b->last->next = one;
    else
        b->first = one;
    b->last = one;
    b->waiting++;
}

void bulkhead_leave_line(struct bulkhead *b, struct in_line *one)
{
    if (!one->waits)
        return;
    if (one->prev != NULL)
        one->prev->next = one->next;
    else
        b->first = one->next;
    if (one->next != NULL)
        one->next->prev = one->prev;
    else
        b->last = one->prev;
    one->waits = false;
    b->waiting--;
}

struct in_line *bulkhead_next(struct bulkhead *b)
{
    struct in_line *one = b->first;

    if (one == NULL || b->inside >= b->most)
        return NULL;
    bulkhead_leave_line(b, one);
    b->inside++;
    return one;
}

void bulkhead_done(struct bulkhead *b)
{
    CHECK(b->inside > 0);
    b->inside--;
}
