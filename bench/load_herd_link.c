/* load_herd_link.c - non-blocking in the loop, waiting outside of it. */
#include "bench/load_herd_link.h"

#include "bench/load_herd_read.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EXCHANGE_TIMEOUT_MS = 5000 };

void herd_link_close(struct herd_link *link)
{
    if (link->fd >= 0)
        close(link->fd);
    free(link->kept);
    link->fd = -1;
    link->kept = NULL;
    link->in_len = 0;
}

void herd_link_free(struct herd_link *link)
{
    herd_link_close(link);
    free(link->in);
    link->in = NULL;
}

static bool greet(struct herd_link *link, char *why, size_t why_size)
{
    char hello[] = "*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n";
    struct herd_out out = {(uint8_t *)hello, sizeof hello, sizeof hello - 1};
    struct herd_reply reply;

    if (!herd_link_exchange(link, &out, &reply, why, why_size))
        return false;
    if (reply.kind == HERD_REFUSED)
        snprintf(why, why_size, "HELLO 3 was refused: %.*s", (int)reply.text.len,
                 (const char *)reply.text.data);
    return reply.kind != HERD_REFUSED;
}

bool herd_link_open(struct herd_link *link, const struct herd_door *door, char *why, size_t why_size)
{
    herd_link_close(link);
    link->dialect = door->dialect;
    if (link->in == NULL) {
        link->in = malloc(door->answer_size);
        link->in_size = door->answer_size;
    }
    if (link->in == NULL) {
        snprintf(why, why_size, "not enough memory for the connections");
        return false;
    }
    link->fd = net_connect(&door->server, why, why_size);
    if (link->fd < 0)
        return false;
    return !door->resp3 || door->dialect != HERD_RESP || greet(link, why, why_size);
}

static bool would_block(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

enum herd_link_status herd_link_send(struct herd_link *link, const struct herd_out *out)
{
    ssize_t sent;

    if (link->kept != NULL)
        return HERD_LINK_LOST; /* answered before it had the whole question */
    sent = send(link->fd, out->data, out->len, MSG_NOSIGNAL);
    if (sent < 0 && !would_block())
        return HERD_LINK_LOST;
    if (sent < 0)
        sent = 0;
    if ((size_t)sent == out->len)
        return HERD_LINK_OK;
    link->kept_len = out->len - (size_t)sent;
    link->kept_at = 0;
    link->kept = malloc(link->kept_len);
    if (link->kept == NULL)
        return HERD_LINK_LOST;
    memcpy(link->kept, out->data + sent, link->kept_len);
    return HERD_LINK_WAITS;
}

enum herd_link_status herd_link_flush(struct herd_link *link)
{
    ssize_t sent;

    if (link->kept == NULL)
        return HERD_LINK_OK;
    sent = send(link->fd, link->kept + link->kept_at, link->kept_len - link->kept_at, MSG_NOSIGNAL);
    if (sent < 0)
        return would_block() ? HERD_LINK_WAITS : HERD_LINK_LOST;
    link->kept_at += (size_t)sent;
    if (link->kept_at < link->kept_len)
        return HERD_LINK_WAITS;
    free(link->kept);
    link->kept = NULL;
    return HERD_LINK_OK;
}

enum herd_link_status herd_link_receive(struct herd_link *link)
{
    ssize_t got;

    if (link->in_len == link->in_size)
        return HERD_LINK_LOST; /* longer than any answer could be */
    got = recv(link->fd, link->in + link->in_len, link->in_size - link->in_len, 0);
    if (got < 0 && would_block())
        return HERD_LINK_WAITS;
    if (got <= 0)
        return HERD_LINK_LOST;
    link->in_len += (size_t)got;
    return HERD_LINK_OK;
}

enum herd_take herd_link_take(struct herd_link *link, struct herd_reply *reply)
{
    struct slice in = {link->in, link->in_len};
    enum herd_take took = herd_reply_take(link->dialect, &in, reply);

    if (took != HERD_TAKEN)
        return took;
    link->in_len = 0;
    if (in.len == 0)
        return HERD_TAKEN;
    reply->text = slice_of("the server sent more than it was asked for");
    return HERD_BROKEN;
}

static bool wait_for(const struct herd_link *link, short events)
{
    struct pollfd wait = {.fd = link->fd, .events = events};

    return poll(&wait, 1, EXCHANGE_TIMEOUT_MS) == 1;
}

bool herd_link_exchange(struct herd_link *link, const struct herd_out *out, struct herd_reply *reply,
                        char *why, size_t why_size)
{
    enum herd_link_status sent = herd_link_send(link, out);
    enum herd_take took = HERD_MORE;

    snprintf(why, why_size, "the server closed the connection");
    while (sent == HERD_LINK_WAITS && wait_for(link, POLLOUT))
        sent = herd_link_flush(link);
    if (sent != HERD_LINK_OK)
        return false;
    while (took == HERD_MORE) {
        if (!wait_for(link, POLLIN)) {
            snprintf(why, why_size, "the server did not answer for %d s", EXCHANGE_TIMEOUT_MS / 1000);
            return false;
        }
        if (herd_link_receive(link) == HERD_LINK_LOST)
            return false;
        took = herd_link_take(link, reply);
    }
    if (took == HERD_BROKEN)
        snprintf(why, why_size, "not an answer to what was asked: %.*s", (int)reply->text.len,
                 (const char *)reply->text.data);
    return took == HERD_TAKEN;
}
