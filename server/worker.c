#include "server/worker.h"

#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "server/check.h"
#include "server/listener.h"
#include "server/server.h"
#include "server/lookout.h"

enum {
    SWEEP_MS = 1000,           /* how often idle connections are looked for */
    TICK_US = 300,             /* of upkeep at a time: no client waits longer for it */
    CLOCK_JUMP_MS = 60 * 1000, /* the wall clock was set back: start the timers anew */
};

/* ---- inbox ---- */

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
        if (!conn_open(c, w))
            atomic_fetch_sub_explicit(&w->server->clients, 1, memory_order_relaxed);
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
        if (!conn_open(c, w))
            atomic_fetch_sub_explicit(&w->server->clients, 1, memory_order_relaxed);
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
    if (w->exec.local == NULL || (w->loop = loop_new()) == NULL || (w->batch = batch_new()) == NULL ||
        (w->figures = figures_new()) == NULL || (w->input = malloc(WORKER_INPUT_BYTES)) == NULL)
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
    CHECK(w->conns == NULL);
    if (w->inbox.eventfd >= 0)
        close(w->inbox.eventfd);
    pthread_mutex_destroy(&w->inbox.lock);
    loop_free(&w->loop);
    batch_free(&w->batch);
    figures_free(&w->figures);
    out_free(&w->out);
    free(w->input);
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
        if (w->now.ms - active <= timeout_ms)
            continue;
        counter_add(&w->counters, client_idle_closed, 1);
        conn_close(c);
    }
}

static void tick_store(struct worker *w, unsigned budget_us)
{
    uint64_t began = ticks_now();

    w->store_busy = store_tick(w->exec.store, w->index, w->now, budget_us);
    lookout_upkeep(w->server->lookout, w->now, ticks_to_ns(ticks_between(began, ticks_now())));
}

/* Periodic work that is due. */
static void worker_tick(struct worker *w)
{
    int64_t period = 1000 / option_live(w->exec.options, hz);
    unsigned budget = TICK_US * (unsigned)option_live(w->exec.options, active_expire_effort);

    if (w->next_tick_ms - w->now.ms > CLOCK_JUMP_MS)
        w->next_tick_ms = w->next_sweep_ms = w->now.ms;
    if (w->store_busy || w->now.ms >= w->next_tick_ms)
        tick_store(w, budget);
    if (w->now.ms < w->next_tick_ms)
        return;
    w->next_tick_ms = w->now.ms + (period > 0 ? period : 1);
    if (w->now.ms >= w->next_sweep_ms) {
        w->next_sweep_ms = w->now.ms + SWEEP_MS;
        close_idle(w);
        batch_trim(w->batch);
    }
    if (w->index == 0)
        server_tick(w->server, w->now);
}

/* ---- the loop ---- */

static int sleep_ms(const struct worker *w)
{
    int64_t left = w->next_tick_ms - w->now.ms;

    if (w->store_busy || left <= 0)
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

static void close_all(struct worker *w)
{
    open_arrived(w);
    while (w->conns != NULL) {
        conn_flush_at_exit(w->conns);
        conn_close(w->conns);
    }
}

void worker_run(struct worker *w)
{
    int n = 0;

    w->now = w->exec.now = clock_now();
    while (!stopping(w)) {
        n = wait_for_work(w, n > 0);
        w->now = w->exec.now = clock_now();
        loop_run(w->loop, n);
        close_killed(w);
        if (w->store_busy || w->now.ms >= w->next_tick_ms || w->next_tick_ms - w->now.ms > CLOCK_JUMP_MS)
            worker_tick(w);
    }
    close_all(w);
}
