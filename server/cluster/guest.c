#include "server/cluster/guest.h"

#include <stdlib.h>

#include "server/batch.h"
#include "server/check.h"
#include "server/clients.h"
#include "server/cluster/control.h"
#include "server/cluster/handover.h"
#include "server/cluster/handshake.h"
#include "server/cluster/whole.h"
#include "server/command/command.h"
#include "server/conn.h"
#include "server/gate.h"
#include "server/herd/herd.h"
#include "server/log.h"
#include "server/lookout.h"
#include "server/pause.h"
#include "server/push.h"
#include "server/server.h"
#include "server/worker.h"

enum {
    GREETING_MS = 2000,
    FULL_BYTES = 256 * 1024, /* of answers: time to send */
    ANSWER_HEAD = PEER_HEADER + 1,
};

/* One incoming link. */
struct host {
    struct conn *link;
    struct handshake handshake; /* until it is proven; then handshake.other is who it is */
    bool greeted, proven;
    struct conn *spare; /* the guest whose session executes */
    struct conn *guests;
    uint32_t guests_len;
    size_t reply_most; /* bytes of one reply */
};

struct guest {
    struct conn conn; /* first: conn_close() frees it */
    struct asked asked;
    bool answered;
};

static struct guest *guest_of(struct conn *c)
{
    return (struct guest *)c;
}

/* ---- guests ---- */

static struct conn *make_spare(struct host *h)
{
    struct guest *g = calloc(1, sizeof *g);

    if (g == NULL)
        return NULL;
    if (!conn_init_guest(&g->conn, h, h->link)) {
        free(g);
        return NULL;
    }
    return &g->conn;
}

static bool needs_spare(struct host *h)
{
    return h->spare != NULL || (h->spare = make_spare(h)) != NULL;
}

/* The misses that plain clients were told of: whoever executes has them. */
static void pass_held(struct session *to, struct session *from)
{
    CHECK(to->held == NULL);
    to->held = from->held;
    to->held_len = from->held_len;
    to->held_bytes = from->held_bytes;
    from->held = NULL;
    from->held_len = 0;
    from->held_bytes = 0;
}

static void list_guest(struct host *h, struct conn *c)
{
    c->prev = NULL;
    c->next = h->guests;
    if (c->next != NULL)
        c->next->prev = c;
    h->guests = c;
    h->guests_len++;
}

static void unlist_guest(struct host *h, struct conn *c)
{
    if (c->prev != NULL)
        c->prev->next = c->next;
    else
        h->guests = c->next;
    if (c->next != NULL)
        c->next->prev = c->prev;
    h->guests_len--;
}

void guests_each(struct conn *link, void (*visit)(struct conn *guest))
{
    for (struct conn *c = link->host->guests; c != NULL; c = c->next)
        visit(c);
}

static struct conn *find_guest(const struct host *h, uint32_t id)
{
    struct conn *c = h->guests;

    while (c != NULL && guest_of(c)->asked.header.id != id)
        c = c->next;
    return c;
}

/* ---- frames on their way back ---- */

static uint64_t epoch_of(const struct worker *w)
{
    return w->routes.routes != NULL ? w->routes.routes->view->epoch : 0;
}

/* Behind whatever else goes out by that link. */
static struct out *voice(struct conn *link)
{
    (void)conn_voice(
        link); /* which is then looked at after the turn; it may be closed for holding too much */
    return &link->pending;
}

static void put_frame(struct out *out, const struct peer_header *h, const void *body, size_t len)
{
    uint8_t *p = out_room(out, PEER_HEADER + len), *end;

    if (p == NULL)
        return;
    end = peer_put_header(p, h, len);
    if (len > 0)
        memcpy(end, body, len);
    out_commit(out, end + len);
}

static void put_parked(struct out *out, const struct worker *w, uint32_t id, uint32_t ms)
{
    struct peer_header h = {.kind = PEER_PARKED, .id = id, .time_ms = ms, .epoch = epoch_of(w)};

    put_frame(out, &h, NULL, 0);
}

void guest_waits(struct conn *c, uint32_t ms)
{
    put_parked(voice(c->host->link), c->worker, guest_of(c)->asked.header.id, ms);
}

/* A reply without bytes, that says why. */
static void put_status(struct out *out, const struct worker *w, uint32_t id, enum peer_status status)
{
    struct peer_header h = {.kind = PEER_ANSWER, .id = id, .epoch = epoch_of(w)};
    uint8_t body = (uint8_t)status;

    put_frame(out, &h, &body, 1);
}

void guest_leave(struct conn *c)
{
    struct host *h = c->host;

    if (h->spare == c) {
        h->spare = NULL;
        return;
    }
    unlist_guest(h, c);
    if (!guest_of(c)->answered)
        put_status(voice(h->link), c->worker, guest_of(c)->asked.header.id, PEER_OVERLOADED);
}

/* ---- the link ---- */

bool host_open(struct conn *link)
{
    struct host *h = calloc(1, sizeof *h);
    struct worker *w = link->worker;

    if (h == NULL)
        return false;
    if (!timers_set(&w->timers, &link->timer, after(w->now, (span){GREETING_MS}))) {
        free(h);
        return false;
    }
    h->link = link;
    link->host = h;
    link->session.authenticated = true;
    session_show(&link->session, SHOWN_NO_EVICT, true); /* many clients' answers: no single one's fault */
    return true;
}

void host_close(struct conn *link)
{
    struct host *h = link->host;

    if (h == NULL)
        return;
    timers_cancel(&link->worker->timers, &link->timer);
    while (h->guests != NULL) {
        guest_of(h->guests)->answered = true; /* there is nobody to tell */
        conn_close(h->guests);
    }
    if (h->spare != NULL)
        conn_close(h->spare);
    link->host = NULL;
    free(h);
    atomic_fetch_sub_explicit(&link->worker->server->links, 1, memory_order_relaxed);
}

bool host_is_link(const struct conn *c)
{
    return c->host != NULL && c->host->link == c;
}

bool host_is_proven(const struct conn *link)
{
    return link->host->proven;
}

bool host_is_idle(const struct conn *link)
{
    return link->host->guests == NULL;
}

/* ---- who is there ---- */

static bool turn_away(struct worker *w, const struct conn *link, enum handshake_fault fault)
{
    counter_add(w->exec.counters, link_handshakes_failed, 1);
    if (worker_may_log(w))
        log_event(LOG_LEVEL_WARNING, "link_refused", "addr=%s reason=\"%s\"", link->session.address,
                  handshake_fault_text(fault));
    return false;
}

/* One frame of the handshake. False: close. */
static bool greet(struct worker *w, struct host *h, const struct peer_header *header, struct slice body)
{
    uint8_t frame[PEER_GREETING_MAX], *end = frame;
    struct handshake_self self = handshake_self_of(w->server->control);
    enum handshake_fault fault;

    if (!h->greeted) {
        fault = handshake_greeted(&h->handshake, &self, header, body, &end);
        if (fault != HANDSHAKE_OK)
            return turn_away(w, h->link, fault);
        h->greeted = true;
        out_append(&w->out, frame, (size_t)(end - frame));
        return true;
    }
    fault = handshake_proven(&h->handshake, &self, header, body);
    if (fault != HANDSHAKE_OK)
        return turn_away(w, h->link, fault);
    h->proven = true;
    timers_cancel(&w->timers, &h->link->timer);
    control_vouch(w->server->control, &h->handshake.other);
    return true;
}

/* ---- from bytes to entries ---- */

/* Everything of the session that a frame says; the rest is as it was left. */
static void assume(struct session *s, const struct peer_header *h)
{
    s->dialect = h->dialect <= PEER_RESP3 ? DIALECT_RESP : DIALECT_MEMCACHE;
    s->binary = h->dialect == PEER_BINARY;
    s->resp = h->dialect == PEER_RESP3 ? 3 : 2;
    s->db = h->db;
    s->modes = h->flags & PEER_NO_TOUCH ? SESSION_NO_TOUCH : 0;
    s->authenticated = true;
    s->replies = REPLY_ON;
}

enum took { TOOK_REQUEST, TOOK_OTHER, TOOK_FULL, TOOK_BROKEN };

static enum took take_request(struct worker *w, struct batch *b, const struct peer_header *header,
                              struct slice body)
{
    struct entry *e = &b->entries[b->len];
    struct asked *asked = &b->asked[b->len];

    if (header->db >= (unsigned)w->exec.options->databases)
        return TOOK_BROKEN;
    for (;;) {
        e->request =
            (struct request){.argv = b->words + b->words_len, .argv_max = b->words_cap - b->words_len};
        switch (peer_request_decode(body, &e->request, &asked->asker)) {
        case PARSE_DONE: break;
        case PARSE_ARGV_FULL:
            if (b->len > 0)
                return TOOK_FULL;
            if (!batch_make_room(b, e->request.argc))
                return TOOK_BROKEN;
            continue;
        case PARSE_MORE:
        case PARSE_NOTHING:
        case PARSE_REFUSED:
        case PARSE_BROKEN: return TOOK_BROKEN;
        }
        break;
    }
    asked->header = *header;
    asked->status = PEER_OK;
    e->status = PARSE_DONE;
    b->words_len += e->request.argc;
    return TOOK_REQUEST;
}

/* Its requests are read when it is executed; till then it is an EXEC with their bytes as its data. */
static enum took take_transaction(struct worker *w, struct batch *b, const struct peer_header *header,
                                  struct slice body)
{
    struct entry *e = &b->entries[b->len];

    if (header->db >= (unsigned)w->exec.options->databases)
        return TOOK_BROKEN;
    if (b->words_len == b->words_cap) {
        if (b->len > 0)
            return TOOK_FULL;
        if (!batch_make_room(b, 1))
            return TOOK_BROKEN;
    }
    e->request = (struct request){.argv = b->words + b->words_len, .argc = 1, .argv_max = 1, .data = body};
    e->request.argv[0] = slice_of("exec");
    e->status = PARSE_DONE;
    b->asked[b->len] = (struct asked){.header = *header, .status = PEER_OK};
    b->words_len++;
    return TOOK_REQUEST;
}

static enum took take(struct worker *w, struct batch *b, const struct peer_header *header, struct slice body)
{
    return header->kind == PEER_TRANSACTION ? take_transaction(w, b, header, body)
                                            : take_request(w, b, header, body);
}

static void serve_handover(struct worker *w, struct host *h, const struct peer_header *header,
                           struct slice body);

static enum took take_frame(struct worker *w, struct host *h, const struct peer_header *header,
                            struct slice body)
{
    struct conn *guest;

    if (!h->proven)
        return greet(w, h, header, body) ? TOOK_OTHER : TOOK_BROKEN;
    switch ((enum peer_kind)header->kind) {
    case PEER_REQUEST:
    case PEER_TRANSACTION: return take(w, w->batch, header, body);
    case PEER_FORGET:
        if ((guest = find_guest(h, header->id)) != NULL) {
            guest_of(guest)->answered = true; /* nobody wants to know */
            conn_close(guest);
        }
        return TOOK_OTHER;
    case PEER_TAKE:
    case PEER_BATCH: serve_handover(w, h, header, body); return TOOK_OTHER;
    case PEER_TAKEN:
    case PEER_HELLO:
    case PEER_CHALLENGE:
    case PEER_PROOF:
    case PEER_ANSWER:
    case PEER_PARKED: break;
    }
    turn_away(w, h->link, HANDSHAKE_NO_FRAME);
    return TOOK_BROKEN;
}

/* Fills the batch from b->end on. False: close. */
static bool gather_frames(struct worker *w, struct host *h, struct dispatch_input *in)
{
    struct batch *b = w->batch;

    b->len = 0;
    b->words_len = 0;
    b->status = PARSE_DONE;
    while (b->len < BATCH) {
        struct peer_header header;
        struct slice body;
        size_t begin = b->end;

        switch (peer_cut(in->data + begin, in->len - begin, &header, &body)) {
        case PEER_FRAME: break;
        case PEER_MORE:
            b->status = PARSE_MORE;
            in->wanted = header.length != 0 ? PEER_LENGTH + (size_t)header.length : PEER_HEADER;
            return h->proven || in->wanted <= PEER_GREETING_MAX || turn_away(w, h->link, HANDSHAKE_NO_FRAME);
        case PEER_BROKEN: return turn_away(w, h->link, HANDSHAKE_NO_FRAME);
        }
        switch (take_frame(w, h, &header, body)) {
        case TOOK_REQUEST:
            b->end = begin + PEER_LENGTH + header.length;
            b->entries[b->len].begin = begin;
            b->entries[b->len].end = b->end;
            b->len++;
            break;
        case TOOK_OTHER: b->end = begin + PEER_LENGTH + header.length; break;
        case TOOK_FULL: return true;
        case TOOK_BROKEN: return false;
        }
    }
    return true;
}

static void prefetch(struct worker *w, struct session *s)
{
    struct batch *b = w->batch;
    struct store *store = w->exec.store;

    for (unsigned i = 0; i < b->len; i++) {
        struct entry *e = &b->entries[i];
        struct slice name;
        bool has_key;

        assume(s, &b->asked[i].header);
        has_key = entry_first_key(s, e, &name);
        e->key = has_key ? store_key_in(store, server_db(w->server, s->db), name) : (struct key){0};
        if (has_key && b->len > 1)
            store_prefetch_bucket(store, e->key.hash);
    }
    for (unsigned i = 0; i < b->len && b->len > 1; i++) {
        if (b->entries[i].key.data != NULL)
            store_prefetch_item(store, b->entries[i].key.hash);
    }
}

/* ---- executing ---- */

/* How long the request waits, as far as it is known. */
static uint32_t patience_for(const struct worker *w, const struct session *s)
{
    instant until = s->parked == PARK_PAUSED ? pause_until(w->server) : s->park_until;

    if (until.ms == 0)
        return s->parked == PARK_PAUSED ? 0 : PEER_FOR_EVER;
    return is_before(w->now, until) ? (uint32_t)since(until, w->now).ms : 0;
}

/* The frame of the answer begins; what is appended from now on is the reply. */
static void begin_answer(struct out *out)
{
    uint8_t *p = out_room(out, ANSWER_HEAD);

    if (p != NULL)
        out_commit(out, p + ANSWER_HEAD);
}

/* What came since the mark is the reply. */
static void end_answer(struct worker *w, struct out *out, size_t mark, size_t pinned,
                       const struct asked *asked)
{
    struct peer_header h = {.kind = PEER_ANSWER, .id = asked->header.id, .epoch = epoch_of(w)};
    size_t body;

    if (out->failed)
        return;
    body = out->len - mark - PEER_HEADER + out->pinned_bytes - pinned;
    *peer_put_header(out->data + mark, &h, body) = (uint8_t)asked->status;
}

/* What this node still has of granules that the asker serves now. */
static void serve_handover(struct worker *w, struct host *h, const struct peer_header *header,
                           struct slice body)
{
    struct asked asked = {.header = *header};
    struct out *out = &w->out;
    size_t mark = out_mark(out), pins = out->pins_len, pinned = out->pinned_bytes, limit = out->limit;
    uint16_t asker;

    out->limit = 0;
    begin_answer(out);
    routes_enter(w->server, &w->routes);
    gate_enter(w->server->gate, w->index);
    asker = w->routes.routes == NULL ? NOBODY : view_find(w->routes.routes->view, &h->handshake.other);
    asked.status =
        asker == NOBODY ? PEER_NOT_MINE : handover_serve(w, asker, (enum peer_kind)header->kind, body, out);
    gate_leave(w->server->gate, w->index);
    routes_leave(&w->routes);
    if (asked.status != PEER_OK && !out->failed)
        out_cut(out, mark + ANSWER_HEAD, pins);
    end_answer(w, out, mark, pinned, &asked);
    out->limit = limit;
}

/* A reply longer than any client could be told is not sent, and only its client pays. */
static bool is_too_long(const struct host *h, const struct out *out, size_t mark, size_t pinned)
{
    return out->len - mark + out->pinned_bytes - pinned > h->reply_most;
}

/* Executes one frame for x->session and writes the answer; nothing if it was parked. False: this session has
 * been brought into a state that no request may leave behind. */
static bool answer(struct worker *w, const struct host *h, struct entry *e, struct asked *asked)
{
    struct exec *x = &w->exec;
    struct session *s = x->session;
    struct out *out = x->out;
    size_t mark = out_mark(out), pins = out->pins_len, pinned = out->pinned_bytes;

    begin_answer(out);
    x->asked = asked;
    x->db = server_db(w->server, s->db);
    x->first_key = e->key;
    if (asked->header.kind == PEER_TRANSACTION)
        whole_execute(x, e->request.data);
    else
        entry_run(x, e);
    while (s->producer != NULL && !out->failed && !is_too_long(h, out, mark, pinned)) {
        if (!s->producer->more(x, s->producer))
            session_end_producer(s);
    }
    x->asked = NULL;
    if (s->parked != PARK_NOT) {
        out_cut(out, mark, pins);
        return true;
    }
    if (s->outcome != PARK_FRESH) {
        s->outcome = PARK_FRESH;
        herd_answered(x);
    }
    if (asked->status == PEER_OK && is_too_long(h, out, mark, pinned)) {
        counter_add(x->counters, client_output_limit_closed, 1);
        session_end_producer(s);
        asked->status = PEER_OVERLOADED;
    }
    if (asked->status != PEER_OK && !out->failed)
        out_cut(out, mark + ANSWER_HEAD, pins);
    end_answer(w, out, mark, pinned, asked);
    return (s->modes & ~(unsigned)SESSION_NO_TOUCH) == 0 && !s->close_after_reply;
}

/* The guest who has executed it so far stays with it. False: close the link. */
static bool take_in(struct worker *w, struct host *h, const struct asked *asked, struct slice frame)
{
    struct conn *c = h->spare;

    h->spare = NULL;
    list_guest(h, c);
    guest_of(c)->asked = *asked;
    if (!needs_spare(h)) {
        c->session.parked = PARK_NOT; /* that was not counted yet */
        return false;
    }
    pass_held(&h->spare->session, &c->session);
    if (h->guests_len > (uint32_t)option_live(w->exec.options, cluster_guests_max)) {
        counter_add(w->exec.counters, forward_guests_refused, 1);
        c->session.parked = PARK_NOT;
        conn_close(c); /* and with it what it had registered; guest_leave() tells the asker */
        return true;
    }
    c->session.position = 0;
    counter_add(w->exec.counters, forward_guests, 1);
    if (c->session.parked != PARK_CALL)
        put_parked(&w->out, w, asked->header.id, patience_for(w, &c->session));
    return conn_park_guest(c, frame);
}

/* How many of the batch were executed; fewer when there is much to send. *alive: false: close. */
static unsigned execute(struct worker *w, struct host *h, struct dispatch_input *in, bool *alive)
{
    struct batch *b = w->batch;
    struct exec *x = &w->exec;
    unsigned i = 0;

    while (i < b->len && *alive) {
        struct entry *e = &b->entries[i];
        struct session *s;

        if (!needs_spare(h)) {
            *alive = false;
            break;
        }
        s = x->session = &h->spare->session;
        assume(s, &b->asked[i].header);
        s->position = 0 - (uint64_t)e->begin; /* so that its place is the same in the copy a guest keeps */
        x->backing = entry_backing(w->server, in, &e->request);
        *alive = answer(w, h, e, &b->asked[i]);
        if (*alive && s->parked != PARK_NOT)
            *alive = take_in(w, h, &b->asked[i], (struct slice){in->data + e->begin, e->end - e->begin});
        i++;
        if (x->out->len + x->out->pinned_bytes >= FULL_BYTES)
            break;
    }
    return i;
}

/* What is said of a batch of requests in dispatch.c holds for one of frames, too. */
static unsigned execute_batch(struct worker *w, struct host *h, struct dispatch_input *in, bool *alive)
{
    struct exec *x = &w->exec;
    unsigned done;

    h->reply_most = x->out->limit;
    x->out->limit = 0;
    x->errors = 0;
    routes_enter(w->server, &w->routes);
    if (gate_enter(w->server->gate, w->index))
        w->now = x->now = clock_now();
    figures_batch_whole(w->figures);
    done = execute(w, h, in, alive);
    (void)figures_batch_end(w->figures);
    gate_leave(w->server->gate, w->index);
    routes_leave(&w->routes);
    push_flush(w);
    x->out->limit = h->reply_most;
    counter_add(x->counters, forward_served, done);
    return done;
}

static enum dispatch_status serve_link(struct worker *w, struct host *h, struct dispatch_input *in)
{
    struct batch *b = w->batch;
    bool alive = true;
    unsigned done;

    for (;;) {
        alive = gather_frames(w, h, in);
        if (alive && b->len > 0) {
            if (!needs_spare(h))
                return DISPATCH_CLOSE;
            prefetch(w, &h->spare->session);
            done = execute_batch(w, h, in, &alive);
            if (alive && done < b->len) {
                in->consumed = b->entries[done - 1].end;
                return DISPATCH_FULL;
            }
        }
        if (!alive)
            return DISPATCH_CLOSE;
        in->consumed = b->end;
        if (b->status == PARSE_MORE)
            return DISPATCH_MORE;
        if (w->out.len + w->out.pinned_bytes >= FULL_BYTES)
            return DISPATCH_FULL;
    }
}

/* One frame, which it knows already. */
static enum dispatch_status serve_guest(struct worker *w, struct conn *c, struct dispatch_input *in)
{
    struct guest *g = guest_of(c);
    struct host *h = c->host;
    struct batch *b = w->batch;
    struct exec *x = &w->exec;
    struct peer_header header;
    struct slice body;
    bool alive;

    CHECK(peer_cut(in->data, in->len, &header, &body) == PEER_FRAME);
    b->len = b->words_len = 0;
    if (take(w, b, &header, body) != TOOK_REQUEST || !needs_spare(h))
        return DISPATCH_CLOSE;
    b->entries[0].begin = 0;
    b->entries[0].end = in->len;
    b->len = 1;
    prefetch(w, &c->session);
    pass_held(&c->session, &h->spare->session);
    h->reply_most = x->out->limit;
    x->out->limit = 0;
    x->session = &c->session;
    x->backing = NULL;
    x->errors = 0;
    g->asked.status = PEER_OK;
    routes_enter(w->server, &w->routes);
    if (gate_enter(w->server->gate, w->index))
        w->now = x->now = clock_now();
    figures_batch_whole(w->figures);
    alive = answer(w, h, &b->entries[0], &g->asked);
    (void)figures_batch_end(w->figures);
    gate_leave(w->server->gate, w->index);
    routes_leave(&w->routes);
    push_flush(w);
    x->out->limit = h->reply_most;
    pass_held(&h->spare->session, &c->session);
    if (c->session.parked != PARK_NOT)
        return DISPATCH_PARKED;
    g->answered = alive;
    return DISPATCH_MORE;
}

enum dispatch_status guest_dispatch(struct worker *w, struct dispatch_input *in)
{
    struct conn *c = conn_of(in->session);

    w->batch->end = 0;
    if (w->batch->asked == NULL && (w->batch->asked = malloc(BATCH * sizeof(struct asked))) == NULL)
        return DISPATCH_CLOSE;
    return host_is_link(c) ? serve_link(w, c->host, in) : serve_guest(w, c, in);
}

bool guest_resume(struct conn *c)
{
    struct worker *w = c->worker;
    struct dispatch_input in = {
        .data = c->rest, .len = c->rest_len, .session = &c->session, .parser = &c->parser};
    enum dispatch_status status;

    w->serving = c;
    status = guest_dispatch(w, &in);
    w->serving = NULL;
    out_move(voice(c->host->link), &w->out);
    return status == DISPATCH_PARKED && conn_park_guest(c, (struct slice){0});
}
