/* backend.h - how one origin is spoken to: RESP or HTTP.
 *
 * All of it on the origin thread. A call is one attempt: it ends by exactly one
 * of ended() and backend_cancel(), and the backend knows nothing of it
 * afterwards. ended() may come before backend_start() returns. */
#ifndef CORRAL_ORIGIN_BACKEND_H
#define CORRAL_ORIGIN_BACKEND_H

#include "server/loop.h"
#include "server/origin/rules.h"
#include "server/timers.h"

enum call_kind { CALL_GET, CALL_SET, CALL_DELETE };

enum answer_kind {
    ANSWER_VALUE,
    ANSWER_ABSENT,  /* to a GET: the origin has none */
    ANSWER_DONE,    /* to a write */
    ANSWER_REFUSED, /* it works, and said no: asking again would not help */
    ANSWER_FAILED   /* it does not work, or not now */
};

/* What came back; `value` and `why` are good only until ended() returns. */
struct answer {
    enum answer_kind kind;
    struct slice value;
    bool existed;     /* DONE, to a DELETE: there was something to delete */
    const char *why;  /* REFUSED, FAILED: one line */
    bool has_max_age; /* the origin says how long the value is fresh */
    bool no_store;    /* ... that it must not be kept */
    int64_t max_age_s;
    int64_t stale_s; /* ... and for how long after that it may be served while it is asked for anew */
};

struct call {
    enum call_kind kind;
    struct slice key, value;
    int64_t ttl_ms; /* of a SET; 0: none */
    void (*ended)(struct call *call, const struct answer *answer);
    void *handle; /* the backend's; NULL while no call is under way */
};

struct backend;

/* The rule, the loop and the timers outlive it. value_max: a longer answer is a
 * failure. NULL when memory is short. */
struct backend *backend_new(const struct origin_rule *rule, struct loop *loop, struct timers *timers,
                            size_t value_max);
/* No call may be under way. */
void backend_free(struct backend **backend);
void backend_start(struct backend *backend, struct call *call);
/* It took too long, or is not wanted any more. */
void backend_cancel(struct backend *backend, struct call *call);

/* What the two kinds provide; a backend of either begins with this. */
struct backend_type {
    void (*start)(struct backend *backend, struct call *call);
    void (*cancel)(struct backend *backend, struct call *call);
    void (*free)(struct backend *backend);
};
struct backend {
    const struct backend_type *type;
};
struct backend *backend_resp_new(const struct origin_rule *rule, struct loop *loop, struct timers *timers,
                                 size_t value_max);
/* What this process lacks to speak HTTP, NULL when it lacks nothing. */
const char *backend_http_missing(void);
struct backend *backend_http_new(const struct origin_rule *rule, struct loop *loop, struct timers *timers,
                                 size_t value_max);

/* ---- for them ---- */

static inline void call_end(struct call *call, const struct answer *answer)
{
    call->handle = NULL;
    call->ended(call, answer);
}

static inline void call_fail(struct call *call, enum answer_kind kind, const char *why)
{
    struct answer answer = {.kind = kind, .why = why};

    call_end(call, &answer);
}

#endif
