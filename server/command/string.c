/* string.c - the commands that read and write values.
 *
 * Rules: (1) every command is atomic per key: whatever it reads and writes
 * there happens in one edit; (2) SET and its relatives make a new item, so they
 * forget the old one's expiry, memcached flags and herd state; INCR and APPEND
 * change an item, so they keep its expiry and flags; (3) a write that is
 * refused leaves the old value and answers nothing but the error.
 *
 * Commands of several keys are not isolated: between two keys of an MSET,
 * MGET or DEL another client may read or write. Locking many shards at once
 * would make every such command wait for the slowest, which no cache user has
 * asked for. Who needs it says MULTI, and pays for it with everybody's time. */
#include "server/command/command.h"
#include "server/command/arguments.h"
#include "server/cluster/several.h"
#include "server/command/value.h"
#include "server/herd/protect.h"

/* ---- reading ---- */

void cmd_get(struct exec *x, struct request *rq)
{
    struct key key = exec_key(x, rq, 1);

    reply_value_of(x, &key);
}

void cmd_mget(struct exec *x, struct request *rq)
{
    struct protect_several several;
    struct key keys[KEYS_AT_ONCE];

    protect_begin(x, &several);
    reply_array(x, rq->argc - 1 + (x->gathered != NULL ? several_elsewhere(x) : 0));
    for (uint32_t i = 1; i < rq->argc;) {
        uint32_t n = fetch_keys(x, rq, i, 1, keys);

        for (uint32_t k = 0; k < n && x->session->parked == PARK_NOT; k++) {
            if (x->gathered != NULL)
                several_before(x);
            reply_value_of(x, &keys[k]);
        }
        i += x->session->parked == PARK_NOT ? n : rq->argc;
    }
    if (x->gathered != NULL && x->session->parked == PARK_NOT)
        several_rest(x);
    protect_end(x, &several);
}

void cmd_strlen(struct exec *x, struct request *rq)
{
    struct key key = exec_key(x, rq, 1);
    struct store_peek found;
    bool there = look_at_key(x, &key, true, &found);

    if (there && state_is_filter(found.state))
        reply_wrong_type(x);
    else
        reply_integer(x, there ? found.len : 0);
}

/* ---- options of SET and GETEX ---- */

enum set_when { SET_ALWAYS, SET_IF_ABSENT, SET_IF_PRESENT, SET_IF_EQUAL };
enum ttl_option { TTL_UNSAID, TTL_EX, TTL_PX, TTL_EXAT, TTL_PXAT, TTL_KEEP, TTL_PERSIST };

struct value_options {
    enum set_when when;
    enum ttl_option ttl;
    bool get;
    struct slice moment;   /* of EX, PX, EXAT, PXAT */
    struct slice expected; /* of IFEQ */
    bool has_grace;
    struct slice grace; /* of GRACE */
    uint32_t grace_ms;
};

static const struct {
    const char *word;
    enum ttl_option ttl;
    bool takes_moment, of_set, of_getex;
} ttl_words[] = {
    {"ex", TTL_EX, true, true, true},          {"px", TTL_PX, true, true, true},
    {"exat", TTL_EXAT, true, true, true},      {"pxat", TTL_PXAT, true, true, true},
    {"keepttl", TTL_KEEP, false, true, false}, {"persist", TTL_PERSIST, false, false, true},
};

static struct moment_form form_of(enum ttl_option ttl)
{
    return (struct moment_form){.in_seconds = ttl == TTL_EX || ttl == TTL_EXAT,
                                .absolute = ttl == TTL_EXAT || ttl == TTL_PXAT};
}

static bool names_moment(enum ttl_option ttl)
{
    return ttl >= TTL_EX && ttl <= TTL_PXAT;
}

/* Reads an option about the time to live at argument i; returns how many words
 * it took, 0 when it is none or contradicts one before. Repeating one is fine:
 * the last counts, as in redis. */
static uint32_t read_ttl_option(const struct request *rq, uint32_t i, bool of_set,
                                struct value_options *options)
{
    for (size_t w = 0; w < sizeof ttl_words / sizeof *ttl_words; w++) {
        if (!(of_set ? ttl_words[w].of_set : ttl_words[w].of_getex) ||
            !slice_is(rq->argv[i], ttl_words[w].word))
            continue;
        if (options->ttl != TTL_UNSAID && options->ttl != ttl_words[w].ttl)
            return 0;
        if (!ttl_words[w].takes_moment) {
            options->ttl = ttl_words[w].ttl;
            return 1;
        }
        if (i + 1 >= rq->argc)
            return 0;
        options->ttl = ttl_words[w].ttl;
        options->moment = rq->argv[i + 1];
        return 2;
    }
    return 0;
}

/* The same for GET, GRACE and the conditions of SET. */
static uint32_t read_set_option(const struct request *rq, uint32_t i, struct value_options *options)
{
    struct slice word = rq->argv[i];
    enum set_when when;

    if (slice_is(word, "get")) {
        options->get = true;
        return 1;
    }
    if (slice_is(word, "grace") && i + 1 < rq->argc) { /* not redis's; see HERDS.md */
        options->has_grace = true;
        options->grace = rq->argv[i + 1];
        return 2;
    }
    if (slice_is(word, "nx"))
        when = SET_IF_ABSENT;
    else if (slice_is(word, "xx"))
        when = SET_IF_PRESENT;
    else if (slice_is(word, "ifeq") && i + 1 < rq->argc)
        when = SET_IF_EQUAL;
    else
        return 0;
    if (options->when != SET_ALWAYS && options->when != when)
        return 0;
    options->when = when;
    if (when != SET_IF_EQUAL)
        return 1;
    options->expected = rq->argv[i + 1];
    return 2;
}

/* Only what ends has a grace after its end. With KEEPTTL that is known when
 * the item is: one that has no expiry to keep gets no grace either. */
static bool grace_fits(const struct value_options *options)
{
    return !options->has_grace || names_moment(options->ttl) || options->ttl == TTL_KEEP;
}

/* False: answered with a syntax error. */
static bool read_options(struct exec *x, const struct request *rq, uint32_t from, bool of_set,
                         struct value_options *options)
{
    *options = (struct value_options){0};
    for (uint32_t i = from; i < rq->argc;) {
        uint32_t words = read_ttl_option(rq, i, of_set, options);

        if (words == 0 && of_set)
            words = read_set_option(rq, i, options);
        if (words == 0) {
            reply_syntax_error(x);
            return false;
        }
        i += words;
    }
    if (!grace_fits(options)) {
        reply_syntax_error(x);
        return false;
    }
    return true;
}

/* ---- writing ---- */

/* Stores unconditionally: the whole of a plain SET. */
static enum store_status set_value(struct exec *x, const struct key *key, struct slice value, instant expires)
{
    struct store_value item = {.head = value, .expires = expires, .sets_expiry = true, .backing = x->backing};
    struct store_edit edit;
    enum store_status status;

    store_edit_begin(x->store, x->local, key, x->now, &edit);
    status = protect_is_late(x, &edit, value) ? STORE_LATE : store_edit_put(&edit, &item);
    if (status == STORE_TOO_BIG || status == STORE_NO_SPACE)
        protect_refused(x, &edit);
    store_edit_end(&edit);
    return status;
}

static void reply_stored(struct exec *x, enum store_status status)
{
    if (status == STORE_OK)
        reply_ok(x);
    else
        reply_store_refused(x, status);
}

static bool condition_holds(const struct value_options *options, const struct store_edit *edit)
{
    switch (options->when) {
    case SET_ALWAYS: return true;
    case SET_IF_ABSENT: return !edit_exists(edit);
    case SET_IF_PRESENT: return edit_exists(edit);
    case SET_IF_EQUAL: return edit_shows(edit) && slice_equals(edit->value, options->expected);
    }
    return false;
}

/* SET with a condition, GET, GRACE or KEEPTTL. The old value is answered from inside
 * the edit, before the new one replaces it; a refusal takes that answer back.
 * The price is copying under the shard's lock, paid only by who asks for it. */
static void set_carefully(struct exec *x, const struct key *key, struct slice value,
                          const struct value_options *options, instant expires)
{
    struct store_value item = {.head = value,
                               .expires = expires,
                               .sets_expiry = options->ttl != TTL_KEEP,
                               .backing = x->backing,
                               .herd.grace_ms = options->grace_ms};
    size_t mark = out_mark(x->out), pins = x->out->pins_len;
    enum store_status status = STORE_OK;
    struct store_edit edit;
    bool holds;

    store_edit_begin(x->store, x->local, key, x->now, &edit);
    if ((options->get || options->when == SET_IF_EQUAL) && refuse_filter(x, &edit))
        return;
    if (options->get) {
        if (edit_shows(&edit))
            reply_edited(x, &edit);
        else
            reply_null(x);
        count_lookup(x, edit_shows(&edit), edit.expired);
    }
    holds = condition_holds(options, &edit);
    if (holds) {
        if (options->ttl == TTL_KEEP && edit_exists(&edit))
            item.expires = edit.expires;
        status = protect_is_late(x, &edit, value) ? STORE_LATE : store_edit_put(&edit, &item);
        if (status == STORE_TOO_BIG || status == STORE_NO_SPACE)
            protect_refused(x, &edit);
    }
    store_edit_end(&edit);

    if (status == STORE_LATE && options->get)
        return; /* the old value is answered; there is no word for "not stored" */
    if (status != STORE_OK) {
        out_cut(x->out, mark, pins);
        reply_store_refused(x, status);
    } else if (options->get) {
        return;
    } else if (holds) {
        reply_ok(x);
    } else {
        reply_null(x);
    }
}

void cmd_set(struct exec *x, struct request *rq)
{
    struct key key = exec_key(x, rq, 1);
    struct value_options options;
    instant expires = {0};

    if (rq->argc == 3) {
        reply_stored(x, set_value(x, &key, rq->argv[2], expires));
        return;
    }
    if (!read_options(x, rq, 3, true, &options))
        return;
    if (names_moment(options.ttl) && !read_expiry(x, "set", options.moment, form_of(options.ttl), &expires))
        return;
    if (options.has_grace && !read_span_ms(x, "set", "grace", options.grace, 1, &options.grace_ms))
        return;
    if (options.when == SET_ALWAYS && !options.get && !options.has_grace && options.ttl != TTL_KEEP)
        reply_stored(x, set_value(x, &key, rq->argv[2], expires));
    else
        set_carefully(x, &key, rq->argv[2], &options, expires);
}

void cmd_setnx(struct exec *x, struct request *rq)
{
    struct key key = exec_key(x, rq, 1);
    struct store_value item = {.head = rq->argv[2], .backing = x->backing};
    enum store_status status = STORE_OK;
    struct store_edit edit;
    bool absent;

    store_edit_begin(x->store, x->local, &key, x->now, &edit);
    absent = !edit_exists(&edit) && !protect_is_late(x, &edit, rq->argv[2]);
    if (absent)
        status = store_edit_put(&edit, &item);
    store_edit_end(&edit);
    if (status == STORE_OK)
        reply_integer(x, absent);
    else
        reply_store_refused(x, status);
}

static void set_for_a_time(struct exec *x, struct request *rq, const char *command, enum ttl_option unit)
{
    struct key key = exec_key(x, rq, 1);
    instant expires;

    if (read_expiry(x, command, rq->argv[2], form_of(unit), &expires))
        reply_stored(x, set_value(x, &key, rq->argv[3], expires));
}

void cmd_setex(struct exec *x, struct request *rq)
{
    set_for_a_time(x, rq, "setex", TTL_EX);
}

void cmd_psetex(struct exec *x, struct request *rq)
{
    set_for_a_time(x, rq, "psetex", TTL_PX);
}

void cmd_getset(struct exec *x, struct request *rq)
{
    static const struct value_options get_old = {.get = true};
    struct key key = exec_key(x, rq, 1);

    set_carefully(x, &key, rq->argv[2], &get_old, (instant){0});
}

/* The first refusal ends it with an error; the pairs before it are stored, as
 * they would be for any reader who came in between (see the file's head). */
void cmd_mset(struct exec *x, struct request *rq)
{
    struct key keys[KEYS_AT_ONCE];
    enum store_status status = STORE_OK;

    if (rq->argc % 2 == 0) {
        reply_wrong_arity(x, "mset");
        return;
    }
    for (uint32_t i = 1; i < rq->argc && status == STORE_OK;) {
        uint32_t n = fetch_keys(x, rq, i, 2, keys);

        for (uint32_t k = 0; k < n && status == STORE_OK; k++) {
            status = set_value(x, &keys[k], rq->argv[i + 2 * k + 1], (instant){0});
            if (status == STORE_LATE)
                status = STORE_OK; /* MSET has no word for it; the counter does */
        }
        i += 2 * n;
    }
    reply_stored(x, status);
}

/* ---- reading and changing at once ---- */

void cmd_getdel(struct exec *x, struct request *rq)
{
    struct key key = exec_key(x, rq, 1);
    struct store_edit edit;

    store_edit_begin(x->store, x->local, &key, x->now, &edit);
    if (refuse_filter(x, &edit))
        return;
    count_lookup(x, edit_shows(&edit), edit.expired);
    if (edit_shows(&edit)) {
        reply_edited(x, &edit);
    } else {
        reply_null(x);
    }
    store_edit_drop(&edit); /* also what does not show: that voids its fill */
    store_edit_end(&edit);
}

void cmd_delifeq(struct exec *x, struct request *rq)
{
    struct key key = exec_key(x, rq, 1);
    struct store_edit edit;
    bool equal;

    store_edit_begin(x->store, x->local, &key, x->now, &edit);
    if (refuse_filter(x, &edit))
        return;
    equal = edit_shows(&edit) && slice_equals(edit.value, rq->argv[2]);
    if (equal)
        store_edit_drop(&edit);
    store_edit_end(&edit);
    reply_integer(x, equal);
}

/* Answers the value and gives the item the expiry that `options` ask for. A
 * missing key is answered before a senseless expiry is: redis's order. */
static void get_and_expire(struct exec *x, struct store_edit *edit, const struct value_options *options)
{
    size_t mark = out_mark(x->out), pins = x->out->pins_len;
    instant expires = {0};
    enum store_status status;

    count_lookup(x, edit_shows(edit), edit->expired);
    if (!edit_shows(edit)) {
        reply_null(x);
        return;
    }
    if (names_moment(options->ttl) &&
        !read_expiry(x, "getex", options->moment, form_of(options->ttl), &expires))
        return;
    store_edit_touch(edit);
    reply_edited(x, edit);
    status = store_edit_expire(edit, expires);
    if (status != STORE_OK) {
        out_cut(x->out, mark, pins);
        reply_store_refused(x, status);
    }
}

void cmd_getex(struct exec *x, struct request *rq)
{
    struct key key = exec_key(x, rq, 1);
    struct value_options options;
    struct store_edit edit;

    if (!read_options(x, rq, 2, false, &options))
        return;
    if (options.ttl == TTL_UNSAID) {
        reply_value_of(x, &key);
        return;
    }
    store_edit_begin(x->store, x->local, &key, x->now, &edit);
    if (refuse_filter(x, &edit))
        return;
    if (protect_on(x) && !edit_shows(&edit)) {
        store_edit_end(&edit);
        reply_value_of(x, &key); /* perhaps after a while, and then all of this is done again */
        return;
    }
    get_and_expire(x, &edit, &options);
    store_edit_end(&edit);
}

/* ---- counting ---- */

static void add_to_number(struct exec *x, struct request *rq, int64_t amount)
{
    struct key key = exec_key(x, rq, 1);
    struct store_value item = {0};
    enum store_status status;
    struct store_edit edit;
    int64_t number = 0;
    uint8_t text[20];

    store_edit_begin(x->store, x->local, &key, x->now, &edit);
    if (refuse_filter(x, &edit))
        return;
    if (edit_shows(&edit)) {
        item.flags = edit.flags;
        item.expires = edit.expires;
        item.key_binary = edit.key_binary;
        if (!slice_to_i64(edit.value, &number)) {
            store_edit_end(&edit);
            reply_not_integer(x);
            return;
        }
    }
    if (__builtin_add_overflow(number, amount, &number)) {
        store_edit_end(&edit);
        reply_error(x, "ERR increment or decrement would overflow");
        return;
    }
    item.head = (struct slice){text, i64_to_text(text, number)};
    status = store_edit_put(&edit, &item);
    store_edit_end(&edit);
    if (status == STORE_OK)
        reply_integer(x, number);
    else
        reply_store_refused(x, status);
}

void cmd_incr(struct exec *x, struct request *rq)
{
    add_to_number(x, rq, 1);
}

void cmd_decr(struct exec *x, struct request *rq)
{
    add_to_number(x, rq, -1);
}

void cmd_incrby(struct exec *x, struct request *rq)
{
    int64_t amount;

    if (slice_to_i64(rq->argv[2], &amount))
        add_to_number(x, rq, amount);
    else
        reply_not_integer(x);
}

void cmd_decrby(struct exec *x, struct request *rq)
{
    int64_t amount;

    if (!slice_to_i64(rq->argv[2], &amount))
        reply_not_integer(x);
    else if (amount == INT64_MIN) /* has no negative */
        reply_error(x, "ERR decrement would overflow");
    else
        add_to_number(x, rq, -amount);
}
