/* memcache_admin.c - memcached's commands for operators.
 *
 * What they tune in memcached (slab pages, LRU segments, the crawler) does not
 * exist here. A value that memcached would accept is accepted and changes
 * nothing, one that it would refuse is refused in its words, so that scripts
 * go on. What has a counterpart does it: cache_memlimit, the dumps, config. */
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/memcache_text.h"
#include "server/command/memcache.h"
#include "server/command/memcache_dump.h"
#include "server/command/memcache_edit.h"
#include "server/log.h"
#include "server/worker.h"

enum {
    SLAB_CLASS_MAX = 63, /* memcached's; ours is 1 */
    MEGABYTES_MIN = 8,   /* memcached's bounds of cache_memlimit */
    MEGABYTES_MAX = 1000000000,
    SLEEP_MAX_US = 1000000,
    WARM_AND_HOT_MAX = 80, /* percent of the cache */
    HOST_MAX = 256,
};

#define ERROR_LINE "ERROR"

/* ---- cache_memlimit ---- */

/* As CONFIG SET maxmemory. False: refused, and as before. */
static bool set_maxmemory(struct server *server, uint64_t bytes)
{
    char before[OPTION_VALUE_MAX], value[24];
    struct option_error err;
    bool ok = false;

    snprintf(value, sizeof value, "%" PRIu64, bytes);
    pthread_mutex_lock(&server->options_lock);
    if (options_get(&server->options, "maxmemory", before) &&
        options_change(&server->options, "maxmemory", value, &err) == OPTION_OK) {
        ok = server_apply_option(server, "maxmemory") == NULL;
        if (!ok) {
            options_change(&server->options, "maxmemory", before, &err);
            server_apply_option(server, "maxmemory");
        }
    }
    pthread_mutex_unlock(&server->options_lock);
    return ok;
}

void mc_cache_memlimit(struct exec *x, struct request *rq)
{
    uint32_t megabytes;

    if (!memcache_u32(rq->argv[1], &megabytes)) {
        reply_line(x, ERROR_LINE);
    } else if (megabytes < MEGABYTES_MIN) {
        reply_line(x, "MEMLIMIT_TOO_SMALL cannot set maxbytes to less than 8m");
    } else if (megabytes > MEGABYTES_MAX) {
        reply_line(x, "MEMLIMIT_ADJUST_FAILED input value is megabytes not bytes");
    } else if (!set_maxmemory(x->server, (uint64_t)megabytes << 20)) {
        reply_line(x, "MEMLIMIT_ADJUST_FAILED out of bounds or unable to adjust");
    } else {
        log_event(LOG_LEVEL_NOTICE, "config_set", "option=maxmemory value=\"%" PRIu32 "mb\"", megabytes);
        reply_line(x, "OK");
    }
}

/* ---- lru_crawler ---- */

/* "all", "hash", or class numbers with commas between them. False: no such class. */
static bool classes_ok(struct slice list, bool *ours)
{
    uint64_t class;

    *ours = slice_equals(list, slice_of("all")) || slice_equals(list, slice_of("hash"));
    if (*ours)
        return true;
    for (size_t from = 0, to; from <= list.len; from = to + 1) {
        for (to = from; to < list.len && list.data[to] != ',';)
            to++;
        if (!slice_to_u64((struct slice){list.data + from, to - from}, &class) || class == 0 ||
            class > SLAB_CLASS_MAX)
            return false;
        *ours |= class == 1;
    }
    return true;
}

static void dump(struct exec *x, struct slice list, enum dump_format format)
{
    bool ours;

    if (!classes_ok(list, &ours))
        reply_line(x, "BADCLASS invalid class id");
    else if (!ours)
        reply_line(x, memcache_dump_end(format));
    else if (!memcache_dump_begin(x, format))
        reply_line(x, MEMCACHE_OUT_OF_MEMORY);
    else
        counter_add(x->counters, mc_dumps, 1);
}

static void crawler_number(struct exec *x, struct slice word, uint32_t most)
{
    uint32_t number;

    if (!memcache_u32(word, &number))
        reply_line(x, MEMCACHE_BAD_LINE);
    else
        reply_line(x, number <= most ? "OK" : "CLIENT_ERROR sleep must be one second or less");
}

void mc_lru_crawler(struct exec *x, struct request *rq)
{
    struct slice what = rq->argv[1], word = rq->argc > 2 ? rq->argv[2] : (struct slice){NULL, 0};
    bool ours;

    if (rq->argc == 2)
        reply_line(x, slice_is(what, "enable") || slice_is(what, "disable") ? "OK" : ERROR_LINE);
    else if (slice_is(what, "metadump"))
        dump(x, word, DUMP_META);
    else if (slice_is(what, "mgdump"))
        dump(x, word, DUMP_MG);
    else if (slice_is(what, "crawl"))
        reply_line(x, classes_ok(word, &ours) ? "OK" : "BADCLASS invalid class id");
    else if (slice_is(what, "sleep"))
        crawler_number(x, word, SLEEP_MAX_US);
    else if (slice_is(what, "tocrawl"))
        crawler_number(x, word, UINT32_MAX);
    else
        reply_line(x, ERROR_LINE);
}

/* ---- slabs, lru ---- */

static const char *reassign(struct slice from, struct slice to)
{
    int64_t source, target;

    if (!memcache_i64(from, &source) || !memcache_i64(to, &target))
        return MEMCACHE_BAD_LINE;
    if (source == target)
        return "SAME src and dst class are identical";
    if (source < 1 || source > SLAB_CLASS_MAX || target < 1 || target > SLAB_CLASS_MAX)
        return "BADCLASS invalid src or dst class id";
    return "NOSPARE source class has no spare pages";
}

void mc_slabs(struct exec *x, struct request *rq)
{
    uint32_t words = rq->argc - memcache_noreply(rq), level;

    if (slice_is(rq->argv[1], "reassign") && words == 4)
        reply_line(x, reassign(rq->argv[2], rq->argv[3]));
    else if (slice_is(rq->argv[1], "automove") && words == 4)
        reply_line(x, slice_is(rq->argv[2], "ratio") ? "OK" : ERROR_LINE);
    else if (!slice_is(rq->argv[1], "automove") || words != 3)
        reply_line(x, ERROR_LINE);
    else if (!memcache_u32(rq->argv[2], &level))
        reply_line(x, MEMCACHE_BAD_LINE);
    else
        reply_line(x, level <= 2 ? "OK" : ERROR_LINE);
}

static bool factor_ok(struct slice word, double *out)
{
    char text[32], *end;

    if (word.len == 0 || word.len >= sizeof text)
        return false;
    memcpy(text, word.data, word.len);
    text[word.len] = '\0';
    *out = strtod(text, &end);
    return end == text + word.len;
}

static const char *tune(const struct request *rq)
{
    double hot_factor, warm_factor;
    uint32_t hot, warm;

    if (rq->argc < 6 || !memcache_u32(rq->argv[2], &hot) || !memcache_u32(rq->argv[3], &warm) ||
        !factor_ok(rq->argv[4], &hot_factor) || !factor_ok(rq->argv[5], &warm_factor))
        return ERROR_LINE;
    if ((uint64_t)hot + warm > WARM_AND_HOT_MAX)
        return "ERROR hot and warm pcts must not exceed 80";
    if (hot_factor <= 0 || warm_factor <= 0)
        return "ERROR hot/warm age factors must be greater than 0";
    return "OK";
}

void mc_lru(struct exec *x, struct request *rq)
{
    struct slice word = rq->argc > 2 ? rq->argv[2] : (struct slice){NULL, 0};
    int64_t seconds;

    if (slice_is(rq->argv[1], "tune"))
        reply_line(x, tune(rq));
    else if (slice_is(rq->argv[1], "mode") && word.len > 0)
        reply_line(x, slice_is(word, "flat") || slice_is(word, "segmented") ? "OK" : ERROR_LINE);
    else if (slice_is(rq->argv[1], "temp_ttl") && word.len > 0)
        reply_line(x, memcache_i64(word, &seconds) ? "OK" : ERROR_LINE);
    else
        reply_line(x, ERROR_LINE);
}

/* ---- what memcached can be told not to do ---- */

void mc_watch(struct exec *x, struct request *rq)
{
    (void)rq;
    reply_line(x, "CLIENT_ERROR watch commands not allowed");
}

void mc_shutdown(struct exec *x, struct request *rq)
{
    (void)rq;
    reply_line(x, "ERROR: shutdown not enabled");
}

/* ---- config get cluster ---- */

/* Where this very client reached us, without the port. */
static void reached_at(const struct session *s, char host[HOST_MAX])
{
    const char *colon = strrchr(s->local_address, ':');
    const char *from = s->local_address;
    size_t len = colon != NULL ? (size_t)(colon - from) : strlen(from);

    if (len >= 2 && from[0] == '[') {
        from++;
        len -= 2;
    }
    snprintf(host, HOST_MAX, "%.*s", (int)len, from);
}

static bool is_address(const char *host)
{
    struct in6_addr room;

    return inet_pton(AF_INET, host, &room) == 1 || inet_pton(AF_INET6, host, &room) == 1;
}

static void put_list(struct exec *x, const char *head, const void *list, size_t len)
{
    char line[128];

    snprintf(line, sizeof line, "%s 0 %zu", head, len);
    reply_line(x, line);
    reply_raw(x, list, len);
    reply_raw(x, "\r\n", 2);
}

void memcache_put_cluster(struct exec *x, const char *head)
{
    char ip[HOST_MAX], host[HOST_MAX], list[2 * HOST_MAX + 64];
    const struct routes *r = x->worker->routes.routes;
    int64_t version = x->server->started.ms / 1000;
    int len;

    if (routes_of_several(r)) {
        put_list(x, head, r->description->memcache_nodes.data, r->description->memcache_nodes.len);
        return;
    }

    reached_at(x->session, ip);
    pthread_mutex_lock(&x->server->options_lock);
    snprintf(host, sizeof host, "%s", x->options->announce_host);
    pthread_mutex_unlock(&x->server->options_lock);
    if (host[0] == '\0')
        memcpy(host, ip, sizeof host);
    else if (is_address(host))
        memcpy(ip, host, sizeof ip);
    /* The version must rise when the list changes: with a restart, or as an epoch does. */
    if (r != NULL)
        version = (int64_t)r->view->epoch;
    len =
        snprintf(list, sizeof list, "%" PRId64 "\n%s|%s|%d\n", version, host, ip, x->options->memcache_port);
    put_list(x, head, list, (size_t)len);
}

void mc_config(struct exec *x, struct request *rq)
{
    if (rq->argc != 3 || !slice_equals(rq->argv[1], slice_of("get")) ||
        !slice_equals(rq->argv[2], slice_of("cluster"))) {
        reply_line(x, ERROR_LINE);
        return;
    }
    memcache_put_cluster(x, "CONFIG cluster");
    reply_line(x, "END");
}
