/* plane.h - what the data links of all workers share: who this node is, its keys, and whom to tell.
 *
 * The control thread tells it; workers copy what they need when a link begins. */
#ifndef CORRAL_PLANE_H
#define CORRAL_PLANE_H

#include "server/cluster/handshake.h"
#include "server/cluster/links_report.h"

struct plane;

/* Before the workers, and after them. False when memory is short. */
bool plane_init(struct server *server);
void plane_free(struct server *server);

/* Any thread, at any time: for links that begin from now on. */
void plane_set_keys(struct server *server, const struct handshake_keys *keys);
/* A copy; false: it has not been said yet, and there is nobody to talk to. */
bool plane_keys(struct server *server, struct handshake_keys *keys);

/* One more node, or stranger, at our link port. False: there are cluster-links-max. */
bool plane_enter(struct server *server);
void plane_leave(struct server *server);
/* How many of these there are. */
uint32_t plane_links(const struct server *server);

/* See links_report.h. */
void link_refused(struct server *server, const struct node_id *node);
void link_vouch(struct server *server, const struct node_id *node);

#endif
