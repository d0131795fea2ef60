/* test_timers.c - the heap of deadlines against a slow model that is obviously right. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "server/timers.h"

enum { TIMERS = 200, STEPS = 20000 };

struct probe {
    struct timer timer; /* first */
    int fired;
    struct timers *again; /* set once more when it fires */
};

static int64_t last_due;

static void on_fire(struct timer *timer)
{
    struct probe *p = (struct probe *)timer;

    assert_true(timer->due.ms >= last_due);
    last_due = timer->due.ms;
    p->fired++;
    if (p->again != NULL)
        assert_true(timers_set(p->again, timer, (instant){timer->due.ms + 10}));
}

static void test_fires_in_order(void **state)
{
    struct timers timers = {0};
    struct probe probes[TIMERS] = {0};

    (void)state;
    srand(1);
    last_due = 0;
    for (int i = 0; i < TIMERS; i++) {
        probes[i].timer.fire = on_fire;
        assert_true(timers_set(&timers, &probes[i].timer, (instant){1 + rand() % 1000}));
    }
    timers_run(&timers, (instant){1000});
    for (int i = 0; i < TIMERS; i++)
        assert_int_equal(probes[i].fired, 1);
    assert_false(timers_some(&timers));
    assert_null(timers.heap); /* nothing is held for nothing */
}

/* The earliest of those that are set. */
static int64_t model_next(const int64_t *due)
{
    int64_t next = INT64_MAX;

    for (int i = 0; i < TIMERS; i++) {
        if (due[i] != 0 && due[i] < next)
            next = due[i];
    }
    return next;
}

static void test_set_move_cancel(void **state)
{
    struct timers timers = {0};
    struct probe probes[TIMERS] = {0};
    int64_t due[TIMERS] = {0};

    (void)state;
    srand(2);
    for (int step = 0; step < STEPS; step++) {
        int i = rand() % TIMERS;

        probes[i].timer.fire = on_fire;
        if (rand() % 3 == 0) {
            timers_cancel(&timers, &probes[i].timer);
            due[i] = 0;
        } else {
            due[i] = 1 + rand() % 100000;
            assert_true(timers_set(&timers, &probes[i].timer, (instant){due[i]}));
        }
        if (timers_some(&timers))
            assert_int_equal(timers_next(&timers).ms, model_next(due));
        else
            assert_int_equal(model_next(due), INT64_MAX);
    }
    for (int i = 0; i < TIMERS; i++)
        timers_cancel(&timers, &probes[i].timer);
    assert_false(timers_some(&timers));
}

static void test_may_be_set_again_while_firing(void **state)
{
    struct timers timers = {0};
    struct probe p = {.timer.fire = on_fire, .again = &timers};

    (void)state;
    last_due = 0;
    assert_true(timers_set(&timers, &p.timer, (instant){100}));
    timers_run(&timers, (instant){99});
    assert_int_equal(p.fired, 0);
    timers_run(&timers, (instant){125});
    assert_int_equal(p.fired, 3); /* 100, 110, 120 */
    assert_int_equal(timers_next(&timers).ms, 130);
    timers_free(&timers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fires_in_order),
        cmocka_unit_test(test_set_move_cancel),
        cmocka_unit_test(test_may_be_set_again_while_firing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
