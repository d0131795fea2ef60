/* test_waiters.c - queues of those who wait, checked after every step. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "server/herd/waiters.h"

enum { MANY = 100, MOST = 1000 };

static struct waiters *waiters;
static struct waiter w[MANY];

static int setup(void **state)
{
    (void)state;
    waiters = waiters_new();
    memset(w, 0, sizeof w);
    for (uint64_t i = 0; i < MANY; i++)
        w[i].who = i + 1;
    return waiters == NULL;
}

static int teardown(void **state)
{
    (void)state;
    for (unsigned i = 0; i < MANY; i++)
        waiters_leave(waiters, &w[i]);
    waiters_check(waiters);
    waiters_free(&waiters);
    return 0;
}

static enum waiters_answer join(unsigned i, uint64_t hash)
{
    enum waiters_answer answer = waiters_join(waiters, &w[i], hash, 0, MOST, MANY);

    waiters_check(waiters);
    return answer;
}

static uint64_t leave(unsigned i)
{
    uint64_t next = waiters_leave(waiters, &w[i]);

    waiters_check(waiters);
    return next;
}

static void test_first_come_first_woken(void **state)
{
    uint64_t who[MANY];

    (void)state;
    assert_int_equal(join(0, 5), WAITERS_FIRST);
    for (unsigned i = 1; i < 10; i++)
        assert_int_equal(join(i, 5), WAITERS_BEHIND);
    assert_int_equal(waiters_first(waiters, 5, 0), 1);
    assert_int_equal(waiters_take(waiters, 5, 0, who, 4), 4);
    waiters_check(waiters);
    assert_int_equal(waiters_take(waiters, 5, 0, who + 4, MANY), 6);
    waiters_check(waiters);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(who[i], i + 1);
    assert_int_equal(waiters_len(waiters), 0);
    assert_int_equal(waiters_take(waiters, 5, 0, who, MANY), 0);
    assert_int_equal(waiters_first(waiters, 5, 0), 0);
}

/* Whoever acts when the lease ends must always be there. */
static void test_the_first_who_leaves_names_the_next(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++)
        join(i, 5);
    assert_int_equal(leave(1), 0);
    assert_int_equal(leave(0), 3);
    assert_int_equal(leave(0), 0);
    assert_int_equal(leave(3), 0);
    assert_int_equal(leave(2), 0);
    assert_int_equal(waiters_len(waiters), 0);
}

static void test_keys_and_databases_are_told_apart(void **state)
{
    (void)state;
    /* all in one bucket */
    assert_int_equal(join(0, 1), WAITERS_FIRST);
    assert_int_equal(join(1, 1 + 64 * 64), WAITERS_FIRST);
    assert_int_equal(join(2, 1), WAITERS_BEHIND);
    assert_int_equal(waiters_join(waiters, &w[3], 1, 9, MOST, MANY), WAITERS_FIRST);
    waiters_check(waiters);
    assert_int_equal(waiters_first(waiters, 1, 9), 4);
    assert_int_equal(leave(0), 3);
    assert_int_equal(waiters_first(waiters, 1 + 64 * 64, 0), 2);
    assert_true(waiters_is_at(&w[2], 1, 0));
    assert_false(waiters_is_at(&w[2], 1, 9));
}

/* Woken in vain, it gets its place back, before those who came later. */
static void test_a_place_is_kept_and_found_again(void **state)
{
    uint64_t who[MANY];

    (void)state;
    for (unsigned i = 0; i < 5; i++)
        join(i, 5);
    assert_int_equal(join(2, 5), WAITERS_BEHIND);
    assert_int_equal(waiters_len(waiters), 5);
    assert_int_equal(waiters_take(waiters, 5, 0, who, 3), 3);
    assert_int_equal(join(1, 5), WAITERS_FIRST);
    join(5, 5);
    assert_int_equal(join(2, 5), WAITERS_BEHIND);
    assert_int_equal(join(0, 5), WAITERS_FIRST);
    assert_int_equal(waiters_take(waiters, 5, 0, who, MANY), 6);
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(who[i], i + 1);
}

static void test_limits(void **state)
{
    (void)state;
    assert_int_equal(waiters_join(waiters, &w[0], 5, 0, 3, 2), WAITERS_FIRST);
    assert_int_equal(waiters_join(waiters, &w[1], 5, 0, 3, 2), WAITERS_BEHIND);
    assert_int_equal(waiters_join(waiters, &w[2], 5, 0, 3, 2), WAITERS_FULL);
    assert_int_equal(waiters_join(waiters, &w[0], 5, 0, 0, 0), WAITERS_FIRST); /* it is in already */
    assert_int_equal(waiters_join(waiters, &w[2], 6, 0, 3, 2), WAITERS_FIRST);
    assert_int_equal(waiters_join(waiters, &w[3], 7, 0, 3, 2), WAITERS_FULL);
    assert_int_equal(waiters_join(waiters, &w[4], 8, 0, 100, 0), WAITERS_FULL);
    assert_int_equal(waiters_len(waiters), 3);
    waiters_check(waiters);
}

struct firsts {
    uint64_t sum;
    unsigned n;
};

static void add(void *arg, uint64_t who)
{
    struct firsts *f = arg;

    f->sum += who;
    f->n++;
}

static void test_firsts_of_a_database(void **state)
{
    struct firsts some = {0}, all = {0};

    (void)state;
    for (unsigned i = 0; i < 20; i++)
        waiters_join(waiters, &w[i], i / 2, i % 4 < 2, MOST, MANY);
    waiters_each_first(waiters, 1, add, &some);
    waiters_each_first(waiters, -1, add, &all);
    assert_int_equal(some.n, 5);
    assert_int_equal(all.n, 10);
}

/* Against a list that is kept in order in the plainest way. */
static void test_random_steps(void **state)
{
    enum { KEYS = 5, STEPS = 20000 };
    unsigned at[MANY];
    uint64_t who[MANY];

    (void)state;
    memset(at, 0, sizeof at); /* 0: in no queue */
    srand(3);
    for (unsigned step = 0; step < STEPS; step++) {
        unsigned i = (unsigned)rand() % MANY, key = 1 + (unsigned)rand() % KEYS;

        switch (rand() % 8) {
        case 0: {
            size_t n = waiters_take(waiters, key, 0, who, MANY);
            uint64_t before = 0;

            for (size_t k = 0; k < n; k++) {
                assert_int_equal(at[who[k] - 1], key);
                assert_true(w[who[k] - 1].ticket > before);
                before = w[who[k] - 1].ticket;
                at[who[k] - 1] = 0;
            }
            for (unsigned k = 0; k < MANY; k++)
                assert_true(at[k] != key);
            break;
        }
        case 1:
        case 2:
            waiters_leave(waiters, &w[i]);
            w[i].ticket = 0;
            at[i] = 0;
            break;
        default:
            if (w[i].joined && w[i].hash != key)
                waiters_leave(waiters, &w[i]);
            assert_true(waiters_join(waiters, &w[i], key, 0, MOST, MANY) != WAITERS_FULL);
            at[i] = key;
        }
        waiters_check(waiters);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_first_come_first_woken, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_first_who_leaves_names_the_next, setup, teardown),
        cmocka_unit_test_setup_teardown(test_keys_and_databases_are_told_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_place_is_kept_and_found_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_firsts_of_a_database, setup, teardown),
        cmocka_unit_test_setup_teardown(test_random_steps, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
