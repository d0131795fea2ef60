/* test_edit_write.c - writing into values, against an array of bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "server/store/store.h"

enum { MIB = 1 << 20, ITEM_MAX = 4 * MIB, SMALL = 1000, LARGE = 300000 };

struct rig {
    struct store *store;
    struct store_local *local;
    struct key key;
    struct store_edit edit;
    instant now;
};

static struct rig rig_new(uint64_t memory, const char *policy)
{
    struct store_config config = {.memory_max = memory,
                                  .item_max = ITEM_MAX,
                                  .workers = 1,
                                  .segment_bytes = 256 * 1024,
                                  .scope = policy != NULL ? EVICT_ALLKEYS : EVICT_NOTHING,
                                  .policy = policy != NULL ? evict_type_find(policy) : NULL,
                                  .seed = 7};
    struct rig r = {.now = {1700000000000}};
    char err[200];

    r.store = store_new(&config, err, sizeof err);
    assert_non_null(r.store);
    r.local = store_local_new(r.store);
    assert_non_null(r.local);
    r.key = store_key(r.store, slice_of("key"));
    return r;
}

static void rig_free(struct rig *r)
{
    store_check(r->store);
    store_local_free(&r->local);
    store_free(&r->store);
}

static struct store_edit *begin(struct rig *r)
{
    store_edit_begin(r->store, r->local, &r->key, r->now, &r->edit);
    return &r->edit;
}

static struct slice bytes_of(uint8_t byte, size_t len)
{
    static uint8_t bytes[ITEM_MAX];

    memset(bytes, byte, len);
    return (struct slice){bytes, len};
}

static enum store_status write_byte(struct rig *r, size_t offset, uint8_t byte, size_t len)
{
    enum store_status status = store_edit_write(begin(r), offset, bytes_of(byte, len));

    store_edit_end(&r->edit);
    return status;
}

static void store_value(struct rig *r, size_t len, uint32_t flags, instant expires)
{
    struct store_value v = {.head = bytes_of('v', len), .flags = flags, .expires = expires};

    assert_int_equal(store_edit_put(begin(r), &v), STORE_OK);
    store_edit_end(&r->edit);
}

static void flags_expiry_and_the_rest_of_the_value_stay(void **state)
{
    static const size_t sizes[] = {1, SMALL, LARGE};
    struct rig r = rig_new(64 * MIB, "lru");

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (size_t beyond = 0; beyond <= 10; beyond += 10) {
            size_t len = sizes[i], offset = len - 1 + beyond;
            struct store_edit *e;

            store_value(&r, len, 77, after(r.now, (span){5000}));
            e = begin(&r);
            uint64_t cas = store_edit_cas(e);
            store_edit_end(e);
            assert_int_equal(write_byte(&r, offset, 'w', 1), STORE_OK);
            e = begin(&r);
            assert_int_equal(e->value.len, beyond > 0 ? len + 10 : len);
            assert_int_equal(e->value.data[offset], 'w');
            if (len > 1)
                assert_int_equal(e->value.data[len - 2], 'v');
            for (size_t k = len; k < offset; k++)
                assert_int_equal(e->value.data[k], 0);
            assert_int_equal(e->flags, 77);
            assert_int_equal(e->expires.ms, r.now.ms + 5000);
            assert_true(e->cas > cas);
            store_edit_end(e);
        }
    }
    rig_free(&r);
}

static void a_missing_or_hidden_value_counts_as_empty(void **state)
{
    struct rig r = rig_new(64 * MIB, NULL);
    struct store_value stale = {.head = slice_of("old"), .flags = 5, .state = ITEM_STALE};
    struct store_edit *e;

    (void)state;
    assert_int_equal(write_byte(&r, 3, 'x', 1), STORE_OK);
    e = begin(&r);
    assert_true(slice_equals(e->value, (struct slice){(const uint8_t *)"\0\0\0x", 4}));
    assert_int_equal(store_edit_put(e, &stale), STORE_OK);
    assert_int_equal(store_edit_write(e, 0, slice_of("n")), STORE_OK);
    assert_true(slice_equals(e->value, slice_of("n")));
    assert_int_equal(e->flags, 0);
    assert_int_equal(e->state, ITEM_LIVE);
    store_edit_end(e);
    rig_free(&r);
}

/* Where a value lies tells whether it was copied. */
static void a_value_of_the_same_length_stays_where_it_is(void **state)
{
    struct rig r = rig_new(64 * MIB, "s3fifo");

    (void)state;
    for (size_t len = SMALL; len <= LARGE; len += LARGE - SMALL) {
        store_value(&r, len, 0, (instant){0});
        const uint8_t *at = begin(&r)->value.data;
        assert_int_equal(store_edit_write(&r.edit, len / 2, slice_of("abc")), STORE_OK);
        assert_ptr_equal(r.edit.value.data, at);
        assert_memory_equal(at + len / 2 - 1, "vabcv", 5);
        store_edit_end(&r.edit);
    }
    rig_free(&r);
}

static void whoever_reads_a_large_value_keeps_what_was_read(void **state)
{
    struct rig r = rig_new(64 * MIB, NULL);
    struct store_peek peek;

    (void)state;
    store_value(&r, LARGE, 0, (instant){0});
    assert_int_equal(store_peek(r.store, r.local, &r.key, r.now, true, &peek), PEEK_BLOB);
    assert_int_equal(write_byte(&r, 100, 'w', 1), STORE_OK);
    assert_int_equal(peek.value[100], 'v');
    assert_int_equal(begin(&r)->value.data[100], 'w');
    assert_ptr_not_equal(r.edit.value.data, peek.value);
    store_edit_end(&r.edit);
    blob_unpin(&peek.blob);
    rig_free(&r);
}

static void growing_by_little_and_little_copies_now_and_then(void **state)
{
    struct rig r = rig_new(64 * MIB, "s3fifo");
    unsigned copies = 0;

    (void)state;
    store_value(&r, LARGE, 0, (instant){0});
    for (size_t len = LARGE; len < 2 * LARGE; len++) {
        const uint8_t *at = begin(&r)->value.data;
        assert_int_equal(store_edit_write(&r.edit, len, slice_of("w")), STORE_OK);
        assert_int_equal(r.edit.value.len, len + 1);
        copies += r.edit.value.data != at;
        store_edit_end(&r.edit);
    }
    assert_true(copies <= 8);
    assert_int_equal(begin(&r)->value.data[2 * LARGE - 1], 'w');
    assert_int_equal(r.edit.value.data[LARGE - 1], 'v');
    store_edit_end(&r.edit);
    rig_free(&r);
}

static void a_refusal_changes_nothing(void **state)
{
    struct rig r = rig_new(4 * MIB, NULL);
    struct store_edit *e;

    (void)state;
    store_value(&r, SMALL, 0, (instant){0});
    assert_int_equal(write_byte(&r, ITEM_MAX, 'w', 1), STORE_TOO_BIG);
    assert_int_equal(write_byte(&r, SIZE_MAX, 'w', 1), STORE_TOO_BIG);
    assert_int_equal(write_byte(&r, SIZE_MAX - 10, 'w', 100), STORE_TOO_BIG);
    assert_int_equal(write_byte(&r, 3 * MIB + MIB / 2, 'w', 1), STORE_NO_SPACE);
    e = begin(&r);
    assert_true(slice_equals(e->value, bytes_of('v', SMALL)));
    store_edit_end(e);
    rig_free(&r);
}

static void count_change(void *arg, void *by, uint8_t db, struct slice name, enum store_change change)
{
    (void)by;
    (void)db;
    (void)name;
    assert_int_equal(change, CHANGE_WRITTEN);
    ++*(unsigned *)arg;
}

static void observers_hear_of_each_write(void **state)
{
    struct rig r = rig_new(64 * MIB, NULL);
    unsigned heard = 0;
    struct store_observer observer = {.changed = count_change, .arg = &heard};

    (void)state;
    store_observe(r.store, &observer);
    assert_int_equal(write_byte(&r, 0, 'a', 10), STORE_OK);
    assert_int_equal(write_byte(&r, 5, 'b', 1), STORE_OK);
    assert_int_equal(write_byte(&r, 5, 'c', LARGE), STORE_OK);
    assert_int_equal(write_byte(&r, 5, 'd', 1), STORE_OK);
    assert_int_equal(heard, 4);
    assert_int_equal(write_byte(&r, ITEM_MAX, 'w', 1), STORE_TOO_BIG);
    assert_int_equal(heard, 4);
    rig_free(&r);
}

static uint32_t roll(uint64_t *dice, uint32_t n)
{
    *dice ^= *dice << 13;
    *dice ^= *dice >> 7;
    *dice ^= *dice << 17;
    return (uint32_t)((*dice >> 20) % n);
}

/* Against a plain array, through every size from nothing to a blob and beyond. */
static void any_writes_make_the_same_value_as_an_array(void **state)
{
    struct rig r = rig_new(64 * MIB, "arc");
    uint8_t *model = calloc(1, ITEM_MAX);
    uint64_t dice = 88172645463325252u;
    size_t len = 0;

    (void)state;
    for (unsigned i = 0; i < 20000; i++) {
        size_t offset = roll(&dice, 20) == 0 ? roll(&dice, 400000) : roll(&dice, (uint32_t)len + 50);
        size_t n = roll(&dice, 50) == 0 ? roll(&dice, 40000) : roll(&dice, 20);
        uint8_t byte = (uint8_t)roll(&dice, 256);
        struct store_peek peek = {0};

        if (roll(&dice, 200) == 0) {
            store_edit_drop(begin(&r));
            store_edit_end(&r.edit);
            memset(model, 0, len);
            len = 0;
            continue;
        }
        if (roll(&dice, 10) == 0 && store_peek(r.store, r.local, &r.key, r.now, true, &peek) != PEEK_BLOB)
            peek.blob = NULL;
        assert_int_equal(write_byte(&r, offset, byte, n), STORE_OK);
        blob_unpin(&peek.blob);
        memset(model + offset, byte, n);
        len = offset + n > len ? offset + n : len;
        assert_int_equal(begin(&r)->value.len, len);
        assert_true(memcmp(r.edit.value.data, model, len) == 0);
        store_edit_end(&r.edit);
    }
    free(model);
    rig_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flags_expiry_and_the_rest_of_the_value_stay),
        cmocka_unit_test(a_missing_or_hidden_value_counts_as_empty),
        cmocka_unit_test(a_value_of_the_same_length_stays_where_it_is),
        cmocka_unit_test(whoever_reads_a_large_value_keeps_what_was_read),
        cmocka_unit_test(growing_by_little_and_little_copies_now_and_then),
        cmocka_unit_test(a_refusal_changes_nothing),
        cmocka_unit_test(observers_hear_of_each_write),
        cmocka_unit_test(any_writes_make_the_same_value_as_an_array),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
