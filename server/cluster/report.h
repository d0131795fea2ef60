/* report.h - the figures of a node's cluster, for INFO cluster and stats cluster. */
#ifndef CORRAL_CLUSTER_REPORT_H
#define CORRAL_CLUSTER_REPORT_H

#include "server/server.h"

struct cluster_figure {
    const char *name; /* without the prefix cluster_ */
    uint64_t value;
};
enum { CLUSTER_FIGURES_MAX = 192 };

/* 0 when the node is in no cluster. `counters` are the node's; those whose names begin as one of the list in
 * report.c belong here. Returns how many. */
size_t cluster_figures(struct server *server, const struct counters *counters,
                       struct cluster_figure figures[CLUSTER_FIGURES_MAX]);

/* The i-th node that is known and not there, for a line of its own. False: there are no more. */
bool cluster_absent_line(struct server *server, size_t i, char *line, size_t len);

/* What CLUSTER INFO calls cluster_state: whether every slot has a node that serves it. */
bool cluster_is_whole(struct server *server);

#endif
