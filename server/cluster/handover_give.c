/* handover_give.c - the side that had a granule: gives its items away, and drops what nobody wants. */
#include <stdlib.h>
#include <string.h>

#include "cluster/slot.h"
#include "server/changes.h"
#include "server/cluster/handover_private.h"
#include "server/cluster/parcel.h"
#include "server/gate.h"
#include "server/herd/herd.h"
#include "server/log.h"

enum {
    ANSWER_MAX = 1 << 20, /* bytes of items after which the rest is for later */
    PAGE_KEYS_MAX = 1024,
    PAGE_BYTES = 64 * 1024,
    PAGE_SLOTS = 4096, /* of the store's, looked through for one page */
    LOOK = 256,        /* of them under one lock */
    SWEEP_LOOK = 512,  /* slots of the store's, for one part of a sweep */
    SWEEP_STEPS = 32,  /* parts at a time */
    SWEEP_BYTES = 128 * 1024,
};

static uint64_t get(const uint8_t *at, unsigned bytes)
{
    uint64_t value = 0;

    for (unsigned i = bytes; i-- > 0;)
        value = value << 8 | at[i];
    return value;
}

static void put(uint8_t *at, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

/* ---- bodies ---- */

void page_ask(uint8_t body[PAGE_ASK], uint64_t cursor, bool all, unsigned keys)
{
    put(body, cursor, 8);
    body[8] = all;
    put(body + 9, keys, 2);
}

bool page_open(struct slice *page, uint64_t *cursor, unsigned *keys)
{
    if (page->len < PAGE_HEAD)
        return false;
    *cursor = get(page->data, 8);
    *keys = (unsigned)get(page->data + 8, 2);
    page->data += PAGE_HEAD;
    page->len -= PAGE_HEAD;
    return *keys <= PAGE_KEYS_MAX;
}

bool page_take(struct slice *page, uint8_t *db, struct slice *name)
{
    if (page->len < 3)
        return false;
    *db = page->data[0];
    name->len = (size_t)get(page->data + 1, 2);
    name->data = page->data + 3;
    if (name->len > STORE_KEY_MAX || page->len < 3 + name->len)
        return false;
    page->data += 3 + name->len;
    page->len -= 3 + name->len;
    return true;
}

/* ---- giving ---- */

/* Removed here as it is written there. False: it does not fit any more, and stays. */
static bool give(struct worker *w, const struct key *key, struct out *out, size_t room)
{
    struct store_edit edit;
    struct parcel parcel;
    uint8_t *to;
    bool given = true;

    store_edit_begin(w->server->store, w->exec.local, key, w->now, &edit);
    if (!parcel_of(&edit, &parcel)) {
        static const uint8_t none = TAKEN_NONE;

        out_append(out, &none, 1);
    } else if (parcel_size(&parcel) > room || (to = out_room(out, 1 + parcel_size(&parcel))) == NULL) {
        given = false;
    } else {
        *to = TAKEN_PARCEL;
        out_commit(out, parcel_put(to + 1, &parcel));
        store_edit_drop(&edit);
        counter_add(&w->counters, handover_given, 1);
    }
    store_edit_end(&edit);
    return given;
}

static enum peer_status serve_take(struct worker *w, uint16_t asker, struct slice body, struct out *out)
{
    const struct routes *r = w->routes.routes;
    static const uint8_t later = TAKEN_LATER;
    size_t begun = out->len;
    unsigned keys;

    if (body.len < 2)
        return PEER_NOT_MINE;
    keys = (unsigned)get(body.data, 2);
    body.data += 2;
    body.len -= 2;
    for (unsigned i = 0; i < keys; i++) {
        struct slice name;
        struct key key;
        size_t given = out->len - begun;
        uint8_t db;

        if (!page_take(&body, &db, &name))
            return PEER_NOT_MINE;
        /* Who takes what is still served here has newer news than we; it may not have the item yet. */
        if (r->holder[slot_of_key(name)] != asker)
            return PEER_NOT_MINE;
        key = store_key_in(w->server->store, db, name);
        /* The first goes whatever its size is, or it would never go. */
        if (given >= ANSWER_MAX || !give(w, &key, out, i == 0 ? SIZE_MAX : ANSWER_MAX - given))
            out_append(out, &later, 1);
    }
    return body.len == 0 ? PEER_OK : PEER_NOT_MINE;
}

struct listing {
    const struct routes *routes;
    uint16_t asker;
    bool all;
    struct out *out;
    unsigned keys, most;
    size_t begun;
};

static void list(void *arg, const struct scan_item *item)
{
    struct listing *l = arg;
    uint8_t head[3] = {item->db};

    if ((!l->all && !item->fetched) || l->routes->holder[slot_of_key(item->key)] != l->asker)
        return;
    put(head + 1, item->key.len, 2);
    out_append(l->out, head, sizeof head);
    out_append(l->out, item->key.data, item->key.len);
    l->keys++;
}

/* Everything, also what is out of time: it may be in its grace. */
static const instant long_ago = {0};

static enum peer_status serve_batch(struct worker *w, uint16_t asker, struct slice body, struct out *out)
{
    struct listing l = {.routes = w->routes.routes, .asker = asker, .out = out, .begun = out->len};
    static const uint8_t head[PAGE_HEAD];
    uint64_t cursor;
    unsigned looked = 0;

    if (body.len != PAGE_ASK)
        return PEER_NOT_MINE;
    cursor = get(body.data, 8);
    l.all = body.data[8];
    l.most = (unsigned)get(body.data + 9, 2);
    if (l.most > PAGE_KEYS_MAX)
        l.most = PAGE_KEYS_MAX;
    out_append(out, head, sizeof head);
    do {
        /* A whole look is listed, however many keys it has: the cursor cannot stand within it. */
        cursor = store_scan(w->server->store, cursor, l.most < LOOK ? l.most : LOOK, long_ago, list, &l);
        looked += LOOK;
    } while (cursor != 0 && looked < PAGE_SLOTS && l.keys < l.most && out->len - l.begun < PAGE_BYTES);
    if (out->failed)
        return PEER_OVERLOADED;
    put(out->data + l.begun, cursor, 8);
    put(out->data + l.begun + 8, l.keys, 2);
    return PEER_OK;
}

enum peer_status handover_serve(struct worker *w, uint16_t asker, enum peer_kind kind, struct slice body,
                                struct out *out)
{
    return kind == PEER_TAKE ? serve_take(w, asker, body, out) : serve_batch(w, asker, body, out);
}

/* ---- dropping ---- */

/* One look at the store for what is to be dropped: the names, since the store may not be called meanwhile. */
struct sweeping {
    unsigned granule_slots;
    const bool *granules;
    uint8_t *names;
    size_t len;
    unsigned keys;
    bool full;
};

static void gather(void *arg, const struct scan_item *item)
{
    struct sweeping *s = arg;
    uint8_t *at = s->names + s->len;

    if (!s->granules[slot_of_key(item->key) / s->granule_slots])
        return;
    if (s->len + 3 + item->key.len > SWEEP_BYTES) {
        s->full = true;
        return;
    }
    at[0] = item->db;
    put(at + 1, item->key.len, 2);
    memcpy(at + 3, item->key.data, item->key.len);
    s->len += 3 + item->key.len;
    s->keys++;
}

static void drop_gathered(struct server *server, struct store_local *local, const struct sweeping *s)
{
    struct slice names = {s->names, s->len}, name;
    instant now = clock_now();
    uint8_t db;

    gate_visit(server->gate);
    for (unsigned i = 0; i < s->keys && page_take(&names, &db, &name); i++) {
        struct key key = store_key_in(server->store, db, name);
        struct store_edit edit;

        store_edit_begin(server->store, local, &key, now, &edit);
        store_edit_drop(&edit);
        store_edit_end(&edit);
    }
    gate_depart(server->gate);
}

/* Drops what these granules have in the next part of the store. True: that was the last part. */
static bool drop_some(struct server *server, struct store_local *local, const bool *granules,
                      uint64_t *cursor, uint64_t *dropped)
{
    static uint8_t names[SWEEP_BYTES]; /* the control thread's */
    struct sweeping s = {
        .granule_slots = SLOTS / server->handover->granules, .granules = granules, .names = names};
    uint64_t next = store_scan(server->store, *cursor, SWEEP_LOOK, long_ago, gather, &s);

    if (s.keys > 0)
        drop_gathered(server, local, &s);
    *dropped += s.keys;
    if (s.full) /* the same part again: there is more in it than could be noted */
        return false;
    *cursor = next;
    return next == 0;
}

static void log_dropped(unsigned granules, uint64_t keys)
{
    if (keys > 0)
        log_event(LOG_LEVEL_NOTICE, "leftovers_dropped", "granules=%u keys=%llu", granules,
                  (unsigned long long)keys);
}

static void forget_leftovers(struct handover *h, const bool *granules)
{
    for (unsigned g = 0; g < h->granules; g++) {
        h->leftovers_len -= granules[g] && h->leftovers[g];
        h->leftovers[g] = h->leftovers[g] && !granules[g];
    }
}

bool handover_sweep(struct server *server, struct store_local *local)
{
    struct handover *h = server->handover;

    if (h->leftovers_len == 0)
        return false;
    if (h->swept_len == 0) { /* what is left from now on is for the next sweep */
        memcpy(h->swept, h->leftovers, sizeof h->swept);
        h->swept_len = h->leftovers_len;
        h->sweep_at = h->sweep_dropped = 0;
    }
    for (unsigned i = 0; i < SWEEP_STEPS; i++) {
        if (drop_some(server, local, h->swept, &h->sweep_at, &h->sweep_dropped)) {
            log_dropped(h->swept_len, h->sweep_dropped);
            forget_leftovers(h, h->swept);
            h->swept_len = 0;
            break;
        }
    }
    return h->leftovers_len > 0;
}

/* ---- around a publication ---- */

void handover_before(struct server *server, struct store_local *local, const struct routes *before,
                     const struct routes *next)
{
    struct handover *h = server->handover;
    bool returning[GRANULES_MAX] = {false};
    uint64_t cursor = 0, dropped = 0;
    unsigned n = 0;

    h->granules = next->view->rules.granules;
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        unsigned g = routes_granule(next, slot);

        n += !returning[g] && h->leftovers[g] && next->holder[slot] == ROUTE_HERE;
        returning[g] = h->leftovers[g] && next->holder[slot] == ROUTE_HERE;
        h->swept[g] = h->swept[g] && !returning[g];
    }
    if (n > 0) {
        while (!drop_some(server, local, returning, &cursor, &dropped))
            ;
        log_dropped(n, dropped);
        forget_leftovers(h, returning);
    }
    for (unsigned g = 0; g < h->granules; g++) {
        if (next->source[g] == NOBODY || (before != NULL && before->source[g] != NOBODY))
            continue;
        atomic_fetch_add_explicit(&h->gained[g], 1, memory_order_relaxed);
        atomic_store_explicit(&h->void_source[g], false, memory_order_relaxed);
    }
}

void handover_after(struct server *server, const struct routes *before, const struct routes *now)
{
    struct handover *h = server->handover;
    bool some = false;

    if (before == NULL)
        return;
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        unsigned g = routes_granule(now, slot);

        if (before->holder[slot] != ROUTE_HERE || now->holder[slot] == ROUTE_HERE)
            continue;
        some = true;
        h->leftovers_len += !h->leftovers[g];
        h->leftovers[g] = true;
    }
    if (some)
        herd_flushed(server, CHANGES_ALL_DATABASES);
}
