/* gate.h - lets one worker be alone for a moment.
 *
 * Commands that must look atomic over several keys (EXEC, RENAME, MSETNX) run
 * while no other worker executes anything. That is dearer than a lock per key
 * and far simpler: everybody else's requests, reads included, come wholly
 * before or wholly after, whatever dialect they speak.
 *
 * A worker is inside while it executes a batch. Entering and leaving write the
 * worker's own cache line and read one that hardly ever changes; with a single
 * worker they do nothing, and closing only keeps visitors out. Only one worker at a time closes the gate;
 * others who want to close it, or to enter, wait until it opens. */
#ifndef CORRAL_GATE_H
#define CORRAL_GATE_H

#include <stdbool.h>

struct gate;

/* NULL when memory is short. */
struct gate *gate_new(unsigned workers);
void gate_free(struct gate **gate);

/* Around each batch. Enter waits while the gate is closed, and says whether it
 * had to: then what the caller knows of the time is out of date. */
bool gate_enter(struct gate *gate, unsigned worker);
void gate_leave(struct gate *gate, unsigned worker);

/* Only from inside, and between two requests: while this waits for its turn,
 * another may be alone. Returns once nobody else is inside. Not to be nested. */
void gate_close(struct gate *gate, unsigned worker);
/* The caller is inside again, with the others. */
void gate_open(struct gate *gate, unsigned worker);

/* For a thread that is no worker and changes a key: nobody is alone meanwhile.
 * Short, as whoever wants to be alone waits for it. */
void gate_visit(struct gate *gate);
void gate_depart(struct gate *gate);

#endif
