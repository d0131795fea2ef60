/* real_inside.h - what the files of the real transport share. */
#ifndef CORRAL_REAL_INSIDE_H
#define CORRAL_REAL_INSIDE_H

#include "cluster/real_transport.h"

#include <sys/socket.h>
#include <netinet/in.h>

enum { STREAM_FRAME_MAX = STREAM_MESSAGE_MAX + FRAME_OVERHEAD, TICK_MS = 1000 };

struct real_stream;
struct real_resolver;

struct real_transport {
    struct real_options options;
    struct transport_user user;
    struct real_counters counters;
    struct frames *frames;
    struct address address;
    sa_family_t family;
    int epoll_fd, udp_fd, listen_fd, timer_fd;
    int64_t alarm_us, tick_us; /* the next look at streams that are late */
    uint32_t lost_before;      /* what SO_RXQ_OVFL said last */
    struct real_stream *streams;
    uint32_t stream_generation;
    bool in_turn;
    bool deaf; /* does not accept: there were no descriptors left */
    struct real_resolver *resolver;
    void (*seeds_found)(void *owner, const struct address *, size_t);
    void *seeds_owner;
};

/* What epoll tells us about; streams by their place from REAL_STREAM on, and
 * their generation above. */
enum { REAL_UDP, REAL_LISTEN, REAL_TIMER, REAL_RESOLVER, REAL_STREAM };

int64_t real_now_us(void);
void real_arm(struct real_transport *);
bool real_watch(struct real_transport *, int fd, uint32_t events, uint64_t what);

/* Returns the length. Of the transport's family. */
socklen_t real_to_sockaddr(sa_family_t, const struct address *, struct sockaddr_storage *);
bool real_from_sockaddr(const struct sockaddr_storage *, struct address *);

bool real_udp_open(struct real_transport *);
void real_udp_send(struct real_transport *, const struct address *, struct slice);
void real_udp_drain(struct real_transport *);

bool real_tcp_open(struct real_transport *);
void real_tcp_free(struct real_transport *);
uint64_t real_tcp_connect(struct real_transport *, const struct address *);
bool real_tcp_send(struct real_transport *, uint64_t stream, struct slice);
void real_tcp_close(struct real_transport *, uint64_t stream);
void real_tcp_accept(struct real_transport *);
void real_tcp_event(struct real_transport *, uint64_t what, uint32_t events);
void real_tcp_tick(struct real_transport *, int64_t now_us); /* what is late, and what ended in a call */

void real_resolver_free(struct real_transport *);
void real_resolver_event(struct real_transport *);

#endif
