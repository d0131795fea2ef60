#include "server/push.h"

#include <stdlib.h>

#include "protocol/resp.h"
#include "server/check.h"
#include "server/cluster/guest.h"
#include "server/conn.h"
#include "server/monitor.h"
#include "server/server.h"
#include "server/tracking.h"
#include "server/worker.h"

enum {
    PIN_BYTES = 16 * 1024, /* of a body: sent from where it lies instead of copied per client */
    SAY_BYTES = 1 << 20,   /* to all clients together, before they are sent to */
};

/* ---- who is spoken to ---- */

static struct push *find(struct worker *w, uint64_t id)
{
    struct push *push;

    HASH_FIND(hh, w->pushes, &id, sizeof id, push);
    return push;
}

static struct push *enroll(struct worker *w, struct session *session)
{
    struct push *push;

    if (session->push != NULL)
        return session->push;
    if ((push = calloc(1, sizeof *push)) == NULL)
        return NULL;
    push->id = session->id;
    push->session = session;
    HASH_ADD(hh, w->pushes, id, sizeof push->id, push);
    if (push->hh.tbl == NULL) {
        free(push);
        return NULL;
    }
    session->push = push;
    return push;
}

struct push *push_of(struct exec *x)
{
    struct push *push = enroll(x->worker, x->session);

    if (push == NULL)
        x->out->failed = true;
    return push;
}

/* Somebody another client redirects to need not know of it; it is looked for once. */
static struct push *find_anybody(struct worker *w, uint64_t id)
{
    struct push *push = find(w, id);
    struct conn *c;

    if (push != NULL)
        return push;
    for (c = w->conns; c != NULL && c->session.id != id; c = c->next)
        ;
    return c != NULL ? enroll(w, &c->session) : NULL;
}

static void stop_speaking(struct server *server, struct session *session)
{
    struct push *push = session->push;

    if (push == NULL)
        return;
    pubsub_unsubscribe_all(server, push);
    tracking_off(server, push);
    if (session->modes & SESSION_MONITOR)
        monitor_stop(server, session);
}

/* What is still to be handed over is not for this one. */
static void strike_out(struct worker *w, uint64_t id)
{
    for (struct letter *l = w->opening.first; l != NULL; l = l->next) {
        for (uint32_t i = 0; i < l->to_len; i++) {
            if (l->to[i] == id)
                l->to[i] = 0; /* nobody's */
        }
    }
}

void push_reset(struct exec *x)
{
    if (x->session->push == NULL)
        return;
    stop_speaking(x->server, x->session);
    push_deliver(x->worker); /* so that nothing of it comes after the reply */
    strike_out(x->worker, x->session->id);
}

void push_leave(struct worker *w, struct session *session)
{
    struct push *push = session->push;

    if (push == NULL)
        return;
    stop_speaking(w->server, session);
    session->push = NULL;
    HASH_DEL(w->pushes, push);
    free(push);
}

/* ---- words ---- */

static size_t header_len(size_t n)
{
    uint8_t header[RESP_HEADER_MAX];

    return (size_t)(resp_put_array(header, n) - header);
}

struct blob *push_words(const struct slice *words, size_t n)
{
    size_t len = header_len(n);
    struct blob *blob;
    uint8_t *p;

    for (size_t i = 0; i < n; i++)
        len += header_len(words[i].len) + words[i].len + 2;
    if ((blob = blob_new(len)) == NULL)
        return NULL;
    p = resp_put_array(blob->data, n);
    for (size_t i = 0; i < n; i++)
        p = resp_put_bulk(p, words[i]);
    CHECK(p == blob->data + len);
    return blob;
}

/* ---- telling one client ---- */

static void say(struct out *out, struct blob *body, size_t from)
{
    struct slice rest = {body->data + from, body->capacity - from};

    if (rest.len < PIN_BYTES) {
        out_append(out, rest.data, rest.len);
        return;
    }
    blob_pin(body);
    out_blob(out, body, rest);
}

static void say_text(struct out *out, const char *text)
{
    out_append(out, text, strlen(text));
}

static void tell_message(struct push *push, struct blob *body)
{
    struct out *out = conn_voice(conn_of(push->session));

    if (out == NULL)
        return;
    say_text(out, push->session->resp >= 3 ? ">" : "*");
    say(out, body, 1);
}

static void tell_line(struct push *push, struct blob *body)
{
    struct out *out = conn_voice(conn_of(push->session));

    if (out != NULL && (push->session->modes & SESSION_MONITOR))
        say(out, body, 0);
}

/* body NULL: everything is invalid. In RESP2 only who is redirected to can be told, and only while it
 * listens. */
static void tell_invalid(struct push *push, struct blob *body, bool redirected)
{
    const struct session *s = push->session;
    struct out *out;

    if (s->resp < 3 && !(redirected && (s->modes & SESSION_SUBSCRIBED)))
        return;
    if ((out = conn_voice(conn_of(push->session))) == NULL)
        return;
    if (s->resp >= 3)
        say_text(out, ">2\r\n$10\r\ninvalidate\r\n");
    else
        say_text(out, "*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n");
    if (body != NULL)
        say(out, body, 0);
    else
        out_commit(out, resp_put_null(out_room(out, RESP_NULL_MAX), s->resp));
}

static void tell_redirect_lost(struct push *push)
{
    struct tracking_state *t = &push->tracking;
    struct out *out;

    if (!t->on || t->redirect == 0)
        return;
    t->broken = true;
    session_show(push->session, SHOWN_BROKEN_REDIRECT, true);
    if (push->session->resp < 3 || (out = conn_voice(conn_of(push->session))) == NULL)
        return;
    say_text(out, ">2\r\n$21\r\ntracking-redir-broken\r\n");
    out_commit(out, resp_put_integer(out_room(out, RESP_INTEGER_MAX), (int64_t)address_id(t->redirect)));
}

/* To a client that tracks, or to whom it redirects. */
static void tell_tracker(struct worker *w, struct push *push, struct blob *body)
{
    struct tracking_state *t = &push->tracking;

    if (!t->on)
        return;
    if (t->redirect == 0)
        tell_invalid(push, body, false);
    else if (t->broken)
        tell_redirect_lost(push);
    else
        post_to(w->server, LETTER_REDIRECTED, body, address_of(push->session), &t->redirect, 1);
}

static void tell_redirected(struct worker *w, uint64_t id, struct blob *body, post_address about)
{
    struct push *push = find_anybody(w, id);

    if (push != NULL)
        tell_invalid(push, body, true);
    else
        post_to(w->server, LETTER_REDIRECT_LOST, NULL, 0, &about, 1);
}

/* ---- letters ---- */

static void tell_all_trackers(struct worker *w)
{
    for (struct push *push = w->pushes; push != NULL; push = push->hh.next)
        tell_tracker(w, push, NULL);
}

static void hand_over(struct worker *w, const struct letter *l, uint64_t id)
{
    struct push *push;

    if (l->kind == LETTER_REDIRECTED) {
        tell_redirected(w, id, l->body, l->about);
        return;
    }
    if ((push = find(w, id)) == NULL)
        return; /* it has gone meanwhile */
    switch (l->kind) {
    case LETTER_MESSAGE: tell_message(push, l->body); return;
    case LETTER_LINE: tell_line(push, l->body); return;
    case LETTER_INVALID: tell_tracker(w, push, l->body); return;
    case LETTER_REDIRECT_LOST: tell_redirect_lost(push); return;
    case LETTER_WAKE: conn_wake_later(conn_of(push->session), PARK_WOKEN); return;
    case LETTER_TIME_OUT: conn_wake_later(conn_of(push->session), PARK_TIMED_OUT); return;
    case LETTER_UNBLOCK: conn_wake_later(conn_of(push->session), PARK_UNBLOCKED); return;
    case LETTER_ALL_INVALID:
    case LETTER_REDIRECTED:
    case LETTER_UNPAUSE: return;
    }
}

static void wake_if_paused(struct conn *c)
{
    if (c->session.parked == PARK_PAUSED)
        conn_wake_later(c, PARK_WOKEN);
}

static void wake_paused(struct worker *w)
{
    for (struct conn *c = w->conns; c != NULL; c = c->next) {
        wake_if_paused(c);
        if (c->host != NULL)
            guests_each(c, wake_if_paused);
    }
}

/* Whose copy is made of it, and not only a pin. */
static size_t said_to_one(const struct letter *l)
{
    return l->body != NULL && l->body->capacity < PIN_BYTES ? l->body->capacity : sizeof *l;
}

/* False: not to all of them. */
static bool hand_over_to_some(struct worker *w, const struct letter *l)
{
    while (w->opening_at < l->to_len && w->said_bytes < SAY_BYTES) {
        w->said_bytes += said_to_one(l);
        hand_over(w, l, l->to[w->opening_at++]);
    }
    return w->opening_at == l->to_len;
}

/* False: there is more to do about it. */
static bool open_letter(struct worker *w, const struct letter *l)
{
    switch (l->kind) {
    case LETTER_ALL_INVALID: tell_all_trackers(w); return true;
    case LETTER_UNPAUSE: wake_paused(w); return true;
    case LETTER_MESSAGE:
    case LETTER_LINE:
    case LETTER_INVALID:
    case LETTER_REDIRECTED:
    case LETTER_REDIRECT_LOST:
    case LETTER_WAKE:
    case LETTER_TIME_OUT:
    case LETTER_UNBLOCK: break;
    }
    return hand_over_to_some(w, l);
}

/* Behind those that are not all handed over yet. */
static void fetch(struct worker *w)
{
    struct post_box *inbox = &w->inbox.post, *opening = &w->opening;

    pthread_mutex_lock(&w->inbox.lock);
    if (opening->last != NULL)
        opening->last->next = inbox->first;
    else
        opening->first = inbox->first;
    if (inbox->last != NULL)
        opening->last = inbox->last;
    opening->all_invalid |= inbox->all_invalid;
    inbox->first = inbox->last = NULL;
    inbox->bytes = 0;
    inbox->all_invalid = false;
    atomic_store_explicit(&inbox->some, false, memory_order_relaxed);
    pthread_mutex_unlock(&w->inbox.lock);
}

bool push_waits(const struct worker *w)
{
    return w->opening.first != NULL || w->opening.all_invalid ||
           atomic_load_explicit(&w->inbox.post.some, memory_order_relaxed);
}

void push_deliver(struct worker *w)
{
    struct post_box *opening = &w->opening;
    struct letter *l;

    fetch(w);
    while ((l = opening->first) != NULL) {
        if (!open_letter(w, l))
            return;
        w->opening_at = 0;
        if ((opening->first = l->next) == NULL)
            opening->last = NULL;
        letter_free(l);
    }
    if (opening->all_invalid) {
        opening->all_invalid = false;
        tell_all_trackers(w);
    }
}

void push_flush_slowly(struct worker *w)
{
    tracking_flush(w);
    post_flush(w);
}
