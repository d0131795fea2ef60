/* handover_private.h - what handover.c and handover_give.c share. */
#ifndef CORRAL_HANDOVER_PRIVATE_H
#define CORRAL_HANDOVER_PRIVATE_H

#include "server/cluster/handover.h"
#include "server/cluster/pulls.h"
#include "server/worker.h"

/* In the answer to a TAKE, for each key. */
enum taken_what { TAKEN_NONE, TAKEN_PARCEL, TAKEN_LATER };

/* Going through all that one node still has for us; worker 0's alone. */
struct round {
    struct round *next;
    struct node_id source;
    struct worker *worker;
    bool running, asking; /* there is something to do; a call is out */
    bool all;             /* the second pass: not only what was used lately */
    bool page_last;       /* of this pass */
    bool left_some;       /* of what was seen; so another round is needed */
    bool closing;       /* there is nothing left there; but what was begun up to last_pull may be under way */
    uint64_t last_pull; /* pulls_serial() then */
    uint64_t cursor;
    uint32_t gained[GRANULES_MAX]; /* of granules that had this source when the round began, else 0 */
};

struct paging {
    struct worker *worker;
    struct round *round;
};

struct handover {
    struct pulls *pulls;
    struct round *rounds;
    uint64_t bytes_ahead; /* of what the rate allows; worker 0's */
    int64_t refilled_ms;
    /* Of each granule that has a source: what is there was flushed, so nothing is asked for any more. */
    _Atomic bool void_source[GRANULES_MAX];
    _Atomic uint32_t gained[GRANULES_MAX]; /* how often each had a source: part of what pulls know keys by */
    /* the control thread's: granules that are served elsewhere now, of which something may be left here */
    bool leftovers[GRANULES_MAX];
    bool swept[GRANULES_MAX]; /* of these, those that the sweep under way goes for */
    uint64_t sweep_at;        /* its cursor */
    uint64_t sweep_dropped;
    unsigned granules, leftovers_len, swept_len;
};

/* Bytes that may come at once, whatever the rate is. */
static inline uint64_t rate_burst(const struct worker *w)
{
    uint64_t rate = option_live(w->exec.options, cluster_handover_rate);

    return rate == 0 ? UINT64_MAX : rate / 20 + 1; /* of 50 ms */
}

/* A TAKE of the background's is over. */
void round_took(struct handover *h, struct round *r, size_t bytes, bool answered);

/* ---- bodies of BATCH ---- */

enum { PAGE_ASK = 11, PAGE_HEAD = 10 };
void page_ask(uint8_t body[PAGE_ASK], uint64_t cursor, bool all, unsigned keys);
/* Of an answer: eats what is in front of its keys; then one key. False: nonsense. */
bool page_open(struct slice *page, uint64_t *cursor, unsigned *keys);
bool page_take(struct slice *page, uint8_t *db, struct slice *name);

#endif
