#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "server/origin/cache_control.h"

static struct cache_control reading(const char *first, const char *second)
{
    struct cache_control cc = {0};

    cache_control_read(&cc, slice_of(first));
    cache_control_read(&cc, slice_of(second));
    return cc;
}

static void knows_how_long(void **state)
{
    struct cache_control cc = reading("public, max-age=60", "");

    (void)state;
    assert_true(cc.has_max_age);
    assert_false(cc.no_store);
    assert_int_equal(cc.max_age_s, 60);
    assert_int_equal(cc.stale_s, 0);
    assert_int_equal(reading("MAX-AGE = \"61\" ,foo=bar", "").max_age_s, 61);
    assert_int_equal(reading("max-age=60", "stale-while-revalidate=30\r\n").stale_s, 30);
    assert_int_equal(reading("max-age=99999999999999999999", "").max_age_s, 2147483647);
    assert_false(reading("", "must-revalidate").has_max_age);
}

static void what_is_meant_for_shared_caches_wins(void **state)
{
    (void)state;
    assert_int_equal(reading("s-maxage=10, max-age=60", "").max_age_s, 10);
    assert_int_equal(reading("max-age=60", "s-maxage=10").max_age_s, 10);
}

static void knows_what_must_not_be_kept(void **state)
{
    (void)state;
    assert_true(reading("no-store", "max-age=60").no_store);
    assert_true(reading("max-age=60", "No-Cache=\"Set-Cookie, X\"").no_store);
    assert_true(reading("private,max-age=60", "").no_store);
    assert_false(reading("ext=\"a, no-store\", max-age=1", "").no_store);
}

static void nonsense_is_the_safe_side(void **state)
{
    static const char *const nonsense[] = {"max-age",    "max-age=",   "max-age=-5",
                                           "max-age=1x", "max-age=\"", "max-age=\"\""};

    (void)state;
    for (size_t i = 0; i < sizeof nonsense / sizeof *nonsense; i++) {
        struct cache_control cc = reading(nonsense[i], ",,;= ,=,");

        assert_true(cc.has_max_age);
        assert_int_equal(cc.max_age_s, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_how_long),
        cmocka_unit_test(what_is_meant_for_shared_caches_wins),
        cmocka_unit_test(knows_what_must_not_be_kept),
        cmocka_unit_test(nonsense_is_the_safe_side),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
