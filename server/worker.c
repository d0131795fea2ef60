#include "server/worker.h"

#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "server/check.h"
#include "server/cluster/handover.h"
#include "server/cluster/link.h"
#include "server/listener.h"
#include "server/log.h"
#include "server/overload.h"
#include "server/peers.h"
#include "server/push.h"
#include "server/server.h"
#include "server/lookout.h"

enum {
    SWEEP_MS = 1000,    /* how often idle connections are looked for */
    TICK_US = 300,      /* of upkeep at a time: no client waits longer for it */
    DRAIN_WAIT_MS = 50, /* at most, between two looks at whether time is over */
    LINGER_MS = 1000,   /* for those who keep sending after their last reply */
    LOG_LINES = 10,     /* about clients, a second */
    LOG_MS = 1000,
    WOKEN_AT_ONCE = 32,        /* parked requests, before all others get their turn */
    REQUEST_LEAST = 64 * 1024, /* what a request may always have, however short memory is */
};

/* ---- inbox ---- */

static void open_conn(struct worker *w, struct conn *c)
{
    bool is_client = c->session.dialect != DIALECT_PEER;

    if (conn_open(c, w)) {
        if (w->finishing)
            conn_finish(c);
    } else if (is_client) {
        atomic_fetch_sub_explicit(&w->server->clients, 1, memory_order_relaxed);
    } else {
        atomic_fetch_sub_explicit(&w->server->links, 1, memory_order_relaxed);
    }
}

static void open_arrived(struct worker *w)
{
    struct conn *c;

    pthread_mutex_lock(&w->inbox.lock);
    c = w->inbox.arrived;
    w->inbox.arrived = NULL;
    pthread_mutex_unlock(&w->inbox.lock);
    while (c != NULL) {
        struct conn *next = c->next;

        c->next = NULL;
        open_conn(w, c);
        c = next;
    }
}

static void on_wake(struct loop_source *source, unsigned events)
{
    struct worker_inbox *inbox = (struct worker_inbox *)source;
    struct worker *w = (struct worker *)((uintptr_t)inbox - offsetof(struct worker, inbox));
    eventfd_t ignored;

    (void)events;
    eventfd_read(inbox->eventfd, &ignored);
    open_arrived(w);
}

void worker_wake(struct worker *w)
{
    eventfd_write(w->inbox.eventfd, 1);
}

void worker_adopt(struct worker *w, struct conn *c)
{
    struct worker_inbox *inbox = &w->inbox;
    bool first;

    if (w->index == 0) { /* the caller's own: no hand-over */
        open_conn(w, c);
        return;
    }
    pthread_mutex_lock(&inbox->lock);
    first = inbox->arrived == NULL;
    c->next = inbox->arrived;
    inbox->arrived = c;
    pthread_mutex_unlock(&inbox->lock);
    if (first)
        worker_wake(w);
}

void worker_notice_killed(struct worker *w)
{
    /* Pairs with the acquire exchange in close_killed(): the marks are seen with it. */
    atomic_store_explicit(&w->inbox.killed_some, true, memory_order_release);
    worker_wake(w);
}

void worker_notice_overload(struct worker *w)
{
    if (!atomic_exchange_explicit(&w->inbox.overloaded, true, memory_order_relaxed))
        worker_wake(w);
}

/* ---- logging ---- */

bool worker_may_log(struct worker *w)
{
    struct worker_log *log = &w->log;

    if (w->ticks_ms - log->since_ms > LOG_MS) {
        if (log->missed > 0)
            log_event(LOG_LEVEL_WARNING, "log_lines_left_out", "lines=%u worker=%u", log->missed, w->index);
        *log = (struct worker_log){.since_ms = w->ticks_ms};
    }
    if (log->lines < LOG_LINES) {
        log->lines++;
        return true;
    }
    log->missed++;
    return false;
}

/* ---- life ---- */

static void fill_exec(struct worker *w)
{
    w->exec = (struct exec){
        .server = w->server,
        .worker = w,
        .store = w->server->store,
        .local = store_local_new(w->server->store),
        .counters = &w->counters,
        .options = &w->server->options,
        .out = &w->out,
    };
}

struct worker *worker_new(struct server *server, unsigned index)
{
    struct worker *w = aligned_alloc(COUNTERS_ALIGN, sizeof *w);

    if (w == NULL)
        return NULL;
    *w =
        (struct worker){.server = server, .index = index, .inbox.eventfd = -1, .inbox.source.ready = on_wake};
    pthread_mutex_init(&w->inbox.lock, NULL);
    fill_exec(w);
    if (w->exec.local != NULL)
        store_local_set_owner(w->exec.local, &w->exec);
    if (w->exec.local == NULL || (w->loop = loop_new()) == NULL || (w->batch = batch_new()) == NULL ||
        (w->figures = figures_new()) == NULL || (w->input = malloc(WORKER_INPUT_BYTES)) == NULL ||
        (w->stage = malloc((size_t)LOOP_GROUP * WORKER_STAGE_BYTES)) == NULL ||
        (server->options.cluster_enabled && (w->links = links_new(w)) == NULL))
        goto fail;
    if ((w->inbox.eventfd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) < 0 ||
        !loop_add(w->loop, w->inbox.eventfd, LOOP_READ, &w->inbox.source))
        goto fail;
    return w;
fail:
    worker_free(&w);
    return NULL;
}

void worker_free(struct worker **worker)
{
    struct worker *w = *worker;

    *worker = NULL;
    if (w == NULL)
        return;
    CHECK(w->conns == NULL && w->pushes == NULL);
    links_free(&w->links);
    post_box_clear(&w->inbox.post);
    post_box_clear(&w->outbox);
    post_box_clear(&w->opening);
    out_free(&w->bcast);
    timers_free(&w->timers);
    while (w->inbox.arrived != NULL) { /* dealt to it after it had left */
        struct conn *next = w->inbox.arrived->next;

        peers_leave(w->server->peers, &w->inbox.arrived->peer);
        conn_close(w->inbox.arrived);
        w->inbox.arrived = next;
    }
    if (w->inbox.eventfd >= 0)
        close(w->inbox.eventfd);
    pthread_mutex_destroy(&w->inbox.lock);
    loop_free(&w->loop);
    batch_free(&w->batch);
    figures_free(&w->figures);
    out_free(&w->out);
    free(w->input);
    free(w->stage);
    routes_unpin(&w->routes.routes);
    store_local_free(&w->exec.local);
    free(w);
}

/* ---- upkeep ---- */

static void close_killed(struct worker *w)
{
    struct conn *next;

    if (!atomic_load_explicit(&w->inbox.killed_some, memory_order_relaxed) ||
        !atomic_exchange_explicit(&w->inbox.killed_some, false, memory_order_acquire))
        return;
    for (struct conn *c = w->conns; c != NULL; c = next) {
        next = c->next;
        if (atomic_load_explicit(&c->session.killed, memory_order_relaxed))
            conn_close(c);
    }
}

static void close_idle(struct worker *w)
{
    int64_t timeout_ms = (int64_t)option_live(w->exec.options, timeout) * 1000;
    struct conn *next;

    if (timeout_ms == 0)
        return;
    for (struct conn *c = w->conns; c != NULL; c = next) {
        int64_t active = atomic_load_explicit(&c->session.last_active_ms, memory_order_relaxed);

        next = c->next;
        if (w->now.ms - active <= timeout_ms || conn_may_idle(c))
            continue;
        counter_add(&w->counters, client_idle_closed, 1);
        conn_close(c);
    }
}

static void tick_store(struct worker *w, unsigned budget_us)
{
    uint64_t began = ticks_now();

    store_local_tick(w->exec.local, w->now);
    w->store_busy = store_tick(w->exec.store, w->index, w->now, budget_us);
    lookout_upkeep(w->server->lookout, w->now, ticks_to_ns(ticks_between(began, ticks_now())));
}

static void close_overdue(struct worker *w)
{
    int64_t limit_ms = (int64_t)option_live(w->exec.options, client_request_timeout) * 1000;
    struct burden *next;

    for (struct burden *b = burden_first(&w->burdens); b != NULL; b = next) {
        struct conn *c = conn_of_burden(b);
        const char *late = limit_ms > 0 ? conn_overdue(c, w->ticks_ms, limit_ms) : NULL;

        next = burden_next(&w->burdens, b);
        if (late == NULL) {
            conn_account(c); /* others may have let go of values that it waits for */
            conn_retry(c);
            continue;
        }
        counter_add(&w->counters, client_request_timeout_closed, 1);
        if (worker_may_log(w))
            log_event(LOG_LEVEL_NOTICE, "client_request_timeout", "addr=%s waiting_for=%s held=%zu: closed",
                      c->session.address, late, conn_holds(c));
        conn_close(c);
    }
}

/* Whoever was idle for a minute is so still when somebody sets the clock. */
static void follow_clock(struct worker *w)
{
    int64_t step = clock_watch_step(&w->watch, w->now, w->ticks_ms);

    if (step == 0)
        return;
    for (struct conn *c = w->conns; c != NULL; c = c->next) {
        int64_t active = atomic_load_explicit(&c->session.last_active_ms, memory_order_relaxed);
        int64_t moved = clock_moved(active, step, w->now.ms);

        atomic_store_explicit(&c->session.last_active_ms, moved, memory_order_relaxed);
    }
    if (w->index == 0)
        log_event(LOG_LEVEL_WARNING, "clock_set", "step_ms=%lld", (long long)step);
}

void worker_set_limits(struct worker *w)
{
    uint64_t clients = server_client_bytes_max(w->server), held = server_client_bytes(w->server);
    size_t replies = option_live(w->exec.options, client_output_buffer_limit);
    size_t request = w->exec.options->max_item_size;

    if (clients != 0) {
        uint64_t left = clients > held ? clients - held : 0;

        if (replies > clients)
            replies = (size_t)clients;
        if (request > left)
            request = left > REQUEST_LEAST ? (size_t)left : REQUEST_LEAST;
    }
    w->out.limit = replies;
    w->request_max = request;
}

/* Periodic work that is due. */
static void worker_tick(struct worker *w)
{
    int64_t period = 1000 / option_live(w->exec.options, hz);
    unsigned budget = TICK_US * (unsigned)option_live(w->exec.options, active_expire_effort);

    if (w->store_busy || w->ticks_ms >= w->next_tick_ms)
        tick_store(w, budget);
    if (w->ticks_ms < w->next_tick_ms)
        return;
    w->next_tick_ms = w->ticks_ms + (period > 0 ? period : 1);
    worker_set_limits(w);
    if (w->ticks_ms >= w->next_sweep_ms) {
        w->next_sweep_ms = w->ticks_ms + SWEEP_MS;
        follow_clock(w);
        close_idle(w);
        close_overdue(w);
        batch_trim(w->batch);
    }
    if (w->index == 0) {
        handover_tick(w);
        if (w->links != NULL)
            links_keep(w->links);
        server_tick(w->server, w->now);
    }
}

/* ---- the loop ---- */

static int sleep_ms(const struct worker *w)
{
    int64_t left = w->next_tick_ms - w->ticks_ms;

    if (timers_some(&w->timers) && timers_next(&w->timers).ms - w->now.ms < left)
        left = timers_next(&w->timers).ms - w->now.ms;
    if (w->store_busy || w->touched != NULL || left <= 0 || push_waits(w) ||
        (w->links != NULL && links_wait(w->links)))
        return 0;
    return left < SWEEP_MS ? (int)left : SWEEP_MS;
}

/* Looks for more work for a while before sleeping: busy-poll-us. */
static int wait_for_work(struct worker *w, bool was_busy)
{
    int64_t spin_ns = (int64_t)option_live(w->exec.options, busy_poll_us) * 1000;
    int64_t start;
    int n;

    if (spin_ns > 0 && was_busy) {
        start = clock_ticks_ns();
        do {
            if ((n = loop_wait(w->loop, 0)) > 0)
                return n;
        } while (clock_ticks_ns() - start < spin_ns);
    }
    return loop_wait(w->loop, sleep_ms(w));
}

static bool stopping(const struct worker *w)
{
    /* Pairs with the release store in server_stop(). */
    return atomic_load_explicit(&w->server->stopping, memory_order_acquire);
}

static void shed_if_told(struct worker *w)
{
    if (!atomic_load_explicit(&w->inbox.overloaded, memory_order_relaxed))
        return;
    atomic_store_explicit(&w->inbox.overloaded, false, memory_order_relaxed);
    overload_shed(w);
}

static void speak_to_touched(struct worker *w, unsigned *woken)
{
    while (w->touched != NULL && *woken < WOKEN_AT_ONCE)
        *woken += conn_speak(w->touched);
    w->said_bytes = 0;
}

/* What others, or our own clients, had to tell our clients. A little at a time:
 * a message to ten thousand who do not read is to fill no memory before they
 * are found out, and a thousand whose wait is over are not to hold up the rest. */
static void speak_unasked(struct worker *w)
{
    unsigned woken = 0;

    while (push_waits(w) && woken < WOKEN_AT_ONCE) {
        push_deliver(w);
        speak_to_touched(w, &woken);
        shed_if_told(w);
        if (overload_is_on(w->server))
            break; /* another worker has to shed first */
    }
    speak_to_touched(w, &woken);
    if (timers_some(&w->timers))
        timers_run(&w->timers, w->now);
}

static void look_at_clock(struct worker *w)
{
    w->now = w->exec.now = clock_now();
    w->ticks_ms = clock_ticks_ms();
}

static void turn(struct worker *w, int n)
{
    loop_run(w->loop, n);
    speak_unasked(w);
    close_killed(w);
    shed_if_told(w);
    if (w->links != NULL)
        links_turn(w->links);
}

/* Who only keeps sending does not keep us. */
static bool waits_for_replies(const struct worker *w)
{
    for (const struct conn *c = w->conns; c != NULL; c = c->next) {
        if (!c->lingering)
            return true;
    }
    return false;
}

/* Answers what clients have asked so far, and gives them time to take it. */
static void finish_all(struct worker *w)
{
    int64_t limit_ms = (int64_t)option_live(w->exec.options, shutdown_timeout) * 1000;
    int64_t started = w->ticks_ms, lingering = 0;
    struct conn *next;

    w->finishing = true;
    open_arrived(w);
    for (struct conn *c = w->conns; c != NULL; c = next) {
        next = c->next;
        conn_finish(c);
    }
    while (w->conns != NULL && w->ticks_ms - started < limit_ms &&
           !atomic_load_explicit(&w->server->stopping_now, memory_order_relaxed)) {
        int n = loop_wait(w->loop, DRAIN_WAIT_MS);

        look_at_clock(w);
        turn(w, n);
        if (waits_for_replies(w))
            lingering = w->ticks_ms;
        else if (w->ticks_ms - (lingering > 0 ? lingering : started) > LINGER_MS)
            break;
    }
}

static void close_all(struct worker *w)
{
    unsigned left = 0;

    for (const struct conn *c = w->conns; c != NULL; c = c->next)
        left += !c->lingering;
    if (left > 0)
        log_event(LOG_LEVEL_NOTICE, "clients_cut_off", "clients=%u worker=%u: shutdown-timeout is over", left,
                  w->index);
    while (w->conns != NULL) {
        conn_flush_at_exit(w->conns);
        conn_close(w->conns);
    }
}

void worker_run(struct worker *w)
{
    int n = 0;

    post_set_me(w);
    look_at_clock(w);
    worker_set_limits(w);
    while (!stopping(w)) {
        n = wait_for_work(w, n > 0);
        look_at_clock(w);
        turn(w, n);
        if (w->store_busy || w->ticks_ms >= w->next_tick_ms)
            worker_tick(w);
        push_flush(w);
    }
    if (w->index == 0)
        listeners_close(w->server);
    finish_all(w);
    close_all(w);
}
