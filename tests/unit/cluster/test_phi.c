/* test_phi.c - silence is judged by what was usual. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cluster/phi.h"

enum { MS = 1000 };

static int64_t beat(struct phi *p, int64_t at_us, int64_t every_us, int64_t jitter_us, int times)
{
    uint64_t dice = 3;

    for (int i = 0; i < times; i++) {
        dice = dice * 6364136223846793005 + 1442695040888963407;
        at_us += every_us + (jitter_us > 0 ? (int64_t)(dice >> 33) % (2 * jitter_us) - jitter_us : 0);
        phi_heard(p, at_us);
    }
    return at_us;
}

static void silence_is_suspicious_by_habit(void **state)
{
    static struct phi regular, loose;
    int64_t at = beat(&regular, 1, 100 * MS, 0, 2000);
    int64_t then = beat(&loose, 1, 100 * MS, 80 * MS, 2000);

    (void)state;
    assert_true(phi_value(&regular, at) == 0);
    assert_true(phi_value(&regular, at + 98 * MS) < 0.1);
    /* Six deviations of a normal distribution: one in 10^9. */
    assert_true(phi_value(&regular, at + 106 * MS) > 8.9 && phi_value(&regular, at + 106 * MS) < 9.1);
    assert_true(phi_value(&regular, at + 1000 * MS) == PHI_MOST);
    assert_true(phi_value(&loose, then + 106 * MS) < 1);
    assert_true(phi_value(&loose, then + 200 * MS) > 1);
    assert_true(phi_value(&loose, then + 500 * MS) > 8);
}

static void habits_change(void **state)
{
    static struct phi p;
    int64_t at = beat(&p, 1, 10 * MS, 2 * MS, 1500);

    (void)state;
    assert_true(phi_value(&p, at + 100 * MS) > 8);
    at = beat(&p, at, 100 * MS, 2 * MS, 1000);
    assert_true(phi_value(&p, at + 100 * MS) < 1);
}

static void who_knows_nothing_suspects_nothing(void **state)
{
    static struct phi p;

    (void)state;
    assert_true(phi_value(&p, 1000000) == 0);
    phi_heard(&p, 1000000);
    assert_true(phi_value(&p, 900000000) == 0);
    phi_heard(&p, 999999); /* a clock that went back */
    assert_true(phi_value(&p, 900000000) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(silence_is_suspicious_by_habit),
        cmocka_unit_test(habits_change),
        cmocka_unit_test(who_knows_nothing_suspects_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
