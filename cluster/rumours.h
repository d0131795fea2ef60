/* rumours.h - about whom there is news, and how often it has been passed on.
 *
 * A rumour is an index: what is told is what is known when the packet is
 * written. The least told goes first. Each is told `limit` times, then
 * forgotten, so that an old cluster is silent. */
#ifndef CORRAL_RUMOURS_H
#define CORRAL_RUMOURS_H

#include <stdbool.h>
#include <stdint.h>

enum { RUMOURS_END = UINT32_MAX, RUMOUR_TIMES_MAX = 32 };

struct rumours;

struct rumours *rumours_new(void); /* NULL without memory */
void rumours_free(struct rumours **);
/* Fresh, whether there was one about it or not. Without memory it is not spread:
 * the next exchange does it. */
void rumours_put(struct rumours *, uint32_t subject);
void rumours_drop(struct rumours *, uint32_t subject);
uint32_t rumours_count(const struct rumours *);
bool rumours_has(const struct rumours *, uint32_t subject);

/* Goes through them, least told first: RUMOURS_END after the last. Between a
 * first and the last next nothing but rumours_told() of the current one. */
uint32_t rumours_first(struct rumours *);
uint32_t rumours_next(struct rumours *);
/* The current one was told once more; after `limit` times it is dropped. */
void rumours_told(struct rumours *, uint32_t subject, unsigned limit);

#endif
