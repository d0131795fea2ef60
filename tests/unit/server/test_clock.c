/* test_clock.c - steps of the wall clock are told from drift, and followed. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "server/clock.h"

static const int64_t HOUR = 3600 * 1000;

static void steps_are_noticed_and_drift_is_not(void **state)
{
    struct clock_watch watch = {0};
    instant wall = {1700000000000};
    int64_t ticks = 5000;

    (void)state;
    assert_int_equal(clock_watch_step(&watch, wall, ticks), 0);
    for (int i = 0; i < 100; i++) { /* a clock that is slewed as fast as they are */
        wall.ms += 1001;
        ticks += 1000;
        assert_int_equal(clock_watch_step(&watch, wall, ticks), 0);
    }
    wall.ms += 1000 + HOUR;
    ticks += 1000;
    assert_int_equal(clock_watch_step(&watch, wall, ticks), HOUR);
    wall.ms += 1000;
    ticks += 1000;
    assert_int_equal(clock_watch_step(&watch, wall, ticks), 0);
    wall.ms += 1000 - 2 * HOUR;
    ticks += 1000;
    assert_int_equal(clock_watch_step(&watch, wall, ticks), -2 * HOUR);
}

/* How long ago something seems to be after the step. */
static int64_t ago(int64_t noted, int64_t step, int64_t now)
{
    return now - clock_moved(noted, step, now);
}

static void idle_stays_as_idle(void **state)
{
    const int64_t now = 1700000000000;

    (void)state;
    assert_int_equal(ago(now - HOUR - 60000, HOUR, now), 60000);
    assert_int_equal(ago(now + HOUR - 60000, -HOUR, now), 60000);
    /* Noted between the step and its discovery. */
    assert_int_equal(ago(now - 300, HOUR, now), 0);
    assert_int_equal(ago(now - 300, -HOUR, now), 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_are_noticed_and_drift_is_not),
        cmocka_unit_test(idle_stays_as_idle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
