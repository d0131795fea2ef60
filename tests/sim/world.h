/* world.h - a fake network and a fake clock for thousands of nodes in one thread.
 *
 * Rules: (1) Everything follows from the seed: the same calls give the same
 * run, and world_trace() the same number. (2) A stalled node's messages wait in
 * its inbox, as in a socket buffer, and too many are lost. (3) A process that
 * is gone answers "unreachable"; a machine that is gone answers nothing. */
#ifndef CORRAL_TESTS_WORLD_H
#define CORRAL_TESTS_WORLD_H

#include "cluster/transport.h"

enum {
    WORLD_ENVELOPE = 57 + 28, /* bytes around a datagram: frame.h's, IP and UDP */
    WORLD_SEGMENT = 57 + 40   /* and around a stream's message, roughly */
};

struct world;

/* How the whole network is. Chances are 0 .. 1. */
struct world_weather {
    int64_t delay_us, jitter_us; /* one way: delay plus up to jitter, evenly */
    double loss, doubled;
    double late; /* chance of late_us more: what overtakes */
    int64_t late_us;
};

struct world_traffic {
    uint64_t datagrams, datagram_bytes; /* sent, with WORLD_ENVELOPE */
    uint64_t streams, stream_bytes;
};

struct world *world_new(unsigned nodes, uint64_t seed);
void world_free(struct world **);
void world_set_weather(struct world *, struct world_weather);

/* Where node i lives. */
struct address world_address(unsigned node);
struct node_id world_id(const struct world *, unsigned node);
/* As if that node's data folder were a copy. Before it boots. */
void world_set_id(struct world *, unsigned node, struct node_id);
/* The seam of node i. Good for as long as the world is. */
struct transport world_transport(struct world *, unsigned node);
/* A process starts there, from now on; the old one must have ended. */
void world_boot(struct world *, unsigned node, struct transport_user);
/* The process ends. Its streams are reset if the machine still stands. */
void world_end(struct world *, unsigned node);

/* The machine: unplugged it is silent, and what runs there runs on alone. */
void world_unplug(struct world *, unsigned node, bool unplugged);
/* The loop of that node does not run until then, or longer if it was told so before. */
void world_stall(struct world *, unsigned node, int64_t for_us);
/* Its clock runs by that much faster, in parts of a million. */
void world_drift(struct world *, unsigned node, int ppm);
/* What it sends and what reaches it is lost with these chances, on top of the weather. */
void world_node_loss(struct world *, unsigned node, double out, double in);
/* Nodes of different sides do not reach each other. All start on side 0. */
void world_side(struct world *, unsigned node, unsigned side);
/* One way only: what `from` sends does not reach `to`. */
void world_cut(struct world *, unsigned from, unsigned to, bool cut);

/* Whether what `from` sends now reaches `to`, which is there to hear it. */
bool world_reaches(const struct world *, unsigned from, unsigned to);

void world_run(struct world *, int64_t for_us);
int64_t world_now_us(const struct world *);
uint64_t world_random(struct world *); /* the story's dice, apart from the nodes' */
struct world_traffic world_traffic(const struct world *, unsigned node);
uint64_t world_events(const struct world *);
/* A number that depends on all that was delivered, and when. */
uint64_t world_trace(const struct world *);

#endif
