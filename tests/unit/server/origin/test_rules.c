#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "config.h"
#include "server/origin/rules.h"

static struct origin_rules *read_well(const char *text)
{
    char err[512] = "";
    struct origin_rules *rules = origin_rules_new(text, err, sizeof err);

    if (rules == NULL)
        fail_msg("'%s' was refused: %s", text, err);
    return rules;
}

static void refused(const char *text, const char *why)
{
    char err[512] = "";
    struct origin_rules *rules = origin_rules_new(text, err, sizeof err);

    assert_null(rules);
    if (strstr(err, why) == NULL)
        fail_msg("'%s' was refused with: %s", text, err);
}

static void a_rule_with_everything(void **state)
{
    struct origin_rules *rules =
        read_well("user:* redis://:se:cret@db.example:6400/7 ttl 30 TIMEOUT 200 in-flight 8 retries 1 "
                  "negative-ttl 3 grace 4000 write behind");
    const struct origin_rule *r = &rules->rules[0];

    (void)state;
    assert_int_equal(rules->len, 1);
    assert_string_equal(r->glob, "user:*");
    assert_int_equal(r->kind, ORIGIN_RESP);
    assert_string_equal(r->host, "db.example");
    assert_int_equal(r->port, 6400);
    assert_int_equal(r->db, 7);
    assert_string_equal(r->password, "se:cret");
    assert_string_equal(r->shown, "redis://db.example:6400/7");
    assert_int_equal(r->ttl_s, 30);
    assert_int_equal(r->timeout_ms, 200);
    assert_int_equal(r->in_flight, 8);
    assert_int_equal(r->retries, 1);
    assert_int_equal(r->negative_ttl_s, 3);
    assert_int_equal(r->grace_ms, 4000);
    assert_int_equal(r->write, ORIGIN_WRITE_BEHIND);
    origin_rules_free(&rules);
    assert_null(rules);
}

static void urls(void **state)
{
    struct origin_rules *rules =
        read_well("a redis://[::1]:1 ; b unix:///run/r.sock?db=2; c redis://h d unix://:p@/s");

    (void)state;
    assert_int_equal(rules->len, 4);
    assert_string_equal(rules->rules[0].host, "::1");
    assert_int_equal(rules->rules[0].port, 1);
    assert_null(rules->rules[1].host);
    assert_string_equal(rules->rules[1].path, "/run/r.sock");
    assert_int_equal(rules->rules[1].db, 2);
    assert_int_equal(rules->rules[2].port, 6379);
    assert_string_equal(rules->rules[3].password, "p");
    assert_string_equal(rules->rules[3].shown, "unix:///s");
    origin_rules_free(&rules);
#ifdef CORRAL_CURL
    rules = read_well("* https://u:p@h/items/{key}?x=1");
    assert_int_equal(rules->rules[0].kind, ORIGIN_HTTP);
    assert_string_equal(rules->rules[0].shown, "https://h/items/{key}?x=1");
    origin_rules_free(&rules);
#endif
}

static void no_rules(void **state)
{
    static const char *const texts[] = {"", "  ", " ; ;"};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct origin_rules *rules = read_well(texts[i]);

        assert_int_equal(rules->len, 0);
        origin_rules_free(&rules);
    }
}

static void what_is_wrong_is_said(void **state)
{
    char many[2048] = "";

    (void)state;
    refused("user:*", "has no url");
    refused("user:* redis://h ttl", "ttl of origin 'user:*' has no value");
    refused("user:* redis://h ttl x", "must be 0 to 2147483 seconds, not 'x'");
    refused("user:* redis://h timeout 0", "must be 1 to 60000 milliseconds, not '0'");
    refused("user:* redis://h retries 11", "must be 0 to 10 retries");
    refused("user:* redis://h write maybe", "must be through, behind or off, not 'maybe'");
    refused("user:* redis://h tll 5", "'tll' is neither a setting");
    refused("user:* gopher://h", "is not the url of an origin");
    refused("user:* redis://", "names no host");
    refused("user:* redis://:p@:1", "names no host");
    refused("user:* redis://h:0", "'0' is no port");
    refused("user:* redis://h:", "is no port");
    refused("user:* redis://[::1", "no closing ']'");
    refused("user:* redis://h/x", "'x' is no database number");
    refused("user:* unix://run", "needs a whole path");
    refused("user:* unix:///run?x", "only ?db=<number> may follow");
#ifdef CORRAL_CURL
    refused("user:* http://h/items", "must say where the key goes");
    refused("user:* http://h/{key}/{key}", "more than one {key}");
#else
    refused("user:* http://h/{key}", "libcurl4-openssl-dev");
#endif
    for (unsigned i = 0; i <= ORIGIN_RULES_MAX; i++)
        strcat(many, "k redis://h; ");
    refused(many, "at most");
}

static void a_guard_is_part_of_a_rule(void **state)
{
    struct origin_rules *rules = read_well("a redis://h guard names; a redis://h guard other; a redis://h"),
                        *one;

    (void)state;
    assert_string_equal(rules->rules[0].guard, "names");
    assert_null(rules->rules[2].guard);
    assert_false(origin_rule_equals(&rules->rules[0], &rules->rules[1]));
    assert_false(origin_rule_equals(&rules->rules[0], &rules->rules[2]));
    one = origin_rules_of(&rules->rules[0]);
    assert_true(origin_rule_equals(&one->rules[0], &rules->rules[0]));
    origin_rules_free(&rules);
    assert_string_equal(one->rules[0].guard, "names");
    origin_rules_free(&one);
    refused("user:* redis://h guard", "guard of origin 'user:*' has no value");
}

static void a_rule_alone_has_strings_of_its_own(void **state)
{
    struct origin_rules *rules = read_well("a redis://h:1/2 ttl 5; b redis://h:1/2 ttl 5"), *one;

    (void)state;
    one = origin_rules_of(&rules->rules[1]);
    assert_true(origin_rule_equals(&one->rules[0], &rules->rules[1]));
    assert_false(origin_rule_equals(&rules->rules[0], &rules->rules[1]));
    origin_rules_free(&rules);
    assert_string_equal(one->rules[0].glob, "b");
    assert_string_equal(one->rules[0].host, "h");
    origin_rules_free(&one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rule_with_everything),
        cmocka_unit_test(urls),
        cmocka_unit_test(no_rules),
        cmocka_unit_test(what_is_wrong_is_said),
        cmocka_unit_test(a_guard_is_part_of_a_rule),
        cmocka_unit_test(a_rule_alone_has_strings_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
