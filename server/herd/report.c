#include "server/herd/report.h"

#include "server/herd/herd_private.h"

size_t herd_figures(struct server *server, const struct counters *c,
                    struct herd_figure figures[HERD_FIGURES_MAX])
{
    const struct herd_rules *rules = atomic_load_explicit(&server->herd_rules, memory_order_acquire);
    struct herd *h = server->herd;
    struct store_stats store;

    server_store_stats(server, &store);
    const struct herd_figure all[] = {
        {"herd_rules", rules != NULL ? rules->len : 0},
        {"herd_parked_now", waiters_len(h->waiters)},
        {"herd_parked", c->herd_parked},
        {"herd_wait_p50_ms", tally_quantile(h->waits, 50)},
        {"herd_wait_p99_ms", tally_quantile(h->waits, 99)},
        {"herd_fetches", c->herd_fetches},
        {"herd_fetches_avoided", c->herd_fetches_avoided},
        {"herd_stale_served", c->herd_stale_served},
        {"herd_early_refreshes", c->herd_early_refreshes},
        {"herd_fills", c->herd_fills},
        {"herd_late_fills", c->herd_late_fills},
        {"herd_leases_expired", c->herd_leases_expired},
        {"herd_negatives", store.negatives},
        {"herd_negatives_refused", store.negatives_refused},
        {"herd_not_parked", c->herd_not_parked},
        {"herd_waiters_refused", c->herd_waiters_refused},
        {"herd_parking_stopped", c->herd_parking_stopped},
        {"herd_prefixes_stopped", fills_unlikely(h->fills)},
        {"origin_guarded", c->origin_guarded},
        {"origin_guard_passed", c->origin_guard_passed},
    };

    _Static_assert(sizeof all <= HERD_FIGURES_MAX * sizeof *all, "more figures than there is room for");
    memcpy(figures, all, sizeof all);
    return sizeof all / sizeof *all;
}

size_t herd_rule_figures(struct server *server, unsigned i, const char **pattern,
                         struct herd_figure figures[HERD_FIGURES_MAX])
{
    const struct herd_rules *rules = atomic_load_explicit(&server->herd_rules, memory_order_acquire);

    if (rules == NULL || i >= rules->len)
        return 0;
    const struct tally *t = rules->rules[i].tally;
    const struct herd_figure all[] = {
        {"parked_now", tally_get(&t->parked_now)},     {"parked", tally_get(&t->parked)},
        {"wait_p50_ms", tally_quantile(t->waits, 50)}, {"wait_p99_ms", tally_quantile(t->waits, 99)},
        {"fetches", tally_get(&t->fetches)},           {"fetches_avoided", tally_get(&t->avoided)},
        {"stale_served", tally_get(&t->stale)},        {"early_refreshes", tally_get(&t->early)},
        {"late_fills", tally_get(&t->late)},           {"leases_expired", tally_get(&t->expired)},
        {"not_parked", tally_get(&t->not_parked)},
    };

    _Static_assert(sizeof all <= HERD_FIGURES_MAX * sizeof *all, "more figures than there is room for");
    memcpy(figures, all, sizeof all);
    *pattern = rules->rules[i].glob;
    return sizeof all / sizeof *all;
}

void herd_reset(struct server *server)
{
    for (unsigned i = 0; i < TALLIES; i++)
        tally_reset(&server->herd->tallies[i]);
    for (unsigned i = 0; i < BINS; i++)
        atomic_store_explicit(&server->herd->waits[i], 0, memory_order_relaxed);
}
