/* memory.c - MEMORY: where the bytes are. docs/ARCHITECTURE.md has the arithmetic. */
#include "server/memory.h"

#include <stdarg.h>
#include <stdio.h>

#include "server/command/command.h"
#include "server/server.h"

/* ---- one key ---- */

enum {
    ITEM_BYTES = 8,  /* header of an item */
    INDEX_BYTES = 9, /* of the index per item, at the usual fill */
    CAS_BYTES = 8,
    FLAGS_BYTES = 4,
    BLOB_BYTES = 64, /* what a value in a block of its own takes beside its bytes */
};

/* What it takes in the log and the index. Looking leaves no trace, as in redis. */
static void memory_usage(struct exec *x, struct request *rq)
{
    struct key key;
    struct store_peek peek;
    enum peek_status status;
    int64_t samples, bytes;

    if (rq->argc != 3 && (rq->argc != 5 || !slice_is(rq->argv[3], "samples"))) {
        reply_syntax_error(x);
        return;
    }
    if (rq->argc == 5 && !slice_to_i64(rq->argv[4], &samples)) {
        reply_not_integer(x);
        return;
    }
    if (rq->argc == 5 && samples < 0) {
        reply_syntax_error(x);
        return;
    }
    key = exec_key(x, rq, 2);
    do
        status = store_peek(x->store, x->local, &key, x->now, false, &peek);
    while (status == PEEK_HIT && !store_peek_ok(&peek));
    if (status == PEEK_BLOB)
        blob_unpin(&peek.blob);
    if (status == PEEK_MISS || !state_exists(peek.state)) {
        reply_null(x);
        return;
    }
    bytes = ITEM_BYTES + INDEX_BYTES + (int64_t)key.len + (int64_t)peek.len;
    bytes += (peek.flags != 0 ? FLAGS_BYTES : 0) + (peek.cas != 0 ? CAS_BYTES : 0);
    reply_integer(x, bytes + (status == PEEK_BLOB ? BLOB_BYTES : 0));
}

/* ---- all of it ---- */

struct figure {
    const char *name;
    bool is_ratio;
    uint64_t value;
    double ratio;
};

static double share(uint64_t part, uint64_t whole)
{
    return whole > 0 ? (double)part / (double)whole : 0;
}

/* Under the names redis gives them; what has no counterpart here is 0. */
static void memory_stats(struct exec *x, struct request *rq)
{
    struct server *server = x->server;
    uint64_t used = server_used_memory(server), rss = server_rss(), dataset, peak;
    struct store_stats s;
    struct memory_heap heap;

    (void)rq;
    store_stats(x->store, &s);
    memory_heap(&heap);
    peak = atomic_load_explicit(&server->memory_peak, memory_order_relaxed);
    peak = peak > used ? peak : used;
    dataset = s.value_bytes < used ? s.value_bytes : used;

    const struct figure figures[] = {
        {"peak.allocated", false, peak, 0},
        {"total.allocated", false, used, 0},
        {"startup.allocated", false, server->base_bytes, 0},
        {"replication.backlog", false, 0, 0},
        {"clients.slaves", false, 0, 0},
        {"clients.normal", false, atomic_load_explicit(&server->heap_bytes, memory_order_relaxed), 0},
        {"cluster.links", false, 0, 0},
        {"aof.buffer", false, 0, 0},
        {"lua.caches", false, 0, 0},
        {"functions.caches", false, 0, 0},
        {"store.segments", false, s.segment_bytes, 0},
        {"store.index", false, s.index_bytes, 0},
        {"store.policy", false, s.policy_bytes, 0},
        {"store.blobs", false, s.blob_bytes, 0},
        {"overhead.total", false, used - dataset, 0},
        {"keys.count", false, s.items, 0},
        {"keys.bytes-per-key", false, s.items > 0 ? s.memory_bytes / s.items : 0, 0},
        {"dataset.bytes", false, dataset, 0},
        {"dataset.percentage", true, 0, 100 * share(dataset, used)},
        {"peak.percentage", true, 0, 100 * share(used, peak)},
        {"allocator.allocated", false, heap.allocated, 0},
        {"allocator.active", false, heap.active, 0},
        {"allocator.resident", false, heap.resident, 0},
        {"allocator-fragmentation.ratio", true, 0, share(heap.active, heap.allocated)},
        {"allocator-fragmentation.bytes", false, heap.active - heap.allocated, 0},
        {"allocator-rss.ratio", true, 0, share(heap.resident, heap.active)},
        {"allocator-rss.bytes", false, heap.resident - heap.active, 0},
        {"fragmentation", true, 0, share(rss, used)},
        {"fragmentation.bytes", false, rss - used, 0},
    };

    reply_map(x, sizeof figures / sizeof figures[0]);
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++) {
        reply_text(x, figures[i].name);
        if (figures[i].is_ratio)
            reply_double(x, figures[i].ratio);
        else
            reply_integer(x, (int64_t)figures[i].value);
    }
}

__attribute__((format(printf, 2, 3))) static void say(struct out *out, const char *format, ...)
{
    char text[512];
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (n > 0)
        out_append(out, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

enum { FULL_PERCENT = 95, HEAP_PERCENT = 25 };

static void diagnose(struct exec *x, struct out *text)
{
    uint64_t used = server_used_memory(x->server), limit = option_live(x->options, maxmemory);
    uint64_t heap = atomic_load_explicit(&x->server->heap_bytes, memory_order_relaxed);
    struct store_stats s;

    server_store_stats(x->server, &s);
    if (s.put_refused > 0)
        say(text,
            "%llu writes were refused for lack of memory: raise maxmemory, or choose a maxmemory-policy "
            "that may evict.\n",
            (unsigned long long)s.put_refused);
    if (limit > 0 && used > limit)
        say(text, "%llu bytes more are used than maxmemory allows.\n", (unsigned long long)(used - limit));
    if (limit > 0 && heap > limit / 100 * HEAP_PERCENT)
        say(text,
            "Connections and their buffers take %llu bytes, more than a quarter of maxmemory: look for "
            "clients that do not read (CLIENT LIST, omem), or lower client-output-buffer-limit.\n",
            (unsigned long long)heap);
    if (s.capacity_bytes > 0 && s.value_bytes > s.capacity_bytes / 100 * FULL_PERCENT)
        say(text,
            "The cache is full, and evicts for what is new: %llu so far. That is its work; watch the hit "
            "rate to see whether it has memory enough.\n",
            (unsigned long long)s.evicted);
}

static void memory_doctor(struct exec *x, struct request *rq)
{
    struct out text = {0};

    (void)rq;
    diagnose(x, &text);
    if (text.len == 0)
        say(&text, "Nothing about the memory is out of the ordinary.\n");
    if (text.failed)
        x->out->failed = true;
    else
        reply_verbatim(x, (struct slice){text.data, text.len});
    out_free(&text);
}

static void memory_purge(struct exec *x, struct request *rq)
{
    (void)rq;
    memory_give_back();
    reply_ok(x);
}

static void memory_malloc_stats(struct exec *x, struct request *rq)
{
    struct out text = {0};

    (void)rq;
    memory_report(&text);
    if (text.failed)
        x->out->failed = true;
    else
        reply_verbatim(x, (struct slice){text.data, text.len});
    out_free(&text);
}

static const struct subcommand memory_subcommands[] = {
    {"doctor", "memory|doctor", 2, memory_doctor},
    {"malloc-stats", "memory|malloc-stats", 2, memory_malloc_stats},
    {"purge", "memory|purge", 2, memory_purge},
    {"stats", "memory|stats", 2, memory_stats},
    {"usage", "memory|usage", -3, memory_usage},
    {0},
};

static const char *const memory_help[] = {
    "DOCTOR",
    "    What is out of the ordinary, in sentences.",
    "MALLOC-STATS",
    "    What the allocator tells about itself.",
    "PURGE",
    "    Gives pages back that the allocator keeps for later.",
    "STATS",
    "    Where the bytes are.",
    "USAGE <key> [SAMPLES <count>]",
    "    Bytes that a key and its value take; nothing needs sampling.",
    NULL,
};

void cmd_memory(struct exec *x, struct request *rq)
{
    static const struct command_family family = {"MEMORY", "memory|help", memory_subcommands, memory_help};

    command_family_run(x, rq, &family);
}
