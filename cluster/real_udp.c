/* real_udp.c - datagrams: many a call, with the kernel's time, and with what
 * other machines' kernels have to say about ours. */
#include "cluster/real_inside.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum {
    BATCH = 32,
    FRAME_MAX = DATAGRAM_MAX + FRAME_OVERHEAD,
    ROOM = FRAME_MAX + 1,    /* one more, so that what is too long is seen */
    SOCKET_BUFFER = 1 << 20, /* a burst of a big cluster; the kernel may give less */
    TURN_MOST = 8192         /* datagrams in a turn: a flood must not keep the alarm waiting for ever */
};

bool real_udp_open(struct real_transport *rt)
{
    struct sockaddr_storage to;
    socklen_t len = real_to_sockaddr(rt->family, &rt->address, &to);
    int on = 1, off = 0, size = SOCKET_BUFFER;
    int fd = rt->udp_fd = socket(rt->family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return false;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof on);
    if (rt->family == AF_INET6) {
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
        setsockopt(fd, IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof on);
    }
    setsockopt(fd, IPPROTO_IP, IP_RECVERR, &on, sizeof on);
    return bind(fd, (struct sockaddr *)&to, len) == 0 && real_watch(rt, fd, EPOLLIN, REAL_UDP);
}

void real_udp_send(struct real_transport *rt, const struct address *address, struct slice bytes)
{
    uint8_t frame[FRAME_MAX];
    size_t len = bytes.len <= DATAGRAM_MAX ? frame_seal(rt->frames, bytes, frame) : 0;
    struct sockaddr_storage to;
    socklen_t to_len = real_to_sockaddr(rt->family, address, &to);
    ssize_t sent = -1;

    if (rt->family == AF_INET && !address_is_v4(address))
        len = 0;
    /* The first may only report what became of an earlier one. */
    for (int tries = 0; len > 0 && sent < 0 && tries < 2; tries++)
        sent = sendto(rt->udp_fd, frame, len, MSG_NOSIGNAL, (struct sockaddr *)&to, to_len);
    if (sent < 0) {
        rt->counters.datagrams_unsent++;
        return;
    }
    rt->counters.datagrams_out++;
    rt->counters.bytes_out += len;
}

/* On our clock: the kernel's stamp is on the wall clock. */
static int64_t arrival(struct real_transport *rt, struct msghdr *header, int64_t now_us, int64_t wall_us)
{
    int64_t at = now_us;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c != NULL; c = CMSG_NXTHDR(header, c)) {
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
            struct timespec ts;
            memcpy(&ts, CMSG_DATA(c), sizeof ts);
            at = now_us - (wall_us - ((int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000));
        } else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL) {
            uint32_t lost;
            memcpy(&lost, CMSG_DATA(c), sizeof lost);
            rt->counters.datagrams_lost += lost - rt->lost_before;
            rt->lost_before = lost;
        }
    }
    return at < now_us ? at : now_us; /* the wall clock may have been set */
}

static void deliver(struct real_transport *rt, const struct mmsghdr *message, int64_t arrived_us)
{
    struct slice frame = {message->msg_hdr.msg_iov->iov_base, message->msg_len};
    struct origin origin = {.arrived_us = arrived_us};
    uint8_t content[FRAME_MAX];
    enum frame_verdict verdict;
    size_t len;

    rt->counters.bytes_in += frame.len;
    if (frame.len > FRAME_MAX || !real_from_sockaddr(message->msg_hdr.msg_name, &origin.address)) {
        rt->counters.refused[FRAME_FORGED]++;
        return;
    }
    verdict = frame_open(rt->frames, frame, content, &len, &origin.id);
    if (verdict != FRAME_GOOD) {
        rt->counters.refused[verdict]++;
        return;
    }
    rt->counters.datagrams_in++;
    rt->user.datagram(rt->user.owner, &origin, (struct slice){content, len});
}

/* What the error queue holds are our own datagrams, with why they did not arrive. */
static void drain_errors(struct real_transport *rt)
{
    for (int i = 0; i < TURN_MOST; i++) {
        struct sockaddr_storage to;
        uint8_t control[512], bytes[8];
        struct iovec iov = {bytes, sizeof bytes};
        struct msghdr header = {.msg_name = &to,
                                .msg_namelen = sizeof to,
                                .msg_iov = &iov,
                                .msg_iovlen = 1,
                                .msg_control = control,
                                .msg_controllen = sizeof control};
        struct address address;

        if (recvmsg(rt->udp_fd, &header, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
            return;
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&header); c != NULL; c = CMSG_NXTHDR(&header, c)) {
            struct sock_extended_err error;
            if (!(c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) &&
                !(c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR))
                continue;
            memcpy(&error, CMSG_DATA(c), sizeof error);
            if (error.ee_errno != ECONNREFUSED || !real_from_sockaddr(&to, &address))
                continue;
            rt->counters.unreachable++;
            rt->user.unreachable(rt->user.owner, &address);
        }
    }
}

void real_udp_drain(struct real_transport *rt)
{
    static _Thread_local uint8_t rooms[BATCH][ROOM];
    struct sockaddr_storage from[BATCH];
    uint8_t control[BATCH][128];
    struct mmsghdr messages[BATCH];
    struct iovec iov[BATCH];
    int got = 0;

    drain_errors(rt);
    for (int all = 0; all < TURN_MOST; all += got) {
        struct timespec wall;
        int64_t now, wall_us;

        for (int i = 0; i < BATCH; i++) {
            iov[i] = (struct iovec){rooms[i], ROOM};
            messages[i] = (struct mmsghdr){.msg_hdr = {.msg_name = &from[i],
                                                       .msg_namelen = sizeof from[i],
                                                       .msg_iov = &iov[i],
                                                       .msg_iovlen = 1,
                                                       .msg_control = control[i],
                                                       .msg_controllen = sizeof control[i]}};
        }
        got = recvmmsg(rt->udp_fd, messages, BATCH, MSG_DONTWAIT, NULL);
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (got < 0) { /* what an earlier datagram met: the error queue has said it */
            got = 1;
            continue;
        }
        now = real_now_us();
        clock_gettime(CLOCK_REALTIME, &wall);
        wall_us = (int64_t)wall.tv_sec * 1000000 + wall.tv_nsec / 1000;
        for (int i = 0; i < got; i++)
            deliver(rt, &messages[i], arrival(rt, &messages[i].msg_hdr, now, wall_us));
    }
}
