/* whereabouts.h - where this node of a cluster listens, and what it tells others of that, by its options. */
#ifndef CORRAL_WHEREABOUTS_H
#define CORRAL_WHEREABOUTS_H

#include "cluster/message.h"
#include "server/options.h"

struct whereabouts {
    struct address listen; /* of cluster-port; may be the wildcard */
    struct address told;   /* the same for other nodes: never the wildcard */
    struct services services;
    bool loopback; /* nobody from another machine reaches any port of it */
};

/* False: err is one line that says what to do. */
bool whereabouts_find(const struct options *o, struct whereabouts *out, char *err, size_t err_len);

/* The ports that listeners open in a cluster; 0: none. */
int whereabouts_link_port(const struct options *o);
int whereabouts_client_port(const struct options *o);

/* One word of cluster-seeds, or of CLUSTER MEET: "host", "host:port", "[v6]" or "[v6]:port" becomes
 * "host:port", with that port where there is none. False when it is none of these. */
enum { SEED_TEXT_MAX = 256 };
bool whereabouts_seed(const char *word, int port, char out[SEED_TEXT_MAX]);

#endif
