#include "server/memory.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "config.h"
#include "server/overload.h"

#ifdef CORRAL_JEMALLOC
#include <jemalloc/jemalloc.h>

#define TEXT_OF_(x) #x
#define TEXT_OF(x)  TEXT_OF_(x)

/* jemalloc keeps figures per epoch; asking for a new one gathers them. */
void memory_heap(struct memory_heap *out)
{
    uint64_t epoch = 1;
    size_t len = sizeof epoch, value;

    *out = (struct memory_heap){0};
    mallctl("epoch", &epoch, &len, &epoch, sizeof epoch);
    len = sizeof value;
    if (mallctl("stats.allocated", &value, &len, NULL, 0) == 0)
        out->allocated = value;
    if (mallctl("stats.active", &value, &len, NULL, 0) == 0)
        out->active = value;
    if (mallctl("stats.resident", &value, &len, NULL, 0) == 0)
        out->resident = value;
}

const char *memory_allocator(void)
{
    return "jemalloc-" TEXT_OF(JEMALLOC_VERSION_MAJOR) "." TEXT_OF(JEMALLOC_VERSION_MINOR) "." TEXT_OF(
        JEMALLOC_VERSION_BUGFIX);
}

void memory_give_back(void)
{
    mallctl("arena." TEXT_OF(MALLCTL_ARENAS_ALL) ".purge", NULL, NULL, NULL, 0);
}

static void append_report(void *text, const char *part)
{
    out_append(text, part, strlen(part));
}

void memory_report(struct out *text)
{
    malloc_stats_print(append_report, text, NULL);
}
#else
#include <malloc.h>

void memory_heap(struct memory_heap *out)
{
    struct mallinfo2 info = mallinfo2();

    out->allocated = info.uordblks + info.hblkhd;
    out->active = out->allocated;
    out->resident = info.arena + info.hblkhd;
}

const char *memory_allocator(void)
{
    return "libc";
}

void memory_give_back(void)
{
    malloc_trim(0);
}

void memory_report(struct out *text)
{
    struct memory_heap heap;
    char line[128];
    int n;

    memory_heap(&heap);
    n = snprintf(line, sizeof line, "allocated %llu, resident %llu\n", (unsigned long long)heap.allocated,
                 (unsigned long long)heap.resident);
    out_append(text, line, n > 0 ? (size_t)n : 0);
}
#endif

/* What of the heap the store has counted already, and what is only on paper. */
static uint64_t heap_of_store(const struct store_stats *stats)
{
    return stats->blob_bytes + stats->policy_bytes + blob_bytes_rounding();
}

uint64_t server_rss(void)
{
    char text[128];
    unsigned long pages = 0;
    ssize_t n;
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return 0;
    n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0)
        return 0;
    text[n] = '\0';
    if (sscanf(text, "%*u %lu", &pages) != 1)
        return 0;
    return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t minus(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

static void tell_store(struct server *server, uint64_t other)
{
    atomic_store_explicit(&server->other_bytes, other, memory_order_relaxed);
    store_set_other_bytes(server->store, other);
}

void memory_hand_over(struct server *server, uint64_t bytes)
{
    tell_store(server, minus(atomic_load_explicit(&server->other_bytes, memory_order_relaxed), bytes));
}

void memory_take(struct server *server, uint64_t bytes)
{
    tell_store(server, atomic_load_explicit(&server->other_bytes, memory_order_relaxed) + bytes);
}

/* Of what is resident now, the part that neither the heap nor the store accounts for. */
void memory_measure_base(struct server *server)
{
    struct store_stats stats;
    struct memory_heap heap;

    memory_heap(&heap);
    store_stats(server->store, &stats);
    server->base_bytes =
        minus(server_rss(), minus(heap.resident, heap_of_store(&stats)) + stats.memory_bytes);
    memory_measure(server);
}

/* Pages that the allocator keeps for a while after a free are resident, so
 * they count as used; the store need not make room for them, as they go by
 * themselves. They may have to go at once: what a crowd of clients has let go
 * of, the items would take a second time. */
static void give_back_if_over(struct server *server, const struct memory_heap *heap, uint64_t used)
{
    enum { WORTH_IT = 4 << 20 };
    size_t limit = option_live(&server->options, maxmemory);

    if (limit != 0 && used > limit && minus(heap->resident, heap->active) > WORTH_IT)
        memory_give_back();
}

void memory_measure(struct server *server)
{
    struct store_stats stats;
    struct memory_heap heap;
    uint64_t used, resident;

    memory_heap(&heap);
    store_stats(server->store, &stats);
    tell_store(server, minus(heap.active, heap_of_store(&stats)));
    overload_measure(server, &stats);
    resident = minus(heap.resident, heap_of_store(&stats));
    atomic_store_explicit(&server->heap_bytes, resident, memory_order_relaxed);
    used = server->base_bytes + resident + stats.memory_bytes;
    if (used > atomic_load_explicit(&server->memory_peak, memory_order_relaxed))
        atomic_store_explicit(&server->memory_peak, used, memory_order_relaxed);
    give_back_if_over(server, &heap, used);
}

uint64_t server_used_memory(struct server *server)
{
    struct store_stats stats;

    store_stats(server->store, &stats);
    return server->base_bytes + atomic_load_explicit(&server->heap_bytes, memory_order_relaxed) +
           stats.memory_bytes;
}
