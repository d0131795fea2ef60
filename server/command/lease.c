/* lease.c - the lease commands of RESP: GETLEASE, SETLEASE, INVALIDATE.
 *
 * What the states mean is herd/lease.h's; docs/HERDS.md tells clients. A value
 * that needs no lease is answered from a peek, like GET's. Everything else goes
 * through an edit, in which the answer is written too: who holds the lease and
 * what is kept must be of one moment. */
#include "server/command/command.h"
#include "server/command/arguments.h"
#include "server/command/value.h"
#include "server/herd/herd.h"

/* ---- GETLEASE ---- */

struct lease_question {
    bool takes_stale;
    uint32_t wait_ms; /* 0: do not wait */
};

/* WAIT ms, STALE, in any order. False: answered with what is wrong. */
static bool read_question(struct exec *x, const struct request *rq, struct lease_question *q)
{
    *q = (struct lease_question){0};
    for (uint32_t i = 2; i < rq->argc; i++) {
        if (slice_is(rq->argv[i], "stale")) {
            q->takes_stale = true;
        } else if (slice_is(rq->argv[i], "wait") && i + 1 < rq->argc) {
            if (!read_span_ms(x, "getlease", "wait", rq->argv[++i], 0, &q->wait_ms))
                return false;
        } else {
            reply_syntax_error(x);
            return false;
        }
    }
    return true;
}

static void open_answer(struct exec *x, const char *state)
{
    reply_map(x, 4);
    reply_text(x, "state");
    reply_text(x, state);
    reply_text(x, "value");
}

static void close_answer(struct exec *x, uint64_t token, int64_t lease_ms)
{
    reply_text(x, "token");
    reply_integer(x, (int64_t)token);
    reply_text(x, "lease-ms");
    reply_integer(x, lease_ms);
}

/* A value that is there and fresh, without a lock. */
static bool answer_live(struct exec *x, const struct key *key)
{
    size_t mark = out_mark(x->out);
    struct store_peek peek;

    for (;; out_rollback(x->out, mark)) {
        switch (store_peek(x->store, x->local, key, x->now, !x->no_touch, &peek)) {
        case PEEK_MISS: return false;
        case PEEK_HIT:
            open_answer(x, "live");
            reply_racy_bulk(x, peek.value, peek.len);
            close_answer(x, 0, 0);
            if (!store_peek_ok(&peek))
                continue;
            if (state_shows(peek.state))
                return true;
            out_rollback(x->out, mark);
            return false;
        case PEEK_BLOB:
            if (!state_shows(peek.state)) {
                blob_unpin(&peek.blob);
                return false;
            }
            open_answer(x, "live");
            reply_bulk_blob(x, peek.blob, (struct slice){peek.value, peek.len});
            close_answer(x, 0, 0);
            return true;
        }
    }
}

/* The value that is kept, if the client takes stale ones; else null. */
static void reply_kept(struct exec *x, const struct key *key, const struct lease_question *q,
                       const struct store_edit *edit)
{
    if (!q->takes_stale || lease_state(edit) != LEASE_STALE) {
        reply_null(x);
        return;
    }
    reply_edited(x, edit);
    herd_note_stale_served(x, (struct slice){key->data, key->len});
}

/* The key is absent, pending or stale, and its lease was free. Without memory
 * for one the client is sent to the origin all the same, with a token that
 * stores nothing: a miss that cannot be filled is better than an error. */
static void reply_granted(struct exec *x, const struct key *key, const struct lease_question *q,
                          const struct store_edit *edit, uint64_t token)
{
    open_answer(x, "granted");
    reply_kept(x, key, q, edit);
    close_answer(x, token, token != 0 ? edit->herd.length_ms : 0);
}

static void reply_held(struct exec *x, const struct key *key, const struct lease_question *q,
                       const struct store_edit *edit)
{
    bool stale = q->takes_stale && lease_state(edit) == LEASE_STALE;

    open_answer(x, stale ? "stale" : "filling");
    reply_kept(x, key, q, edit);
    close_answer(x, 0, since(lease_end(edit), edit->now).ms);
}

/* False: the client waits, and nothing was written. */
static bool answer_edit(struct exec *x, const struct key *key, const struct lease_question *q,
                        struct store_edit *edit)
{
    uint64_t token = 0;

    switch (lease_state(edit)) {
    case LEASE_LIVE: /* it came since the peek */
        open_answer(x, "live");
        reply_edited(x, edit);
        close_answer(x, 0, 0);
        return true;
    case LEASE_NEGATIVE:
        open_answer(x, "negative");
        reply_null(x);
        close_answer(x, 0, 0);
        return true;
    case LEASE_ABSENT:
    case LEASE_PENDING:
    case LEASE_STALE: break;
    }
    if (lease_is_out(edit)) {
        if (q->wait_ms != 0 && herd_wait(x, edit, q->wait_ms))
            return false;
        reply_held(x, key, q, edit);
        return true;
    }
    (void)herd_take(x, edit, &token); /* without memory for a lease the token stays 0 */
    reply_granted(x, key, q, edit, token);
    return true;
}

void cmd_getlease(struct exec *x, struct request *rq)
{
    struct key key = exec_key(x, rq, 1);
    struct lease_question q;
    struct store_edit edit;
    bool answered, hit, expired;

    if (!read_question(x, rq, &q))
        return;
    if (answer_live(x, &key)) {
        count_lookup(x, true, false);
        return;
    }
    store_edit_begin(x->store, x->local, &key, x->now, &edit);
    if (refuse_filter(x, &edit))
        return;
    hit = edit_shows(&edit);
    expired = edit.expired;
    answered = answer_edit(x, &key, &q, &edit);
    store_edit_end(&edit);
    if (answered)
        count_lookup(x, hit, expired);
}

/* ---- SETLEASE ---- */

/* When a negative entry ends: when the client says, but no later than the option. */
static instant negative_expiry(const struct exec *x, instant asked)
{
    instant last = after(x->now, (span){option_live(x->options, herd_negative_max_ms)});

    return asked.ms != 0 && is_before(asked, last) ? asked : last;
}

static const struct {
    const char *word;
    struct moment_form form;
} moments[] = {
    {"ex", {.in_seconds = true}},
    {"px", {0}},
    {"exat", {.in_seconds = true, .absolute = true}},
    {"pxat", {.absolute = true}},
};

/* The words behind the value, as they stand. */
struct fill_options {
    const struct moment_form *form; /* NULL: no expiry */
    struct slice moment;
    bool has_grace, negative;
    struct slice grace;
};

/* How many words the option at argument i takes; 0 when it is none, or contradicts one before. */
static uint32_t read_fill_option(const struct request *rq, uint32_t i, struct fill_options *o)
{
    struct slice word = rq->argv[i];

    if (slice_is(word, "negative")) {
        o->negative = true;
        return 1;
    }
    if (i + 1 == rq->argc)
        return 0;
    if (slice_is(word, "grace")) {
        o->has_grace = true;
        o->grace = rq->argv[i + 1];
        return 2;
    }
    for (size_t m = 0; m < sizeof moments / sizeof *moments; m++) {
        if (!slice_is(word, moments[m].word))
            continue;
        if (o->form != NULL && o->form != &moments[m].form)
            return 0;
        o->form = &moments[m].form;
        o->moment = rq->argv[i + 1];
        return 2;
    }
    return 0;
}

/* A grace counts from an expiry, and what is negative has nothing to show in it. */
static bool read_fill_options(const struct request *rq, struct fill_options *o)
{
    *o = (struct fill_options){0};
    for (uint32_t i = 4; i < rq->argc;) {
        uint32_t words = read_fill_option(rq, i, o);

        if (words == 0)
            return false;
        i += words;
    }
    return !o->has_grace || (o->form != NULL && !o->negative);
}

/* False: answered with what is wrong. */
static bool read_fill(struct exec *x, const struct request *rq, struct store_value *value)
{
    struct fill_options o;

    if (!read_fill_options(rq, &o)) {
        reply_syntax_error(x);
        return false;
    }
    if (o.form != NULL && !read_expiry(x, "setlease", o.moment, *o.form, &value->expires))
        return false;
    if (o.has_grace && !read_span_ms(x, "setlease", "grace", o.grace, 1, &value->herd.grace_ms))
        return false;
    if (o.negative) {
        value->head = slice_of("");
        value->state = ITEM_NEGATIVE;
        value->expires = negative_expiry(x, value->expires);
    }
    return true;
}

void cmd_setlease(struct exec *x, struct request *rq)
{
    struct store_value value = {.head = rq->argv[3], .backing = x->backing};
    struct key key = exec_key(x, rq, 1);
    enum store_status why = STORE_OK;
    struct store_edit edit;
    enum lease_fill fill;
    uint32_t took_ms = 0;
    int64_t token;

    if (!slice_to_i64(rq->argv[2], &token)) {
        reply_not_integer(x);
        return;
    }
    if (!read_fill(x, rq, &value))
        return;
    store_edit_begin(x->store, x->local, &key, x->now, &edit);
    fill = lease_fill(&edit, (uint64_t)token, value, &why, &took_ms);
    if (fill == FILL_REFUSED)
        lease_give_back(&edit, (uint64_t)token); /* nobody shall wait for it any longer */
    store_edit_end(&edit);
    switch (fill) {
    case FILL_STORED:
        herd_note_filled(x, rq->argv[1], took_ms);
        reply_ok(x);
        return;
    case FILL_LATE:
    case FILL_LATE_STALE:
        herd_note_late(x, rq->argv[1]);
        reply_null(x);
        return;
    case FILL_REFUSED: reply_store_refused(x, why); return;
    }
}

void lease_give_up(struct exec *x, const struct key *key, struct slice word)
{
    struct store_edit edit;
    int64_t token;

    if (!slice_to_i64(word, &token))
        return;
    store_edit_begin(x->store, x->local, key, x->now, &edit);
    lease_give_back(&edit, (uint64_t)token);
    store_edit_end(&edit);
}

/* ---- INVALIDATE ---- */

void cmd_invalidate(struct exec *x, struct request *rq)
{
    uint32_t grace_ms = (uint32_t)option_live(x->options, herd_grace_ms);
    struct key keys[KEYS_AT_ONCE];
    struct store_edit edit;
    int64_t there = 0;

    for (uint32_t i = 1; i < rq->argc;) {
        uint32_t n = fetch_keys(x, rq, i, 1, keys);

        for (uint32_t k = 0; k < n; k++) {
            store_edit_begin(x->store, x->local, &keys[k], x->now, &edit);
            there += edit_exists(&edit);
            lease_invalidate(&edit, grace_ms); /* also what does not show: that voids its fill */
            store_edit_end(&edit);
        }
        i += n;
    }
    reply_integer(x, there);
}
