/* memcache_binary.c - what memcached's binary opcodes do.
 *
 * The deeds are those of the text commands; here is how they are asked for and
 * answered. Rules: (1) a quiet opcode says nothing when all went well (a quiet
 * get: when the key was not there), but every other failure is told; (2) a
 * packet whose parts do not suit its opcode is answered, and ends the
 * connection, since sender and server disagree about where packets begin; (3)
 * every answer that shows a value or changed one carries the item's cas, so
 * that an item read or loudly written this way has one from then on. */
#include "server/check.h"
#include "server/command/memcache.h"
#include "server/command/memcache_edit.h"
#include "server/herd/reads.h"
#include "server/memcache_auth.h"
#include "server/origin/origins.h"
#include "server/server.h"
#include "server/store/racy.h"

enum {
    STORE_EXTRAS = 8, /* flags, expiry */
    SUM_EXTRAS = 20,  /* delta, initial, expiry */
    TIME_EXTRAS = 4,
    FLAGS_EXTRAS = 4, /* in front of a value that is answered */
    DIGITS_MAX = 20,
};
#define NEVER_MAKE UINT32_MAX /* expiry of an increment that makes no counter */

/* ---- answers ---- */

static void reply_error_status(struct exec *x, const struct binary_header *h, enum binary_status status)
{
    out_commit(x->out, binary_put_error(out_room(x->out, BINARY_ERROR_ROOM), h, status));
}

static void reply_text_value(struct exec *x, const struct binary_header *h, const char *text)
{
    struct slice value = slice_of(text);
    uint8_t *p = out_room(x->out, BINARY_HEADER + value.len);

    p = binary_put_header(p, h, BINARY_OK, 0, 0, value.len, 0);
    memcpy(p, value.data, value.len);
    out_commit(x->out, p + value.len);
}

static void reply_done(struct exec *x, const struct binary_header *h, uint64_t cas)
{
    uint8_t *p = out_room(x->out, BINARY_HEADER);

    out_commit(x->out, binary_put_header(p, h, BINARY_OK, 0, 0, 0, cas));
}

static void refuse_and_close(struct exec *x, const struct binary_header *h, enum binary_status status)
{
    counter_add(x->counters, protocol_errors, 1);
    reply_error_status(x, h, status);
    x->session->close_after_reply = true;
}

/* ---- the opcodes ---- */

struct verb;
typedef void binary_handler(struct exec *x, struct request *rq, const struct binary_header *h,
                            const struct verb *verb);

enum verb_marks {
    QUIET = 1,
    WITH_KEY = 2,  /* the key comes back with the value, and with a miss */
    WITH_TIME = 4, /* touches, too */
    NO_VALUE = 8,  /* touches only */
    FOR_ALL = 16,  /* also for who has not given a password yet */
    KEY_NEEDED = 32,
    KEY_ALLOWED = 64,
    VALUE_TAKEN = 128,
};

struct verb {
    binary_handler *handler;
    uint8_t marks; /* enum verb_marks */
    uint8_t extras;
    uint8_t extras_or; /* another length that will do */
};

static const uint8_t *extras_of(const struct request *rq)
{
    return rq->argv[0].data + BINARY_HEADER;
}

/* ---- get, touch, gat ---- */

static void count_get(struct exec *x, bool hit)
{
    counter_add(x->counters, mc_cmd_get, 1);
    counter_add(x->counters, mc_get_hits, hit);
    counter_add(x->counters, mc_get_misses, !hit);
}

/* Header, flags and key, if it is asked for. */
static uint8_t *put_value_head(uint8_t *p, const struct binary_header *h, const struct verb *verb,
                               const struct key *key, const struct store_peek *peek)
{
    size_t key_len = verb->marks & WITH_KEY ? key->len : 0;

    p = binary_put_header(p, h, BINARY_OK, FLAGS_EXTRAS, key_len, peek->len, peek->cas);
    p = binary_put_u32(p, peek->flags);
    if (key_len > 0)
        memcpy(p, key->data, key_len);
    return p + key_len;
}

static void put_log_value(struct exec *x, const struct binary_header *h, const struct verb *verb,
                          const struct key *key, const struct store_peek *peek)
{
    uint8_t *p = out_room(x->out, BINARY_HEADER + FLAGS_EXTRAS + (size_t)key->len + peek->len);

    if (p == NULL)
        return;
    p = put_value_head(p, h, verb, key, peek);
    racy_read(p, peek->value, peek->len);
    out_commit(x->out, p + peek->len);
}

/* Takes over the peek's pin. */
static void put_blob_value(struct exec *x, const struct binary_header *h, const struct verb *verb,
                           const struct key *key, const struct store_peek *peek)
{
    uint8_t *p = out_room(x->out, BINARY_HEADER + FLAGS_EXTRAS + (size_t)key->len);

    out_commit(x->out, put_value_head(p, h, verb, key, peek));
    out_blob(x->out, peek->blob, (struct slice){peek->value, peek->len});
}

/* What an origin has for a key that is not there. */
static bool answer_instead(struct exec *x, const struct binary_header *h, const struct verb *verb,
                           const struct key *key)
{
    struct store_peek peek = {0};
    struct origin_gift gift;

    if (!x->instead || !origins_instead(x, key, &gift))
        return false;
    peek.blob = gift.blob;
    peek.value = gift.value.data;
    peek.len = (uint32_t)gift.value.len;
    peek.flags = gift.flags;
    put_blob_value(x, h, verb, key, &peek);
    return true;
}

/* What is in its grace, with the edit open. */
static void put_kept(struct exec *x, const struct binary_header *h, const struct verb *verb,
                     const struct key *key, const struct store_edit *edit)
{
    struct store_peek kept = {.value = edit->value.data,
                              .len = (uint32_t)edit->value.len,
                              .flags = edit->flags,
                              .cas = edit->cas,
                              .blob = edit->blob};

    if (kept.blob == NULL) {
        put_log_value(x, h, verb, key, &kept);
        return;
    }
    blob_pin(kept.blob);
    put_blob_value(x, h, verb, key, &kept);
}

enum found { FOUND_NOTHING, FOUND_ANSWERED, FOUND_RETRY };

/* There is nothing to show: unless a rule has the reader wait, or be given what is in its grace. */
static enum found answer_absent(struct exec *x, const struct binary_header *h, const struct verb *verb,
                                const struct key *key)
{
    struct store_edit edit;

    switch (reads_missed(x, key, &edit)) {
    case PROTECT_MISS:
    case PROTECT_PARKED: return FOUND_NOTHING;
    case PROTECT_RETRY: return FOUND_RETRY;
    case PROTECT_STALE:
        put_kept(x, h, verb, key, &edit);
        store_edit_end(&edit);
        return FOUND_ANSWERED;
    }
    CHECK_UNREACHABLE();
}

/* False on a miss. When memory is too short to give an item its first cas, it
 * is answered with none rather than not at all. */
static bool answer_value(struct exec *x, const struct binary_header *h, const struct verb *verb,
                         const struct key *key)
{
    size_t mark = out_mark(x->out);
    bool asked_for_cas = false;
    struct store_peek peek;
    enum found found;

    for (;; out_rollback(x->out, mark)) {
        enum peek_status status = store_peek(x->store, x->local, key, x->now, true, &peek);

        if (status == PEEK_MISS || __builtin_expect(reads_hide_place(x, key, peek.state), 0)) {
            found = answer_instead(x, h, verb, key) ? FOUND_ANSWERED : answer_absent(x, h, verb, key);
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
        if (peek.cas == 0 && !asked_for_cas) {
            if (status == PEEK_BLOB)
                blob_unpin(&peek.blob);
            memcache_give_cas(x, key);
            asked_for_cas = true;
            continue;
        }
        if (status == PEEK_BLOB) {
            put_blob_value(x, h, verb, key, &peek);
            return true;
        }
        put_log_value(x, h, verb, key, &peek);
        if (store_peek_ok(&peek))
            return true;
    }
}

static void answer_miss(struct exec *x, const struct binary_header *h, const struct verb *verb,
                        struct slice name)
{
    uint8_t *p;

    if (verb->marks & QUIET)
        return;
    if (!(verb->marks & WITH_KEY)) {
        reply_error_status(x, h, BINARY_NOT_FOUND);
        return;
    }
    p = out_room(x->out, BINARY_HEADER + name.len);
    p = binary_put_header(p, h, BINARY_NOT_FOUND, 0, name.len, 0, 0);
    memcpy(p, name.data, name.len);
    out_commit(x->out, p + name.len);
}

static void bin_get(struct exec *x, struct request *rq, const struct binary_header *h,
                    const struct verb *verb)
{
    struct key key = exec_key(x, rq, 1);
    bool hit = answer_value(x, h, verb, &key);

    if (x->session->parked != PARK_NOT)
        return;
    if (hit && verb->marks & WITH_TIME) {
        memcache_touch(x, &key, memcache_expiry(x->now, binary_u32(extras_of(rq))));
    } else if (verb->marks & WITH_TIME) {
        counter_add(x->counters, mc_cmd_touch, 1);
        counter_add(x->counters, mc_touch_misses, 1);
    } else {
        count_get(x, hit);
    }
    counter_add(x->counters, keyspace_hits, hit);
    counter_add(x->counters, keyspace_misses, !hit);
    if (!hit)
        answer_miss(x, h, verb, rq->argv[1]);
    if (prefixes_on(&x->server->prefixes))
        memcache_note(x, rq->argv[1], hit ? PREFIX_HIT : PREFIX_GET);
}

static void bin_touch(struct exec *x, struct request *rq, const struct binary_header *h,
                      const struct verb *verb)
{
    instant expires = memcache_expiry(x->now, binary_u32(extras_of(rq)));
    struct key key = exec_key(x, rq, 1);
    struct store_edit edit;
    bool found, refused;
    uint32_t flags;
    uint64_t cas;
    uint8_t *p;

    store_edit_begin(x->store, x->local, &key, x->now, &edit);
    found = memcache_finds(&edit);
    flags = edit.flags;
    cas = found ? store_edit_cas(&edit) : 0;
    refused = found && store_edit_expire(&edit, expires) != STORE_OK;
    if (found && edit.found)
        store_edit_touch(&edit);
    store_edit_end(&edit);
    counter_add(x->counters, mc_cmd_touch, 1);
    counter_add(x->counters, mc_touch_hits, found);
    counter_add(x->counters, mc_touch_misses, !found);
    counter_add(x->counters, oom_refused, refused);
    if (prefixes_on(&x->server->prefixes))
        memcache_note(x, rq->argv[1], found ? PREFIX_HIT : PREFIX_GET);
    if (refused) {
        reply_error_status(x, h, BINARY_NO_MEMORY);
    } else if (!found) {
        answer_miss(x, h, verb, rq->argv[1]);
    } else {
        p = out_room(x->out, BINARY_HEADER + FLAGS_EXTRAS);
        p = binary_put_header(p, h, BINARY_OK, FLAGS_EXTRAS, 0, 0, cas);
        out_commit(x->out, binary_put_u32(p, flags));
    }
}

/* ---- storing ---- */

/* What an add or a replace misses is told in other words than text's NOT_STORED. */
static enum binary_status not_stored(uint8_t opcode)
{
    switch (opcode) {
    case BINARY_ADD:
    case BINARY_ADDQ: return BINARY_EXISTS;
    case BINARY_REPLACE:
    case BINARY_REPLACEQ: return BINARY_NOT_FOUND;
    default: return BINARY_NOT_STORED;
    }
}

static enum binary_status status_of(enum memcache_outcome outcome, uint8_t opcode)
{
    switch (outcome) {
    case PUT_STORED: return BINARY_OK;
    case PUT_NOT_STORED: return not_stored(opcode);
    case PUT_EXISTS: return BINARY_EXISTS;
    case PUT_NOT_FOUND: return BINARY_NOT_FOUND;
    case PUT_TOO_LARGE: return BINARY_TOO_LARGE;
    case PUT_NO_MEMORY: return BINARY_NO_MEMORY;
    }
    CHECK_UNREACHABLE();
}

static bool is_set(uint8_t opcode)
{
    return opcode == BINARY_SET || opcode == BINARY_SETQ;
}

static void store(struct exec *x, struct request *rq, const struct binary_header *h, const struct verb *verb,
                  struct memcache_put *put)
{
    struct key key = exec_key(x, rq, 1);
    enum memcache_outcome outcome;
    struct store_edit edit;
    uint64_t cas;

    put->key_len = rq->argv[1].len;
    put->data = rq->data;
    put->backing = x->backing;
    put->has_cas = h->cas != 0;
    put->cas = h->cas;
    put->wants_cas = !(verb->marks & QUIET);
    store_edit_begin(x->store, x->local, &key, x->now, &edit);
    outcome = memcache_put(x, &edit, put);
    if (is_set(h->opcode) && (outcome == PUT_TOO_LARGE || outcome == PUT_NO_MEMORY))
        store_edit_drop(&edit); /* nobody shall read what was to be replaced */
    cas = edit.cas;
    store_edit_end(&edit);
    if (prefixes_on(&x->server->prefixes))
        memcache_note(x, rq->argv[1], PREFIX_SET);
    if (outcome != PUT_STORED)
        reply_error_status(x, h, status_of(outcome, h->opcode));
    else if (!(verb->marks & QUIET))
        reply_done(x, h, cas);
}

/* A cas makes the same of all three: stored if the item still has it. */
static enum memcache_how how_of(const struct binary_header *h)
{
    if (h->cas != 0)
        return HOW_CAS;
    switch (h->opcode) {
    case BINARY_ADD:
    case BINARY_ADDQ: return HOW_ADD;
    case BINARY_REPLACE:
    case BINARY_REPLACEQ: return HOW_REPLACE;
    default: return HOW_SET;
    }
}

static void bin_store(struct exec *x, struct request *rq, const struct binary_header *h,
                      const struct verb *verb)
{
    const uint8_t *extras = extras_of(rq);
    struct memcache_put put = {
        .how = how_of(h),
        .flags = binary_u32(extras),
        .expires = memcache_expiry(x->now, binary_u32(extras + 4)),
    };

    store(x, rq, h, verb, &put);
}

static void bin_append(struct exec *x, struct request *rq, const struct binary_header *h,
                       const struct verb *verb)
{
    struct memcache_put put = {.how = HOW_APPEND};

    store(x, rq, h, verb, &put);
}

static void bin_prepend(struct exec *x, struct request *rq, const struct binary_header *h,
                        const struct verb *verb)
{
    struct memcache_put put = {.how = HOW_PREPEND};

    store(x, rq, h, verb, &put);
}

static void bin_delete(struct exec *x, struct request *rq, const struct binary_header *h,
                       const struct verb *verb)
{
    struct key key = exec_key(x, rq, 1);
    struct store_edit edit;
    bool found, other;

    store_edit_begin(x->store, x->local, &key, x->now, &edit);
    found = memcache_finds(&edit) || memcache_finds_filter(&edit);
    other = found && h->cas != 0 && h->cas != edit.cas;
    if (!other)
        store_edit_drop(&edit);
    store_edit_end(&edit);
    counter_add(x->counters, mc_delete_hits, found && !other);
    counter_add(x->counters, mc_delete_misses, !found);
    if (prefixes_on(&x->server->prefixes))
        memcache_note(x, rq->argv[1], PREFIX_DELETE);
    if (!found)
        reply_error_status(x, h, BINARY_NOT_FOUND);
    else if (other)
        reply_error_status(x, h, BINARY_EXISTS);
    else if (!(verb->marks & QUIET))
        reply_done(x, h, 0);
}

/* ---- arithmetic ---- */

struct sum {
    uint64_t delta, initial, value, cas;
    uint32_t seconds;
    bool up, quiet;
};

static enum binary_status make_counter(struct exec *x, struct store_edit *edit, struct sum *sum)
{
    uint8_t digits[DIGITS_MAX];
    struct store_value value = {
        .head = {digits, u64_to_text(digits, sum->initial)},
        .expires = memcache_expiry(x->now, sum->seconds),
        .wants_cas = !sum->quiet,
    };

    if (store_edit_put(edit, &value) != STORE_OK) {
        counter_add(x->counters, oom_refused, 1);
        return BINARY_NO_MEMORY;
    }
    sum->value = sum->initial;
    sum->cas = edit->cas;
    return BINARY_OK;
}

static enum binary_status change_counter(struct exec *x, struct store_edit *edit,
                                         const struct binary_header *h, struct sum *sum)
{
    if (edit->value.len != 0 && h->cas != 0 && h->cas != edit->cas)
        return BINARY_EXISTS;
    switch (memcache_add(edit, sum->up, sum->delta, 0, &sum->value)) {
    case SUM_DONE: break;
    case SUM_NOT_A_NUMBER: return BINARY_NOT_A_NUMBER;
    case SUM_NO_MEMORY: counter_add(x->counters, oom_refused, 1); return BINARY_NO_MEMORY;
    }
    sum->cas = sum->quiet ? 0 : store_edit_cas(edit);
    counter_add(x->counters, mc_incr_hits, sum->up);
    counter_add(x->counters, mc_decr_hits, !sum->up);
    return BINARY_OK;
}

static void bin_sum(struct exec *x, struct request *rq, const struct binary_header *h,
                    const struct verb *verb)
{
    const uint8_t *extras = extras_of(rq);
    struct sum sum = {
        .delta = binary_u64(extras),
        .initial = binary_u64(extras + 8),
        .seconds = binary_u32(extras + 16),
        .up = h->opcode == BINARY_INCREMENT || h->opcode == BINARY_INCREMENTQ,
        .quiet = verb->marks & QUIET,
    };
    enum binary_status status = BINARY_NOT_FOUND;
    struct key key = exec_key(x, rq, 1);
    struct store_edit edit;
    uint8_t *p;

    store_edit_begin(x->store, x->local, &key, x->now, &edit);
    if (memcache_finds(&edit))
        status = change_counter(x, &edit, h, &sum);
    else if (sum.seconds != NEVER_MAKE && !memcache_finds_filter(&edit))
        status = make_counter(x, &edit, &sum);
    store_edit_end(&edit);
    if (status == BINARY_NOT_FOUND) {
        counter_add(x->counters, mc_incr_misses, sum.up);
        counter_add(x->counters, mc_decr_misses, !sum.up);
    }
    if (status != BINARY_OK) {
        reply_error_status(x, h, status);
    } else if (!sum.quiet) {
        p = out_room(x->out, BINARY_HEADER + sizeof sum.value);
        p = binary_put_header(p, h, BINARY_OK, 0, 0, sizeof sum.value, sum.cas);
        out_commit(x->out, binary_put_u64(p, sum.value));
    }
}

/* ---- the rest ---- */

static void bin_noop(struct exec *x, struct request *rq, const struct binary_header *h,
                     const struct verb *verb)
{
    (void)rq;
    (void)verb;
    reply_done(x, h, 0);
}

static void bin_quit(struct exec *x, struct request *rq, const struct binary_header *h,
                     const struct verb *verb)
{
    (void)rq;
    if (!(verb->marks & QUIET))
        reply_done(x, h, 0);
    x->session->close_after_reply = true;
}

static void bin_version(struct exec *x, struct request *rq, const struct binary_header *h,
                        const struct verb *verb)
{
    (void)rq;
    (void)verb;
    reply_text_value(x, h, MEMCACHE_VERSION);
}

static void bin_flush(struct exec *x, struct request *rq, const struct binary_header *h,
                      const struct verb *verb)
{
    uint32_t delay = h->extras_len > 0 ? binary_u32(extras_of(rq)) : 0;

    counter_add(x->counters, mc_cmd_flush, 1);
    if (!option_live(x->options, memcache_flush_enabled)) {
        reply_error_status(x, h, BINARY_AUTH_FAILURE);
        return;
    }
    server_flush_at(x->server, delay > 0 ? memcache_expiry(x->now, delay) : (instant){0});
    if (!(verb->marks & QUIET))
        reply_done(x, h, 0);
}

/* ---- stat ---- */

static void end_stats(struct exec *x, const struct binary_header *h)
{
    uint8_t *p = out_room(x->out, BINARY_HEADER);

    out_commit(x->out, binary_put_stat(p, h, (struct slice){0}, (struct slice){0}));
}

/* The dump is the value of a single stat, and its length stands before it. */
static void stat_dump(struct exec *x, const struct binary_header *h)
{
    static const char name[] = "detailed";
    size_t mark = out_mark(x->out), head = BINARY_HEADER + strlen(name);
    uint8_t *p = out_room(x->out, head);

    memcpy(p + BINARY_HEADER, name, strlen(name));
    out_commit(x->out, p + head);
    memcache_detail_dump(x);
    if (!x->out->failed)
        binary_put_header(x->out->data + mark, h, BINARY_OK, 0, strlen(name), x->out->len - mark - head, 0);
}

static void stat_detail(struct exec *x, const struct binary_header *h, struct slice what)
{
    if (slice_is(what, " dump")) {
        stat_dump(x, h);
    } else if (slice_is(what, " on") || slice_is(what, " off")) {
        prefixes_switch(&x->server->prefixes, what.len == 3);
    } else {
        reply_error_status(x, h, BINARY_NOT_FOUND);
        return;
    }
    end_stats(x, h);
}

static void bin_stat(struct exec *x, struct request *rq, const struct binary_header *h,
                     const struct verb *verb)
{
    struct slice group = rq->argc > 1 ? rq->argv[1] : (struct slice){(const uint8_t *)"", 0};
    struct stats_reply reply = {x, h};

    (void)verb;
    if (group.len >= 6 && memcmp(group.data, "detail", 6) == 0)
        stat_detail(x, h, (struct slice){group.data + 6, group.len - 6});
    else if (memcache_stats(&reply, group) == STATS_UNKNOWN)
        reply_error_status(x, h, BINARY_NOT_FOUND);
    else
        end_stats(x, h);
}

/* ---- SASL ---- */

/* As memcached, which knows nothing of it while nobody must give a password. */
static bool sasl_off(struct exec *x, const struct binary_header *h)
{
    if (memcache_auth_needed(x->server))
        return false;
    reply_error_status(x, h, BINARY_UNKNOWN);
    return true;
}

static void bin_sasl_list(struct exec *x, struct request *rq, const struct binary_header *h,
                          const struct verb *verb)
{
    (void)rq;
    (void)verb;
    if (!sasl_off(x, h))
        reply_text_value(x, h, "PLAIN");
}

/* RFC 4616: [whom to act as] NUL user NUL password. There is nobody else to act as. */
static bool plain_ok(struct exec *x, struct slice message)
{
    const uint8_t *end = message.data + message.len, *user, *password;

    if (message.len == 0 || (user = memchr(message.data, '\0', message.len)) == NULL)
        return false;
    user++;
    if (user == end || (password = memchr(user, '\0', (size_t)(end - user))) == NULL)
        return false;
    password++;
    return memcache_auth_ok(x->server, (struct slice){user, (size_t)(password - 1 - user)},
                            (struct slice){password, (size_t)(end - password)});
}

static void bin_sasl_auth(struct exec *x, struct request *rq, const struct binary_header *h,
                          const struct verb *verb)
{
    (void)verb;
    if (sasl_off(x, h))
        return;
    if (h->opcode == BINARY_SASL_AUTH && slice_is(rq->argv[1], "plain") && plain_ok(x, rq->data)) {
        x->session->authenticated = true;
        reply_text_value(x, h, "Authenticated");
        return;
    }
    x->session->authenticated = false;
    counter_add(x->counters, auth_failures, 1);
    reply_error_status(x, h, BINARY_AUTH_FAILURE);
}

/* ---- the table ---- */

enum { KEY = KEY_NEEDED, STORE_MARKS = KEY_NEEDED | VALUE_TAKEN };

static const struct verb verbs[BINARY_OPCODES] = {
    [BINARY_GET] = {bin_get, KEY, 0, 0},
    [BINARY_GETQ] = {bin_get, KEY | QUIET, 0, 0},
    [BINARY_GETK] = {bin_get, KEY | WITH_KEY, 0, 0},
    [BINARY_GETKQ] = {bin_get, KEY | WITH_KEY | QUIET, 0, 0},
    [BINARY_GAT] = {bin_get, KEY | WITH_TIME, TIME_EXTRAS, TIME_EXTRAS},
    [BINARY_GATQ] = {bin_get, KEY | WITH_TIME | QUIET, TIME_EXTRAS, TIME_EXTRAS},
    [BINARY_GATK] = {bin_get, KEY | WITH_TIME | WITH_KEY, TIME_EXTRAS, TIME_EXTRAS},
    [BINARY_GATKQ] = {bin_get, KEY | WITH_TIME | WITH_KEY | QUIET, TIME_EXTRAS, TIME_EXTRAS},
    [BINARY_TOUCH] = {bin_touch, KEY, TIME_EXTRAS, TIME_EXTRAS},
    [BINARY_SET] = {bin_store, STORE_MARKS, STORE_EXTRAS, STORE_EXTRAS},
    [BINARY_SETQ] = {bin_store, STORE_MARKS | QUIET, STORE_EXTRAS, STORE_EXTRAS},
    [BINARY_ADD] = {bin_store, STORE_MARKS, STORE_EXTRAS, STORE_EXTRAS},
    [BINARY_ADDQ] = {bin_store, STORE_MARKS | QUIET, STORE_EXTRAS, STORE_EXTRAS},
    [BINARY_REPLACE] = {bin_store, STORE_MARKS, STORE_EXTRAS, STORE_EXTRAS},
    [BINARY_REPLACEQ] = {bin_store, STORE_MARKS | QUIET, STORE_EXTRAS, STORE_EXTRAS},
    [BINARY_APPEND] = {bin_append, STORE_MARKS, 0, 0},
    [BINARY_APPENDQ] = {bin_append, STORE_MARKS | QUIET, 0, 0},
    [BINARY_PREPEND] = {bin_prepend, STORE_MARKS, 0, 0},
    [BINARY_PREPENDQ] = {bin_prepend, STORE_MARKS | QUIET, 0, 0},
    [BINARY_DELETE] = {bin_delete, KEY, 0, 0},
    [BINARY_DELETEQ] = {bin_delete, KEY | QUIET, 0, 0},
    [BINARY_INCREMENT] = {bin_sum, KEY, SUM_EXTRAS, SUM_EXTRAS},
    [BINARY_INCREMENTQ] = {bin_sum, KEY | QUIET, SUM_EXTRAS, SUM_EXTRAS},
    [BINARY_DECREMENT] = {bin_sum, KEY, SUM_EXTRAS, SUM_EXTRAS},
    [BINARY_DECREMENTQ] = {bin_sum, KEY | QUIET, SUM_EXTRAS, SUM_EXTRAS},
    [BINARY_QUIT] = {bin_quit, 0, 0, 0},
    [BINARY_QUITQ] = {bin_quit, QUIET, 0, 0},
    [BINARY_FLUSH] = {bin_flush, 0, 0, TIME_EXTRAS},
    [BINARY_FLUSHQ] = {bin_flush, QUIET, 0, TIME_EXTRAS},
    [BINARY_NOOP] = {bin_noop, 0, 0, 0},
    [BINARY_VERSION] = {bin_version, FOR_ALL, 0, 0},
    [BINARY_STAT] = {bin_stat, KEY_ALLOWED, 0, 0},
    [BINARY_SASL_LIST] = {bin_sasl_list, FOR_ALL, 0, 0},
    [BINARY_SASL_AUTH] = {bin_sasl_auth, STORE_MARKS | FOR_ALL, 0, 0},
    [BINARY_SASL_STEP] = {bin_sasl_auth, STORE_MARKS | FOR_ALL, 0, 0},
};

/* NULL for an opcode that is not known. */
static const struct verb *verb_of(uint8_t opcode)
{
    return opcode < BINARY_OPCODES && verbs[opcode].handler != NULL ? &verbs[opcode] : NULL;
}

/* ---- the door ---- */

static bool parts_suit(const struct verb *verb, const struct binary_header *h)
{
    bool has_value = h->body_len > (uint32_t)h->extras_len + h->key_len;

    return (h->extras_len == verb->extras || h->extras_len == verb->extras_or) &&
           (h->key_len > 0 ? (verb->marks & (KEY_NEEDED | KEY_ALLOWED)) != 0
                           : (verb->marks & KEY_NEEDED) == 0) &&
           (!has_value || verb->marks & VALUE_TAKEN);
}

/* False: answered. */
static bool may_go_on(struct exec *x, const struct binary_header *h, const struct verb *verb)
{
    bool for_all = verb != NULL && verb->marks & FOR_ALL;

    if (!x->session->authenticated && !for_all && memcache_auth_needed(x->server)) {
        refuse_and_close(x, h, BINARY_AUTH_FAILURE);
    } else if (h->key_len > BINARY_KEY_MAX || (verb != NULL && !parts_suit(verb, h))) {
        refuse_and_close(x, h, BINARY_INVALID);
    } else if (verb == NULL) {
        counter_add(x->counters, protocol_errors, 1);
        reply_error_status(x, h, BINARY_UNKNOWN);
    } else {
        return true;
    }
    return false;
}

void binary_execute(struct exec *x, struct request *rq)
{
    struct binary_header h = binary_header_decode(rq->argv[0].data);
    const struct verb *verb = verb_of(h.opcode);

    if (may_go_on(x, &h, verb))
        verb->handler(x, rq, &h, verb);
}

/* The value that was to be replaced must not be read for the new one. */
static void drop_outdated(struct exec *x, struct slice name)
{
    struct key key = store_key_in(x->store, x->db, name);
    struct store_edit edit;

    store_edit_begin(x->store, x->local, &key, x->now, &edit);
    store_edit_drop(&edit);
    store_edit_end(&edit);
}

void binary_refused(struct exec *x, struct request *rq)
{
    struct binary_header h = binary_header_decode(rq->argv[0].data);
    const struct verb *verb = verb_of(h.opcode);

    if ((uint32_t)h.extras_len + h.key_len > h.body_len) {
        refuse_and_close(x, &h, BINARY_UNKNOWN);
        return;
    }
    if (!may_go_on(x, &h, verb))
        return;
    if (verb->marks & FOR_ALL) { /* more than a name and a password could be */
        counter_add(x->counters, auth_failures, 1);
        reply_error_status(x, &h, BINARY_INVALID);
        return;
    }
    counter_add(x->counters, too_large, 1);
    if (is_set(h.opcode))
        drop_outdated(x, rq->argv[1]);
    reply_error_status(x, &h, BINARY_TOO_LARGE);
}

bool binary_first_key(const struct request *rq, struct slice *key)
{
    if (rq->argc < 2)
        return false;
    *key = rq->argv[1];
    return true;
}

void binary_refuse_stranger(struct exec *x, const uint8_t *head)
{
    struct binary_header h = binary_header_decode(head);

    counter_add(x->counters, protocol_errors, 1);
    reply_error_status(x, &h, BINARY_AUTH_FAILURE);
}

void binary_refuse_origin(struct exec *x, const struct request *rq, const char *text)
{
    struct binary_header h = binary_header_decode(rq->argv[0].data);
    struct slice words = slice_of(text);
    uint8_t *p = out_room(x->out, BINARY_HEADER + words.len);

    p = binary_put_header(p, &h, BINARY_INTERNAL, 0, 0, words.len, 0);
    memcpy(p, words.data, words.len);
    out_commit(x->out, p + words.len);
}

bool binary_read_set(const struct request *rq, uint32_t *flags, int64_t *exptime)
{
    struct binary_header h = binary_header_decode(rq->argv[0].data);

    if (!is_set(h.opcode) || h.cas != 0 || h.extras_len != STORE_EXTRAS)
        return false;
    *flags = binary_u32(extras_of(rq));
    *exptime = binary_u32(extras_of(rq) + 4);
    return true;
}

void binary_answer_written(struct exec *x, const struct request *rq, bool found)
{
    struct binary_header h = binary_header_decode(rq->argv[0].data);

    if (!found)
        reply_error_status(x, &h, BINARY_NOT_FOUND);
    else if (!(verb_of(h.opcode)->marks & QUIET))
        reply_done(x, &h, 0);
}

bool binary_is_get(const struct request *rq)
{
    uint8_t opcode = binary_header_decode(rq->argv[0].data).opcode;

    return opcode == BINARY_GET || opcode == BINARY_GETQ || opcode == BINARY_GETK || opcode == BINARY_GETKQ;
}

struct request binary_in_words(const struct request *rq, struct slice words[2])
{
    static const char *const names[BINARY_OPCODES] = {
        [BINARY_GET] = "get",          [BINARY_GETQ] = "get",         [BINARY_GETK] = "get",
        [BINARY_GETKQ] = "get",        [BINARY_SET] = "set",          [BINARY_SETQ] = "set",
        [BINARY_ADD] = "add",          [BINARY_ADDQ] = "add",         [BINARY_REPLACE] = "replace",
        [BINARY_REPLACEQ] = "replace", [BINARY_DELETE] = "delete",    [BINARY_DELETEQ] = "delete",
        [BINARY_INCREMENT] = "incr",   [BINARY_INCREMENTQ] = "incr",  [BINARY_DECREMENT] = "decr",
        [BINARY_DECREMENTQ] = "decr",  [BINARY_APPEND] = "append",    [BINARY_APPENDQ] = "append",
        [BINARY_PREPEND] = "prepend",  [BINARY_PREPENDQ] = "prepend", [BINARY_TOUCH] = "touch",
        [BINARY_GAT] = "gat",          [BINARY_GATQ] = "gat",         [BINARY_GATK] = "gat",
        [BINARY_GATKQ] = "gat",        [BINARY_FLUSH] = "flush_all",  [BINARY_FLUSHQ] = "flush_all",
        [BINARY_STAT] = "stats",       [BINARY_VERSION] = "version",  [BINARY_NOOP] = "mn",
        [BINARY_QUIT] = "quit",        [BINARY_QUITQ] = "quit",
    };
    struct binary_header h = binary_header_decode(rq->argv[0].data);
    bool known = h.opcode < BINARY_OPCODES && names[h.opcode] != NULL;

    words[0] = slice_of(known ? names[h.opcode] : "verbosity");
    words[1] = rq->argc > 1 ? rq->argv[1] : (struct slice){0};
    return (struct request){
        .argv = words, .argc = rq->argc, .argv_max = 2, .data = known ? rq->data : (struct slice){0}};
}
