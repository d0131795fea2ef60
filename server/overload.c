#include "server/overload.h"

#include "server/burden.h"
#include "server/conn.h"
#include "server/log.h"
#include "server/memory.h"
#include "server/worker.h"

/* Below this a node could not even be talked to. */
enum { LEAST_BYTES = 1 << 20, MEASURE_BYTES = 4 << 20 };

uint64_t server_client_bytes(struct server *server)
{
    struct overload *o = &server->overload;
    int64_t buffers = atomic_load_explicit(&o->buffers, memory_order_relaxed);

    return (buffers > 0 ? (uint64_t)buffers : 0) + atomic_load_explicit(&o->strays, memory_order_relaxed);
}

uint64_t server_client_bytes_max(struct server *server)
{
    uint64_t max =
        option_share(option_live(&server->options, maxmemory_clients), server_memory_limit(&server->options));

    return max == 0 || max > LEAST_BYTES ? max : LEAST_BYTES;
}

bool overload_is_on(struct server *server)
{
    uint64_t max = server_client_bytes_max(server);

    return max != 0 && server_client_bytes(server) > max;
}

static struct worker *with_the_heaviest(struct server *server)
{
    struct worker *found = NULL;
    unsigned heaviest = 0;

    for (unsigned i = 0; i < server->workers_len; i++) {
        unsigned class = burden_class(&server->workers[i]->burdens);

        if (class > heaviest) {
            heaviest = class;
            found = server->workers[i];
        }
    }
    return found;
}

static void tell_the_heaviest(struct server *server)
{
    struct worker *w = with_the_heaviest(server);

    if (w != NULL)
        worker_notice_overload(w);
}

void overload_add(struct worker *w, int64_t bytes, int64_t blobs)
{
    struct overload *o = &w->server->overload;

    atomic_fetch_add_explicit(&o->buffers, bytes, memory_order_relaxed);
    if (blobs != 0)
        atomic_fetch_add_explicit(&o->blobs, blobs, memory_order_relaxed);
    if (bytes > 0 && overload_is_on(w->server)) {
        tell_the_heaviest(w->server);
        loop_cut(w->loop); /* before a hundred others have asked for more */
    }
}

void overload_measure(struct server *server, const struct store_stats *stats)
{
    struct overload *o = &server->overload;
    int64_t received = atomic_load_explicit(&o->blobs, memory_order_relaxed);
    int64_t strays = (int64_t)blob_bytes_total() - (int64_t)stats->blob_bytes - received;

    atomic_store_explicit(&o->strays, strays > 0 ? (uint64_t)strays : 0, memory_order_relaxed);
    if (overload_is_on(server))
        tell_the_heaviest(server);
}

void overload_moved(struct worker *w, uint64_t bytes)
{
    w->unmeasured_bytes += bytes;
    if (w->unmeasured_bytes < MEASURE_BYTES)
        return;
    w->unmeasured_bytes = 0;
    memory_measure(w->server);
}

static void let_go(struct worker *w, struct conn *c)
{
    struct store_stats stats;
    bool had_values = c->pending.pins_len > 0;

    counter_add(&w->counters, evicted_clients, 1);
    if (worker_may_log(w))
        log_event(LOG_LEVEL_WARNING, "client_evicted",
                  "addr=%s held=%zu limit=%llu: maxmemory-clients; closed", c->session.address, conn_holds(c),
                  (unsigned long long)server_client_bytes_max(w->server));
    conn_close(c);
    if (had_values) { /* or everybody would have to go until the next measurement */
        store_stats(w->server->store, &stats);
        overload_measure(w->server, &stats);
    }
}

void overload_shed(struct worker *w)
{
    while (overload_is_on(w->server)) {
        struct worker *heaviest = with_the_heaviest(w->server);

        if (heaviest == NULL)
            return;
        if (heaviest != w) {
            worker_notice_overload(heaviest);
            return;
        }
        struct conn *c = conn_of_burden(burden_heaviest(&w->burdens));
        if (conn_is_spared(c))
            return; /* such are the lightest: nobody else is left */
        let_go(w, c);
    }
}
