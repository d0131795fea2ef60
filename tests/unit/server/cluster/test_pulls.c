/* test_pulls.c - one at a time brings a key, and what was given up does not come after all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "server/cluster/pulls.h"

static void count(void *arg)
{
    ++*(int *)arg;
}

static void a_key_is_brought_once(void **state)
{
    struct pulls *ps = pulls_new();
    int stored = 0;

    (void)state;
    assert_int_equal(pulls_begin(ps, 42, 0), PULLS_YOURS);
    assert_int_equal(pulls_begin(ps, 42, 0), PULLS_UNDER_WAY);
    assert_int_equal(pulls_begin(ps, 43, 0), PULLS_YOURS);
    assert_int_equal(pulls_under_way(ps), 2);
    pulls_end(ps, NULL, 42, true, count, &stored);
    assert_int_equal(stored, 1);
    assert_int_equal(pulls_begin(ps, 42, 0), PULLS_SETTLED);
    assert_int_equal(pulls_begin(ps, 43, 0), PULLS_UNDER_WAY);
    pulls_end(ps, NULL, 42, true, count, &stored); /* nobody asked: nothing happens */
    assert_int_equal(stored, 1);
    pulls_free(&ps);
}

static void what_could_not_come_may_be_asked_for_again(void **state)
{
    struct pulls *ps = pulls_new();

    (void)state;
    assert_int_equal(pulls_begin(ps, 42, 0), PULLS_YOURS);
    pulls_end(ps, NULL, 42, false, NULL, NULL);
    assert_int_equal(pulls_begin(ps, 42, 0), PULLS_YOURS);
    pulls_free(&ps);
}

static void what_was_not_asked_for_is_nobodys(void **state)
{
    struct pulls *ps = pulls_new();

    (void)state;
    assert_int_equal(pulls_begin(ps, 42, 0), PULLS_YOURS);
    pulls_drop(ps, 42);
    pulls_drop(ps, 43); /* nobody asked: nothing happens */
    assert_int_equal(pulls_under_way(ps), 0);
    assert_int_equal(pulls_begin(ps, 42, 0), PULLS_YOURS);
    pulls_free(&ps);
}

static void those_begun_until_then_are_waited_for(void **state)
{
    struct pulls *ps = pulls_new();
    uint64_t serial;

    (void)state;
    assert_true(pulls_ended_until(ps, pulls_serial(ps)));
    assert_int_equal(pulls_begin(ps, 42, 0), PULLS_YOURS);
    serial = pulls_serial(ps);
    assert_int_equal(pulls_begin(ps, UINT64_MAX, 0), PULLS_YOURS); /* a later one is of no account */
    assert_false(pulls_ended_until(ps, serial));
    pulls_end(ps, NULL, 42, true, NULL, NULL);
    assert_true(pulls_ended_until(ps, serial));
    assert_false(pulls_ended_until(ps, pulls_serial(ps)));
    pulls_free(&ps);
}

static void what_was_given_up_is_thrown_away(void **state)
{
    struct pulls *ps = pulls_new();
    int stored = 0;

    (void)state;
    assert_int_equal(pulls_begin(ps, 42, 0), PULLS_YOURS);
    pulls_settle(ps, 42); /* somebody writes it without waiting */
    assert_int_equal(pulls_begin(ps, 42, 0), PULLS_SETTLED);
    pulls_end(ps, NULL, 42, false, count, &stored);
    assert_int_equal(stored, 0);
    assert_int_equal(pulls_begin(ps, 42, 0), PULLS_SETTLED);
    pulls_settle(ps, 43); /* one that nobody is bringing */
    assert_int_equal(pulls_begin(ps, 43, 0), PULLS_SETTLED);
    pulls_free(&ps);
}

static void what_was_forgotten_is_asked_for_once_more(void **state)
{
    struct pulls *ps = pulls_new();
    unsigned settled = 0;

    (void)state;
    for (uint64_t i = 0; i < 1000000; i++)
        pulls_settle(ps, i * UINT64_C(0x9e3779b97f4a7c15));
    for (uint64_t i = 0; i < 1000000; i++) {
        uint64_t hash = i * UINT64_C(0x9e3779b97f4a7c15);

        if (pulls_begin(ps, hash, 0) == PULLS_SETTLED)
            settled++;
        else
            pulls_end(ps, NULL, hash, false, NULL, NULL);
    }
    assert_true(settled > 200000 && settled < 1000000);
    pulls_free(&ps);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_is_brought_once),
        cmocka_unit_test(what_could_not_come_may_be_asked_for_again),
        cmocka_unit_test(what_was_not_asked_for_is_nobodys),
        cmocka_unit_test(those_begun_until_then_are_waited_for),
        cmocka_unit_test(what_was_given_up_is_thrown_away),
        cmocka_unit_test(what_was_forgotten_is_asked_for_once_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
