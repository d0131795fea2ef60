#include "server/origin/origin.h"

#include <stdlib.h>

#include "server/check.h"
#include "server/log.h"
#include "server/origin/backoff.h"

enum { PROBE_LOOK_MS = 20 }; /* at how the one that is let through has ended */

int64_t origin_ticks_ms(void)
{
    return clock_ticks_ns() / 1000000;
}

/* ---- life ---- */

struct origin *origin_new(struct origin_rules **rules, const struct options *options, struct loop *loop,
                          struct timers *timers)
{
    struct origin *o = *rules != NULL ? calloc(1, sizeof *o) : NULL;

    if (o == NULL) {
        origin_rules_free(rules);
        return NULL;
    }
    o->rules = *rules;
    *rules = NULL;
    o->rule = o->rules->rules[0];
    o->options = options;
    o->loop = loop;
    o->timers = timers;
    o->bulkhead.most = (unsigned)o->rule.in_flight;
    o->dice = (uint64_t)clock_ticks_ns() | 1;
    atomic_init(&o->pins, 1);
    return o;
}

void origin_pin(struct origin *o)
{
    atomic_fetch_add_explicit(&o->pins, 1, memory_order_relaxed);
}

void origin_unpin(struct origin **origin)
{
    struct origin *o = *origin;

    *origin = NULL;
    if (o == NULL || atomic_fetch_sub_explicit(&o->pins, 1, memory_order_acq_rel) > 1)
        return;
    CHECK(o->bulkhead.inside == 0 && o->bulkhead.waiting == 0);
    backend_free(&o->backend);
    origin_rules_free(&o->rules);
    free(o);
}

/* ---- any thread ---- */

enum origin_place origin_reserve(struct origin *o)
{
    int64_t shut = atomic_load_explicit(&o->shut_until_ms, memory_order_relaxed);
    unsigned most = (unsigned)o->rule.in_flight + (unsigned)option_live(o->options, origin_queue_limit);

    if (shut != 0 && origin_ticks_ms() < shut) {
        origin_count(o, refused_breaker);
        return PLACE_SHUT;
    }
    if (atomic_fetch_add_explicit(&o->jobs, 1, memory_order_relaxed) < most)
        return PLACE_KEPT;
    origin_unreserve(o);
    origin_count(o, refused_bulkhead);
    return PLACE_FULL;
}

void origin_keep(struct origin *o)
{
    atomic_fetch_add_explicit(&o->jobs, 1, memory_order_relaxed);
}

void origin_unreserve(struct origin *o)
{
    atomic_fetch_sub_explicit(&o->jobs, 1, memory_order_relaxed);
}

int64_t origin_patience_ms(const struct origin *o)
{
    unsigned retries = (unsigned)o->rule.retries;

    return (int64_t)o->rule.timeout_ms * (retries + 1) +
           backoff_most_ms(retries, option_live(o->options, origin_retry_base_ms),
                           option_live(o->options, origin_retry_max_ms));
}

/* ---- the breaker, as others see it ---- */

static void show_breaker(struct origin *o)
{
    int64_t shut = o->breaker.state == BREAKER_OPEN ? o->breaker.until_ms : 0;

    atomic_store_explicit(&o->shut_until_ms, shut, memory_order_relaxed);
    atomic_store_explicit(&o->breaker_shown, (int)o->breaker.state, memory_order_relaxed);
}

static void note_success(struct origin *o)
{
    breaker_succeeded(&o->breaker);
    show_breaker(o);
}

static void note_failure(struct origin *o)
{
    enum breaker_state before = o->breaker.state;

    breaker_failed(&o->breaker, origin_ticks_ms(), (unsigned)option_live(o->options, origin_breaker_failures),
                   option_live(o->options, origin_breaker_open_ms));
    show_breaker(o);
    if (o->breaker.state == BREAKER_OPEN && before == BREAKER_CLOSED)
        log_event(LOG_LEVEL_WARNING, "origin_breaker_open", "origin=%s failures=%u: asked again in %lld ms",
                  o->rule.shown, o->breaker.in_a_row, (long long)(o->breaker.until_ms - origin_ticks_ms()));
}

static void note_latency(struct origin *o, int64_t ns)
{
    uint64_t *at = &o->latency[figures_bucket(ns > 0 ? (uint64_t)ns : 1)];

    __atomic_store_n(at, *at + 1, __ATOMIC_RELAXED);
}

/* ---- a job ---- */

static void set_timer(struct job *job, int64_t due_ms)
{
    if (!timers_set(job->origin->timers, &job->timer, (instant){due_ms}))
        job_give_up(job, "out of memory");
}

/* Where it is, it is no longer. */
static void leave(struct job *job)
{
    struct origin *o = job->origin;

    timers_cancel(o->timers, &job->timer);
    switch (job->state) {
    case JOB_NEW:
    case JOB_BACKING_OFF: break;
    case JOB_IN_LINE: bulkhead_leave_line(&o->bulkhead, &job->in_line); break;
    case JOB_RUNNING: bulkhead_done(&o->bulkhead); break;
    }
    job->state = JOB_NEW;
    atomic_store_explicit(&o->in_flight, o->bulkhead.inside, memory_order_relaxed);
}

/* For good. The job is its owner's again. */
static void end(struct job *job, const struct answer *answer)
{
    struct origin *o = job->origin;

    leave(job);
    if (answer->kind == ANSWER_FAILED || answer->kind == ANSWER_REFUSED)
        origin_count(o, failures);
    if (!job->patient)
        origin_unreserve(o);
    job->ended(job, answer);
}

static void fail(struct job *job, const char *why)
{
    struct answer answer = {.kind = ANSWER_FAILED, .why = why};

    end(job, &answer);
}

void job_give_up(struct job *job, const char *why)
{
    if (job->state == JOB_RUNNING) {
        backend_cancel(job->origin->backend, &job->call);
        breaker_forgotten(&job->origin->breaker);
    }
    fail(job, why);
}

static void line_up(struct job *job)
{
    job->state = JOB_IN_LINE;
    bulkhead_queue(&job->origin->bulkhead, &job->in_line);
    if (!job->patient)
        set_timer(job, job->deadline_ms);
}

/* Whether it is worth trying again, and if so when. */
static bool back_off(struct job *job)
{
    struct origin *o = job->origin;
    unsigned tried = job->tries - 1;
    int64_t now = origin_ticks_ms(), wait;

    if (!job->patient && (tried >= (unsigned)o->rule.retries || o->breaker.state == BREAKER_OPEN))
        return false;
    o->dice = o->dice * 6364136223846793005u + 1442695040888963407u;
    wait = backoff_ms(tried < 32 ? tried : 32, option_live(o->options, origin_retry_base_ms),
                      option_live(o->options, origin_retry_max_ms), o->dice >> 33);
    if (!job->patient && now + wait >= job->deadline_ms)
        return false;
    origin_count(o, retries);
    leave(job);
    job->state = JOB_BACKING_OFF;
    set_timer(job, now + wait);
    return true;
}

static void on_answer(struct call *call, const struct answer *answer)
{
    struct job *job = (struct job *)call;
    struct origin *o = job->origin;

    if (answer->kind == ANSWER_FAILED) {
        note_failure(o);
        if (!back_off(job))
            end(job, answer);
        return;
    }
    note_latency(o, clock_ticks_ns() - job->began_ns);
    note_success(o);
    end(job, answer);
}

static void time_out(struct job *job)
{
    struct origin *o = job->origin;

    backend_cancel(o->backend, &job->call);
    origin_count(o, timeouts);
    note_failure(o);
    if (!back_off(job))
        fail(job, "it took too long");
}

static void on_timer(struct timer *timer)
{
    struct job *job = (struct job *)((uintptr_t)timer - offsetof(struct job, timer));

    switch (job->state) {
    case JOB_RUNNING: time_out(job); return;
    case JOB_IN_LINE: fail(job, "too many requests are ahead"); return;
    case JOB_BACKING_OFF: line_up(job); return;
    case JOB_NEW: break;
    }
    CHECK_UNREACHABLE();
}

/* It is inside: let go, or turned away. */
static void try_it(struct job *job)
{
    struct origin *o = job->origin;
    int64_t now = origin_ticks_ms(), until = now + o->rule.timeout_ms;

    job->state = JOB_RUNNING;
    atomic_store_explicit(&o->in_flight, o->bulkhead.inside, memory_order_relaxed);
    if (!breaker_asks(&o->breaker, now)) {
        if (job->patient) {
            leave(job);
            job->state = JOB_BACKING_OFF;
            set_timer(job, o->breaker.state == BREAKER_OPEN ? o->breaker.until_ms : now + PROBE_LOOK_MS);
            return;
        }
        origin_count(o, refused_breaker);
        fail(job, "it has failed too often; asked again soon");
        return;
    }
    show_breaker(o);
    job->tries++;
    job->began_ns = clock_ticks_ns();
    if (!job->patient && until > job->deadline_ms)
        until = job->deadline_ms;
    if (o->backend == NULL)
        o->backend = backend_new(&o->rule, o->loop, o->timers, o->options->max_item_size);
    if (o->backend == NULL) {
        breaker_forgotten(&o->breaker);
        fail(job, "out of memory");
        return;
    }
    if (!timers_set(o->timers, &job->timer, (instant){until})) {
        breaker_forgotten(&o->breaker);
        fail(job, "out of memory");
        return;
    }
    backend_start(o->backend, &job->call);
}

void origin_begin(struct job *job)
{
    job->call.ended = on_answer;
    job->timer.fire = on_timer;
    job->state = JOB_NEW;
    if (!job->patient)
        job->deadline_ms = origin_ticks_ms() + origin_patience_ms(job->origin);
    line_up(job);
}

void origin_pump(struct origin *o)
{
    struct in_line *one;

    while ((one = bulkhead_next(&o->bulkhead)) != NULL)
        try_it((struct job *)((uintptr_t)one - offsetof(struct job, in_line)));
}
