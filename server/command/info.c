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
#include "server/command/corral.h"
#include "server/herd/report.h"
#include "server/memory.h"
#include "server/origin/origins.h"
#include "server/pubsub.h"
#include "server/overload.h"
#include "server/server.h"
#include "server/lookout.h"
#include "server/tracking.h"

enum { LINE_MAX_BYTES = 1024 };

struct info {
    struct exec *x;
    struct server *server;
    struct out text;
    struct counters counters;
    struct store_stats store;
    double percentile[LOOKOUT_PERCENTILES]; /* for latencystats */
    unsigned percentiles;
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

/* What redis shows and nobody has shown yet in this reply: it has no counterpart here, and so only one value.
 */
static void constants(struct info *info, const char *const *fields)
{
    for (; *fields != NULL; fields++) {
        char sought[64];
        int n = snprintf(sought, sizeof sought, "\n%.*s:", (int)strcspn(*fields, ":"), *fields);

        if (memmem(info->text.data, info->text.len, sought, (size_t)n) == NULL)
            line(info, "%s", *fields);
    }
}

/* ---- sections ---- */

static void info_program(struct info *info)
{
    const char *file = info->server->options.file;
    char path[LINE_MAX_BYTES - 64];
    ssize_t len = readlink("/proc/self/exe", path, sizeof path);

    line(info, "executable:%.*s", len > 0 ? (int)len : 0, path);
    line(info, "config_file:%.400s", file != NULL ? file : "");
}

static void info_server(struct info *info)
{
    static const char *const server_constants[] = {"redis_git_sha1:00000000",
                                                   "redis_git_dirty:0",
                                                   "redis_build_id:0",
                                                   "monotonic_clock:POSIX clock_gettime",
                                                   "atomicvar_api:c11-builtin",
                                                   "lru_clock:0",
                                                   NULL};

    struct server *server = info->server;
    int64_t uptime = since(info->x->now, server->started).ms / 1000;
    struct utsname os;

    line(info, "redis_version:" SERVER_REDIS_VERSION);
    line(info, "server_name:corral");
    line(info, "corral_version:" CORRAL_VERSION);
    line(info, "redis_mode:%s", option_live(&server->options, cluster_enabled) ? "cluster" : "standalone");
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
    info_program(info);
    constants(info, server_constants);
}

static void info_clients(struct info *info)
{
    struct tracking_stats tracking;

    tracking_stats(info->server->tracking, &tracking);
    number(info, "connected_clients", atomic_load_explicit(&info->server->clients, memory_order_relaxed));
    number(info, "cluster_connections", 0);
    line(info, "maxclients:%d", option_live(&info->server->options, maxclients));
    number(info, "blocked_clients", atomic_load_explicit(&info->server->blocked, memory_order_relaxed));
    number(info, "tracking_clients", tracking.clients);
    number(info, "pubsub_clients", pubsub_clients(info->server->pubsub));
    number(info, "clients_in_timeout_table", 0);
    number(info, "client_output_limit_closed", info->counters.client_output_limit_closed);
    number(info, "client_query_limit_closed", info->counters.client_query_limit_closed);
    number(info, "client_idle_closed", info->counters.client_idle_closed);
    number(info, "client_request_timeout_closed", info->counters.client_request_timeout_closed);
    number(info, "client_memory", server_client_bytes(info->server));
    number(info, "client_memory_max", server_client_bytes_max(info->server));
    constants(info, (const char *const[]){"client_recent_max_input_buffer:0",
                                          "client_recent_max_output_buffer:0", NULL});
}

static void policy_line(struct info *info)
{
    pthread_mutex_lock(&info->server->options_lock);
    line(info, "maxmemory_policy:%s", info->server->options.maxmemory_policy);
    pthread_mutex_unlock(&info->server->options_lock);
}

static void info_memory(struct info *info)
{
    static const char *const memory_constants[] = {"used_memory_lua:0",
                                                   "used_memory_vm_eval:0",
                                                   "used_memory_lua_human:0B",
                                                   "used_memory_scripts_eval:0",
                                                   "number_of_cached_scripts:0",
                                                   "number_of_functions:0",
                                                   "number_of_libraries:0",
                                                   "used_memory_vm_functions:0",
                                                   "used_memory_vm_total:0",
                                                   "used_memory_vm_total_human:0B",
                                                   "used_memory_functions:0",
                                                   "used_memory_scripts:0",
                                                   "used_memory_scripts_human:0B",
                                                   "mem_not_counted_for_evict:0",
                                                   "mem_replication_backlog:0",
                                                   "mem_total_replication_buffers:0",
                                                   "mem_clients_slaves:0",
                                                   "mem_cluster_links:0",
                                                   "mem_aof_buffer:0",
                                                   "active_defrag_running:0",
                                                   "lazyfreed_objects:0",
                                                   NULL};
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
    line(info, "allocator_frag_ratio:%.2f", ratio(heap.active, heap.allocated));
    number(info, "allocator_frag_bytes", heap.active - heap.allocated);
    line(info, "allocator_rss_ratio:%.2f", ratio(heap.resident, heap.active));
    number(info, "allocator_rss_bytes", heap.resident - heap.active);
    line(info, "rss_overhead_ratio:%.2f", ratio(rss, heap.resident));
    line(info, "rss_overhead_bytes:%lld", (long long)(rss - heap.resident));
    number(info, "mem_clients_normal", atomic_load_explicit(&server->heap_bytes, memory_order_relaxed));
    constants(info, memory_constants);
}

static void info_persistence(struct info *info)
{
    static const char *const persistence_constants[] = {"current_cow_peak:0",
                                                        "current_cow_size:0",
                                                        "current_cow_size_age:0",
                                                        "current_fork_perc:0.00",
                                                        "current_save_keys_processed:0",
                                                        "current_save_keys_total:0",
                                                        "rdb_last_bgsave_time_sec:-1",
                                                        "rdb_current_bgsave_time_sec:-1",
                                                        "rdb_saves:0",
                                                        "rdb_last_cow_size:0",
                                                        "rdb_last_load_keys_expired:0",
                                                        "rdb_last_load_keys_loaded:0",
                                                        "aof_rewrite_scheduled:0",
                                                        "aof_last_rewrite_time_sec:-1",
                                                        "aof_current_rewrite_time_sec:-1",
                                                        "aof_rewrites:0",
                                                        "aof_rewrites_consecutive_failures:0",
                                                        "aof_last_cow_size:0",
                                                        "module_fork_in_progress:0",
                                                        "module_fork_last_cow_size:0",
                                                        NULL};
    static const char *const none[] = {"loading", "async_loading", "rdb_changes_since_last_save",
                                       "rdb_bgsave_in_progress", NULL};

    zeroes(info, none);
    line(info, "rdb_last_save_time:%lld", (long long)info->server->started.ms / 1000);
    line(info, "rdb_last_bgsave_status:ok");
    number(info, "aof_enabled", 0);
    number(info, "aof_rewrite_in_progress", 0);
    line(info, "aof_last_bgrewrite_status:ok");
    line(info, "aof_last_write_status:ok");
    constants(info, persistence_constants);
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
    static const char *const stats_constants[] = {"total_net_repl_input_bytes:0",
                                                  "total_net_repl_output_bytes:0",
                                                  "instantaneous_input_repl_kbps:0.00",
                                                  "instantaneous_output_repl_kbps:0.00",
                                                  "expired_stale_perc:0.00",
                                                  "expired_time_cap_reached_count:0",
                                                  "evicted_clients:0",
                                                  "total_eviction_exceeded_time:0",
                                                  "current_eviction_exceeded_time:0",
                                                  "migrate_cached_sockets:0",
                                                  "slave_expires_tracked_keys:0",
                                                  "active_defrag_hits:0",
                                                  "active_defrag_misses:0",
                                                  "active_defrag_key_hits:0",
                                                  "active_defrag_key_misses:0",
                                                  "total_active_defrag_time:0",
                                                  "current_active_defrag_time:0",
                                                  "unexpected_error_replies:0",
                                                  "dump_payload_sanitizations:0",
                                                  "io_threaded_reads_processed:0",
                                                  "io_threaded_writes_processed:0",
                                                  "reply_buffer_shrinks:0",
                                                  "reply_buffer_expands:0",
                                                  NULL};
    static const char *const none[] = {"sync_full",        "sync_partial_ok", "sync_partial_err",
                                       "latest_fork_usec", "total_forks",     NULL};
    const struct counters *c = &info->counters;
    const struct store_stats *s = &info->store;
    struct server_rates *rates = &info->server->rates;
    struct pubsub *pubsub = info->server->pubsub;
    struct tracking_stats tracking;

    tracking_stats(info->server->tracking, &tracking);
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
    number(info, "transactions_executed", c->transactions_executed);
    number(info, "transactions_conflicted", c->transactions_conflicted);
    number(info, "transactions_aborted", c->transactions_aborted);
    number(info, "multi_limit_refused", c->multi_limit_refused);
    number(info, "watch_limit_refused", c->watch_limit_refused);
    number(info, "mc_dumps", c->mc_dumps);
    number(info, "mc_detail_left_out", c->mc_detail_left_out);
    number(info, "items_relocated", s->relocated);
    number(info, "segments_compacted", s->segments_compacted);
    zeroes(info, none);
    number(info, "pubsub_channels", pubsub_names(pubsub, PUBSUB_CHANNEL));
    number(info, "pubsub_patterns", pubsub_names(pubsub, PUBSUB_PATTERN));
    number(info, "pubsubshard_channels", pubsub_names(pubsub, PUBSUB_SHARD));
    number(info, "push_dropped", c->push_dropped);
    number(info, "subscriptions_refused", c->subscriptions_refused);
    number(info, "tracking_total_keys", tracking.keys);
    number(info, "tracking_total_items", tracking.items);
    number(info, "tracking_total_prefixes", tracking.prefixes);
    number(info, "tracking_table_bytes", tracking.bytes);
    number(info, "tracking_evicted", c->tracking_evicted);
    number(info, "tracking_overflows", c->tracking_overflows);
    number(info, "total_error_replies", errors_total(info));
    constants(info, stats_constants);
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
    constants(info, (const char *const[]){"master_replid2:0000000000000000000000000000000000000000",
                                          "repl_backlog_size:0", "repl_backlog_first_byte_offset:0",
                                          "repl_backlog_histlen:0", NULL});
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

static void commandstat_line(struct info *info, const char *name, const struct command_figures *row)
{
    uint64_t ns = figures_ns(row);

    if (row->calls == 0 && row->rejected == 0)
        return;
    line(info, "cmdstat_%s:calls=%llu,usec=%llu,usec_per_call=%.2f,rejected_calls=%llu,failed_calls=%llu",
         name, (unsigned long long)row->calls, (unsigned long long)ns / 1000, ratio(ns, row->calls) / 1000,
         (unsigned long long)row->rejected, (unsigned long long)row->failed);
}

static void latencystat_line(struct info *info, const char *name, const struct command_figures *row)
{
    const uint64_t *histogram = atomic_load_explicit(&row->histogram, memory_order_relaxed);
    char text[LOOKOUT_PERCENTILES * 32];
    size_t len = 0;

    if (row->timed == 0 || histogram == NULL || info->percentiles == 0)
        return;
    for (unsigned i = 0; i < info->percentiles; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, "%sp%g=%.3f", i > 0 ? "," : "",
                                info->percentile[i],
                                (double)figures_percentile(histogram, info->percentile[i]) / 1000);
    line(info, "latency_percentiles_usec_%s:%s", name, text);
}

static void each_command(struct info *info, void (*write)(struct info *info, const char *name,
                                                          const struct command_figures *row))
{
    struct figures *all = lookout_figures(info->server);

    if (all == NULL) {
        info->text.failed = true;
        return;
    }
    for (size_t i = 0; i < command_count(); i++)
        write(info, command_at(i)->name, &all->rows[i]);
    for (size_t i = 0; i < FIGURES_SUBCOMMANDS; i++) {
        const struct subcommand_figures *sub = &all->subcommands[i];
        const char *name = atomic_load_explicit(&sub->name, memory_order_relaxed);

        if (name != NULL)
            write(info, name, &sub->figures);
    }
    figures_free(&all);
}

static void info_commandstats(struct info *info)
{
    each_command(info, commandstat_line);
}

static void info_latencystats(struct info *info)
{
    pthread_mutex_lock(&info->server->options_lock);
    lookout_percentiles(info->server->options.latency_tracking_info_percentiles, info->percentile,
                        &info->percentiles);
    pthread_mutex_unlock(&info->server->options_lock);
    if (atomic_load_explicit(&info->server->lookout->tracking, memory_order_relaxed))
        each_command(info, latencystat_line);
}

/* As "rule0:parked_now=0,...": the pattern stands last, as it may hold anything but blanks. */
static void herd_rule_line(struct info *info, unsigned i, const char *pattern,
                           const struct herd_figure *figures, size_t n)
{
    char text[LINE_MAX_BYTES];
    size_t len = 0;

    for (size_t k = 0; k < n && len < sizeof text; k++)
        len += (size_t)snprintf(text + len, sizeof text - len, "%s=%llu,", figures[k].name,
                                (unsigned long long)figures[k].value);
    line(info, "herd_rule%u:%spattern=%s", i, text, pattern);
}

static void info_herd(struct info *info)
{
    struct herd_figure figures[HERD_FIGURES_MAX];
    const char *pattern;
    size_t n = herd_figures(info->server, &info->counters, figures);

    for (size_t i = 0; i < n; i++)
        number(info, figures[i].name, figures[i].value);
    for (unsigned i = 0; (n = herd_rule_figures(info->server, i, &pattern, figures)) > 0; i++)
        herd_rule_line(info, i, pattern, figures, n);
}

static void info_cluster(struct info *info)
{
    number(info, "cluster_enabled", option_live(&info->server->options, cluster_enabled));
}

static void info_origins(struct info *info)
{
    char text[LINE_MAX_BYTES * 4];

    number(info, "origin_writers_waiting", origins_writers_waiting(info->server));
    number(info, "origin_write_queue_bytes", origins_write_bytes(info->server));
    for (unsigned i = 0; origins_line(info->server, i, text, sizeof text); i++) {
        uint8_t *p = out_room(&info->text, sizeof text + 2);
        size_t len = strlen(text);

        memcpy(p, text, len);
        memcpy(p + len, "\r\n", 2);
        out_commit(&info->text, p + len + 2);
    }
}

static void info_keyspace(struct info *info)
{
    for (int db = 0; db < info->server->options.databases && info->store.items > 0; db++) {
        struct store_db_count count = store_db_count(info->server->store, server_db(info->server, db));

        if (count.items > 0)
            line(info, "db%d:keys=%llu,expires=%llu,avg_ttl=0", db, (unsigned long long)count.items,
                 (unsigned long long)count.expiring);
    }
}

static void shadow_lines(struct info *info, size_t (*write)(struct server *, shadow_line[SHADOW_LINES_MAX]))
{
    shadow_line lines[SHADOW_LINES_MAX];
    size_t n = write(info->server, lines);

    for (size_t i = 0; i < n; i++)
        line(info, "%s", lines[i]);
}

static void info_eviction(struct info *info)
{
    shadow_lines(info, eviction_lines);
}

static void info_mrc(struct info *info)
{
    shadow_lines(info, mrc_lines);
}

static const struct section {
    const char *name; /* as it is asked for */
    const char *title;
    void (*write)(struct info *info);
    bool on_demand; /* not part of the default */
} sections[] = {
    {"server", "Server", info_server, false},
    {"clients", "Clients", info_clients, false},
    {"memory", "Memory", info_memory, false},
    {"persistence", "Persistence", info_persistence, false},
    {"stats", "Stats", info_stats, false},
    {"replication", "Replication", info_replication, false},
    {"cpu", "CPU", info_cpu, false},
    {"modules", "Modules", info_modules, false},
    {"commandstats", "Commandstats", info_commandstats, true},
    {"errorstats", "Errorstats", info_errorstats, false},
    {"latencystats", "Latencystats", info_latencystats, true},
    {"herd", "Herd", info_herd, false},
    {"eviction", "Eviction", info_eviction, false},
    {"mrc", "Mrc", info_mrc, true},
    {"cluster", "Cluster", info_cluster, false},
    {"origins", "Origins", info_origins, true},
    {"keyspace", "Keyspace", info_keyspace, false},
};

static bool is_asked_for(const struct section *section, const struct request *rq)
{
    for (uint32_t i = 1; i < rq->argc; i++) {
        if (slice_is(rq->argv[i], section->name) || slice_is(rq->argv[i], "all") ||
            slice_is(rq->argv[i], "everything") || (!section->on_demand && slice_is(rq->argv[i], "default")))
            return true;
    }
    return rq->argc == 1 && !section->on_demand;
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
