/* test_whereabouts.c - where a node is, by its options; and what cannot be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "server/cluster/whereabouts.h"

/* Pairs of names and values, NULL at the end. False: err. */
static bool find(struct whereabouts *w, char *err, size_t err_len, ...)
{
    struct option_error wrong;
    struct options o;
    const char *name;
    va_list args;
    bool ok;

    options_defaults(&o);
    va_start(args, err_len);
    while ((name = va_arg(args, const char *)) != NULL)
        assert_int_equal(options_set(&o, name, va_arg(args, const char *), &wrong), OPTION_OK);
    va_end(args);
    ok = whereabouts_find(&o, w, err, err_len);
    options_free(&o);
    return ok;
}

static void expect_address(const struct address *a, const char *text)
{
    char printed[ADDRESS_TEXT_MAX];

    address_print(a, printed);
    assert_string_equal(printed, text);
}

static void by_default_it_is_loopback(void **state)
{
    struct whereabouts w;
    char err[256];

    (void)state;
    assert_true(find(&w, err, sizeof err, NULL));
    assert_true(w.loopback);
    expect_address(&w.listen, "127.0.0.1:7946");
    expect_address(&w.told, "127.0.0.1:7946");
    assert_int_equal(w.services.port, 6379);
    assert_int_equal(w.services.client_port, 16379);
    assert_int_equal(w.services.link_port, 7947);
    assert_int_equal(w.services.memcache_port, 11211);
    assert_string_equal(w.services.hostname, "");
}

static void what_others_reach_comes_first(void **state)
{
    struct whereabouts w;
    char err[256];

    (void)state;
    assert_true(find(&w, err, sizeof err, "bind", "127.0.0.1 192.0.2.1", NULL));
    assert_false(w.loopback);
    expect_address(&w.told, "192.0.2.1:7946");
    assert_true(find(&w, err, sizeof err, "bind", "127.0.0.1 -192.0.2.1", NULL)); /* not on this machine */
    assert_true(w.loopback);
    assert_true(find(&w, err, sizeof err, "bind", "::1", NULL));
    assert_true(w.loopback);
    expect_address(&w.told, "[::1]:7946");
    assert_true(find(&w, err, sizeof err, "cluster-announce-ip", "192.0.2.9", NULL));
    assert_false(w.loopback);
    expect_address(&w.listen, "127.0.0.1:7946");
    expect_address(&w.told, "192.0.2.9:7946");
    assert_true(find(&w, err, sizeof err, "bind", "0.0.0.0", "cluster-announce-ip", "192.0.2.9", NULL));
    assert_false(w.loopback);
    expect_address(&w.listen, "0.0.0.0:7946");
}

static void others_are_told_what_was_announced(void **state)
{
    struct whereabouts w;
    char err[256];

    (void)state;
    assert_true(find(&w, err, sizeof err, "cluster-announce-port", "1", "cluster-announce-bus-port", "2",
                     "cluster-announce-link-port", "3", "announce-host", "cache-a.example", NULL));
    expect_address(&w.listen, "127.0.0.1:7946");
    expect_address(&w.told, "127.0.0.1:2");
    assert_int_equal(w.services.client_port, 1);
    assert_int_equal(w.services.link_port, 3);
    assert_string_equal(w.services.hostname, "cache-a.example");
    assert_true(find(&w, err, sizeof err, "announce-host", "192.0.2.7", NULL)); /* no name */
    assert_string_equal(w.services.hostname, "");
}

#define REFUSED(why, ...)                                                                                    \
    do {                                                                                                     \
        struct whereabouts w_;                                                                               \
        char err_[256] = "";                                                                                 \
        assert_false(find(&w_, err_, sizeof err_, __VA_ARGS__, NULL));                                       \
        if (strstr(err_, why) == NULL)                                                                       \
            fail_msg("'%s' is not in '%s'", why, err_);                                                      \
    } while (0)

static void what_cannot_be_is_refused(void **state)
{
    (void)state;
    REFUSED("cluster-client-port: port + 10000 = 70000 is no port", "port", "60000");
    REFUSED("cluster-link-port: 65536", "cluster-port", "65535");
    REFUSED("zone", "zone", "zone with blanks");
    REFUSED("zone", "zone", "sixteen-letters.");
    REFUSED("announce-host", "announce-host", "a_name_with_a/slash");
    REFUSED("cluster-announce-ip", "cluster-announce-ip", "0.0.0.0");
    REFUSED("bind", "bind", "");
}

static void expect_seed(const char *word, const char *wanted)
{
    char out[SEED_TEXT_MAX] = "";
    bool ok = whereabouts_seed(word, 7946, out);

    if (wanted == NULL && ok)
        fail_msg("%s is %s", word, out);
    if (wanted != NULL && (!ok || strcmp(out, wanted) != 0))
        fail_msg("%s is '%s'", word, out);
}

static void seeds_have_a_port(void **state)
{
    (void)state;
    expect_seed("10.0.0.1", "10.0.0.1:7946");
    expect_seed("10.0.0.1:1", "10.0.0.1:1");
    expect_seed("cache.example:7947", "cache.example:7947");
    expect_seed("[fd00::1]", "[fd00::1]:7946");
    expect_seed("[fd00::1]:80", "[fd00::1]:80");
    expect_seed("fd00::1", NULL);
    expect_seed("host:", NULL);
    expect_seed("host:0", NULL);
    expect_seed("host:65536", NULL);
    expect_seed("host:7x", NULL);
    expect_seed(":7946", NULL);
    expect_seed("", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_default_it_is_loopback),
        cmocka_unit_test(what_others_reach_comes_first),
        cmocka_unit_test(others_are_told_what_was_announced),
        cmocka_unit_test(what_cannot_be_is_refused),
        cmocka_unit_test(seeds_have_a_port),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
