#include "server/cluster/link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/check.h"
#include "server/cluster/control.h"
#include "server/cluster/forward.h"
#include "server/cluster/routes.h"
#include "server/log.h"
#include "server/worker.h"

enum {
    GREETING_MS = 1000, /* for the whole handshake */
    RETRY_FIRST_MS = 20,
    RETRY_MOST_MS = 1000,
    VOUCH_MS = 100,
    TURN_BYTES = 1 << 20,  /* read before others get their turn */
    OUT_KEPT = 256 * 1024, /* of the buffer of frames between turns */
    PINNABLE_BYTES = 16 * 1024,
    KEPT = 8, /* links without a need */
};

/* ---- which link ---- */

static struct link *find_or_make(struct links *links, const struct node_id *node)
{
    struct link *l;

    HASH_FIND(hh, links->by_node, node, sizeof *node, l);
    if (l != NULL || (l = calloc(1, sizeof *l)) == NULL)
        return l;
    l->node = *node;
    l->links = links;
    l->fd = -1;
    HASH_ADD(hh, links->by_node, node, sizeof l->node, l);
    if (l->hh.tbl != NULL)
        return l;
    free(l);
    return NULL;
}

static void connect_to(struct link *l, const struct view_member *member);

/* Members have other numbers in every view. Without memory for the index links are looked up by name. */
static void index_members(struct links *links, const struct routes *routes)
{
    if (links->indexed == routes->version)
        return;
    links->indexed = routes->version;
    free(links->by_member);
    links->by_member = calloc(routes->view->member_count + 1, sizeof(struct link *));
    links->members = links->by_member != NULL ? routes->view->member_count : 0;
}

struct link *links_to(struct links *links, uint16_t member)
{
    const struct routes *routes = links->worker->routes.routes;
    const struct view_member *m = &routes->view->members[member];
    struct link *l;

    index_members(links, routes);
    l = member < links->members ? links->by_member[member] : NULL;
    if (l == NULL && (l = find_or_make(links, &m->id)) == NULL)
        return NULL;
    if (member < links->members)
        links->by_member[member] = l;
    if (l->state == LINK_DOWN && !is_before(links->worker->now, l->retry_at))
        connect_to(l, m);
    return l;
}

int64_t links_unreachable_ms(struct links *links, uint16_t member)
{
    const struct link *l;

    index_members(links, links->worker->routes.routes);
    l = member < links->members ? links->by_member[member] : NULL;
    return l != NULL && l->down_since_ms != 0 ? links->worker->ticks_ms - l->down_since_ms : 0;
}

/* ---- ends ---- */

static void unlist_dirty(struct link *l)
{
    struct link **at = &l->links->dirty;

    if (!l->dirty)
        return;
    while (*at != l)
        at = &(*at)->dirty_next;
    *at = l->dirty_next;
    l->dirty = false;
}

/* Nothing of it is left but what is known of the node. */
static void take_down(struct link *l)
{
    struct worker *w = l->links->worker;
    uint64_t sent = l->state == LINK_UP ? l->out_base + l->out.sent : l->out_base;

    if (l->fd >= 0)
        close(l->fd); /* which takes it out of the loop, too */
    l->fd = -1;
    l->state = LINK_DOWN;
    timers_cancel(&w->timers, &l->timer);
    unlist_dirty(l);
    free(l->rest);
    l->rest = NULL;
    l->rest_len = 0;
    blob_unpin(&l->big);
    calls_lost(l, sent);
    l->out_base += l->out.len;
    out_clear(&l->out, 0);
}

static void fail(struct link *l, const char *why)
{
    struct worker *w = l->links->worker;
    bool was_up = l->state == LINK_UP;
    char name[NODE_ID_TEXT];

    node_id_to_text(&l->node, name);
    if (was_up || l->down_since_ms == 0) {
        l->down_since_ms = w->ticks_ms;
        counter_add(w->exec.counters, link_lost, 1);
        if (worker_may_log(w))
            log_event(LOG_LEVEL_NOTICE, "link_lost", "node=%.*s worker=%u calls=%s reason=\"%s\"",
                      NODE_ID_TEXT, name, w->index, l->first != NULL ? "some" : "none", why);
    }
    if (was_up || strcmp(why, strerror(ECONNREFUSED)) == 0)
        control_link_refused(w->server->control, &l->node);
    take_down(l);
    l->retry_ms = l->retry_ms == 0 ? RETRY_FIRST_MS : 2 * l->retry_ms;
    if (l->retry_ms > RETRY_MOST_MS)
        l->retry_ms = RETRY_MOST_MS;
    l->retry_at = after(w->now, (span){l->retry_ms});
}

static void refuse(struct link *l, enum handshake_fault fault)
{
    counter_add(l->links->worker->exec.counters, link_handshakes_failed, 1);
    fail(l, handshake_fault_text(fault));
}

static void forget(struct link *l)
{
    take_down(l);
    for (size_t i = 0; i < l->links->members; i++) {
        if (l->links->by_member[i] == l)
            l->links->by_member[i] = NULL;
    }
    HASH_DEL(l->links->by_node, l);
    out_free(&l->out);
    free(l);
}

/* ---- sending ---- */

static void listen_to(struct link *l, unsigned events)
{
    if (l->listens_to == events)
        return;
    l->listens_to = events;
    loop_change(l->links->worker->loop, l->fd, events, &l->source);
}

/* A buffer that never runs empty must not keep all that has gone. */
static void forget_sent(struct link *l)
{
    struct out *out = &l->out;

    if (out->sent < out->len) {
        if (out->sent < OUT_KEPT || out->sent < out->len - out->sent)
            return;
        memmove(out->data, out->data + out->sent, out->len - out->sent);
        out->len -= out->sent;
        l->out_base += out->sent;
        out->sent = 0;
        return;
    }
    l->out_base += out->len;
    out_clear(out, OUT_KEPT);
}

static void send_frames(struct link *l)
{
    struct out *out = &l->out;
    ssize_t n;

    if (l->state != LINK_UP)
        return;
    if (out->failed) {
        fail(l, "out of memory");
        return;
    }
    while (out->sent < out->len) {
        n = send(l->fd, out->data + out->sent, out->len - out->sent, MSG_NOSIGNAL);
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
            break;
        if (n < 0) {
            fail(l, strerror(errno));
            return;
        }
        counter_add(l->links->worker->exec.counters, link_output_bytes, n);
        out->sent += (size_t)n;
    }
    forget_sent(l);
    listen_to(l, out->len > 0 ? LOOP_READ | LOOP_WRITE : LOOP_READ);
}

void link_touch(struct link *l)
{
    if (l->dirty || l->state != LINK_UP)
        return; /* what is queued before it is up goes out when it is */
    l->dirty = true;
    l->dirty_next = l->links->dirty;
    l->links->dirty = l;
}

/* ---- connecting ---- */

static void on_ready(struct loop_source *source, unsigned events);
static void on_timer(struct timer *timer);

static socklen_t address_of_member(const struct view_member *m, struct sockaddr_storage *to)
{
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)to;
    struct sockaddr_in *in = (struct sockaddr_in *)to;

    memset(to, 0, sizeof *to);
    if (m->ip_bytes == sizeof in->sin_addr) {
        in->sin_family = AF_INET;
        in->sin_port = htons(m->link_port);
        memcpy(&in->sin_addr, m->ip, sizeof in->sin_addr);
        return sizeof *in;
    }
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(m->link_port);
    memcpy(&in6->sin6_addr, m->ip, sizeof in6->sin6_addr);
    return sizeof *in6;
}

static bool open_socket(struct link *l, const struct sockaddr_storage *to, socklen_t len)
{
    int on = 1;

    l->fd = socket(to->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (l->fd < 0)
        return false;
    setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return connect(l->fd, (const struct sockaddr *)to, len) == 0 || errno == EINPROGRESS;
}

static void connect_to(struct link *l, const struct view_member *member)
{
    struct worker *w = l->links->worker;
    struct sockaddr_storage to;
    socklen_t len = address_of_member(member, &to);

    if (!open_socket(l, &to, len)) {
        fail(l, strerror(errno));
        return;
    }
    l->source.ready = on_ready;
    l->timer.fire = on_timer;
    l->listens_to = LOOP_WRITE;
    l->state = LINK_CONNECTING;
    l->give_up_at = after(w->now, (span){GREETING_MS});
    if (!loop_add(w->loop, l->fd, LOOP_WRITE, &l->source) ||
        !timers_set(&w->timers, &l->timer, l->give_up_at))
        fail(l, "out of memory");
}

/* A few hundred bytes into an empty socket buffer: all of it goes, or the link is no good. */
static bool send_greeting(struct link *l, const uint8_t *from, const uint8_t *end)
{
    return send(l->fd, from, (size_t)(end - from), MSG_NOSIGNAL) == end - from;
}

static void connected(struct link *l)
{
    uint8_t frame[PEER_GREETING_MAX], *end = frame;
    struct handshake_self self;
    socklen_t len = sizeof(int);
    int why = 0;

    if (getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &why, &len) != 0 || why != 0) {
        fail(l, strerror(why != 0 ? why : errno));
        return;
    }
    l->handshake.other = l->node;
    self = handshake_self_of(l->links->worker->server->control);
    handshake_begin(&l->handshake, &self, &end);
    if (!send_greeting(l, frame, end)) {
        fail(l, strerror(errno));
        return;
    }
    l->state = LINK_GREETING;
    listen_to(l, LOOP_READ);
}

static void is_up(struct link *l)
{
    struct worker *w = l->links->worker;

    l->state = LINK_UP;
    l->retry_ms = 0;
    l->down_since_ms = 0;
    timers_cancel(&w->timers, &l->timer);
    counter_add(w->exec.counters, link_made, 1);
    calls_expire(l); /* sets the timer for those that have waited for this */
    link_touch(l);
}

static bool greeted(struct link *l, const struct peer_header *h, struct slice body)
{
    uint8_t frame[PEER_GREETING_MAX], *end = frame;
    struct handshake_self self = handshake_self_of(l->links->worker->server->control);
    enum handshake_fault fault = handshake_challenged(&l->handshake, &self, h, body, &end);

    if (fault != HANDSHAKE_OK) {
        refuse(l, fault);
        return false;
    }
    if (!send_greeting(l, frame, end)) {
        fail(l, strerror(errno));
        return false;
    }
    is_up(l);
    return true;
}

static void on_timer(struct timer *timer)
{
    struct link *l = (struct link *)((uintptr_t)timer - offsetof(struct link, timer));

    if (l->state == LINK_UP)
        calls_expire(l);
    else
        fail(l, "no answer");
}

/* ---- receiving ---- */

/* False: the link has ended. */
static bool take_frame(struct link *l, const struct peer_header *h, struct slice body, struct blob *blob)
{
    if (l->state == LINK_GREETING)
        return greeted(l, h, body);
    if (h->kind == PEER_ANSWER) {
        calls_answered(l, h, body, blob);
        return true;
    }
    if (h->kind == PEER_PARKED) {
        calls_parked(l, h);
        return true;
    }
    fail(l, handshake_fault_text(HANDSHAKE_NO_FRAME));
    return false;
}

static bool keep_rest(struct link *l, const uint8_t *data, size_t len, size_t wanted)
{
    uint8_t *copy = NULL;

    if (wanted > WORKER_INPUT_BYTES) {
        if ((l->big = blob_new(wanted)) == NULL)
            return false;
        memcpy(l->big->data, data, len);
        l->big_len = len;
    } else if (len > 0) {
        if ((copy = malloc(len)) == NULL)
            return false;
        memcpy(copy, data, len);
    }
    free(l->rest);
    l->rest = copy;
    l->rest_len = copy != NULL ? len : 0;
    return true;
}

/* All whole frames among these bytes. False: the link has ended. */
static bool take_frames(struct link *l, const uint8_t *data, size_t len)
{
    struct peer_header h;
    struct slice body;

    for (;;) {
        switch (peer_cut(data, len, &h, &body)) {
        case PEER_FRAME:
            if (!take_frame(l, &h, body, NULL))
                return false;
            data += PEER_LENGTH + h.length;
            len -= PEER_LENGTH + h.length;
            continue;
        case PEER_MORE:
            if (keep_rest(l, data, len, h.length != 0 ? PEER_LENGTH + (size_t)h.length : 0))
                return true;
            fail(l, "out of memory");
            return false;
        case PEER_BROKEN: fail(l, handshake_fault_text(HANDSHAKE_NO_FRAME)); return false;
        }
    }
}

/* The large frame may be complete. False: the link has ended. */
static bool take_big(struct link *l)
{
    struct blob *blob = l->big;
    struct peer_header h;
    struct slice body;
    bool alive;

    if (l->big_len < blob->capacity)
        return true;
    l->big = NULL;
    CHECK(peer_cut(blob->data, l->big_len, &h, &body) == PEER_FRAME); /* its header was looked at before */
    alive = take_frame(l, &h, body, body.len >= PINNABLE_BYTES ? blob : NULL);
    blob_unpin(&blob);
    return alive;
}

static void vouch(struct link *l)
{
    struct worker *w = l->links->worker;

    if (w->ticks_ms - l->vouched_ms < VOUCH_MS)
        return;
    l->vouched_ms = w->ticks_ms;
    control_vouch(w->server->control, &l->node);
}

static void read_frames(struct link *l)
{
    struct worker *w = l->links->worker;
    size_t turn = 0;

    while (turn < TURN_BYTES) {
        uint8_t *to = l->big != NULL ? l->big->data + l->big_len : w->input + l->rest_len;
        size_t room = l->big != NULL ? l->big->capacity - l->big_len : WORKER_INPUT_BYTES - l->rest_len;
        ssize_t n = recv(l->fd, to, room, 0);

        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
            return;
        if (n <= 0) {
            fail(l, n == 0 ? "it hung up" : strerror(errno));
            return;
        }
        counter_add(w->exec.counters, link_input_bytes, n);
        turn += (size_t)n;
        if (l->big != NULL) {
            l->big_len += (size_t)n;
            if (!take_big(l))
                return;
        } else {
            if (l->rest_len > 0)
                memcpy(w->input, l->rest, l->rest_len);
            if (!take_frames(l, w->input, l->rest_len + (size_t)n))
                return;
        }
        if (l->state == LINK_UP)
            vouch(l);
        if ((size_t)n < room)
            return;
    }
}

static void on_ready(struct loop_source *source, unsigned events)
{
    struct link *l = (struct link *)source;

    if (l->state == LINK_CONNECTING) {
        connected(l);
        return;
    }
    if (events & LOOP_WRITE)
        send_frames(l);
    if (l->state != LINK_DOWN && (events & (LOOP_READ | LOOP_BROKEN)))
        read_frames(l);
}

/* ---- the worker's ---- */

struct links *links_new(struct worker *w)
{
    struct links *links = calloc(1, sizeof *links);

    if (links != NULL)
        links->worker = w;
    return links;
}

void links_free(struct links **links)
{
    struct links *all = *links;
    struct link *l, *next;

    *links = NULL;
    if (all == NULL)
        return;
    for (l = all->by_node; l != NULL; l = next) {
        next = l->hh.next;
        forget(l);
    }
    calls_end_unsent(all);
    CHECK(all->calls == 0);
    for (uint32_t chunk = 0; chunk * 64 < all->slots_len; chunk++)
        free(all->slots[chunk]);
    free(all->slots);
    free(all->by_member);
    free(all);
}

static bool is_gone(const struct view *view, const struct node_id *node)
{
    uint16_t member = view_find(view, node);

    return member == NOBODY || view->members[member].state == VIEW_FAILED;
}

/* Who has gone has nothing to answer any more; who is there is worth another try; and what waited for
 * somebody to take over looks again. */
static void follow_routes(struct links *links)
{
    struct worker *w = links->worker;
    const struct view *view;
    struct link *l, *next;

    routes_enter(w->server, &w->routes);
    routes_leave(&w->routes);
    if (w->routes.routes == NULL || w->routes.routes->version == links->followed)
        return;
    view = w->routes.routes->view;
    links->followed = w->routes.routes->version;
    index_members(links, w->routes.routes);
    for (l = links->by_node; l != NULL; l = next) {
        next = l->hh.next;
        if (is_gone(view, &l->node))
            forget(l);
        else
            l->retry_at = (instant){0};
    }
    forward_routes_changed(w);
}

void links_keep(struct links *links)
{
    const struct routes *routes = links->worker->routes.routes;
    size_t count;

    if (routes == NULL || routes->self == NOBODY)
        return;
    count = routes->view->member_count;
    for (size_t i = 1; i <= KEPT && i < count; i++)
        (void)links_to(links, (uint16_t)((routes->self + i) % count));
}

void links_turn(struct links *links)
{
    struct worker *w = links->worker;
    struct link *l;

    if (atomic_load_explicit(&w->server->routes, memory_order_relaxed) != w->routes.routes ||
        (w->routes.routes != NULL && w->routes.routes->version != links->followed))
        follow_routes(links);
    calls_end_unsent(links);
    while ((l = links->dirty) != NULL) {
        links->dirty = l->dirty_next;
        l->dirty = false;
        send_frames(l);
    }
}
