/* auto.c - epochs, and the rules of auto.h. */
#include "server/evict/auto.h"
#include "server/check.h"
#include "server/evict/policies.h"

#include <math.h>
#include <stdlib.h>

static const struct evict_type *const candidates[AUTO_CANDIDATES] = {
    &evict_s3fifo, &evict_lru, &evict_arc, &evict_wtinylfu, &evict_lfu, &evict_sieve, &evict_lirs};

/* An epoch in turns over of the cache, and how many of them a change must have been due and the last one
 * must lie back. Shorter epochs, faster fading or a margin of 3 % switch more often and are worse on
 * orm_busy by up to 3 %; docs/EVICTION.md has what was measured. */
enum { EPOCH_TURNS = 4, EPOCH_READS_MIN = 256, CONFIRM_EPOCHS = 2, REST_EPOCHS = 2 };
#define KEEP   .9
#define MARGIN .05
#define CHANCE 4.

struct evict_auto {
    struct shadows *shadows;
    unsigned now, before, best;
    unsigned confirmed; /* epochs in a row that named `best`, and by enough */
    uint64_t reads;     /* in this epoch */
    uint64_t epochs, switches, switched_at;
    double margin, weighed; /* of the last change: misses it was to save, and the window's reads */
};

const struct evict_type *auto_candidate(unsigned i)
{
    CHECK(i < AUTO_CANDIDATES);
    return candidates[i];
}

void auto_kinds(struct shadow_kind kinds[AUTO_CANDIDATES])
{
    for (unsigned i = 0; i < AUTO_CANDIDATES; i++)
        kinds[i] = (struct shadow_kind){candidates[i], SHADOW_EVICTS_ALL, 1};
}

static unsigned number_of(const struct evict_type *type)
{
    for (unsigned i = 0; i < AUTO_CANDIDATES; i++)
        if (candidates[i] == type)
            return i;
    return 0;
}

struct evict_auto *auto_new(struct shadows *shadows, const struct evict_type *first)
{
    struct evict_auto *a = calloc(1, sizeof(*a));

    if (a == NULL)
        return NULL;
    a->shadows = shadows;
    a->now = a->before = a->best = number_of(first);
    return a;
}

void auto_free(struct evict_auto **ap)
{
    free(*ap);
    *ap = NULL;
}

static double misses_of(const struct evict_auto *a, unsigned number)
{
    struct shadow_figures f;

    shadows_figures(a->shadows, number, &f);
    return f.misses;
}

static void weigh(struct evict_auto *a)
{
    double now = misses_of(a, a->now), least = now, saved;
    unsigned best = a->now;
    struct shadow_figures f;

    for (unsigned i = 0; i < AUTO_CANDIDATES; i++)
        if (misses_of(a, i) < least) {
            least = misses_of(a, i);
            best = i;
        }
    saved = now - least;
    if (saved <= MARGIN * now || saved <= CHANCE * sqrt(shadows_disagreed(a->shadows, a->now, best))) {
        a->best = best;
        a->confirmed = 0;
        return;
    }
    a->confirmed = best == a->best ? a->confirmed + 1 : 1;
    a->best = best;
    if (a->confirmed < CONFIRM_EPOCHS || (a->switches > 0 && a->epochs - a->switched_at < REST_EPOCHS))
        return;
    shadows_figures(a->shadows, best, &f);
    a->weighed = f.reads;
    a->margin = saved / now;
    a->before = a->now;
    a->now = best;
    a->confirmed = 0;
    a->switched_at = a->epochs;
    a->switches++;
}

const struct evict_type *auto_follow(struct evict_auto *a)
{
    if (++a->reads < EPOCH_READS_MIN || a->reads < EPOCH_TURNS * shadows_items(a->shadows, a->now))
        return candidates[a->now];
    a->reads = 0;
    a->epochs++;
    weigh(a);
    shadows_age(a->shadows, KEEP);
    return candidates[a->now];
}

void auto_figures(const struct evict_auto *a, struct auto_figures *out)
{
    *out = (struct auto_figures){.now = candidates[a->now],
                                 .before = a->switches > 0 ? candidates[a->before] : NULL,
                                 .best = candidates[a->best],
                                 .epochs = a->epochs,
                                 .switches = a->switches,
                                 .margin = a->margin,
                                 .reads = a->weighed};
}
