/* links_report.h - what data links know of other nodes, for who keeps track of them.
 *
 * The control thread sets it before the workers start. Its functions are called
 * from any worker, seldom, and may not wait. */
#ifndef CORRAL_LINKS_REPORT_H
#define CORRAL_LINKS_REPORT_H

#include "cluster/node_id.h"
#include "server/server.h"

struct links_report {
    void *owner;
    /* Nobody listens at that node's link port, or it hung up: its process may be gone. */
    void (*refused)(void *owner, const struct node_id *node);
    /* It has proven who it is, or answered: it lives. At most some times a second for each. */
    void (*vouched)(void *owner, const struct node_id *node);
};

void links_report_to(struct server *server, struct links_report report);

#endif
