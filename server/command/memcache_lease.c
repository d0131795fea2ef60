/* memcache_lease.c - lease-get, lease-set and metaget, as mcrouter speaks them.
 *
 * The states are herd/lease.h's. A key that has no fresh value is answered with
 * LVALUE: token above 1, fill it; token 1, somebody else is on it. Its data is
 * the stale value, if one is kept: to ask with lease-get is to ask for that by
 * name. The dialect has no word for what the origin has not (a negative entry),
 * so that is a miss like any other here.
 *
 * One difference from the paper's server: STALE_STORED only says that there is
 * a stale value. A fill that comes too late changes nothing, not even that. */
#include "protocol/memcache_text.h"

#include <stdio.h>

#include "server/check.h"
#include "server/cluster/several.h"
#include "server/command/memcache.h"
#include "server/command/memcache_edit.h"
#include "server/herd/herd.h"
#include "server/server.h"

enum { TOKEN_HELD = 1, MS = 1000 };

static const struct slice nothing = {(const uint8_t *)"", 0};

/* ---- lease-get ---- */

/* Takes over the pin. */
static void put_blob(struct exec *x, struct blob *blob, struct slice value)
{
    out_blob(x->out, blob, value);
    reply_raw(x, "\r\n", 2);
}

/* A fresh value, without a lock. */
static bool answer_hit(struct exec *x, const struct key *key)
{
    struct slice name = {key->data, key->len};
    size_t mark = out_mark(x->out);
    struct store_peek peek;
    uint8_t *p;

    for (;; out_rollback(x->out, mark)) {
        enum peek_status status = store_peek(x->store, x->local, key, x->now, true, &peek);

        if (status == PEEK_MISS)
            return false;
        if (status == PEEK_BLOB) {
            if (!state_shows(peek.state)) {
                blob_unpin(&peek.blob);
                return false;
            }
            p = out_room(x->out, MEMCACHE_VALUE_ROOM(key->len));
            out_commit(x->out, memcache_put_value(p, name, peek.flags, peek.len));
            put_blob(x, peek.blob, (struct slice){peek.value, peek.len});
            return true;
        }
        p = out_room(x->out, MEMCACHE_VALUE_ROOM(key->len) + peek.len + 2);
        if (p == NULL)
            return true; /* the connection ends */
        p = memcache_put_value(p, name, peek.flags, peek.len);
        out_commit(x->out, memcache_copy_value(p, peek.value, peek.len));
        if (!store_peek_ok(&peek))
            continue;
        if (state_shows(peek.state))
            return true;
        out_rollback(x->out, mark);
        return false;
    }
}

/* A value that the edit holds, behind its line. `token` 0: it is fresh, and has come since the peek. */
static void put_kept(struct exec *x, const struct key *key, uint64_t token, const struct store_edit *edit)
{
    struct slice name = {key->data, key->len};
    struct slice value = edit != NULL ? edit->value : nothing;
    struct blob *blob = edit != NULL ? edit->blob : NULL;
    uint32_t flags = edit != NULL ? edit->flags : 0;
    uint8_t *p = out_room(x->out, MEMCACHE_VALUE_ROOM(key->len) + (blob == NULL ? value.len + 2 : 0));

    if (p == NULL)
        return;
    p = token != 0 ? memcache_put_lvalue(p, name, token, flags, value.len)
                   : memcache_put_value(p, name, flags, value.len);
    if (blob == NULL) {
        out_commit(x->out, memcache_copy_value(p, value.data, value.len));
        return;
    }
    out_commit(x->out, p);
    blob_pin(blob);
    put_blob(x, blob, value);
}

/* The token to answer with. Without memory for a lease the client is told that
 * somebody else is on it: it comes again, or goes to the origin in the end. */
static uint64_t take(struct exec *x, struct store_edit *edit)
{
    uint64_t token;

    return herd_take(x, edit, &token) == LEASE_GRANTED ? token : TOKEN_HELD;
}

static bool answer_edit(struct exec *x, const struct key *key, struct store_edit *edit)
{
    switch (lease_state(edit)) {
    case LEASE_LIVE: put_kept(x, key, 0, edit); return true;
    case LEASE_STALE:
        put_kept(x, key, take(x, edit), edit);
        herd_note_stale_served(x, (struct slice){key->data, key->len});
        return false;
    case LEASE_ABSENT:
    case LEASE_PENDING:
    case LEASE_NEGATIVE: put_kept(x, key, take(x, edit), NULL); return false;
    }
    CHECK_UNREACHABLE();
}

static bool answer_key(struct exec *x, const struct key *key)
{
    struct store_edit edit;
    bool hit = answer_hit(x, key);

    if (!hit) {
        store_edit_begin(x->store, x->local, key, x->now, &edit);
        counter_add(x->counters, mc_get_expired, edit.expired);
        counter_add(x->counters, expired_on_read, edit.expired);
        hit = answer_edit(x, key, &edit);
        store_edit_end(&edit);
    }
    if (prefixes_on(&x->server->prefixes))
        memcache_note(x, (struct slice){key->data, key->len}, hit ? PREFIX_HIT : PREFIX_GET);
    return hit;
}

void mc_lease_get(struct exec *x, struct request *rq)
{
    uint32_t keys = rq->argc - 1, hits = 0;

    for (uint32_t i = 1; i < rq->argc; i++) {
        if (rq->argv[i].len > MEMCACHE_KEY_MAX) {
            reply_line(x, MEMCACHE_BAD_LINE);
            return;
        }
    }
    for (uint32_t i = 1; i < rq->argc; i++) {
        struct key key = exec_key(x, rq, i);

        if (x->gathered != NULL)
            several_before(x);
        hits += answer_key(x, &key);
    }
    if (x->gathered != NULL)
        several_rest(x);
    reply_raw(x, MEMCACHE_END, 5);
    counter_add(x->counters, mc_cmd_get, keys);
    counter_add(x->counters, mc_get_hits, hits);
    counter_add(x->counters, mc_get_misses, keys - hits);
    counter_add(x->counters, keyspace_hits, hits);
    counter_add(x->counters, keyspace_misses, keys - hits);
}

/* ---- lease-set ---- */

static const char *refused_text(struct exec *x, enum store_status why)
{
    if (why == STORE_TOO_BIG) {
        counter_add(x->counters, too_large, 1);
        return MEMCACHE_TOO_LARGE;
    }
    counter_add(x->counters, oom_refused, 1);
    return MEMCACHE_NO_MEMORY;
}

void mc_lease_set(struct exec *x, struct request *rq)
{
    struct store_value value = {.head = rq->data, .backing = x->backing};
    struct key key = exec_key(x, rq, 1);
    enum store_status why = STORE_OK;
    struct memcache_store line;
    struct store_edit edit;
    enum lease_fill fill;
    uint32_t took_ms = 0;

    CHECK(memcache_lease_decode(rq, &line) == NULL); /* the parser saw to that */
    value.flags = line.flags;
    value.expires = memcache_expiry(x->now, line.exptime);
    store_edit_begin(x->store, x->local, &key, x->now, &edit);
    fill = lease_fill(&edit, line.token, value, &why, &took_ms);
    if (fill == FILL_REFUSED)
        lease_give_back(&edit, line.token); /* nobody shall wait for it any longer */
    store_edit_end(&edit);
    counter_add(x->counters, mc_cmd_set, 1);
    if (prefixes_on(&x->server->prefixes))
        memcache_note(x, rq->argv[1], PREFIX_SET);
    switch (fill) {
    case FILL_STORED:
        herd_note_filled(x, rq->argv[1], took_ms);
        reply_line(x, "STORED");
        return;
    case FILL_LATE:
    case FILL_LATE_STALE:
        herd_note_late(x, rq->argv[1]);
        reply_line(x, fill == FILL_LATE_STALE ? "STALE_STORED" : "NOT_STORED");
        return;
    case FILL_REFUSED: reply_line(x, refused_text(x, why)); return;
    }
    CHECK_UNREACHABLE();
}

/* ---- metaget ---- */

/* What WarmUpRoute asks for, to carry a value's time to another cache: when it
 * ends, in Unix seconds, 0 for never. Nobody notes how old a value is, nor who
 * stored it. */
void mc_metaget(struct exec *x, struct request *rq)
{
    struct store_edit edit;
    char facts[96];
    struct key key;

    if (rq->argv[1].len > MEMCACHE_KEY_MAX) {
        reply_line(x, MEMCACHE_BAD_LINE);
        return;
    }
    key = exec_key(x, rq, 1);
    store_edit_begin(x->store, x->local, &key, x->now, &edit);
    if (lease_state(&edit) == LEASE_LIVE) {
        int64_t expires = edit.expires.ms / MS + (edit.expires.ms % MS != 0);
        int len = snprintf(facts, sizeof facts, " age: unknown; exptime: %lld; from: unknown\r\n",
                           (long long)expires);

        reply_raw(x, "META ", 5);
        reply_raw(x, rq->argv[1].data, rq->argv[1].len);
        reply_raw(x, facts, (size_t)len);
    }
    store_edit_end(&edit);
    reply_raw(x, MEMCACHE_END, 5);
}
