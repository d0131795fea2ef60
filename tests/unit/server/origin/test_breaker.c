#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "server/origin/backoff.h"
#include "server/origin/breaker.h"

enum { FAILURES = 3, OPEN_MS = 100 };

static void failed(struct breaker *b, int64_t now)
{
    breaker_failed(b, now, FAILURES, OPEN_MS);
}

static void open_at(struct breaker *b, int64_t now)
{
    for (unsigned i = 0; i < FAILURES; i++) {
        assert_true(breaker_asks(b, now));
        failed(b, now);
    }
    assert_int_equal(b->state, BREAKER_OPEN);
}

static void opens_after_failures_in_a_row(void **state)
{
    struct breaker b = {0};

    (void)state;
    failed(&b, 1);
    failed(&b, 2);
    assert_true(breaker_asks(&b, 3));
    breaker_succeeded(&b); /* the row is broken */
    failed(&b, 4);
    failed(&b, 5);
    assert_int_equal(b.state, BREAKER_CLOSED);
    failed(&b, 6);
    assert_int_equal(b.state, BREAKER_OPEN);
    assert_int_equal(b.openings, 1);
}

static void lets_nothing_through_while_open(void **state)
{
    struct breaker b = {0};

    (void)state;
    open_at(&b, 1000);
    assert_false(breaker_asks(&b, 1000));
    assert_false(breaker_asks(&b, 1099));
    failed(&b, 1050); /* of one that was under way: changes nothing */
    breaker_succeeded(&b);
    assert_int_equal(b.state, BREAKER_OPEN);
    assert_false(breaker_asks(&b, 1099));
}

static void lets_one_through_half_open(void **state)
{
    struct breaker b = {0};

    (void)state;
    open_at(&b, 1000);
    assert_true(breaker_asks(&b, 1100));
    assert_int_equal(b.state, BREAKER_HALF_OPEN);
    assert_false(breaker_asks(&b, 1100));
    assert_false(breaker_asks(&b, 9999));
    breaker_succeeded(&b);
    assert_int_equal(b.state, BREAKER_CLOSED);
    assert_true(breaker_asks(&b, 1100));
    assert_true(breaker_asks(&b, 1100));
}

static void a_probe_that_is_called_off_makes_room_for_another(void **state)
{
    struct breaker b = {0};

    (void)state;
    open_at(&b, 1000);
    assert_true(breaker_asks(&b, 1100));
    breaker_forgotten(&b);
    assert_int_equal(b.state, BREAKER_HALF_OPEN);
    assert_true(breaker_asks(&b, 1100));
}

static void stays_open_longer_each_time(void **state)
{
    static const int64_t lasts[] = {100, 200, 400, 800, 1600, 1600, 1600};
    struct breaker b = {0};
    int64_t now = 1000;

    (void)state;
    open_at(&b, now);
    for (size_t i = 0; i < sizeof lasts / sizeof *lasts; i++) {
        assert_false(breaker_asks(&b, now + lasts[i] - 1));
        now += lasts[i];
        assert_true(breaker_asks(&b, now));
        failed(&b, now);
        assert_int_equal(b.state, BREAKER_OPEN);
    }
    now += 1600;
    assert_true(breaker_asks(&b, now));
    breaker_succeeded(&b);
    open_at(&b, now); /* from the beginning again */
    assert_true(breaker_asks(&b, now + 100));
}

static void names_its_states(void **state)
{
    (void)state;
    assert_string_equal(breaker_name(BREAKER_CLOSED), "closed");
    assert_string_equal(breaker_name(BREAKER_OPEN), "open");
    assert_string_equal(breaker_name(BREAKER_HALF_OPEN), "half-open");
}

/* ---- back-off ---- */

static void back_off_has_full_jitter_below_a_doubling_ceiling(void **state)
{
    static const int64_t ceilings[] = {50, 100, 200, 400, 800, 1000, 1000};

    (void)state;
    for (unsigned attempt = 0; attempt < 7; attempt++) {
        int64_t least = INT64_MAX, most = -1;

        for (uint64_t dice = 0; dice < 100000; dice++) {
            int64_t ms = backoff_ms(attempt, 50, 1000, dice * 2654435761u);

            assert_in_range(ms, 0, ceilings[attempt]);
            least = ms < least ? ms : least;
            most = ms > most ? ms : most;
        }
        assert_int_equal(least, 0);
        assert_int_equal(most, ceilings[attempt]);
    }
    assert_in_range(backoff_ms(1000000, 50, 1000, 12345), 0, 1000);
    assert_in_range(backoff_ms(3, 5000, 1000, 12345), 0, 1000);
}

static void back_off_knows_the_most_it_can_come_to(void **state)
{
    (void)state;
    assert_int_equal(backoff_most_ms(0, 50, 1000), 0);
    assert_int_equal(backoff_most_ms(3, 50, 1000), 50 + 100 + 200);
    assert_int_equal(backoff_most_ms(7, 50, 1000), 50 + 100 + 200 + 400 + 800 + 1000 + 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens_after_failures_in_a_row),
        cmocka_unit_test(lets_nothing_through_while_open),
        cmocka_unit_test(lets_one_through_half_open),
        cmocka_unit_test(a_probe_that_is_called_off_makes_room_for_another),
        cmocka_unit_test(stays_open_longer_each_time),
        cmocka_unit_test(names_its_states),
        cmocka_unit_test(back_off_has_full_jitter_below_a_doubling_ceiling),
        cmocka_unit_test(back_off_knows_the_most_it_can_come_to),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
