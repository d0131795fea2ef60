/* real_tcp.c - streams of sealed messages.
 *
 * The acceptor speaks first: a version byte and a challenge, in clear. From
 * then on both send length:2 and a sealed frame. A stream that we open takes
 * messages at once, and seals them when the challenge is there. */
#include "cluster/real_inside.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "server/check.h"

enum {
    HELLO = 1 + CHALLENGE_BYTES,
    LENGTH = 2,
    IN_ROOM = LENGTH + STREAM_FRAME_MAX,
    CONNECT_MOST_US = 3000000, /* to be connected and challenged */
    SILENT_MOST_US = 5000000,  /* until an accepted stream has said something that opens */
    FLUSH_MOST_US = 5000000,   /* after we closed it, to take what was sent */
    LISTEN_BACKLOG = 128,
    READS_MOST = 64 /* of one stream in one turn: there are others */
};

enum state { FREE, CONNECTING, GREETING, OPEN, CLOSING, ENDED /* the user has yet to hear of it */ };

struct buffer {
    uint8_t *bytes;
    size_t at, len, room; /* what is unsent is from at to len */
};

struct real_stream {
    enum state state;
    int fd;
    uint32_t generation;
    bool known; /* the user has heard of it, or opened it */
    enum stream_end why;
    struct address address;
    struct frame_stream seal;
    struct buffer out, waiting; /* waiting: in clear, until there is a challenge */
    uint8_t *in;
    size_t in_len;
    int64_t until_us; /* INT64_MAX once it has shown that it is real */
    uint32_t watched;
};

static uint64_t id_of(const struct real_transport *rt, const struct real_stream *s)
{
    return (uint64_t)s->generation << 32 | (uint64_t)(s - rt->streams + 1);
}

static struct real_stream *stream_of(struct real_transport *rt, uint64_t id)
{
    size_t at = (size_t)(id & UINT32_MAX) - 1;

    if (id == 0 || at >= rt->options.streams_max || rt->streams[at].state == FREE ||
        rt->streams[at].generation != id >> 32)
        return NULL;
    return &rt->streams[at];
}

/* ---- buffers ---------------------------------------------------------- */

static uint8_t *buffer_room(struct buffer *b, size_t more, size_t most)
{
    if (b->at > 0 && b->at == b->len)
        b->at = b->len = 0;
    if (b->len - b->at + more > most)
        return NULL;
    if (b->len + more > b->room && b->at > 0) {
        memmove(b->bytes, b->bytes + b->at, b->len - b->at);
        b->len -= b->at;
        b->at = 0;
    }
    if (b->len + more > b->room) {
        size_t room = (b->len + more) * 2;
        uint8_t *fresh = realloc(b->bytes, room);
        if (fresh == NULL)
            return NULL;
        b->bytes = fresh;
        b->room = room;
    }
    return b->bytes + b->len;
}

static void buffer_free(struct buffer *b)
{
    free(b->bytes);
    *b = (struct buffer){0};
}

/* ---- life ------------------------------------------------------------- */

bool real_tcp_open(struct real_transport *rt)
{
    struct sockaddr_storage at;
    socklen_t len = real_to_sockaddr(rt->family, &rt->address, &at);
    int on = 1, off = 0;

    if ((rt->streams = calloc(rt->options.streams_max, sizeof *rt->streams)) == NULL)
        return false;
    if ((rt->listen_fd = socket(rt->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) < 0)
        return false;
    setsockopt(rt->listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (rt->family == AF_INET6)
        setsockopt(rt->listen_fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind(rt->listen_fd, (struct sockaddr *)&at, len) < 0 || listen(rt->listen_fd, LISTEN_BACKLOG) < 0)
        return false;
    len = sizeof at;
    if (getsockname(rt->listen_fd, (struct sockaddr *)&at, &len) < 0 ||
        !real_from_sockaddr(&at, &rt->address))
        return false;
    return real_watch(rt, rt->listen_fd, EPOLLIN, REAL_LISTEN);
}

static void release(struct real_stream *s)
{
    if (s->fd >= 0)
        close(s->fd);
    buffer_free(&s->out);
    buffer_free(&s->waiting);
    free(s->in);
    *s = (struct real_stream){.state = FREE, .fd = -1, .generation = s->generation};
}

void real_tcp_free(struct real_transport *rt)
{
    for (unsigned i = 0; rt->streams != NULL && i < rt->options.streams_max; i++)
        if (rt->streams[i].state != FREE)
            release(&rt->streams[i]);
    free(rt->streams);
    if (rt->listen_fd >= 0)
        close(rt->listen_fd);
}

/* A quarter of the places is for streams that we open: whoever connects and
 * says nothing cannot keep us from asking others. */
static struct real_stream *stream_new(struct real_transport *rt, int fd, bool own)
{
    struct real_stream *s = rt->streams + (own ? 0 : rt->options.streams_max / 4);
    int on = 1;

    while (s < rt->streams + rt->options.streams_max && s->state != FREE)
        s++;
    if (s == rt->streams + rt->options.streams_max)
        return NULL;
    *s = (struct real_stream){.fd = fd, .generation = ++rt->stream_generation};
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return s;
}

static void watch(struct real_transport *rt, struct real_stream *s)
{
    bool writing = s->state == CONNECTING || s->out.at < s->out.len;
    struct epoll_event event = {.events = EPOLLIN | (writing ? EPOLLOUT : 0),
                                .data.u64 = (uint64_t)s->generation << 32 |
                                            (REAL_STREAM + (uint64_t)(s - rt->streams))};

    if (event.events == s->watched)
        return;
    epoll_ctl(rt->epoll_fd, s->watched == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, s->fd, &event);
    s->watched = event.events;
}

/* The user hears of it in the next look at what ended, never from within a call. */
static void end(struct real_transport *rt, struct real_stream *s, enum stream_end why)
{
    if (s->state == CLOSING || !s->known) {
        release(s);
        return;
    }
    s->state = ENDED;
    s->why = why;
    close(s->fd);
    s->fd = -1;
    rt->tick_us = 0;
    if (!rt->in_turn)
        real_arm(rt);
}

static enum stream_end why_of(int error)
{
    return error == ECONNREFUSED ? STREAM_REFUSED : STREAM_BROKEN;
}

/* ---- sending ---------------------------------------------------------- */

static void flush(struct real_transport *rt, struct real_stream *s)
{
    while (s->out.at < s->out.len) {
        ssize_t sent = send(s->fd, s->out.bytes + s->out.at, s->out.len - s->out.at, MSG_NOSIGNAL);
        if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            break;
        if (sent < 0) {
            end(rt, s, STREAM_BROKEN);
            return;
        }
        rt->counters.bytes_out += (uint64_t)sent;
        s->out.at += (size_t)sent;
    }
    if (s->state == CLOSING && s->out.at == s->out.len && s->waiting.len == 0)
        release(s);
    else
        watch(rt, s);
}

static bool seal(struct real_transport *rt, struct real_stream *s, struct slice message)
{
    uint8_t *to = buffer_room(&s->out, LENGTH + message.len + FRAME_OVERHEAD, rt->options.stream_bytes_max);
    size_t len;

    if (to == NULL || (len = frame_seal_on(rt->frames, &s->seal, message, to + LENGTH)) == 0)
        return false;
    to[0] = (uint8_t)(len >> 8);
    to[1] = (uint8_t)len;
    s->out.len += LENGTH + len;
    return true;
}

static bool keep(struct real_transport *rt, struct real_stream *s, struct slice message)
{
    uint8_t *to = buffer_room(&s->waiting, LENGTH + message.len, rt->options.stream_bytes_max);

    if (to == NULL)
        return false;
    to[0] = (uint8_t)(message.len >> 8);
    to[1] = (uint8_t)message.len;
    memcpy(to + LENGTH, message.data, message.len);
    s->waiting.len += LENGTH + message.len;
    return true;
}

uint64_t real_tcp_connect(struct real_transport *rt, const struct address *address)
{
    struct sockaddr_storage to;
    socklen_t len = real_to_sockaddr(rt->family, address, &to);
    struct real_stream *s;
    int fd;

    if (rt->family == AF_INET && !address_is_v4(address))
        return 0;
    if ((fd = socket(rt->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) < 0)
        return 0;
    if ((s = stream_new(rt, fd, true)) == NULL) {
        rt->counters.streams_refused++;
        close(fd);
        return 0;
    }
    s->state = CONNECTING;
    s->known = true;
    s->address = *address;
    s->seal.opener = true;
    s->until_us = real_now_us() + CONNECT_MOST_US;
    rt->counters.streams_opened++;
    if (connect(fd, (struct sockaddr *)&to, len) < 0 && errno != EINPROGRESS)
        end(rt, s, why_of(errno));
    else
        watch(rt, s);
    return id_of(rt, s);
}

bool real_tcp_send(struct real_transport *rt, uint64_t stream, struct slice message)
{
    struct real_stream *s = stream_of(rt, stream);
    bool sealed = s != NULL && s->state == OPEN;

    if (s == NULL || s->state == ENDED || s->state == CLOSING || message.len > STREAM_MESSAGE_MAX)
        return false;
    if (!(sealed ? seal(rt, s, message) : keep(rt, s, message))) {
        rt->counters.streams_overflown++;
        end(rt, s, STREAM_BROKEN);
        return false;
    }
    if (sealed)
        flush(rt, s);
    return true;
}

void real_tcp_close(struct real_transport *rt, uint64_t stream)
{
    struct real_stream *s = stream_of(rt, stream);

    if (s == NULL)
        return;
    s->known = false;
    if (s->state == ENDED || (s->state != OPEN && s->waiting.len == 0)) {
        release(s);
        return;
    }
    if (s->state == OPEN) {
        s->state = CLOSING;
        flush(rt, s);
    }
    if (s->state != FREE)
        s->until_us = real_now_us() + FLUSH_MOST_US;
}

/* ---- receiving -------------------------------------------------------- */

void real_tcp_accept(struct real_transport *rt)
{
    struct sockaddr_storage from;
    socklen_t len = sizeof from;
    struct real_stream *s;
    uint8_t *hello;
    int fd;

    while ((fd = accept4(rt->listen_fd, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        if ((s = stream_new(rt, fd, false)) == NULL) {
            rt->counters.streams_refused++;
            close(fd);
            continue;
        }
        rt->counters.streams_accepted++;
        s->state = OPEN;
        s->until_us = real_now_us() + SILENT_MOST_US;
        real_from_sockaddr(&from, &s->address);
        frame_challenge(s->seal.challenge);
        if ((hello = buffer_room(&s->out, HELLO, HELLO)) == NULL) {
            release(s);
            continue;
        }
        hello[0] = FRAME_VERSION;
        memcpy(hello + 1, s->seal.challenge, CHALLENGE_BYTES);
        s->out.len = HELLO;
        flush(rt, s);
        len = sizeof from;
    }
    /* No descriptors left: it would be readable for ever. The next look watches it again. */
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
        rt->deaf = epoll_ctl(rt->epoll_fd, EPOLL_CTL_DEL, rt->listen_fd, NULL) == 0;
}

/* The challenge is there: what waited can be sealed. Closed meanwhile: only that, and then the end. */
static void greeted(struct real_transport *rt, struct real_stream *s)
{
    if (s->in[0] != FRAME_VERSION) {
        rt->counters.refused[FRAME_OTHER_VERSION]++;
        end(rt, s, STREAM_BROKEN);
        return;
    }
    memcpy(s->seal.challenge, s->in + 1, CHALLENGE_BYTES);
    s->in_len -= HELLO;
    memmove(s->in, s->in + HELLO, s->in_len);
    s->state = s->known ? OPEN : CLOSING;
    while (s->waiting.at < s->waiting.len) {
        const uint8_t *at = s->waiting.bytes + s->waiting.at;
        size_t len = (size_t)(at[0] << 8 | at[1]);
        if (!seal(rt, s, (struct slice){at + LENGTH, len})) {
            end(rt, s, STREAM_BROKEN);
            return;
        }
        s->waiting.at += LENGTH + len;
    }
    buffer_free(&s->waiting);
    if (s->known)
        s->until_us = INT64_MAX; /* the user has its own limit */
    flush(rt, s);
}

/* False when the stream is over. */
static bool take_frame(struct real_transport *rt, struct real_stream *s, size_t len)
{
    struct origin origin = {.address = s->address, .arrived_us = real_now_us()};
    uint8_t content[STREAM_FRAME_MAX];
    uint64_t id = id_of(rt, s);
    enum frame_verdict verdict;
    size_t got;

    verdict =
        frame_open_on(rt->frames, &s->seal, (struct slice){s->in + LENGTH, len}, content, &got, &origin.id);
    if (verdict != FRAME_GOOD) {
        rt->counters.refused[verdict]++;
        end(rt, s, STREAM_BROKEN);
        return false;
    }
    s->in_len -= LENGTH + len;
    memmove(s->in, s->in + LENGTH + len, s->in_len);
    s->known = true;
    s->until_us = INT64_MAX;
    rt->user.stream_message(rt->user.owner, id, &origin, (struct slice){content, got});
    s = stream_of(rt, id);
    return s != NULL && s->state == OPEN;
}

static void take_all(struct real_transport *rt, struct real_stream *s)
{
    if (s->state == GREETING && s->in_len >= HELLO)
        greeted(rt, s);
    while (s->state == OPEN && s->in_len >= LENGTH) {
        size_t len = (size_t)(s->in[0] << 8 | s->in[1]);
        if (len > STREAM_FRAME_MAX) {
            rt->counters.refused[FRAME_FORGED]++;
            end(rt, s, STREAM_BROKEN);
            return;
        }
        if (s->in_len < LENGTH + len || !take_frame(rt, s, len))
            return;
    }
}

static void receive(struct real_transport *rt, struct real_stream *s)
{
    uint32_t generation = s->generation;

    if (s->in == NULL && (s->in = malloc(IN_ROOM)) == NULL) {
        end(rt, s, STREAM_BROKEN);
        return;
    }
    for (int reads = 0; reads < READS_MOST && s->generation == generation &&
                        (s->state == GREETING || s->state == OPEN || s->state == CLOSING);
         reads++) {
        ssize_t got;
        if (s->state == CLOSING)
            s->in_len = 0; /* nobody listens any more */
        got = recv(s->fd, s->in + s->in_len, IN_ROOM - s->in_len, 0);
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (got <= 0) {
            end(rt, s, got == 0 ? STREAM_CLOSED : STREAM_BROKEN);
            return;
        }
        rt->counters.bytes_in += (uint64_t)got;
        s->in_len += (size_t)got;
        take_all(rt, s);
    }
}

void real_tcp_event(struct real_transport *rt, uint64_t what, uint32_t events)
{
    struct real_stream *s = &rt->streams[(what & UINT32_MAX) - REAL_STREAM];
    int error = 0;
    socklen_t len = sizeof error;

    if (s->generation != what >> 32 || s->state == FREE || s->state == ENDED)
        return; /* ended earlier in this turn, and perhaps its place is taken again */
    if (s->state == CONNECTING) {
        getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &len);
        if (error != 0) {
            end(rt, s, why_of(error));
            return;
        }
        s->state = GREETING;
        watch(rt, s);
    }
    if (events & EPOLLOUT)
        flush(rt, s);
    if (s->state != FREE && s->state != ENDED && events & (EPOLLIN | EPOLLERR | EPOLLHUP))
        receive(rt, s);
}

void real_tcp_tick(struct real_transport *rt, int64_t now)
{
    if (rt->deaf)
        rt->deaf = !real_watch(rt, rt->listen_fd, EPOLLIN, REAL_LISTEN);
    for (unsigned i = 0; i < rt->options.streams_max; i++) {
        struct real_stream *s = &rt->streams[i];
        if (s->state != FREE && s->state != ENDED && s->until_us <= now) {
            rt->counters.streams_expired++;
            end(rt, s, STREAM_BROKEN);
        }
        if (s->state == ENDED) {
            uint64_t id = id_of(rt, s);
            enum stream_end why = s->why;
            release(s);
            rt->user.stream_ended(rt->user.owner, id, why);
        }
    }
}
