/* memcache.c - memcached's classic text commands, and the table of all verbs.
 *
 * Everything a client can see follows memcached 1.6, odd corners included:
 * a get serves stale items too (contract C1 calls that asked for by name: only
 * a client that marks items stale with meta I finds any), and a set that fails
 * takes the old value with it, so that nobody reads what was to be replaced. */
#include "server/command/memcache.h"

#include <stdlib.h>

#include "protocol/memcache_meta.h"
#include "protocol/memcache_text.h"
#include "server/check.h"
#include "server/cluster/several.h"
#include "server/command/memcache_edit.h"
#include "server/herd/reads.h"
#include "server/origin/origins.h"
#include "server/server.h"

/* ---- the verb table ---- */

struct verb {
    const char *name;
    command_handler *handler;
    uint8_t len, key, words_min, words_max;
    bool quiet;
};

static const struct verb verbs[] = {
#define MEMCACHE(verb, handler, key, words_min, words_max, quiet, summary)                                   \
    {#verb, handler, sizeof #verb - 1, key, words_min, words_max, quiet},
#include "server/memcache.def"
};

enum { VERBS = sizeof verbs / sizeof verbs[0], HEAD = 8 };

/* The first eight bytes of every verb, zero-padded, so that looking down the
 * list is one comparison per line of it. Filled before main(). */
static uint64_t heads[VERBS];

static inline uint64_t head_of(const uint8_t *data, size_t len)
{
    uint64_t head = 0;

    switch (len) {
    case 2: memcpy(&head, data, 2); break;
    case 3: memcpy(&head, data, 3); break;
    case 4: memcpy(&head, data, 4); break;
    default: memcpy(&head, data, len < HEAD ? len : HEAD);
    }
    return head;
}

__attribute__((constructor)) static void fill_heads(void)
{
    for (size_t i = 0; i < VERBS; i++)
        heads[i] = head_of((const uint8_t *)verbs[i].name, verbs[i].len);
}

static const struct verb *find_verb(struct slice word)
{
    uint64_t head = head_of(word.data, word.len);

    for (size_t i = 0; i < VERBS; i++)
        if (heads[i] == head && verbs[i].len == word.len &&
            (word.len <= HEAD || memcmp(word.data + HEAD, verbs[i].name + HEAD, word.len - HEAD) == 0))
            return &verbs[i];
    return NULL;
}

/* Browsers that are made to post here by a hostile page must get nowhere: what
 * looks like HTTP ends the connection, before a body can pass for commands. */
static void unknown_verb(struct exec *x, const struct request *rq)
{
    struct slice last = rq->argv[rq->argc - 1];

    counter_add(x->counters, protocol_errors, 1);
    if (last.len >= 5 && memcmp(last.data, "HTTP/", 5) == 0)
        x->session->close_after_reply = true;
    else
        reply_line(x, "ERROR");
}

void memcache_execute(struct exec *x, struct request *rq)
{
    const struct verb *verb = find_verb(rq->argv[0]);
    size_t mark = out_mark(x->out);

    if (verb == NULL) {
        unknown_verb(x, rq);
        return;
    }
    session_doing(x->session, verb->name);
    if (rq->argc < verb->words_min || (verb->words_max != 0 && rq->argc > verb->words_max)) {
        counter_add(x->counters, protocol_errors, 1);
        reply_line(x, "ERROR");
        return;
    }
    verb->handler(x, rq);
    if (verb->quiet && memcache_noreply(rq))
        out_rollback(x->out, mark);
}

bool memcache_first_key(const struct request *rq, struct slice *key)
{
    const struct verb *verb = find_verb(rq->argv[0]);

    if (verb == NULL || verb->key == 0 || rq->argc <= verb->key || rq->argv[verb->key].len > MEMCACHE_KEY_MAX)
        return false;
    *key = rq->argv[verb->key];
    return true;
}

/* ---- what was refused before it got here ---- */

/* `win`: the number of the win it was to be stored for, 0: of none. What is
 * there now is outdated only if that is still out. */
static void drop(struct exec *x, struct slice name, uint64_t win)
{
    struct key key = store_key_in(x->store, x->db, name);
    struct store_edit edit;

    store_edit_begin(x->store, x->local, &key, x->now, &edit);
    if (win == 0 || lease_give_back(&edit, win & ~LEASE_MARK))
        store_edit_drop(&edit);
    store_edit_end(&edit);
}

static uint64_t win_of(const struct exec *x, const struct meta_request *meta)
{
    return memcache_is_fenced(x) && meta->has_cas && (meta->cas & LEASE_MARK) != 0 ? meta->cas : 0;
}

static void give_back(struct exec *x, struct slice name, uint64_t token)
{
    struct key key = store_key_in(x->store, x->db, name);
    struct store_edit edit;

    store_edit_begin(x->store, x->local, &key, x->now, &edit);
    lease_give_back(&edit, token);
    store_edit_end(&edit);
}

/* Only the verbs that replace whatever is there; an add or append that fails
 * leaves it alone. Who waits for a fill shall not wait for this one any longer. */
static void drop_outdated(struct exec *x, const struct request *rq)
{
    uint8_t key_room[META_KEY_ROOM];
    struct memcache_store line;
    struct meta_request meta;

    if (slice_is(rq->argv[0], "set"))
        drop(x, rq->argv[1], 0);
    else if (slice_is(rq->argv[0], "ms") && meta_decode(rq, META_SET, key_room, &meta) == NULL)
        drop(x, meta.key, win_of(x, &meta));
    else if (slice_is(rq->argv[0], "cas") && memcache_is_fenced(x) &&
             memcache_store_decode(rq, true, &line) == NULL && (line.cas & LEASE_MARK) != 0)
        give_back(x, rq->argv[1], line.cas & ~LEASE_MARK);
    else if (slice_is(rq->argv[0], "lease-set") && memcache_lease_decode(rq, &line) == NULL)
        give_back(x, rq->argv[1], line.token);
}

void memcache_refused(struct exec *x, struct request *rq, const char *error, bool too_large)
{
    counter_add(x->counters, protocol_errors, !too_large);
    counter_add(x->counters, too_large, too_large);
    if (too_large)
        drop_outdated(x, rq);
    reply_line(x, error);
}

/* ---- get and its sisters ---- */

enum { KEYS_AT_ONCE = 32 };

/* The room is for a value in the log; only one above a megabyte can be refused, and ends the connection. */
static void put_value(struct exec *x, const struct key *key, const struct store_peek *peek, bool with_cas)
{
    struct slice name = {key->data, key->len};
    uint8_t *p = out_room(x->out, MEMCACHE_VALUE_ROOM(key->len) + peek->len + 2);

    if (p == NULL)
        return;
    p = with_cas ? memcache_put_value_cas(p, name, peek->flags, peek->len, peek->cas)
                 : memcache_put_value(p, name, peek->flags, peek->len);
    out_commit(x->out, memcache_copy_value(p, peek->value, peek->len));
}

static void put_blob_value(struct exec *x, const struct key *key, const struct store_peek *peek,
                           bool with_cas)
{
    struct slice name = {key->data, key->len};
    uint8_t *p = out_room(x->out, MEMCACHE_VALUE_ROOM(key->len));

    p = with_cas ? memcache_put_value_cas(p, name, peek->flags, peek->len, peek->cas)
                 : memcache_put_value(p, name, peek->flags, peek->len);
    out_commit(x->out, p);
    out_blob(x->out, peek->blob, (struct slice){peek->value, peek->len});
    reply_raw(x, "\r\n", 2);
}

/* What an origin has for a key that is not there. */
static bool answer_instead(struct exec *x, const struct key *key, bool with_cas)
{
    struct store_peek peek = {0};
    struct origin_gift gift;

    if (!x->instead || !origins_instead(x, key, &gift))
        return false;
    peek.blob = gift.blob;
    peek.value = gift.value.data;
    peek.len = (uint32_t)gift.value.len;
    peek.flags = gift.flags;
    put_blob_value(x, key, &peek, with_cas);
    return true;
}

enum found { FOUND_NOTHING, FOUND_ANSWERED, FOUND_RETRY };

static void put_kept(struct exec *x, const struct key *key, const struct store_edit *edit, bool with_cas)
{
    struct store_peek kept = {.value = edit->value.data,
                              .len = (uint32_t)edit->value.len,
                              .flags = edit->flags,
                              .cas = edit->cas,
                              .blob = edit->blob};

    if (kept.blob == NULL) {
        put_value(x, key, &kept, with_cas);
        return;
    }
    blob_pin(kept.blob);
    put_blob_value(x, key, &kept, with_cas);
}

/* There is nothing to show: unless a rule has the reader wait, or be given what is in its grace. */
static enum found answer_absent(struct exec *x, const struct key *key, bool with_cas)
{
    struct store_edit edit;

    switch (reads_missed(x, key, &edit)) {
    case PROTECT_MISS:
    case PROTECT_PARKED: return FOUND_NOTHING;
    case PROTECT_RETRY: return FOUND_RETRY;
    case PROTECT_STALE:
        put_kept(x, key, &edit, with_cas);
        store_edit_end(&edit);
        return FOUND_ANSWERED;
    }
    CHECK_UNREACHABLE();
}

/* False on a miss, which a get passes over in silence. */
static bool find_and_answer(struct exec *x, const struct key *key, bool with_cas)
{
    size_t mark = out_mark(x->out);
    struct store_peek peek;
    enum found found;

    for (;; out_rollback(x->out, mark)) {
        enum peek_status status = store_peek(x->store, x->local, key, x->now, true, &peek);

        if (status == PEEK_MISS || __builtin_expect(reads_hide_place(x, key, peek.state), 0)) {
            found = answer_instead(x, key, with_cas) ? FOUND_ANSWERED : answer_absent(x, key, with_cas);
            if (status == PEEK_MISS && peek.expired)
                memcache_note_expired(x);
            if (found == FOUND_RETRY)
                continue;
            return found == FOUND_ANSWERED;
        }
        if (__builtin_expect(peek.herded, 0) && reads_refresh(x, key, &peek)) {
            if (status == PEEK_BLOB)
                blob_unpin(&peek.blob);
            return false;
        }
        if (__builtin_expect(!memcache_shows(peek.state), 0)) {
            if (memcache_is_hidden(status, &peek))
                return false;
            continue;
        }
        if (with_cas && peek.cas == 0) {
            if (status == PEEK_BLOB)
                blob_unpin(&peek.blob);
            if (!memcache_give_cas(x, key))
                return false;
            continue;
        }
        if (status == PEEK_BLOB) {
            put_blob_value(x, key, &peek, with_cas);
            return true;
        }
        put_value(x, key, &peek, with_cas);
        if (store_peek_ok(&peek))
            return true;
    }
}

/* ---- which of several keys were found ---- */

/* What follows from a hit waits until the last key is answered: before that the
 * request may be parked yet, and come again from its first. */
struct found_keys {
    uint64_t *bits;
    uint64_t few[16];
};

/* False when memory is short. */
static bool found_keys_init(struct found_keys *f, uint32_t keys)
{
    size_t words = (size_t)keys / 64 + 1;

    f->bits = words > sizeof f->few / sizeof *f->few ? calloc(words, sizeof *f->bits) : f->few;
    if (f->bits == f->few)
        memset(f->few, 0, words * sizeof *f->few);
    return f->bits != NULL;
}

static void found_keys_free(struct found_keys *f)
{
    if (f->bits != f->few)
        free(f->bits);
}

static void found_keys_add(struct found_keys *f, uint32_t i)
{
    f->bits[i / 64] |= (uint64_t)1 << i % 64;
}

static bool found_keys_has(const struct found_keys *f, uint32_t i)
{
    return (f->bits[i / 64] >> i % 64 & 1) != 0;
}

static void note_get(struct exec *x, struct slice name, bool hit)
{
    if (prefixes_on(&x->server->prefixes))
        memcache_note(x, name, hit ? PREFIX_HIT : PREFIX_GET);
}

static void count_gets(struct exec *x, uint32_t keys, uint32_t hits)
{
    counter_add(x->counters, mc_cmd_get, keys);
    counter_add(x->counters, mc_get_hits, hits);
    counter_add(x->counters, mc_get_misses, keys - hits);
    counter_add(x->counters, keyspace_hits, hits);
    counter_add(x->counters, keyspace_misses, keys - hits);
}

/* All keys of a chunk wait for memory together. Returns how many were found; which, unless `found` is NULL.
 */
static uint32_t answer_chunk(struct exec *x, const struct request *rq, uint32_t from, uint32_t count,
                             bool with_cas, struct found_keys *found)
{
    struct key keys[KEYS_AT_ONCE];
    uint32_t hits = 0;

    for (uint32_t i = 0; i < count; i++) {
        keys[i] = exec_key(x, rq, from + i);
        store_prefetch_bucket(x->store, keys[i].hash);
    }
    for (uint32_t i = 0; i < count; i++)
        store_prefetch_item(x->store, keys[i].hash);
    for (uint32_t i = 0; i < count && x->session->parked == PARK_NOT; i++) {
        bool hit;

        if (x->gathered != NULL)
            several_before(x);
        hit = find_and_answer(x, &keys[i], with_cas);
        hits += hit;
        if (found != NULL && hit)
            found_keys_add(found, from + i);
    }
    return hits;
}

static bool keys_fit(const struct request *rq, uint32_t from)
{
    for (uint32_t i = from; i < rq->argc; i++)
        if (rq->argv[i].len > MEMCACHE_KEY_MAX)
            return false;
    return true;
}

/* Two keys or more. False: parked. */
static bool get_several(struct exec *x, const struct request *rq, bool with_cas, struct found_keys *found,
                        uint32_t *hits)
{
    struct protect_several several;

    protect_begin(x, &several);
    for (uint32_t i = 1; i < rq->argc && x->session->parked == PARK_NOT; i += KEYS_AT_ONCE)
        *hits += answer_chunk(x, rq, i, rq->argc - i < KEYS_AT_ONCE ? rq->argc - i : KEYS_AT_ONCE, with_cas,
                              found);
    if (x->gathered != NULL && x->session->parked == PARK_NOT)
        several_rest(x);
    return !protect_end(x, &several);
}

/* The same while stats detail is on. */
static bool get_several_noted(struct exec *x, const struct request *rq, bool with_cas, uint32_t *hits)
{
    struct found_keys found;
    bool done;

    if (!found_keys_init(&found, rq->argc)) {
        x->out->failed = true;
        return true;
    }
    done = get_several(x, rq, with_cas, &found, hits);
    for (uint32_t i = 1; i < rq->argc && done; i++)
        note_get(x, rq->argv[i], found_keys_has(&found, i));
    found_keys_free(&found);
    return done;
}

static void get(struct exec *x, const struct request *rq, bool with_cas)
{
    uint32_t hits = 0;

    if (!keys_fit(rq, 1)) {
        reply_line(x, MEMCACHE_BAD_LINE);
        return;
    }
    if (rq->argc == 2 && x->gathered == NULL) {
        struct key key = exec_key(x, rq, 1);

        hits = find_and_answer(x, &key, with_cas);
        if (x->session->parked != PARK_NOT)
            return;
        note_get(x, rq->argv[1], hits > 0);
        if (hits == 0 && slice_equals(rq->argv[1], slice_of(MEMCACHE_CLUSTER_KEY)))
            memcache_put_cluster(x, "VALUE " MEMCACHE_CLUSTER_KEY);
    } else if (prefixes_on(&x->server->prefixes)) {
        if (!get_several_noted(x, rq, with_cas, &hits))
            return;
    } else if (!get_several(x, rq, with_cas, NULL, &hits)) {
        return;
    }
    reply_raw(x, MEMCACHE_END, 5);
    count_gets(x, rq->argc - 1, hits);
}

void mc_get(struct exec *x, struct request *rq)
{
    get(x, rq, false);
}

void mc_gets(struct exec *x, struct request *rq)
{
    get(x, rq, true);
}

/* ---- touch, gat ---- */

void mc_touch(struct exec *x, struct request *rq)
{
    struct memcache_touched touched;
    int64_t seconds;

    if (rq->argv[1].len > MEMCACHE_KEY_MAX) {
        reply_line(x, MEMCACHE_BAD_LINE);
    } else if (!memcache_i64(rq->argv[2], &seconds)) {
        reply_line(x, "CLIENT_ERROR invalid exptime argument");
    } else {
        struct key key = exec_key(x, rq, 1);

        touched = memcache_touch(x, &key, memcache_expiry(x->now, seconds));
        if (!touched.found)
            reply_line(x, "NOT_FOUND");
        else
            reply_line(x, touched.refused ? MEMCACHE_OUT_OF_MEMORY : "TOUCHED");
    }
}

static void touch_or_miss(struct exec *x, const struct key *key, bool hit, instant expires)
{
    if (hit) {
        memcache_touch(x, key, expires);
    } else {
        counter_add(x->counters, mc_cmd_touch, 1);
        counter_add(x->counters, mc_touch_misses, 1);
    }
    counter_add(x->counters, keyspace_hits, hit);
    counter_add(x->counters, keyspace_misses, !hit);
    note_get(x, (struct slice){key->data, key->len}, hit);
}

/* False: parked, and no time has been changed. */
static bool gat_keys(struct exec *x, const struct request *rq, bool with_cas, instant expires,
                     struct found_keys *found)
{
    struct protect_several several;

    protect_begin(x, &several);
    for (uint32_t i = 2; i < rq->argc && x->session->parked == PARK_NOT; i++) {
        struct key key = exec_key(x, rq, i);

        if (x->gathered != NULL)
            several_before(x);
        if (find_and_answer(x, &key, with_cas))
            found_keys_add(found, i);
    }
    if (x->gathered != NULL && x->session->parked == PARK_NOT)
        several_rest(x);
    if (protect_end(x, &several))
        return false;
    for (uint32_t i = 2; i < rq->argc; i++) {
        struct key key = exec_key(x, rq, i);

        touch_or_miss(x, &key, found_keys_has(found, i), expires);
    }
    return true;
}

/* Two steps for each key, not one: the value is read before its time is
 * changed, so that it may be a blob and that a time in the past still answers. */
static void gat(struct exec *x, const struct request *rq, bool with_cas)
{
    struct found_keys found;
    int64_t seconds;

    if (!memcache_i64(rq->argv[1], &seconds)) {
        reply_line(x, "CLIENT_ERROR invalid exptime argument");
        return;
    }
    if (!keys_fit(rq, 2)) {
        reply_line(x, MEMCACHE_BAD_LINE);
        return;
    }
    if (!found_keys_init(&found, rq->argc)) {
        x->out->failed = true;
        return;
    }
    if (gat_keys(x, rq, with_cas, memcache_expiry(x->now, seconds), &found))
        reply_raw(x, MEMCACHE_END, 5);
    found_keys_free(&found);
}

void mc_gat(struct exec *x, struct request *rq)
{
    gat(x, rq, false);
}

void mc_gats(struct exec *x, struct request *rq)
{
    gat(x, rq, true);
}

/* ---- storing ---- */

static const char *outcome_text(enum memcache_outcome outcome)
{
    switch (outcome) {
    case PUT_STORED: return "STORED";
    case PUT_NOT_STORED: return "NOT_STORED";
    case PUT_EXISTS: return "EXISTS";
    case PUT_NOT_FOUND: return "NOT_FOUND";
    case PUT_TOO_LARGE: return MEMCACHE_TOO_LARGE;
    case PUT_NO_MEMORY: return MEMCACHE_NO_MEMORY;
    }
    CHECK_UNREACHABLE();
}

static void store(struct exec *x, const struct request *rq, enum memcache_how how)
{
    struct memcache_put put = {
        .how = how, .key_len = rq->argv[1].len, .data = rq->data, .backing = x->backing};
    struct key key = exec_key(x, rq, 1);
    enum memcache_outcome outcome;
    struct memcache_store line;
    struct store_edit edit;

    CHECK(memcache_store_decode(rq, how == HOW_CAS, &line) == NULL); /* the parser saw to that */
    put.flags = line.flags;
    put.expires = memcache_expiry(x->now, line.exptime);
    put.has_cas = how == HOW_CAS;
    put.cas = line.cas;

    store_edit_begin(x->store, x->local, &key, x->now, &edit);
    outcome = memcache_put(x, &edit, &put);
    if (how == HOW_SET && (outcome == PUT_TOO_LARGE || outcome == PUT_NO_MEMORY))
        store_edit_drop(&edit);
    store_edit_end(&edit);
    if (prefixes_on(&x->server->prefixes))
        memcache_note(x, rq->argv[1], PREFIX_SET);
    if (outcome == PUT_STORED)
        reply_raw(x, MEMCACHE_STORED, 8);
    else
        reply_line(x, outcome_text(outcome));
}

void mc_set(struct exec *x, struct request *rq)
{
    store(x, rq, HOW_SET);
}

void mc_add(struct exec *x, struct request *rq)
{
    store(x, rq, HOW_ADD);
}

void mc_replace(struct exec *x, struct request *rq)
{
    store(x, rq, HOW_REPLACE);
}

void mc_append(struct exec *x, struct request *rq)
{
    store(x, rq, HOW_APPEND);
}

void mc_prepend(struct exec *x, struct request *rq)
{
    store(x, rq, HOW_PREPEND);
}

void mc_cas(struct exec *x, struct request *rq)
{
    store(x, rq, HOW_CAS);
}

/* ---- delete ---- */

/* Old clients send a time of 0 after the key. */
static bool delete_line_ok(const struct request *rq)
{
    bool zero = rq->argc > 2 && slice_is(rq->argv[2], "0");

    switch (rq->argc) {
    case 2: return true;
    case 3: return zero || memcache_noreply(rq);
    default: return zero && memcache_noreply(rq);
    }
}

void mc_delete(struct exec *x, struct request *rq)
{
    struct store_edit edit;
    struct key key;
    bool found;

    if (!delete_line_ok(rq)) {
        reply_line(x, "CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]");
        return;
    }
    if (rq->argv[1].len > MEMCACHE_KEY_MAX) {
        reply_line(x, MEMCACHE_BAD_LINE);
        return;
    }
    key = exec_key(x, rq, 1);
    store_edit_begin(x->store, x->local, &key, x->now, &edit);
    found = memcache_finds(&edit) || memcache_finds_filter(&edit);
    store_edit_drop(&edit); /* also what does not show: that voids its fill */
    store_edit_end(&edit);
    counter_add(x->counters, mc_delete_hits, found);
    counter_add(x->counters, mc_delete_misses, !found);
    if (prefixes_on(&x->server->prefixes))
        memcache_note(x, rq->argv[1], PREFIX_DELETE);
    reply_line(x, found ? "DELETED" : "NOT_FOUND");
}

/* ---- incr, decr ---- */

static void count_sum(struct exec *x, bool up, bool hit)
{
    counter_add(x->counters, mc_incr_hits, up && hit);
    counter_add(x->counters, mc_incr_misses, up && !hit);
    counter_add(x->counters, mc_decr_hits, !up && hit);
    counter_add(x->counters, mc_decr_misses, !up && !hit);
}

static void reply_sum(struct exec *x, bool up, enum memcache_sum sum, uint64_t result)
{
    switch (sum) {
    case SUM_DONE:
        count_sum(x, up, true);
        out_commit(x->out, memcache_put_number(out_room(x->out, MEMCACHE_NUMBER_ROOM), result));
        return;
    case SUM_NOT_A_NUMBER: reply_line(x, MEMCACHE_NOT_A_NUMBER); return;
    case SUM_NO_MEMORY:
        counter_add(x->counters, oom_refused, 1);
        reply_line(x, MEMCACHE_OUT_OF_MEMORY);
        return;
    }
    CHECK_UNREACHABLE();
}

static void add_to(struct exec *x, const struct request *rq, bool up)
{
    enum memcache_sum sum = SUM_NOT_A_NUMBER;
    struct store_edit edit;
    uint64_t delta;
    uint64_t result = 0;
    struct key key;
    bool found;

    if (rq->argv[1].len > MEMCACHE_KEY_MAX) {
        reply_line(x, MEMCACHE_BAD_LINE);
        return;
    }
    if (!memcache_u64(rq->argv[2], &delta)) {
        reply_line(x, "CLIENT_ERROR invalid numeric delta argument");
        return;
    }
    key = exec_key(x, rq, 1);
    store_edit_begin(x->store, x->local, &key, x->now, &edit);
    found = memcache_finds(&edit);
    if (found)
        sum = memcache_add(&edit, up, delta, 0, &result);
    store_edit_end(&edit);
    if (found) {
        reply_sum(x, up, sum, result);
    } else {
        count_sum(x, up, false);
        reply_line(x, "NOT_FOUND");
    }
}

void mc_incr(struct exec *x, struct request *rq)
{
    add_to(x, rq, true);
}

void mc_decr(struct exec *x, struct request *rq)
{
    add_to(x, rq, false);
}

/* ---- the rest ---- */

void mc_version(struct exec *x, struct request *rq)
{
    (void)rq;
    reply_line(x, "VERSION " MEMCACHE_VERSION);
}

void mc_quit(struct exec *x, struct request *rq)
{
    (void)rq;
    x->session->close_after_reply = true;
}

void mc_verbosity(struct exec *x, struct request *rq)
{
    uint32_t level;

    reply_line(x, memcache_u32(rq->argv[1], &level) ? "OK" : MEMCACHE_BAD_LINE);
}

/* flush_all [delay] [noreply] */
void mc_flush_all(struct exec *x, struct request *rq)
{
    uint32_t words = rq->argc - memcache_noreply(rq);
    int64_t delay = 0;

    counter_add(x->counters, mc_cmd_flush, 1);
    if (!option_live(x->options, memcache_flush_enabled)) {
        reply_line(x, "CLIENT_ERROR flush_all not allowed");
        return;
    }
    if (words > 1 && !memcache_i64(rq->argv[1], &delay)) {
        reply_line(x, "CLIENT_ERROR invalid exptime argument");
        return;
    }
    /* Either way it takes the place of a flush that was still to come. */
    server_flush_at(x->server, delay > 0 ? memcache_expiry(x->now, delay) : (instant){0});
    reply_line(x, "OK");
}
