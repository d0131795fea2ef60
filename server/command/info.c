/* info.c - INFO: how the node is doing, under the names that dashboards read. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "config.h"
#include "server/check.h"
#include "server/command/command.h"
#include "server/memory.h"
#include "server/overload.h"
#include "server/server.h"

enum { LINE_MAX_BYTES = 512 };

struct info {
    struct exec *x;
    struct server *server;
    struct out text;
    struct counters counters;
    struct store_stats store;
};

__attribute__((format(printf, 2, 3))) static void line(struct info *info, const char *format, ...)
{
    char *p = (char *)out_room(&info->text, LINE_MAX_BYTES);
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(p, LINE_MAX_BYTES - 2, format, args);
    va_end(args);
    if (n < 0)
        n = 0;
    if (n > LINE_MAX_BYTES - 3)
        n = LINE_MAX_BYTES - 3;
    memcpy(p + n, "\r\n", 2);
    out_commit(&info->text, (uint8_t *)p + n + 2);
}

static void number(struct info *info, const char *name, uint64_t value)
{
    line(info, "%s:%llu", name, (unsigned long long)value);
}

/* Fields that dashboards expect of a redis, and that are nothing here. */
static void zeroes(struct info *info, const char *const *names)
{
    for (; *names != NULL; names++)
        number(info, *names, 0);
}

static void bytes(struct info *info, const char *name, uint64_t value)
{
    static const char unit[] = "BKMGTP";
    double v = (double)value;
    size_t i = 0;

    number(info, name, value);
    while (v >= 1024 && i + 2 < sizeof unit) {
        v /= 1024;
        i++;
    }
    if (i == 0)
        line(info, "%s_human:%lluB", name, (unsigned long long)value);
    else
        line(info, "%s_human:%.2f%c", name, v, unit[i]);
}

static double ratio(uint64_t a, uint64_t b)
{
    return b > 0 ? (double)a / (double)b : 0;
}

/* ---- sections ---- */

static void info_server(struct info *info)
{
    struct server *server = info->server;
    int64_t uptime = since(info->x->now, server->started).ms / 1000;
    struct utsname os;

    line(info, "redis_version:" SERVER_REDIS_VERSION);
    line(info, "server_name:corral");
    line(info, "corral_version:" CORRAL_VERSION);
    line(info, "redis_mode:standalone");
    if (uname(&os) == 0)
        line(info, "os:%s %s %s", os.sysname, os.release, os.machine);
    number(info, "arch_bits", 8 * sizeof(void *));
    line(info, "multiplexing_api:epoll");
    line(info, "gcc_version:%d.%d.%d", __GNUC__, __GNUC_MINOR__, __GNUC_PATCHLEVEL__);
    line(info, "process_id:%d", (int)getpid());
    line(info, "process_supervised:no");
    line(info, "run_id:%s", server->run_id);
    line(info, "tcp_port:%d", server->options.port);
    line(info, "memcache_port:%d", server->options.memcache_port);
    line(info, "server_time_usec:%lld", (long long)clock_now_us());
    line(info, "uptime_in_seconds:%lld", (long long)uptime);
    line(info, "uptime_in_days:%lld", (long long)uptime / 86400);
    line(info, "hz:%d", option_live(&server->options, hz));
    line(info, "configured_hz:%d", option_live(&server->options, hz));
    number(info, "io_threads_active", server->workers_len > 1);
    number(info, "worker_threads", server->workers_len);
}

static void info_clients(struct info *info)
{
    static const char *const none[] = {"blocked_clients", "tracking_clients", "clients_in_timeout_table",
                                       NULL};

    number(info, "connected_clients", atomic_load_explicit(&info->server->clients, memory_order_relaxed));
    number(info, "cluster_connections", 0);
    line(info, "maxclients:%d", option_live(&info->server->options, maxclients));
    zeroes(info, none);
    number(info, "client_output_limit_closed", info->counters.client_output_limit_closed);
    number(info, "client_query_limit_closed", info->counters.client_query_limit_closed);
    number(info, "client_idle_closed", info->counters.client_idle_closed);
    number(info, "client_request_timeout_closed", info->counters.client_request_timeout_closed);
    number(info, "client_memory", server_client_bytes(info->server));
    number(info, "client_memory_max", server_client_bytes_max(info->server));
}

static void policy_line(struct info *info)
{
    pthread_mutex_lock(&info->server->options_lock);
    line(info, "maxmemory_policy:%s", info->server->options.maxmemory_policy);
    pthread_mutex_unlock(&info->server->options_lock);
}

static void info_memory(struct info *info)
{
    struct server *server = info->server;
    const struct store_stats *s = &info->store;
    uint64_t used = server_used_memory(server), rss = server_rss();
    uint64_t peak = atomic_load_explicit(&server->memory_peak, memory_order_relaxed);
    uint64_t dataset = s->value_bytes < used ? s->value_bytes : used;
    struct memory_heap heap;

    memory_heap(&heap);
    if (peak < used)
        peak = used;
    bytes(info, "used_memory", used);
    bytes(info, "used_memory_rss", rss);
    bytes(info, "used_memory_peak", peak);
    line(info, "used_memory_peak_perc:%.2f%%", 100 * ratio(used, peak));
    number(info, "used_memory_overhead", used - dataset);
    number(info, "used_memory_startup", server->base_bytes);
    number(info, "used_memory_dataset", dataset);
    line(info, "used_memory_dataset_perc:%.2f%%", 100 * ratio(dataset, used));
    number(info, "used_memory_heap", atomic_load_explicit(&server->heap_bytes, memory_order_relaxed));
    number(info, "store_memory", s->memory_bytes);
    number(info, "store_live", s->value_bytes);
    number(info, "store_capacity", s->capacity_bytes);
    number(info, "store_segments", s->segment_bytes);
    number(info, "store_index", s->index_bytes);
    number(info, "store_policy", s->policy_bytes);
    number(info, "store_blobs", s->blob_bytes);
    number(info, "allocator_allocated", heap.allocated);
    number(info, "allocator_active", heap.active);
    number(info, "allocator_resident", heap.resident);
    bytes(info, "total_system_memory", (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE));
    bytes(info, "maxmemory", option_live(&server->options, maxmemory));
    policy_line(info);
    line(info, "mem_fragmentation_ratio:%.2f", ratio(rss, used));
    line(info, "mem_fragmentation_bytes:%lld", (long long)(rss - used));
    line(info, "mem_allocator:%s", memory_allocator());
    number(info, "lazyfree_pending_objects", 0);
}

static void info_persistence(struct info *info)
{
    static const char *const none[] = {"loading", "async_loading", "rdb_changes_since_last_save",
                                       "rdb_bgsave_in_progress", NULL};

    zeroes(info, none);
    line(info, "rdb_last_save_time:%lld", (long long)info->server->started.ms / 1000);
    line(info, "rdb_last_bgsave_status:ok");
    number(info, "aof_enabled", 0);
    number(info, "aof_rewrite_in_progress", 0);
    line(info, "aof_last_bgrewrite_status:ok");
    line(info, "aof_last_write_status:ok");
}

static uint64_t errors_total(struct info *info)
{
    struct error_stats *errors = &info->server->errors;
    uint64_t total = 0;

    pthread_mutex_lock(&errors->lock);
    for (unsigned i = 0; i < errors->len; i++)
        total += errors->rows[i].count;
    pthread_mutex_unlock(&errors->lock);
    return total;
}

static void info_stats(struct info *info)
{
    static const char *const none[] = {"sync_full",
                                       "sync_partial_ok",
                                       "sync_partial_err",
                                       "pubsub_channels",
                                       "pubsub_patterns",
                                       "latest_fork_usec",
                                       "total_forks",
                                       "tracking_total_keys",
                                       "tracking_total_items",
                                       "tracking_total_prefixes",
                                       NULL};
    const struct counters *c = &info->counters;
    const struct store_stats *s = &info->store;
    struct server_rates *rates = &info->server->rates;

    number(info, "total_connections_received", c->connections_received);
    number(info, "total_commands_processed", c->commands_processed);
    number(info, "instantaneous_ops_per_sec", atomic_load_explicit(&rates->commands, memory_order_relaxed));
    number(info, "total_net_input_bytes", c->net_input_bytes);
    number(info, "total_net_output_bytes", c->net_output_bytes);
    line(info, "instantaneous_input_kbps:%.2f",
         (double)atomic_load_explicit(&rates->input_bytes, memory_order_relaxed) / 1024);
    line(info, "instantaneous_output_kbps:%.2f",
         (double)atomic_load_explicit(&rates->output_bytes, memory_order_relaxed) / 1024);
    number(info, "rejected_connections", c->connections_rejected);
    number(info, "address_limit_rejected", c->address_limit_rejected);
    number(info, "protected_mode_rejected", c->protected_mode_rejected);
    number(info, "no_file_rejected", c->no_file_rejected);
    number(info, "cross_protocol_closed", c->cross_protocol_closed);
    number(info, "evicted_clients", c->evicted_clients);
    number(info, "expired_keys", s->expired);
    number(info, "evicted_keys", s->evicted);
    number(info, "keyspace_hits", c->keyspace_hits);
    number(info, "keyspace_misses", c->keyspace_misses);
    number(info, "expired_on_read", c->expired_on_read);
    number(info, "oom_refused", c->oom_refused);
    number(info, "too_large", c->too_large);
    number(info, "protocol_errors", c->protocol_errors);
    number(info, "auth_failures", c->auth_failures);
    number(info, "items_relocated", s->relocated);
    number(info, "segments_compacted", s->segments_compacted);
    zeroes(info, none);
    number(info, "total_error_replies", errors_total(info));
}

static void info_replication(struct info *info)
{
    line(info, "role:master");
    number(info, "connected_slaves", 0);
    line(info, "master_failover_state:no-failover");
    line(info, "master_replid:%s", info->server->run_id);
    number(info, "master_repl_offset", 0);
    line(info, "second_repl_offset:-1");
    number(info, "repl_backlog_active", 0);
}

static void info_cpu(struct info *info)
{
    struct rusage all;

    if (getrusage(RUSAGE_SELF, &all) != 0)
        return;
    line(info, "used_cpu_sys:%lld.%06lld", (long long)all.ru_stime.tv_sec, (long long)all.ru_stime.tv_usec);
    line(info, "used_cpu_user:%lld.%06lld", (long long)all.ru_utime.tv_sec, (long long)all.ru_utime.tv_usec);
    line(info, "used_cpu_sys_children:0.000000");
    line(info, "used_cpu_user_children:0.000000");
}

static void info_modules(struct info *info)
{
    (void)info;
}

static void info_errorstats(struct info *info)
{
    struct error_stats *errors = &info->server->errors;

    pthread_mutex_lock(&errors->lock);
    for (unsigned i = 0; i < errors->len; i++)
        line(info, "errorstat_%s:count=%llu", errors->rows[i].code,
             (unsigned long long)errors->rows[i].count);
    pthread_mutex_unlock(&errors->lock);
}

static void info_cluster(struct info *info)
{
    number(info, "cluster_enabled", 0);
}

static void info_keyspace(struct info *info)
{
    if (info->store.items > 0)
        line(info, "db0:keys=%llu,expires=%llu,avg_ttl=0", (unsigned long long)info->store.items,
             (unsigned long long)info->store.items_expiring);
}

static const struct section {
    const char *name; /* as it is asked for */
    const char *title;
    void (*write)(struct info *info);
} sections[] = {
    {"server", "Server", info_server},
    {"clients", "Clients", info_clients},
    {"memory", "Memory", info_memory},
    {"persistence", "Persistence", info_persistence},
    {"stats", "Stats", info_stats},
    {"replication", "Replication", info_replication},
    {"cpu", "CPU", info_cpu},
    {"modules", "Modules", info_modules},
    {"errorstats", "Errorstats", info_errorstats},
    {"cluster", "Cluster", info_cluster},
    {"keyspace", "Keyspace", info_keyspace},
};

static bool is_asked_for(const struct section *section, const struct request *rq)
{
    for (uint32_t i = 1; i < rq->argc; i++) {
        if (slice_is(rq->argv[i], section->name) || slice_is(rq->argv[i], "all") ||
            slice_is(rq->argv[i], "default") || slice_is(rq->argv[i], "everything"))
            return true;
    }
    return rq->argc == 1;
}

void cmd_info(struct exec *x, struct request *rq)
{
    struct info info = {.x = x, .server = x->server};

    server_counters(x->server, &info.counters);
    server_store_stats(x->server, &info.store);
    for (size_t i = 0; i < sizeof sections / sizeof sections[0]; i++) {
        if (!is_asked_for(&sections[i], rq))
            continue;
        if (info.text.len > 0)
            line(&info, "%s", "");
        line(&info, "# %s", sections[i].title);
        sections[i].write(&info);
    }
    if (info.text.failed)
        x->out->failed = true;
    else
        reply_verbatim(x, (struct slice){info.text.data, info.text.len});
    out_free(&info.text);
}
