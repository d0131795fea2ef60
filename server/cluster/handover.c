/* handover.c - see handover.h. What is asked for, and what is done with the answers; handover_give.c answers.
 *
 * The background work is worker 0's: for each source, round after round, the used keys first, then all. A
 * round that found nothing it had to leave out closes the granules that had that source when it began. */
#include "server/cluster/handover.h"

#include <stdlib.h>
#include <string.h>

#include "cluster/slot.h"
#include "server/check.h"
#include "server/cluster/call.h"
#include "server/cluster/control.h"
#include "server/cluster/handover_private.h"
#include "server/cluster/parcel.h"
#include "server/gate.h"
#include "server/log.h"
#include "server/park.h"
#include "server/worker.h"

enum {
    TAKE_KEYS = 128, /* in one TAKE of the background's */
    /* A TAKE is not asked twice: what was sent for it is gone there. So it may take far longer than any
     * client waits, and ends when the link or the source does. */
    TAKE_PATIENCE_MS = 60 * 1000,
    LOOK_MS = 50, /* between two looks at a key that could not be asked for */
    TAKE_BODY = 128 * 1024,
    BODY_MAX = 2 + 3 + STORE_KEY_MAX > TAKE_BODY ? 3 * STORE_KEY_MAX : TAKE_BODY,
};

bool handover_init(struct server *server)
{
    struct handover *h = calloc(1, sizeof *h);

    if (h == NULL || (h->pulls = pulls_new()) == NULL) {
        free(h);
        return false;
    }
    server->handover = h;
    return true;
}

void handover_free(struct server *server)
{
    struct handover *h = server->handover;

    server->handover = NULL;
    if (h == NULL)
        return;
    while (h->rounds != NULL) {
        struct round *r = h->rounds;

        h->rounds = r->next;
        free(r);
    }
    pulls_free(&h->pulls);
    free(h);
}

static uint16_t source_of(const struct handover *h, const struct routes *r, struct slice name)
{
    unsigned slot = slot_of_key(name), granule = routes_granule(r, slot);

    if (r->holder[slot] != ROUTE_HERE || atomic_load_explicit(&h->void_source[granule], memory_order_relaxed))
        return NOBODY;
    return r->source[granule];
}

/* Arrivals look under the lock of their shard, which the flush takes as well, after this: so one comes before
 * it and is flushed, or sees this. */
void handover_flush(struct server *server)
{
    struct handover *h = server->handover;

    for (unsigned g = 0; g < GRANULES_MAX; g++)
        atomic_store_explicit(&h->void_source[g], true, memory_order_relaxed);
}

/* What pulls know the key by in this hand-over. */
static uint64_t pull_id(const struct worker *w, const struct key *key)
{
    unsigned slot = slot_of_key((struct slice){key->data, key->len});
    unsigned granule = routes_granule(w->routes.routes, slot);
    uint64_t gained = atomic_load_explicit(&w->server->handover->gained[granule], memory_order_relaxed);

    return key->hash + (gained << 8 | key->db) * UINT64_C(0x9e3779b97f4a7c15);
}

/* Whatever form it has: a value, a stale one, or that somebody fetches it. */
static bool is_here(struct exec *x, const struct key *key)
{
    struct store_peek peek;

    return store_look(x->store, x->local, key, x->now, false, &peek) != PEEK_MISS || peek.herded;
}

/* ---- taking ---- */

/* The keys of one TAKE, while it is under way. */
struct taking {
    struct worker *worker;
    struct round *round; /* whose background work it is, or NULL */
    uint16_t len;
    struct taken {
        uint64_t hash, id;
        uint8_t db;
    } keys[];
};

struct arrival {
    struct worker *worker;
    const struct parcel *parcel;
};

/* Under the lock of its pull. The routes may have changed while it was under way. */
static void store_arrival(void *arg)
{
    struct arrival *a = arg;
    struct worker *w = a->worker;
    struct handover *h = w->server->handover;
    unsigned granule = routes_granule(w->routes.routes, slot_of_key(a->parcel->key));

    if (source_of(h, w->routes.routes, a->parcel->key) == NOBODY) {
        counter_add(&w->counters, handover_lost, 1);
        return;
    }
    if (parcel_store(w->server->store, w->exec.local, a->parcel, w->now, &h->void_source[granule]) ==
        STORE_OK)
        counter_add(&w->counters, handover_taken, 1);
    else
        counter_add(&w->counters, handover_lost, 1);
}

/* One key's part of the answer. False: the rest is nonsense. */
static bool arrive(struct taking *t, const struct taken *key, struct slice *bytes)
{
    struct worker *w = t->worker;
    struct handover *h = w->server->handover;
    struct parcel parcel;
    struct arrival arrival = {w, &parcel};
    enum taken_what what;

    if (bytes->len == 0)
        return false;
    what = bytes->data[0];
    bytes->data++;
    bytes->len--;
    if (what == TAKEN_PARCEL) {
        if (!parcel_take(bytes, &parcel) || parcel.db != key->db ||
            store_key_in(w->server->store, parcel.db, parcel.key).hash != key->hash)
            return false;
        pulls_end(h->pulls, w->server, key->id, true, store_arrival, &arrival);
        return true;
    }
    if (what == TAKEN_LATER && t->round != NULL)
        t->round->left_some = true;
    pulls_end(h->pulls, w->server, key->id, what == TAKEN_NONE, NULL, NULL);
    return what == TAKEN_NONE || what == TAKEN_LATER;
}

static void on_taken(void *arg, struct call *call, const struct call_answer *answer)
{
    struct taking *t = arg;
    struct worker *w = t->worker;
    struct handover *h = w->server->handover;
    struct slice bytes = answer->bytes;
    bool sound = answer->end == CALL_ANSWERED;
    bool lost = sound || answer->end == CALL_LOST; /* else the source has it still */

    (void)call;
    gate_enter(w->server->gate, w->index);
    routes_enter(w->server, &w->routes);
    for (uint16_t i = 0; i < t->len; i++) {
        if (sound && (sound = arrive(t, &t->keys[i], &bytes)))
            continue;
        if (!lost) {
            pulls_drop(h->pulls, t->keys[i].id);
            continue;
        }
        counter_add(&w->counters, handover_lost, 1);
        pulls_end(h->pulls, w->server, t->keys[i].id, true, NULL, NULL);
    }
    routes_leave(&w->routes);
    gate_leave(w->server->gate, w->index);
    if (t->round != NULL)
        round_took(h, t->round, answer->bytes.len, answer->end == CALL_ANSWERED);
    free(t);
}

struct take_body {
    uint8_t *bytes;
    size_t len, cap;
};

static bool body_add(struct take_body *b, uint8_t db, struct slice name)
{
    if (b->len + 3 + name.len > b->cap)
        return false;
    b->bytes[b->len++] = db;
    b->bytes[b->len++] = (uint8_t)name.len;
    b->bytes[b->len++] = (uint8_t)(name.len >> 8);
    memcpy(b->bytes + b->len, name.data, name.len);
    b->len += name.len;
    return true;
}

/* Takes over t. False: nothing is under way. */
static bool send_take(struct taking *t, uint16_t source, struct take_body *body)
{
    struct call_options options = {
        .kind = PEER_TAKE, .patience_ms = TAKE_PATIENCE_MS, .done = on_taken, .arg = t};

    body->bytes[0] = (uint8_t)t->len;
    body->bytes[1] = (uint8_t)(t->len >> 8);
    return call_message(t->worker, source, (struct slice){body->bytes, body->len}, &options) != NULL;
}

static void not_sent(struct taking *t)
{
    if (t->round != NULL)
        t->round->left_some = true;
    for (uint16_t i = 0; i < t->len; i++)
        pulls_drop(t->worker->server->handover->pulls, t->keys[i].id);
    free(t);
}

/* One key, which somebody waits for. */
static void take_one(struct exec *x, const struct key *key, uint64_t id, uint16_t source)
{
    struct worker *w = x->worker;
    struct taking *t = malloc(sizeof *t + sizeof t->keys[0]);
    uint8_t bytes[2 + 3 + STORE_KEY_MAX];
    struct take_body body = {bytes, 2, sizeof bytes};

    if (t == NULL) {
        pulls_drop(w->server->handover->pulls, id);
        return;
    }
    *t = (struct taking){.worker = w, .len = 1};
    t->keys[0] = (struct taken){key->hash, id, key->db};
    CHECK(body_add(&body, key->db, (struct slice){key->data, key->len}));
    if (!send_take(t, source, &body))
        not_sent(t);
}

bool handover_has(struct exec *x, struct slice name)
{
    struct handover *h = x->server->handover;
    uint16_t source = source_of(h, x->worker->routes.routes, name);
    enum park_outcome outcome = exec_outcome(x);
    struct key key;
    uint64_t id;

    if (source == NOBODY)
        return true;
    key = store_key_in(x->store, x->db, name);
    if (is_here(x, &key))
        return true;
    id = pull_id(x->worker, &key);
    if (!exec_may_park(x) || outcome == PARK_TIMED_OUT || outcome == PARK_UNBLOCKED) {
        pulls_settle(h->pulls, id);
        return true;
    }
    switch (pulls_begin(h->pulls, id, address_of(x->session))) {
    case PULLS_SETTLED: return true;
    case PULLS_UNDER_WAY: return false;
    case PULLS_YOURS: take_one(x, &key, id, source); return false;
    case PULLS_NO_MEMORY: break;
    }
    pulls_settle(h->pulls, id);
    return true;
}

void handover_park(struct exec *x)
{
    if (exec_outcome(x) == PARK_FRESH)
        counter_add(x->counters, handover_waits, 1);
    exec_park_look(x, (span){option_live(x->options, cluster_forward_timeout)},
                   after(x->now, (span){LOOK_MS}));
}

/* ---- in the background ---- */

static void round_go_on(struct worker *w, struct round *r);

static struct round *round_of(struct handover *h, const struct node_id *id)
{
    struct round *r;

    for (r = h->rounds; r != NULL; r = r->next) {
        if (node_id_compare(&r->source, id) == 0)
            return r;
    }
    if ((r = calloc(1, sizeof *r)) == NULL)
        return NULL;
    r->source = *id;
    r->next = h->rounds;
    h->rounds = r;
    return r;
}

static void round_begin(struct handover *h, struct round *r, const struct routes *routes, uint16_t source)
{
    r->running = true;
    r->all = false;
    r->left_some = false;
    r->cursor = 0;
    for (unsigned g = 0; g < routes->view->rules.granules; g++)
        r->gained[g] =
            routes->source[g] == source ? atomic_load_explicit(&h->gained[g], memory_order_relaxed) : 0;
}

/* What had this source all the while, and has nothing left there. Nor on its way: a request's own TAKE may be
 * slower than the whole rest, and what comes when nothing is expected from there any more is thrown away. */
static void round_close(struct worker *w, struct round *r, uint16_t source)
{
    const struct routes *routes = w->routes.routes;
    const struct handover *h = w->server->handover;

    if (!pulls_ended_until(h->pulls, r->last_pull))
        return; /* handover_tick() looks again */
    r->closing = false;
    for (unsigned g = 0; g < routes->view->rules.granules; g++) {
        if (routes->source[g] == source &&
            r->gained[g] == atomic_load_explicit(&h->gained[g], memory_order_relaxed))
            control_pulled(w->server->control, (uint16_t)g);
    }
}

static void round_end(struct worker *w, struct round *r, uint16_t source)
{
    r->running = false;
    if (r->left_some)
        return; /* once more */
    r->closing = true;
    r->last_pull = pulls_serial(w->server->handover->pulls);
    round_close(w, r, source);
}

/* What lies in a page of keys that is to be taken now. */
static bool take_page(struct worker *w, struct round *r, uint16_t source, struct slice page, unsigned keys)
{
    struct handover *h = w->server->handover;
    struct taking *t = malloc(sizeof *t + keys * sizeof t->keys[0]);
    uint8_t *bytes = malloc(BODY_MAX);
    struct take_body body = {bytes, 2, BODY_MAX};
    bool sent = false;

    if (t == NULL || bytes == NULL) {
        free(t);
        free(bytes);
        r->left_some = true;
        return false;
    }
    *t = (struct taking){.worker = w, .round = r};
    for (unsigned i = 0; i < keys; i++) {
        uint8_t db;
        struct slice name;
        struct key key;
        uint64_t id;
        enum pulls_answer pull;

        if (!page_take(&page, &db, &name))
            break;
        key = store_key_in(w->server->store, db, name);
        id = pull_id(w, &key);
        if (source_of(h, w->routes.routes, name) != source || is_here(&w->exec, &key))
            continue;
        pull = pulls_begin(h->pulls, id, 0);
        r->left_some |= pull == PULLS_UNDER_WAY || pull == PULLS_NO_MEMORY;
        if (pull != PULLS_YOURS)
            continue;
        t->keys[t->len++] = (struct taken){key.hash, id, db};
        if (!body_add(&body, db, name)) {
            t->len--;
            r->left_some = true;
            pulls_end(h->pulls, w->server, id, false, NULL, NULL);
            break;
        }
    }
    if (t->len == 0)
        free(t);
    else if (!(sent = send_take(t, source, &body)))
        not_sent(t);
    free(bytes);
    return sent;
}

static void on_page(void *arg, struct call *call, const struct call_answer *answer)
{
    struct paging *p = arg;
    struct worker *w = p->worker;
    struct round *r = p->round;
    struct slice page = answer->bytes;
    uint16_t source;
    unsigned keys;

    (void)call;
    free(p);
    r->asking = false;
    if (answer->end != CALL_ANSWERED || !page_open(&page, &r->cursor, &keys)) {
        r->running = false; /* once more, from the beginning */
        return;
    }
    r->page_last = r->cursor == 0;
    gate_enter(w->server->gate, w->index);
    routes_enter(w->server, &w->routes);
    source = view_find(w->routes.routes->view, &r->source);
    if (source == NOBODY)
        r->running = false;
    else
        r->asking = take_page(w, r, source, page, keys);
    routes_leave(&w->routes);
    gate_leave(w->server->gate, w->index);
    if (!r->asking && r->running)
        round_go_on(w, r);
}

void round_took(struct handover *h, struct round *r, size_t bytes, bool answered)
{
    struct worker *w = r->worker;

    r->asking = false;
    if (!answered)
        r->left_some = true;
    h->bytes_ahead += bytes;
    if (h->bytes_ahead < rate_burst(w))
        round_go_on(w, r);
}

/* The next page, or the next pass, or the end. */
static void round_go_on(struct worker *w, struct round *r)
{
    struct paging *p;
    uint16_t source;
    bool over = false;

    routes_enter(w->server, &w->routes);
    source = view_find(w->routes.routes->view, &r->source);
    if (source != NOBODY && r->page_last) {
        r->page_last = false;
        over = r->all;
        r->all = true;
    }
    if (over)
        round_end(w, r, source);
    if (source == NOBODY)
        r->running = false;
    if (r->running && (p = malloc(sizeof *p)) != NULL) {
        uint8_t body[PAGE_ASK];
        struct call_options options = {.kind = PEER_BATCH,
                                       .patience_ms =
                                           (uint32_t)option_live(w->exec.options, cluster_forward_timeout),
                                       .done = on_page,
                                       .arg = p};

        *p = (struct paging){w, r};
        page_ask(body, r->cursor, r->all, TAKE_KEYS);
        r->asking = call_message(w, source, (struct slice){body, sizeof body}, &options) != NULL;
        if (!r->asking)
            free(p);
    }
    routes_leave(&w->routes);
}

void handover_tick(struct worker *w)
{
    struct handover *h = w->server->handover;
    const struct routes *routes;
    int64_t passed;
    uint64_t rate;

    if (w->index != 0 || h == NULL)
        return;
    passed = w->ticks_ms - h->refilled_ms;
    rate = option_live(w->exec.options, cluster_handover_rate);
    h->refilled_ms = w->ticks_ms;
    if (rate == 0 || (uint64_t)passed * rate / 1000 >= h->bytes_ahead)
        h->bytes_ahead = 0;
    else
        h->bytes_ahead -= (uint64_t)passed * rate / 1000;
    routes_enter(w->server, &w->routes);
    routes = w->routes.routes;
    for (unsigned g = 0; routes != NULL && routes->pulls && g < routes->view->rules.granules; g++) {
        uint16_t source = routes->source[g];
        struct round *r = source == NOBODY ? NULL : round_of(h, &routes->view->members[source].id);

        if (r == NULL)
            continue;
        r->worker = w;
        if (r->closing)
            round_close(w, r, source);
        else if (!r->running && !r->asking)
            round_begin(h, r, routes, source);
    }
    routes_leave(&w->routes);
    if (h->bytes_ahead >= rate_burst(w))
        return;
    for (struct round *r = h->rounds; r != NULL; r = r->next) {
        if (r->running && !r->asking)
            round_go_on(w, r);
    }
}
