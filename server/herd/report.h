/* report.h - the herd ledger, for INFO and stats. Inside a batch, as rules are looked at. */
#ifndef CORRAL_HERD_REPORT_H
#define CORRAL_HERD_REPORT_H

#include "server/server.h"

struct herd_figure {
    const char *name;
    uint64_t value;
};
enum { HERD_FIGURES_MAX = 24 };

/* In all; `counters` are the node's. Returns how many. */
size_t herd_figures(struct server *server, const struct counters *counters,
                    struct herd_figure figures[HERD_FIGURES_MAX]);
/* Of rule i of herd-protect; returns how many, and its pattern. 0: there is no such rule. */
size_t herd_rule_figures(struct server *server, unsigned i, const char **pattern,
                         struct herd_figure figures[HERD_FIGURES_MAX]);
/* For CONFIG RESETSTAT: what is not in counters.def. */
void herd_reset(struct server *server);

#endif
