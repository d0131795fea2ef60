#include "cluster/rumours.h"

#include <stdlib.h>
#include <string.h>

#include "server/check.h"

enum { NONE = UINT32_MAX };

struct rumour {
    uint32_t next, previous;
    uint8_t told;
    bool queued;
};

/* One list for each number of times told, oldest first. */
struct rumours {
    struct rumour *of; /* by subject */
    uint32_t room, count;
    uint32_t head[RUMOUR_TIMES_MAX], tail[RUMOUR_TIMES_MAX];
    unsigned walk_times;
    uint32_t walk_next, walk_last[RUMOUR_TIMES_MAX]; /* what is told on the way lands behind walk_last */
};

struct rumours *rumours_new(void)
{
    struct rumours *r = calloc(1, sizeof *r);

    if (r == NULL)
        return NULL;
    for (int i = 0; i < RUMOUR_TIMES_MAX; i++)
        r->head[i] = r->tail[i] = NONE;
    return r;
}

void rumours_free(struct rumours **r)
{
    if (*r == NULL)
        return;
    free((*r)->of);
    free(*r);
    *r = NULL;
}

static void append(struct rumours *r, uint32_t subject, unsigned told)
{
    struct rumour *rumour = &r->of[subject];

    *rumour = (struct rumour){NONE, r->tail[told], (uint8_t)told, true};
    if (r->tail[told] == NONE)
        r->head[told] = subject;
    else
        r->of[r->tail[told]].next = subject;
    r->tail[told] = subject;
    r->count++;
}

void rumours_drop(struct rumours *r, uint32_t subject)
{
    struct rumour *rumour;

    if (!rumours_has(r, subject))
        return;
    rumour = &r->of[subject];
    if (rumour->previous == NONE)
        r->head[rumour->told] = rumour->next;
    else
        r->of[rumour->previous].next = rumour->next;
    if (rumour->next == NONE)
        r->tail[rumour->told] = rumour->previous;
    else
        r->of[rumour->next].previous = rumour->previous;
    rumour->queued = false;
    r->count--;
}

void rumours_put(struct rumours *r, uint32_t subject)
{
    if (subject >= r->room) {
        uint32_t room = subject < 16 ? 32 : subject * 2;
        struct rumour *fresh = realloc(r->of, room * sizeof *fresh);
        if (fresh == NULL)
            return;
        memset(fresh + r->room, 0, (room - r->room) * sizeof *fresh);
        r->of = fresh;
        r->room = room;
    }
    rumours_drop(r, subject);
    append(r, subject, 0);
}

uint32_t rumours_count(const struct rumours *r)
{
    return r->count;
}

bool rumours_has(const struct rumours *r, uint32_t subject)
{
    return subject < r->room && r->of[subject].queued;
}

/* Steps from the end of one list to the head of the next that was not empty at the start. */
static uint32_t walk(struct rumours *r, uint32_t at)
{
    while (at == NONE && ++r->walk_times < RUMOUR_TIMES_MAX)
        at = r->walk_last[r->walk_times] == NONE ? NONE : r->head[r->walk_times];
    r->walk_next = at == NONE || at == r->walk_last[r->walk_times] ? NONE : r->of[at].next;
    return at;
}

uint32_t rumours_first(struct rumours *r)
{
    memcpy(r->walk_last, r->tail, sizeof r->tail);
    r->walk_times = 0;
    if (r->head[0] == NONE)
        return walk(r, NONE);
    r->walk_next = r->head[0] == r->walk_last[0] ? NONE : r->of[r->head[0]].next;
    return r->head[0];
}

uint32_t rumours_next(struct rumours *r)
{
    return walk(r, r->walk_next);
}

void rumours_told(struct rumours *r, uint32_t subject, unsigned limit)
{
    unsigned told = r->of[subject].told + 1U;

    rumours_drop(r, subject);
    if (told < limit && told < RUMOUR_TIMES_MAX)
        append(r, subject, told);
}
