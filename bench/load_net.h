/* load_net.h - reaching the server under test. */
#ifndef CORRAL_BENCH_LOAD_NET_H
#define CORRAL_BENCH_LOAD_NET_H

#include <stddef.h>

struct server_address {
    const char *host;
    const char *port;
    const char *unix_path; /* not NULL: used instead of host and port */
};

/* A connected, non-blocking socket without Nagle's delay, or -1 and a sentence
 * in `why` that names the server. Gives up after five seconds. */
int net_connect(const struct server_address *to, char *why, size_t why_size);

#endif
