#include "server/conn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/check.h"
#include "server/clients.h"
#include "server/cluster/forward.h"
#include "server/cluster/guest.h"
#include "server/cluster/gather.h"
#include "server/herd/herd.h"
#include "server/herd/protect.h"
#include "server/log.h"
#include "server/pause.h"
#include "server/push.h"
#include "server/memcache_auth.h"
#include "server/memory.h"
#include "server/origin/origins.h"
#include "server/overload.h"
#include "server/peers.h"
#include "server/server.h"
#include "server/transaction.h"
#include "server/worker.h"

enum {
    /* Bytes one connection may have read, or sent, before others get their turn. */
    TURN_BYTES = 256 * 1024,
    /* A left-over up to this long is copied away and back; a longer one gets
     * room for all of its request and is read into where it lies. */
    REST_MAX = 4 * 1024,
    IOVECS = 64,
    BIG_FIRST = 16 * 1024,
    TELL_BYTES = 256 * 1024, /* a change that the store should know of at once */
    PINS_LOOKED_AT = 16,
    EAGER_BYTES =
        1 << 20, /* a length that is only announced gets no more room than this, or twice what came */
};
/* Unread replies at which a client is no longer read from. High, because a
 * simple client sends its whole pipeline before it reads the first reply, and
 * would wait for us while we wait for it. */
#define HIGH_WATER ((size_t)8 << 20)

/* ---- life ---- */

static void on_ready(struct loop_source *source, unsigned events);
static void prepare(struct loop_source *source, enum loop_round round, unsigned nth);
static void on_timer(struct timer *timer);

struct conn *conn_new(enum dialect dialect, int fd, const char *address, const char *local_address,
                      instant now)
{
    struct conn *c = calloc(1, sizeof *c);

    if (c == NULL || !session_init(&c->session, dialect, fd, address, local_address, now)) {
        free(c);
        close(fd);
        return NULL;
    }
    c->source.ready = on_ready;
    c->source.prepare = prepare;
    c->timer.fire = on_timer;
    return c;
}

static bool is_link(const struct conn *c)
{
    return c->session.dialect == DIALECT_PEER;
}

static bool is_guest(const struct conn *c)
{
    return c->host != NULL && !host_is_link(c);
}

static void enlist(struct conn *c)
{
    struct worker *w = c->worker;

    c->next = w->conns;
    if (c->next != NULL)
        c->next->prev = c;
    w->conns = c;
}

static void strike_out(struct conn *c)
{
    if (c->prev != NULL)
        c->prev->next = c->next;
    else
        c->worker->conns = c->next;
    if (c->next != NULL)
        c->next->prev = c->prev;
}

bool conn_open(struct conn *c, struct worker *w)
{
    c->worker = w;
    c->session.worker = w->index;
    c->session.authenticated = c->session.dialect == DIALECT_MEMCACHE ? !memcache_auth_needed(w->server)
                                                                      : !server_password_set(w->server);
    c->listens_to = LOOP_READ;
    if (!loop_add(w->loop, c->session.fd, LOOP_READ, &c->source)) {
        c->worker = NULL;
        peers_leave(w->server->peers, &c->peer);
        conn_close(c);
        return false;
    }
    if (is_link(c) && !host_open(c)) {
        c->worker = NULL;
        conn_close(c);
        return false;
    }
    enlist(c);
    if (!is_link(c))
        clients_add(w->server->registry, &c->session);
    return true;
}

bool conn_init_guest(struct conn *c, struct host *host, const struct conn *link)
{
    struct worker *w = link->worker;

    if (!session_init(&c->session, DIALECT_RESP, -1, link->session.address, link->session.local_address,
                      w->now))
        return false;
    c->timer.fire = on_timer;
    c->worker = w;
    c->host = host;
    c->session.worker = w->index;
    clients_name(w->server->registry, &c->session);
    return true;
}

static void untouch(struct conn *c)
{
    if (!c->touched)
        return;
    c->touched = false;
    if (c->touched_prev != NULL)
        c->touched_prev->touched_next = c->touched_next;
    else
        c->worker->touched = c->touched_next;
    if (c->touched_next != NULL)
        c->touched_next->touched_prev = c->touched_prev;
    else
        c->worker->touched_last = c->touched_prev;
}

static void touch(struct conn *c)
{
    struct worker *w = c->worker;

    if (c->touched)
        return;
    c->touched = true;
    c->touched_next = NULL;
    c->touched_prev = w->touched_last; /* first come, first served */
    if (w->touched_last != NULL)
        w->touched_last->touched_next = c;
    else
        w->touched = c;
    w->touched_last = c;
}

/* It waits no longer, for whatever reason. */
static void unpark(struct conn *c)
{
    struct session *s = &c->session;
    bool was_call = s->parked == PARK_CALL;

    if (s->parked == PARK_NOT)
        return;
    s->parked = PARK_NOT;
    timers_cancel(&c->worker->timers, &c->timer);
    if (was_call)
        return;
    atomic_store_explicit(&s->waiting, false, memory_order_relaxed);
    session_show(s, SHOWN_BLOCKED, false);
    atomic_fetch_sub_explicit(&c->worker->server->blocked, 1, memory_order_relaxed);
}

static void leave_worker(struct conn *c)
{
    struct worker *w = c->worker;

    if (w->exec.session == &c->session)
        w->exec.session = NULL;
    unpark(c);
    untouch(c);
    gather_end(&c->session);
    forward_leave(&c->session);
    herd_leave(w->server, &c->session);
    protect_leave(w, &c->session);
    origins_leave(w->server, &c->session);
    push_leave(w, &c->session);
    transaction_free(w->server, &c->session);
    burden_set(&w->burdens, &c->burden, 0);
    if (c->owned > 0)
        overload_add(w, -(int64_t)c->owned, -(int64_t)c->owned_blob);
    if (is_guest(c)) {
        guest_leave(c);
        return;
    }
    strike_out(c);
    if (is_link(c)) {
        host_close(c);
        return;
    }
    clients_remove(w->server->registry, &c->session);
    peers_leave(w->server->peers, &c->peer);
    atomic_fetch_sub_explicit(&w->server->clients, 1, memory_order_relaxed);
}

void conn_close(struct conn *c)
{
    if (c->worker != NULL)
        leave_worker(c);
    if (c->session.fd >= 0)
        close(c->session.fd); /* which takes it out of the loop, too */
    out_free(&c->pending);
    blob_unpin(&c->big);
    free(c->rest);
    session_free(&c->session);
    free(c);
}

static void listen_to(struct conn *c, unsigned events)
{
    if (events == c->listens_to)
        return;
    c->listens_to = events;
    if (!loop_change(c->worker->loop, c->session.fd, events, &c->source))
        c->draining = true; /* cannot be; the next event closes it */
}

static bool may_read(const struct conn *c)
{
    return !c->paused && !c->draining && !c->finishing && c->session.parked == PARK_NOT;
}

/* Another node answers soon. */
static bool is_soon_back(const struct conn *c)
{
    return c->session.parked == PARK_CALL && !forward_waits_long(&c->session);
}

static unsigned events_needed(const struct conn *c)
{
    unsigned events = out_pending(&c->pending) > 0 || c->session.producer != NULL ? LOOP_WRITE : 0;

    if (c->lingering || may_read(c))
        events |= LOOP_READ;
    /* Who has hung up is not waited for, and nothing is read that would tell. Unless it is soon over: some
     * clients say first that they have no more to say, and then listen. */
    if (c->session.parked != PARK_NOT && !is_soon_back(c))
        events |= LOOP_HANGUP;
    return events;
}

/* Most clients say nothing while they wait, and need not be listened to in another way for a moment; who does
 * say something is made to wait then (on_ready()). */
static void listen_as_needed(struct conn *c)
{
    if (is_guest(c) || (is_soon_back(c) && c->listens_to == LOOP_READ && out_pending(&c->pending) == 0))
        return;
    listen_to(c, events_needed(c));
}

/* ---- accounts ---- */

struct conn *conn_of_burden(struct burden *burden)
{
    return (struct conn *)((uintptr_t)burden - offsetof(struct conn, burden));
}

/* Of the large values among the replies: those that are still in the store are
 * not held by us alone. A guess from the first few, only to find the heaviest. */
static size_t values_held(const struct out *out)
{
    size_t seen = 0, held = 0;

    if (out->pinned_bytes == 0)
        return 0;
    for (size_t i = 0; i < out->pins_len && i < PINS_LOOKED_AT; i++) {
        const struct out_pin *pin = &out->pins[out->pins_len - 1 - i]; /* the first may be sent */

        if (pin->blob == NULL)
            break;
        seen += pin->bytes.len;
        held += pin->bytes.len / atomic_load_explicit(&pin->blob->pins, memory_order_relaxed);
    }
    return seen > 0 ? (size_t)((double)out->pinned_bytes * (double)held / (double)seen) : 0;
}

/* What it keeps: buffers, and what it has said between MULTI and EXEC or watches. */
static size_t all_held(const struct conn *c, size_t *blobs)
{
    size_t replies = c->pending.failed ? 0 : c->pending.cap + c->pending.pins_cap * sizeof(struct out_pin);
    size_t request = c->big != NULL ? sizeof *c->big + c->big->capacity : 0;
    size_t transaction = transaction_holds(&c->session, blobs);
    size_t reply = c->session.producer != NULL ? c->session.producer->held : 0;

    *blobs += request + reply;
    return c->rest_len + request + replies + reply + transaction + c->session.held_bytes +
           (c->session.calls != NULL ? forward_holds(&c->session) : 0) +
           (c->session.gather != NULL ? gather_holds(&c->session) : 0);
}

size_t conn_holds(const struct conn *c)
{
    size_t blobs;

    return all_held(c, &blobs) + values_held(&c->pending);
}

bool conn_is_spared(const struct conn *c)
{
    return atomic_load_explicit(&c->session.shown, memory_order_relaxed) & SHOWN_NO_EVICT;
}

void conn_account(struct conn *c)
{
    struct worker *w = c->worker;
    size_t blob, owned = all_held(c, &blob), burden;

    if (owned == 0 && c->burden.class == 0 && c->begun_ms == 0)
        return; /* holds nothing, as most do most of the time */
    burden = conn_is_spared(c) ? owned != 0 : owned + values_held(&c->pending);
    burden_set(&w->burdens, &c->burden, burden > 0 ? burden : c->begun_ms != 0);
    if (owned == c->owned)
        return;
    if (owned >= c->owned + TELL_BYTES) {
        memory_take(w->server, owned - c->owned);
        w->store_busy = true; /* to make the room now */
        overload_moved(w, owned - c->owned);
    }
    overload_add(w, (int64_t)owned - (int64_t)c->owned, (int64_t)blob - (int64_t)c->owned_blob);
    c->owned = owned;
    c->owned_blob = blob;
}

const char *conn_overdue(const struct conn *c, int64_t ticks_ms, int64_t limit_ms)
{
    if (c->begun_ms != 0 && !c->paused && ticks_ms - c->begun_ms > limit_ms)
        return "request";
    if (c->taken_ms != 0 && ticks_ms - c->taken_ms > limit_ms)
        return "replies";
    return NULL;
}

/* ---- sending ---- */

/* One send; how much went out, 0 when the kernel is full, -1 when the client is gone. */
static ssize_t send_some(struct conn *c, struct out *out)
{
    struct iovec iov[IOVECS];
    struct msghdr message = {.msg_iov = iov};
    ssize_t n;

    if (out->pins_len == 0) {
        n = send(c->session.fd, out->data + out->sent, out->len - out->sent, MSG_NOSIGNAL);
    } else {
        size_t total = 0;

        message.msg_iovlen = (size_t)out_iovecs(out, iov, IOVECS);
        /* A large value in one piece would keep the kernel, and so all our other clients, busy. */
        for (size_t i = 0; i < message.msg_iovlen; i++) {
            if (total + iov[i].iov_len > TURN_BYTES) {
                iov[i].iov_len = TURN_BYTES - total;
                message.msg_iovlen = i + (iov[i].iov_len > 0);
            }
            total += iov[i].iov_len;
        }
        n = sendmsg(c->session.fd, &message, MSG_NOSIGNAL);
    }
    if (n < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? 0 : -1;
    counter_add(c->worker->exec.counters, net_output_bytes, n);
    return n;
}

/* Sends until all is out, the kernel is full or the turn is over. False: the client is gone. */
static bool send_out(struct conn *c, struct out *out)
{
    size_t left = out_pending(out), turn = 0;

    while (left > 0 && turn < TURN_BYTES) {
        ssize_t n = send_some(c, out);

        if (n < 0)
            return false;
        if (n == 0)
            break;
        if ((size_t)n == left && out->pins_len == 0) { /* nearly always */
            out->sent += (size_t)n;
            break;
        }
        out_advance(out, (size_t)n);
        left -= (size_t)n;
        turn += (size_t)n;
    }
    return true;
}

static size_t output_limit(const struct conn *c)
{
    const struct options *o = c->worker->exec.options;

    return c->session.modes & SESSION_SUBSCRIBED ? option_live(o, client_output_buffer_limit_pubsub)
                                                 : option_live(o, client_output_buffer_limit);
}

static bool over_limit(struct conn *c, size_t pending)
{
    size_t limit = output_limit(c);

    if (pending <= limit)
        return false;
    counter_add(c->worker->exec.counters, client_output_limit_closed, 1);
    if (worker_may_log(c->worker))
        log_event(LOG_LEVEL_WARNING, "client_output_limit",
                  "addr=%s pending=%zu limit=%zu: it does not read its replies; closed", c->session.address,
                  pending, limit);
    return true;
}

static size_t high_water(const struct conn *c)
{
    size_t half = option_live(c->worker->exec.options, client_output_buffer_limit) / 2;

    return half < HIGH_WATER ? half : HIGH_WATER;
}

/* One turn's replies are more than may wait, or than there is memory for. Only
 * this client pays: the next one gets an out that works again. */
static void drop_failed(struct conn *c)
{
    struct out *out = &c->worker->out;

    if (out->over) {
        counter_add(c->worker->exec.counters, client_output_limit_closed, 1);
        if (worker_may_log(c->worker))
            log_event(LOG_LEVEL_WARNING, "client_output_limit",
                      "addr=%s limit=%zu: the replies to what it asked at once are longer; closed",
                      c->session.address, out->limit);
    }
    out_clear(out, 0);
}

/* What this turn has answered goes out, or to pending. False: close. */
static bool flush_turn(struct conn *c)
{
    struct out *out = &c->worker->out;
    size_t pending = out_pending(&c->pending);

    if (out->failed) {
        drop_failed(c);
        return false;
    }
    if (pending == 0 && !send_out(c, out)) {
        out_clear(out, WORKER_OUT_KEPT); /* the next connection of this worker begins with nothing */
        return false;
    }
    if (out_pending(out) > 0)
        out_move(&c->pending, out);
    else
        out_clear(out, WORKER_OUT_KEPT);
    if (c->pending.cap == 0 && c->pending.pins_cap == 0)
        return true; /* all is out, and was before */
    pending = out_pending(&c->pending);
    atomic_store_explicit(&c->session.output_bytes, pending, memory_order_relaxed);
    if (c->taken_ms == 0 && pending > 0)
        c->taken_ms = c->worker->ticks_ms;
    c->paused = pending > high_water(c);
    return !c->pending.failed && !over_limit(c, pending);
}

/* ---- the unfinished request ---- */

struct window {
    uint8_t *data;
    size_t len, room; /* bytes that are there, bytes that may be added */
    struct blob *blob;
};

/* Where the next bytes go: behind what is left over. */
static struct window window_open(struct conn *c)
{
    struct worker *w = c->worker;

    if (c->big != NULL)
        return (struct window){c->big->data, c->big_len, c->big->capacity - c->big_len, c->big};
    if (c->rest != NULL)
        memcpy(w->input, c->rest, c->rest_len);
    return (struct window){w->input, c->rest_len, WORKER_INPUT_BYTES - c->rest_len, NULL};
}

static void drop_rest(struct conn *c)
{
    free(c->rest);
    c->rest = NULL;
    c->rest_len = 0;
}

/* A blob that became a value belongs to the store, which has been told. */
static void drop_big(struct conn *c)
{
    if (c->big == NULL)
        return;
    if (c->big->capacity >= TELL_BYTES && atomic_load_explicit(&c->big->pins, memory_order_relaxed) == 1)
        memory_hand_over(c->worker->server, c->big->capacity);
    blob_unpin(&c->big);
}

static bool keep_small(struct conn *c, const uint8_t *data, size_t len)
{
    uint8_t *copy = NULL;

    /* data may be in c->big, never in c->rest */
    if (len > 0 && (copy = malloc(len)) == NULL)
        return false;
    if (len > 0)
        memcpy(copy, data, len);
    drop_big(c);
    drop_rest(c);
    c->rest = copy;
    c->rest_len = len;
    return true;
}

static bool keep_big(struct conn *c, const uint8_t *data, size_t len, size_t capacity)
{
    struct blob *blob = blob_new(capacity);

    if (blob == NULL)
        return false;
    memcpy(blob->data, data, len);
    drop_big(c);
    drop_rest(c);
    c->big = blob;
    c->big_len = len;
    return true;
}

/* Room for a request of `wanted` bytes of which `len` have come. Thirty bytes
 * that announce half a gigabyte must not push the cache out of memory. */
static size_t room_for(size_t len, size_t wanted)
{
    size_t most = len < EAGER_BYTES / 2 ? EAGER_BYTES : 2 * len;

    return wanted < most ? wanted : most;
}

/* The request goes on in the blob where it began. */
static bool keep_in_place(struct conn *c, size_t len, size_t wanted)
{
    size_t capacity = c->big->capacity;

    c->big_len = len;
    if (len < capacity)
        return true;
    /* Length unknown (many small words) or one more large word: double, so
     * that the copying stays linear. */
    bool known = wanted > len + 1;
    struct blob *grown = blob_grow(c->big, known ? room_for(len, wanted) : 2 * capacity);
    if (grown == NULL)
        return false;
    c->big = grown;
    return true;
}

/* A request is unfinished: since when? */
static void note_begun(struct conn *c, bool unfinished, bool another)
{
    if (!unfinished)
        c->begun_ms = 0;
    else if (another || c->begun_ms == 0)
        c->begun_ms = c->worker->ticks_ms;
}

/* Keeps what was not consumed. False when memory is short. */
static bool window_close(struct conn *c, const struct window *in, size_t consumed, size_t wanted)
{
    const uint8_t *data = in->data + consumed;
    size_t len = in->len - consumed;
    bool kept;

    if (len == 0) {
        if (c->rest != NULL || c->big != NULL) {
            drop_big(c);
            drop_rest(c);
            atomic_store_explicit(&c->session.input_bytes, 0, memory_order_relaxed);
        }
        return true;
    }
    if (in->blob != NULL && consumed == 0)
        kept = keep_in_place(c, len, wanted);
    else if (len <= REST_MAX && wanted <= WORKER_INPUT_BYTES)
        kept = keep_small(c, data, len);
    else
        kept = keep_big(c, data, len, wanted > len + 1 ? room_for(len, wanted) : len + BIG_FIRST);
    atomic_store_explicit(&c->session.input_bytes, len, memory_order_relaxed);
    return kept;
}

static bool query_too_long(struct conn *c, size_t len, size_t wanted)
{
    size_t limit = option_live(c->worker->exec.options, client_query_buffer_limit);

    if (len <= limit && wanted <= limit)
        return false;
    counter_add(c->worker->exec.counters, client_query_limit_closed, 1);
    if (worker_may_log(c->worker))
        log_event(LOG_LEVEL_WARNING, "client_query_limit", "addr=%s wanted=%zu limit=%zu: closed",
                  c->session.address, wanted > len ? wanted : len, limit);
    return true;
}

/* ---- waiting ---- */

/* What is not executed stays as it is, and nothing more is read. */
static bool keep_parked(struct conn *c, const struct window *in, size_t consumed)
{
    if (in->blob == NULL || consumed > 0)
        return window_close(c, in, consumed, 0);
    c->big_len = in->len;
    return true;
}

/* When it is looked at again if nobody wakes it. */
static instant wait_end(const struct session *s)
{
    if (s->park_look.ms != 0 && (s->park_until.ms == 0 || is_before(s->park_look, s->park_until)))
        return s->park_look;
    return s->park_until;
}

/* Its request is kept; now it waits. False: close. */
static bool begin_wait(struct conn *c)
{
    struct worker *w = c->worker;
    struct session *s = &c->session;
    instant until = s->parked == PARK_PAUSED ? pause_until(w->server) : wait_end(s);

    if (s->parked != PARK_CALL) {
        atomic_store_explicit(&s->waiting, s->parked == PARK_WAITING, memory_order_relaxed);
        session_show(s, SHOWN_BLOCKED, true);
        atomic_fetch_add_explicit(&w->server->blocked, 1, memory_order_relaxed);
    }
    if (s->parked == PARK_PAUSED && until.ms == 0)
        conn_wake_later(c, PARK_WOKEN); /* it is over already */
    return until.ms == 0 || timers_set(&w->timers, &c->timer, until);
}

/* False: close. */
static bool park(struct conn *c, const struct window *in, size_t consumed)
{
    return begin_wait(c) && keep_parked(c, in, consumed);
}

bool conn_park_guest(struct conn *c, struct slice frame)
{
    if (frame.data != NULL) {
        if ((c->rest = malloc(frame.len)) == NULL) {
            c->session.parked = PARK_NOT; /* it was not yet counted */
            return false;
        }
        memcpy(c->rest, frame.data, frame.len);
        c->rest_len = frame.len;
    }
    if (!begin_wait(c))
        return false;
    conn_account(c);
    return true;
}

/* ---- a turn ---- */

/* There is more to answer, and it has replies to read. Where clients hold too much already it is one of
 * those who have to read first. */
static bool may_go_on(struct conn *c)
{
    conn_account(c);
    if (overload_is_on(c->worker->server) && out_pending(&c->pending) > 0)
        c->paused = true;
    return !c->paused;
}

/* Answers what the window holds. False: close. */
static bool work(struct conn *c, const struct window *window)
{
    struct dispatch_input in = {.data = window->data,
                                .len = window->len,
                                .blob = window->blob,
                                .session = &c->session,
                                .parser = &c->parser};
    enum dispatch_status status;
    size_t used = 0;

    do {
        in.consumed = 0;
        in.wanted = 0;
        c->worker->serving = c;
        status = dispatch(c->worker, &in);
        c->worker->serving = NULL;
        used += in.consumed;
        in.data += in.consumed;
        in.len -= in.consumed;
        if (!flush_turn(c)) {
            c->session.parked = PARK_NOT; /* it was not yet counted */
            return false;
        }
    } while (status == DISPATCH_FULL && !c->paused && c->session.producer == NULL && may_go_on(c));
    if (c->session.producer != NULL)
        c->paused = true; /* the next piece in the next turn: others wait, too */

    if (status == DISPATCH_PARKED)
        return park(c, window, used);
    if (status == DISPATCH_CLOSE) {
        c->draining = true;
        return out_pending(&c->pending) > 0;
    }
    note_begun(c, in.len > 0 || in.swallowing, used > 0 && !in.swallowing);
    return !query_too_long(c, in.len, in.wanted) && window_close(c, window, used, in.wanted);
}

/* The client will send no more: what it has not read yet it may still read. False: close. */
static bool end_of_input(struct conn *c)
{
    c->draining = true;
    return out_pending(&c->pending) > 0;
}

/* Ahead of its turn, a connection that has nothing left over is read from, and
 * the memory of its first key asked for: with many connections that send one
 * request each, they wait for it together. */
static void prepare(struct loop_source *source, enum loop_round round, unsigned nth)
{
    struct conn *c = (struct conn *)source;
    struct worker *w = c->worker;
    uint8_t *stage = w->stage + (size_t)nth * WORKER_STAGE_BYTES;
    ssize_t n;

    if (round == LOOP_SECOND) {
        if (c->staged != NULL && c->staged_hash != 0)
            store_prefetch_item(w->exec.store, c->staged_hash);
        return;
    }
    CHECK(c->staged == NULL);
    if (!may_read(c) || c->rest != NULL || c->big != NULL)
        return;
    n = recv(c->session.fd, stage, WORKER_STAGE_BYTES, 0);
    if (n <= 0)
        return; /* its turn will find out why */
    c->staged = stage;
    c->staged_len = (size_t)n;
    c->staged_hash = dispatch_look_ahead(w, &c->session, stage, (size_t)n);
}

/* The next bytes, behind what is left over: those read ahead, or a look at the socket. As recv(). */
static ssize_t receive(struct conn *c, struct window *in, size_t *asked)
{
    if (c->staged != NULL) {
        *in = (struct window){c->staged, 0, WORKER_STAGE_BYTES, NULL};
        *asked = WORKER_STAGE_BYTES;
        c->staged = NULL;
        return (ssize_t)c->staged_len;
    }
    *in = window_open(c);
    *asked = in->room < TURN_BYTES ? in->room : TURN_BYTES;
    return recv(c->session.fd, in->data + in->len, *asked, 0);
}

static bool read_turn(struct conn *c)
{
    size_t turn = 0;

    atomic_store_explicit(&c->session.last_active_ms, c->worker->now.ms, memory_order_relaxed);
    while (!c->paused && !c->draining && c->session.parked == PARK_NOT) {
        struct window in;
        size_t asked;
        ssize_t n = receive(c, &in, &asked);

        if (n == 0)
            return end_of_input(c);
        if (n < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
        counter_add(c->worker->exec.counters, net_input_bytes, n);
        in.len += (size_t)n;
        turn += (size_t)n;
        if (!work(c, &in))
            return false;
        if ((size_t)n < asked || turn >= TURN_BYTES)
            break;
    }
    return true;
}

/* What a client that must go still sends: not to be lost is what it has not read
 * yet, and the kernel would drop that if it were closed with bytes unread. */
static bool linger_turn(struct conn *c)
{
    ssize_t n = recv(c->session.fd, c->worker->input, WORKER_INPUT_BYTES, 0);

    return n > 0 || (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR));
}

/* All is answered and sent. False: close. */
static bool end_of_output(struct conn *c)
{
    int unread = 0;

    if (ioctl(c->session.fd, FIONREAD, &unread) != 0 || unread == 0)
        return false;
    c->lingering = true;
    return shutdown(c->session.fd, SHUT_WR) == 0;
}

/* The client has caught up: answer what was read before it was made to wait. */
static bool resume(struct conn *c)
{
    c->paused = false;
    if (c->session.parked != PARK_NOT)
        return true;
    if (is_guest(c))
        return guest_resume(c);
    if (c->rest_len == 0 && c->big == NULL && c->session.producer == NULL)
        return true;
    if (c->session.producer != NULL)
        atomic_store_explicit(&c->session.last_active_ms, c->worker->now.ms, memory_order_relaxed);
    struct window in = window_open(c);
    return work(c, &in);
}

/* The node stops: once more, what the client had sent by then. False: close. */
static bool read_last(struct conn *c)
{
    if (c->asked_all || c->paused || c->draining)
        return true;
    c->asked_all = true;
    return read_turn(c);
}

/* All there was to say to it is said: nothing of it waits here, or at other nodes. */
static bool is_answered(const struct conn *c)
{
    return !c->paused && out_pending(&c->pending) == 0 && c->session.parked != PARK_CALL &&
           (c->host == NULL || host_is_idle(c));
}

/* False: close. */
static bool write_turn(struct conn *c)
{
    size_t before = out_pending(&c->pending), pending;

    if (!send_out(c, &c->pending))
        return false;
    pending = out_pending(&c->pending);
    atomic_store_explicit(&c->session.output_bytes, pending, memory_order_relaxed);
    if (pending < before || c->taken_ms == 0) /* it took some, or this is the first that it is told unasked */
        c->taken_ms = c->worker->ticks_ms;
    if (pending == 0) {
        out_free(&c->pending);
        c->taken_ms = 0;
        if (c->draining)
            return false;
    }
    /* One that drains has said its last word: what came behind that is not answered. */
    size_t enough = c->session.producer != NULL ? 0 : high_water(c) / 2;
    if (c->paused && !c->draining && pending <= enough && !resume(c))
        return false;
    if (c->finishing && !read_last(c))
        return false;
    return !c->finishing || !is_answered(c) || end_of_output(c);
}

/* The end of whatever it was that it did. */
static void go_on(struct conn *c, bool alive)
{
    if (!alive) {
        conn_close(c);
        return;
    }
    listen_as_needed(c);
    conn_account(c);
}

static void on_ready(struct loop_source *source, unsigned events)
{
    struct conn *c = (struct conn *)source;
    bool alive = true;

    if (events & LOOP_WRITE)
        alive = write_turn(c);
    if (alive && (events & (LOOP_READ | LOOP_BROKEN))) {
        if (c->lingering)
            alive = linger_turn(c);
        else if (may_read(c))
            alive = read_turn(c);
        else if (events & LOOP_BROKEN)
            alive = false;
        else
            listen_to(c, events_needed(c));
    }
    go_on(c, alive);
}

void conn_retry(struct conn *c)
{
    if (!c->paused || c->draining || c->session.producer != NULL || overload_is_on(c->worker->server) ||
        out_pending(&c->pending) > high_water(c) / 2)
        return;
    go_on(c, resume(c));
}

/* False: close. */
static bool wake(struct conn *c, enum park_outcome outcome)
{
    struct session *s = &c->session;

    if (s->parked == PARK_NOT)
        return true;
    if (s->parked == PARK_WAITING)
        s->outcome = outcome;
    unpark(c);
    if (!c->paused)
        return resume(c) && (!c->finishing || !is_answered(c) || end_of_output(c));
    /* It is looked at again when its client has read: till then others of that key go first. */
    herd_leave(c->worker->server, s);
    return true;
}

static void time_out(struct conn *guest)
{
    if (guest->session.parked == PARK_WAITING)
        conn_wake_later(guest, PARK_TIMED_OUT);
}

void conn_finish(struct conn *c)
{
    bool alive = (c->session.parked != PARK_WAITING || wake(c, PARK_TIMED_OUT)) && read_last(c);

    c->finishing = true;
    if (alive && host_is_link(c))
        guests_each(c, time_out);
    if (alive && is_answered(c))
        alive = !c->draining && end_of_output(c);
    go_on(c, alive);
}

/* ---- unasked ---- */

struct conn *conn_of(struct session *session)
{
    return (struct conn *)((uintptr_t)session - offsetof(struct conn, session));
}

struct out *conn_voice(struct conn *c)
{
    struct worker *w = c->worker;

    if (w->serving == c && c->session.replies == REPLY_ON)
        return &w->out;
    touch(c);
    return out_pending(&c->pending) <= output_limit(c) ? &c->pending : NULL;
}

void conn_wake_later(struct conn *c, enum park_outcome outcome)
{
    c->woken = true;
    c->outcome = outcome;
    touch(c);
}

bool conn_speak(struct conn *c)
{
    bool woken = c->woken, alive = !c->pending.failed;

    untouch(c);
    c->woken = false;
    if (alive && out_pending(&c->pending) > 0)
        alive = write_turn(c) && !over_limit(c, out_pending(&c->pending));
    if (alive && woken)
        alive = wake(c, c->outcome);
    go_on(c, alive);
    return woken;
}

static void on_timer(struct timer *timer)
{
    struct conn *c = (struct conn *)((uintptr_t)timer - offsetof(struct conn, timer));
    const struct session *s = &c->session;

    if (host_is_link(c)) { /* and has not proven in time who it is */
        counter_add(c->worker->exec.counters, link_handshakes_failed, 1);
        conn_close(c);
        return;
    }
    bool over = s->parked != PARK_WAITING || (s->park_until.ms != 0 && !is_before(timer->due, s->park_until));

    go_on(c, wake(c, over ? PARK_TIMED_OUT : PARK_WOKEN));
}

bool conn_may_idle(const struct conn *c)
{
    return c->session.parked != PARK_NOT || c->host != NULL ||
           (c->session.modes & (SESSION_SUBSCRIBED | SESSION_MONITOR));
}

void conn_flush_at_exit(struct conn *c)
{
    if (out_pending(&c->pending) > 0)
        send_out(c, &c->pending);
}
