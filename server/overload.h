/* overload.h - what all clients together may hold: maxmemory-clients.
 *
 * Limits per client do not bound a thousand clients. So what connections hold
 * (beginnings of requests, replies that wait) is summed over all workers, and
 * with it the large values that left the store while a client was still to
 * read them. Beyond the limit the largest connections are closed, as redis 7
 * does it, whatever worker they belong to. */
#ifndef CORRAL_OVERLOAD_H
#define CORRAL_OVERLOAD_H

#include "server/server.h"

/* A connection of this worker holds so much more, or less, than before; `blobs`
 * is the part of it that is in blobs. Closes nobody yet: the caller may be one of them. */
void overload_add(struct worker *worker, int64_t bytes, int64_t blobs);
/* Finds the values that only replies hold. Any thread. */
void overload_measure(struct server *server, const struct store_stats *stats);
/* So much has come from clients of this worker: enough of it is reason to
 * measure before it is time, as it may have pushed values out that others read. */
void overload_moved(struct worker *worker, uint64_t bytes);
/* Between two turns of a worker: closes its largest connections while there is
 * too much and no other worker has larger ones. */
void overload_shed(struct worker *worker);

/* Whether clients hold too much now. Any thread. */
bool overload_is_on(struct server *server);
/* Bytes held by all clients, and the most that may be; 0: no limit. Any thread. */
uint64_t server_client_bytes(struct server *server);
uint64_t server_client_bytes_max(struct server *server);

#endif
