/* test_parcel.c - items that leave one store and arrive in another. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "server/cluster/parcel.h"
#include "server/herd/lease.h"

enum { MIB = 1 << 20, ROOM = 300000 };

struct side {
    struct store *store;
    struct store_local *local;
};

static struct side side_new(uint64_t seed)
{
    struct store_config config = {.memory_max = 32 * MIB,
                                  .item_max = 8 * MIB,
                                  .shards = 1,
                                  .workers = 1,
                                  .segment_bytes = 256 * 1024,
                                  .seed = seed};
    char err[200];
    struct side s = {store_new(&config, err, sizeof err), NULL};

    assert_non_null(s.store);
    s.local = store_local_new(s.store);
    return s;
}

static void side_free(struct side *s)
{
    store_local_free(&s->local);
    store_free(&s->store);
}

static const instant noon = {1700000000000};
static struct side from, to;
static uint8_t bytes[ROOM];

static int begin(void **state)
{
    (void)state;
    from = side_new(1);
    to = side_new(2);
    return 0;
}

static int end(void **state)
{
    (void)state;
    side_free(&from);
    side_free(&to);
    return 0;
}

static struct store_edit open_at(struct side *s, const char *name, instant now)
{
    static struct key key; /* the edit refers to its name only */
    struct store_edit e;

    key = store_key_in(s->store, 3, slice_of(name));
    store_edit_begin(s->store, s->local, &key, now, &e);
    return e;
}

static void put_there(const char *name, struct store_value v)
{
    struct store_edit e = open_at(&from, name, noon);

    assert_int_equal(store_edit_put(&e, &v), STORE_OK);
    store_edit_end(&e);
}

/* Takes it out of one, and puts it into the other, whose clock is an hour ahead. Returns its bytes. */
static size_t move(const char *name, instant now)
{
    struct store_edit e = open_at(&from, name, now);
    struct slice rest = {bytes, 0};
    struct parcel p, q;

    assert_true(parcel_of(&e, &p));
    rest.len = parcel_size(&p);
    assert_true(rest.len <= sizeof bytes);
    assert_ptr_equal(parcel_put(bytes, &p), bytes + rest.len);
    store_edit_drop(&e);
    store_edit_end(&e);
    size_t len = rest.len;
    assert_true(parcel_take(&rest, &q));
    assert_int_equal(rest.len, 0);
    assert_int_equal(parcel_store(to.store, to.local, &q, after(now, (span){3600000}), NULL), STORE_OK);
    return len;
}

static void everything_of_a_value_travels(void **state)
{
    (void)state;
    put_there("k", (struct store_value){.head = slice_of("hello"),
                                        .flags = 77,
                                        .expires = after(noon, (span){5000}),
                                        .key_binary = true,
                                        .cas = 123456,
                                        .herd = {.grace_ms = 900, .fill_ms = 40}});
    move("k", after(noon, (span){1000}));
    struct store_edit e = open_at(&to, "k", after(noon, (span){3601000}));
    assert_true(e.found);
    assert_int_equal(e.value.len, 5);
    assert_memory_equal(e.value.data, "hello", 5);
    assert_int_equal(e.flags, 77);
    assert_true(e.key_binary);
    assert_int_equal(since(e.expires, noon).ms, 3605000);
    assert_int_equal(e.herd.grace_ms, 900);
    assert_int_equal(e.herd.fill_ms, 40);
    assert_int_equal(e.cas, 123456);
    store_edit_end(&e);
    /* Numbers given from now on are higher than all that came. */
    e = open_at(&to, "other", noon);
    struct store_value v = {.head = slice_of("x"), .wants_cas = true};
    assert_int_equal(store_edit_put(&e, &v), STORE_OK);
    assert_true(e.cas > 123456);
    store_edit_end(&e);
    /* And it is gone where it was. */
    e = open_at(&from, "k", noon);
    assert_false(e.found || e.graced);
    store_edit_end(&e);
}

static void a_value_for_ever_and_an_empty_one(void **state)
{
    (void)state;
    put_there("k", (struct store_value){.head = {bytes, 0}});
    move("k", noon);
    struct store_edit e = open_at(&to, "k", noon);
    assert_true(e.found);
    assert_int_equal(e.value.len, 0);
    assert_int_equal(e.expires.ms, 0);
    assert_int_equal(e.cas, 0);
    store_edit_end(&e);
}

static void a_large_value_travels(void **state)
{
    uint8_t *large = malloc(200000);

    (void)state;
    for (unsigned i = 0; i < 200000; i++)
        large[i] = (uint8_t)(i * 7);
    put_there("k", (struct store_value){.head = {large, 200000}});
    move("k", noon);
    struct store_edit e = open_at(&to, "k", noon);
    assert_true(e.found);
    assert_int_equal(e.value.len, 200000);
    assert_memory_equal(e.value.data, large, 200000);
    store_edit_end(&e);
    free(large);
}

/* The filler asked here, and brings the value there: its right goes along. */
static void a_lease_travels_and_can_be_filled(void **state)
{
    uint64_t token;
    uint32_t took;
    enum store_status why;

    (void)state;
    struct store_edit e = open_at(&from, "k", noon);
    assert_int_equal(lease_take(&e, 2000, &token), LEASE_GRANTED);
    store_edit_end(&e);
    move("k", after(noon, (span){500}));
    e = open_at(&to, "k", after(noon, (span){3600500}));
    assert_int_equal(lease_state(&e), LEASE_PENDING);
    uint64_t other;
    assert_int_equal(lease_take(&e, 2000, &other), LEASE_HELD);
    assert_int_equal(since(lease_end(&e), noon).ms, 3602000);
    struct store_value v = {.head = slice_of("v")};
    assert_int_equal(lease_fill(&e, token, v, &why, &took), FILL_STORED);
    store_edit_end(&e);
}

static void what_is_stale_stays_stale(void **state)
{
    (void)state;
    put_there("k", (struct store_value){.head = slice_of("old"),
                                        .expires = after(noon, (span){1000}),
                                        .herd = {.grace_ms = 10000, .fill_ms = 1}});
    move("k", after(noon, (span){3000}));
    struct store_edit e = open_at(&to, "k", after(noon, (span){3603000}));
    assert_false(e.found);
    assert_int_equal(lease_state(&e), LEASE_STALE);
    assert_memory_equal(e.value.data, "old", 3);
    store_edit_end(&e);
    e = open_at(&to, "k", after(noon, (span){3612000}));
    assert_int_equal(lease_state(&e), LEASE_ABSENT); /* its grace is over when it would have been */
    store_edit_end(&e);
}

static void what_is_there_is_newer(void **state)
{
    (void)state;
    struct store_edit e = open_at(&to, "k", noon);
    struct store_value v = {.head = slice_of("new")};
    assert_int_equal(store_edit_put(&e, &v), STORE_OK);
    store_edit_end(&e);
    put_there("k", (struct store_value){.head = slice_of("old")});
    move("k", noon);
    e = open_at(&to, "k", noon);
    assert_memory_equal(e.value.data, "new", 3);
    store_edit_end(&e);
}

/* Whatever bytes come: refused, or a parcel that is written as the same bytes. */
static void nonsense_is_refused(void **state)
{
    uint64_t dice = 88172645463325252u;

    (void)state;
    put_there("some key", (struct store_value){.head = slice_of("some value"),
                                               .expires = after(noon, (span){1000}),
                                               .cas = 9,
                                               .herd = {.grace_ms = 100, .fill_ms = 1}});
    size_t len = move("some key", noon);
    uint8_t *good = malloc(len), *back = malloc(ROOM);
    memcpy(good, bytes, len);
    for (size_t cut = 0; cut < len; cut++) {
        struct slice s = {good, cut};
        struct parcel p;
        assert_false(parcel_take(&s, &p));
    }
    for (unsigned i = 0; i < 200000; i++) {
        uint8_t *broken = malloc(len);
        struct parcel p;

        memcpy(broken, good, len);
        dice ^= dice << 13, dice ^= dice >> 7, dice ^= dice << 17;
        broken[dice % len] ^= (uint8_t)(dice >> 32);
        struct slice s = {broken, len};
        if (parcel_take(&s, &p)) {
            size_t used = len - s.len;
            assert_int_equal(parcel_size(&p), used);
            parcel_put(back, &p);
            assert_memory_equal(back, broken, used);
        }
        free(broken);
    }
    free(good);
    free(back);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(everything_of_a_value_travels, begin, end),
        cmocka_unit_test_setup_teardown(a_value_for_ever_and_an_empty_one, begin, end),
        cmocka_unit_test_setup_teardown(a_large_value_travels, begin, end),
        cmocka_unit_test_setup_teardown(a_lease_travels_and_can_be_filled, begin, end),
        cmocka_unit_test_setup_teardown(what_is_stale_stays_stale, begin, end),
        cmocka_unit_test_setup_teardown(what_is_there_is_newer, begin, end),
        cmocka_unit_test_setup_teardown(nonsense_is_refused, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
