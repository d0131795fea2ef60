/* client.c - CLIENT TRACKING and what belongs to it; CLIENT PAUSE, UNBLOCK and
 * WAIT, which make clients wait or end that. */
#include "server/command/client.h"

#include <stdlib.h>

#include "server/clients.h"
#include "server/command/command.h"
#include "server/park.h"
#include "server/pause.h"
#include "server/push.h"
#include "server/server.h"
#include "server/tracking.h"

/* ---- CLIENT TRACKING ---- */

struct tracking_request {
    bool bcast, optin, optout, noloop;
    post_address redirect;
    uint32_t prefixes;
};

/* 0: no such client. */
static post_address address_of_id(struct exec *x, uint64_t id)
{
    post_address found = 0;

    clients_lock(x->server->registry);
    for (struct session *s = clients_first(x->server->registry); s != NULL; s = clients_next(s)) {
        if (s->id == id)
            found = address_of(s);
    }
    clients_unlock(x->server->registry);
    return found;
}

static bool read_redirect(struct exec *x, struct tracking_request *t, struct slice word)
{
    int64_t id;

    if (t->redirect != 0) {
        reply_error(x, "ERR A client can only redirect to a single other client");
        return false;
    }
    if (!slice_to_i64(word, &id)) {
        reply_not_integer(x);
        return false;
    }
    if (id <= 0 || (t->redirect = address_of_id(x, (uint64_t)id)) == 0) {
        reply_error(x, "ERR The client ID you want redirect to does not exist");
        return false;
    }
    return true;
}

/* argv[i] is PREFIX, and the word after it one of several. */
static bool is_prefix_at(const struct request *rq, uint32_t i)
{
    return slice_is(rq->argv[i], "prefix") && i + 1 < rq->argc;
}

static bool read_tracking(struct exec *x, const struct request *rq, struct tracking_request *t)
{
    for (uint32_t i = 3; i < rq->argc; i++) {
        struct slice word = rq->argv[i];

        if (slice_is(word, "redirect") && i + 1 < rq->argc) {
            if (!read_redirect(x, t, rq->argv[++i]))
                return false;
        } else if (slice_is(word, "bcast")) {
            t->bcast = true;
        } else if (slice_is(word, "optin")) {
            t->optin = true;
        } else if (slice_is(word, "optout")) {
            t->optout = true;
        } else if (slice_is(word, "noloop")) {
            t->noloop = true;
        } else if (is_prefix_at(rq, i)) {
            t->prefixes++;
            i++;
        } else {
            reply_syntax_error(x);
            return false;
        }
    }
    return true;
}

static bool fits_together(struct exec *x, const struct tracking_request *t, const struct tracking_state *now)
{
    if (t->prefixes > 0 && !t->bcast) {
        reply_error(x, "ERR PREFIX option requires BCAST mode to be enabled");
        return false;
    }
    if (now->on && now->bcast != t->bcast) {
        reply_error(x,
                    "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and "
                    "then re-enabling it with a different mode.");
        return false;
    }
    if (t->bcast && (t->optin || t->optout)) {
        reply_error(x, "ERR OPTIN and OPTOUT are not compatible with BCAST");
        return false;
    }
    if (t->optin && t->optout) {
        reply_error(x, "ERR You can't specify both OPTIN mode and OPTOUT mode");
        return false;
    }
    if ((t->optin && now->optout) || (t->optout && now->optin)) {
        reply_error(x,
                    "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and "
                    "then re-enabling it with a different mode.");
        return false;
    }
    return true;
}

struct given_prefix {
    struct slice name; /* first: slice_compare() looks at it */
    uint32_t place;    /* among the words; 0: it has that already */
};

static void refuse_overlap(struct exec *x, const struct given_prefix *a, const struct given_prefix *b)
{
    const struct given_prefix *first = a->place > 0 && (b->place == 0 || a->place < b->place) ? a : b;
    const struct given_prefix *other = first == a ? b : a;

    reply_error(x,
                "ERR Prefix '%.*s' overlaps with %s prefix '%.*s'. Prefixes for a single client must not "
                "overlap.",
                EXEC_QUOTED(first->name), other->place > 0 ? "another provided" : "an existing",
                EXEC_QUOTED(other->name));
}

/* In order, prefixes that begin alike stand side by side. False: answered. */
static bool are_apart(struct exec *x, struct given_prefix *all, size_t n)
{
    qsort(all, n, sizeof *all, slice_compare);
    for (size_t i = 1; i < n; i++) {
        if (slice_begins_with(all[i].name, all[i - 1].name)) {
            refuse_overlap(x, &all[i - 1], &all[i]);
            return false;
        }
    }
    return true;
}

/* No two prefixes of a client may begin alike, or it would be told twice. */
static bool prefixes_are_apart(struct exec *x, const struct request *rq, const struct push *push)
{
    struct given_prefix *all = calloc(rq->argc + push->tracking.prefixes_len, sizeof *all);
    size_t n = 0;
    bool apart;

    if (all == NULL) {
        reply_error(x, "ERR out of memory");
        return false;
    }
    for (uint32_t old = 0; old < push->tracking.prefixes_len; old++)
        all[n++] = (struct given_prefix){.name = tracking_prefix_name(push, old)};
    for (uint32_t i = 3; i < rq->argc; i++) {
        if (is_prefix_at(rq, i)) {
            i++;
            all[n++] = (struct given_prefix){.name = rq->argv[i], .place = i};
        }
    }
    apart = are_apart(x, all, n);
    free(all);
    return apart;
}

static bool add_prefixes(struct exec *x, const struct request *rq, struct push *push,
                         const struct tracking_request *t)
{
    bool done = true;

    if (t->bcast && t->prefixes == 0 && push->tracking.prefixes_len == 0)
        done = tracking_add_prefix(x, push, slice_of(""));
    for (uint32_t i = 3; done && i < rq->argc; i++) {
        if (is_prefix_at(rq, i))
            done = tracking_add_prefix(x, push, rq->argv[++i]);
    }
    if (!done && !push->tracking.on)
        tracking_off(x->server, push); /* those that did fit */
    return done;
}

static void refuse_prefixes(struct exec *x)
{
    counter_add(x->counters, subscriptions_refused, 1);
    reply_error(x, "ERR too many prefixes, or one longer than any key; see tracking-max-prefixes");
}

/* Before they are compared: that many are not even looked at. */
static bool too_many(struct exec *x, const struct tracking_request *t, const struct push *push)
{
    uint64_t all = (uint64_t)push->tracking.prefixes_len + t->prefixes;

    return all > (uint64_t)option_live(x->options, tracking_max_prefixes);
}

static void start_tracking(struct exec *x, const struct request *rq, struct push *push,
                           const struct tracking_request *t)
{
    struct tracking_state *state = &push->tracking;

    if (!fits_together(x, t, state))
        return;
    if (too_many(x, t, push)) {
        refuse_prefixes(x);
        return;
    }
    if (!prefixes_are_apart(x, rq, push))
        return;
    if (!add_prefixes(x, rq, push, t)) {
        refuse_prefixes(x);
        return;
    }
    state->bcast = t->bcast;
    state->optin = t->optin;
    state->optout = t->optout;
    state->noloop = t->noloop;
    state->broken = false;
    state->redirect = t->redirect;
    tracking_on(x, push);
    reply_ok(x);
}

void client_tracking(struct exec *x, struct request *rq)
{
    struct tracking_request t = {0};
    struct push *push;

    if (!read_tracking(x, rq, &t))
        return;
    if (!slice_is(rq->argv[2], "on") && !slice_is(rq->argv[2], "off")) {
        reply_syntax_error(x);
        return;
    }
    if ((push = push_of(x)) == NULL)
        return;
    if (slice_is(rq->argv[2], "on")) {
        start_tracking(x, rq, push, &t);
        return;
    }
    tracking_off(x->server, push);
    reply_ok(x);
}

void client_caching(struct exec *x, struct request *rq)
{
    struct push *push = x->session->push;
    bool yes = slice_is(rq->argv[2], "yes");

    if (push == NULL || !(push->tracking.optin || push->tracking.optout)) {
        reply_error(x, "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN "
                       "or OPTOUT mode enabled");
        return;
    }
    if (!yes && !slice_is(rq->argv[2], "no")) {
        reply_syntax_error(x);
        return;
    }
    if (yes && !push->tracking.optin) {
        reply_error(x, "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.");
        return;
    }
    if (!yes && !push->tracking.optout) {
        reply_error(x, "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.");
        return;
    }
    push->tracking.caching = true;
    reply_ok(x);
}

void client_getredir(struct exec *x, struct request *rq)
{
    (void)rq;
    reply_integer(x, atomic_load_explicit(&x->session->redirect_shown, memory_order_relaxed));
}

void client_trackinginfo(struct exec *x, struct request *rq)
{
    static const struct tracking_state off = {0};
    struct push *push = x->session->push;
    const struct tracking_state *t = push != NULL ? &push->tracking : &off;
    const struct {
        bool is;
        const char *name;
    } flags[] = {
        {!t->on, "off"},
        {t->on, "on"},
        {t->bcast, "bcast"},
        {t->optin, "optin"},
        {t->optin && t->caching, "caching-yes"},
        {t->optout, "optout"},
        {t->optout && t->caching, "caching-no"},
        {t->noloop, "noloop"},
        {t->broken, "broken_redirect"},
    };
    size_t n = 0;

    (void)rq;
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++)
        n += flags[i].is;
    reply_map(x, 3);
    reply_text(x, "flags");
    reply_set(x, n);
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        if (flags[i].is)
            reply_text(x, flags[i].name);
    }
    reply_text(x, "redirect");
    reply_integer(x, atomic_load_explicit(&x->session->redirect_shown, memory_order_relaxed));
    reply_text(x, "prefixes");
    if (push != NULL)
        tracking_sort_prefixes(push);
    reply_array(x, t->prefixes_len);
    for (uint32_t i = 0; i < t->prefixes_len; i++)
        reply_bulk(x, tracking_prefix_name(push, i));
}

/* ---- waiting ---- */

/* As redis reads a timeout in milliseconds. False: answered. */
static bool read_timeout(struct exec *x, struct slice word, span *timeout)
{
    if (!slice_to_i64(word, &timeout->ms))
        reply_error(x, "ERR timeout is not an integer or out of range");
    else if (timeout->ms < 0)
        reply_error(x, "ERR timeout is negative");
    else if (timeout->ms > INT64_MAX - x->now.ms)
        reply_error(x, "ERR timeout is out of range");
    else
        return true;
    return false;
}

void client_pause(struct exec *x, struct request *rq)
{
    bool all = true;
    span timeout;

    if (rq->argc > 4) {
        reply_wrong_arity(x, "client|pause");
        return;
    }
    if (rq->argc == 4) {
        all = slice_is(rq->argv[3], "all");
        if (!all && !slice_is(rq->argv[3], "write")) {
            reply_error(x, "ERR CLIENT PAUSE mode must be WRITE or ALL");
            return;
        }
    }
    if (!read_timeout(x, rq->argv[2], &timeout))
        return;
    pause_begin(x->server, after(x->now, timeout), all);
    reply_ok(x);
}

void client_unpause(struct exec *x, struct request *rq)
{
    (void)rq;
    pause_end(x->server);
    reply_ok(x);
}

void client_unblock(struct exec *x, struct request *rq)
{
    bool error = rq->argc == 4 && slice_is(rq->argv[3], "error");
    post_address who = 0;
    int64_t id;

    if (rq->argc > 4) {
        reply_wrong_arity(x, "client|unblock");
        return;
    }
    if (rq->argc == 4 && !error && !slice_is(rq->argv[3], "timeout")) {
        reply_error(x, "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
        return;
    }
    if (!slice_to_i64(rq->argv[2], &id)) {
        reply_not_integer(x);
        return;
    }
    clients_lock(x->server->registry);
    for (struct session *s = clients_first(x->server->registry); s != NULL; s = clients_next(s)) {
        /* Whoever takes the mark away unblocks it, so that only one is told 1. */
        if (s->id == (uint64_t)id && atomic_exchange_explicit(&s->waiting, false, memory_order_relaxed))
            who = address_of(s);
    }
    clients_unlock(x->server->registry);
    if (who != 0)
        post_to(x->server, error ? LETTER_UNBLOCK : LETTER_TIME_OUT, NULL, 0, &who, 1);
    reply_integer(x, who != 0);
}

/* There are no replicas to wait for, so only the time can end it. */
void cmd_wait(struct exec *x, struct request *rq)
{
    int64_t replicas;
    span timeout;

    if (!slice_to_i64(rq->argv[1], &replicas)) {
        reply_not_integer(x);
        return;
    }
    if (!read_timeout(x, rq->argv[2], &timeout))
        return;
    if (exec_outcome(x) == PARK_UNBLOCKED)
        reply_error(x, "UNBLOCKED client unblocked via CLIENT UNBLOCK");
    else if (replicas <= 0 || exec_outcome(x) == PARK_TIMED_OUT || !exec_may_park(x))
        reply_integer(x, 0);
    else
        exec_park(x, timeout);
}

/* ---- for clients that ask ---- */

static bool read_on_off(struct exec *x, struct slice word, bool *on)
{
    *on = slice_is(word, "on");
    if (*on || slice_is(word, "off"))
        return true;
    reply_syntax_error(x);
    return false;
}

/* See conn_is_spared(). */
void client_no_evict(struct exec *x, struct request *rq)
{
    bool on;

    if (!read_on_off(x, rq->argv[2], &on))
        return;
    session_show(x->session, SHOWN_NO_EVICT, on);
    reply_ok(x);
}

/* What it reads from now on is not counted as use, so it does not keep keys from being evicted. */
void client_no_touch(struct exec *x, struct request *rq)
{
    bool on;

    if (!read_on_off(x, rq->argv[2], &on))
        return;
    x->session->modes =
        on ? x->session->modes | SESSION_NO_TOUCH : x->session->modes & ~(unsigned)SESSION_NO_TOUCH;
    reply_ok(x);
}
