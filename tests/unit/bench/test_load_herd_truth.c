/* test_load_herd_truth.c - which fetches belong together, and which values are stale. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "bench/load_herd_truth.c"
#include "bench/load_pick.h"

static struct herd_truth *t;

static int set_up(void **state)
{
    (void)state;
    t = herd_truth_new(3);
    return t == NULL;
}

static int tear_down(void **state)
{
    (void)state;
    herd_truth_free(&t);
    return t != NULL;
}

static struct herd_fetch fetch(uint32_t key, int64_t asked_ns)
{
    struct herd_fetch f = herd_fetch_begin(t, key, asked_ns);

    herd_fetch_end(t, &f);
    return f;
}

static void expect_rounds(enum herd_cause cause, uint64_t rounds, uint64_t fetches, uint64_t most)
{
    struct herd_toll toll = herd_toll(t);

    assert_int_equal(toll.by[cause].rounds, rounds);
    assert_int_equal(toll.by[cause].fetches, fetches);
    assert_int_equal(toll.by[cause].fetches_max, most);
}

static void all_who_asked_before_the_fill_are_one_round(void **state)
{
    struct herd_fetch first = fetch(0, 10);

    (void)state;
    fetch(0, 11);
    herd_fill_taken(t, &first, 100);
    fetch(0, 99); /* its question was on the way */
    expect_rounds(HERD_COLD, 1, 3, 3);
    fetch(0, 100);
    expect_rounds(HERD_COLD, 1, 3, 3);
    expect_rounds(HERD_EXPIRED, 1, 1, 1);
    assert_int_equal(herd_toll(t).fetches, 4);
}

static void a_fill_of_a_former_round_ends_no_round(void **state)
{
    struct herd_fetch first = fetch(0, 10), second = fetch(0, 11), third;

    (void)state;
    herd_fill_taken(t, &first, 100);
    third = fetch(0, 200);
    herd_fill_taken(t, &second, 210);
    fetch(0, 220);
    expect_rounds(HERD_EXPIRED, 1, 2, 2);
    assert_true(herd_was_filling(t, 0, 300));
    herd_fill_taken(t, &third, 310);
    assert_true(herd_was_filling(t, 0, 310));
    assert_false(herd_was_filling(t, 0, 311));
}

static void a_removal_ends_the_round_and_begins_another(void **state)
{
    struct herd_fetch old = fetch(1, 10), fresh;
    uint64_t version = herd_change(t, 1, true);

    (void)state;
    assert_int_equal(version, 2);
    herd_change_acknowledged(t, 1, version, true, 50);
    herd_fill_taken(t, &old, 60); /* whether the server should have taken it or not */
    fresh = fetch(1, 40);         /* asked before the removal, but the origin had changed */
    assert_int_equal(fresh.version, 2);
    expect_rounds(HERD_COLD, 1, 1, 1);
    expect_rounds(HERD_UPDATED, 1, 1, 1);
    herd_fill_taken(t, &fresh, 160);
    fetch(1, 150);
    expect_rounds(HERD_UPDATED, 1, 2, 2);
}

static void a_miss_between_removal_and_acknowledgement_is_of_that_removal(void **state)
{
    struct herd_fetch first = fetch(2, 10);
    uint64_t version;

    (void)state;
    herd_fill_taken(t, &first, 20);
    version = herd_change(t, 2, true);
    fetch(2, 30);
    herd_change_acknowledged(t, 2, version, true, 40);
    fetch(2, 50);
    expect_rounds(HERD_EXPIRED, 0, 0, 0);
    expect_rounds(HERD_UPDATED, 1, 2, 2);
}

static void a_removal_of_nothing_is_no_round(void **state)
{
    (void)state;
    for (int64_t now = 1; now < 5; now++)
        herd_change_acknowledged(t, 0, herd_change(t, 0, true), true, now);
    fetch(0, 10);
    expect_rounds(HERD_UPDATED, 0, 0, 0);
    expect_rounds(HERD_COLD, 1, 1, 1);
    assert_int_equal(herd_toll(t).changes, 4);
}

static void a_value_the_writer_stored_is_there(void **state)
{
    uint64_t version = herd_change(t, 0, false);

    (void)state;
    herd_change_acknowledged(t, 0, version, false, 10);
    fetch(0, 20); /* so it must have expired since */
    expect_rounds(HERD_COLD, 0, 0, 0);
    expect_rounds(HERD_EXPIRED, 1, 1, 1);
}

static void stale_counts_from_the_acknowledgement(void **state)
{
    uint64_t before = herd_floor(t, 0), version = herd_change(t, 0, true), after;

    (void)state;
    assert_int_equal(herd_judge(t, 0, before, 1), HERD_FRESH);
    assert_int_equal(herd_floor(t, 0), before); /* not acknowledged: the old value is still right */
    herd_change_acknowledged(t, 0, version, true, 10);
    after = herd_floor(t, 0);
    assert_int_equal(after, 2);
    assert_int_equal(herd_judge(t, 0, before, 1), HERD_FRESH); /* that read had started before */
    assert_int_equal(herd_judge(t, 0, after, 1), HERD_STALE);
    assert_int_equal(herd_judge(t, 0, after, 2), HERD_FRESH);
    assert_int_equal(herd_judge(t, 0, after, 3), HERD_WRONG);
    assert_int_equal(herd_judge(t, 0, after, 0), HERD_WRONG);
    herd_change(t, 0, true);
    assert_int_equal(herd_judge(t, 0, after, 3), HERD_FRESH);
}

static void acknowledgements_may_come_out_of_order(void **state)
{
    uint64_t second = herd_change(t, 0, true), third = herd_change(t, 0, true);

    (void)state;
    herd_change_acknowledged(t, 0, third, true, 10);
    herd_change_acknowledged(t, 0, second, true, 11);
    assert_int_equal(herd_floor(t, 0), third);
}

static void peaks_are_of_what_is_under_way(void **state)
{
    struct herd_fetch a = herd_fetch_begin(t, 0, 1), b = herd_fetch_begin(t, 0, 1), c;
    struct herd_toll toll;

    (void)state;
    herd_fetch_end(t, &a);
    c = herd_fetch_begin(t, 1, 1);
    toll = herd_toll(t);
    assert_int_equal(toll.peak, 2);
    assert_int_equal(toll.key_peak, 2);
    a = herd_fetch_begin(t, 1, 1);
    assert_int_equal(herd_toll(t).peak, 3);
    assert_int_equal(herd_toll(t).key_peak, 2);
    herd_fetch_end(t, &a);
    herd_fetch_end(t, &b);
    herd_fetch_end(t, &c);
}

/* Against a cache that is right by construction: one lease per key, void after
 * a removal, every reader waits. There must be one fetch per round, and
 * nothing stale, in whatever order things happen. */
static void a_right_cache_has_one_fetch_per_round(void **state)
{
    uint64_t dice = 5;
    struct {
        bool present, leased;
        uint64_t version;
        struct herd_fetch fetch;
    } cache = {0};

    (void)state;
    for (int64_t now = 1; now < 200000; now++) {
        switch (dice_roll(&dice) % 8) {
        case 0: /* the writer */
            herd_change_acknowledged(t, 0, herd_change(t, 0, true), true, now);
            cache.present = cache.leased = false;
            break;
        case 1: cache.present = false; break; /* expiry */
        case 2:                               /* the filler comes back */
            if (cache.leased) {
                cache.present = true;
                cache.leased = false;
                cache.version = cache.fetch.version;
                herd_fill_taken(t, &cache.fetch, now);
            }
            break;
        default: /* a reader */
            if (cache.present) {
                assert_int_equal(herd_judge(t, 0, herd_floor(t, 0), cache.version), HERD_FRESH);
            } else if (!cache.leased) {
                cache.leased = true;
                cache.fetch = fetch(0, now);
            }
        }
    }
    for (int cause = 0; cause < HERD_CAUSES; cause++) {
        struct herd_rounds by = herd_toll(t).by[cause];

        assert_true(by.rounds > 0);
        assert_int_equal(by.fetches, by.rounds);
        assert_int_equal(by.fetches_max, 1);
    }
}

static void values_say_whose_they_are(void **state)
{
    struct slice key = slice_of("herd:00017"), other = slice_of("herd:00018");
    uint8_t value[64];
    uint64_t version = 0;

    (void)state;
    for (size_t size = herd_value_size_min((uint32_t)key.len); size <= sizeof value; size++) {
        struct slice all = {value, size};

        herd_value_write(value, size, key, 123456789);
        assert_true(herd_value_read(all, size, key, &version));
        assert_int_equal(version, 123456789);
        assert_false(herd_value_read(all, size, other, &version));
        assert_false(herd_value_read((struct slice){value, size - 1}, size, key, &version));
        for (size_t i = 0; i < size; i++) {
            value[i] ^= 0x40;
            assert_false(herd_value_read(all, size, key, &version));
            value[i] ^= 0x40;
        }
    }
    assert_false(herd_value_read((struct slice){NULL, 0}, sizeof value, key, &version));
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(all_who_asked_before_the_fill_are_one_round),
        CASE(a_fill_of_a_former_round_ends_no_round),
        CASE(a_removal_ends_the_round_and_begins_another),
        CASE(a_miss_between_removal_and_acknowledgement_is_of_that_removal),
        CASE(a_removal_of_nothing_is_no_round),
        CASE(a_value_the_writer_stored_is_there),
        CASE(stale_counts_from_the_acknowledgement),
        CASE(acknowledgements_may_come_out_of_order),
        CASE(peaks_are_of_what_is_under_way),
        CASE(a_right_cache_has_one_fetch_per_round),
        CASE(values_say_whose_they_are),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
