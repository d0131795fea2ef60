/* describe.h - a view, told to clients: replies whose bytes are made once per epoch.
 *
 * The forms are those of redis 7.0 (CLUSTER SLOTS, SHARDS, NODES; endpoints are
 * addresses, a hostname is an attribute) and of ElastiCache's auto-discovery
 * (config get cluster). What redis tells per link, of which a view knows
 * nothing, is 0: pings, pongs, replication offsets. Every node's configuration
 * is as new as the view, so that its epoch is the view's. */
#ifndef CORRAL_DESCRIBE_H
#define CORRAL_DESCRIBE_H

#include "cluster/view.h"

/* A reply as RESP2 and as RESP3. */
struct describe_reply {
    struct slice resp2, resp3;
};

/* Frozen. The bytes live as long as it does, with or without the view. */
struct description {
    struct describe_reply slots, shards, nodes;
    struct slice memcache_nodes;  /* "<epoch>\n<host>|<ip>|<port> ...\n": the block of data alone */
    struct slice memcache_config; /* all of the answer to config get cluster, END included */
};

/* As the member `self` tells it, NOBODY if it is none: in CLUSTER NODES one line
 * says "myself". The memcached list leaves out who is leaving, has failed, or
 * has no such port. NULL when memory is short. */
const struct description *describe_new(const struct view *view, uint16_t self);
void describe_free(const struct description **description);

#endif
