/* serve.c - the workers' side: what happens to a request before its handler runs.
 *
 * For each key that the request reads: what is there, or is known to be absent,
 * is left to the handler. What is missing and belongs to an origin is fetched:
 * all missing keys at once, and the request waits for one after the other,
 * being looked at anew each time. When a fetch fails, the value that is out of
 * time but in its grace is served in its place; if there is none, the whole
 * request is answered with an error, since a null would say "there is none". */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "protocol/memcache_meta.h"
#include "protocol/memcache_text.h"
#include "server/check.h"
#include "server/command/memcache.h"
#include "server/command/memcache_edit.h"
#include "server/herd/herd.h"
#include "server/origin/guard.h"
#include "server/origin/writes.h"
#include "server/park.h"
#include "server/server.h"

enum {
    LEASE_SLACK_MS = 1000, /* beyond the time a fetch may take: the fetch is to end first */
    TEXT_MAX = 300,
};

/* What has been found out about the keys of one request. */
struct reading {
    struct exec *x;
    bool waits;         /* for a fetch: herd_wait() has been called */
    bool failed;        /* ... of a key, and nothing can be served in its place */
    char why[TEXT_MAX]; /* then */
};

/* ---- what is there ---- */

static bool is_stale(const struct store_edit *e)
{
    return lease_state(e) == LEASE_STALE;
}

/* Whether the handler will find it, or rightly not. */
static bool is_settled(const struct exec *x, const struct store_peek *peek)
{
    if (peek->state & ITEM_PENDING)
        return false;
    return x->session->dialect == DIALECT_MEMCACHE || (peek->state & ITEM_STALE) == 0;
}

static bool has_stale(struct exec *x, const struct key *key)
{
    struct store_edit edit;
    bool stale;

    store_edit_begin(x->store, x->local, key, x->now, &edit);
    stale = is_stale(&edit);
    store_edit_end(&edit);
    return stale;
}

/* ---- failing ---- */

static void fail(struct reading *r, const struct key *key, struct origin *o, const char *why)
{
    struct exec *x = r->x;

    if (has_stale(x, key)) {
        x->instead = true;
        origin_count(o, stale_served);
        herd_note_stale_served(x, (struct slice){key->data, key->len});
        return;
    }
    if (!r->failed)
        snprintf(r->why, sizeof r->why, "%.120s: %.160s", o->rule.shown, why);
    r->failed = true;
}

/* ---- fetching ---- */

static uint32_t lease_ms(const struct origin *o)
{
    int64_t ms = origin_patience_ms(o) + LEASE_SLACK_MS;

    return ms < STORE_LEASE_MAX_MS ? (uint32_t)ms : STORE_LEASE_MAX_MS;
}

/* Waits for a key whose lease is out, unless it waits for another one already. */
static bool wait_for(struct reading *r, const struct store_edit *edit, struct origin *o)
{
    if (r->waits)
        return true;
    r->waits = herd_wait(r->x, edit, lease_ms(o));
    return r->waits;
}

enum taken { TAKEN_SETTLED, TAKEN_GRANTED, TAKEN_HELD, TAKEN_NO_ROOM, TAKEN_NO_WAITING };

/* It may be served while it is asked for anew, by one. */
static enum taken revalidate(struct reading *r, struct store_edit *edit, struct origin *o, uint64_t *token)
{
    r->x->instead = true;
    origin_count(o, stale_served);
    return lease_take(edit, lease_ms(o), token) == LEASE_GRANTED ? TAKEN_GRANTED : TAKEN_SETTLED;
}

static enum taken take_within(struct reading *r, struct store_edit *edit, struct origin *o, uint64_t *token)
{
    if (edit->found && (edit->state & (ITEM_PENDING | ITEM_STALE)) == 0)
        return TAKEN_SETTLED;
    if (is_stale(edit) && edit->graced && grace_revalidates(edit->herd.grace_ms))
        return revalidate(r, edit, o, token);
    switch (lease_take(edit, lease_ms(o), token)) {
    case LEASE_GRANTED: break;
    case LEASE_HELD:
        if (exec_outcome(r->x) == PARK_FRESH)
            origins_forget(r->x->server->origins, &edit->key);
        return wait_for(r, edit, o) ? TAKEN_HELD : TAKEN_NO_WAITING;
    case LEASE_NO_ROOM: return TAKEN_NO_ROOM;
    }
    if (wait_for(r, edit, o))
        return TAKEN_GRANTED;
    lease_give_back(edit, *token);
    return TAKEN_NO_WAITING;
}

static enum taken take(struct reading *r, const struct key *key, struct origin *o, uint64_t *token)
{
    struct store_edit edit;
    enum taken taken;

    store_edit_begin(r->x->store, r->x->local, key, r->x->now, &edit);
    taken = take_within(r, &edit, o, token);
    store_edit_end(&edit);
    return taken;
}

/* The first to miss it has it fetched; the others wait with it. */
static void fetch(struct reading *r, const struct key *key, struct origin *o)
{
    struct exec *x = r->x;
    struct fetch *f = origins_fetch_new(x->server->origins, o, key);
    uint64_t token = 0;
    enum taken taken;

    if (f == NULL) {
        origin_unreserve(o);
        fail(r, key, o, "out of memory");
        return;
    }
    origin_pin(o); /* the fetch's */
    taken = take(r, key, o, &token);
    if (taken == TAKEN_GRANTED) {
        herd_note_granted(x, (struct slice){key->data, key->len});
        origins_submit(f, token);
        return;
    }
    origins_fetch_free(&f);
    origin_unreserve(o);
    if (taken == TAKEN_HELD && exec_outcome(x) == PARK_FRESH)
        origin_count(o, coalesced);
    if (taken == TAKEN_NO_ROOM)
        fail(r, key, o, "memory is full");
    if (taken == TAKEN_NO_WAITING)
        fail(r, key, o, "too many wait, or waited too long");
}

/* What those who waited are to know. False: nothing, so it is to be fetched. */
static bool told(struct reading *r, const struct key *key, struct origin *o)
{
    struct origins *os = r->x->server->origins;
    struct outcome outcome;
    bool told;

    pthread_mutex_lock(&os->lock);
    told =
        outcomes_get(os->outcomes, key->db, (struct slice){key->data, key->len}, origin_ticks_ms(), &outcome);
    pthread_mutex_unlock(&os->lock);
    if (!told)
        return false;
    switch (outcome.kind) {
    case OUTCOME_FAILED: fail(r, key, o, outcome.why); break;
    case OUTCOME_ABSENT: break;
    case OUTCOME_VALUE:
        blob_unpin(&outcome.value);
        r->x->instead = true;
        break;
    }
    return true;
}

static void supply(struct reading *r, const struct key *key, struct origin *o)
{
    if (exec_outcome(r->x) != PARK_FRESH && told(r, key, o))
        return;
    if (exec_outcome(r->x) == PARK_TIMED_OUT || exec_outcome(r->x) == PARK_UNBLOCKED) {
        fail(r, key, o, "it took too long");
        return;
    }
    if (writes_hold(r->x->server->origins->writes, key)) {
        origin_keep(o); /* it need not be asked */
        fetch(r, key, o);
        return;
    }
    switch (origin_reserve(o)) {
    case PLACE_KEPT: fetch(r, key, o); return;
    case PLACE_SHUT: fail(r, key, o, "it has failed too often; asked again soon"); return;
    case PLACE_FULL: fail(r, key, o, "too many requests are ahead"); return;
    }
}

/* ---- ahead of time ---- */

/* XFetch (Vattani, Chierichetti and Lowenstein, VLDB 2015): the nearer the end
 * and the longer the fetch took, the likelier; so that of many readers about one
 * begins in time, and a key that is rarely read is not fetched for nothing. */
static bool is_time(struct exec *x, const struct store_peek *peek)
{
    double beta = option_live(x->options, origin_refresh_beta) / 100.0, reach;
    int64_t left = since(peek->expires, x->now).ms; /* of what origins_hit() has looked at already */

    reach = peek->herd.fill_ms * beta;
    return -reach * log(((double)random() + 1) / ((double)RAND_MAX + 2)) >= (double)left;
}

static bool take_live(struct exec *x, const struct key *key, struct origin *o, uint64_t *token)
{
    struct store_edit edit;
    bool taken;

    store_edit_begin(x->store, x->local, key, x->now, &edit);
    taken = lease_state(&edit) == LEASE_LIVE && lease_take(&edit, lease_ms(o), token) == LEASE_GRANTED;
    store_edit_end(&edit);
    return taken;
}

/* Nobody waits for it; while one is under way its lease keeps others from beginning. */
static void refresh(struct exec *x, const struct key *key)
{
    struct origin *o = origins_match(x->server->origins, (struct slice){key->data, key->len});
    struct fetch *f;
    uint64_t token;

    if (o == NULL)
        return;
    if (origin_reserve(o) == PLACE_KEPT) {
        f = origins_fetch_new(x->server->origins, o, key);
        if (f != NULL)
            origin_pin(o);
        if (f != NULL && take_live(x, key, o, &token)) {
            origin_count(o, refreshes);
            origins_submit(f, token);
        } else {
            origins_fetch_free(&f);
            origin_unreserve(o);
        }
    }
    origin_unpin(&o);
}

void origins_hit_slowly(struct exec *x, const struct key *key, const struct store_peek *peek)
{
    if (is_time(x, peek))
        refresh(x, key);
}

/* ---- one key ---- */

bool origins_has(struct exec *x, struct slice name)
{
    struct origin *o = origins_match(x->server->origins, name);
    bool has = o != NULL;

    origin_unpin(&o);
    return has;
}

bool origins_ask(struct exec *x, const struct key *key)
{
    if (!origins_has(x, (struct slice){key->data, key->len}))
        return false;
    x->session->parked = PARK_ASKING;
    return true;
}

static void read_key(struct reading *r, const struct key *key)
{
    struct exec *x = r->x;
    struct store_peek peek;
    struct origin *o;

    if (store_look(x->store, x->local, key, x->now, false, &peek) != PEEK_MISS && is_settled(x, &peek)) {
        if (peek.herded)
            origins_hit(x, key, &peek);
        return;
    }
    o = origins_match(x->server->origins, (struct slice){key->data, key->len});
    if (o == NULL)
        return;
    if (!guard_denies(x, o, key))
        supply(r, key, o);
    origin_unpin(&o);
}

/* ---- requests ---- */

static bool is_waiting(const struct exec *x)
{
    return x->session->parked != PARK_NOT;
}

/* True: the handler may run. What failed while something else is waited for is
 * found out again when that has come. */
static bool is_ready(struct reading *r)
{
    struct exec *x = r->x;

    if (!is_waiting(x) && !r->failed)
        return true;
    x->instead = false;
    return false;
}

/* Commands that show a value, or something of it. */
static bool reads(const struct command *command)
{
    command_handler *h = command->handler;

    return h == cmd_get || h == cmd_mget || h == cmd_getex || h == cmd_getrange || h == cmd_strlen;
}

bool origins_may_hope_memcache(const struct exec *x, const struct request *rq)
{
    struct slice verb = rq->argv[0];

    if (x->session->binary)
        return binary_is_get(rq);
    return slice_equals(verb, slice_of("get")) || slice_equals(verb, slice_of("mg")) ||
           slice_equals(verb, slice_of("gets"));
}

static bool takes_writes(const struct exec *x)
{
    return atomic_load_explicit(&x->server->origins->takes_writes, memory_order_relaxed);
}

bool origins_ready(struct exec *x, const struct command *command, const struct request *rq)
{
    struct reading r = {.x = x};
    uint32_t last;

    x->instead = false;
    if ((command->flags & CMD_WRITE) && takes_writes(x) && !origins_write_ready(x, command, rq))
        return false;
    if (!reads(command) || !exec_may_park(x))
        return true;
    last = command_last_key(command, rq->argc);
    for (uint32_t i = 1; i <= last && i < rq->argc && !r.failed; i++) {
        struct key key = exec_key(x, rq, i);

        read_key(&r, &key);
    }
    if (is_ready(&r))
        return true;
    if (!is_waiting(x))
        reply_error(x, "ORIGIN %s", r.why);
    return false;
}

void origins_refuse_memcache(struct exec *x, const struct request *packet, const char *why)
{
    char text[TEXT_MAX + 32];

    snprintf(text, sizeof text, "SERVER_ERROR origin %s", why);
    if (x->session->binary)
        binary_refuse_origin(x, packet, text + sizeof "SERVER_ERROR " - 1);
    else
        reply_line(x, text);
}

/* "get", "gets", "mg" have their keys from the first word on, "gat", "gats" from the second. 0: none of them.
 */
static uint32_t first_read_key(struct slice verb)
{
    static const struct {
        const char *verb;
        uint32_t first;
    } verbs[] = {{"get", 1}, {"gets", 1}, {"gat", 2}, {"gats", 2}};

    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        if (slice_equals(verb, slice_of(verbs[i].verb)))
            return verbs[i].first;
    }
    return 0;
}

static void read_meta(struct reading *r, const struct request *rq)
{
    uint8_t key_room[META_KEY_ROOM];
    struct meta_request meta;

    if (meta_decode(rq, META_GET, key_room, &meta) == NULL) {
        struct key key = store_key_in(r->x->store, r->x->db, meta.key);

        read_key(r, &key);
    }
}

static void read_words(struct reading *r, const struct request *rq)
{
    uint32_t first = first_read_key(rq->argv[0]);

    for (uint32_t i = first; first > 0 && i < rq->argc && !r->failed; i++) {
        if (rq->argv[i].len <= MEMCACHE_KEY_MAX) {
            struct key key = exec_key(r->x, rq, i);

            read_key(r, &key);
        }
    }
}

bool origins_ready_memcache(struct exec *x, const struct request *rq, const struct request *packet)
{
    struct reading r = {.x = x};

    x->instead = false;
    if (takes_writes(x) && !origins_write_ready_memcache(x, rq, packet))
        return false;
    if (!exec_may_park(x))
        return true;
    if (!x->session->binary && slice_equals(rq->argv[0], slice_of("mg")) && rq->argc > 1)
        read_meta(&r, rq);
    else
        read_words(&r, rq);
    if (is_ready(&r))
        return true;
    if (!is_waiting(x))
        origins_refuse_memcache(x, packet, r.why);
    return false;
}

/* ---- gifts ---- */

static bool give_stale(struct exec *x, const struct key *key, struct origin_gift *gift)
{
    struct store_edit edit;
    bool stale;

    store_edit_begin(x->store, x->local, key, x->now, &edit);
    stale = is_stale(&edit);
    if (stale && edit.blob != NULL) {
        blob_pin(edit.blob);
        *gift = (struct origin_gift){.blob = edit.blob, .value = edit.value, .flags = edit.flags};
    } else if (stale && (gift->blob = blob_new(edit.value.len)) != NULL) {
        if (edit.value.len > 0)
            memcpy(gift->blob->data, edit.value.data, edit.value.len);
        gift->value = (struct slice){gift->blob->data, edit.value.len};
        gift->flags = edit.flags;
    } else {
        stale = false;
    }
    store_edit_end(&edit);
    return stale;
}

bool origins_instead(struct exec *x, const struct key *key, struct origin_gift *gift)
{
    struct origins *os = x->server->origins;
    struct outcome outcome;
    struct slice name = {key->data, key->len};
    struct origin *o = origins_match(os, name);
    bool kept;

    if (o == NULL)
        return false;
    origin_unpin(&o);
    pthread_mutex_lock(&os->lock);
    kept = outcomes_get(os->outcomes, key->db, name, origin_ticks_ms(), &outcome);
    pthread_mutex_unlock(&os->lock);
    if (kept && outcome.kind == OUTCOME_VALUE) {
        *gift = (struct origin_gift){.blob = outcome.value,
                                     .value = {outcome.value->data, outcome.value->capacity}};
        return true;
    }
    return give_stale(x, key, gift);
}
