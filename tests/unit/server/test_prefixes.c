/* test_prefixes.c - counts by prefix, and the bound on how many there are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "server/prefixes.h"

static void sum_up(void *arg, const struct prefix_counts *c)
{
    struct prefix_counts *sum = arg;

    sum->prefix.len++;
    sum->gets += c->gets;
    sum->hits += c->hits;
    sum->sets += c->sets;
    sum->deletes += c->deletes;
}

static struct prefix_counts sums(struct prefixes *p)
{
    struct prefix_counts sum = {0};

    prefixes_each(p, sum_up, &sum);
    return sum;
}

static void events_are_counted_until_forgotten(void **state)
{
    struct prefix_counts sum;
    struct prefixes p;

    (void)state;
    assert_true(prefixes_init(&p));
    assert_false(prefixes_on(&p));
    prefixes_switch(&p, true);
    assert_true(prefixes_on(&p));
    assert_true(prefixes_count(&p, slice_of("a:1"), PREFIX_HIT, 10));
    assert_true(prefixes_count(&p, slice_of("a:2"), PREFIX_GET, 10));
    assert_true(prefixes_count(&p, slice_of("a:2:3"), PREFIX_SET, 10));
    assert_true(prefixes_count(&p, slice_of("b:"), PREFIX_DELETE, 10));
    assert_true(prefixes_count(&p, slice_of("none"), PREFIX_GET, 10));
    assert_true(prefixes_count(&p, slice_of(":none"), PREFIX_GET, 10));
    sum = sums(&p);
    assert_int_equal(sum.prefix.len, 2);
    assert_int_equal(sum.gets, 2);
    assert_int_equal(sum.hits, 1);
    assert_int_equal(sum.sets, 1);
    assert_int_equal(sum.deletes, 1);
    prefixes_forget(&p);
    assert_int_equal(sums(&p).prefix.len, 0);
    prefixes_free(&p);
}

static void no_more_prefixes_than_allowed(void **state)
{
    struct prefixes p;
    char key[32];

    (void)state;
    assert_true(prefixes_init(&p));
    for (int i = 0; i < 3000; i++) {
        snprintf(key, sizeof key, "prefix%d:x", i);
        assert_int_equal(prefixes_count(&p, slice_of(key), PREFIX_GET, 2000), i < 2000);
    }
    assert_int_equal(sums(&p).prefix.len, 2000);
    assert_true(prefixes_count(&p, slice_of("prefix7:y"), PREFIX_GET, 2000)); /* known already */
    assert_int_equal(sums(&p).gets, 2001);
    prefixes_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_are_counted_until_forgotten),
        cmocka_unit_test(no_more_prefixes_than_allowed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
