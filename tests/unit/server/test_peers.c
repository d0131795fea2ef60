/* test_peers.c - connections are counted by address, and forgotten when they are gone. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/un.h>
#include <setjmp.h>
#include <cmocka.h>

#include "server/peers.h"

static struct sockaddr_storage address(const char *text)
{
    struct sockaddr_storage ss = {0};
    struct sockaddr_in *in = (struct sockaddr_in *)&ss;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&ss;

    if (inet_pton(AF_INET, text, &in->sin_addr) == 1)
        ss.ss_family = AF_INET;
    else if (inet_pton(AF_INET6, text, &in6->sin6_addr) == 1)
        ss.ss_family = AF_INET6;
    else
        ss.ss_family = AF_UNIX;
    return ss;
}

static uint32_t enter(struct peers *peers, const char *text, struct peer **peer)
{
    struct sockaddr_storage from = address(text);
    uint32_t count;

    *peer = peers_enter(peers, &from, &count);
    return count;
}

static void addresses_count_by_themselves(void **state)
{
    struct peers *peers = peers_new();
    struct peer *a, *b, *c, *d, *e, *f;

    (void)state;
    assert_int_equal(enter(peers, "10.0.0.1", &a), 1);
    assert_int_equal(enter(peers, "10.0.0.1", &b), 2);
    assert_int_equal(enter(peers, "10.0.0.2", &c), 1);
    assert_int_equal(enter(peers, "2001:db8::1", &d), 1);
    assert_int_equal(enter(peers, "2001:db8::2:1", &e), 2); /* the same /64 */
    assert_int_equal(enter(peers, "2001:db8:0:1::1", &f), 1);
    peers_leave(peers, &a);
    peers_leave(peers, &a); /* does nothing: it has been forgotten */
    assert_int_equal(enter(peers, "10.0.0.1", &a), 2);
    assert_int_equal(enter(peers, "/run/socket", &(struct peer *){NULL}), 0);
    struct peer **all[] = {&a, &b, &c, &d, &e, &f};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        peers_leave(peers, all[i]);
    peers_free(&peers); /* checks that nobody is left */
}

static void many_addresses_come_and_go(void **state)
{
    enum { MANY = 5000 };
    static struct peer *there[MANY];
    struct peers *peers = peers_new();
    char text[32];

    (void)state;
    for (int round = 1; round <= 2; round++) {
        for (int i = 0; i < MANY; i++) {
            snprintf(text, sizeof text, "10.1.%d.%d", i / 250, i % 250);
            assert_int_equal(enter(peers, text, &there[i]), 1);
        }
        for (int i = 0; i < MANY; i++)
            peers_leave(peers, &there[(i * 7) % MANY]);
    }
    peers_free(&peers);
}

static void loopback_is_local(void **state)
{
    static const struct {
        const char *text;
        bool local;
    } cases[] = {{"127.0.0.1", true}, {"127.9.9.9", true},  {"::1", true},  {"/run/s", true},
                 {"10.0.0.1", false}, {"128.0.0.1", false}, {"::2", false}, {"fe80::1", false}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sockaddr_storage from = address(cases[i].text);
        assert_int_equal(peer_is_local(&from), cases[i].local);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_count_by_themselves),
        cmocka_unit_test(many_addresses_come_and_go),
        cmocka_unit_test(loopback_is_local),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
