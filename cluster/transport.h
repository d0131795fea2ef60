/* transport.h - the only way out of cluster/: datagrams, streams, timers,
 * time and dice.
 *
 * The control plane will be written against this table and nothing else. The
 * real implementation puts UDP and TCP behind it; the simulator puts a seeded
 * fake network and a fake clock there, so a day of failures runs in a second
 * and replays exactly. */
#ifndef CORRAL_TRANSPORT_H
#define CORRAL_TRANSPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/bytes.h"
#include "server/clock.h"

/* Names a peer to the transport; how it is reached is the transport's affair. */
typedef uint64_t peer_address;

struct transport {
    void *ctx;
    /* Fire and forget; may be lost, delayed, duplicated or reordered. */
    void (*send_datagram)(void *ctx, peer_address to, struct slice bytes);
    /* Ordered and reliable until it breaks. False at once when it cannot be tried. */
    bool (*open_stream)(void *ctx, peer_address to, uint64_t stream);
    void (*send_stream)(void *ctx, uint64_t stream, struct slice bytes);
    void (*close_stream)(void *ctx, uint64_t stream);
    /* Calls back into the owner once, `in` from now. */
    void (*set_timer)(void *ctx, span in, uint64_t timer);
    instant (*now)(void *ctx);
    uint64_t (*random)(void *ctx);
};

#endif
