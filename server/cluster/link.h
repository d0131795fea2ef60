/* link.h - one worker's connection to one other node: made when it is first needed, made again when it
 * breaks.
 *
 * Frames are gathered while the worker does its turn and leave together at its end (links_turn). Answers are
 * matched to their calls by id. call.h is what others use of this.
 *
 * Rules: (1) a link that could not be made is tried again when somebody needs it, not before 20 ms have
 * passed, then 40, up to a second; new routes forget that. (2) Of a link that ends, calls whose frame was not
 * begun to be sent are CALL_UNSENT, all others CALL_LOST. (3) There is one timer for all calls of a link: it
 * rings when the first may be over, and all are looked at. (4) A node that is in the routes no more, or has
 * failed, loses its link at once. */
#ifndef CORRAL_LINK_H
#define CORRAL_LINK_H

#include "server/cluster/call.h"
#include "server/cluster/handshake.h"
#include "server/loop.h"
#include "server/out.h"
#include "server/table.h"
#include "server/timers.h"

enum link_state {
    LINK_DOWN,
    LINK_CONNECTING, /* TCP's part */
    LINK_GREETING,   /* HELLO is out */
    LINK_UP
};

struct call {
    struct link *link;        /* NULL: the slot is free */
    struct call *next, *prev; /* on the link, in the order of their frames; or of free slots */
    uint64_t at;              /* where its frame begins in what the link sends */
    instant deadline;         /* ms 0: none, as long as the link holds */
    uint32_t id;
    bool parked; /* it waits at the other side */
    void (*done)(void *arg, struct call *call, const struct call_answer *answer);
    void (*told)(void *arg, uint32_t ms);
    void *arg;
};

struct link {
    struct loop_source source; /* first: the loop calls back with it */
    struct links *links;
    struct node_id node;
    UT_hash_handle hh; /* in links->by_node */
    enum link_state state;
    int fd;
    unsigned listens_to;
    struct handshake handshake;
    struct out out;    /* frames: those of the handshake go by themselves */
    uint64_t out_base; /* where out begins in all that was ever queued */
    struct link *dirty_next;
    bool dirty;    /* has frames to send: in links->dirty, by the one before */
    uint8_t *rest; /* an unfinished frame; exactly rest_len, or NULL */
    size_t rest_len;
    struct blob *big; /* the same of one that is large, with room for all of it */
    size_t big_len;
    struct call *first, *last;
    struct timer timer; /* of calls; of the handshake until it is over */
    instant give_up_at; /* of the handshake */
    instant retry_at;   /* while DOWN */
    unsigned retry_ms;
    int64_t down_since_ms; /* worker's ticks; 0: it is up, or was never tried */
    int64_t vouched_ms;    /* the same: when that was told last */
};

/* One worker's. */
struct links {
    struct worker *worker;
    struct link *by_node;
    struct link **by_member; /* of the routes of version `indexed`; NULL where there is none yet */
    size_t members;
    uint64_t indexed, followed; /* versions of routes */
    struct link *dirty;
    struct call **slots; /* CALLS_CHUNK each */
    uint32_t slots_len;  /* how many calls they have room for */
    struct call *free;
    uint32_t calls;     /* in flight */
    struct call *ended; /* without a frame: `done` is called in the next turn */
};

struct links *links_new(struct worker *worker);
void links_free(struct links **links);

/* At the end of each turn of the worker's loop: sends what was gathered, follows new routes. */
void links_turn(struct links *links);
/* Now and then, by one worker: keeps links to the next few nodes in the order of ids, needed or not. A
 * process that ends closes them, so some others know of it at once, however idle all are. */
void links_keep(struct links *links);
/* Something of it waits for links_turn(). */
static inline bool links_wait(const struct links *links)
{
    return links->dirty != NULL || links->ended != NULL;
}
/* For how long that member could not be reached, in ms; 0: it can, or was not tried. */
int64_t links_unreachable_ms(struct links *links, uint16_t member);

/* ---- between link.c and call.c ---- */

/* That member's, by the worker's routes; NULL without memory. Tries to connect when it is down and it is
 * time. */
struct link *links_to(struct links *links, uint16_t member);
void link_touch(struct link *link);
/* Answers have come for it, or its link has ended. Frees the call's slot. */
void call_end(struct call *call, enum call_end end, struct slice bytes, struct blob *blob);
void calls_answered(struct link *link, const struct peer_header *header, struct slice body,
                    struct blob *blob);
bool calls_parked(struct link *link, const struct peer_header *header);
/* Of a link that has ended. `sent`: how much of what it queued was given to the kernel. */
void calls_lost(struct link *link, uint64_t sent);
/* The timer has rung: ends those whose time is over, and sets it for the next. */
void calls_expire(struct link *link);
void calls_end_unsent(struct links *links);

#endif
