#include "server/origin/origins.h"

#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "config.h"
#include "server/check.h"
#include "server/glob.h"
#include "server/log.h"
#include "server/origin/origins_private.h"
#include "server/origin/writes.h"
#include "server/server.h"

enum { WAIT_MS = 500 };

/* ---- rules ---- */

struct origin *origins_match(struct origins *os, struct slice name)
{
    struct origin *found = NULL;

    pthread_mutex_lock(&os->lock);
    for (unsigned i = 0; i < os->len && found == NULL; i++) {
        if (glob_matches(slice_of(os->all[i]->rule.glob), name))
            found = os->all[i];
    }
    if (found != NULL)
        origin_pin(found);
    pthread_mutex_unlock(&os->lock);
    return found;
}

static struct origin *take_same(struct origins *os, const struct origin_rule *rule)
{
    for (unsigned i = 0; i < os->len; i++) {
        if (os->all[i] != NULL && origin_rule_equals(&os->all[i]->rule, rule)) {
            struct origin *same = os->all[i];

            os->all[i] = NULL;
            return same;
        }
    }
    return NULL;
}

static unsigned count_retired(const struct origins *os)
{
    unsigned n = 0;

    for (unsigned i = 0; i < ORIGIN_RULES_MAX; i++)
        n += os->retired[i] != NULL;
    return n;
}

/* The thread lets go of it once nobody uses it any more. */
static void retire(struct origins *os, struct origin *o)
{
    for (unsigned i = 0; i < ORIGIN_RULES_MAX; i++) {
        if (os->retired[i] == NULL) {
            os->retired[i] = o;
            return;
        }
    }
    CHECK_UNREACHABLE();
}

static bool takes_writes(const struct origin_rules *rules)
{
    bool takes = false;

    for (unsigned i = 0; i < rules->len; i++)
        takes |= rules->rules[i].write != ORIGIN_WRITE_OFF;
    return takes;
}

/* Under the lock. */
static const char *replace_all(struct origins *os, const struct origin_rules *rules)
{
    struct origin *fresh[ORIGIN_RULES_MAX] = {0};
    bool good = true;

    if (count_retired(os) + os->len > ORIGIN_RULES_MAX)
        return "origins were changed just now, and the old ones are still in use: try again";
    for (unsigned i = 0; i < rules->len && good; i++) {
        struct origin_rules *own = origin_rules_of(&rules->rules[i]);

        fresh[i] = origin_new(&own, &os->server->options, os->loop, &os->timers);
        good = fresh[i] != NULL;
    }
    for (unsigned i = 0; i < rules->len; i++) {
        struct origin *same = good ? take_same(os, &rules->rules[i]) : NULL;

        if (same != NULL || !good)
            origin_unpin(&fresh[i]); /* which nobody has used */
        if (same != NULL)
            fresh[i] = same;
    }
    if (!good)
        return "out of memory";
    for (unsigned i = 0; i < os->len; i++) {
        if (os->all[i] != NULL)
            retire(os, os->all[i]);
    }
    memcpy(os->all, fresh, sizeof fresh);
    atomic_store_explicit(&os->takes_writes, takes_writes(rules), memory_order_relaxed);
    os->len = rules->len;
    return NULL;
}

/* What the rules need and this process has not. */
static const char *missing(const struct origin_rules *rules)
{
#ifdef CORRAL_CURL
    for (unsigned i = 0; i < rules->len; i++) {
        if (rules->rules[i].kind == ORIGIN_HTTP)
            return backend_http_missing();
    }
#else
    (void)rules; /* one that needs it was refused */
#endif
    return NULL;
}

/* A guard is one key, which one node of a cluster has: the writes of the others would not be in
 * it, and when their keys come to that node, it would hide what they wrote. */
static bool guards_in_cluster(const struct server *server, const struct origin_rules *rules)
{
    bool guards = false;

    for (unsigned i = 0; i < rules->len; i++)
        guards |= rules->rules[i].guard != NULL;
    return guards && server->options.cluster_enabled;
}

static const char *apply(struct server *server)
{
    static _Thread_local char err[OPTION_ERROR_MAX];
    struct origins *os = server->origins;
    struct origin_rules *rules = origin_rules_new(server->options.origin, err, sizeof err);
    const char *why;

    if (rules == NULL)
        return err;
    why = guards_in_cluster(server, rules)
              ? "a node of a cluster can have no guard: it would not hear of the other nodes' writes"
              : missing(rules);
    if (why != NULL) {
        origin_rules_free(&rules);
        return why;
    }
    pthread_mutex_lock(&os->lock);
    why = replace_all(os, rules);
    pthread_mutex_unlock(&os->lock);
    if (why == NULL && rules->len > 0)
        atomic_fetch_or(&server->modes, SERVER_ORIGINS);
    else if (why == NULL)
        atomic_fetch_and(&server->modes, ~(unsigned)SERVER_ORIGINS);
    origin_rules_free(&rules);
    return why;
}

/* ---- the thread ---- */

void origins_wake_thread(struct origins *os)
{
    eventfd_write(os->eventfd, 1);
}

static void on_wake(struct loop_source *source, unsigned events)
{
    struct origins *os = (struct origins *)source;
    eventfd_t ignored;

    (void)events;
    eventfd_read(os->eventfd, &ignored);
}

static void unlink_fetch(struct fetch *f)
{
    if (f->prev != NULL)
        f->prev->next = f->next;
    else
        f->origins->fetches = f->next;
    if (f->next != NULL)
        f->next->prev = f->prev;
}

static void on_fetched(struct job *job, const struct answer *answer)
{
    struct fetch *f = (struct fetch *)job;

    origins_settle(f, answer);
    unlink_fetch(f);
    origins_fetch_free(&f);
}

static void take_inbox(struct origins *os)
{
    struct fetch *f, *next;

    pthread_mutex_lock(&os->lock);
    f = os->inbox;
    os->inbox = os->inbox_last = NULL;
    outcomes_expire(os->outcomes, origin_ticks_ms());
    pthread_mutex_unlock(&os->lock);
    for (; f != NULL; f = next) {
        next = f->next;
        f->prev = NULL;
        f->next = os->fetches;
        if (f->next != NULL)
            f->next->prev = f;
        os->fetches = f;
        if (!writes_answer(os->writes, f)) {
            origin_begin(&f->job);
            continue;
        }
        origin_unreserve(f->job.origin);
        unlink_fetch(f);
        origins_fetch_free(&f);
    }
}

static void pump(struct origin *o)
{
    if (o != NULL)
        origin_pump(o);
}

/* Only this thread adds to an origin's jobs once they are in its hands, so what
 * is unpinned by all others here stays so. */
static void pump_all(struct origins *os)
{
    struct origin *all[2 * ORIGIN_RULES_MAX], *done[ORIGIN_RULES_MAX] = {0};
    unsigned n = 0;

    pthread_mutex_lock(&os->lock);
    for (unsigned i = 0; i < os->len; i++)
        all[n++] = os->all[i];
    for (unsigned i = 0; i < ORIGIN_RULES_MAX; i++) {
        struct origin *o = os->retired[i];

        if (o != NULL && atomic_load_explicit(&o->pins, memory_order_acquire) == 1) {
            done[i] = o;
            os->retired[i] = NULL;
        } else if (o != NULL) {
            all[n++] = o;
        }
    }
    for (unsigned i = 0; i < n; i++)
        origin_pin(all[i]);
    pthread_mutex_unlock(&os->lock);
    for (unsigned i = 0; i < n; i++) {
        pump(all[i]);
        origin_unpin(&all[i]);
    }
    for (unsigned i = 0; i < ORIGIN_RULES_MAX; i++)
        origin_unpin(&done[i]);
}

static int sleep_ms(const struct origins *os)
{
    int64_t left = WAIT_MS;

    if (timers_some(&os->timers))
        left = timers_next(&os->timers).ms - origin_ticks_ms();
    return left <= 0 ? 0 : left < WAIT_MS ? (int)left : WAIT_MS;
}

static void turn(struct origins *os)
{
    loop_run(os->loop, loop_wait(os->loop, sleep_ms(os)));
    take_inbox(os);
    writes_pump(os->writes);
    timers_run(&os->timers, (instant){origin_ticks_ms()});
    pump_all(os);
}

/* What is still under way has nobody who waits for it. */
static void give_up_all(struct origins *os)
{
    while (os->fetches != NULL)
        job_give_up(&os->fetches->job, "the node stops");
}

static void *run(void *arg)
{
    struct origins *os = arg;

    pthread_setname_np(pthread_self(), "origins");
    while (!atomic_load_explicit(&os->stopping, memory_order_acquire))
        turn(os);
    take_inbox(os);
    give_up_all(os);
    while (writes_some(os->writes) && origin_ticks_ms() < os->stop_by_ms)
        turn(os);
    writes_give_up(os->writes);
    return NULL;
}

/* ---- fetches ---- */

struct fetch *origins_fetch_new(struct origins *os, struct origin *origin, const struct key *key)
{
    struct fetch *f = calloc(1, sizeof *f + key->len);

    if (f == NULL)
        return NULL;
    f->origins = os;
    f->db = key->db;
    f->len = key->len;
    if (key->len > 0)
        memcpy(f->name, key->data, key->len);
    f->job.origin = origin;
    f->job.call.kind = CALL_GET;
    f->job.call.key = (struct slice){f->name, f->len};
    f->job.ended = on_fetched;
    return f;
}

void origins_fetch_free(struct fetch **fetch)
{
    if (*fetch == NULL)
        return;
    origin_unpin(&(*fetch)->job.origin);
    free(*fetch);
    *fetch = NULL;
}

void origins_submit(struct fetch *f, uint64_t token)
{
    struct origins *os = f->origins;
    bool first;

    f->token = token;
    f->next = NULL;
    origin_count(f->job.origin, fetches);
    pthread_mutex_lock(&os->lock);
    outcomes_remove(os->outcomes, f->db, f->job.call.key);
    first = os->inbox == NULL;
    if (os->inbox_last != NULL)
        os->inbox_last->next = f;
    else
        os->inbox = f;
    os->inbox_last = f;
    pthread_mutex_unlock(&os->lock);
    if (first)
        origins_wake_thread(os);
}

void origins_forget(struct origins *os, const struct key *key)
{
    pthread_mutex_lock(&os->lock);
    outcomes_remove(os->outcomes, key->db, (struct slice){key->data, key->len});
    pthread_mutex_unlock(&os->lock);
}

void origins_leave(struct server *server, const struct session *session)
{
    if (server->origins != NULL)
        writes_forget(server->origins->writes, address_of(session));
}

/* ---- life ---- */

bool origins_init(struct server *server, char *err, size_t err_len)
{
    struct origins *os = calloc(1, sizeof *os);
    const char *why;

    if (os == NULL)
        return false;
    server->origins = os;
    os->server = server;
    os->source.ready = on_wake;
    pthread_mutex_init(&os->lock, NULL);
    os->eventfd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (os->eventfd < 0 || (os->loop = loop_new()) == NULL || (os->outcomes = outcomes_new()) == NULL ||
        (os->writes = writes_new(os)) == NULL || (os->local = store_local_new(server->store)) == NULL ||
        !loop_add(os->loop, os->eventfd, LOOP_READ, &os->source))
        return false;
    if ((why = apply(server)) != NULL)
        snprintf(err, err_len, "option 'origin' is refused: %s", why);
    return why == NULL;
}

/* Under options_lock. */
static bool ensure_thread(struct origins *os)
{
    if (os->running || os->len == 0)
        return true;
    os->running = pthread_create(&os->thread, NULL, run, os) == 0;
    return os->running;
}

bool origins_start(struct server *server)
{
    bool good;

    pthread_mutex_lock(&server->options_lock);
    good = ensure_thread(server->origins);
    pthread_mutex_unlock(&server->options_lock);
    return good;
}

const char *origins_apply(struct server *server)
{
    const char *why = apply(server);

    if (why == NULL && !ensure_thread(server->origins))
        return "cannot start a thread for the origins";
    origins_wake_thread(server->origins);
    return why;
}

void origins_stop(struct server *server, int64_t limit_ms)
{
    struct origins *os = server->origins;

    if (!os->running)
        return;
    atomic_store_explicit(&os->stop_by_ms, origin_ticks_ms() + limit_ms, memory_order_relaxed);
    atomic_store_explicit(&os->stopping, true, memory_order_release);
    origins_wake_thread(os);
    pthread_join(os->thread, NULL);
    os->running = false;
}

void origins_free(struct server *server)
{
    struct origins *os = server->origins;

    server->origins = NULL;
    if (os == NULL)
        return;
    CHECK(!os->running && os->inbox == NULL && os->fetches == NULL);
    for (unsigned i = 0; i < os->len; i++)
        origin_unpin(&os->all[i]);
    for (unsigned i = 0; i < ORIGIN_RULES_MAX; i++)
        origin_unpin(&os->retired[i]);
    timers_free(&os->timers);
    outcomes_free(&os->outcomes);
    writes_free(&os->writes);
    store_local_free(&os->local);
    loop_free(&os->loop);
    if (os->eventfd >= 0)
        close(os->eventfd);
    pthread_mutex_destroy(&os->lock);
    free(os);
}

/* ---- INFO ---- */

static double latency_ms(struct origin *o, double percent)
{
    uint64_t seen[FIGURES_BUCKETS], all = 0;

    for (unsigned i = 0; i < FIGURES_BUCKETS; i++)
        all += seen[i] = __atomic_load_n(&o->latency[i], __ATOMIC_RELAXED);
    return all > 0 ? (double)figures_percentile(seen, percent) / 1e6 : 0;
}

static void visit_number(origin_figure_visit *visit, void *arg, const char *name, uint64_t number)
{
    char value[32];

    snprintf(value, sizeof value, "%llu", (unsigned long long)number);
    visit(arg, name, value);
}

static void visit_ms(origin_figure_visit *visit, void *arg, const char *name, double ms)
{
    char value[32];

    snprintf(value, sizeof value, "%.3f", ms);
    visit(arg, name, value);
}

static void visit_origin(struct origin *o, origin_figure_visit *visit, void *arg)
{
    unsigned jobs = atomic_load_explicit(&o->jobs, memory_order_relaxed);
    unsigned in_flight = atomic_load_explicit(&o->in_flight, memory_order_relaxed);
    int breaker = atomic_load_explicit(&o->breaker_shown, memory_order_relaxed);

    visit(arg, "glob", o->rule.glob);
    visit(arg, "url", o->rule.shown);
    visit(arg, "breaker", breaker_name((enum breaker_state)breaker));
    visit_number(visit, arg, "in_flight", in_flight);
    visit_number(visit, arg, "queued", jobs > in_flight ? jobs - in_flight : 0);
#define COUNT(name)                                                                                          \
    visit_number(visit, arg, #name, atomic_load_explicit(&o->counts.name, memory_order_relaxed));
    ORIGIN_COUNTS(COUNT)
#undef COUNT
    visit_ms(visit, arg, "latency_p50_ms", latency_ms(o, 50));
    visit_ms(visit, arg, "latency_p99_ms", latency_ms(o, 99));
}

unsigned origins_writers_waiting(struct server *server)
{
    return writes_waiting(server->origins->writes);
}

uint64_t origins_write_bytes(struct server *server)
{
    return writes_bytes(server->origins->writes);
}

bool origins_figures(struct server *server, unsigned i, origin_figure_visit *visit, void *arg)
{
    struct origins *os = server->origins;
    struct origin *o = NULL;

    pthread_mutex_lock(&os->lock);
    if (i < os->len)
        origin_pin(o = os->all[i]);
    pthread_mutex_unlock(&os->lock);
    if (o == NULL)
        return false;
    visit_origin(o, visit, arg);
    origin_unpin(&o);
    return true;
}
