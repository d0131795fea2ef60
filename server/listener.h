/* listener.h - accepts, and deals sockets to the workers in turn. */
#ifndef CORRAL_LISTENER_H
#define CORRAL_LISTENER_H

#include "server/server.h"

/* Opens every socket that the options name. False: one line saying what to do is in err. */
bool listeners_open(struct server *server, char *err, size_t err_len);
/* Takes them away; the second call does nothing. */
void listeners_close(struct server *server);
/* Where data links are accepted: cluster-link-port, or what follows from cluster-port. */
static inline int options_link_port(const struct options *o)
{
    return o->cluster_link_port != 0 ? o->cluster_link_port : o->cluster_port + 1;
}
/* Worker 0: starts accepting. */
bool listeners_start(struct server *server);
/* Worker 0: after a pause for want of memory or file descriptors. */
void listeners_resume(struct server *server);
/* tcp-keepalive has changed: for connections from now on. */
void listeners_apply_keepalive(struct server *server);

#endif
