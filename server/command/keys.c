/* keys.c - the commands that know keys and their time, but not values.
 *
 * Commands of several keys act on one after the other; see string.c for why
 * they are not isolated from other clients. */
#include <errno.h>
#include <stdlib.h>
#include <strings.h>

#include "protocol/resp.h"
#include "server/cluster/everywhere.h"
#include "server/command/command.h"
#include "server/command/arguments.h"
#include "server/command/filter.h"
#include "server/command/walk.h"
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
            dropped += edit_exists(&edit);
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

    if (!look_at_key(x, &key, false, &found))
        reply_simple(x, "none");
    else
        reply_simple(x, state_is_filter(found.state) ? filter_type(x, &key) : "string");
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
    holds = edit_exists(&edit) && conditions_hold(conditions, edit.expires, expires);
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
    expires = edit_exists(&edit) && edit.expires.ms != 0;
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

/* ---- KEYS ---- */

static bool matches_everything(struct slice pattern)
{
    return slice_equals(pattern, slice_of("*"));
}

struct key_walk {
    struct walk walk;
    bool any_name;
    size_t pattern_len;
    uint8_t pattern[];
};

static void list_key(struct walk *walk, const struct scan_item *item)
{
    struct key_walk *keys = (struct key_walk *)walk;

    if (keys->any_name || glob_matches((struct slice){keys->pattern, keys->pattern_len}, item->key))
        walk_list(walk, item->key);
}

static void answer_keys(struct exec *x, struct walk *walk)
{
    reply_array(x, (size_t)walk->count + everywhere_keys(x));
    walk_reply_listed(x, walk);
    everywhere_put_keys(x);
}

/* A key may be listed twice if the table grows meanwhile: the price of not holding up the others. */
void cmd_keys(struct exec *x, struct request *rq)
{
    static const struct walk_kind kind = {.visit = list_key, .answer = answer_keys};
    struct slice pattern = rq->argv[1];
    struct key_walk *keys;

    if (store_db_count(x->store, x->db).items == 0) {
        reply_array(x, everywhere_keys(x));
        everywhere_put_keys(x);
        return;
    }
    if ((keys = walk_new(x, sizeof *keys + pattern.len, &kind)) == NULL)
        return;
    keys->any_name = matches_everything(pattern);
    keys->pattern_len = pattern.len;
    if (pattern.len > 0)
        memcpy(keys->pattern, pattern.data, pattern.len);
    walk_run(x, &keys->walk);
}

/* ---- RANDOMKEY ---- */

struct draw {
    struct walk walk; /* lists the one drawn so far */
    uint64_t dice;
    uint64_t seen;
};

/* Each of n keys stays with a chance of 1/n. */
static void draw_key(struct walk *walk, const struct scan_item *item)
{
    struct draw *draw = (struct draw *)walk;

    draw->dice = draw->dice * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    if ((draw->dice >> 33) % ++draw->seen != 0)
        return;
    walk_forget(walk);
    walk_list(walk, item->key);
}

static bool has_drawn(const struct walk *walk)
{
    return walk->count > 0;
}

static void answer_draw(struct exec *x, struct walk *walk)
{
    if (walk->count > 0)
        walk_reply_listed(x, walk);
    else
        reply_null(x);
}

/* From a random place to the first bucket with a key of this database. Where
 * others hold nearly everything that can be far: as far as KEYS goes at worst. */
void cmd_randomkey(struct exec *x, struct request *rq)
{
    static const struct walk_kind kind = {.visit = draw_key, .has_enough = has_drawn, .answer = answer_draw};
    struct draw *draw;

    (void)rq;
    if (store_db_count(x->store, x->db).items == 0) {
        reply_null(x);
        return;
    }
    if ((draw = walk_new(x, sizeof *draw, &kind)) == NULL)
        return;
    draw->dice = (uint64_t)clock_ticks_ns() * UINT64_C(6364136223846793005) ^ (uintptr_t)x;
    draw->dice ^= draw->dice >> 29;
    draw->walk.cursor = store_scan_anywhere(x->store, draw->dice * UINT64_C(0x9e3779b97f4a7c15));
    draw->walk.again = 1;
    draw->walk.step = 1;
    walk_run(x, &draw->walk);
}

/* ---- SCAN ---- */

/* As lenient as redis, which hands the word to strtoul: a sign, leading zeros
 * and an empty word pass. */
bool read_cursor(struct slice word, uint64_t *cursor)
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

struct listing {
    const struct exec *x;
    struct slice pattern;
    bool any_name; /* the pattern is "*" or none was given */
    bool any_type;
    struct slice type; /* as TYPE says it */
    struct out *keys;
    size_t listed;
};

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
            list->type = rq->argv[i + 1];
            list->any_type = false;
        } else {
            reply_syntax_error(x);
            return false;
        }
    }
    return true;
}

static bool is_of_type(const struct listing *list, const struct scan_item *item)
{
    const char *type;

    if (list->any_type)
        return true;
    type = state_is_filter(item->state) ? filter_type_of(item->value.data) : "string";
    return list->type.len == strlen(type) &&
           strncasecmp((const char *)list->type.data, type, list->type.len) == 0;
}

static void list_scanned(void *arg, const struct scan_item *item)
{
    struct listing *list = arg;

    if (item->db != list->x->db || !state_exists(item->state) || !is_of_type(list, item) ||
        (!list->any_name && !glob_matches(list->pattern, item->key)))
        return;
    out_commit(list->keys, resp_put_bulk(out_room(list->keys, RESP_BULK_MAX(item->key.len)), item->key));
    list->listed++;
}

/* The next cursor comes before the keys but is known only after them, so the
 * keys wait in a buffer of their own. However large a COUNT a client wishes, it
 * gets about ten thousand keys at a time. */
void cmd_scan(struct exec *x, struct request *rq)
{
    enum { COUNT_UNSAID = 10, BUCKETS_MAX = 1024 };
    struct out keys = {.limit = x->out->limit};
    struct listing list = {.x = x, .any_name = true, .any_type = true, .keys = &keys};
    size_t count = COUNT_UNSAID;
    uint8_t text[20];
    uint64_t cursor;

    if (!read_cursor(rq->argv[1], &cursor)) {
        reply_error(x, "ERR invalid cursor");
        return;
    }
    if (!read_scan_options(x, rq, &list, &count))
        return;
    if (store_db_count(x->store, x->db).items == 0)
        cursor = 0;
    else
        cursor = store_scan(x->store, cursor, count < BUCKETS_MAX ? count : BUCKETS_MAX, x->now, list_scanned,
                            &list);

    reply_array(x, 2);
    reply_bulk(x, (struct slice){text, u64_to_text(text, cursor)});
    reply_array(x, list.listed);
    x->out->over |= keys.over;
    out_move(x->out, &keys);
    out_free(&keys);
}
