#include "server/server.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "server/changes.h"
#include "server/check.h"
#include "server/clients.h"
#include "server/cluster/control.h"
#include "server/cluster/handover.h"
#include "server/cluster/routes.h"
#include "server/gate.h"
#include "server/herd/herd.h"
#include "server/herd/protect.h"
#include "server/herd/report.h"
#include "server/listener.h"
#include "server/log.h"
#include "server/memcache_auth.h"
#include "server/memory.h"
#include "server/watch.h"
#include "server/monitor.h"
#include "server/origin/origins.h"
#include "server/pubsub.h"
#include "server/tracking.h"
#include "server/ticks.h"
#include "server/lookout.h"
#include "server/peers.h"
#include "server/worker.h"

enum {
    STACK_BYTES = 512 * 1024, /* of a worker's thread; handlers put at most a few KiB there */
    SPARE_FILES = 64,         /* open files beside the clients: loops, listeners, log */
    TICK_MS = 100,
};

/* ---- stopping ---- */

void server_wake_workers(struct server *server)
{
    for (unsigned i = 0; i < server->workers_len; i++)
        worker_wake(server->workers[i]);
}

void server_stop(struct server *server, bool now)
{
    if (now)
        atomic_store_explicit(&server->stopping_now, true, memory_order_relaxed);
    /* Pairs with the acquire load of each worker's turn. */
    atomic_store_explicit(&server->stopping, true, memory_order_release);
    server_wake_workers(server);
}

void server_shutdown(struct server *server, bool drain, bool now)
{
    if (server->control != NULL && drain && control_drain(server->control))
        return; /* it stops the node when that is done */
    if (server->control != NULL)
        control_leave(server->control);
    server_stop(server, now);
}

/* As memcached: whoever changes the file sends SIGHUP. A bad file changes nothing. */
static void reload_auth(struct server *server)
{
    const char *why;

    pthread_mutex_lock(&server->options_lock);
    why = memcache_auth_load(server);
    pthread_mutex_unlock(&server->options_lock);
    if (why != NULL)
        log_event(LOG_LEVEL_WARNING, "auth_file_refused", "reason=\"%s\": the names known before stay", why);
}

static void on_signal(struct loop_source *source, unsigned events)
{
    struct server_signals *signals = (struct server_signals *)source;
    struct server *server = signals->server;
    struct signalfd_siginfo info;

    (void)events;
    if (read(signals->fd, &info, sizeof info) != sizeof info)
        return;
    if (info.ssi_signo == SIGHUP) {
        reload_auth(server);
        bool ok = log_open(server->options.logfile); /* it may have been rotated away */
        log_event(LOG_LEVEL_NOTICE, "log_reopened", "ok=%d", ok);
        if (server->control != NULL)
            control_reload(server->control);
        return;
    }
    bool again = atomic_load_explicit(&server->stopping, memory_order_relaxed) ||
                 (server->control != NULL && control_drains(server->control));

    log_event(LOG_LEVEL_NOTICE, "stopping", "signal=%u again=%d", info.ssi_signo, again);
    server_shutdown(server, !again, again);
}

static bool open_signals(struct server *server)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    signal(SIGPIPE, SIG_IGN);
    if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0)
        return false;
    server->signals.server = server;
    server->signals.source.ready = on_signal;
    server->signals.fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return server->signals.fd >= 0;
}

/* ---- starting ---- */

/* Raises the limit of open files so that maxclients can be kept; how many clients there may be. */
static int allowed_clients(int wanted)
{
    struct rlimit limit;
    rlim_t needed = (rlim_t)wanted + SPARE_FILES;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= needed)
        return wanted;
    limit.rlim_cur = needed;
    if (limit.rlim_max < needed && limit.rlim_max != RLIM_INFINITY)
        limit.rlim_max = needed; /* works for root only */
    if (setrlimit(RLIMIT_NOFILE, &limit) == 0)
        return wanted;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur > 2 * SPARE_FILES ? (int)(limit.rlim_cur - SPARE_FILES) : SPARE_FILES;
}

static void fit_maxclients(struct options *o)
{
    int allowed = allowed_clients(o->maxclients);

    if (allowed >= o->maxclients)
        return;
    log_event(LOG_LEVEL_WARNING, "maxclients_lowered",
              "from=%d to=%d: the limit of open files is too low; raise it with ulimit -n", o->maxclients,
              allowed);
    o->maxclients = allowed;
}

static unsigned cores(void)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 1;
    return CPU_COUNT(&set) > 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

static bool is_auto(const char *policy)
{
    return strcmp(policy, "allkeys-auto") == 0;
}

/* "allkeys-lru" in two. False if it is no policy. What auto begins with is the store's to
 * say. Policies with queues order all items there are, and ttl is for those with an expiry.
 * Wtinylfu has two kinds, with a doorkeeper and without. */
static bool parse_policy(const char *text, bool doorkeeper, enum evict_scope *scope,
                         const struct evict_type **policy)
{
    static const char all[] = "allkeys-", some[] = "volatile-";

    *policy = NULL;
    *scope = EVICT_NOTHING;
    if (strcmp(text, "noeviction") == 0)
        return true;
    if (strncmp(text, all, sizeof all - 1) == 0) {
        *scope = EVICT_ALLKEYS;
        if (doorkeeper && strcmp(text + sizeof all - 1, "wtinylfu") == 0)
            return *policy = evict_type_find("wtinylfu-doorkeeper"), true;
        *policy = is_auto(text) ? auto_candidate(0) : evict_type_find(text + sizeof all - 1);
        return *policy != NULL && strcmp((*policy)->name, "ttl") != 0;
    }
    if (strncmp(text, some, sizeof some - 1) != 0)
        return false;
    *scope = EVICT_VOLATILE;
    *policy = evict_type_find(text + sizeof some - 1);
    return *policy != NULL && (*policy)->queues == 0;
}

bool server_policy_ok(const char *name)
{
    enum evict_scope scope;
    const struct evict_type *policy;

    return parse_policy(name, false, &scope, &policy);
}

static void make_run_id(char run_id[41])
{
    uint8_t dice[20];

    if (getrandom(dice, sizeof dice, 0) != sizeof dice)
        memset(dice, 0, sizeof dice);
    for (size_t i = 0; i < sizeof dice; i++)
        snprintf(run_id + 2 * i, 3, "%02x", dice[i]);
}

/* Redis's 0 is "no limit", and there is none beyond the machine's own. */
uint64_t server_memory_limit(const struct options *o)
{
    size_t limit = option_live(o, maxmemory);

    return limit != 0 ? limit : (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
}

size_t server_at_most(const struct server *server, size_t limit, unsigned part)
{
    size_t memory = option_live(&server->options, maxmemory), most = memory / part;

    return memory == 0 || limit < most ? limit : most;
}

static bool open_store(struct server *server, unsigned workers, char *err, size_t err_len)
{
    const struct options *o = &server->options;
    struct store_config config = {
        .memory_max = server_memory_limit(o), .item_max = o->max_item_size, .workers = workers};

    if (getrandom(&config.seed, sizeof config.seed, 0) != sizeof config.seed)
        config.seed = (uint64_t)clock_now_us();
    if (!parse_policy(o->maxmemory_policy, o->wtinylfu_doorkeeper, &config.scope, &config.policy)) {
        snprintf(err, err_len, "maxmemory-policy %s is not known", o->maxmemory_policy);
        return false;
    }
    server->store = store_new(&config, err, err_len);
    if (server->store == NULL)
        return false;
    if (!store_set_shadows(server->store, o->mrc_enabled, (uint32_t)o->shadow_items) ||
        (is_auto(o->maxmemory_policy) && !store_set_auto(server->store))) {
        snprintf(err, err_len, "no memory for shadows of the cache; lower shadow-items");
        return false;
    }
    return true;
}

static bool make_workers(struct server *server, unsigned n)
{
    if ((server->workers = calloc(n, sizeof *server->workers)) == NULL)
        return false;
    for (unsigned i = 0; i < n; i++) {
        if ((server->workers[i] = worker_new(server, i)) == NULL)
            return false;
        server->workers_len++;
    }
    return true;
}

static bool open_lookout(struct server *server, char *err, size_t err_len)
{
    const char *why;

    ticks_calibrate();
    if ((server->lookout = lookout_new()) == NULL)
        return false;
    if ((why = lookout_apply(server->lookout, &server->options)) != NULL)
        snprintf(err, err_len, "%s", why);
    return why == NULL;
}

static bool open_memcache(struct server *server, char *err, size_t err_len)
{
    const char *why = memcache_auth_load(server);

    if (why != NULL)
        snprintf(err, err_len, "%s: %s", server->options.memcache_auth_file, why);
    return why == NULL && prefixes_init(&server->prefixes);
}

static bool open_herd(struct server *server, char *err, size_t err_len)
{
    const char *why;

    if (!herd_init(server))
        return false;
    store_set_negatives_max(server->store, (uint64_t)server->options.herd_negative_max_items);
    if ((why = protect_apply(server)) != NULL)
        snprintf(err, err_len, "herd-protect: %s", why);
    return why == NULL;
}

static bool build(struct server *server, char *err, size_t err_len)
{
    unsigned workers = server->options.threads > 0 ? (unsigned)server->options.threads : cores();

    snprintf(err, err_len, "out of memory or file descriptors");
    fit_maxclients(&server->options);
    for (unsigned i = 0; i < STORE_DATABASES_MAX; i++)
        atomic_init(&server->databases[i], (uint8_t)i);
    return open_memcache(server, err, err_len) && open_store(server, workers, err, err_len) &&
           (server->gate = gate_new(workers)) != NULL && changes_init(server) && watches_init(server) &&
           handover_init(server) && open_herd(server, err, err_len) &&
           (server->tracking = tracking_new(server)) != NULL && (server->pubsub = pubsub_new()) != NULL &&
           (server->monitors = monitors_new()) != NULL && (server->registry = clients_new()) != NULL &&
           (server->peers = peers_new()) != NULL && open_lookout(server, err, err_len) &&
           origins_init(server, err, err_len) && make_workers(server, workers) && open_signals(server) &&
           control_open(server, err, err_len) && listeners_open(server, err, err_len);
}

struct server *server_new(struct options *options)
{
    struct server *server = calloc(1, sizeof *server);
    char err[OPTION_ERROR_MAX];

    if (server == NULL) {
        fprintf(stderr, "corrald: out of memory\n");
        return NULL;
    }
    server->options = *options;
    *options = (struct options){0};
    server->signals.fd = -1;
    server->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    server->started = clock_now();
    pthread_mutex_init(&server->options_lock, NULL);
    pthread_mutex_init(&server->pause.lock, NULL);
    pthread_mutex_init(&server->errors.lock, NULL);
    pthread_mutex_init(&server->baseline.lock, NULL);
    pthread_mutex_init(&server->routes_lock, NULL);
    make_run_id(server->run_id);
    if (build(server, err, sizeof err))
        return server;
    fprintf(stderr, "corrald: %s\n", err);
    server_free(&server);
    return NULL;
}

void server_free(struct server **server)
{
    struct server *s = *server;
    const struct routes *routes;

    *server = NULL;
    if (s == NULL)
        return;
    routes = atomic_load_explicit(&s->routes, memory_order_relaxed);
    listeners_close(s);
    if (s->signals.fd >= 0)
        close(s->signals.fd);
    for (unsigned i = 0; i < s->workers_len; i++)
        worker_free(&s->workers[i]);
    free(s->workers);
    clients_free(&s->registry);
    lookout_free(&s->lookout);
    peers_free(&s->peers);
    if (s->spare_fd >= 0)
        close(s->spare_fd);
    origins_free(s);
    control_free(s);
    gate_free(&s->gate);
    store_free(&s->store);
    tracking_free(&s->tracking);
    pubsub_free(&s->pubsub);
    monitors_free(&s->monitors);
    changes_free(s);
    watches_free(s);
    herd_free(s);
    handover_free(s);
    routes_unpin(&routes);
    pthread_mutex_destroy(&s->routes_lock);
    pthread_mutex_destroy(&s->pause.lock);
    memcache_auth_free(s);
    prefixes_free(&s->prefixes);
    pthread_mutex_destroy(&s->options_lock);
    pthread_mutex_destroy(&s->errors.lock);
    pthread_mutex_destroy(&s->baseline.lock);
    options_free(&s->options);
    free(s);
}

static void *run_worker(void *arg)
{
    struct worker *w = arg;
    char name[16];

    snprintf(name, sizeof name, "worker-%u", w->index);
    pthread_setname_np(pthread_self(), name);
    worker_run(w);
    return NULL;
}

/* How many are running besides worker 0; fewer than asked for when the system refuses. */
static unsigned start_threads(struct server *server)
{
    pthread_attr_t attr;
    unsigned i;

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    for (i = 1; i < server->workers_len; i++) {
        struct worker *w = server->workers[i];

        if (pthread_create(&w->thread, &attr, run_worker, w) != 0)
            break;
    }
    pthread_attr_destroy(&attr);
    return i - 1;
}

int server_run(struct server *server)
{
    struct loop *loop = server->workers[0]->loop;
    unsigned running = start_threads(server);
    bool ok = running + 1 == server->workers_len && origins_start(server) &&
              loop_add(loop, server->signals.fd, LOOP_READ, &server->signals.source) &&
              control_start(server) && listeners_start(server);

    if (ok) {
        memory_measure_base(server);
        log_event(LOG_LEVEL_NOTICE, "ready", "pid=%d workers=%u maxmemory=%zu policy=%s", (int)getpid(),
                  server->workers_len, server->options.maxmemory, server->options.maxmemory_policy);
        worker_run(server->workers[0]);
    } else {
        log_event(LOG_LEVEL_WARNING, "start_failed",
                  "reason=\"cannot start %u threads\": lower --threads, or raise ulimit -u",
                  server->workers_len);
        server_stop(server, true);
    }
    for (unsigned i = 1; i <= running; i++)
        pthread_join(server->workers[i]->thread, NULL);
    control_stop(server);
    origins_stop(server, (int64_t)server->options.shutdown_timeout * 1000);
    log_event(LOG_LEVEL_NOTICE, "stopped", "pid=%d", (int)getpid());
    return ok ? 0 : 1;
}

/* ---- statistics ---- */

static void sum_counters(struct server *server, struct counters *out)
{
    memset(out, 0, sizeof *out);
    for (unsigned i = 0; i < server->workers_len; i++) {
        struct counters *one = &server->workers[i]->counters;
        struct counters before = *out;

        counters_sum((struct counters *const[]){&before, one}, 2, out);
    }
}

void server_counters(struct server *server, struct counters *out)
{
    sum_counters(server, out);
    pthread_mutex_lock(&server->baseline.lock);
    counters_subtract(out, &server->baseline.counters);
    pthread_mutex_unlock(&server->baseline.lock);
}

void server_store_stats(struct server *server, struct store_stats *out)
{
    const struct store_stats *since = &server->baseline.store;

    store_stats(server->store, out);
    pthread_mutex_lock(&server->baseline.lock);
    out->evicted -= since->evicted;
    out->expired -= since->expired;
    out->items_total -= since->items_total;
    out->relocated -= since->relocated;
    out->segments_compacted -= since->segments_compacted;
    out->put_refused -= since->put_refused;
    out->flushes -= since->flushes;
    out->negatives_refused -= since->negatives_refused;
    pthread_mutex_unlock(&server->baseline.lock);
}

void server_reset_stats(struct server *server)
{
    struct counters counters;
    struct store_stats stats;

    sum_counters(server, &counters);
    store_stats(server->store, &stats);
    pthread_mutex_lock(&server->baseline.lock);
    server->baseline.counters = counters;
    server->baseline.store = stats;
    pthread_mutex_unlock(&server->baseline.lock);
    lookout_reset(server);
    herd_reset(server);
    pthread_mutex_lock(&server->errors.lock);
    server->errors.len = 0;
    pthread_mutex_unlock(&server->errors.lock);
    atomic_store_explicit(&server->memory_peak, 0, memory_order_relaxed);
}

void server_count_error(struct server *server, struct slice text)
{
    struct error_stats *errors = &server->errors;
    size_t len = 0;
    unsigned i;

    while (len < text.len && len < ERROR_CODE_LEN - 1 && text.data[len] > ' ')
        len++;
    pthread_mutex_lock(&errors->lock);
    for (i = 0; i < errors->len; i++) {
        if (memcmp(errors->rows[i].code, text.data, len) == 0 && errors->rows[i].code[len] == '\0')
            break;
    }
    if (i == errors->len && i < ERROR_CODES_MAX) {
        errors->rows[i] = (struct error_stat){.count = 0};
        memcpy(errors->rows[i].code, text.data, len);
        errors->len++;
    }
    if (i < ERROR_CODES_MAX)
        errors->rows[i].count++;
    pthread_mutex_unlock(&errors->lock);
}

/* Rates over the samples in the ring: smooth enough to read, quick enough to notice. */
static void sample_rates(struct server *server, instant now)
{
    struct rate_ring *ring = &server->rates.ring;
    struct rate_sample *newest = &ring->samples[ring->next];
    struct counters all;
    int64_t ms;

    ring->next = (ring->next + 1) % RATE_SAMPLES;
    sum_counters(server, &all);
    *newest = (struct rate_sample){now.ms, all.commands_processed, all.net_input_bytes, all.net_output_bytes};
    struct rate_sample *oldest = &ring->samples[ring->next];
    if (oldest->ms == 0 || oldest->ms >= now.ms)
        oldest = &ring->samples[0]; /* the ring is not yet full */
    if ((ms = now.ms - oldest->ms) <= 0)
        return;
    atomic_store_explicit(&server->rates.commands,
                          (newest->commands - oldest->commands) * 1000 / (uint64_t)ms, memory_order_relaxed);
    atomic_store_explicit(&server->rates.input_bytes, (newest->input - oldest->input) * 1000 / (uint64_t)ms,
                          memory_order_relaxed);
    atomic_store_explicit(&server->rates.output_bytes,
                          (newest->output - oldest->output) * 1000 / (uint64_t)ms, memory_order_relaxed);
}

/* ---- what is done now and then ---- */

/* Database 0, which is all that memcached clients know of. */
static void flush_now(struct server *server, instant now)
{
    uint8_t db = server_db(server, 0);

    handover_flush(server);
    store_flush_db(server->store, db, now);
    changes_flushed(server, NULL, db);
}

void server_flush_at(struct server *server, instant when)
{
    instant now = clock_now();

    if (when.ms <= now.ms) {
        atomic_store_explicit(&server->flush_at_ms, 0, memory_order_relaxed);
        flush_now(server, now);
        return;
    }
    atomic_store_explicit(&server->flush_at_ms, when.ms, memory_order_relaxed);
}

static void flush_if_due(struct server *server, instant now)
{
    int64_t when = atomic_load_explicit(&server->flush_at_ms, memory_order_relaxed);

    if (when == 0 || now.ms < when)
        return;
    if (!atomic_compare_exchange_strong(&server->flush_at_ms, &when, 0))
        return;
    (void)gate_enter(server->gate, 0); /* or SWAPDB could change what is database 0 meanwhile */
    flush_now(server, now);
    gate_leave(server->gate, 0);
}

void server_tick(struct server *server, instant now)
{
    flush_if_due(server, now);
    listeners_resume(server);
    if (now.ms < server->next_tick_ms && server->next_tick_ms - now.ms <= TICK_MS)
        return;
    server->next_tick_ms = now.ms + TICK_MS;
    sample_rates(server, now);
    memory_measure(server);
    changes_tick(server, now);
    protect_tick(server);
}

/* ---- options ---- */

bool server_password_set(struct server *server)
{
    bool set;

    pthread_mutex_lock(&server->options_lock);
    set = server->options.requirepass[0] != '\0';
    pthread_mutex_unlock(&server->options_lock);
    return set;
}

/* Takes the same time for every wrong password of the same length. */
static bool same_secret(struct slice given, const char *secret)
{
    size_t len = strlen(secret);
    unsigned differs = given.len != len;

    for (size_t i = 0; i < given.len; i++)
        differs |= (unsigned)(given.data[i] ^ (uint8_t)secret[len > 0 ? i % len : 0]);
    return differs == 0;
}

bool server_password_ok(struct server *server, struct slice password)
{
    bool ok;

    pthread_mutex_lock(&server->options_lock);
    ok = server->options.requirepass[0] == '\0' || same_secret(password, server->options.requirepass);
    pthread_mutex_unlock(&server->options_lock);
    return ok;
}

static const char *apply_policy(struct server *server)
{
    enum evict_scope scope;
    const struct evict_type *policy;

    if (!parse_policy(server->options.maxmemory_policy, server->options.wtinylfu_doorkeeper, &scope, &policy))
        return "no such policy";
    if (is_auto(server->options.maxmemory_policy) ? store_set_auto(server->store)
                                                  : store_set_policy(server->store, scope, policy))
        return NULL;
    return "there is not enough memory to change it";
}

static const char *apply_shadows(struct server *server)
{
    const struct options *o = &server->options;

    return store_set_shadows(server->store, o->mrc_enabled, (uint32_t)o->shadow_items)
               ? NULL
               : "there is not enough memory for shadows of the cache";
}

const char *server_apply_option(struct server *server, const char *name)
{
    struct options *o = &server->options;

    if (strcmp(name, "maxmemory") == 0)
        return store_set_memory_max(server->store, server_memory_limit(o))
                   ? NULL
                   : "too small or too large for the shards this process started with; restart with the new "
                     "maxmemory";
    if (strcmp(name, "maxmemory-policy") == 0)
        return apply_policy(server);
    if (strcmp(name, "wtinylfu-doorkeeper") == 0)
        return strcmp(o->maxmemory_policy, "allkeys-wtinylfu") == 0 ? apply_policy(server) : NULL;
    if (strcmp(name, "mrc-enabled") == 0 || strcmp(name, "shadow-items") == 0)
        return apply_shadows(server);
    if (strcmp(name, "herd-negative-max-items") == 0)
        store_set_negatives_max(server->store, (uint64_t)o->herd_negative_max_items);
    if (strcmp(name, "herd-protect") == 0)
        return protect_apply(server);
    if (strcmp(name, "memcache-auth-file") == 0)
        return memcache_auth_load(server);
    if (strcmp(name, "origin") == 0)
        return origins_apply(server);
    if (strcmp(name, "loglevel") == 0)
        log_set_level((enum log_level)o->loglevel);
    if (strcmp(name, "tcp-keepalive") == 0)
        listeners_apply_keepalive(server);
    if (server->control != NULL &&
        (strcmp(name, "cluster-enabled") == 0 || strncmp(name, "cluster-announce-", 17) == 0))
        return "other nodes know this one by it: set it in the configuration file, and restart the node";
    if (strncmp(name, "slowlog-", 8) == 0 || strncmp(name, "latency-", 8) == 0)
        return lookout_apply(server->lookout, o);
    if (strcmp(name, "maxclients") == 0 && allowed_clients(o->maxclients) < o->maxclients)
        return "The operating system is not able to handle the specified number of clients";
    return NULL;
}
