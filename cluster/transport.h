/* transport.h - the only way out of cluster/: datagrams, streams, one alarm,
 * time and dice.
 *
 * The control plane is written against these two tables and nothing else. The
 * real implementation puts UDP and TCP behind them (real_transport.h), the
 * simulator a seeded fake network and a fake clock (tests/sim/world.h), so a
 * day of failures runs in a second and replays exactly.
 *
 * Rules: (1) everything happens in one thread, and nothing calls back from
 * within a call. (2) Drain, then decide: before `alarm` is called, all that had
 * arrived by then has been delivered. (3) What is delivered comes from a node
 * of this cluster: sealing and opening is the transport's affair. (4) Times
 * are microseconds on a clock of this node that only goes forward. */
#ifndef CORRAL_TRANSPORT_H
#define CORRAL_TRANSPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "cluster/address.h"
#include "cluster/node_id.h"
#include "protocol/bytes.h"

enum {
    DATAGRAM_MAX = 1152,       /* bytes of content: with its envelope it fits IPv6's least MTU */
    STREAM_MESSAGE_MAX = 16384 /* bytes of one message on a stream */
};

/* Who sent something, and when it reached this machine: not when we came to look. */
struct origin {
    struct address address;
    struct node_id id;
    int64_t arrived_us;
};

enum stream_end {
    STREAM_CLOSED,  /* by the other side, after all it had to say */
    STREAM_REFUSED, /* nobody listens there: the process is gone */
    STREAM_BROKEN   /* timeout, no route, nonsense */
};

/* What the control plane may do. */
struct transport {
    void *ctx;
    /* At most DATAGRAM_MAX. Fire and forget: may be lost, delayed, doubled, reordered. */
    void (*send_datagram)(void *ctx, const struct address *to, struct slice bytes);
    /* A new stream, which may be written to at once; 0 when it cannot be tried.
     * Whole messages, in order, until it breaks. */
    uint64_t (*open_stream)(void *ctx, const struct address *to);
    /* False when the stream is gone or holds too much unsent. */
    bool (*send_stream)(void *ctx, uint64_t stream, struct slice message);
    /* What was sent is still delivered. No call about this stream comes after it. */
    void (*close_stream)(void *ctx, uint64_t stream);
    /* There is one alarm; the last call holds. */
    void (*set_alarm)(void *ctx, int64_t at_us);
    int64_t (*now_us)(void *ctx);
    uint64_t (*random)(void *ctx);
};

/* What it is told. A stream that was opened by a peer shows with its first message. */
struct transport_user {
    void *owner;
    void (*datagram)(void *owner, const struct origin *from, struct slice bytes);
    /* That machine said that nobody listens on the port. */
    void (*unreachable)(void *owner, const struct address *whom);
    void (*stream_message)(void *owner, uint64_t stream, const struct origin *from, struct slice message);
    void (*stream_ended)(void *owner, uint64_t stream, enum stream_end why);
    void (*alarm)(void *owner);
};

#endif
