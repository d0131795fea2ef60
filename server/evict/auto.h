/* auto.h - which policy to follow: allkeys-auto.
 *
 * Shadows (shadow.h) of seven candidates see the same sample of the traffic.
 * After every epoch, which is as many reads as would go through the cache four
 * times over, the misses of past epochs fade and the policy with the fewest is
 * followed, if it is better than the one in use
 *
 *   (1) by more than 5 % of that one's misses: changing costs something, and
 *       so does changing back;
 *   (2) by more than chance: the reads that only one of the two would have hit
 *       differ by more than four times the square root of their number; and
 *   (3) for the second epoch in a row, and no sooner than two epochs after the
 *       last change.
 *
 * Knows no store and no clock: what a simulator replays with it is what
 * serves. Who holds the items changes their policy when told to. */
#ifndef CORRAL_EVICT_AUTO_H
#define CORRAL_EVICT_AUTO_H

#include "server/evict/shadow.h"

struct evict_auto;

enum { AUTO_CANDIDATES = 7 };

/* Candidate i of auto, i < AUTO_CANDIDATES; the first is what auto begins with. */
const struct evict_type *auto_candidate(unsigned i);
/* The candidates as shadows to make, which are then numbers 0..AUTO_CANDIDATES-1 of the shadows. */
void auto_kinds(struct shadow_kind kinds[AUTO_CANDIDATES]);

/* Follows `first`, or candidate 0 if it is none of them. The shadows stay the
 * caller's. NULL when memory is short. */
struct evict_auto *auto_new(struct shadows *shadows, const struct evict_type *first);
void auto_free(struct evict_auto **);
/* Call after every read; now and then it weighs the candidates. The policy to follow. */
const struct evict_type *auto_follow(struct evict_auto *);

struct auto_figures {
    const struct evict_type *now, *before; /* before: NULL as long as nothing has changed */
    const struct evict_type *best;         /* with the fewest misses in the window */
    uint64_t epochs, switches;
    double margin; /* share of the misses that the last change was to save */
    double reads;  /* in the window that it was decided by */
};
void auto_figures(const struct evict_auto *, struct auto_figures *out);

#endif
