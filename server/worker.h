/* worker.h - one thread: its loop, its connections, its share of the store's upkeep. */
#ifndef CORRAL_WORKER_H
#define CORRAL_WORKER_H

#include <pthread.h>

#include "server/burden.h"
#include "server/cluster/routes.h"
#include "server/conn.h"
#include "server/dispatch.h"
#include "server/exec.h"
#include "server/loop.h"
#include "server/post.h"
#include "server/timers.h"

enum {
    WORKER_INPUT_BYTES = 64 * 1024, /* read at once; requests larger than this get a buffer of their own */
    WORKER_STAGE_BYTES = 16 * 1024, /* read ahead of its turn, for each connection of a group */
    WORKER_OUT_KEPT = 256 * 1024,   /* of the reply buffer between turns */
};

/* So that a crowd of misbehaving clients does not fill the log. */
struct worker_log {
    int64_t since_ms;
    unsigned lines, missed;
};

/* Sockets and calls from other threads; everything else of a worker is its own. */
struct worker_inbox {
    struct loop_source source; /* of the eventfd */
    int eventfd;
    pthread_mutex_t lock;
    struct conn *arrived;     /* under the lock */
    struct post_box post;     /* letters; push.h */
    _Atomic bool killed_some; /* a session of ours was marked killed */
    _Atomic bool overloaded;  /* clients hold too much, and the largest is ours */
};

struct worker {
    struct server *server;
    unsigned index;
    pthread_t thread;
    struct loop *loop;
    struct exec exec;     /* what handlers see; filled anew for every request */
    struct batch *batch;  /* dispatch.c's */
    uint8_t *input;       /* shared by all connections, WORKER_INPUT_BYTES */
    uint8_t *stage;       /* the same for what is read ahead, LOOP_GROUP * WORKER_STAGE_BYTES */
    struct out out;       /* the same for replies */
    struct conn *conns;   /* all of them */
    struct conn *serving; /* whose request is being executed */
    struct conn *touched, *touched_last; /* were told something outside their turn, which is to be sent */
    struct push *pushes;                 /* clients who are spoken to unasked, by id */
    struct post_box outbox;
    struct post_box
        opening;         /* letters out of the inbox that are being handed over; push.c's, as the next two */
    uint32_t opening_at; /* recipients of the first who have theirs */
    size_t said_bytes;   /* handed over since those spoken to were last sent to */
    struct out bcast;    /* keys changed in this batch; tracking.c's, as the next two */
    bool bcast_lost;
    post_address bcast_writer;
    struct timers timers;
    instant now;          /* of this turn */
    int64_t ticks_ms;     /* the same on the clock that nobody sets; all that follow are on it */
    int64_t next_tick_ms; /* upkeep; see worker_tick() */
    int64_t next_sweep_ms;
    int64_t next_attack_log_ms;
    struct clock_watch watch;
    struct worker_log log;
    struct burden_list burdens; /* connections that hold something */
    size_t request_max;         /* bytes of a request's longest word that are worth receiving now */
    uint64_t unmeasured_bytes;  /* received since strays were last looked for: see overload.c */
    bool finishing;             /* the node stops: who comes now is let go as soon as may be */
    bool store_busy;            /* store_tick() wants to be called again */
    struct worker_inbox inbox;
    struct counters counters;
    struct figures *figures;   /* per command */
    struct routes_user routes; /* by which it acts */
    struct links *links;       /* to other nodes: cluster/link.h; NULL: this node is in no cluster */
};

/* NULL when memory or file descriptors are short. */
struct worker *worker_new(struct server *server, unsigned index);
void worker_free(struct worker **worker);

/* Runs the loop until the server stops, then closes the connections. */
void worker_run(struct worker *worker);

/* Takes over a connection; called by worker 0's listeners. */
void worker_adopt(struct worker *worker, struct conn *conn);
/* Gets it out of its wait: after a change it should look at. Any thread. */
void worker_wake(struct worker *worker);
/* One of its sessions was marked killed. Any thread. */
void worker_notice_killed(struct worker *worker);
/* It has the largest of the clients that together hold too much. Any thread. */
void worker_notice_overload(struct worker *worker);

/* Sizes what a request and a reply may hold by the options and by the memory that
 * clients have left; done with every tick, and needed sooner only after a change. */
void worker_set_limits(struct worker *worker);
/* Whether another line about some client's fault may go to the log: ten a
 * second. How many were left out is logged when the second is over. */
bool worker_may_log(struct worker *worker);

#endif
