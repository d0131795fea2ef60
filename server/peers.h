/* peers.h - how many connections each address has, for maxclients-per-address.
 *
 * An IPv4 address counts by itself, an IPv6 address as its /64 network, which
 * is what one machine is commonly given. Any thread; one lock, taken when
 * connections come and go. */
#ifndef CORRAL_PEERS_H
#define CORRAL_PEERS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct peers;
struct peer; /* one address, for as long as somebody is connected from it */

struct peers *peers_new(void);
void peers_free(struct peers **peers);

/* One more connection from there; *count is how many there are then. NULL for
 * anything but IPv4 and IPv6, and when memory is short: such are not counted. */
struct peer *peers_enter(struct peers *peers, const struct sockaddr_storage *from, uint32_t *count);
/* It is gone. Copes with NULL, and forgets the pointer. */
void peers_leave(struct peers *peers, struct peer **peer);

/* Whether it is this machine's loopback. */
bool peer_is_local(const struct sockaddr_storage *from);

#endif
