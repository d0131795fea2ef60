/* test_herd.c - plain clients before a protected key: a thousand connections of
 * both protocols, over two workers, and one of them is told to fetch.
 *
 * CORRAL_BIN   directory of corrald   bin */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/support/spawn.h"

enum { RESP = 500, MEMCACHE = 500, CROWD = RESP + MEMCACHE, TEXT_MAX = 4096, PATIENCE_MS = 15000 };

static struct spawned node;
static int memcache_port;
static int control = -1; /* a connection for questions and sets */

/* ---- time ---- */

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void nap(void)
{
    nanosleep(&(struct timespec){0, 2000000}, NULL);
}

/* ---- connections ---- */

static int client(int port)
{
    int fd = spawn_connect(port);

    assert_true(fd >= 0);
    return fd;
}

static void say(int fd, const char *text)
{
    assert_true(spawn_send(fd, text, strlen(text)));
}

/* Everything until it ends with `end`. */
static void hear(int fd, const char *end, char text[TEXT_MAX])
{
    size_t len = 0, end_len = strlen(end);

    do {
        ssize_t n = spawn_receive(fd, text + len, TEXT_MAX - 1 - len);

        assert_true(n > 0);
        len += (size_t)n;
        assert_true(len < TEXT_MAX - 1);
    } while (len < end_len || memcmp(text + len - end_len, end, end_len) != 0);
    text[len] = '\0';
}

static void expect(int fd, const char *reply)
{
    char text[TEXT_MAX];

    hear(fd, reply, text);
    assert_string_equal(text, reply);
}

static void ask(const char *request, const char *reply)
{
    say(control, request);
    expect(control, reply);
}

static bool is_silent(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    return poll(&p, 1, 0) == 0;
}

static int64_t figure(const char *section, const char *name)
{
    char text[TEXT_MAX], request[64];
    const char *at;

    snprintf(request, sizeof request, "INFO %s\r\n", section);
    say(control, request);
    hear(control, "\r\n\r\n", text);
    at = text;
    do {
        at = strstr(at + 1, name);
        assert_non_null(at);
    } while (strchr(":=", at[strlen(name)]) == NULL);
    return atoll(at + strlen(name) + 1);
}

static int64_t herd(const char *name)
{
    return figure("herd", name);
}

static void await(const char *name, int64_t value)
{
    int64_t until = now_ms() + PATIENCE_MS;

    while (herd(name) != value) {
        if (now_ms() > until)
            fail_msg("%s is %lld, not %lld", name, (long long)herd(name), (long long)value);
        nap();
    }
}

static void await_more(const char *name, int64_t least)
{
    int64_t until = now_ms() + PATIENCE_MS;

    while (herd(name) < least) {
        assert_true(now_ms() < until);
        nap();
    }
}

static void nothing_is_left(void)
{
    await("herd_parked_now", 0);
    await("herd_rule0:parked_now", 0);
    assert_int_equal(figure("clients", "blocked_clients"), 0);
}

static void rule(const char *text)
{
    char request[256];

    snprintf(request, sizeof request, "CONFIG SET herd-protect \"%s\"\r\n", text);
    ask("CONFIG SET herd-protect \"\"\r\n", "+OK\r\n");
    ask(request, "+OK\r\n");
    ask("CONFIG RESETSTAT\r\n", "+OK\r\n");
    ask("FLUSHALL\r\n", "+OK\r\n");
}

/* ---- the crowd ---- */

static int crowd[CROWD];

static bool is_resp(unsigned i)
{
    return i < RESP;
}

static void gather(void)
{
    for (unsigned i = 0; i < CROWD; i++) {
        crowd[i] = client(is_resp(i) ? node.port : memcache_port);
        if (i % 100 == 0)
            ask("PING\r\n", "+PONG\r\n"); /* until then they are accepted: no more than the backlog holds */
    }
}

static void disperse(void)
{
    for (unsigned i = 0; i < CROWD; i++) {
        if (crowd[i] >= 0)
            close(crowd[i]);
        crowd[i] = -1;
    }
}

static void get(unsigned i, const char *key)
{
    char request[128];

    snprintf(request, sizeof request, is_resp(i) ? "GET %s\r\n" : "get %s\r\n", key);
    say(crowd[i], request);
}

static void all_get(const char *key)
{
    for (unsigned i = 0; i < CROWD; i++)
        get(i, key);
}

static const char *miss(unsigned i)
{
    return is_resp(i) ? "$-1\r\n" : "END\r\n";
}

/* Who was told to fetch; all others still wait. */
static unsigned the_one(void)
{
    unsigned one = CROWD;

    for (unsigned i = 0; i < CROWD; i++) {
        if (crowd[i] < 0 || is_silent(crowd[i]))
            continue;
        assert_int_equal(one, CROWD);
        one = i;
    }
    assert_true(one < CROWD);
    expect(crowd[one], miss(one));
    return one;
}

/* All who are still there, but one, hear the value. */
static void all_hear_value(const char *key, unsigned but)
{
    char reply[128];

    for (unsigned i = 0; i < CROWD; i++) {
        if (crowd[i] < 0 || i == but)
            continue;
        if (is_resp(i))
            snprintf(reply, sizeof reply, "$5\r\nvalue\r\n");
        else
            snprintf(reply, sizeof reply, "VALUE %s 0 5\r\nvalue\r\nEND\r\n", key);
        expect(crowd[i], reply);
    }
}

/* ---- tests ---- */

static void test_one_of_a_thousand_fetches(void **state)
{
    unsigned one;

    (void)state;
    rule("h:* park 15000 lease 15000");
    all_get("h:1");
    await("herd_parked_now", CROWD - 1);
    one = the_one();
    assert_int_equal(herd("herd_fetches"), 1);
    if (is_resp(one)) {
        say(crowd[one], "SET h:1 value\r\n");
        expect(crowd[one], "+OK\r\n");
    } else {
        say(crowd[one], "set h:1 0 0 5\r\nvalue\r\n");
        expect(crowd[one], "STORED\r\n");
    }
    all_hear_value("h:1", one);
    nothing_is_left();
    assert_int_equal(herd("herd_fetches"), 1);
    assert_int_equal(herd("herd_fetches_avoided"), CROWD - 1);
    assert_int_equal(herd("herd_fills"), 1);
}

/* Everybody reads all the time; each time the value ends, one is told so. */
static void test_one_fetches_at_each_expiry(void **state)
{
    enum { ENDINGS = 5, FETCH_MS = 20 };
    struct pollfd p[CROWD];
    unsigned misses = 0, one = 0;
    int64_t fetched_at = 0, until = now_ms() + PATIENCE_MS;

    (void)state;
    rule("h:* park 15000 lease 15000");
    all_get("h:2");
    for (unsigned i = 0; i < CROWD; i++)
        p[i] = (struct pollfd){.fd = crowd[i], .events = POLLIN};
    while (misses < ENDINGS || fetched_at != 0) {
        assert_true(now_ms() < until);
        if (fetched_at != 0 && now_ms() >= fetched_at) {
            ask("SET h:2 value PX 60\r\n", "+OK\r\n");
            fetched_at = 0;
            if (misses < ENDINGS)
                get(one, "h:2");
        }
        assert_true(poll(p, CROWD, 1) >= 0);
        for (unsigned i = 0; i < CROWD; i++) {
            char text[TEXT_MAX];

            if (!(p[i].revents & POLLIN))
                continue;
            hear(crowd[i], "\r\n", text);
            if (!is_resp(i) && strcmp(text, "END\r\n") != 0 && strstr(text, "\r\nEND\r\n") == NULL)
                hear(crowd[i], "END\r\n", text);
            if (strcmp(text, miss(i)) == 0) {
                assert_int_equal(fetched_at, 0); /* nobody else is on it */
                misses++;
                one = i;
                fetched_at = now_ms() + FETCH_MS;
            } else if (misses < ENDINGS || fetched_at != 0) {
                get(i, "h:2");
            }
        }
    }
    ask("SET h:2 value\r\n", "+OK\r\n");
    assert_int_equal(herd("herd_fetches"), ENDINGS);
    nothing_is_left();
}

static void test_who_goes_gives_back(void **state)
{
    unsigned first, second;

    (void)state;
    rule("h:* park 15000 lease 15000");
    all_get("h:3");
    await("herd_parked_now", CROWD - 1);
    first = the_one();
    close(crowd[first]);
    crowd[first] = -1;
    await("herd_fetches", 2);
    await("herd_parked_now", CROWD - 2);
    second = the_one();
    ask("SET h:3 value\r\n", "+OK\r\n");
    all_hear_value("h:3", second);
    assert_int_equal(herd("herd_fetches"), 2);
    crowd[first] = client(is_resp(first) ? node.port : memcache_port);
    nothing_is_left();
}

/* A filler that hangs costs as long as fills have been seen to take, and a half. */
static void test_lease_ends_soon_where_fills_are_quick(void **state)
{
    char request[64];
    int64_t from;

    (void)state;
    rule("q:* park 15000");
    for (unsigned i = 0; i < 10; i++) {
        snprintf(request, sizeof request, "GET q:quick%u\r\n", i);
        ask(request, "$-1\r\n");
        snprintf(request, sizeof request, "SET q:quick%u 1\r\n", i);
        ask(request, "+OK\r\n");
    }
    from = now_ms();
    all_get("q:4");
    await_more("herd_fetches", 12);
    assert_true(now_ms() - from < 10000); /* lease-default-ms and the crowd's own time */
    assert_true(herd("herd_leases_expired") >= 1);
    assert_in_range(herd("herd_fetches"), 12, 30); /* each lease that ran out makes the next twice as long */
    ask("SET q:4 value\r\n", "+OK\r\n");
    nothing_is_left();
}

static void test_flush_and_delete_let_one_more_fetch(void **state)
{
    unsigned first, second, third;

    (void)state;
    rule("h:* park 15000 lease 15000");
    all_get("h:5");
    await("herd_parked_now", CROWD - 1);
    first = the_one();
    ask("FLUSHALL\r\n", "+OK\r\n");
    await("herd_fetches", 2);
    await("herd_parked_now", CROWD - 2);
    second = the_one();
    ask("DEL h:5\r\n", ":0\r\n");
    await("herd_fetches", 3);
    await("herd_parked_now", CROWD - 3);
    third = the_one();
    ask("SET h:5 value\r\n", "+OK\r\n");
    get(first, "h:5");
    get(second, "h:5");
    all_hear_value("h:5", third);
    nothing_is_left();
}

static void test_first_come_first_served(void **state)
{
    enum { QUEUE = 12 };

    (void)state;
    rule("h:* park 15000 lease 15000");
    ask("GET h:q\r\n", "$-1\r\n");
    for (unsigned i = 0; i < QUEUE; i++) { /* of both protocols, and so of both workers */
        get(i % 2 == 0 ? i : RESP + i, "h:q");
        await("herd_parked_now", i + 1);
    }
    close(crowd[4]);
    crowd[4] = -1;
    await("herd_parked_now", QUEUE - 1);
    for (unsigned i = 0; i < QUEUE; i++) {
        unsigned next = i % 2 == 0 ? i : RESP + i;

        if (crowd[next] < 0)
            continue;
        ask("DEL h:q\r\n", ":0\r\n");
        expect(crowd[next], miss(next));
        await("herd_parked_now", QUEUE - (i < 4 ? 2 : 1) - (int64_t)i);
    }
}

static void test_waiters_who_go_leave_nothing(void **state)
{
    (void)state;
    rule("h:* park 15000 lease 15000");
    all_get("h:6");
    await("herd_parked_now", CROWD - 1);
    disperse();
    nothing_is_left();
    gather();
}

/* Of two keys it waits for one; the other is there when it is answered, so it was not told "miss". */
static void test_who_was_told_nothing_is_not_late(void **state)
{
    int holder = client(node.port), other = client(node.port);

    (void)state;
    rule("a:* park 0 lease 15000; b:* park 15000 lease 15000");
    say(holder, "GET a:1\r\nGET b:1\r\n");
    expect(holder, "$-1\r\n$-1\r\n");
    say(other, "MGET a:1 b:1\r\n");
    await("herd_parked_now", 1);
    say(holder, "SET a:1 one\r\nSET b:1 two\r\n");
    expect(holder, "+OK\r\n+OK\r\n");
    expect(other, "*2\r\n$3\r\none\r\n$3\r\ntwo\r\n");
    say(other, "SET a:1 new\r\n");
    expect(other, "+OK\r\n");
    assert_int_equal(herd("herd_late_fills"), 0);
    close(holder);
    close(other);
    nothing_is_left();
}

/* Bytes of replies that wait for the client to read them. */
static int64_t unread(int64_t id)
{
    char text[TEXT_MAX], request[64];
    const char *at;

    snprintf(request, sizeof request, "CLIENT LIST ID %lld\r\n", (long long)id);
    say(control, request);
    hear(control, "\n\r\n", text);
    at = strstr(text, " omem=");
    assert_non_null(at);
    return atoll(at + 6);
}

/* The first in line has more replies to read than may wait, so it is not asked again. */
static void test_who_does_not_read_holds_up_nobody(void **state)
{
    enum { VALUE = 65536, LIMIT = 1 << 20, TURN_MS = 2000 };
    static char value[VALUE + 64];
    int holder = client(node.port), first = client(node.port), second = client(node.port);
    char text[TEXT_MAX];
    int64_t id, began;

    (void)state;
    rule("h:* park 15000 lease 15000");
    ask("CONFIG SET client-output-buffer-limit 1mb\r\n", "+OK\r\n");
    snprintf(value, sizeof value, "*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n$%d\r\n%0*d\r\n", VALUE, VALUE, 0);
    ask(value, "+OK\r\n");
    say(holder, "GET h:20\r\n");
    expect(holder, "$-1\r\n");
    say(first, "CLIENT ID\r\n");
    hear(first, "\r\n", text);
    id = atoll(text + 1);
    while (unread(id) <= LIMIT / 2 - VALUE) {
        say(first, "GET big\r\n");
        nap();
    }
    say(first, "GET big\r\nGET big\r\nGET h:20\r\n");
    await("herd_parked_now", 1);
    assert_true(unread(id) > LIMIT / 2);
    say(second, "GET h:20\r\n");
    await("herd_parked_now", 2);
    began = now_ms();
    close(holder);
    expect(second, "$-1\r\n");
    assert_true(now_ms() - began < TURN_MS);
    close(first);
    close(second);
    ask("CONFIG SET client-output-buffer-limit 256mb\r\n", "+OK\r\n");
    nothing_is_left();
}

static void test_time_to_wait_is_bounded(void **state)
{
    (void)state;
    rule("w:* park 50 lease 15000");
    all_get("w:7");
    for (unsigned i = 0; i < CROWD; i++)
        expect(crowd[i], miss(i));
    assert_int_equal(herd("herd_fetches"), 1);
    assert_int_equal(herd("herd_fetches_avoided"), 0);
    nothing_is_left();
}

static void test_limits(void **state)
{
    (void)state;
    rule("h:* park 15000 lease 15000");
    ask("CONFIG SET herd-waiters-per-key 5 herd-waiters-max 7\r\n", "+OK\r\n");
    for (unsigned i = 0; i < 10; i++)
        get(i, "h:8");
    await("herd_parked_now", 5);
    await("herd_waiters_refused", 4);
    for (unsigned i = 10; i < 15; i++)
        get(i, "h:9");
    await("herd_parked_now", 7);
    await("herd_waiters_refused", 6);
    ask("CONFIG SET herd-waiters-per-key 5000 herd-waiters-max 10000\r\n", "+OK\r\n");
    disperse();
    nothing_is_left();
}

/* Prefixes whose misses are never filled are not worth waiting for; once they are filled, they are again. */
static void test_stops_parking_where_nobody_fills(void **state)
{
    char request[64];
    int64_t stopped;

    (void)state;
    stopped = herd("herd_prefixes_stopped");
    rule("nobody:* park 30 lease 15000");
    for (unsigned i = 0; i < 10; i++) {
        snprintf(request, sizeof request, "nobody:%u", i);
        get(0, request);
        expect(crowd[0], miss(0));
        get(1, request);
        expect(crowd[1], miss(1));
    }
    assert_int_equal(herd("herd_parking_stopped"), 1);
    assert_int_equal(herd("herd_prefixes_stopped"), stopped + 1);
    assert_in_range(herd("herd_parked"), 1, 9);
    assert_int_equal(herd("herd_parked") + herd("herd_not_parked"), 10);
    for (unsigned i = 0; i < 10; i++) {
        snprintf(request, sizeof request, "SET nobody:%u 1\r\n", i);
        ask(request, "+OK\r\n");
    }
    assert_int_equal(herd("herd_prefixes_stopped"), stopped);
}

/* Two who wait for each other would both wait in vain. */
static void test_holders_do_not_wait(void **state)
{
    int64_t from = now_ms();

    (void)state;
    rule("h:* park 15000 lease 15000");
    say(crowd[0], "GET h:a\r\n");
    expect(crowd[0], "$-1\r\n");
    say(crowd[1], "GET h:b\r\nGET h:a\r\n");
    expect(crowd[1], "$-1\r\n$-1\r\n");
    say(crowd[0], "GET h:b\r\nGET h:a\r\nMGET h:a h:b\r\n");
    expect(crowd[0], "$-1\r\n$-1\r\n*2\r\n$-1\r\n$-1\r\n");
    say(crowd[0], "SET h:a 1\r\n");
    expect(crowd[0], "+OK\r\n");
    say(crowd[0], "GET h:b\r\n"); /* now it holds nothing */
    await("herd_parked_now", 1);
    say(crowd[1], "SET h:b 2\r\n");
    expect(crowd[1], "+OK\r\n");
    expect(crowd[0], "$1\r\n2\r\n");
    assert_true(now_ms() - from < 10000);
}

static void test_several_keys_are_answered_as_a_whole(void **state)
{
    (void)state;
    rule("h:* park 15000 lease 15000");
    ask("SET h:x X\r\n", "+OK\r\n");
    ask("GET h:y\r\n", "$-1\r\n");
    ask("CONFIG RESETSTAT\r\n", "+OK\r\n");
    say(crowd[0], "MGET h:x h:y h:x\r\n");
    say(crowd[RESP], "gets h:x h:y\r\n");
    say(crowd[RESP + 1], "get h:x h:y h:x\r\n");
    say(crowd[RESP + 2], "mg h:y v\r\nmn\r\n");
    say(crowd[RESP + 3], "gat 100 h:x h:y\r\n");
    await("herd_parked_now", 5);
    ask("SET h:y Y\r\n", "+OK\r\n");
    expect(crowd[0], "*3\r\n$1\r\nX\r\n$1\r\nY\r\n$1\r\nX\r\n");
    expect(crowd[RESP + 1], "VALUE h:x 0 1\r\nX\r\nVALUE h:y 0 1\r\nY\r\nVALUE h:x 0 1\r\nX\r\nEND\r\n");
    expect(crowd[RESP + 2], "VA 1\r\nY\r\nMN\r\n");
    expect(crowd[RESP + 3], "VALUE h:x 0 1\r\nX\r\nVALUE h:y 0 1\r\nY\r\nEND\r\n");
    assert_int_equal(figure("stats", "keyspace_hits"), 3 + 2 + 3 + 1 + 2);
    assert_int_equal(figure("stats", "keyspace_misses"), 0);
    nothing_is_left();
}

/* It waits first, and only then takes leases: so each key is fetched once. */
static void test_several_keys_wait_before_they_take(void **state)
{
    (void)state;
    rule("h:* park 15000 lease 15000");
    ask("GET h:held\r\n", "$-1\r\n");
    say(crowd[0], "MGET h:free1 h:held h:free2\r\n");
    say(crowd[RESP], "get h:free1 h:held h:free2\r\n");
    await("herd_parked_now", 2);
    assert_int_equal(herd("herd_fetches"), 1);
    ask("SET h:held 1\r\n", "+OK\r\n");
    await("herd_fetches", 3); /* one of the two took both, and the other waits for the first of them */
    await("herd_parked_now", 1);
    ask("MSET h:free1 2 h:free2 3\r\n", "+OK\r\n");
    if (is_silent(crowd[0])) {
        expect(crowd[RESP], "VALUE h:held 0 1\r\n1\r\nEND\r\n");
        expect(crowd[0], "*3\r\n$1\r\n2\r\n$1\r\n1\r\n$1\r\n3\r\n");
    } else {
        nothing_is_left();
    }
    assert_int_equal(herd("herd_fetches"), 3);
    nothing_is_left();
}

/* A hundred ask for the same twenty: twenty fetches, all by one. */
static void test_many_who_want_many(void **state)
{
    enum { MANY = 100, KEYS = 20 };
    char request[1024] = "MGET", key[32];

    (void)state;
    rule("h:* park 15000 lease 15000");
    for (unsigned i = 0; i < KEYS; i++) {
        snprintf(key, sizeof key, " h:many%u", i);
        strcat(request, key);
    }
    strcat(request, "\r\n");
    for (unsigned i = 0; i < MANY; i++)
        say(crowd[i], request);
    await("herd_parked_now", MANY - 1);
    assert_int_equal(herd("herd_fetches"), KEYS);
    for (unsigned i = KEYS; i-- > 0;) {
        snprintf(request, sizeof request, "SET h:many%u 1\r\n", i);
        ask(request, "+OK\r\n");
    }
    await("herd_parked_now", 0);
    assert_int_equal(herd("herd_fetches"), KEYS);
    nothing_is_left();
}

static void test_binary_gets_wait(void **state)
{
    static const char request[] = "\x80\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x07"
                                  "\x00\x00\x00\x00\x00\x00\x00\x00h:z";
    char reply[28 + 5];
    size_t len = 0;
    int fd;

    (void)state;
    rule("h:* park 15000 lease 15000");
    ask("GET h:z\r\n", "$-1\r\n");
    fd = client(memcache_port);
    assert_true(spawn_send(fd, request, sizeof request - 1));
    await("herd_parked_now", 1);
    ask("SET h:z value\r\n", "+OK\r\n");
    while (len < sizeof reply) {
        ssize_t n = spawn_receive(fd, reply + len, sizeof reply - len);

        assert_true(n > 0);
        len += (size_t)n;
    }
    assert_memory_equal(reply + 28, "value", 5);
    close(fd);
}

static void test_nobody_waits_in_a_transaction(void **state)
{
    (void)state;
    rule("h:* park 15000 lease 15000");
    ask("GET h:t\r\n", "$-1\r\n");
    say(crowd[0], "MULTI\r\nGET h:t\r\nEXEC\r\n");
    expect(crowd[0], "+OK\r\n+QUEUED\r\n*1\r\n$-1\r\n");
}

static void test_others_are_given_what_is_in_its_grace(void **state)
{
    char text[TEXT_MAX];

    (void)state;
    rule("h:* park 15000 lease 15000 grace 60000");
    ask("SET h:g old PX 30\r\n", "+OK\r\n");
    do {
        nap();
        say(control, "EXISTS h:g\r\n");
        hear(control, "\r\n", text);
    } while (strcmp(text, ":0\r\n") != 0);
    ask("GET h:g\r\n", "$-1\r\n");
    say(crowd[0], "GET h:g\r\nMGET h:g h:g\r\n");
    expect(crowd[0], "$3\r\nold\r\n*2\r\n$3\r\nold\r\n$3\r\nold\r\n");
    say(crowd[RESP], "get h:g\r\nmg h:g v\r\n");
    expect(crowd[RESP], "VALUE h:g 0 3\r\nold\r\nEND\r\nVA 3 Z X\r\nold\r\n");
    assert_int_equal(herd("herd_stale_served"), 5);
    ask("SET h:g new\r\n", "+OK\r\n");
    say(crowd[0], "GET h:g\r\n");
    expect(crowd[0], "$3\r\nnew\r\n");
}

static void test_one_reader_refreshes_early(void **state)
{
    enum { TTL_MS = 1500, FETCH_MS = 200 };
    int64_t from;
    char text[TEXT_MAX];

    (void)state;
    rule("h:* park 15000 lease 15000 early on");
    ask("GET h:e\r\n", "$-1\r\n");
    for (from = now_ms(); now_ms() - from < FETCH_MS;)
        nap();
    ask("SET h:e value PX 1500\r\n", "+OK\r\n");
    from = now_ms();
    do { /* some hundred times: not to be chosen once has a chance of exp(-100) or so */
        say(crowd[0], "GET h:e\r\n");
        hear(crowd[0], "\r\n", text);
    } while (strcmp(text, "$-1\r\n") != 0);
    assert_true(now_ms() - from < TTL_MS);
    for (unsigned i = 1; i < 5; i++) { /* the others have it all the same */
        get(i, "h:e");
        expect(crowd[i], "$5\r\nvalue\r\n");
    }
    assert_int_equal(herd("herd_early_refreshes"), 1);
    say(crowd[0], "SET h:e again PX 60000\r\n");
    expect(crowd[0], "+OK\r\n");
    get(1, "h:e");
    expect(crowd[1], "$5\r\nagain\r\n");
}

static void test_rules_that_are_wrong_change_nothing(void **state)
{
    (void)state;
    rule("h:* park 5");
    ask("CONFIG SET herd-protect \"h:* prk 5\"\r\n", "-ERR CONFIG SET failed (possibly related to argument "
                                                     "'herd-protect') - rule 1: 'prk' is none of park, "
                                                     "lease, grace and early\r\n");
    ask("CONFIG GET herd-protect\r\n", "*2\r\n$12\r\nherd-protect\r\n$10\r\nh:* park 5\r\n");
}

/* The last test: whoever waits is told "miss" before the node ends. */
static void test_the_end_answers_who_waits(void **state)
{
    (void)state;
    rule("h:* park 15000 lease 15000");
    all_get("h:end");
    await("herd_parked_now", CROWD - 1);
    close(control);
    control = -1;
    assert_int_equal(spawn_stop(&node), 0);
    for (unsigned i = 0; i < CROWD; i++) {
        char byte;

        expect(crowd[i], miss(i));
        assert_int_equal(spawn_receive(crowd[i], &byte, 1), 0);
    }
}

/* ---- life ---- */

/* Each test has connections on which nothing has been said. */
static int fresh(void **state)
{
    (void)state;
    disperse();
    if (control >= 0)
        close(control);
    control = client(node.port);
    gather();
    return 0;
}

static int start(void **state)
{
    const char *bin = getenv("CORRAL_BIN");
    char program[SPAWN_PATH_MAX], port[16], memcache[16];
    struct rlimit files;
    char *argv[] = {program, "--port", port, "--memcache-port", memcache, "--threads", "2", NULL};

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    files.rlim_cur = files.rlim_max < 4096 ? files.rlim_max : 4096;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
    snprintf(program, sizeof program, "%s/corrald", bin != NULL ? bin : "bin");
    snprintf(port, sizeof port, "%d", spawn_free_port());
    memcache_port = spawn_free_port();
    snprintf(memcache, sizeof memcache, "%d", memcache_port);
    if (!spawn_start(&node, argv, atoi(port), "/dev/null"))
        return -1;
    memset(crowd, -1, sizeof crowd);
    return 0;
}

static int finish(void **state)
{
    (void)state;
    disperse();
    if (control >= 0)
        close(control);
    spawn_stop(&node);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_one_of_a_thousand_fetches, fresh),
        cmocka_unit_test_setup(test_one_fetches_at_each_expiry, fresh),
        cmocka_unit_test_setup(test_who_goes_gives_back, fresh),
        cmocka_unit_test_setup(test_lease_ends_soon_where_fills_are_quick, fresh),
        cmocka_unit_test_setup(test_flush_and_delete_let_one_more_fetch, fresh),
        cmocka_unit_test_setup(test_first_come_first_served, fresh),
        cmocka_unit_test_setup(test_waiters_who_go_leave_nothing, fresh),
        cmocka_unit_test_setup(test_who_was_told_nothing_is_not_late, fresh),
        cmocka_unit_test_setup(test_who_does_not_read_holds_up_nobody, fresh),
        cmocka_unit_test_setup(test_time_to_wait_is_bounded, fresh),
        cmocka_unit_test_setup(test_limits, fresh),
        cmocka_unit_test_setup(test_stops_parking_where_nobody_fills, fresh),
        cmocka_unit_test_setup(test_holders_do_not_wait, fresh),
        cmocka_unit_test_setup(test_several_keys_are_answered_as_a_whole, fresh),
        cmocka_unit_test_setup(test_several_keys_wait_before_they_take, fresh),
        cmocka_unit_test_setup(test_many_who_want_many, fresh),
        cmocka_unit_test_setup(test_binary_gets_wait, fresh),
        cmocka_unit_test_setup(test_nobody_waits_in_a_transaction, fresh),
        cmocka_unit_test_setup(test_others_are_given_what_is_in_its_grace, fresh),
        cmocka_unit_test_setup(test_one_reader_refreshes_early, fresh),
        cmocka_unit_test_setup(test_rules_that_are_wrong_change_nothing, fresh),
        cmocka_unit_test_setup(test_the_end_answers_who_waits, fresh),
    };
    return cmocka_run_group_tests(tests, start, finish);
}
