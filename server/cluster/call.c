#include "server/cluster/call.h"

#include <stdlib.h>

#include "server/check.h"
#include "server/cluster/link.h"
#include "server/cluster/routes.h"
#include "server/worker.h"

/* An id is a slot's number below a count of how often it was used: an answer that comes
 * too late does not find who has the slot now. */
enum { CALLS_CHUNK = 64, SLOT_BITS = 20, SLOTS_MOST = 1 << SLOT_BITS };

/* ---- slots ---- */

static bool more_slots(struct links *links)
{
    uint32_t chunks = links->slots_len / CALLS_CHUNK;
    struct call **slots, *chunk;

    if (links->slots_len >= SLOTS_MOST ||
        (slots = realloc(links->slots, (chunks + 1) * sizeof(*slots))) == NULL)
        return false;
    links->slots = slots;
    if ((chunk = calloc(CALLS_CHUNK, sizeof *chunk)) == NULL)
        return false;
    slots[chunks] = chunk;
    for (uint32_t i = CALLS_CHUNK; i-- > 0;) {
        chunk[i].id = links->slots_len + i;
        chunk[i].next = links->free;
        links->free = &chunk[i];
    }
    links->slots_len += CALLS_CHUNK;
    return true;
}

static struct call *take_slot(struct links *links)
{
    struct call *c;

    if (links->free == NULL && !more_slots(links))
        return NULL;
    c = links->free;
    links->free = c->next;
    links->calls++;
    return c;
}

static void free_slot(struct links *links, struct call *c)
{
    c->link = NULL;
    c->done = NULL;
    c->id += SLOTS_MOST;
    c->next = links->free;
    links->free = c;
    links->calls--;
}

static struct call *find(struct link *l, uint32_t id)
{
    uint32_t slot = id & (SLOTS_MOST - 1);
    struct call *c;

    if (slot >= l->links->slots_len)
        return NULL;
    c = &l->links->slots[slot / CALLS_CHUNK][slot % CALLS_CHUNK];
    return c->id == id && c->link == l ? c : NULL;
}

/* ---- on the link ---- */

static void hang(struct link *l, struct call *c)
{
    c->link = l;
    c->next = NULL;
    c->prev = l->last;
    if (l->last != NULL)
        l->last->next = c;
    else
        l->first = c;
    l->last = c;
}

static void unhang(struct call *c)
{
    struct link *l = c->link;

    if (c->prev != NULL)
        c->prev->next = c->next;
    else
        l->first = c->next;
    if (c->next != NULL)
        c->next->prev = c->prev;
    else
        l->last = c->prev;
}

void call_end(struct call *c, enum call_end end, struct slice bytes, struct blob *blob)
{
    struct links *links = c->link->links;
    struct call_answer answer = {.end = end, .bytes = bytes, .blob = blob};

    unhang(c);
    if (c->done != NULL)
        c->done(c->arg, c, &answer);
    free_slot(links, c);
}

void calls_answered(struct link *l, const struct peer_header *h, struct slice body, struct blob *blob)
{
    struct call *c = find(l, h->id);
    struct slice reply = {body.data + 1, body.len - 1};

    if (c == NULL)
        return; /* its time was over, or it was forgotten */
    switch ((enum peer_status)body.data[0]) {
    case PEER_OK: call_end(c, CALL_ANSWERED, reply, blob); return;
    case PEER_NOT_MINE:
    case PEER_CLOSING: call_end(c, CALL_NOT_MINE, reply, NULL); return;
    case PEER_OVERLOADED: call_end(c, CALL_REFUSED, reply, NULL); return;
    case PEER_LOST:
    case PEER_STATUSES: break;
    }
    call_end(c, CALL_LOST, reply, NULL);
}

static void ring_at(struct link *l, instant deadline)
{
    if (l->state == LINK_CONNECTING || l->state == LINK_GREETING)
        return; /* it rings for the handshake; calls are looked at when that is over */
    if (deadline.ms != 0 && (l->timer.place == 0 || is_before(deadline, l->timer.due)))
        timers_set(&l->links->worker->timers, &l->timer, deadline);
}

bool calls_parked(struct link *l, const struct peer_header *h)
{
    struct call *c = find(l, h->id);
    const struct worker *w = l->links->worker;
    span grace = {option_live(w->exec.options, cluster_forward_timeout)};

    if (c == NULL)
        return true;
    c->parked = true;
    c->deadline = h->time_ms == PEER_FOR_EVER ? (instant){0}
                                              : after(after(w->now, (span){h->time_ms}), grace);
    if (c->told != NULL)
        c->told(c->arg, h->time_ms);
    return true;
}

void calls_lost(struct link *l, uint64_t sent)
{
    while (l->first != NULL)
        call_end(l->first, l->first->at < sent ? CALL_LOST : CALL_UNSENT, (struct slice){0}, NULL);
}

static uint64_t sent_so_far(const struct link *l)
{
    return l->out_base + l->out.sent;
}

/* So that the request does not wait there for nobody. */
static void say_forget(struct link *l, uint32_t id, uint64_t epoch)
{
    struct peer_header h = {.kind = PEER_FORGET, .id = id, .epoch = epoch};
    uint8_t frame[PEER_HEADER];

    if (l->state != LINK_UP)
        return;
    peer_put_header(frame, &h, 0);
    out_append(&l->out, frame, sizeof frame);
    link_touch(l);
}

static uint64_t epoch_of(const struct links *links)
{
    const struct routes *routes = links->worker->routes.routes;

    return routes != NULL ? routes->view->epoch : 0;
}

void calls_expire(struct link *l)
{
    instant now = l->links->worker->now, nearest = {0};
    struct call *next;

    for (struct call *c = l->first; c != NULL; c = next) {
        next = c->next;
        if (c->deadline.ms == 0)
            continue;
        if (is_before(now, c->deadline)) {
            if (nearest.ms == 0 || is_before(c->deadline, nearest))
                nearest = c->deadline;
            continue;
        }
        counter_add(l->links->worker->exec.counters, cluster_calls_late, 1);
        if (c->at < sent_so_far(l))
            say_forget(l, c->id, epoch_of(l->links));
        call_end(c, c->at < sent_so_far(l) ? CALL_LOST : CALL_UNSENT, (struct slice){0}, NULL);
    }
    ring_at(l, nearest);
}

void calls_end_unsent(struct links *links)
{
    struct call *c = links->ended;

    links->ended = NULL;
    while (c != NULL) {
        struct call *next = c->next;
        struct call_answer answer = {.end = c->parked ? CALL_REFUSED : CALL_UNSENT};

        if (c->done != NULL)
            c->done(c->arg, c, &answer);
        free_slot(links, c);
        c = next;
    }
}

/* ---- beginning ---- */

/* It ends in the next turn: `done` is never called from within call_begin(). */
static struct call *end_soon(struct links *links, struct call *c, bool refused)
{
    c->link = NULL;
    c->parked = refused;
    c->next = links->ended;
    links->ended = c;
    return c;
}

static bool is_full(const struct links *links, const struct link *l, size_t more)
{
    const struct options *o = links->worker->exec.options;

    return links->calls >= (uint32_t)option_live(o, cluster_calls_max) ||
           out_pending(&l->out) + more > option_live(o, cluster_link_buffer);
}

/* The slot, and `size` bytes of room behind the frame's header; NULL in *body: there is nothing to be written. */
static struct call *begin(struct worker *w, uint16_t to, size_t size, const struct call_options *o,
                          uint8_t **body)
{
    struct links *links = w->links;
    struct peer_header h = {.kind = (uint8_t)o->kind,
                            .dialect = (uint8_t)o->dialect,
                            .db = o->db,
                            .flags = o->flags | o->hops,
                            .time_ms = o->patience_ms,
                            .epoch = epoch_of(links)};
    struct link *l = links_to(links, to);
    struct call *c = l != NULL ? take_slot(links) : NULL;
    uint8_t *p;

    *body = NULL;
    if (c == NULL)
        return NULL;
    c->done = o->done;
    c->told = o->told;
    c->arg = o->arg;
    c->parked = false;
    if (l->state == LINK_DOWN)
        return end_soon(links, c, false);
    if (size > PEER_BODY_MAX || is_full(links, l, size)) {
        counter_add(w->exec.counters, cluster_calls_refused, 1);
        return end_soon(links, c, true);
    }
    c->at = l->out_base + l->out.len;
    if ((p = out_room(&l->out, PEER_HEADER + size)) == NULL || l->out.failed) {
        free_slot(links, c);
        return NULL;
    }
    h.id = c->id;
    *body = peer_put_header(p, &h, size);
    out_commit(&l->out, *body + size);
    c->deadline = after(w->now, (span){o->patience_ms});
    hang(l, c);
    ring_at(l, c->deadline);
    link_touch(l);
    counter_add(w->exec.counters, cluster_calls, 1);
    return c;
}

struct call *call_begin(struct worker *w, uint16_t to, const struct request *rq,
                        const struct call_options *o)
{
    uint8_t *body;
    struct call *c = begin(w, to, peer_request_size(rq), o, &body);

    if (body != NULL)
        peer_put_request(body, rq, o->asker);
    return c;
}

struct call *call_message(struct worker *w, uint16_t to, struct slice bytes, const struct call_options *o)
{
    uint8_t *body;
    struct call *c = begin(w, to, bytes.len, o, &body);

    if (body != NULL && bytes.len > 0)
        memcpy(body, bytes.data, bytes.len);
    return c;
}

void call_forget(struct call **call)
{
    struct call *c = *call;

    *call = NULL;
    if (c == NULL)
        return;
    c->done = NULL;
    c->told = NULL;
    /* One that does not wait there is answered soon; till then its slot stays taken. */
    if (c->link != NULL && c->parked) {
        say_forget(c->link, c->id, epoch_of(c->link->links));
        call_end(c, CALL_LOST, (struct slice){0}, NULL);
    }
}
