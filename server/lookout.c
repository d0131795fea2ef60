#include "server/lookout.h"

#include <stdlib.h>

#include "server/server.h"
#include "server/worker.h"

enum { NS_PER_US = 1000, NS_PER_MS = 1000000 };

struct lookout *lookout_new(void)
{
    struct lookout *w = calloc(1, sizeof *w);

    if (w == NULL)
        return NULL;
    pthread_mutex_init(&w->lock, NULL);
    if ((w->slowlog = slowlog_new()) == NULL || (w->latency = latency_new()) == NULL ||
        (w->baseline = figures_new()) == NULL)
        lookout_free(&w);
    return w;
}

void lookout_free(struct lookout **lookout)
{
    struct lookout *w = *lookout;

    *lookout = NULL;
    if (w == NULL)
        return;
    slowlog_free(&w->slowlog);
    latency_free(&w->latency);
    figures_free(&w->baseline);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

/* ---- options ---- */

bool lookout_percentiles(const char *text, double percent[LOOKOUT_PERCENTILES], unsigned *n)
{
    char *end;

    for (*n = 0; *text != '\0'; text = end + strspn(end, " ")) {
        double value = strtod(text, &end);

        if (end == text || (*end != ' ' && *end != '\0') || *n == LOOKOUT_PERCENTILES ||
            !(value >= 0 && value <= 100))
            return false;
        percent[(*n)++] = value;
    }
    return true;
}

const char *lookout_apply(struct lookout *w, const struct options *o)
{
    int slower_us = option_live(o, slowlog_log_slower_than);
    int threshold_ms = option_live(o, latency_monitor_threshold);
    uint64_t slow = slower_us < 0 ? UINT64_MAX : (uint64_t)slower_us * NS_PER_US;
    uint64_t latency = threshold_ms == 0 ? UINT64_MAX : (uint64_t)threshold_ms * NS_PER_MS;
    double percent[LOOKOUT_PERCENTILES];
    unsigned n;

    if (!lookout_percentiles(o->latency_tracking_info_percentiles, percent, &n))
        return "latency-tracking-info-percentiles should consist of at most 16 numbers from 0.0 to 100.0";
    atomic_store_explicit(&w->slow_ns, slow, memory_order_relaxed);
    atomic_store_explicit(&w->latency_ns, latency, memory_order_relaxed);
    atomic_store_explicit(&w->least_ns, slow < latency ? slow : latency, memory_order_relaxed);
    atomic_store_explicit(&w->tracking, option_live(o, latency_tracking), memory_order_relaxed);
    slowlog_set_max(w->slowlog, (size_t)option_live(o, slowlog_max_len));
    return NULL;
}

/* ---- slow requests ---- */

/* Which words of a request are passwords: from this one on, how many. */
static uint32_t secrets(const struct request *rq, uint32_t *count)
{
    *count = 0;
    if (rq->argc < 2)
        return 0;
    if (slice_is(rq->argv[0], "auth")) {
        *count = rq->argc - 1;
        return 1;
    }
    if (slice_is(rq->argv[0], "config") && slice_is(rq->argv[1], "set")) {
        for (uint32_t i = 2; i + 1 < rq->argc; i += 2) {
            if (!slice_is(rq->argv[i], "requirepass"))
                continue;
            *count = 1;
            return i + 1;
        }
    }
    if (slice_is(rq->argv[0], "hello")) {
        for (uint32_t i = 2; i + 2 < rq->argc; i++) {
            if (!slice_is(rq->argv[i], "auth"))
                continue;
            *count = 2;
            return i + 1;
        }
    }
    return 0;
}

static void remember(struct exec *x, const struct request *rq, unsigned followers, uint64_t ns)
{
    struct slice words[SLOWLOG_WORDS + 1];
    uint32_t known = rq->argc < SLOWLOG_WORDS + 1 ? rq->argc : SLOWLOG_WORDS + 1;
    uint32_t secret_count, secret = secrets(rq, &secret_count);
    struct slow_request slow = {.argv = words,
                                .argc = rq->argc,
                                .followers = followers,
                                .seconds = clock_now().ms / 1000,
                                .us = ns / NS_PER_US,
                                .address = x->session->address,
                                .name = x->session->name};

    for (uint32_t i = 0; i < known; i++)
        words[i] = i - secret < secret_count ? slice_of("(redacted)") : rq->argv[i];
    slowlog_add(x->server->lookout->slowlog, &slow);
}

static uint32_t to_ms(uint64_t ns)
{
    uint64_t ms = ns / NS_PER_MS;

    return ms < UINT32_MAX ? (uint32_t)ms : UINT32_MAX;
}

/* EXEC is left out of the slowlog: the requests in it are there. */
void lookout_slow(struct exec *x, const struct command *command, const struct request *rq, uint64_t ns)
{
    struct lookout *w = x->server->lookout;

    if (ns >= atomic_load_explicit(&w->slow_ns, memory_order_relaxed) &&
        !slice_is(slice_of(command->name), "exec"))
        remember(x, rq, 0, ns);
    if (ns >= atomic_load_explicit(&w->latency_ns, memory_order_relaxed))
        latency_add(w->latency, command->flags & CMD_FAST ? LATENCY_FAST_COMMAND : LATENCY_COMMAND,
                    clock_now().ms / 1000, to_ms(ns));
}

void lookout_slow_batch(struct exec *x, const struct request *first, unsigned followers, uint64_t ns)
{
    struct lookout *w = x->server->lookout;

    figures_look_closer(x->worker->figures);
    if (ns >= atomic_load_explicit(&w->slow_ns, memory_order_relaxed))
        remember(x, first, followers, ns);
    if (ns >= atomic_load_explicit(&w->latency_ns, memory_order_relaxed))
        latency_add(w->latency, LATENCY_FAST_COMMAND, clock_now().ms / 1000, to_ms(ns));
}

void lookout_upkeep(struct lookout *w, instant now, uint64_t ns)
{
    if (ns >= atomic_load_explicit(&w->latency_ns, memory_order_relaxed))
        latency_add(w->latency, LATENCY_EXPIRE_CYCLE, now.ms / 1000, to_ms(ns));
}

/* ---- figures ---- */

static struct figures *sum(struct server *server)
{
    struct figures *total = figures_new();

    for (unsigned i = 0; total != NULL && i < server->workers_len; i++)
        figures_add(total, server->workers[i]->figures);
    return total;
}

struct figures *lookout_figures(struct server *server)
{
    struct figures *total = sum(server);

    if (total == NULL)
        return NULL;
    pthread_mutex_lock(&server->lookout->lock);
    figures_subtract(total, server->lookout->baseline);
    pthread_mutex_unlock(&server->lookout->lock);
    return total;
}

/* Without memory the figures go on as they are. */
void lookout_reset(struct server *server)
{
    struct figures *total = sum(server), *before;

    if (total == NULL)
        return;
    pthread_mutex_lock(&server->lookout->lock);
    before = server->lookout->baseline;
    server->lookout->baseline = total;
    pthread_mutex_unlock(&server->lookout->lock);
    figures_free(&before);
}
