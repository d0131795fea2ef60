/* keys.c - the commands that know keys and their time, but not values.
 *
 * Commands of several keys act on one after the other; see string.c for why
 * they are not isolated from other clients. */
#include <errno.h>
#include <stdlib.h>

#include "server/command/command.h"
#include "server/command/arguments.h"
#include "server/glob.h"

/* ---- there or not ---- */

/* DEL and UNLINK are one: large values are freed by whoever holds them last,
 * small ones are never freed one by one, so there is nothing to postpone. */
void cmd_del(struct exec *x, struct request *rq)
{
    struct key keys[KEYS_AT_ONCE];
    struct store_edit edit;
    int64_t dropped = 0;

    for (uint32_t i = 1; i < rq->argc;) {
        uint32_t n = fetch_keys(x, rq, i, 1, keys);

        for (uint32_t k = 0; k < n; k++) {
            store_edit_begin(x->store, x->local, &keys[k], x->now, &edit);
            dropped += edit_shows(&edit);
            store_edit_drop(&edit); /* also what does not show: that voids its fill */
            store_edit_end(&edit);
        }
        i += n;
    }
    reply_integer(x, dropped);
}

static void count_present(struct exec *x, struct request *rq, bool used)
{
    struct key keys[KEYS_AT_ONCE];
    struct store_peek found;
    int64_t present = 0;

    for (uint32_t i = 1; i < rq->argc;) {
        uint32_t n = fetch_keys(x, rq, i, 1, keys);

        for (uint32_t k = 0; k < n; k++)
            present += look_at_key(x, &keys[k], used, &found);
        i += n;
    }
    reply_integer(x, present);
}

void cmd_exists(struct exec *x, struct request *rq)
{
    count_present(x, rq, false);
}

void cmd_touch(struct exec *x, struct request *rq)
{
    count_present(x, rq, true);
}

void cmd_type(struct exec *x, struct request *rq)
{
    struct key key = exec_key(x, rq, 1);
    struct store_peek found;

    reply_simple(x, look_at_key(x, &key, false, &found) ? "string" : "none");
}

/* ---- setting the time ---- */

enum expire_condition { IF_NONE = 1, IF_ANY = 2, IF_LATER = 4, IF_SOONER = 8 }; /* NX XX GT LT */

/* False: answered with what is wrong. */
static bool read_conditions(struct exec *x, const struct request *rq, unsigned *conditions)
{
    *conditions = 0;
    for (uint32_t i = 3; i < rq->argc; i++) {
        struct slice word = rq->argv[i];

        if (slice_is(word, "nx")) {
            *conditions |= IF_NONE;
        } else if (slice_is(word, "xx")) {
            *conditions |= IF_ANY;
        } else if (slice_is(word, "gt")) {
            *conditions |= IF_LATER;
        } else if (slice_is(word, "lt")) {
            *conditions |= IF_SOONER;
        } else {
            reply_error(x, "ERR Unsupported option %.*s", (int)(word.len < 1024 ? word.len : 1024),
                        (const char *)word.data);
            return false;
        }
    }
    if ((*conditions & IF_NONE) && (*conditions & ~(unsigned)IF_NONE)) {
        reply_error(x, "ERR NX and XX, GT or LT options at the same time are not compatible");
        return false;
    }
    if ((*conditions & IF_LATER) && (*conditions & IF_SOONER)) {
        reply_error(x, "ERR GT and LT options at the same time are not compatible");
        return false;
    }
    return true;
}

/* `has` is the expiry now (ms == 0: none, later than any moment). */
static bool conditions_hold(unsigned conditions, instant has, instant wanted)
{
    bool expires = has.ms != 0;

    if ((conditions & IF_NONE) && expires)
        return false;
    if ((conditions & IF_ANY) && !expires)
        return false;
    if ((conditions & IF_LATER) && (!expires || !is_before(has, wanted)))
        return false;
    if ((conditions & IF_SOONER) && expires && !is_before(wanted, has))
        return false;
    return true;
}

static void expire_key(struct exec *x, struct request *rq, const char *command, struct moment_form form)
{
    struct key key = exec_key(x, rq, 1);
    enum store_status status = STORE_OK;
    struct store_edit edit;
    unsigned conditions;
    instant expires;
    bool holds;

    if (!read_conditions(x, rq, &conditions) || !read_any_moment(x, command, rq->argv[2], form, &expires))
        return;
    store_edit_begin(x->store, x->local, &key, x->now, &edit);
    holds = edit_shows(&edit) && conditions_hold(conditions, edit.expires, expires);
    if (holds && is_before(x->now, expires))
        status = store_edit_expire(&edit, expires);
    else if (holds) /* past; and a moment of 0 or less is no instant that the store should see */
        store_edit_drop(&edit);
    store_edit_end(&edit);
    if (status == STORE_OK)
        reply_integer(x, holds);
    else
        reply_store_refused(x, status);
}

void cmd_expire(struct exec *x, struct request *rq)
{
    expire_key(x, rq, "expire", (struct moment_form){.in_seconds = true, .absolute = false});
}

void cmd_pexpire(struct exec *x, struct request *rq)
{
    expire_key(x, rq, "pexpire", (struct moment_form){.in_seconds = false, .absolute = false});
}

void cmd_expireat(struct exec *x, struct request *rq)
{
    expire_key(x, rq, "expireat", (struct moment_form){.in_seconds = true, .absolute = true});
}

void cmd_pexpireat(struct exec *x, struct request *rq)
{
    expire_key(x, rq, "pexpireat", (struct moment_form){.in_seconds = false, .absolute = true});
}

void cmd_persist(struct exec *x, struct request *rq)
{
    struct key key = exec_key(x, rq, 1);
    enum store_status status = STORE_OK;
    struct store_edit edit;
    bool expires;

    store_edit_begin(x->store, x->local, &key, x->now, &edit);
    expires = edit_shows(&edit) && edit.expires.ms != 0;
    if (expires)
        status = store_edit_expire(&edit, (instant){0});
    store_edit_end(&edit);
    if (status == STORE_OK)
        reply_integer(x, expires);
    else
        reply_store_refused(x, status);
}

/* ---- asking for the time ---- */

static void reply_moment(struct exec *x, struct request *rq, struct moment_form form)
{
    enum { NO_KEY = -2, NO_EXPIRY = -1 };
    struct key key = exec_key(x, rq, 1);
    struct store_peek found;
    int64_t ms;

    if (!look_at_key(x, &key, false, &found)) {
        reply_integer(x, NO_KEY);
        return;
    }
    if (found.expires.ms == 0) {
        reply_integer(x, NO_EXPIRY);
        return;
    }
    ms = form.absolute ? found.expires.ms : since(found.expires, x->now).ms;
    if (ms < 0)
        ms = 0;
    /* Rounded to the nearest second, without going through ms + 500, which the last moments overflow. */
    reply_integer(x, form.in_seconds ? ms / 1000 + (ms % 1000 >= 500) : ms);
}

void cmd_ttl(struct exec *x, struct request *rq)
{
    reply_moment(x, rq, (struct moment_form){.in_seconds = true, .absolute = false});
}

void cmd_pttl(struct exec *x, struct request *rq)
{
    reply_moment(x, rq, (struct moment_form){.in_seconds = false, .absolute = false});
}

void cmd_expiretime(struct exec *x, struct request *rq)
{
    reply_moment(x, rq, (struct moment_form){.in_seconds = true, .absolute = true});
}

void cmd_pexpiretime(struct exec *x, struct request *rq)
{
    reply_moment(x, rq, (struct moment_form){.in_seconds = false, .absolute = true});
}

/* ---- listing keys ---- */

struct listing {
    struct exec *x;
    struct slice pattern;
    bool any_name; /* the pattern is "*" or none was given */
    bool no_type;  /* TYPE named something that no item here is */
    size_t listed;
};

static void list_key(void *arg, const struct scan_item *item)
{
    struct listing *list = arg;

    if (item->db != list->x->db || list->no_type || !state_shows(item->state) ||
        (!list->any_name && !glob_matches(list->pattern, item->key)))
        return;
    reply_bulk(list->x, item->key);
    list->listed++;
}

static bool matches_everything(struct slice pattern)
{
    return slice_equals(pattern, slice_of("*"));
}

/* Walks on from a cursor in steps, so that no shard is locked for longer than
 * one step takes, whatever COUNT a client asks for. A key may be listed twice if
 * the table grows meanwhile: the price of not holding up the other workers. */
static uint64_t walk(struct listing *list, uint64_t cursor, size_t slots)
{
    enum { SLOTS_A_STEP = 1024 };
    const struct exec *x = list->x;

    do {
        size_t step = slots < SLOTS_A_STEP ? slots : SLOTS_A_STEP;

        cursor = store_scan(x->store, cursor, step, x->now, list_key, list);
        slots -= step;
    } while (cursor != 0 && slots > 0 && !x->out->failed);
    return cursor;
}

void cmd_keys(struct exec *x, struct request *rq)
{
    struct listing list = {.x = x, .pattern = rq->argv[1], .any_name = matches_everything(rq->argv[1])};
    size_t mark = reply_array_open(x);

    walk(&list, 0, SIZE_MAX);
    reply_array_close(x, mark, list.listed);
}

/* ---- RANDOMKEY ---- */

struct draw {
    const struct exec *x;
    uint64_t dice;
    size_t seen;
    struct out name; /* of the one drawn so far */
};

/* Each of n keys stays with a chance of 1/n. */
static void draw_key(void *arg, const struct scan_item *item)
{
    struct draw *draw = arg;

    if (item->db != draw->x->db || !state_shows(item->state))
        return;
    draw->dice = draw->dice * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    if ((draw->dice >> 33) % ++draw->seen != 0)
        return;
    out_clear(&draw->name, SIZE_MAX);
    out_append(&draw->name, item->key.data, item->key.len);
}

/* From a random place to the first bucket with a key of this database. Where
 * others hold nearly everything that can be far: as far as KEYS goes at worst. */
void cmd_randomkey(struct exec *x, struct request *rq)
{
    struct draw draw = {.x = x, .dice = (uint64_t)clock_ticks_ns()};
    uint64_t cursor;

    (void)rq;
    draw.dice = draw.dice * UINT64_C(6364136223846793005) ^ (uintptr_t)x;
    draw.dice ^= draw.dice >> 29;
    cursor = store_scan_anywhere(x->store, draw.dice * UINT64_C(0x9e3779b97f4a7c15));
    if (store_db_count(x->store, x->db).items > 0) {
        do {
            cursor = store_scan(x->store, cursor, 1, x->now, draw_key, &draw);
        } while (cursor != 0 && draw.seen == 0);
        while (draw.seen == 0 && (cursor = store_scan(x->store, cursor, 1, x->now, draw_key, &draw)) != 0)
            ;
    }
    if (draw.seen > 0)
        reply_bulk(x, (struct slice){draw.name.data, draw.name.len});
    else
        reply_null(x);
    x->out->failed |= draw.name.failed;
    out_free(&draw.name);
}

/* ---- SCAN ---- */

/* As lenient as redis, which hands the word to strtoul: a sign, leading zeros
 * and an empty word pass. */
static bool read_cursor(struct slice word, uint64_t *cursor)
{
    char text[64];
    char *end;

    if (word.len >= sizeof text)
        return false;
    if (word.len > 0)
        memcpy(text, word.data, word.len);
    text[word.len] = '\0';
    if (strchr(" \t\n\v\f\r", text[0]) != NULL && text[0] != '\0')
        return false;
    errno = 0;
    *cursor = strtoul(text, &end, 10);
    return *end == '\0' && errno == 0;
}

/* False: answered with what is wrong. */
static bool read_scan_options(struct exec *x, const struct request *rq, struct listing *list, size_t *count)
{
    int64_t wanted;

    for (uint32_t i = 2; i < rq->argc; i += 2) {
        struct slice word = rq->argv[i];
        bool paired = i + 1 < rq->argc;

        if (paired && slice_is(word, "count")) {
            if (!slice_to_i64(rq->argv[i + 1], &wanted)) {
                reply_not_integer(x);
                return false;
            }
            if (wanted < 1) {
                reply_syntax_error(x);
                return false;
            }
            *count = (size_t)wanted;
        } else if (paired && slice_is(word, "match")) {
            list->pattern = rq->argv[i + 1];
            list->any_name = matches_everything(list->pattern);
        } else if (paired && slice_is(word, "type")) {
            list->no_type = !slice_is(rq->argv[i + 1], "string");
        } else {
            reply_syntax_error(x);
            return false;
        }
    }
    return true;
}

/* The next cursor comes before the keys but is known only after them, so the
 * keys wait in a buffer of their own. */
void cmd_scan(struct exec *x, struct request *rq)
{
    enum { COUNT_UNSAID = 10 };
    struct out keys = {.limit = x->out->limit};
    struct exec aside = *x;
    struct listing list = {.x = &aside, .any_name = true};
    size_t count = COUNT_UNSAID;
    uint8_t text[20];
    uint64_t cursor;

    aside.out = &keys;
    if (!read_cursor(rq->argv[1], &cursor)) {
        reply_error(x, "ERR invalid cursor");
        return;
    }
    if (!read_scan_options(x, rq, &list, &count))
        return;
    cursor = walk(&list, cursor, count);

    reply_array(x, 2);
    reply_bulk(x, (struct slice){text, u64_to_text(text, cursor)});
    reply_array(x, list.listed);
    x->out->over |= keys.over;
    out_move(x->out, &keys);
    out_free(&keys);
}
