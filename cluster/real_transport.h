/* real_transport.h - the seam over UDP and TCP on one port.
 *
 * Has an epoll of its own. A loop that has others to serve watches
 * real_transport_fd() and calls real_transport_turn() when it is readable; a
 * thread with nothing else to do calls the same with a time limit.
 *
 * Rules: (1) a turn reads datagrams until there are none, then streams, and
 * only then looks whether the alarm is due. (2) A datagram's time is the
 * kernel's, not ours. (3) What does not open (frame.h) is counted and changes
 * nothing. (4) Streams, their buffers and the time they may take before their
 * first message are bounded. One thread; the resolver has its own. */
#ifndef CORRAL_REAL_TRANSPORT_H
#define CORRAL_REAL_TRANSPORT_H

#include "cluster/frame.h"

struct real_transport;

struct real_options {
    struct address listen; /* the wildcard address will do; port 0 takes any */
    const struct keyring *ring;
    struct cluster_identity identity;
    struct node_id self;
    unsigned streams_max;
    size_t stream_bytes_max; /* unsent, of one stream */
    uint32_t senders_max;    /* frame.h */
};
struct real_options real_options_usual(void); /* what has a usual value */

#define REAL_COUNTERS(X)                                                                                     \
    X(datagrams_in, "datagrams that opened")                                                                 \
    X(datagrams_out, "datagrams sent")                                                                       \
    X(datagrams_unsent, "datagrams that could not be sent")                                                  \
    X(datagrams_lost, "datagrams the kernel dropped, our socket being full")                                 \
    X(bytes_in, "bytes of datagrams and streams received")                                                   \
    X(bytes_out, "and sent")                                                                                 \
    X(unreachable, "times a machine said that the port is dead")                                             \
    X(streams_opened, "streams opened to others")                                                            \
    X(streams_accepted, "and by others")                                                                     \
    X(streams_refused, "streams refused, being too many")                                                    \
    X(streams_expired, "streams closed that said nothing")                                                   \
    X(streams_overflown, "streams broken because the peer did not read")

struct real_counters {
#define X(name, help) uint64_t name;
    REAL_COUNTERS(X)
#undef X
    uint64_t refused[FRAME_VERDICTS]; /* what did not open, by its verdict */
};

/* NULL with errno set. The options' ring must live as long. */
struct real_transport *real_transport_new(const struct real_options *);
void real_transport_free(struct real_transport **);
struct transport real_transport_seam(struct real_transport *);
/* Whom to tell; before the first turn. */
void real_transport_attach(struct real_transport *, struct transport_user);
/* With the port that was taken. */
struct address real_transport_address(const struct real_transport *);

int real_transport_fd(const struct real_transport *);
/* Waits up to limit_ms (-1: as long as it takes) for something, and handles all there is. */
void real_transport_turn(struct real_transport *, int limit_ms);
const struct real_counters *real_transport_counters(const struct real_transport *);

/* Names to look up every period_ms, in a thread, "host:port" each, an address
 * also; from within a turn `found` gets all addresses, each once, when they
 * changed. Names that cannot be resolved at the moment keep what they had.
 * Replaces what was looked up before. False without memory or thread. */
bool real_transport_seeds(struct real_transport *, const char *const *names, size_t count, int period_ms,
                          void (*found)(void *owner, const struct address *, size_t), void *owner);

#endif
