/* memcache_edit.c - storing and counting as memcached does it.
 *
 * Rules: (1) every stored value starts with a clean state: only marking stale
 * and arithmetic in place keep state bits; (2) an item has a cas number only
 * once somebody asked for it, and then every change gives it a new one. */
#include "server/command/memcache_edit.h"

#include "server/check.h"
#include "server/herd/protect.h"
#include "server/store/racy.h"

enum {
    RELATIVE_SECONDS_MAX = 60 * 60 * 24 * 30,
    MS = 1000,
    /* Longest value that arithmetic looks at. memcached's own bound is half a
     * megabyte; nobody counts in that. */
    NUMBER_LEN_MAX = 512,
};

/* ---- moments ---- */

instant memcache_expiry(instant now, int64_t seconds)
{
    const int64_t last = INT64_MAX / MS;

    if (seconds == 0)
        return (instant){0};
    if (seconds < 0 || (seconds > UINT32_MAX - RELATIVE_SECONDS_MAX && seconds <= UINT32_MAX))
        return (instant){1};
    if (seconds <= RELATIVE_SECONDS_MAX)
        return after(now, (span){seconds * MS});
    return (instant){(seconds < last ? seconds : last) * MS};
}

int64_t memcache_seconds_left(instant expires, instant now)
{
    int64_t ms = since(expires, now).ms;

    if (expires.ms == 0)
        return -1;
    return ms <= 0 ? 0 : (ms + MS - 1) / MS;
}

/* ---- what is there ---- */

bool memcache_is_hidden(enum peek_status status, struct store_peek *peek)
{
    if (status != PEEK_BLOB)
        return store_peek_ok(peek);
    blob_unpin(&peek->blob);
    return true;
}

/* ---- storing ---- */

static enum memcache_outcome outcome_of(enum store_status status)
{
    switch (status) {
    case STORE_OK: return PUT_STORED;
    case STORE_TOO_BIG: return PUT_TOO_LARGE;
    case STORE_NO_SPACE: return PUT_NO_MEMORY;
    case STORE_LATE: return PUT_NOT_STORED;
    }
    CHECK_UNREACHABLE();
}

static struct store_value whole_value(const struct memcache_put *put)
{
    return (struct store_value){
        .head = put->data,
        .flags = put->flags,
        .expires = put->expires,
        .sets_expiry = true,
        .key_binary = put->key_binary,
        .cas = put->cas_new,
        .wants_cas = put->wants_cas,
        .backing = put->backing,
    };
}

static enum memcache_outcome put_whole(struct store_edit *edit, const struct memcache_put *put)
{
    struct store_value value = whole_value(put);

    return outcome_of(store_edit_put(edit, &value));
}

/* Flags and expiry stay the item's own. What does not fit is "not stored", as
 * in memcached, and the item remains. */
static enum memcache_outcome put_beside(struct store_edit *edit, const struct memcache_put *put)
{
    bool before = put->how == HOW_PREPEND;
    struct store_value value = {
        .head = before ? put->data : edit->value,
        .tail = before ? edit->value : put->data,
        .flags = edit->flags,
        .expires = edit->expires,
        .cas = put->cas_new,
        .wants_cas = put->wants_cas,
    };

    if (!memcache_finds(edit))
        return put->make_missing && !memcache_finds_filter(edit) ? put_whole(edit, put) : PUT_NOT_STORED;
    if (put->has_cas && put->cas != 0 && put->cas != edit->cas)
        return PUT_EXISTS;
    return store_edit_put(edit, &value) == STORE_OK ? PUT_STORED : PUT_NOT_STORED;
}

/* The value is older than what is there: keep it for those who take stale
 * values until somebody refills it, no longer than the item would have lived.
 * Whoever has won that refill still has. */
static enum memcache_outcome put_stale(struct store_edit *edit, const struct memcache_put *put)
{
    struct store_value value = {
        .head = put->data,
        .flags = put->flags,
        .expires = edit->expires,
        .state = (uint8_t)(ITEM_STALE | (edit->state & ITEM_WON)),
        .herd = edit->herd,
        .key_binary = put->key_binary,
        .cas = put->cas_new,
        .wants_cas = put->wants_cas,
        .backing = put->backing,
    };

    return outcome_of(store_edit_put(edit, &value));
}

static enum memcache_outcome put_if_current(struct exec *x, struct store_edit *edit,
                                            const struct memcache_put *put)
{
    if (!memcache_finds(edit)) {
        counter_add(x->counters, mc_cas_misses, 1);
        return PUT_NOT_FOUND;
    }
    if (memcache_is_fenced(x) && (lease_is_out(edit) || (edit->state & ITEM_PENDING) != 0)) {
        counter_add(x->counters, mc_cas_badval, 1);
        return PUT_EXISTS;
    }
    /* 0 is nobody's cas, and an item that has none yet was never seen by the asker. */
    if (put->cas != 0 && put->cas == edit->cas) {
        counter_add(x->counters, mc_cas_hits, 1);
        return put_whole(edit, put);
    }
    if (put->late_is_ok && put->cas != 0 && put->cas < store_edit_cas(edit)) {
        counter_add(x->counters, mc_cas_hits, 1);
        return put_stale(edit, put);
    }
    counter_add(x->counters, mc_cas_badval, 1);
    return PUT_EXISTS;
}

static bool is_for_win(const struct exec *x, const struct memcache_put *put)
{
    return put->how == HOW_CAS && (put->cas & LEASE_MARK) != 0 && memcache_is_fenced(x);
}

static enum memcache_outcome fill_win(struct exec *x, struct store_edit *edit, const struct memcache_put *put)
{
    struct slice name = {edit->key.data, edit->key.len};
    enum store_status why = STORE_OK;
    bool there = memcache_finds(edit);
    uint32_t took_ms = 0;

    switch (lease_fill(edit, put->cas & ~LEASE_MARK, whole_value(put), &why, &took_ms)) {
    case FILL_STORED:
        counter_add(x->counters, mc_cas_hits, 1);
        herd_note_filled(x, name, took_ms);
        return PUT_STORED;
    case FILL_LATE:
    case FILL_LATE_STALE:
        counter_add(x->counters, mc_cas_badval, there);
        counter_add(x->counters, mc_cas_misses, !there);
        herd_note_late(x, name);
        return there ? PUT_EXISTS : PUT_NOT_FOUND;
    case FILL_REFUSED:
        lease_give_back(edit, put->cas & ~LEASE_MARK); /* nobody shall wait for it any longer */
        return outcome_of(why);
    }
    CHECK_UNREACHABLE();
}

/* Under the fence, an ms that names no win while one is out is either a fill
 * that shows no right, or a newer value that the fill must not replace later.
 * It is not stored; and lest it was the latter, what it was to replace goes,
 * the win with it, as after every set that fails. */
static bool is_fenced_off(const struct exec *x, struct store_edit *edit, const struct memcache_put *put)
{
    if (!put->is_meta || put->has_cas || !memcache_is_fenced(x) || !lease_is_out(edit))
        return false;
    if (put->how == HOW_SET || put->how == HOW_REPLACE)
        store_edit_drop(edit);
    return true;
}

static bool is_whole(const struct memcache_put *put)
{
    return put->how == HOW_SET || put->how == HOW_ADD || put->how == HOW_REPLACE;
}

static enum memcache_outcome put_as_told(struct exec *x, struct store_edit *edit,
                                         const struct memcache_put *put)
{
    if (is_fenced_off(x, edit, put) || (is_whole(put) && protect_is_late(x, edit, put->data)))
        return PUT_NOT_STORED;
    switch (put->how) {
    case HOW_SET: return put_whole(edit, put);
    case HOW_ADD:
        return memcache_finds(edit) || memcache_finds_filter(edit) ? PUT_NOT_STORED : put_whole(edit, put);
    case HOW_REPLACE: return memcache_finds(edit) ? put_whole(edit, put) : PUT_NOT_STORED;
    case HOW_APPEND:
    case HOW_PREPEND: return put_beside(edit, put);
    case HOW_CAS: return put_if_current(x, edit, put);
    }
    CHECK_UNREACHABLE();
}

enum memcache_outcome memcache_put(struct exec *x, struct store_edit *edit, const struct memcache_put *put)
{
    bool fits = put->key_len + put->data.len <= option_live(x->options, max_item_size);
    enum memcache_outcome outcome = PUT_TOO_LARGE;

    if (is_for_win(x, put)) /* too large or not, a win that is over changes nothing */
        outcome = fill_win(x, edit, put);
    else if (fits)
        outcome = put_as_told(x, edit, put);
    counter_add(x->counters, mc_cmd_set, 1);
    if (outcome == PUT_TOO_LARGE)
        counter_add(x->counters, too_large, 1);
    if (outcome == PUT_NO_MEMORY)
        counter_add(x->counters, oom_refused, 1);
    return outcome;
}

/* ---- arithmetic ---- */

static bool is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* A number as memcached finds it in a value: it may stand between blanks, and
 * after the blank that ends it anything goes. */
static bool number_in(struct slice value, uint64_t *out)
{
    size_t from = 0;
    size_t to;

    while (from < value.len && is_space(value.data[from]))
        from++;
    if (from < value.len && value.data[from] == '+')
        from++;
    for (to = from; to < value.len && !is_space(value.data[to]);)
        to++;
    return slice_to_u64((struct slice){value.data + from, to - from}, out);
}

static uint64_t sum_of(bool up, uint64_t number, uint64_t delta)
{
    if (up)
        return number + delta;
    return delta < number ? number - delta : 0;
}

static enum store_status put_number(struct store_edit *edit, struct slice digits, uint64_t cas_new)
{
    static const uint8_t blanks[NUMBER_LEN_MAX] = {[0 ... NUMBER_LEN_MAX - 1] = ' '};
    bool in_place = digits.len <= edit->value.len;
    bool was_fetched = edit->fetched;
    struct store_value value = {
        .head = digits,
        .flags = edit->flags,
        .expires = edit->expires,
        .cas = cas_new,
    };
    enum store_status status;

    if (in_place) {
        value.tail = (struct slice){blanks, edit->value.len - digits.len};
        value.state = edit->state;
        value.herd = lease_orphaned(edit);
        value.key_binary = edit->key_binary;
    }
    status = store_edit_put(edit, &value);
    if (status == STORE_OK && in_place && was_fetched && edit->found)
        store_edit_touch(edit);
    return status;
}

enum memcache_sum memcache_add(struct store_edit *edit, bool up, uint64_t delta, uint64_t cas_new,
                               uint64_t *result)
{
    uint8_t digits[20];
    uint64_t number;
    size_t len;

    if (edit->value.len > NUMBER_LEN_MAX || !number_in(edit->value, &number))
        return SUM_NOT_A_NUMBER;
    *result = sum_of(up, number, delta);
    len = u64_to_text(digits, *result);
    return put_number(edit, (struct slice){digits, len}, cas_new) == STORE_OK ? SUM_DONE : SUM_NO_MEMORY;
}

/* ---- time ---- */

struct memcache_touched memcache_touch(struct exec *x, const struct key *key, instant expires)
{
    struct memcache_touched touched;
    struct store_edit edit;

    store_edit_begin(x->store, x->local, key, x->now, &edit);
    touched.found = memcache_finds(&edit);
    touched.refused = touched.found && store_edit_expire(&edit, expires) != STORE_OK;
    if (touched.found && edit.found)
        store_edit_touch(&edit);
    store_edit_end(&edit);
    counter_add(x->counters, mc_cmd_touch, 1);
    counter_add(x->counters, mc_touch_hits, touched.found);
    counter_add(x->counters, mc_touch_misses, !touched.found);
    counter_add(x->counters, oom_refused, touched.refused);
    return touched;
}

/* ---- reading ---- */

void memcache_note_expired(struct exec *x)
{
    if (x->session->parked != PARK_NOT)
        return;
    counter_add(x->counters, mc_get_expired, 1);
    counter_add(x->counters, expired_on_read, 1);
}

bool memcache_give_cas(struct exec *x, const struct key *key)
{
    struct store_edit edit;
    bool given;

    store_edit_begin(x->store, x->local, key, x->now, &edit);
    given = memcache_finds(&edit) && store_edit_cas(&edit) != 0;
    store_edit_end(&edit);
    return given;
}

uint8_t *memcache_copy_value(uint8_t *p, const uint8_t *value, size_t len)
{
    racy_read(p, value, len);
    p += len;
    p[0] = '\r';
    p[1] = '\n';
    return p + 2;
}
