/* memory.h - one arithmetic for what the process holds.
 *
 *   used = base    resident at the start: program, stacks, empty tables
 *        + store   segments, index, policies, large values: the store's own sums
 *        + heap    everything else that came from malloc: connections, buffers
 *
 * The heap is measured ten times a second, and the store makes room for it, so
 * that a thousand fat connections cost items and not the machine. */
#ifndef CORRAL_MEMORY_H
#define CORRAL_MEMORY_H

#include "server/out.h"
#include "server/server.h"

/* Once, before there are clients. */
void memory_measure_base(struct server *server);
/* Now and then, and when clients have sent much since: the heap, the peak; tells the store. Any thread. */
void memory_measure(struct server *server);
/* That much of the heap is about to become a value in the store. Told at once,
 * or the store would count it twice until the next measurement, and evict for it. */
void memory_hand_over(struct server *server, uint64_t bytes);

/* The other way: a client's buffers have grown by that much. Told at once, or a
 * burst of uploads could outgrow maxmemory between two measurements. */
void memory_take(struct server *server, uint64_t bytes);

/* Heap bytes in pages that are in use, and those the allocator keeps resident. */
struct memory_heap {
    uint64_t allocated, active, resident;
};
void memory_heap(struct memory_heap *out);
const char *memory_allocator(void);
/* Gives pages back that the allocator keeps for a while after a free. */
void memory_give_back(void);
/* What the allocator tells about itself, as text. */
void memory_report(struct out *text);

#endif
