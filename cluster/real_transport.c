#include "cluster/real_inside.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "server/check.h"

enum { EVENTS = 64 };

struct real_options real_options_usual(void)
{
    return (struct real_options){.streams_max = 64, .stream_bytes_max = 4 << 20, .senders_max = 1 << 15};
}

/* Goes on while the machine sleeps: then we are late, and should know. */
int64_t real_now_us(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_BOOTTIME, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

bool real_watch(struct real_transport *rt, int fd, uint32_t events, uint64_t what)
{
    struct epoll_event event = {.events = events, .data.u64 = what};

    return epoll_ctl(rt->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

socklen_t real_to_sockaddr(sa_family_t family, const struct address *address, struct sockaddr_storage *out)
{
    memset(out, 0, sizeof *out);
    out->ss_family = family;
    if (family == AF_INET) {
        struct sockaddr_in *in = (struct sockaddr_in *)out;
        in->sin_port = htons(address->port);
        memcpy(&in->sin_addr, address->ip + 12, 4);
        return sizeof *in;
    }
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;
    in6->sin6_port = htons(address->port);
    memcpy(&in6->sin6_addr, address->ip, 16);
    return sizeof *in6;
}

bool real_from_sockaddr(const struct sockaddr_storage *from, struct address *out)
{
    if (from->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)from;
        *out = (struct address){.ip = {[10] = 0xff, [11] = 0xff}, .port = ntohs(in->sin_port)};
        memcpy(out->ip + 12, &in->sin_addr, 4);
    } else if (from->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)from;
        out->port = ntohs(in6->sin6_port);
        memcpy(out->ip, &in6->sin6_addr, 16);
    }
    return from->ss_family == AF_INET || from->ss_family == AF_INET6;
}

/* ---- the seam --------------------------------------------------------- */

static void send_datagram(void *ctx, const struct address *to, struct slice bytes)
{
    real_udp_send(ctx, to, bytes);
}

static uint64_t open_stream(void *ctx, const struct address *to)
{
    return real_tcp_connect(ctx, to);
}

static bool send_stream(void *ctx, uint64_t stream, struct slice message)
{
    return real_tcp_send(ctx, stream, message);
}

static void close_stream(void *ctx, uint64_t stream)
{
    real_tcp_close(ctx, stream);
}

static void set_alarm(void *ctx, int64_t at_us)
{
    struct real_transport *rt = ctx;

    rt->alarm_us = at_us;
    if (!rt->in_turn)
        real_arm(rt);
}

static int64_t now_us(void *ctx)
{
    (void)ctx;
    return real_now_us();
}

static uint64_t random_number(void *ctx)
{
    uint64_t number;

    (void)ctx;
    randombytes_buf(&number, sizeof number);
    return number;
}

struct transport real_transport_seam(struct real_transport *rt)
{
    return (struct transport){rt,           send_datagram, open_stream, send_stream,
                              close_stream, set_alarm,     now_us,      random_number};
}

void real_transport_attach(struct real_transport *rt, struct transport_user user)
{
    rt->user = user;
}

/* ---- life ------------------------------------------------------------- */

struct real_transport *real_transport_new(const struct real_options *options)
{
    struct real_transport *rt = calloc(1, sizeof *rt);
    struct timespec wall;
    int error;

    if (rt == NULL)
        return NULL;
    rt->options = *options;
    rt->address = options->listen;
    rt->family = address_is_v4(&options->listen) ? AF_INET : AF_INET6;
    rt->epoll_fd = rt->udp_fd = rt->listen_fd = rt->timer_fd = -1;
    rt->alarm_us = INT64_MAX;
    clock_gettime(CLOCK_REALTIME, &wall);
    rt->frames =
        frames_new(options->ring, &options->identity, &options->self,
                   (uint64_t)wall.tv_sec * 1000000 + (uint64_t)wall.tv_nsec / 1000, options->senders_max);
    if (rt->frames == NULL) {
        errno = ENOMEM;
        goto fail;
    }
    if ((rt->epoll_fd = epoll_create1(EPOLL_CLOEXEC)) < 0 ||
        (rt->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC)) < 0 ||
        !real_watch(rt, rt->timer_fd, EPOLLIN, REAL_TIMER) || !real_tcp_open(rt) || !real_udp_open(rt))
        goto fail;
    real_arm(rt);
    return rt;
fail:
    error = errno;
    real_transport_free(&rt);
    errno = error;
    return NULL;
}

void real_transport_free(struct real_transport **rt)
{
    if (*rt == NULL)
        return;
    real_resolver_free(*rt);
    real_tcp_free(*rt);
    if ((*rt)->udp_fd >= 0)
        close((*rt)->udp_fd);
    if ((*rt)->timer_fd >= 0)
        close((*rt)->timer_fd);
    if ((*rt)->epoll_fd >= 0)
        close((*rt)->epoll_fd);
    frames_free(&(*rt)->frames);
    free(*rt);
    *rt = NULL;
}

struct address real_transport_address(const struct real_transport *rt)
{
    return rt->address;
}

int real_transport_fd(const struct real_transport *rt)
{
    return rt->epoll_fd;
}

const struct real_counters *real_transport_counters(const struct real_transport *rt)
{
    return &rt->counters;
}

/* ---- a turn ----------------------------------------------------------- */

void real_arm(struct real_transport *rt)
{
    int64_t at = rt->alarm_us < rt->tick_us ? rt->alarm_us : rt->tick_us;
    struct itimerspec spec = {0};

    if (at < 1)
        at = 1; /* 0 would disarm it */
    spec.it_value.tv_sec = at / 1000000;
    spec.it_value.tv_nsec = at % 1000000 * 1000;
    timerfd_settime(rt->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL);
}

static void handle(struct real_transport *rt, const struct epoll_event *event)
{
    uint64_t expired;

    switch (event->data.u64) {
    case REAL_UDP: return; /* drained already */
    case REAL_LISTEN: real_tcp_accept(rt); return;
    case REAL_TIMER:
        if (read(rt->timer_fd, &expired, sizeof expired) < 0)
            return; /* set anew meanwhile */
        return;
    case REAL_RESOLVER: real_resolver_event(rt); return;
    default: real_tcp_event(rt, event->data.u64, event->events); return;
    }
}

void real_transport_turn(struct real_transport *rt, int limit_ms)
{
    struct epoll_event events[EVENTS];
    int count = epoll_wait(rt->epoll_fd, events, EVENTS, limit_ms);
    int64_t now;

    CHECK(!rt->in_turn);
    rt->in_turn = true;
    real_udp_drain(rt);
    for (int i = 0; i < count; i++)
        handle(rt, &events[i]);
    now = real_now_us();
    if (now >= rt->tick_us) {
        rt->tick_us = now + TICK_MS * 1000;
        real_tcp_tick(rt, now);
    }
    if (now >= rt->alarm_us) {
        rt->alarm_us = INT64_MAX;
        rt->user.alarm(rt->user.owner);
    }
    rt->in_turn = false;
    real_arm(rt);
}
