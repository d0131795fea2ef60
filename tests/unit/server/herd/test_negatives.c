/* test_negatives.c - how many keys are known as ones that the origin does not have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "server/herd/lease.h"

enum { MIB = 1 << 20, MOST = 10 };

static const instant now = {1700000000000};
static struct store *store;
static struct store_local *local;

static int setup(void **state)
{
    struct store_config config = {.memory_max = 16 * MIB,
                                  .item_max = 4 * MIB,
                                  .workers = 1,
                                  .segment_bytes = 256 * 1024,
                                  .scope = EVICT_ALLKEYS,
                                  .policy = evict_type_find("s3fifo"),
                                  .seed = 7};
    char err[200];

    (void)state;
    store = store_new(&config, err, sizeof err);
    assert_non_null(store);
    local = store_local_new(store);
    store_set_negatives_max(store, MOST);
    return local == NULL;
}

static int teardown(void **state)
{
    (void)state;
    store_local_free(&local);
    store_free(&store);
    return 0;
}

static struct store_stats stats(void)
{
    struct store_stats s;

    store_check(store);
    store_stats(store, &s);
    return s;
}

static void open_key(unsigned i, instant when, struct store_edit *edit)
{
    static char name[16]; /* the edit keeps a pointer to it */
    struct key key;

    snprintf(name, sizeof name, "key%u", i);
    key = store_key(store, slice_of(name));
    store_edit_begin(store, local, &key, when, edit);
}

/* Whether it is known to be nowhere afterwards. */
static bool learn(unsigned i)
{
    struct store_value value = {
        .head = slice_of(""), .expires = after(now, (span){1000}), .state = ITEM_NEGATIVE};
    struct store_edit edit;
    enum store_status why;
    uint64_t token;
    uint32_t took;
    bool known;

    open_key(i, now, &edit);
    assert_int_equal(lease_take(&edit, 100, &token), LEASE_GRANTED);
    assert_int_equal(lease_fill(&edit, token, value, &why, &took), FILL_STORED);
    known = lease_state(&edit) == LEASE_NEGATIVE;
    assert_true(known || lease_state(&edit) == LEASE_ABSENT);
    store_edit_end(&edit);
    return known;
}

static void test_no_more_than_the_limit(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2 * MOST; i++)
        assert_int_equal(learn(i), i < MOST);
    assert_int_equal(stats().negatives, MOST);
    assert_int_equal(stats().negatives_refused, MOST);
    assert_true(learn(0)); /* again: that is one, not two */
    assert_int_equal(stats().negatives, MOST);
}

static void test_all_ways_out_make_room(void **state)
{
    struct store_value value = {.head = slice_of("v")};
    struct store_edit edit;

    (void)state;
    for (unsigned i = 0; i < MOST; i++)
        learn(i);
    open_key(0, now, &edit);
    store_edit_drop(&edit);
    store_edit_end(&edit);
    open_key(1, now, &edit);
    assert_int_equal(store_edit_put(&edit, &value), STORE_OK);
    store_edit_end(&edit);
    open_key(2, after(now, (span){1000}), &edit); /* out of time */
    assert_false(edit.found);
    store_edit_end(&edit);
    assert_int_equal(stats().negatives, MOST - 3);
    assert_true(learn(MOST));
    store_flush(store);
    assert_int_equal(stats().negatives, 0);
}

static void test_none_at_all(void **state)
{
    (void)state;
    store_set_negatives_max(store, 0);
    assert_false(learn(0));
    assert_int_equal(stats().negatives_refused, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_no_more_than_the_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_all_ways_out_make_room, setup, teardown),
        cmocka_unit_test_setup_teardown(test_none_at_all, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
