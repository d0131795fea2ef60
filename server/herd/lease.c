#include "server/herd/lease.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/random.h>
#include <time.h>

#include "server/check.h"

enum lease_state lease_state(const struct store_edit *e)
{
    if (!e->found && !e->graced)
        return LEASE_ABSENT;
    if (e->state & ITEM_PENDING)
        return LEASE_PENDING;
    if (e->state & (ITEM_NEGATIVE | ITEM_FILTER))
        return e->found ? LEASE_NEGATIVE : LEASE_ABSENT;
    return e->graced || (e->state & ITEM_STALE) ? LEASE_STALE : LEASE_LIVE;
}

instant lease_end(const struct store_edit *e)
{
    return after(e->herd.granted, (span){e->herd.length_ms});
}

bool lease_is_out(const struct store_edit *e)
{
    return e->herd.token != 0 && is_before(e->now, lease_end(e));
}

/* ---- tokens ---- */

/* splitmix64's last step: one to one, so that counting up never meets the same twice. */
static uint64_t scatter(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static _Atomic uint64_t tokens_seed;
static pthread_once_t seeded = PTHREAD_ONCE_INIT;

static void seed_tokens(void)
{
    uint64_t seed = 0;

    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) != sizeof seed) {
        struct timespec t;
        clock_gettime(CLOCK_REALTIME, &t);
        seed = scatter((uint64_t)t.tv_sec << 32 ^ (uint64_t)t.tv_nsec);
    }
    atomic_store_explicit(&tokens_seed, seed, memory_order_relaxed);
}

uint64_t lease_new_token(void)
{
    enum { RANDOM_BITS = 48 };
    uint64_t token;

    pthread_once(&seeded, seed_tokens);
    do {
        token =
            scatter(atomic_fetch_add_explicit(&tokens_seed, 1, memory_order_relaxed)) >> (64 - RANDOM_BITS);
    } while (token < 2);
    return token;
}

/* ---- transitions ---- */

/* Another lease, or none, on what is there, which is kept until `expires` at least. */
static enum store_status set_lease(struct store_edit *e, struct store_herd lease, instant expires)
{
    uint8_t state = (uint8_t)(lease.token != 0 ? e->state | ITEM_WON : e->state & ~ITEM_WON);

    lease.grace_ms = e->herd.grace_ms;
    lease.fill_ms = e->herd.fill_ms;
    if (e->expires.ms == 0 || !is_before(after(e->expires, (span){lease.grace_ms}), expires))
        return store_edit_mark(e, state, e->expires, &lease);
    if (e->state & ITEM_PENDING) /* which has no grace */
        return store_edit_mark(e, state, expires, &lease);
    lease.grace_ms = (uint32_t)since(expires, e->expires).ms;
    return store_edit_mark(e, state, e->expires, &lease);
}

static struct store_herd new_lease(const struct store_edit *e, uint32_t length_ms)
{
    CHECK(length_ms > 0 && length_ms <= STORE_LEASE_MAX_MS);
    return (struct store_herd){.token = lease_new_token(), .granted = e->now, .length_ms = length_ms};
}

static enum lease_answer answer(enum store_status status, const struct store_herd *lease, uint64_t *token)
{
    if (status != STORE_OK)
        return LEASE_NO_ROOM;
    *token = lease->token;
    return LEASE_GRANTED;
}

static bool is_filter(const struct store_edit *e)
{
    return e->found && state_is_filter(e->state);
}

enum lease_answer lease_take(struct store_edit *e, uint32_t length_ms, uint64_t *token)
{
    struct store_herd lease = new_lease(e, length_ms);
    enum lease_state state = lease_state(e);
    enum store_status status;

    if (lease_is_out(e))
        return LEASE_HELD;
    if (is_filter(e))
        return LEASE_NO_ROOM;
    if (state == LEASE_ABSENT || (state == LEASE_PENDING && !lease_is_vivified(e->state)))
        status = store_edit_reserve(e, &lease);
    else
        status = set_lease(e, lease, after(e->now, (span){length_ms}));
    return answer(status, &lease, token);
}

enum lease_answer lease_vivify(struct store_edit *e, uint32_t length_ms, struct store_value value,
                               uint64_t *token)
{
    if (lease_is_out(e))
        return LEASE_HELD;
    if (is_filter(e))
        return LEASE_NO_ROOM;
    value.state = LEASE_VIVIFIED | ITEM_WON;
    value.herd = new_lease(e, length_ms);
    return answer(store_edit_put(e, &value), &value.herd, token);
}

enum lease_answer lease_win(struct store_edit *e, uint32_t length_ms, uint64_t *token)
{
    struct store_herd lease = new_lease(e, length_ms);

    if (lease_is_out(e))
        return LEASE_HELD;
    return answer(set_lease(e, lease, (instant){0}), &lease, token);
}

enum store_status lease_mark_stale(struct store_edit *e, instant expires)
{
    struct store_herd herd = {.grace_ms = e->herd.grace_ms, .fill_ms = e->herd.fill_ms};
    uint8_t state = (uint8_t)((e->state | ITEM_STALE) & ~ITEM_WON);

    return store_edit_mark(e, state, expires, &herd);
}

struct store_herd lease_orphaned(const struct store_edit *e)
{
    struct store_herd herd = e->herd;

    if (lease_is_out(e))
        herd.token = lease_new_token();
    return herd;
}

static bool is_good(const struct store_edit *e, uint64_t token)
{
    return token != 0 && token == e->herd.token && lease_is_out(e);
}

enum lease_fill lease_fill(struct store_edit *e, uint64_t token, struct store_value value,
                           enum store_status *why, uint32_t *took_ms)
{
    int64_t took = e->now.ms - e->herd.granted.ms;

    if (!is_good(e, token))
        return lease_state(e) == LEASE_STALE ? FILL_LATE_STALE : FILL_LATE;
    value.herd.fill_ms = took > 0 ? (uint32_t)took : 1; /* 0 would say that it is not known */
    *why = store_edit_put(e, &value);
    if (*why != STORE_OK)
        return FILL_REFUSED;
    *took_ms = value.herd.fill_ms;
    return FILL_STORED;
}

bool lease_give_back(struct store_edit *e, uint64_t token)
{
    if (!is_good(e, token))
        return false;
    if (lease_state(e) == LEASE_PENDING)
        store_edit_drop(e);
    else
        set_lease(e, (struct store_herd){0},
                  (instant){0}); /* without memory it stays out until its time is over */
    return true;
}

bool lease_invalidate(struct store_edit *e, uint32_t grace_ms)
{
    struct store_herd herd = {.grace_ms = grace_ms, .fill_ms = e->herd.fill_ms};
    enum lease_state state = lease_state(e);
    instant expires = e->now;

    if (state == LEASE_ABSENT) {
        store_edit_drop(e); /* something negative, out of time, whose lease is out */
        return false;
    }
    if (e->graced) { /* only its lease dies: it does not get another grace */
        expires = e->expires;
        herd.grace_ms = e->herd.grace_ms;
    }
    if (state == LEASE_PENDING || state == LEASE_NEGATIVE || herd.grace_ms == 0 ||
        store_edit_mark(e, ITEM_LIVE, expires, &herd) != STORE_OK)
        store_edit_drop(e);
    return true;
}
