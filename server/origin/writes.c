#include "server/origin/writes.h"

#include <stdlib.h>

#include "server/check.h"
#include "server/gate.h"
#include "server/herd/herd.h"
#include "server/log.h"
#include "server/server.h"
#include "server/table.h"

enum { RESULTS_MAX = 100000 };

struct write {
    struct job job; /* first */
    struct writes *writes;
    struct line *line;
    struct write *next;
    struct blob *value; /* of a SET */
    instant expires;
    post_address who; /* 0: behind */
    uint64_t request; /* of that client's, if through */
};

/* The writes of one key; the first is the one under way. */
struct line {
    UT_hash_handle hh;
    struct write *first, *last;
    bool is_new; /* in the list of those whose first is to be begun */
    struct line *next_new;
    size_t key_len;
    uint8_t key[]; /* the database's byte, then the name */
};

struct result {
    UT_hash_handle hh;
    post_address who;
    uint64_t request;
    struct write_result result;
};

struct writes {
    struct origins *origins;
    pthread_mutex_t lock; /* of all that follows; a leaf, inside the shards' locks */
    struct line *lines;
    struct line *new, *new_last;
    struct result *results;
    uint64_t requests;
    _Atomic unsigned results_len;
    _Atomic uint64_t bytes; /* behind */
};

/* ---- life ---- */

struct writes *writes_new(struct origins *os)
{
    struct writes *ws = calloc(1, sizeof *ws);

    if (ws == NULL)
        return NULL;
    ws->origins = os;
    pthread_mutex_init(&ws->lock, NULL);
    return ws;
}

static void remove_result(struct writes *ws, struct result *r)
{
    HASH_DEL(ws->results, r);
    atomic_fetch_sub_explicit(&ws->results_len, 1, memory_order_relaxed);
    free(r);
}

void writes_free(struct writes **writes)
{
    struct writes *ws = *writes;

    *writes = NULL;
    if (ws == NULL)
        return;
    CHECK(ws->lines == NULL);
    while (ws->results != NULL)
        remove_result(ws, ws->results);
    pthread_mutex_destroy(&ws->lock);
    free(ws);
}

uint64_t writes_bytes(struct writes *ws)
{
    return atomic_load_explicit(&ws->bytes, memory_order_relaxed);
}

unsigned writes_waiting(struct writes *ws)
{
    return atomic_load_explicit(&ws->results_len, memory_order_relaxed);
}

bool writes_some(struct writes *ws)
{
    bool some;

    pthread_mutex_lock(&ws->lock);
    some = ws->lines != NULL;
    pthread_mutex_unlock(&ws->lock);
    return some;
}

/* ---- one write ---- */

static size_t weight(size_t key_len, size_t value_len)
{
    return sizeof(struct write) + sizeof(struct line) + key_len + value_len;
}

static size_t weight_of(const struct write *w)
{
    return weight(w->line->key_len, w->value != NULL ? w->value->capacity : 0);
}

static void write_free(struct write **write)
{
    struct write *w = *write;

    *write = NULL;
    if (w == NULL)
        return;
    blob_unpin(&w->value);
    origin_unpin(&w->job.origin);
    free(w);
}

static void on_written(struct job *job, const struct answer *answer);

/* Without its origin's pin. */
static struct write *write_new(struct writes *ws, const struct wanted_write *wanted)
{
    struct write *w = calloc(1, sizeof *w);

    if (w == NULL)
        return NULL;
    if (wanted->kind == CALL_SET && (w->value = blob_new(wanted->value.len)) == NULL) {
        free(w);
        return NULL;
    }
    if (wanted->value.len > 0 && w->value != NULL)
        memcpy(w->value->data, wanted->value.data, wanted->value.len);
    w->writes = ws;
    w->expires = wanted->expires;
    w->job.call.kind = wanted->kind;
    w->job.ended = on_written;
    return w;
}

static struct line *line_new(const struct key *key)
{
    struct line *l = calloc(1, sizeof *l + 1 + key->len);

    if (l == NULL)
        return NULL;
    l->key_len = 1 + key->len;
    l->key[0] = key->db;
    if (key->len > 0)
        memcpy(l->key + 1, key->data, key->len);
    return l;
}

static struct slice name_of(const struct line *l)
{
    return (struct slice){l->key + 1, l->key_len - 1};
}

/* Under the lock: the key's line, `fresh` if it has none yet. NULL when memory is short. */
static struct line *line_of(struct writes *ws, struct line **fresh)
{
    struct line *l = NULL;

    HASH_FIND(hh, ws->lines, (*fresh)->key, (*fresh)->key_len, l);
    if (l != NULL)
        return l;
    l = *fresh;
    HASH_ADD(hh, ws->lines, key, l->key_len, l);
    if (l->hh.tbl == NULL)
        return NULL;
    *fresh = NULL;
    return l;
}

/* Under the lock: its first write is to be begun. */
static void announce(struct writes *ws, struct line *l)
{
    CHECK(!l->is_new);
    l->is_new = true;
    l->next_new = NULL;
    if (ws->new_last != NULL)
        ws->new_last->next_new = l;
    else
        ws->new = l;
    ws->new_last = l;
}

static void append(struct writes *ws, struct line *l, struct write *w)
{
    w->line = l;
    w->next = NULL;
    if (l->last != NULL) {
        l->last->next = w;
    } else {
        l->first = w;
        announce(ws, l);
    }
    l->last = w;
    if (w->who == 0)
        atomic_fetch_add_explicit(&ws->bytes, weight_of(w), memory_order_relaxed);
}

/* ---- storing here what the origin has ---- */

static struct store_value value_of(const struct write *w, instant now)
{
    const struct origin_rule *rule = &w->job.origin->rule;
    struct store_value value = {.head = {w->value->data, w->value->capacity},
                                .expires = w->expires,
                                .backing = w->value->capacity >= STORE_WRITES_TOGETHER ? w->value : NULL};

    if (value.expires.ms == 0 && rule->ttl_s > 0)
        value.expires = after(now, (span){(int64_t)rule->ttl_s * 1000});
    if (value.expires.ms != 0)
        value.herd.grace_ms = (uint32_t)rule->grace_ms;
    return value;
}

/* In the key's open edit. */
static enum store_status put_here(const struct write *w, struct store_edit *edit)
{
    struct store_value value;

    if (w->job.call.kind == CALL_DELETE) {
        store_edit_drop(edit);
        return STORE_OK;
    }
    value = value_of(w, edit->now);
    return store_edit_put(edit, &value);
}

/* keep: what was written; else whatever is here goes. */
static void settle_here(struct write *w, bool keep)
{
    struct server *server = w->writes->origins->server;
    struct key key = store_key_in(server->store, w->line->key[0], name_of(w->line));
    struct store_edit edit;

    gate_visit(server->gate);
    store_edit_begin(server->store, w->writes->origins->local, &key, clock_now(), &edit);
    if (!keep || put_here(w, &edit) != STORE_OK)
        store_edit_drop(&edit); /* the origin has it: it is fetched when it is asked for */
    store_edit_end(&edit);
    gate_depart(server->gate);
}

/* ---- a write has ended ---- */

static struct result *find_result(struct writes *ws, post_address who)
{
    struct result *r = NULL;

    HASH_FIND(hh, ws->results, &who, sizeof who, r);
    return r;
}

/* Under the lock. True: the client is to be woken. */
static bool note_result(struct write *w, const struct answer *answer)
{
    struct result *r = find_result(w->writes, w->who);

    if (r == NULL || r->request != w->request)
        return false; /* it has gone meanwhile, or was told before the end and waits for another */
    r->result.left--;
    r->result.existed += answer->kind == ANSWER_DONE && answer->existed;
    if (answer->kind != ANSWER_DONE && !r->result.failed) {
        r->result.failed = true;
        snprintf(r->result.why, sizeof r->result.why, "%s", answer->why);
        snprintf(r->result.shown, sizeof r->result.shown, "%s", w->job.origin->rule.shown);
    }
    return r->result.left == 0;
}

/* Under the lock: the next of the key's is begun. */
static void take_off(struct write *w)
{
    struct writes *ws = w->writes;
    struct line *l = w->line;

    CHECK(l->first == w);
    if (w->who == 0)
        atomic_fetch_sub_explicit(&ws->bytes, weight_of(w), memory_order_relaxed);
    l->first = w->next;
    if (l->first != NULL) {
        announce(ws, l);
        return;
    }
    HASH_DEL(ws->lines, l);
    free(l);
}

static bool is_newest(struct write *w)
{
    bool newest;

    pthread_mutex_lock(&w->writes->lock);
    newest = w->next == NULL;
    pthread_mutex_unlock(&w->writes->lock);
    return newest;
}

static void lose(struct write *w, const char *why)
{
    struct slice name = name_of(w->line);

    if (is_newest(w))
        settle_here(w, false); /* what is here the origin does not have */

    origin_count(w->job.origin, writes_lost);
    log_event(LOG_LEVEL_WARNING, "origin_write_lost", "origin=%s key=\"%.*s\" reason=\"%s\"",
              w->job.origin->rule.shown, name.len < 200 ? (int)name.len : 200, (const char *)name.data, why);
}

static void on_written(struct job *job, const struct answer *answer)
{
    struct write *w = (struct write *)job;
    struct writes *ws = w->writes;
    post_address who = w->who;
    bool done = answer->kind == ANSWER_DONE, wake;

    if (done)
        origin_count(w->job.origin, writes);
    if (who != 0)
        settle_here(w, done);
    else if (!done)
        lose(w, answer->why);
    pthread_mutex_lock(&ws->lock);
    wake = who != 0 && note_result(w, answer);
    take_off(w);
    pthread_mutex_unlock(&ws->lock);
    write_free(&w);
    if (wake)
        post_to(ws->origins->server, LETTER_WAKE, NULL, 0, &who, 1);
}

/* ---- workers: through ---- */

static void free_all(struct write **made, struct line **fresh, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (made[i] != NULL)
            made[i]->job.origin = NULL; /* the pin is still the caller's */
        write_free(&made[i]);
        free(fresh[i]);
    }
    free(made);
    free(fresh);
}

static struct result *result_new(post_address who, size_t n)
{
    struct result *r = calloc(1, sizeof *r);

    if (r == NULL)
        return NULL;
    r->who = who;
    r->result.left = (unsigned)n;
    return r;
}

/* Under the lock. False when memory is short. */
static bool add_result(struct writes *ws, struct result *r)
{
    if (HASH_COUNT(ws->results) >= RESULTS_MAX)
        return false;
    r->request = ++ws->requests;
    HASH_ADD(hh, ws->results, who, sizeof r->who, r);
    if (r->hh.tbl == NULL)
        return false;
    atomic_fetch_add_explicit(&ws->results_len, 1, memory_order_relaxed);
    return true;
}

/* Under the lock. Appending needs no memory but the line's, so a line that cannot be
 * had is found out before anything is appended. */
static bool add_all(struct writes *ws, struct write **made, struct line **fresh, size_t n, struct result *r)
{
    struct line **lines = calloc(n, sizeof *lines);
    bool good = lines != NULL && add_result(ws, r);

    for (size_t i = 0; good && i < n; i++)
        good = (lines[i] = line_of(ws, &fresh[i])) != NULL;
    for (size_t i = 0; good && i < n; i++) {
        made[i]->request = r->request;
        append(ws, lines[i], made[i]);
    }
    if (!good && lines != NULL) {
        for (size_t i = 0; i < n && lines[i] != NULL; i++) {
            if (lines[i]->first != NULL || fresh[i] != NULL)
                continue;
            HASH_DEL(ws->lines, lines[i]); /* which was made for this */
            fresh[i] = lines[i];
        }
        if (r->hh.tbl != NULL) {
            HASH_DEL(ws->results, r);
            atomic_fetch_sub_explicit(&ws->results_len, 1, memory_order_relaxed);
        }
    }
    free(lines);
    return good;
}

bool writes_through(struct writes *ws, post_address who, const struct key *keys,
                    struct origin *const *origins, size_t n, const struct wanted_write *wanted)
{
    struct write **made = calloc(n, sizeof *made);
    struct line **fresh = calloc(n, sizeof *fresh);
    struct result *r = result_new(who, n);
    bool good = made != NULL && fresh != NULL && r != NULL;

    for (size_t i = 0; good && i < n; i++) {
        made[i] = write_new(ws, wanted);
        fresh[i] = line_new(&keys[i]);
        good = made[i] != NULL && fresh[i] != NULL;
        if (made[i] == NULL)
            continue;
        made[i]->job.origin = origins[i];
        made[i]->who = who;
    }
    if (good) {
        pthread_mutex_lock(&ws->lock);
        good = add_all(ws, made, fresh, n, r);
        pthread_mutex_unlock(&ws->lock);
    }
    if (good) {
        for (size_t i = 0; i < n; i++)
            free(fresh[i]);
        free(made);
        free(fresh);
        origins_wake_thread(ws->origins);
        return true;
    }
    if (made != NULL && fresh != NULL) {
        free_all(made, fresh, n);
    } else {
        free(made);
        free(fresh);
    }
    free(r);
    return false;
}

bool writes_result(struct writes *ws, post_address who, struct write_result *out)
{
    struct result *r;

    pthread_mutex_lock(&ws->lock);
    r = find_result(ws, who);
    if (r != NULL)
        *out = r->result;
    pthread_mutex_unlock(&ws->lock);
    return r != NULL;
}

void writes_forget(struct writes *ws, post_address who)
{
    struct result *r;

    if (writes_waiting(ws) == 0)
        return; /* the one of `who` would be seen: his own worker added it */
    pthread_mutex_lock(&ws->lock);
    r = find_result(ws, who);
    if (r != NULL)
        remove_result(ws, r);
    pthread_mutex_unlock(&ws->lock);
}

/* ---- workers: behind ---- */

static bool reserve_bytes(struct writes *ws, const struct options *options, size_t bytes)
{
    uint64_t limit = option_live(options, origin_write_queue_limit);

    return writes_bytes(ws) + bytes <= limit;
}

/* One that waits and was not begun is replaced: the origin need not see it. */
static void append_or_replace(struct writes *ws, struct line *l, struct write **write)
{
    struct write *w = *write, *last = l->last;
    struct origin *before = last != NULL ? last->job.origin : NULL;

    if (last == NULL || last == l->first || last->who != 0) {
        append(ws, l, w);
        *write = NULL;
        return;
    }
    atomic_fetch_sub_explicit(&ws->bytes, weight_of(last), memory_order_relaxed);
    blob_unpin(&last->value);
    last->value = w->value;
    w->value = NULL;
    last->job.call.kind = w->job.call.kind;
    last->expires = w->expires;
    last->job.origin = w->job.origin; /* the rules may have been changed in between */
    w->job.origin = before;
    atomic_fetch_add_explicit(&ws->bytes, weight_of(last), memory_order_relaxed);
    origin_count(last->job.origin, writes_coalesced);
}

/* In the key's open edit, so that what is stored last here is sent last, too. */
static enum behind write_within(struct writes *ws, struct store_edit *edit, struct write **write,
                                struct line **fresh, enum store_status *why)
{
    struct line *l;

    if ((*why = put_here(*write, edit)) != STORE_OK)
        return BEHIND_NOT_STORED;
    pthread_mutex_lock(&ws->lock);
    if ((l = line_of(ws, fresh)) != NULL)
        append_or_replace(ws, l, write);
    pthread_mutex_unlock(&ws->lock);
    if (l != NULL)
        return BEHIND_ACCEPTED;
    store_edit_drop(edit); /* the client is told that it was not written */
    return BEHIND_NO_MEMORY;
}

enum behind writes_behind(struct writes *ws, struct exec *x, const struct key *key, struct origin *o,
                          const struct wanted_write *wanted, enum store_status *why, bool *found)
{
    struct write *w;
    struct line *fresh;
    struct store_edit edit;
    enum behind done;

    if (!reserve_bytes(ws, x->options, weight(key->len, wanted->value.len)))
        return BEHIND_FULL;
    w = write_new(ws, wanted);
    fresh = line_new(key);
    if (w == NULL || fresh == NULL) {
        write_free(&w);
        free(fresh);
        return BEHIND_NO_MEMORY;
    }
    w->job.patient = true;
    w->job.origin = o;
    origin_pin(o);
    store_edit_begin(x->store, x->local, key, x->now, &edit);
    *found = edit.found && state_exists(edit.state);
    done = write_within(ws, &edit, &w, &fresh, why);
    store_edit_end(&edit);
    write_free(&w);
    free(fresh);
    if (done == BEHIND_ACCEPTED)
        origins_wake_thread(ws->origins);
    return done;
}

/* ---- the thread ---- */

static void begin(struct write *w)
{
    struct call *call = &w->job.call;

    call->key = name_of(w->line);
    call->ttl_ms = 0;
    if (w->value != NULL)
        call->value = (struct slice){w->value->data, w->value->capacity};
    if (w->expires.ms != 0) {
        call->ttl_ms = since(w->expires, clock_now()).ms;
        if (call->ttl_ms <= 0)
            call->ttl_ms = 1; /* it is over: let it be so there as well */
    }
    origin_begin(&w->job);
}

void writes_pump(struct writes *ws)
{
    for (;;) {
        struct write *w = NULL;
        struct line *l;

        pthread_mutex_lock(&ws->lock);
        if ((l = ws->new) != NULL) {
            ws->new = l->next_new;
            if (ws->new == NULL)
                ws->new_last = NULL;
            l->is_new = false;
            w = l->first;
        }
        pthread_mutex_unlock(&ws->lock);
        if (w == NULL)
            return;
        begin(w);
    }
}

bool writes_hold(struct writes *ws, const struct key *key)
{
    struct line *like, *l = NULL;

    if (writes_bytes(ws) == 0 || (like = line_new(key)) == NULL)
        return false;
    pthread_mutex_lock(&ws->lock);
    HASH_FIND(hh, ws->lines, like->key, like->key_len, l);
    bool hold = l != NULL && l->last->who == 0;
    pthread_mutex_unlock(&ws->lock);
    free(like);
    return hold;
}

bool writes_answer(struct writes *ws, struct fetch *f)
{
    struct key key = {.data = f->name, .len = (uint32_t)f->len, .db = f->db};
    struct line *like, *l = NULL;
    struct answer answer = {.kind = ANSWER_ABSENT};
    struct blob *value = NULL;

    if (writes_bytes(ws) == 0 || (like = line_new(&key)) == NULL)
        return false;
    pthread_mutex_lock(&ws->lock);
    HASH_FIND(hh, ws->lines, like->key, like->key_len, l);
    if (l != NULL && l->last->who != 0)
        l = NULL; /* through: nobody has been told yet, so what the origin has is right */
    if (l != NULL && (value = l->last->value) != NULL)
        blob_pin(value);
    if (l != NULL && l->last->expires.ms != 0) {
        answer.has_max_age = true;
        answer.max_age_s = since(l->last->expires, clock_now()).ms / SECOND_MS;
    }
    pthread_mutex_unlock(&ws->lock);
    free(like);
    if (l == NULL)
        return false;
    if (value != NULL) {
        answer.kind = ANSWER_VALUE;
        answer.value = (struct slice){value->data, value->capacity};
    }
    origins_settle(f, &answer);
    blob_unpin(&value);
    return true;
}

void writes_give_up(struct writes *ws)
{
    uint64_t lost = 0;

    writes_pump(ws);
    for (;;) {
        struct write *w;

        pthread_mutex_lock(&ws->lock);
        w = ws->lines != NULL ? ws->lines->first : NULL;
        pthread_mutex_unlock(&ws->lock);
        if (w == NULL)
            break;
        lost += w->who == 0;
        job_give_up(&w->job, "the node stops");
        writes_pump(ws);
    }
    if (lost > 0)
        log_event(LOG_LEVEL_WARNING, "origin_writes_left", "writes=%llu: shutdown-timeout is over",
                  (unsigned long long)lost);
}
