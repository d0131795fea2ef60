/* load_herd_read.c - the drivers: what to send, and what an answer means.
 *
 *   ASKING --value--> done
 *      | task --> fetch --> STORING --> done          (lock: UNLOCKING before that)
 *      | somebody else has it --> pause --> ASKING
 *      ' lock only: missing --> LOCKING --won--> LOOKING_AGAIN --missing--> fetch */
#include "bench/load_herd_read.h"

#include "server/check.h"

#include <stdarg.h>
#include <stdio.h>

static const char UNLOCK_SCRIPT[] =
    "if redis.call('get',KEYS[1])==ARGV[1] then return redis.call('del',KEYS[1]) else return 0 end";

static const struct {
    const char *name;
    enum herd_dialect dialect;
} DRIVERS[HERD_DRIVERS] = {
    [HERD_PLAIN_RESP] = {"plain-resp", HERD_RESP},
    [HERD_PLAIN_TEXT] = {"plain-text", HERD_MEMCACHE},
    [HERD_META] = {"meta", HERD_MEMCACHE},
    [HERD_META_BLIND] = {"meta-blind", HERD_MEMCACHE},
    [HERD_LEASE_GET] = {"lease-get", HERD_MEMCACHE},
    [HERD_GETLEASE] = {"getlease", HERD_RESP},
    [HERD_LOCK] = {"lock", HERD_RESP},
};

enum herd_dialect herd_driver_dialect(enum herd_driver driver)
{
    return DRIVERS[driver].dialect;
}

const char *herd_driver_name(enum herd_driver driver)
{
    return DRIVERS[driver].name;
}

bool herd_driver_named(struct slice name, enum herd_driver *driver)
{
    for (int i = 0; i < HERD_DRIVERS; i++)
        if (slice_equals(name, slice_of(DRIVERS[i].name))) {
            *driver = (enum herd_driver)i;
            return true;
        }
    return false;
}

/* ---- writing requests --------------------------------------------------- */

static void put_bytes(struct herd_out *out, struct slice s)
{
    CHECK(s.len <= out->size - out->len);
    if (s.len > 0)
        memcpy(out->data + out->len, s.data, s.len);
    out->len += s.len;
}

__attribute__((format(printf, 2, 3))) static void put_text(struct herd_out *out, const char *format, ...)
{
    va_list args;
    int len;

    va_start(args, format);
    len = vsnprintf((char *)out->data + out->len, out->size - out->len, format, args);
    va_end(args);
    CHECK(len >= 0 && (size_t)len < out->size - out->len);
    out->len += (size_t)len;
}

static void put_array(struct herd_out *out, int elements)
{
    put_text(out, "*%d\r\n", elements);
}

static void put_bulk(struct herd_out *out, struct slice s)
{
    put_text(out, "$%zu\r\n", s.len);
    put_bytes(out, s);
    put_text(out, "\r\n");
}

static void put_word(struct herd_out *out, const char *word)
{
    put_bulk(out, slice_of(word));
}

static void put_number(struct herd_out *out, uint64_t number)
{
    char text[24];

    snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    put_word(out, text);
}

/* "command key": how every memcached request begins. */
static void put_command(struct herd_out *out, const char *command, struct slice key)
{
    put_text(out, "%s ", command);
    put_bytes(out, key);
}

static void put_value_line(struct herd_out *out, struct slice value)
{
    put_text(out, "\r\n");
    put_bytes(out, value);
    put_text(out, "\r\n");
}

/* memcached knows whole seconds, and 0 as "never". */
static unsigned long long seconds_of(uint64_t ms)
{
    return (ms + 999) / 1000;
}

static void put_lock_key(struct herd_out *out, struct slice key)
{
    put_text(out, "$%zu\r\n", key.len + 5);
    put_bytes(out, key);
    put_text(out, ":lock\r\n");
}

static void put_get(struct herd_out *out, struct slice key)
{
    put_array(out, 2);
    put_word(out, "GET");
    put_bulk(out, key);
}

static void put_set(struct herd_out *out, struct slice key, struct slice value, uint64_t ttl_ms)
{
    put_array(out, ttl_ms > 0 ? 5 : 3);
    put_word(out, "SET");
    put_bulk(out, key);
    put_bulk(out, value);
    if (ttl_ms > 0) {
        put_word(out, "PX");
        put_number(out, ttl_ms);
    }
}

static void put_set_text(struct herd_out *out, struct slice key, struct slice value, uint64_t ttl_ms)
{
    put_command(out, "set", key);
    put_text(out, " 0 %llu %zu", seconds_of(ttl_ms), value.len);
    put_value_line(out, value);
}

static void put_ms(struct herd_out *out, struct slice key, struct slice value, uint64_t ttl_ms, uint64_t cas)
{
    put_command(out, "ms", key);
    put_text(out, " %zu T%llu", value.len, seconds_of(ttl_ms));
    if (cas != 0)
        put_text(out, " C%llu", (unsigned long long)cas);
    put_value_line(out, value);
}

static void put_getlease(struct herd_out *out, struct slice key, const struct herd_plan *plan)
{
    put_array(out, 2 + (plan->wait_ms > 0 ? 2 : 0) + (plan->takes_stale ? 1 : 0));
    put_word(out, "GETLEASE");
    put_bulk(out, key);
    if (plan->wait_ms > 0) {
        put_word(out, "WAIT");
        put_number(out, plan->wait_ms);
    }
    if (plan->takes_stale)
        put_word(out, "STALE");
}

static void put_setlease(struct herd_out *out, struct slice key, uint64_t token, struct slice value,
                         const struct herd_plan *plan)
{
    put_array(out, 4 + (plan->ttl_ms > 0 ? 2 : 0) + (plan->grace_ms > 0 ? 2 : 0));
    put_word(out, "SETLEASE");
    put_bulk(out, key);
    put_number(out, token);
    put_bulk(out, value);
    if (plan->ttl_ms > 0) {
        put_word(out, "PX");
        put_number(out, plan->ttl_ms);
    }
    if (plan->grace_ms > 0) {
        put_word(out, "GRACE");
        put_number(out, plan->grace_ms);
    }
}

static void put_lock(struct herd_out *out, struct slice key, uint64_t nonce, uint64_t lease_ms)
{
    put_array(out, 6);
    put_word(out, "SET");
    put_lock_key(out, key);
    put_number(out, nonce);
    put_word(out, "NX");
    put_word(out, "PX");
    put_number(out, lease_ms);
}

static void put_unlock(struct herd_out *out, struct slice key, uint64_t nonce, enum herd_unlock how)
{
    switch (how) {
    case HERD_UNLOCK_DEL:
        put_array(out, 2);
        put_word(out, "DEL");
        put_lock_key(out, key);
        return;
    case HERD_UNLOCK_DELIFEQ:
        put_array(out, 3);
        put_word(out, "DELIFEQ");
        put_lock_key(out, key);
        put_number(out, nonce);
        return;
    case HERD_UNLOCK_EVAL:
        put_array(out, 5);
        put_word(out, "EVAL");
        put_word(out, UNLOCK_SCRIPT);
        put_number(out, 1);
        put_lock_key(out, key);
        put_number(out, nonce);
        return;
    }
    CHECK_UNREACHABLE();
}

static void put_ask(const struct herd_read *r, const struct herd_plan *plan, struct herd_out *out)
{
    switch (r->driver) {
    case HERD_PLAIN_RESP:
    case HERD_LOCK: put_get(out, r->key); return;
    case HERD_GETLEASE: put_getlease(out, r->key, plan); return;
    case HERD_PLAIN_TEXT:
        put_command(out, "get", r->key);
        put_text(out, "\r\n");
        return;
    case HERD_LEASE_GET:
        put_command(out, "lease-get", r->key);
        put_text(out, "\r\n");
        return;
    case HERD_META:
    case HERD_META_BLIND:
        put_command(out, "mg", r->key);
        put_text(out, " v c N%llu\r\n", seconds_of(plan->lease_ms));
        return;
    case HERD_DRIVERS: break;
    }
    CHECK_UNREACHABLE();
}

static void put_fill(const struct herd_read *r, struct slice value, const struct herd_plan *plan,
                     struct herd_out *out)
{
    switch (r->driver) {
    case HERD_PLAIN_RESP:
    case HERD_LOCK: put_set(out, r->key, value, plan->ttl_ms); return;
    case HERD_GETLEASE: put_setlease(out, r->key, r->token, value, plan); return;
    case HERD_PLAIN_TEXT: put_set_text(out, r->key, value, plan->ttl_ms); return;
    case HERD_LEASE_GET:
        put_command(out, "lease-set", r->key);
        put_text(out, " %llu 0 %llu %zu", (unsigned long long)r->token, seconds_of(plan->ttl_ms), value.len);
        put_value_line(out, value);
        return;
    case HERD_META: put_ms(out, r->key, value, plan->ttl_ms, r->token); return;
    case HERD_META_BLIND: put_ms(out, r->key, value, plan->ttl_ms, 0); return;
    case HERD_DRIVERS: break;
    }
    CHECK_UNREACHABLE();
}

/* ---- a read ------------------------------------------------------------- */

enum herd_step herd_read_start(struct herd_read *r, enum herd_driver driver, struct slice key, uint64_t nonce,
                               const struct herd_plan *plan, struct herd_out *out)
{
    *r = (struct herd_read){.driver = driver, .key = key, .nonce = nonce};
    return herd_read_again(r, plan, out);
}

enum herd_step herd_read_again(struct herd_read *r, const struct herd_plan *plan, struct herd_out *out)
{
    r->stage = HERD_ASKING;
    put_ask(r, plan, out);
    return HERD_SEND;
}

static enum herd_step unlock(struct herd_read *r, const struct herd_plan *plan, struct herd_out *out)
{
    if (!r->locked)
        return HERD_DONE;
    r->locked = false;
    r->stage = HERD_UNLOCKING;
    put_unlock(out, r->key, r->nonce, plan->unlock);
    return HERD_SEND;
}

/* Copied: an unlock may follow, whose answer comes to the same place. */
static void complain(struct herd_read *r, struct slice text)
{
    snprintf(r->complaint, sizeof r->complaint, "%.*s", (int)text.len, (const char *)text.data);
}

static enum herd_step strange(struct herd_read *r, const struct herd_reply *reply)
{
    r->strange = true;
    complain(r, reply->text);
    return HERD_DONE;
}

static enum herd_step hit(struct herd_read *r, const struct herd_reply *reply, bool marked,
                          const struct herd_plan *plan, struct herd_out *out)
{
    r->hit = true;
    r->marked = marked;
    r->value = reply->value;
    return unlock(r, plan, out);
}

static enum herd_step leased(struct herd_read *r, const struct herd_reply *reply,
                             const struct herd_plan *plan, struct herd_out *out)
{
    r->token = reply->token;
    switch (reply->state) {
    case HERD_LIVE: return reply->has_value ? hit(r, reply, false, plan, out) : strange(r, reply);
    case HERD_GRANTED: return HERD_FETCH;
    case HERD_OUTDATED:
        if (reply->token != 0)
            return HERD_FETCH; /* old, and this client is to refresh it */
        return reply->has_value && plan->takes_stale ? hit(r, reply, true, plan, out) : HERD_PAUSE;
    case HERD_FILLING: return HERD_PAUSE;
    case HERD_NEGATIVE: return strange(r, reply); /* nobody here says so */
    }
    CHECK_UNREACHABLE();
}

static enum herd_step missed(struct herd_read *r, const struct herd_reply *reply,
                             const struct herd_plan *plan, struct herd_out *out)
{
    switch (r->driver) {
    case HERD_PLAIN_RESP:
    case HERD_PLAIN_TEXT: return HERD_FETCH;
    case HERD_LOCK:
        if (r->stage == HERD_LOOKING_AGAIN)
            return HERD_FETCH;
        r->stage = HERD_LOCKING;
        put_lock(out, r->key, r->nonce, plan->lease_ms);
        return HERD_SEND;
    case HERD_META:
    case HERD_META_BLIND:
    case HERD_LEASE_GET:
    case HERD_GETLEASE: return strange(r, reply); /* they are never told "missing" alone */
    case HERD_DRIVERS: break;
    }
    CHECK_UNREACHABLE();
}

static bool is_plain(enum herd_driver driver)
{
    return driver == HERD_PLAIN_RESP || driver == HERD_PLAIN_TEXT || driver == HERD_LOCK;
}

static enum herd_step asked(struct herd_read *r, const struct herd_reply *reply, const struct herd_plan *plan,
                            struct herd_out *out)
{
    switch (reply->kind) {
    case HERD_VALUE: return hit(r, reply, false, plan, out);
    case HERD_NOTHING: return missed(r, reply, plan, out);
    case HERD_LEASE: return is_plain(r->driver) ? strange(r, reply) : leased(r, reply, plan, out);
    case HERD_OK:
    case HERD_NUMBER:
    case HERD_NOT_STORED:
    case HERD_REFUSED: return strange(r, reply);
    }
    CHECK_UNREACHABLE();
}

enum herd_step herd_read_answered(struct herd_read *r, const struct herd_reply *reply,
                                  const struct herd_plan *plan, struct herd_out *out)
{
    if (reply->kind == HERD_REFUSED) {
        r->refused = true;
        complain(r, reply->text);
        return unlock(r, plan, out);
    }
    switch (r->stage) {
    case HERD_ASKING:
    case HERD_LOOKING_AGAIN: return asked(r, reply, plan, out);
    case HERD_LOCKING:
        if (reply->kind != HERD_OK)
            return reply->kind == HERD_NOTHING ? HERD_PAUSE : strange(r, reply);
        /* The one before may have filled it between the miss and the lock. */
        r->locked = true;
        r->stage = HERD_LOOKING_AGAIN;
        put_get(out, r->key);
        return HERD_SEND;
    case HERD_STORING:
        r->filled = reply->kind == HERD_OK;
        r->late = reply->kind == HERD_NOTHING || reply->kind == HERD_NOT_STORED;
        if (!r->filled && !r->late)
            return strange(r, reply);
        return unlock(r, plan, out);
    case HERD_UNLOCKING: return reply->kind == HERD_NUMBER ? HERD_DONE : strange(r, reply);
    }
    CHECK_UNREACHABLE();
}

enum herd_step herd_read_fetched(struct herd_read *r, struct slice value, const struct herd_plan *plan,
                                 struct herd_out *out)
{
    r->stage = HERD_STORING;
    put_fill(r, value, plan, out);
    return HERD_SEND;
}

/* ---- the writer --------------------------------------------------------- */

bool herd_driver_can_update(enum herd_driver driver, enum herd_update update)
{
    switch (update) {
    case HERD_UPDATE_DELETE:
    case HERD_UPDATE_SET: return true;
    case HERD_UPDATE_INVALIDATE:
        return driver == HERD_GETLEASE || driver == HERD_META || driver == HERD_META_BLIND;
    }
    CHECK_UNREACHABLE();
}

static bool speaks_meta(enum herd_driver driver)
{
    return driver == HERD_META || driver == HERD_META_BLIND;
}

static void put_removal(enum herd_driver driver, struct slice key, bool invalidates, struct herd_out *out)
{
    if (herd_driver_dialect(driver) == HERD_RESP) {
        put_array(out, 2);
        put_word(out, invalidates ? "INVALIDATE" : "DEL");
        put_bulk(out, key);
        return;
    }
    put_command(out, speaks_meta(driver) ? "md" : "delete", key);
    put_text(out, invalidates ? " I\r\n" : "\r\n");
}

void herd_write_update(enum herd_driver driver, struct slice key, struct slice value,
                       const struct herd_plan *plan, struct herd_out *out)
{
    CHECK(herd_driver_can_update(driver, plan->update));
    if (plan->update != HERD_UPDATE_SET)
        put_removal(driver, key, plan->update == HERD_UPDATE_INVALIDATE, out);
    else if (herd_driver_dialect(driver) == HERD_RESP)
        put_set(out, key, value, plan->ttl_ms);
    else if (speaks_meta(driver))
        put_ms(out, key, value, plan->ttl_ms, 0);
    else
        put_set_text(out, key, value, plan->ttl_ms);
}

void herd_write_clear(enum herd_driver driver, struct slice key, struct herd_out *out)
{
    if (driver != HERD_LOCK) {
        put_removal(driver, key, false, out);
        return;
    }
    put_array(out, 3);
    put_word(out, "DEL");
    put_bulk(out, key);
    put_lock_key(out, key);
}
