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

#include "server/check.h"
#include "server/clients.h"
#include "server/cluster/report.h"
#include "server/command/memcache.h"
#include "server/command/memcache_edit.h"
#include "server/herd/report.h"
#include "server/origin/origins.h"
#include "server/memcache_auth.h"
#include "server/server.h"

enum {
    STAT_LINE_MAX = 512,
    MS = 1000,
    SLAB_CLASS_MAX = 63,      /* memcached's; ours is 1 */
    DUMP_STEP = 512,          /* slots visited per step of a dump */
    DUMP_BYTES_MAX = 2 << 20, /* of one stats cachedump, as in memcached */
    DUMP_STEPS_MAX = 512,     /* it looks at no more slots than these steps make, whatever it finds */
};

/* ---- lines ---- */

static void stat_text(const struct stats_reply *to, const char *name, const char *value)
{
    struct slice name_bytes = slice_of(name), value_bytes = slice_of(value);
    char line[STAT_LINE_MAX];
    uint8_t *p;

    if (to->binary == NULL) {
        snprintf(line, sizeof line, "STAT %s %s", name, value);
        reply_line(to->x, line);
        return;
    }
    p = out_room(to->x->out, BINARY_STAT_ROOM(name_bytes.len, value_bytes.len));
    out_commit(to->x->out, binary_put_stat(p, to->binary, name_bytes, value_bytes));
}

static void stat_number(const struct stats_reply *to, const char *name, uint64_t value)
{
    char text[24];

    snprintf(text, sizeof text, "%" PRIu64, value);
    stat_text(to, name, text);
}

static void stat_flag(const struct stats_reply *to, const char *name, bool value)
{
    stat_text(to, name, value ? "yes" : "no");
}

/* "items:1:number", "1:chunk_size" */
static void stat_of_class(const struct stats_reply *to, const char *prefix, const char *name, uint64_t value)
{
    char full[STAT_LINE_MAX / 2];

    snprintf(full, sizeof full, "%s%s", prefix, name);
    stat_number(to, full, value);
}

static void stat_cpu(const struct stats_reply *to, const char *name, struct timeval t)
{
    char text[48];

    snprintf(text, sizeof text, "%lld.%06ld", (long long)t.tv_sec, (long)t.tv_usec);
    stat_text(to, name, text);
}

/* ---- stats ---- */

static void process_stats(const struct stats_reply *to, const struct counters *c)
{
    uint64_t clients = atomic_load_explicit(&to->x->server->clients, memory_order_relaxed);
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    stat_number(to, "pid", (uint64_t)getpid());
    stat_number(to, "uptime", (uint64_t)(since(to->x->now, to->x->server->started).ms / MS));
    stat_number(to, "time", (uint64_t)(to->x->now.ms / MS));
    stat_text(to, "version", MEMCACHE_VERSION);
    stat_number(to, "pointer_size", sizeof(void *) * 8);
    stat_cpu(to, "rusage_user", usage.ru_utime);
    stat_cpu(to, "rusage_system", usage.ru_stime);
    stat_number(to, "max_connections", (uint64_t)option_live(to->x->options, maxclients));
    stat_number(to, "curr_connections", clients);
    stat_number(to, "total_connections", c->connections_received);
    stat_number(to, "rejected_connections", c->connections_rejected);
    stat_number(to, "connection_structures", clients);
    stat_number(to, "response_obj_oom", 0);
    stat_number(to, "read_buf_oom", 0);
}

static void command_stats(const struct stats_reply *to, const struct counters *c)
{
    stat_number(to, "cmd_get", c->mc_cmd_get);
    stat_number(to, "cmd_set", c->mc_cmd_set);
    stat_number(to, "cmd_flush", c->mc_cmd_flush);
    stat_number(to, "cmd_touch", c->mc_cmd_touch);
    stat_number(to, "cmd_meta", c->mc_cmd_meta);
    stat_number(to, "get_hits", c->mc_get_hits);
    stat_number(to, "get_misses", c->mc_get_misses);
    stat_number(to, "get_expired", c->mc_get_expired);
    stat_number(to, "get_flushed", c->mc_get_flushed);
    stat_number(to, "delete_misses", c->mc_delete_misses);
    stat_number(to, "delete_hits", c->mc_delete_hits);
    stat_number(to, "incr_misses", c->mc_incr_misses);
    stat_number(to, "incr_hits", c->mc_incr_hits);
    stat_number(to, "decr_misses", c->mc_decr_misses);
    stat_number(to, "decr_hits", c->mc_decr_hits);
    stat_number(to, "cas_misses", c->mc_cas_misses);
    stat_number(to, "cas_hits", c->mc_cas_hits);
    stat_number(to, "cas_badval", c->mc_cas_badval);
    stat_number(to, "touch_hits", c->mc_touch_hits);
    stat_number(to, "touch_misses", c->mc_touch_misses);
    stat_number(to, "store_too_large", c->too_large);
    stat_number(to, "store_no_memory", c->oom_refused);
    stat_number(to, "auth_errors", c->auth_failures);
}

static void traffic_stats(const struct stats_reply *to, const struct counters *c, const struct store_stats *s)
{
    stat_number(to, "bytes_read", c->net_input_bytes);
    stat_number(to, "bytes_written", c->net_output_bytes);
    stat_number(to, "limit_maxbytes", option_live(to->x->options, maxmemory));
    stat_number(to, "accepting_conns", 1);
    stat_number(to, "listen_disabled_num", 0);
    stat_number(to, "time_in_listen_disabled_us", 0);
    stat_number(to, "threads", to->x->server->workers_len);
    stat_number(to, "conn_yields", 0);
    stat_number(to, "hash_bytes", s->index_bytes);
    stat_number(to, "hash_is_expanding", 0);
    stat_number(to, "slab_reassign_running", 0);
    stat_number(to, "slabs_moved", s->segments_compacted);
    stat_number(to, "lru_crawler_running", 0);
    stat_number(to, "lru_crawler_starts", 0);
    stat_number(to, "malloc_fails", 0);
}

static void item_stats(const struct stats_reply *to, const struct store_stats *s)
{
    stat_number(to, "bytes", s->value_bytes);
    stat_number(to, "curr_items", s->items);
    stat_number(to, "total_items", s->items_total);
    stat_number(to, "slab_global_page_pool", 0);
    stat_number(to, "expired_unfetched", 0);
    stat_number(to, "evicted_unfetched", 0);
    stat_number(to, "evicted_active", 0);
    stat_number(to, "evictions", s->evicted);
    stat_number(to, "reclaimed", s->expired);
    stat_number(to, "crawler_reclaimed", s->expired);
    stat_number(to, "crawler_items_checked", 0);
    stat_number(to, "lrutail_reflocked", 0);
    stat_number(to, "moves_to_cold", 0);
    stat_number(to, "moves_to_warm", 0);
    stat_number(to, "moves_within_lru", 0);
    stat_number(to, "direct_reclaims", s->evicted);
    stat_number(to, "lru_bumps_dropped", 0);
}

static void general(const struct stats_reply *to, const struct counters *c, const struct store_stats *s)
{
    process_stats(to, c);
    command_stats(to, c);
    traffic_stats(to, c, s);
    item_stats(to, s);
}

/* ---- stats settings ---- */

/* With commas, as memcached is told them: readers of stats take a line of more than three words for none. */
static void stat_inter(const struct stats_reply *to, const char *bind)
{
    char list[STAT_LINE_MAX / 2];

    snprintf(list, sizeof list, "%s", bind);
    for (char *at = list; (at = strchr(at, ' ')) != NULL;)
        *at = ',';
    stat_text(to, "inter", list[0] != '\0' ? list : "NULL");
}

static void settings(const struct stats_reply *to)
{
    struct exec *x = to->x;
    const struct options *o = x->options;

    stat_number(to, "maxbytes", option_live(o, maxmemory));
    stat_number(to, "maxconns", (uint64_t)option_live(o, maxclients));
    stat_number(to, "tcpport", (uint64_t)o->memcache_port);
    stat_number(to, "udpport", 0);
    stat_inter(to, o->bind);
    stat_number(to, "verbosity", 0);
    stat_number(to, "oldest", 0);
    pthread_mutex_lock(&to->x->server->options_lock);
    stat_text(to, "evictions", strcmp(o->maxmemory_policy, "noeviction") == 0 ? "off" : "on");
    pthread_mutex_unlock(&to->x->server->options_lock);
    stat_text(to, "domain_socket", "NULL");
    stat_text(to, "shutdown_command", "no");
    stat_number(to, "num_threads", to->x->server->workers_len);
    stat_text(to, "stat_key_prefix", ":");
    stat_flag(to, "detail_enabled", prefixes_on(&to->x->server->prefixes));
    stat_flag(to, "cas_enabled", true);
    stat_number(to, "tcp_backlog", (uint64_t)o->tcp_backlog);
    stat_text(to, "binding_protocol", "auto-negotiate");
    stat_flag(to, "auth_enabled_sasl", memcache_auth_needed(to->x->server));
    stat_flag(to, "auth_enabled_ascii", memcache_auth_needed(to->x->server));
    stat_number(to, "item_size_max", option_live(o, max_item_size));
    stat_flag(to, "maxconns_fast", true);
    stat_flag(to, "slab_reassign", true);
    stat_number(to, "slab_automove", 1);
    stat_flag(to, "lru_crawler", true); /* expired items do not wait to be asked for */
    stat_flag(to, "flush_enabled", option_live(o, memcache_flush_enabled));
    stat_flag(to, "dump_enabled", true);
    stat_text(to, "hash_algorithm", "xxh3");
    stat_flag(to, "lru_maintainer_thread", true);
    stat_flag(to, "lru_segmented", false);
    stat_number(to, "idle_timeout", (uint64_t)option_live(o, timeout));
    stat_flag(to, "track_sizes", false);
    stat_flag(to, "ssl_enabled", false);
}

/* ---- stats items, slabs ---- */

static void items(const struct stats_reply *to, const struct store_stats *s)
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
        stat_of_class(to, "items:1:", known[i].name, value);
    }
    for (size_t i = 0; i < sizeof zero / sizeof zero[0]; i++)
        stat_of_class(to, "items:1:", zero[i], 0);
}

/* A chunk is a byte, so that used and total chunks are right whatever sizes there are. */
static void slabs(const struct stats_reply *to, const struct counters *c, const struct store_stats *s)
{
    uint64_t total = s->segment_bytes + s->blob_bytes;
    uint64_t unused = total > s->value_bytes ? total - s->value_bytes : 0;

    if (s->items != 0) {
        stat_of_class(to, "1:", "chunk_size", 1);
        stat_of_class(to, "1:", "chunks_per_page", 1 << 20);
        stat_of_class(to, "1:", "total_pages", total >> 20);
        stat_of_class(to, "1:", "total_chunks", total);
        stat_of_class(to, "1:", "used_chunks", s->value_bytes);
        stat_of_class(to, "1:", "free_chunks", unused);
        stat_of_class(to, "1:", "free_chunks_end", 0);
        stat_of_class(to, "1:", "mem_requested", s->value_bytes);
        stat_of_class(to, "1:", "get_hits", c->mc_get_hits);
        stat_of_class(to, "1:", "cmd_set", c->mc_cmd_set);
        stat_of_class(to, "1:", "delete_hits", c->mc_delete_hits);
        stat_of_class(to, "1:", "incr_hits", c->mc_incr_hits);
        stat_of_class(to, "1:", "decr_hits", c->mc_decr_hits);
        stat_of_class(to, "1:", "cas_hits", c->mc_cas_hits);
        stat_of_class(to, "1:", "cas_badval", c->mc_cas_badval);
        stat_of_class(to, "1:", "touch_hits", c->mc_touch_hits);
    }
    stat_number(to, "active_slabs", s->items != 0);
    stat_number(to, "total_malloced", s->memory_bytes);
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

    if (dump->left == 0 || item->db != dump->x->db || !fits_line(item->key) || !memcache_shows(item->state))
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
    for (int steps = 0; dump.left > 0 && steps < DUMP_STEPS_MAX; steps++) {
        cursor = store_scan(x->store, cursor, DUMP_STEP, x->now, dump_item, &dump);
        if (cursor == 0)
            break;
    }
    return true;
}

/* ---- stats detail ---- */

void memcache_note(struct exec *x, struct slice key, enum prefix_event event)
{
    size_t most = (size_t)option_live(x->options, memcache_detail_prefixes);

    counter_add(x->counters, mc_detail_left_out, !prefixes_count(&x->server->prefixes, key, event, most));
}

static void dump_prefix(void *arg, const struct prefix_counts *c)
{
    char counts[128];
    struct exec *x = arg;
    int len = snprintf(counts, sizeof counts,
                       " get %" PRIu64 " hit %" PRIu64 " set %" PRIu64 " del %" PRIu64 "\r\n", c->gets,
                       c->hits, c->sets, c->deletes);

    reply_raw(x, "PREFIX ", 7);
    reply_raw(x, c->prefix.data, c->prefix.len);
    reply_raw(x, counts, (size_t)len);
}

void memcache_detail_dump(struct exec *x)
{
    prefixes_each(&x->server->prefixes, dump_prefix, x);
    reply_line(x, "END");
}

static void detail(struct exec *x, const struct request *rq)
{
    struct slice what = rq->argc > 2 ? rq->argv[2] : (struct slice){NULL, 0};

    if (what.len == 0 || !(slice_is(what, "on") || slice_is(what, "off") || slice_is(what, "dump"))) {
        reply_line(x, "CLIENT_ERROR usage: stats detail on|off|dump");
    } else if (slice_is(what, "dump")) {
        memcache_detail_dump(x);
    } else {
        prefixes_switch(&x->server->prefixes, slice_is(what, "on"));
        reply_line(x, "OK");
    }
}

/* ---- stats herd ---- */

struct origin_stats {
    const struct stats_reply *to;
    unsigned i;
};

static void origin_stat(void *arg, const char *name, const char *value)
{
    const struct origin_stats *s = arg;
    char full[64];

    snprintf(full, sizeof full, "origin:%u:%s", s->i, name);
    stat_text(s->to, full, value);
}

static void herd(const struct stats_reply *to, const struct counters *c)
{
    struct origin_stats origin = {.to = to};
    struct herd_figure figures[HERD_FIGURES_MAX];
    size_t n = herd_figures(to->x->server, c, figures);
    const char *pattern;
    char prefix[32];

    for (size_t i = 0; i < n; i++)
        stat_number(to, figures[i].name, figures[i].value);
    for (unsigned rule = 0; (n = herd_rule_figures(to->x->server, rule, &pattern, figures)) > 0; rule++) {
        char name[sizeof prefix + 8];

        snprintf(prefix, sizeof prefix, "rule:%u:", rule);
        snprintf(name, sizeof name, "%spattern", prefix);
        stat_text(to, name, pattern);
        for (size_t i = 0; i < n; i++)
            stat_of_class(to, prefix, figures[i].name, figures[i].value);
    }
    while (origins_figures(to->x->server, origin.i, origin_stat, &origin))
        origin.i++;
}

static void cluster(const struct stats_reply *to, const struct counters *c)
{
    struct cluster_figure figures[CLUSTER_FIGURES_MAX];
    size_t n = cluster_figures(to->x->server, c, figures);

    if (n > 0)
        stat_text(to, "state", cluster_is_whole(to->x->server) ? "ok" : "fail");
    for (size_t i = 0; i < n; i++)
        stat_number(to, figures[i].name, figures[i].value);
}

/* ---- the command ---- */

enum stats_outcome memcache_stats(const struct stats_reply *to, struct slice group)
{
    struct store_stats store;
    struct counters counters;

    if (slice_is(group, "reset")) {
        server_reset_stats(to->x->server);
        prefixes_forget(&to->x->server->prefixes);
        return STATS_RESET;
    }
    server_counters(to->x->server, &counters);
    server_store_stats(to->x->server, &store);
    if (group.len == 0)
        general(to, &counters, &store);
    else if (slice_is(group, "settings"))
        settings(to);
    else if (slice_is(group, "items"))
        items(to, &store);
    else if (slice_is(group, "slabs"))
        slabs(to, &counters, &store);
    else if (slice_is(group, "sizes") || slice_is(group, "sizes_enable") || slice_is(group, "sizes_disable"))
        stat_text(to, "sizes_status", "disabled");
    else if (slice_is(group, "herd"))
        herd(to, &counters);
    else if (slice_is(group, "cluster"))
        cluster(to, &counters);
    else
        return STATS_UNKNOWN;
    return STATS_DONE;
}

/* What is only told in lines. */
static bool text_only(struct exec *x, const struct request *rq, struct slice what)
{
    if (slice_is(what, "detail")) {
        detail(x, rq);
    } else if (slice_is(what, "cachedump")) {
        if (cachedump(x, rq))
            reply_line(x, "END");
    } else if (slice_is(what, "conns")) {
        conns(x);
        reply_line(x, "END");
    } else if (slice_is(what, "extstore")) {
        reply_line(x, "END");
    } else {
        return false;
    }
    return true;
}

void mc_stats(struct exec *x, struct request *rq)
{
    struct slice what = rq->argc > 1 ? rq->argv[1] : (struct slice){(const uint8_t *)"", 0};
    struct stats_reply reply = {x, NULL};

    if (text_only(x, rq, what))
        return;
    switch (memcache_stats(&reply, what)) {
    case STATS_DONE: reply_line(x, "END"); return;
    case STATS_RESET: reply_line(x, "RESET"); return;
    case STATS_UNKNOWN: reply_line(x, "ERROR"); return;
    }
    CHECK_UNREACHABLE();
}
