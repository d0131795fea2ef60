/* memcache_stats.c - memcached's stats, as far as exporters, dashboards and
 * memcached-tool read them.
 *
 * Names and formats are memcached's. What has no counterpart here (slab
 * classes, the LRU crawler) is either left out, or, where a reader counts on
 * it, told as one class or as zero. Items all live in "class 1". */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "server/clients.h"
#include "server/command/memcache_edit.h"
#include "server/server.h"

enum {
    STAT_LINE_MAX = 256,
    MS = 1000,
    SLAB_CLASS_MAX = 63,      /* memcached's; ours is 1 */
    DUMP_STEP = 512,          /* slots visited per step of a dump */
    DUMP_BYTES_MAX = 2 << 20, /* of one stats cachedump, as in memcached */
};

/* ---- lines ---- */

static void stat_text(struct exec *x, const char *name, const char *value)
{
    char line[STAT_LINE_MAX];

    snprintf(line, sizeof line, "STAT %s %s", name, value);
    reply_line(x, line);
}

static void stat_number(struct exec *x, const char *name, uint64_t value)
{
    char text[24];

    snprintf(text, sizeof text, "%" PRIu64, value);
    stat_text(x, name, text);
}

static void stat_flag(struct exec *x, const char *name, bool value)
{
    stat_text(x, name, value ? "yes" : "no");
}

/* "items:1:number", "1:chunk_size" */
static void stat_of_class(struct exec *x, const char *prefix, const char *name, uint64_t value)
{
    char full[STAT_LINE_MAX / 2];

    snprintf(full, sizeof full, "%s%s", prefix, name);
    stat_number(x, full, value);
}

static void stat_cpu(struct exec *x, const char *name, struct timeval t)
{
    char text[48];

    snprintf(text, sizeof text, "%lld.%06ld", (long long)t.tv_sec, (long)t.tv_usec);
    stat_text(x, name, text);
}

/* ---- stats ---- */

static void process_stats(struct exec *x, const struct counters *c)
{
    uint64_t clients = atomic_load_explicit(&x->server->clients, memory_order_relaxed);
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    stat_number(x, "pid", (uint64_t)getpid());
    stat_number(x, "uptime", (uint64_t)(since(x->now, x->server->started).ms / MS));
    stat_number(x, "time", (uint64_t)(x->now.ms / MS));
    stat_text(x, "version", MEMCACHE_VERSION);
    stat_number(x, "pointer_size", sizeof(void *) * 8);
    stat_cpu(x, "rusage_user", usage.ru_utime);
    stat_cpu(x, "rusage_system", usage.ru_stime);
    stat_number(x, "max_connections", (uint64_t)option_live(x->options, maxclients));
    stat_number(x, "curr_connections", clients);
    stat_number(x, "total_connections", c->connections_received);
    stat_number(x, "rejected_connections", c->connections_rejected);
    stat_number(x, "connection_structures", clients);
    stat_number(x, "response_obj_oom", 0);
    stat_number(x, "read_buf_oom", 0);
}

static void command_stats(struct exec *x, const struct counters *c)
{
    stat_number(x, "cmd_get", c->mc_cmd_get);
    stat_number(x, "cmd_set", c->mc_cmd_set);
    stat_number(x, "cmd_flush", c->mc_cmd_flush);
    stat_number(x, "cmd_touch", c->mc_cmd_touch);
    stat_number(x, "cmd_meta", c->mc_cmd_meta);
    stat_number(x, "get_hits", c->mc_get_hits);
    stat_number(x, "get_misses", c->mc_get_misses);
    stat_number(x, "get_expired", c->mc_get_expired);
    stat_number(x, "get_flushed", c->mc_get_flushed);
    stat_number(x, "delete_misses", c->mc_delete_misses);
    stat_number(x, "delete_hits", c->mc_delete_hits);
    stat_number(x, "incr_misses", c->mc_incr_misses);
    stat_number(x, "incr_hits", c->mc_incr_hits);
    stat_number(x, "decr_misses", c->mc_decr_misses);
    stat_number(x, "decr_hits", c->mc_decr_hits);
    stat_number(x, "cas_misses", c->mc_cas_misses);
    stat_number(x, "cas_hits", c->mc_cas_hits);
    stat_number(x, "cas_badval", c->mc_cas_badval);
    stat_number(x, "touch_hits", c->mc_touch_hits);
    stat_number(x, "touch_misses", c->mc_touch_misses);
    stat_number(x, "store_too_large", c->too_large);
    stat_number(x, "store_no_memory", c->oom_refused);
    stat_number(x, "auth_errors", c->auth_failures);
}

static void traffic_stats(struct exec *x, const struct counters *c, const struct store_stats *s)
{
    stat_number(x, "bytes_read", c->net_input_bytes);
    stat_number(x, "bytes_written", c->net_output_bytes);
    stat_number(x, "limit_maxbytes", option_live(x->options, maxmemory));
    stat_number(x, "accepting_conns", 1);
    stat_number(x, "listen_disabled_num", 0);
    stat_number(x, "time_in_listen_disabled_us", 0);
    stat_number(x, "threads", x->server->workers_len);
    stat_number(x, "conn_yields", 0);
    stat_number(x, "hash_bytes", s->index_bytes);
    stat_number(x, "hash_is_expanding", 0);
    stat_number(x, "slab_reassign_running", 0);
    stat_number(x, "slabs_moved", s->segments_compacted);
    stat_number(x, "lru_crawler_running", 0);
    stat_number(x, "lru_crawler_starts", 0);
    stat_number(x, "malloc_fails", 0);
}

static void item_stats(struct exec *x, const struct store_stats *s)
{
    stat_number(x, "bytes", s->value_bytes);
    stat_number(x, "curr_items", s->items);
    stat_number(x, "total_items", s->items_total);
    stat_number(x, "slab_global_page_pool", 0);
    stat_number(x, "expired_unfetched", 0);
    stat_number(x, "evicted_unfetched", 0);
    stat_number(x, "evicted_active", 0);
    stat_number(x, "evictions", s->evicted);
    stat_number(x, "reclaimed", s->expired);
    stat_number(x, "crawler_reclaimed", s->expired);
    stat_number(x, "crawler_items_checked", 0);
    stat_number(x, "lrutail_reflocked", 0);
    stat_number(x, "moves_to_cold", 0);
    stat_number(x, "moves_to_warm", 0);
    stat_number(x, "moves_within_lru", 0);
    stat_number(x, "direct_reclaims", s->evicted);
    stat_number(x, "lru_bumps_dropped", 0);
}

static void general(struct exec *x, const struct counters *c, const struct store_stats *s)
{
    process_stats(x, c);
    command_stats(x, c);
    traffic_stats(x, c, s);
    item_stats(x, s);
}

/* ---- stats settings ---- */

static void settings(struct exec *x)
{
    const struct options *o = x->options;

    stat_number(x, "maxbytes", option_live(o, maxmemory));
    stat_number(x, "maxconns", (uint64_t)option_live(o, maxclients));
    stat_number(x, "tcpport", (uint64_t)o->memcache_port);
    stat_number(x, "udpport", 0);
    stat_text(x, "inter", o->bind);
    stat_number(x, "verbosity", 0);
    stat_number(x, "oldest", 0);
    pthread_mutex_lock(&x->server->options_lock);
    stat_text(x, "evictions", strcmp(o->maxmemory_policy, "noeviction") == 0 ? "off" : "on");
    pthread_mutex_unlock(&x->server->options_lock);
    stat_text(x, "domain_socket", "NULL");
    stat_text(x, "shutdown_command", "no");
    stat_number(x, "num_threads", x->server->workers_len);
    stat_text(x, "stat_key_prefix", ":");
    stat_flag(x, "detail_enabled", false);
    stat_flag(x, "cas_enabled", true);
    stat_number(x, "tcp_backlog", (uint64_t)o->tcp_backlog);
    stat_text(x, "binding_protocol", "ascii");
    stat_flag(x, "auth_enabled_sasl", false);
    stat_flag(x, "auth_enabled_ascii", server_password_set(x->server));
    stat_number(x, "item_size_max", option_live(o, max_item_size));
    stat_flag(x, "maxconns_fast", true);
    stat_flag(x, "slab_reassign", true);
    stat_number(x, "slab_automove", 1);
    stat_flag(x, "lru_crawler", true); /* expired items do not wait to be asked for */
    stat_flag(x, "flush_enabled", option_live(o, memcache_flush_enabled));
    stat_flag(x, "dump_enabled", true);
    stat_text(x, "hash_algorithm", "xxh3");
    stat_flag(x, "lru_maintainer_thread", true);
    stat_flag(x, "lru_segmented", false);
    stat_number(x, "idle_timeout", (uint64_t)option_live(o, timeout));
    stat_flag(x, "track_sizes", false);
    stat_flag(x, "ssl_enabled", false);
}

/* ---- stats items, slabs ---- */

static void items(struct exec *x, const struct store_stats *s)
{
    static const struct {
        const char *name;
        size_t offset; /* of the figure in struct store_stats */
    } known[] = {
        {"number", offsetof(struct store_stats, items)},
        {"number_cold", offsetof(struct store_stats, items)},
        {"mem_requested", offsetof(struct store_stats, value_bytes)},
        {"evicted", offsetof(struct store_stats, evicted)},
        {"outofmemory", offsetof(struct store_stats, put_refused)},
        {"reclaimed", offsetof(struct store_stats, expired)},
        {"crawler_reclaimed", offsetof(struct store_stats, expired)},
    };
    static const char *const zero[] = {
        "number_hot",
        "number_warm",
        "age_hot",
        "age_warm",
        "age",
        "evicted_nonzero",
        "evicted_time",
        "tailrepairs",
        "expired_unfetched",
        "evicted_unfetched",
        "evicted_active",
        "crawler_items_checked",
        "lrutail_reflocked",
        "moves_to_cold",
        "moves_to_warm",
        "moves_within_lru",
        "direct_reclaims",
        "hits_to_hot",
        "hits_to_warm",
        "hits_to_cold",
        "hits_to_temp",
    };

    if (s->items == 0)
        return;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        uint64_t value;

        memcpy(&value, (const char *)s + known[i].offset, sizeof value);
        stat_of_class(x, "items:1:", known[i].name, value);
    }
    for (size_t i = 0; i < sizeof zero / sizeof zero[0]; i++)
        stat_of_class(x, "items:1:", zero[i], 0);
}

/* A chunk is a byte, so that used and total chunks are right whatever sizes there are. */
static void slabs(struct exec *x, const struct counters *c, const struct store_stats *s)
{
    uint64_t total = s->segment_bytes + s->blob_bytes;
    uint64_t unused = total > s->value_bytes ? total - s->value_bytes : 0;

    if (s->items != 0) {
        stat_of_class(x, "1:", "chunk_size", 1);
        stat_of_class(x, "1:", "chunks_per_page", 1 << 20);
        stat_of_class(x, "1:", "total_pages", total >> 20);
        stat_of_class(x, "1:", "total_chunks", total);
        stat_of_class(x, "1:", "used_chunks", s->value_bytes);
        stat_of_class(x, "1:", "free_chunks", unused);
        stat_of_class(x, "1:", "free_chunks_end", 0);
        stat_of_class(x, "1:", "mem_requested", s->value_bytes);
        stat_of_class(x, "1:", "get_hits", c->mc_get_hits);
        stat_of_class(x, "1:", "cmd_set", c->mc_cmd_set);
        stat_of_class(x, "1:", "delete_hits", c->mc_delete_hits);
        stat_of_class(x, "1:", "incr_hits", c->mc_incr_hits);
        stat_of_class(x, "1:", "decr_hits", c->mc_decr_hits);
        stat_of_class(x, "1:", "cas_hits", c->mc_cas_hits);
        stat_of_class(x, "1:", "cas_badval", c->mc_cas_badval);
        stat_of_class(x, "1:", "touch_hits", c->mc_touch_hits);
    }
    stat_number(x, "active_slabs", s->items != 0);
    stat_number(x, "total_malloced", s->memory_bytes);
}

/* ---- stats conns ---- */

static void stat_of_client(struct exec *x, const struct session *s, const char *name, const char *prefix,
                           const char *value)
{
    char line[STAT_LINE_MAX];

    snprintf(line, sizeof line, "STAT %d:%s %s%s", s->fd, name, prefix, value);
    reply_line(x, line);
}

static void conns(struct exec *x)
{
    char seconds[24];

    clients_lock(x->server->registry);
    for (struct session *s = clients_first(x->server->registry); s != NULL; s = clients_next(s)) {
        int64_t idle = x->now.ms - atomic_load_explicit(&s->last_active_ms, memory_order_relaxed);

        if (s->dialect != DIALECT_MEMCACHE)
            continue;
        snprintf(seconds, sizeof seconds, "%" PRId64, idle > 0 ? idle / MS : 0);
        stat_of_client(x, s, "addr", "tcp:", s->address);
        stat_of_client(x, s, "listen_addr", "tcp:", s->local_address);
        stat_of_client(x, s, "state", "", s == x->session ? "conn_parse_cmd" : "conn_read");
        stat_of_client(x, s, "secs_since_last_cmd", "", seconds);
    }
    clients_unlock(x->server->registry);
}

/* ---- stats cachedump ---- */

struct dump {
    struct exec *x;
    uint64_t left; /* items still wanted */
    size_t bytes;  /* written so far */
};

/* Keys that redis clients made may hold what a line cannot. */
static bool fits_line(struct slice key)
{
    for (size_t i = 0; i < key.len; i++)
        if (key.data[i] <= ' ')
            return false;
    return key.len <= 250;
}

static void dump_item(void *arg, const struct scan_item *item)
{
    struct dump *dump = arg;
    char line[STAT_LINE_MAX + 64];
    int len;

    if (dump->left == 0 || item->db != dump->x->db || !fits_line(item->key))
        return;
    len = snprintf(line, sizeof line, "ITEM %.*s [%zu b; %lld s]\r\n", (int)item->key.len,
                   (const char *)item->key.data, item->value.len, (long long)(item->expires.ms / MS));
    if (dump->bytes + (size_t)len > DUMP_BYTES_MAX) {
        dump->left = 0;
        return;
    }
    reply_raw(dump->x, line, (size_t)len);
    dump->bytes += (size_t)len;
    dump->left--;
}

/* stats cachedump <class> <limit>; a limit of 0 is none. */
static bool cachedump(struct exec *x, const struct request *rq)
{
    uint64_t class, limit;
    struct dump dump = {.x = x};
    uint64_t cursor = 0;

    if (rq->argc < 4) {
        reply_line(x, "CLIENT_ERROR bad command line");
        return false;
    }
    if (!slice_to_u64(rq->argv[2], &class) || !slice_to_u64(rq->argv[3], &limit)) {
        reply_line(x, MEMCACHE_BAD_LINE);
        return false;
    }
    if (class > SLAB_CLASS_MAX) {
        reply_line(x, "CLIENT_ERROR Illegal slab id");
        return false;
    }
    dump.left = class != 1 ? 0 : limit == 0 ? UINT64_MAX : limit;
    while (dump.left > 0) {
        cursor = store_scan(x->store, cursor, DUMP_STEP, x->now, dump_item, &dump);
        if (cursor == 0)
            break;
    }
    return true;
}

/* ---- the command ---- */

/* False when the answer is complete without END. */
static bool run(struct exec *x, const struct request *rq, struct slice what)
{
    struct store_stats store;
    struct counters counters;

    server_counters(x->server, &counters);
    server_store_stats(x->server, &store);
    if (what.len == 0)
        general(x, &counters, &store);
    else if (slice_is(what, "settings"))
        settings(x);
    else if (slice_is(what, "items"))
        items(x, &store);
    else if (slice_is(what, "slabs"))
        slabs(x, &counters, &store);
    else if (slice_is(what, "sizes"))
        stat_text(x, "sizes_status", "disabled");
    else if (slice_is(what, "conns"))
        conns(x);
    else if (slice_is(what, "cachedump"))
        return cachedump(x, rq);
    else if (!slice_is(what, "extstore")) {
        reply_line(x, "ERROR");
        return false;
    }
    return true;
}

void mc_stats(struct exec *x, struct request *rq)
{
    struct slice what = rq->argc > 1 ? rq->argv[1] : (struct slice){NULL, 0};

    if (slice_is(what, "reset") && what.len != 0) {
        server_reset_stats(x->server);
        reply_line(x, "RESET");
    } else if (run(x, rq, what)) {
        reply_line(x, "END");
    }
}
