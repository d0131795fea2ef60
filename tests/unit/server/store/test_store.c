/* test_store.c - the store against a model that is too simple to be wrong.
 *
 * Random puts, drops, expiries, reads and switches, with values from nothing
 * to blobs. Under no memory pressure the store must equal the model; under
 * pressure an item may be missing but never be anything else than the model's.
 * store_check() walks every structure now and then. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "server/store/store.h"

enum { KEYS = 3000, MIB = 1 << 20 };

struct model_item {
    bool present;
    uint32_t len, salt, flags;
    instant expires;
    uint64_t cas;
};

struct rig {
    struct store *store;
    struct store_local *local;
    struct model_item items[KEYS];
    instant now;
    uint64_t dice;
    bool roomy; /* nothing may be missing */
    uint32_t value_max, big_every;
    unsigned hits, misses;
};

static uint32_t roll(struct rig *r, uint32_t n)
{
    r->dice ^= r->dice << 13;
    r->dice ^= r->dice >> 7;
    r->dice ^= r->dice << 17;
    return (uint32_t)((r->dice >> 20) % n);
}

static struct key key_of(struct rig *r, uint32_t k, char *text)
{
    int len = snprintf(text, 400, "key:%u", k);

    if (k % 97 == 0) { /* some keys longer than one byte can say */
        memset(text + len, 'x', 300);
        len += 300;
    }
    return store_key(r->store, (struct slice){(uint8_t *)text, (size_t)len});
}

static uint8_t byte_of(uint32_t salt, uint32_t i)
{
    return (uint8_t)((salt + i) * 2654435761u >> 24);
}

static void fill(uint8_t *to, uint32_t len, uint32_t salt)
{
    for (uint32_t i = 0; i < len; i++)
        to[i] = byte_of(salt, i);
}

static void check_value(const struct model_item *m, struct slice value, uint32_t flags, instant expires)
{
    assert_true(m->present);
    assert_int_equal(value.len, m->len);
    assert_int_equal(flags, m->flags);
    assert_int_equal(expires.ms, m->expires.ms);
    for (uint32_t i = 0; i<m->len; i += m->len> 5000 ? 997 : 1)
        assert_int_equal(value.data[i], byte_of(m->salt, i));
}

static void settle(struct rig *r, struct model_item *m)
{
    if (m->present && m->expires.ms != 0 && m->expires.ms <= r->now.ms)
        m->present = false;
}

static void do_peek(struct rig *r, uint32_t k)
{
    char text[400];
    struct key key = key_of(r, k, text);
    struct model_item *m = &r->items[k];
    struct store_peek peek;

    settle(r, m);
    switch (store_peek(r->store, r->local, &key, r->now, true, &peek)) {
    case PEEK_MISS:
        r->misses++;
        if (r->roomy)
            assert_false(m->present);
        m->present = false;
        return;
    case PEEK_HIT:
        check_value(m, (struct slice){peek.value, peek.len}, peek.flags, peek.expires);
        assert_true(store_peek_ok(&peek));
        break;
    case PEEK_BLOB:
        check_value(m, (struct slice){peek.value, peek.len}, peek.flags, peek.expires);
        blob_unpin(&peek.blob);
        break;
    }
    r->hits++;
}

static instant some_expiry(struct rig *r)
{
    switch (roll(r, 6)) {
    case 0: return after(r->now, (span){1 + roll(r, 50)});
    case 1: return after(r->now, (span){1 + roll(r, 100000)});
    case 2: return after(r->now, (span){(int64_t)roll(r, 200) * 86400000 + 1}); /* beyond 32 bits of ms too */
    default: return (instant){0};
    }
}

static void do_put(struct rig *r, uint32_t k)
{
    static uint8_t buffer[4 * MIB];
    char text[400];
    struct key key = key_of(r, k, text);
    struct model_item *m = &r->items[k];
    struct store_edit e;
    struct store_value v = {.flags = roll(r, 3) == 0 ? roll(r, 1000) : 0, .expires = some_expiry(r)};
    uint32_t len = roll(r, r->big_every) == 0 ? roll(r, r->value_max) : roll(r, 400);
    uint32_t salt = roll(r, 1 << 30), cut = roll(r, len + 1);

    settle(r, m);
    fill(buffer, len, salt);
    v.head = (struct slice){buffer, cut};
    v.tail = (struct slice){buffer + cut, len - cut};
    store_edit_begin(r->store, r->local, &key, r->now, &e);
    if (e.found)
        check_value(m, e.value, e.flags, e.expires);
    else if (r->roomy)
        assert_false(m->present);
    uint64_t cas = e.cas;
    enum store_status status = store_edit_put(&e, &v);
    if (status == STORE_OK) {
        *m = (struct model_item){true, len, salt, v.flags, v.expires, e.cas};
        assert_true(e.found);
        if (cas != 0)
            assert_true(e.cas > cas);
        check_value(m, e.value, e.flags, e.expires);
    } else {
        assert_false(r->roomy);
        assert_int_equal(status, STORE_NO_SPACE);
    }
    store_edit_end(&e);
}

static void do_append(struct rig *r, uint32_t k)
{
    char text[400];
    struct key key = key_of(r, k, text);
    struct model_item *m = &r->items[k];
    struct store_edit e;
    uint8_t more[64];
    uint32_t n = roll(r, sizeof more);

    settle(r, m);
    store_edit_begin(r->store, r->local, &key, r->now, &e);
    if (e.found && m->present) {
        for (uint32_t i = 0; i < n; i++)
            more[i] = byte_of(m->salt, m->len + i);
        struct store_value v = {
            .head = e.value, .tail = {more, n}, .flags = e.flags, .expires = e.expires, .state = e.state};
        if (store_edit_put(&e, &v) == STORE_OK)
            m->len += n;
        if (e.found)
            check_value(m, e.value, e.flags, e.expires);
    }
    store_edit_end(&e);
}

static void do_change(struct rig *r, uint32_t k)
{
    char text[400];
    struct key key = key_of(r, k, text);
    struct model_item *m = &r->items[k];
    struct store_edit e;

    settle(r, m);
    store_edit_begin(r->store, r->local, &key, r->now, &e);
    if (r->roomy)
        assert_int_equal(e.found, m->present);
    if (e.found) {
        switch (roll(r, 3)) {
        case 0:
            store_edit_drop(&e);
            m->present = false;
            break;
        case 1: {
            instant expires = some_expiry(r);
            if (store_edit_expire(&e, expires) == STORE_OK)
                m->expires = expires;
            break;
        }
        case 2: {
            uint64_t cas = store_edit_cas(&e);
            if (r->roomy)
                assert_int_not_equal(cas, 0);
            assert_int_equal(store_edit_cas(&e), cas);
            break;
        }
        }
        if (e.found)
            check_value(m, e.value, e.flags, e.expires);
        else
            m->present = m->present && false;
    }
    store_edit_end(&e);
}

static struct rig *rig_new(uint64_t memory, enum evict_scope scope, const char *policy, unsigned shards,
                           uint64_t seed)
{
    struct rig *r = calloc(1, sizeof *r);
    char err[200] = "";
    struct store_config config = {.memory_max = memory,
                                  .item_max = 8 * MIB,
                                  .shards = shards,
                                  .workers = 1,
                                  .segment_bytes = 256 * 1024,
                                  .scope = scope,
                                  .policy = policy != NULL ? evict_type_find(policy) : NULL,
                                  .seed = seed};
    assert_non_null(r);
    r->store = store_new(&config, err, sizeof err);
    if (r->store == NULL)
        fail_msg("%s", err);
    r->local = store_local_new(r->store);
    r->now = (instant){1700000000000};
    r->dice = seed * 2654435761u + 88172645463325252u;
    r->value_max = 300000;
    r->big_every = 50;
    return r;
}

static void rig_free(struct rig *r)
{
    store_local_free(&r->local);
    store_free(&r->store);
    assert_int_equal(blob_bytes_total(), 0);
    free(r);
}

static void churn(struct rig *r, unsigned steps)
{
    for (unsigned i = 0; i < steps; i++) {
        uint32_t k = roll(r, KEYS);
        switch (roll(r, 8)) {
        case 0:
        case 1:
        case 2: do_put(r, k); break;
        case 3: do_append(r, k); break;
        case 4: do_change(r, k); break;
        default: do_peek(r, k); break;
        }
        if (roll(r, 20) == 0)
            r->now.ms += roll(r, 30);
        if (roll(r, 200) == 0)
            store_tick(r->store, 0, r->now, 200);
        if (i % 5000 == 4999)
            store_check(r->store);
    }
    store_check(r->store);
}

static void equals_model_when_roomy(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct rig *r = rig_new(UINT64_C(512) * MIB, EVICT_ALLKEYS, "s3fifo", seed == 3 ? 4 : 1, seed);
        r->roomy = true;
        churn(r, 60000);
        struct store_stats stats;
        store_stats(r->store, &stats);
        assert_int_equal(stats.evicted, 0);
        assert_true(stats.expired > 0);
        rig_free(r);
    }
}

static void never_lies_under_pressure(void **state)
{
    static const struct {
        enum evict_scope scope;
        const char *policy;
    } all[] = {{EVICT_ALLKEYS, "s3fifo"}, {EVICT_ALLKEYS, "fifo"},    {EVICT_ALLKEYS, "clock"},
               {EVICT_ALLKEYS, "lru"},    {EVICT_ALLKEYS, "lfu"},     {EVICT_ALLKEYS, "arc"},
               {EVICT_ALLKEYS, "sieve"},  {EVICT_ALLKEYS, "random"},  {EVICT_ALLKEYS, "twoq"},
               {EVICT_ALLKEYS, "slru"},   {EVICT_ALLKEYS, "lirs"},    {EVICT_ALLKEYS, "wtinylfu"},
               {EVICT_ALLKEYS, "gdsf"},   {EVICT_VOLATILE, "lru"},    {EVICT_VOLATILE, "lfu"},
               {EVICT_VOLATILE, "ttl"},   {EVICT_VOLATILE, "random"}, {EVICT_NOTHING, NULL}};
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        struct rig *r = rig_new(5 * MIB, all[i].scope, all[i].policy, 1, i + 1);
        r->value_max = i % 2 ? 20000 : 120000;
        r->big_every = 5;
        churn(r, 40000);
        struct store_stats stats;
        store_stats(r->store, &stats);
        if (all[i].scope == EVICT_ALLKEYS)
            assert_true(stats.evicted > 0);
        if (stats.memory_bytes > 6 * MIB)
            fail_msg("%s holds %lu bytes", all[i].policy != NULL ? all[i].policy : "noeviction",
                     (unsigned long)stats.memory_bytes);
        assert_true(r->hits > 1000);
        rig_free(r);
    }
}

/* ttl is for keys with an expiry only; some of the others are now and then. */
static void set_policy(struct rig *r, unsigned number)
{
    const struct evict_type *type = evict_type_at(number);
    bool is_volatile = strcmp(type->name, "ttl") == 0 || (type->queues == 0 && roll(r, 8) == 0);

    assert_true(store_set_policy(r->store, is_volatile ? EVICT_VOLATILE : EVICT_ALLKEYS, type));
}

/* Any policy after any other, the next change sometimes before the last one is through. */
static void residents_change_hands_under_pressure(void **state)
{
    unsigned n = 0;

    (void)state;
    while (evict_type_at(n) != NULL)
        n++;
    struct rig *r = rig_new(6 * MIB, EVICT_ALLKEYS, "lru", 1, 5);
    r->value_max = 4000;
    churn(r, 20000);
    for (unsigned pair = 0; pair < n * n; pair++) {
        set_policy(r, pair / n);
        churn(r, roll(r, 300));
        if (roll(r, 2) == 0)
            while (store_tick(r->store, 0, r->now, 1000))
                ;
        set_policy(r, pair % n);
        for (unsigned i = 0; i < 4; i++) {
            churn(r, roll(r, 200));
            store_tick(r->store, 0, r->now, 1);
            store_check(r->store);
        }
        if (roll(r, 30) == 0) {
            store_flush(r->store);
            for (uint32_t k = 0; k < KEYS; k++)
                r->items[k].present = false;
            churn(r, 3000);
        }
    }
    rig_free(r);
}

/* Evicted by the new policy in the order in which the old one would have. */
static void residents_are_handed_over_coldest_first(void **state)
{
    enum { ITEMS = 6000 };

    (void)state;
    struct rig *r = rig_new(16 * MIB, EVICT_ALLKEYS, "lru", 1, 6);
    static uint8_t bytes[1000];
    struct store_value v = {.head = {bytes, sizeof bytes}};
    char name[16];
    struct store_edit e;
    struct store_peek peek;
    struct store_stats stats;

    for (unsigned i = 0; i < ITEMS; i++) {
        struct key key = store_key(
            r->store, (struct slice){(uint8_t *)name, (size_t)snprintf(name, sizeof name, "i%u", i)});
        store_edit_begin(r->store, r->local, &key, r->now, &e);
        assert_int_equal(store_edit_put(&e, &v), STORE_OK);
        store_edit_end(&e);
    }
    for (unsigned i = ITEMS; i-- > 0;) { /* now the last one is the coldest */
        struct key key = store_key(
            r->store, (struct slice){(uint8_t *)name, (size_t)snprintf(name, sizeof name, "i%u", i)});
        store_edit_begin(r->store, r->local, &key, r->now, &e);
        store_edit_touch(&e);
        store_edit_end(&e);
    }
    assert_true(store_set_policy(r->store, EVICT_ALLKEYS, evict_type_find("twoq")));
    assert_true(store_set_memory_max(r->store, 4 * MIB));
    while (store_tick(r->store, 0, r->now, 1000))
        ;
    store_stats(r->store, &stats);
    assert_true(stats.evicted > 100 && stats.items > 100);
    for (unsigned i = 0; i < ITEMS; i++) {
        struct key key = store_key(
            r->store, (struct slice){(uint8_t *)name, (size_t)snprintf(name, sizeof name, "i%u", i)});
        bool is_there = store_look(r->store, r->local, &key, r->now, false, &peek) != PEEK_MISS;
        if (is_there != (i < stats.items))
            fail_msg("item %u of %lu kept is %sthere", i, (unsigned long)stats.items, is_there ? "" : "not ");
    }
    rig_free(r);
}

static void switches_policy_and_limit_without_dropping_what_fits(void **state)
{
    static const char *const names[] = {"lru",  "s3fifo", "arc",      "sieve",  "clock",
                                        "lfu",  "s3fifo", "fifo",     "random", "lirs",
                                        "twoq", "gdsf",   "wtinylfu", "slru",   "wtinylfu-doorkeeper"};
    (void)state;
    struct rig *r = rig_new(UINT64_C(256) * MIB, EVICT_ALLKEYS, "s3fifo", 1, 9);
    r->roomy = true;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        churn(r, 4000);
        assert_true(store_set_policy(r->store, EVICT_ALLKEYS, evict_type_find(names[i])));
        store_check(r->store);
        assert_true(store_set_memory_max(r->store, (uint64_t)(128 + 64 * (i % 3)) * MIB));
        store_check(r->store);
    }
    assert_true(store_set_policy(r->store, EVICT_VOLATILE, evict_type_find("ttl")));
    store_check(r->store);
    churn(r, 4000);
    assert_true(store_set_policy(r->store, EVICT_NOTHING, NULL));
    churn(r, 4000);
    for (uint32_t k = 0; k < KEYS; k++)
        do_peek(r, k);
    r->roomy = false;
    assert_true(store_set_policy(r->store, EVICT_ALLKEYS, evict_type_find("lru")));
    assert_true(store_set_memory_max(r->store, 3 * MIB));
    while (store_tick(r->store, 0, r->now, 1000))
        ;
    store_check(r->store);
    struct store_stats stats;
    store_stats(r->store, &stats);
    assert_true(stats.memory_bytes < 5 * MIB);
    churn(r, 4000);
    rig_free(r);
}

static void count_visit(void *arg, const struct scan_item *item)
{
    unsigned *seen = arg;
    unsigned k = 0;

    if (sscanf((const char *)item->key.data, "key:%u", &k) == 1 && k < KEYS)
        seen[k]++;
}

/* Every key there throughout is returned, while others come and the table grows. */
static void scan_misses_nothing_while_growing(void **state)
{
    static unsigned seen[KEYS];
    (void)state;
    for (unsigned shards = 1; shards <= 4; shards *= 4) {
        struct rig *r = rig_new(UINT64_C(256) * MIB, EVICT_ALLKEYS, "lru", shards, 5);
        char text[400];
        uint64_t cursor = 0;
        unsigned extra = KEYS;

        memset(seen, 0, sizeof seen);
        for (uint32_t k = 0; k < 500; k++) {
            struct key key = key_of(r, k, text);
            struct store_edit e;
            store_edit_begin(r->store, r->local, &key, r->now, &e);
            assert_int_equal(store_edit_put(&e, &(struct store_value){0}), STORE_OK);
            store_edit_end(&e);
        }
        do {
            cursor = store_scan(r->store, cursor, 10, r->now, count_visit, seen);
            for (unsigned i = 0; i < 100; i++, extra++) {
                struct key key = key_of(r, extra, text);
                struct store_edit e;
                store_edit_begin(r->store, r->local, &key, r->now, &e);
                assert_int_equal(store_edit_put(&e, &(struct store_value){0}), STORE_OK);
                store_edit_end(&e);
            }
        } while (cursor != 0);
        for (uint32_t k = 0; k < 500; k++)
            assert_true(seen[k] >= 1);
        store_check(r->store);
        store_flush(r->store);
        store_check(r->store);
        for (uint32_t k = 0; k < 500; k++)
            do_peek(r, k);
        assert_int_equal(r->hits, 0);
        rig_free(r);
    }
}

/* ---- stories of bugs that were ---- */

static struct key named(struct rig *r, const char *format, unsigned k)
{
    static char text[64];
    int len = snprintf(text, sizeof text, "%s%u", format, k);

    return store_key(r->store, (struct slice){(uint8_t *)text, (size_t)len});
}

static enum store_status put_sized(struct rig *r, const char *format, unsigned k, size_t len, instant expires)
{
    static const uint8_t zeros[16 * MIB];
    struct key key = named(r, format, k);
    struct store_value v = {.head = {zeros, len}, .expires = expires};
    struct store_edit e;

    store_edit_begin(r->store, r->local, &key, r->now, &e);
    enum store_status status = store_edit_put(&e, &v);
    store_edit_end(&e);
    return status;
}

static bool use(struct rig *r, const char *format, unsigned k, unsigned times, instant *expires)
{
    struct key key = named(r, format, k);
    struct store_peek peek;
    bool hit = false;

    while (times-- > 0) {
        enum peek_status status = store_peek(r->store, r->local, &key, r->now, true, &peek);
        hit = status != PEEK_MISS;
        *expires = hit ? peek.expires : (instant){0};
        if (status == PEEK_BLOB)
            blob_unpin(&peek.blob);
    }
    return hit;
}

/* A switch away from s3fifo while its small queue is empty left a segment that
 * nobody could free, and compaction turned round it for ever. */
static void a_switch_leaves_no_empty_sealed_segment(void **state)
{
    (void)state;
    struct rig *r = rig_new(6 * MIB, EVICT_ALLKEYS, "s3fifo", 1, 7);
    instant ignored;

    for (unsigned k = 0; k < 90000; k++) {
        put_sized(r, "k", k, 100, (instant){0});
        (void)use(r, "k", k, 3, &ignored);
    }
    for (unsigned k = 0; k < 90000; k += 1) { /* what is left in the small queue is the youngest */
        struct key key = named(r, "k", k);
        struct store_edit e;
        if (k < 80000)
            continue;
        store_edit_begin(r->store, r->local, &key, r->now, &e);
        store_edit_drop(&e);
        store_edit_end(&e);
    }
    assert_true(store_set_policy(r->store, EVICT_ALLKEYS, evict_type_find("lru")));
    store_check(r->store);
    for (unsigned i = 0; i < 60000; i++)
        put_sized(r, "n", roll(r, 8000), roll(r, 300), (instant){0});
    store_check(r->store);
    rig_free(r);
}

/* Promotion copies an item into a segment that may be older than the item's
 * own, and 32 bits from there did not reach an expiry of 49.7 days. */
static void promotion_keeps_a_far_expiry(void **state)
{
    (void)state;
    struct rig *r = rig_new(6 * MIB, EVICT_ALLKEYS, "s3fifo", 1, 7);
    instant expires, far;
    unsigned kept = 0;

    for (unsigned k = 0; k < 90000; k++) {
        put_sized(r, "k", k, 100, (instant){0});
        if (k % 200 == 0)
            (void)use(r, "k", k, 3, &expires);
    }
    r->now.ms += 3600 * 1000;
    for (unsigned k = 0; k < 2500; k++)
        put_sized(r, "f", k, 100, (instant){0});
    far = (instant){r->now.ms + (int64_t)UINT32_MAX - 61000};
    for (unsigned k = 0; k < 50; k++) {
        put_sized(r, "x", k, 100, far);
        (void)use(r, "x", k, 3, &expires);
    }
    for (unsigned k = 0; k < 60000; k++)
        put_sized(r, "g", k, 100, (instant){0});
    for (unsigned k = 0; k < 50; k++)
        if (use(r, "x", k, 1, &expires)) {
            assert_int_equal(expires.ms, far.ms);
            kept++;
        }
    assert_true(kept > 0);
    store_check(r->store);
    rig_free(r);
}

/* What can never fit is refused before anybody dies for it. */
static void a_refused_overwrite_costs_nobody_anything(void **state)
{
    (void)state;
    struct rig *r = rig_new(16 * MIB, EVICT_ALLKEYS, "lru", 1, 7);
    struct store_stats before, now;
    instant ignored;

    store_set_item_max(r->store, 64 * MIB);
    for (unsigned k = 0; k < 40000; k++)
        put_sized(r, "k", k, 100, (instant){0});
    assert_int_equal(put_sized(r, "big", 0, 5 * MIB, (instant){0}), STORE_OK);
    store_stats(r->store, &before);
    assert_int_equal(put_sized(r, "big", 0, 14 * MIB, (instant){0}), STORE_NO_SPACE);
    store_stats(r->store, &now);
    assert_int_equal(now.items, before.items);
    assert_true(use(r, "big", 0, 1, &ignored));
    rig_free(r);
}

/* A rename needs room for both for a moment. Where nothing may be evicted and the limit came down meanwhile,
 * each must still get its place: the alternatives are a refusal that redis does not know, and a lost
 * value. */
static void what_moves_finds_room_beyond_the_limit(void **state)
{
    static const uint32_t sizes[] = {100, 20000, 100000};
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct rig *r = rig_new(16 * MIB, EVICT_NOTHING, NULL, 1, 7);
        static uint8_t value[100000];
        unsigned n = 0, left;
        instant ignored;

        while (put_sized(r, "k", n, sizes[i], (instant){0}) == STORE_OK)
            n++;
        store_set_other_bytes(r->store, 3 * MIB);
        assert_int_equal(put_sized(r, "m", 0, sizes[i], (instant){0}), STORE_NO_SPACE);
        for (unsigned k = 0; k < n; k++) {
            struct key key = named(r, "m", k);
            struct store_value v = {.head = {value, sizes[i]}, .moves = true};
            struct store_edit e;

            store_edit_begin(r->store, r->local, &key, r->now, &e);
            assert_int_equal(store_edit_put(&e, &v), STORE_OK);
            store_edit_end(&e);
            key = named(r, "k", k);
            store_edit_begin(r->store, r->local, &key, r->now, &e);
            store_edit_drop(&e);
            store_edit_end(&e);
        }
        store_check(r->store);
        while (store_tick(r->store, 0, r->now, 1000))
            ;
        store_check(r->store);
        left = 0;
        for (unsigned k = 0; k < n; k++)
            left += use(r, "m", k, 1, &ignored);
        assert_int_equal(left, n);
        assert_int_equal(put_sized(r, "k", 0, sizes[i], (instant){0}), STORE_NO_SPACE);
        rig_free(r);
    }
}

/* Giving a blob a cas when the limit was lowered meanwhile may evict that very blob. */
static void an_item_may_go_inside_its_own_rewrite(void **state)
{
    static const char *const names[] = {"random", "lru", "s3fifo", "arc"};
    (void)state;
    for (unsigned turn = 0; turn < 80; turn++) {
        struct rig *r = rig_new(8 * MIB, EVICT_ALLKEYS, names[turn % 4], 1, turn + 1);
        instant ignored;

        for (unsigned k = 0; k < 300; k++)
            put_sized(r, "k", k, 29000 + roll(r, 300), (instant){0});
        for (unsigned k = 0; k < 3; k++) {
            put_sized(r, "b", k, 40000 + roll(r, 300000), (instant){0});
            (void)use(r, "b", k, 1, &ignored);
        }
        assert_true(store_set_memory_max(r->store, (2 + roll(r, 5)) * (uint64_t)MIB));
        for (unsigned k = 0; k < 3; k++) {
            struct key key = named(r, "b", k);
            struct store_edit e;
            store_edit_begin(r->store, r->local, &key, r->now, &e);
            if (e.found)
                (void)store_edit_cas(&e);
            store_edit_end(&e);
        }
        store_check(r->store);
        rig_free(r);
    }
}

/* The same while the table shrinks under the cursor. */
static void scan_misses_nothing_while_shrinking(void **state)
{
    enum { ALL = 60000 };
    static unsigned seen[KEYS];
    (void)state;
    struct rig *r = rig_new(UINT64_C(256) * MIB, EVICT_ALLKEYS, "lru", 1, 5);
    char text[400];
    struct store_edit e;
    uint64_t cursor = 0;
    uint32_t gone = 500;

    memset(seen, 0, sizeof seen);
    for (uint32_t k = 0; k < ALL; k++) {
        struct key key = key_of(r, k, text);
        store_edit_begin(r->store, r->local, &key, r->now, &e);
        assert_int_equal(store_edit_put(&e, &(struct store_value){0}), STORE_OK);
        store_edit_end(&e);
    }
    do {
        cursor = store_scan(r->store, cursor, 10, r->now, count_visit, seen);
        for (unsigned i = 0; i < 100 && gone < ALL; i++, gone++) {
            struct key key = key_of(r, gone, text);
            store_edit_begin(r->store, r->local, &key, r->now, &e);
            assert_true(e.found);
            store_edit_drop(&e);
            store_edit_end(&e);
        }
        store_tick(r->store, 0, r->now, 100);
    } while (cursor != 0);
    for (uint32_t k = 0; k < 500; k++)
        assert_true(seen[k] >= 1);
    store_check(r->store);
    rig_free(r);
}

/* A million items that expire together are gone within a second of ticks, and their memory too. */
static void mass_expiry_returns_memory(void **state)
{
    enum { N = 300000 };
    (void)state;
    struct rig *r = rig_new(UINT64_C(512) * MIB, EVICT_ALLKEYS, "s3fifo", 1, 5);
    struct store_stats stats;
    uint8_t value[100] = {0};

    for (uint32_t k = 0; k < N; k++) {
        char text[32];
        int len = snprintf(text, sizeof text, "expiring:%u", k);
        struct key key = store_key(r->store, (struct slice){(uint8_t *)text, (size_t)len});
        struct store_edit e;
        struct store_value v = {.head = {value, sizeof value}, .expires = after(r->now, (span){12000})};
        store_edit_begin(r->store, r->local, &key, r->now, &e);
        assert_int_equal(store_edit_put(&e, &v), STORE_OK);
        store_edit_end(&e);
    }
    store_stats(r->store, &stats);
    assert_int_equal(stats.items, N);
    uint64_t before = stats.memory_bytes, index_before = stats.index_bytes;
    r->now.ms += 11999;
    while (store_tick(r->store, 0, r->now, 1000))
        ;
    store_stats(r->store, &stats);
    assert_int_equal(stats.items, N);
    r->now.ms += 1;
    while (store_tick(r->store, 0, r->now, 1000))
        ;
    store_stats(r->store, &stats);
    assert_int_equal(stats.items, 0);
    assert_int_equal(stats.expired, N);
    assert_true(stats.memory_bytes < before / 3);
    assert_true(stats.index_bytes < index_before / 2); /* the table shrank, too */
    store_check(r->store);
    rig_free(r);
}

/* New sizes take over at once: no calcification. The other policies keep what
 * they know against newcomers that nobody asks for again, as they should. */
static void sizes_change_under_a_full_limit(void **state)
{
    static const char *const names[] = {"s3fifo", "lru", "arc",    "fifo", "clock",
                                        "sieve",  "lfu", "random", "twoq"};
    (void)state;
    for (size_t p = 0; p < sizeof names / sizeof names[0]; p++) {
        struct rig *r = rig_new(UINT64_C(24) * MIB, EVICT_ALLKEYS, names[p], 1, 5);
        static uint8_t value[1000];
        char text[32];
        uint32_t resident = 0;

        for (uint32_t k = 0; k < 340000; k++) {
            bool old = k < 300000;
            int len = snprintf(text, sizeof text, "%s:%024u", old ? "old" : "new", k);
            struct key key = store_key(r->store, (struct slice){(uint8_t *)text, (size_t)len});
            struct store_edit e;
            struct store_value v = {.head = {value, old ? 100 : 1000}};
            store_edit_begin(r->store, r->local, &key, r->now, &e);
            assert_int_equal(store_edit_put(&e, &v), STORE_OK);
            store_edit_end(&e);
        }
        store_check(r->store);
        for (uint32_t k = 300000; k < 340000; k++) {
            int len = snprintf(text, sizeof text, "new:%024u", k);
            struct key key = store_key(r->store, (struct slice){(uint8_t *)text, (size_t)len});
            struct store_peek peek;
            resident += store_peek(r->store, r->local, &key, r->now, false, &peek) == PEEK_HIT;
        }
        struct store_stats stats;
        store_stats(r->store, &stats);
        print_message("%s: %u of 40000 new items resident, %lu KiB held, %lu relocated, %lu compacted\n",
                      names[p], resident, (unsigned long)stats.memory_bytes >> 10,
                      (unsigned long)stats.relocated, (unsigned long)stats.segments_compacted);
        if (strcmp(names[p], "random") != 0)
            assert_true(resident > 18000);
        rig_free(r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_model_when_roomy),
        cmocka_unit_test(never_lies_under_pressure),
        cmocka_unit_test(residents_change_hands_under_pressure),
        cmocka_unit_test(residents_are_handed_over_coldest_first),
        cmocka_unit_test(switches_policy_and_limit_without_dropping_what_fits),
        cmocka_unit_test(scan_misses_nothing_while_growing),
        cmocka_unit_test(a_switch_leaves_no_empty_sealed_segment),
        cmocka_unit_test(promotion_keeps_a_far_expiry),
        cmocka_unit_test(a_refused_overwrite_costs_nobody_anything),
        cmocka_unit_test(what_moves_finds_room_beyond_the_limit),
        cmocka_unit_test(an_item_may_go_inside_its_own_rewrite),
        cmocka_unit_test(scan_misses_nothing_while_shrinking),
        cmocka_unit_test(mass_expiry_returns_memory),
        cmocka_unit_test(sizes_change_under_a_full_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
