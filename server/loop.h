/* loop.h - waits until sockets are ready. One per worker, used by its thread only.
 *
 * Whoever wants to hear about an fd embeds a loop_source and is called back
 * through it. Readiness is level-triggered: what was not taken is told again.
 * loop_epoll.c is the only implementation so far. */
#ifndef CORRAL_LOOP_H
#define CORRAL_LOOP_H

#include <stdbool.h>

struct loop;

enum loop_event {
    LOOP_READ = 1,
    LOOP_WRITE = 2,
    LOOP_BROKEN = 4, /* never asked for, always told: the other end is gone */
    LOOP_HANGUP = 8  /* asked for only: the other end will send no more; told as LOOP_BROKEN */
};

struct loop_source {
    void (*ready)(struct loop_source *source, unsigned events);
};

enum { LOOP_EVENTS_MAX = 128 }; /* sources told per wait */

struct loop *loop_new(void);
void loop_free(struct loop **loop);

/* The source must stay where it is until removed. False when the kernel refuses. */
bool loop_add(struct loop *loop, int fd, unsigned events, struct loop_source *source);
bool loop_change(struct loop *loop, int fd, unsigned events, struct loop_source *source);
void loop_remove(struct loop *loop, int fd);

/* Waits at most timeout_ms (0: not at all); returns how many sources are ready. */
int loop_wait(struct loop *loop, int timeout_ms);
/* Calls back the n sources that the last wait found. A source may remove and free itself, and no other. */
void loop_run(struct loop *loop, int n);

#endif
