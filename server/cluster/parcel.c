#include "server/cluster/parcel.h"

#include <string.h>

enum { FIXED = 14 };
enum parcel_flags { TIMED = 1, HERDED = 2, LEASED = 4, CAS = 8, KEY_BINARY = 16, ALL = 31 };

static uint8_t *put(uint8_t *to, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        *to++ = (uint8_t)(value >> (8 * i));
    return to;
}

static uint64_t get(const uint8_t **from, unsigned bytes)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < bytes; i++)
        value |= (uint64_t)(*from)[i] << (8 * i);
    *from += bytes;
    return value;
}

static unsigned flags_of(const struct parcel *p)
{
    return (p->timed ? TIMED : 0) | (p->grace_ms != 0 || p->fill_ms != 0 ? HERDED : 0) |
           (p->leased ? LEASED : 0) | (p->cas != 0 ? CAS : 0) | (p->key_binary ? KEY_BINARY : 0);
}

static size_t rest_of(unsigned flags)
{
    return (flags & TIMED ? 8u : 0) + (flags & HERDED ? 8u : 0) + (flags & LEASED ? 16u : 0) +
           (flags & CAS ? 8u : 0);
}

size_t parcel_size(const struct parcel *p)
{
    return FIXED + p->key.len + p->value.len + rest_of(flags_of(p));
}

uint8_t *parcel_put(uint8_t *to, const struct parcel *p)
{
    unsigned flags = flags_of(p);

    to = put(to, p->db, 1);
    to = put(to, p->state, 1);
    to = put(to, flags, 1);
    to = put(to, 0, 1);
    to = put(to, p->key.len, 2);
    to = put(to, p->value.len, 4);
    to = put(to, p->flags, 4);
    if (p->key.len > 0)
        memcpy(to, p->key.data, p->key.len);
    to += p->key.len;
    if (p->value.len > 0)
        memcpy(to, p->value.data, p->value.len);
    to += p->value.len;
    if (flags & TIMED)
        to = put(to, (uint64_t)p->left_ms, 8);
    if (flags & HERDED) {
        to = put(to, p->grace_ms, 4);
        to = put(to, p->fill_ms, 4);
    }
    if (flags & LEASED) {
        to = put(to, p->token, 8);
        to = put(to, p->lease_ms, 4);
        to = put(to, p->granted_ms_ago, 4);
    }
    return flags & CAS ? put(to, p->cas, 8) : to;
}

static void get_rest(const uint8_t *at, unsigned flags, struct parcel *p)
{
    p->timed = flags & TIMED;
    p->leased = flags & LEASED;
    p->key_binary = flags & KEY_BINARY;
    if (flags & TIMED)
        p->left_ms = (int64_t)get(&at, 8);
    if (flags & HERDED) {
        p->grace_ms = (uint32_t)get(&at, 4);
        p->fill_ms = (uint32_t)get(&at, 4);
    }
    if (flags & LEASED) {
        p->token = get(&at, 8);
        p->lease_ms = (uint32_t)get(&at, 4);
        p->granted_ms_ago = (uint32_t)get(&at, 4);
    }
    if (flags & CAS)
        p->cas = get(&at, 8);
}

/* What no node would have sent, and the store could not keep. */
static bool is_sound(const struct parcel *p, unsigned flags)
{
    const int64_t far = INT64_MAX / 4;
    bool herded = p->grace_ms != 0 || p->fill_ms != 0;

    if (p->key.len > STORE_KEY_MAX)
        return false;
    if (p->left_ms > far || p->left_ms < -far || herded != ((flags & HERDED) != 0))
        return false;
    if (p->leased && (p->token == 0 || p->lease_ms == 0 || p->lease_ms > STORE_LEASE_MAX_MS))
        return false;
    return (p->cas != 0) == ((flags & CAS) != 0);
}

bool parcel_take(struct slice *bytes, struct parcel *p)
{
    const uint8_t *at = bytes->data;
    unsigned flags;
    size_t size;

    if (bytes->len < FIXED)
        return false;
    *p = (struct parcel){.db = (uint8_t)get(&at, 1), .state = (uint8_t)get(&at, 1)};
    flags = (unsigned)get(&at, 1);
    if (flags > ALL || get(&at, 1) != 0)
        return false;
    p->key.len = (size_t)get(&at, 2);
    p->value.len = (size_t)get(&at, 4);
    p->flags = (uint32_t)get(&at, 4);
    size = FIXED + p->key.len + p->value.len + rest_of(flags);
    if (bytes->len < size)
        return false;
    p->key.data = at;
    p->value.data = at + p->key.len;
    get_rest(p->value.data + p->value.len, flags, p);
    if (!is_sound(p, flags))
        return false;
    bytes->data += size;
    bytes->len -= size;
    return true;
}

/* ---- out of a store, and into one ---- */

static uint32_t bounded(int64_t ms)
{
    if (ms < 0)
        return 0;
    return ms < UINT32_MAX ? (uint32_t)ms : UINT32_MAX;
}

bool parcel_of(const struct store_edit *e, struct parcel *p)
{
    if (!e->found && !e->graced)
        return false;
    *p = (struct parcel){.key = {e->key.data, e->key.len},
                         .value = e->value,
                         .db = e->key.db,
                         .state = e->state,
                         .key_binary = e->key_binary,
                         .timed = e->expires.ms != 0,
                         .leased = e->herd.token != 0,
                         .flags = e->flags,
                         .grace_ms = e->herd.grace_ms,
                         .fill_ms = e->herd.fill_ms,
                         .cas = e->cas};
    if (p->timed)
        p->left_ms = since(e->expires, e->now).ms;
    if (p->leased) {
        p->token = e->herd.token;
        p->lease_ms = e->herd.length_ms;
        p->granted_ms_ago = bounded(since(e->now, e->herd.granted).ms);
    }
    return true;
}

static bool is_out_of_time(const struct parcel *p)
{
    return p->timed && p->left_ms + (int64_t)p->grace_ms <= 0;
}

enum store_status parcel_store(struct store *store, struct store_local *local, const struct parcel *p,
                               instant now, const _Atomic bool *refused)
{
    struct key key = store_key_in(store, p->db, p->key);
    struct store_value v = {.head = p->value,
                            .flags = p->flags,
                            .state = p->state,
                            .key_binary = p->key_binary,
                            .cas = p->cas,
                            .sets_expiry = true,
                            .herd = {.grace_ms = p->grace_ms, .fill_ms = p->fill_ms}};
    enum store_status status = STORE_OK;
    struct store_edit e;

    if (is_out_of_time(p))
        return STORE_OK;
    if (p->timed) /* 0 would mean for ever */
        v.expires = (instant){now.ms + p->left_ms != 0 ? now.ms + p->left_ms : 1};
    if (p->leased) {
        v.herd.token = p->token;
        v.herd.length_ms = p->lease_ms;
        v.herd.granted = (instant){now.ms - (int64_t)p->granted_ms_ago};
    }
    if (p->cas != 0)
        store_raise_cas(store, p->cas);
    store_edit_begin(store, local, &key, now, &e);
    if (!e.found && !e.graced && (refused == NULL || !atomic_load_explicit(refused, memory_order_relaxed)))
        status = store_edit_put(&e, &v);
    store_edit_end(&e);
    return status;
}
