/* test_rules.c - the option herd-protect, read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "server/herd/rules.h"

static struct herd_rules rules;
static char why[RULES_ERROR_MAX];

static void accepted(const char *text, unsigned len)
{
    assert_true(rules_parse(text, &rules, why));
    assert_int_equal(rules.len, len);
}

static void refused(const char *text, const char *reason)
{
    assert_false(rules_parse(text, &rules, why));
    assert_string_equal(why, reason);
}

static void test_none(void **state)
{
    (void)state;
    accepted("", 0);
    accepted("  ; ;; ", 0);
}

static void test_defaults(void **state)
{
    const struct herd_rule *r = &rules.rules[0];

    (void)state;
    accepted("user:*", 1);
    assert_string_equal(r->glob, "user:*");
    assert_int_equal(r->park_ms, RULES_PARK_DEFAULT_MS);
    assert_int_equal(r->lease_ms, 0);
    assert_int_equal(r->grace_ms, 0);
    assert_false(r->early);
    assert_false(rules.shapes);
}

static void test_all_that_can_be_said(void **state)
{
    const struct herd_rule *r = rules.rules;

    (void)state;
    accepted(" user:* park 250 LEASE 3000 grace 60000 early ON;page:?\tearly off park 0 ; *", 3);
    assert_int_equal(r[0].park_ms, 250);
    assert_int_equal(r[0].lease_ms, 3000);
    assert_int_equal(r[0].grace_ms, 60000);
    assert_true(r[0].early);
    assert_true(rules.shapes);
    assert_string_equal(r[1].glob, "page:?");
    assert_int_equal(r[1].park_ms, 0);
    assert_false(r[1].early);
    assert_string_equal(r[2].glob, "*");
}

static void test_first_match_counts(void **state)
{
    (void)state;
    accepted("a:1 park 1; a:* park 2; b* park 3", 3);
    assert_int_equal(rules_find(&rules, slice_of("a:1"))->park_ms, 1);
    assert_int_equal(rules_find(&rules, slice_of("a:2"))->park_ms, 2);
    assert_int_equal(rules_find(&rules, slice_of("b"))->park_ms, 3);
    assert_null(rules_find(&rules, slice_of("c")));
    assert_null(rules_find(&rules, slice_of("")));
}

static void test_what_is_wrong(void **state)
{
    char text[2048] = "";

    (void)state;
    refused("a park", "rule 1: 'park' needs a value");
    refused("a; b park x", "rule 2: park takes 0 to 600000 milliseconds, not 'x'");
    refused("a park 600001", "rule 1: park takes 0 to 600000 milliseconds, not '600001'");
    refused("a lease 0", "rule 1: lease takes 1 to 1048575 milliseconds, not '0'");
    refused("a grace -1", "rule 1: grace takes 0 to 2147483647 milliseconds, not '-1'");
    refused("a early maybe", "rule 1: early is on or off, not 'maybe'");
    refused("a ttl 5", "rule 1: 'ttl' is none of park, lease, grace and early");
    for (unsigned i = 0; i <= RULES_MAX; i++)
        strcat(text, "a;");
    refused(text, "rule 65: there can be no more than 64");
    memset(text, 'x', 300);
    text[300] = '\0';
    refused(text, "rule 1: its pattern is longer than 255 bytes");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_none),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_all_that_can_be_said),
        cmocka_unit_test(test_first_match_counts),
        cmocka_unit_test(test_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
