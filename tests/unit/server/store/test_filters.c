/* test_filters.c - items that are filters: always blobs, changed where they lie,
 * also while somebody has a pin on them, and else like any other item. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "server/store/store.h"

enum { MIB = 1 << 20 };

struct rig {
    struct store *store;
    struct store_local *local;
    unsigned written, removed;
};

static const instant now = {1000000};

static void heard(void *arg, void *by, uint8_t db, struct slice name, enum store_change change)
{
    struct rig *r = arg;

    (void)by, (void)db, (void)name;
    r->written += change == CHANGE_WRITTEN;
    r->removed += change == CHANGE_REMOVED;
}

static void rig_new(struct rig *r, uint64_t memory)
{
    struct store_config config = {.memory_max = memory,
                                  .item_max = 8 * MIB,
                                  .shards = 1,
                                  .workers = 1,
                                  .scope = EVICT_ALLKEYS,
                                  .policy = evict_type_find("s3fifo")};
    char err[256];

    *r = (struct rig){.store = store_new(&config, err, sizeof err)};
    assert_non_null(r->store);
    r->local = store_local_new(r->store);
}

static void rig_free(struct rig *r)
{
    store_check(r->store);
    store_local_free(&r->local);
    store_free(&r->store);
}

static struct key key_of(struct rig *r, const char *name)
{
    return store_key(r->store, slice_of(name));
}

static enum store_status put_filter(struct rig *r, const char *name, size_t len, uint8_t byte,
                                    instant expires)
{
    struct key key = key_of(r, name);
    struct blob *blob = blob_new(len);
    struct store_value value = {
        .head = {blob->data, len}, .state = ITEM_FILTER, .expires = expires, .backing = blob};
    enum store_status status;
    struct store_edit edit;

    memset(blob->data, byte, len);
    store_edit_begin(r->store, r->local, &key, now, &edit);
    status = store_edit_put(&edit, &value);
    store_edit_end(&edit);
    blob_unpin(&blob);
    return status;
}

static void plain_reads_do_not_show_it(void **state)
{
    struct store_peek peek;
    struct store_edit edit;
    struct key key;
    struct rig r;

    (void)state;
    rig_new(&r, 64 * MIB);
    assert_int_equal(put_filter(&r, "f", 100, 7, (instant){0}), STORE_OK);
    key = key_of(&r, "f");
    assert_int_equal(store_peek(r.store, r.local, &key, now, true, &peek), PEEK_BLOB);
    assert_false(state_shows(peek.state));
    assert_true(state_exists(peek.state) && state_is_filter(peek.state));
    assert_int_equal(peek.len, 100);
    assert_int_equal((uintptr_t)peek.value % 8, 0);
    blob_unpin(&peek.blob);
    assert_int_equal(store_look(r.store, r.local, &key, now, true, &peek), PEEK_HIT);
    assert_int_equal(peek.len, 100);
    /* A string takes its place, and is one. */
    store_edit_begin(r.store, r.local, &key, now, &edit);
    assert_int_equal(store_edit_put(&edit, &(struct store_value){.head = slice_of("text")}), STORE_OK);
    assert_int_equal(edit.state, ITEM_LIVE);
    assert_null(edit.blob);
    store_edit_end(&edit);
    rig_free(&r);
}

/* However it came. */
static void it_lies_where_it_may_be_read(void **state)
{
    struct blob *came_in = blob_new(1003);
    struct store_value value = {.head = {came_in->data + 3, 1000}, .state = ITEM_FILTER, .backing = came_in};
    struct store_edit edit;
    struct key key;
    struct rig r;

    (void)state;
    rig_new(&r, 64 * MIB);
    memset(came_in->data, 5, 1003);
    key = key_of(&r, "f");
    store_edit_begin(r.store, r.local, &key, now, &edit);
    assert_int_equal(store_edit_put(&edit, &value), STORE_OK);
    assert_int_equal((uintptr_t)edit.value.data % 8, 0);
    assert_int_equal(store_edit_bytes(&edit)[999], 5);
    assert_int_equal(store_edit_expire(&edit, after(now, (span){50})), STORE_OK);
    assert_int_equal((uintptr_t)edit.value.data % 8, 0);
    store_edit_end(&edit);
    blob_unpin(&came_in);
    rig_free(&r);
}

static void it_is_changed_under_a_readers_pin(void **state)
{
    struct store_peek peek, after_it;
    struct store_edit edit;
    uint64_t cas;
    struct key key;
    struct rig r;

    (void)state;
    rig_new(&r, 64 * MIB);
    store_observe(r.store, &(struct store_observer){.changed = heard, .arg = &r});
    put_filter(&r, "f", 4096, 0, (instant){0});
    key = key_of(&r, "f");
    assert_int_equal(store_peek(r.store, r.local, &key, now, true, &peek), PEEK_BLOB);
    store_edit_begin(r.store, r.local, &key, now, &edit);
    cas = store_edit_cas(&edit);
    store_edit_bytes(&edit)[77] = 1;
    store_edit_changed(&edit);
    assert_int_not_equal(edit.cas, cas);
    assert_int_equal(edit.value.data[77], 1);
    store_edit_end(&edit);
    assert_int_equal(peek.value[77], 1); /* the same bytes */
    assert_int_equal(store_peek(r.store, r.local, &key, now, true, &after_it), PEEK_BLOB);
    assert_ptr_equal(after_it.value, peek.value);
    blob_unpin(&peek.blob);
    blob_unpin(&after_it.blob);
    assert_int_equal(r.written, 2);
    store_observe(r.store, NULL);
    rig_free(&r);
}

static void its_time_is_that_of_any_item(void **state)
{
    instant soon = after(now, (span){5000}), far = after(now, (span){INT64_C(100) * 24 * 3600 * 1000});
    struct store_edit edit;
    struct key key;
    struct rig r;

    (void)state;
    rig_new(&r, 64 * MIB);
    put_filter(&r, "f", 64, 9, soon);
    key = key_of(&r, "f");
    store_edit_begin(r.store, r.local, &key, now, &edit);
    assert_int_equal(edit.expires.ms, soon.ms);
    assert_int_equal(store_edit_expire(&edit, far), STORE_OK); /* another layout, the same bytes */
    assert_int_equal(edit.state, ITEM_FILTER);
    assert_int_equal(edit.value.len, 64);
    assert_int_equal(*store_edit_bytes(&edit), 9);
    assert_int_equal(store_edit_expire(&edit, soon), STORE_OK);
    store_edit_end(&edit);
    store_edit_begin(r.store, r.local, &key, soon, &edit);
    assert_true(!edit.found && edit.expired);
    store_edit_end(&edit);
    rig_free(&r);
}

/* What they take is counted, so they are evicted like others. */
static void they_make_room_for_each_other(void **state)
{
    struct store_stats stats;
    char name[32];
    struct rig r;

    (void)state;
    rig_new(&r, 32 * MIB);
    for (unsigned i = 0; i < 4000; i++) {
        snprintf(name, sizeof name, "filter:%u", i);
        assert_int_equal(put_filter(&r, name, 200 + i % 7 * 9000, 1, (instant){0}), STORE_OK);
        if (i % 500 == 0)
            store_check(r.store);
    }
    store_stats(r.store, &stats);
    assert_true(stats.evicted > 0 && stats.items + stats.evicted == 4000);
    assert_true(stats.memory_bytes <= 32 * MIB);
    assert_true(stats.blob_bytes > stats.items * 200);
    rig_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_reads_do_not_show_it),        cmocka_unit_test(it_lies_where_it_may_be_read),
        cmocka_unit_test(it_is_changed_under_a_readers_pin), cmocka_unit_test(its_time_is_that_of_any_item),
        cmocka_unit_test(they_make_room_for_each_other),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
