/* test_databases.c - several databases in one store, and hearing of changes.
 *
 * The same few names in all databases, so that mixing two up shows at once.
 * The observer keeps a list of what must be there from nothing but the changes
 * it is told of; that list and the store have to agree at all times, also
 * while items are evicted, moved and expire. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <pthread.h>
#include <cmocka.h>

#include "server/store/store.h"

#if defined(__SANITIZE_THREAD__)
enum { SLOWNESS = 10 };
#else
enum { SLOWNESS = 1 };
#endif
enum { DATABASES = 5, KEYS = 800, MIB = 1 << 20, LONG_VALUE = 300000 };
static const uint8_t numbers[DATABASES] = {0, 1, 7, 128, 255};

struct expected {
    bool present;
    uint32_t salt, len;
    instant expires;
};

struct rig {
    struct store *store;
    struct store_local *local;
    struct store_observer observer;
    struct expected items[DATABASES][KEYS];
    bool heard[DATABASES][KEYS]; /* there, as far as the observer knows */
    unsigned heard_of[CHANGE_EVICTED + 1];
    void *wrong_owner; /* not NULL: a change came with an owner it cannot have */
    instant now;
    uint64_t dice;
    uint32_t value_max;
};

static uint32_t roll(struct rig *r, uint32_t n)
{
    r->dice ^= r->dice << 13;
    r->dice ^= r->dice >> 7;
    r->dice ^= r->dice << 17;
    return (uint32_t)((r->dice >> 20) % n);
}

static struct key key_of(struct store *store, unsigned d, uint32_t k, char text[32])
{
    int len = snprintf(text, 32, "name:%u", k);

    return store_key_in(store, numbers[d], (struct slice){(uint8_t *)text, (size_t)len});
}

static unsigned index_of(uint8_t db)
{
    for (unsigned d = 0; d < DATABASES; d++) {
        if (numbers[d] == db)
            return d;
    }
    fail_msg("database %u was never used", db);
    return 0;
}

static void note_change(void *arg, void *by, uint8_t db, struct slice name, enum store_change change)
{
    struct rig *r = arg;
    unsigned k;
    char text[32] = "";

    memcpy(text, name.data, name.len < 31 ? name.len : 31);
    assert_int_equal(sscanf(text, "name:%u", &k), 1);
    r->heard[index_of(db)][k] = change == CHANGE_WRITTEN;
    r->heard_of[change]++;
    if (by != (change == CHANGE_EXPIRED || change == CHANGE_EVICTED ? NULL : r))
        r->wrong_owner = by;
}

static struct rig *rig_new(uint64_t memory, const char *policy, unsigned shards)
{
    struct rig *r = calloc(1, sizeof *r);
    char err[200] = "";
    struct store_config config = {.memory_max = memory,
                                  .item_max = 8 * MIB,
                                  .shards = shards,
                                  .workers = 1,
                                  .segment_bytes = 256 * 1024,
                                  .scope = policy != NULL ? EVICT_ALLKEYS : EVICT_NOTHING,
                                  .policy = policy != NULL ? evict_type_find(policy) : NULL,
                                  .seed = 7};

    assert_non_null(r);
    r->store = store_new(&config, err, sizeof err);
    assert_non_null(r->store);
    r->local = store_local_new(r->store);
    store_local_set_owner(r->local, r);
    r->observer = (struct store_observer){.changed = note_change, .arg = r};
    store_observe(r->store, &r->observer);
    r->now = (instant){1700000000000};
    r->dice = 88172645463325252u;
    r->value_max = 400;
    return r;
}

static void rig_free(struct rig *r)
{
    assert_null(r->wrong_owner);
    store_local_free(&r->local);
    store_free(&r->store);
    assert_int_equal(blob_bytes_total(), 0);
    free(r);
}

static uint8_t byte_of(const struct expected *e, unsigned d)
{
    return (uint8_t)(e->salt * 31 + d);
}

static void check_value(const struct expected *e, unsigned d, struct slice value, instant expires)
{
    assert_int_equal(value.len, e->len);
    assert_int_equal(expires.ms, e->expires.ms);
    for (uint32_t i = 0; i<e->len; i += e->len> 5000 ? 997 : 1)
        assert_int_equal(value.data[i], byte_of(e, d));
}

static void put(struct rig *r, struct store_edit *edit, struct expected *e, unsigned d)
{
    static uint8_t buffer[LONG_VALUE];
    struct expected next = {.present = true, .salt = roll(r, 1000), .len = e->len};
    struct store_value v = {0};

    if (!e->present || roll(r, 2) == 0) /* else the same length: in place */
        next.len = roll(r, 100) == 0 ? LONG_VALUE - roll(r, 1000) : roll(r, r->value_max);
    if (roll(r, 3) == 0)
        next.expires = after(r->now, (span){1 + roll(r, roll(r, 2) ? 40 : 100000)});
    memset(buffer, byte_of(&next, d), next.len);
    v.head = (struct slice){buffer, next.len};
    v.expires = next.expires;
    if (store_edit_put(edit, &v) == STORE_OK)
        *e = next;
}

static void touch_one(struct rig *r, bool roomy)
{
    unsigned d = roll(r, DATABASES);
    uint32_t k = roll(r, KEYS);
    struct expected *e = &r->items[d][k];
    struct store_edit edit;
    char text[32];
    struct key key = key_of(r->store, d, k, text);

    if (e->present && e->expires.ms != 0 && e->expires.ms <= r->now.ms)
        e->present = false;
    store_edit_begin(r->store, r->local, &key, r->now, &edit);
    if (roomy)
        assert_int_equal(edit.found, e->present);
    assert_int_equal(edit.found, r->heard[d][k]);
    if (edit.found)
        check_value(e, d, edit.value, edit.expires);
    e->present = edit.found;
    switch (roll(r, 8)) {
    case 0: store_edit_drop(&edit); break;
    case 1:
        if (edit.found && store_edit_expire(&edit, after(r->now, (span){1 + roll(r, 100)})) == STORE_OK)
            e->expires = edit.expires;
        break;
    case 2:
        if (edit.found && store_edit_expire(&edit, (instant){0}) == STORE_OK)
            e->expires = edit.expires;
        break;
    case 3: store_edit_cas(&edit); break;
    default: put(r, &edit, e, d); break;
    }
    e->present = edit.found;
    assert_int_equal(edit.found, r->heard[d][k]);
    store_edit_end(&edit);
}

static void flush_one(struct rig *r)
{
    unsigned d = roll(r, DATABASES);

    store_flush_db(r->store, numbers[d], r->now);
    memset(r->items[d], 0, sizeof r->items[d]); /* of that alone */
    memset(r->heard[d], 0, sizeof r->heard[d]);
    assert_int_equal(store_db_count(r->store, numbers[d]).items, 0);
}

/* Nothing that is due is left, so that counts can be compared. */
static void expire_all(struct rig *r)
{
    while (store_tick(r->store, 0, r->now, 10000))
        ;
}

static void check_counts(struct rig *r)
{
    for (unsigned d = 0; d < DATABASES; d++) {
        struct store_db_count count = store_db_count(r->store, numbers[d]);
        uint64_t heard = 0;

        for (uint32_t k = 0; k < KEYS; k++)
            heard += r->heard[d][k];
        assert_int_equal(count.items, heard);
        assert_true(count.expiring <= count.items);
    }
    assert_int_equal(store_db_count(r->store, 200).items, 0);
}

static void churn(struct rig *r, unsigned steps, bool roomy)
{
    for (unsigned i = 0; i < steps / SLOWNESS; i++) {
        touch_one(r, roomy);
        if (roll(r, 20) == 0)
            r->now.ms += roll(r, 10);
        if (roll(r, 200) == 0)
            store_tick(r->store, 0, r->now, 200);
        if (roll(r, 4000) == 0)
            flush_one(r);
        if (i % 5000 == 4999) {
            expire_all(r);
            store_check(r->store);
            check_counts(r);
        }
    }
}

static void databases_do_not_mix(void **state)
{
    (void)state;
    for (unsigned shards = 1; shards <= 4; shards *= 4) {
        struct rig *r = rig_new(UINT64_C(1024) * MIB, "s3fifo", shards);
        struct store_stats stats;

        churn(r, 60000, true);
        store_stats(r->store, &stats);
        assert_int_equal(stats.evicted, 0);
        assert_true(r->heard_of[CHANGE_EXPIRED] > 10 && r->heard_of[CHANGE_REMOVED] > 10);
        rig_free(r);
    }
}

static void the_observer_hears_of_every_eviction(void **state)
{
    static const char *const names[] = {"s3fifo", "lru", "arc", "random", "sieve", "lfu"};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct rig *r = rig_new(5 * MIB, names[i], 1);

        r->value_max = 8000;
        churn(r, 30000, false);
        if (r->heard_of[CHANGE_EVICTED] <= 10)
            fail_msg("%s: heard of %u evictions", names[i], r->heard_of[CHANGE_EVICTED]);
        rig_free(r);
    }
}

static void a_policy_and_a_lower_limit_keep_databases(void **state)
{
    struct rig *r = rig_new(UINT64_C(256) * MIB, "s3fifo", 1);

    (void)state;
    churn(r, 10000, true);
    assert_true(store_set_policy(r->store, EVICT_ALLKEYS, evict_type_find("lru")));
    churn(r, 10000, true);
    assert_true(store_set_memory_max(r->store, 6 * MIB));
    churn(r, 20000, false);
    rig_free(r);
}

static void a_scan_says_whose_items_it_shows(void *arg, const struct scan_item *item)
{
    struct rig *r = arg;
    unsigned d = index_of(item->db), k;
    char text[32] = "";

    memcpy(text, item->key.data, item->key.len);
    assert_int_equal(sscanf(text, "name:%u", &k), 1);
    assert_true(r->items[d][k].present);
    check_value(&r->items[d][k], d, item->value, item->expires);
    r->heard[d][k] = false;
}

static void a_scan_shows_all_databases(void **state)
{
    struct rig *r = rig_new(UINT64_C(256) * MIB, NULL, 1);
    uint64_t cursor = 0;

    (void)state;
    churn(r, 20000, true);
    expire_all(r);
    do {
        cursor = store_scan(r->store, cursor, 10, r->now, a_scan_says_whose_items_it_shows, r);
    } while (cursor != 0);
    for (unsigned d = 0; d < DATABASES; d++) {
        for (uint32_t k = 0; k < KEYS; k++) {
            const struct expected *e = &r->items[d][k];
            bool expired = e->expires.ms != 0 && e->expires.ms <= r->now.ms;
            assert_true(!r->heard[d][k] || expired); /* all others were shown */
        }
    }
    rig_free(r);
}

static void note_seen(void *arg, const struct scan_item *item)
{
    (void)item;
    ++*(unsigned *)arg;
}

/* From wherever it begins, going on to the end and then from 0 to there meets everything. */
static void a_scan_may_begin_anywhere(void **state)
{
    struct rig *r = rig_new(UINT64_C(256) * MIB, NULL, 4);

    (void)state;
    churn(r, 20000, true);
    for (unsigned i = 0; i < 100; i++) {
        uint64_t dice = (uint64_t)roll(r, UINT32_MAX) << 32 | roll(r, UINT32_MAX);
        uint64_t cursor = store_scan_anywhere(r->store, dice);
        unsigned seen = 0, calls = 0;

        do {
            cursor = store_scan(r->store, cursor, 1, r->now, note_seen, &seen);
            assert_true(++calls < 1000000);
        } while (cursor != 0);
    }
    rig_free(r);
}

static void whoever_stops_listening_hears_no_more(void **state)
{
    struct rig *r = rig_new(UINT64_C(64) * MIB, NULL, 1);
    struct store_edit edit;
    char text[32];
    struct key key = key_of(r->store, 1, 1, text);
    struct store_value v = {.head = {(const uint8_t *)"x", 1}};

    (void)state;
    store_observe(r->store, NULL);
    store_edit_begin(r->store, r->local, &key, r->now, &edit);
    assert_int_equal(store_edit_put(&edit, &v), STORE_OK);
    store_edit_end(&edit);
    assert_int_equal(r->heard_of[CHANGE_WRITTEN], 0);
    rig_free(r);
}

static void a_look_tells_the_length_of_large_values(void **state)
{
    struct rig *r = rig_new(UINT64_C(64) * MIB, NULL, 1);
    static uint8_t value[LONG_VALUE];
    struct store_value v = {.head = {value, sizeof value}};
    struct store_edit edit;
    struct store_peek peek;
    char text[32];
    struct key key = key_of(r->store, 2, 1, text);

    (void)state;
    store_edit_begin(r->store, r->local, &key, r->now, &edit);
    assert_null(edit.blob);
    assert_int_equal(store_edit_put(&edit, &v), STORE_OK);
    assert_non_null(edit.blob);
    store_edit_end(&edit);
    assert_int_equal(store_look(r->store, r->local, &key, r->now, false, &peek), PEEK_HIT);
    assert_int_equal(peek.len, LONG_VALUE);
    assert_true(store_peek_ok(&peek));
    rig_free(r);
}

/* ---- flushing one database while others are written ---- */

struct load {
    struct store *store;
    unsigned d;
    _Atomic bool stop;
    instant now;
};

static void *write_along(void *arg)
{
    struct load *load = arg;
    struct store_local *local = store_local_new(load->store);
    static const uint8_t value[20000];
    char text[32];

    for (uint32_t i = 0; !atomic_load(&load->stop) || i < KEYS; i++) {
        struct key key = key_of(load->store, load->d, i % KEYS, text);
        struct store_value v = {.head = {value, i * 37 % (i % 50 == 0 ? 20000 : 200)}};
        struct store_edit edit;

        store_edit_begin(load->store, local, &key, load->now, &edit);
        assert_int_equal(store_edit_put(&edit, &v), STORE_OK);
        store_edit_end(&edit);
    }
    store_local_free(&local);
    return NULL;
}

static void a_flush_takes_nothing_from_others_meanwhile(void **state)
{
    struct rig *r = rig_new(UINT64_C(512) * MIB, "s3fifo", 2);
    struct load loads[2] = {{r->store, 1, false, r->now}, {r->store, 3, false, r->now}};
    pthread_t threads[2];

    (void)state;
    store_observe(r->store, NULL);
    for (unsigned i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, write_along, &loads[i]);
    for (unsigned i = 0; i < 300; i++) {
        store_flush_db(r->store, numbers[3], r->now);
        store_tick(r->store, 0, r->now, 500);
    }
    for (unsigned i = 0; i < 2; i++) {
        atomic_store(&loads[i].stop, true);
        pthread_join(threads[i], NULL);
    }
    store_check(r->store);
    assert_int_equal(store_db_count(r->store, numbers[1]).items, KEYS);
    store_flush_db(r->store, numbers[3], r->now);
    assert_int_equal(store_db_count(r->store, numbers[3]).items, 0);
    assert_int_equal(store_db_count(r->store, numbers[1]).items, KEYS);
    store_check(r->store);
    rig_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(databases_do_not_mix),
        cmocka_unit_test(the_observer_hears_of_every_eviction),
        cmocka_unit_test(a_policy_and_a_lower_limit_keep_databases),
        cmocka_unit_test(a_scan_shows_all_databases),
        cmocka_unit_test(a_scan_may_begin_anywhere),
        cmocka_unit_test(whoever_stops_listening_hears_no_more),
        cmocka_unit_test(a_look_tells_the_length_of_large_values),
        cmocka_unit_test(a_flush_takes_nothing_from_others_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
