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

/* Sources are told in groups. Those that have a prepare, and are readable and
 * nothing else, are first prepared one after the other, twice, and only then is
 * the group told: what the first round asked memory for has come by the second,
 * and what that asked for by the time it is used. */
enum { LOOP_GROUP = 16 };
enum loop_round { LOOP_FIRST, LOOP_SECOND };

struct loop_source {
    void (*ready)(struct loop_source *source, unsigned events);
    /* May be NULL. `nth` is its place in the group. Must not remove a source. */
    void (*prepare)(struct loop_source *source, enum loop_round round, unsigned nth);
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
/* While loop_run() goes on: those that are not in this group are not called back, and found again later. */
void loop_cut(struct loop *loop);

#endif
