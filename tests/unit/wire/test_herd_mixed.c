/* test_herd_mixed.c - a thousand clients of every dialect before one cold key:
 * plain ones that a rule protects, and ones that know of leases. One fetches.
 *
 * Each is a program that wants the value: it asks, fetches and stores when it
 * is told to, and asks again when it is told that somebody else is on it.
 *
 * CORRAL_BIN   directory of corrald   bin */
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

enum { CROWD = 1000, REPLY = 256, FETCH_MS = 30, RETRY_MS = 5, PATIENCE_MS = 20000 };

enum kind { PLAIN_GET, GETLEASE, TEXT_GET, MG, LEASE_GET };
enum doing { ASKING, FETCHING, STORING, RESTING, DONE, DEAD };

struct client {
    enum kind kind;
    enum doing doing;
    int fd;
    int64_t until; /* FETCHING, RESTING */
    uint64_t token;
    char reply[REPLY];
    size_t len;
};

static struct spawned node;
static int text_port;
static struct client crowd[CROWD];
static unsigned fetches, done, deaths_wanted;
static const char *key;

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- what they say ---- */

static void say(struct client *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct client *c, const char *format, ...)
{
    char text[REPLY];
    va_list args;
    int len;

    va_start(args, format);
    len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    c->len = 0;
    c->reply[0] = '\0';
    assert_true(spawn_send(c->fd, text, (size_t)len));
}

static void ask(struct client *c)
{
    switch (c->kind) {
    case PLAIN_GET: say(c, "GET %s\r\n", key); break;
    case GETLEASE: say(c, "GETLEASE %s WAIT 10000\r\n", key); break;
    case TEXT_GET: say(c, "get %s\r\n", key); break;
    case MG: say(c, "mg %s v N30\r\n", key); break;
    case LEASE_GET: say(c, "lease-get %s\r\n", key); break;
    }
    c->doing = ASKING;
}

static void store(struct client *c)
{
    switch (c->kind) {
    case PLAIN_GET: say(c, "SET %s value EX 100\r\n", key); break;
    case GETLEASE: say(c, "SETLEASE %s %llu value EX 100\r\n", key, (unsigned long long)c->token); break;
    case TEXT_GET: say(c, "set %s 0 100 5\r\nvalue\r\n", key); break;
    case MG: say(c, "ms %s 5 T100\r\nvalue\r\n", key); break;
    case LEASE_GET:
        say(c, "lease-set %s %llu 0 100 5\r\nvalue\r\n", key, (unsigned long long)c->token);
        break;
    }
    c->doing = STORING;
}

/* ---- what they hear ---- */

static bool ends(const struct client *c, const char *end)
{
    size_t n = strlen(end);

    return c->len >= n && strcmp(c->reply + c->len - n, end) == 0;
}

static bool is_whole(const struct client *c)
{
    const char *at;

    if (!ends(c, "\r\n"))
        return false;
    if (c->doing == STORING)
        return true;
    switch (c->kind) {
    case PLAIN_GET: return ends(c, "$-1\r\n") || ends(c, "value\r\n");
    case GETLEASE: return (at = strstr(c->reply, "lease-ms\r\n:")) != NULL && strstr(at + 11, "\r\n") != NULL;
    case TEXT_GET:
    case LEASE_GET: return ends(c, "END\r\n");
    case MG: return strncmp(c->reply, "VA", 2) != 0 || strstr(strstr(c->reply, "\r\n") + 2, "\r\n") != NULL;
    }
    return false;
}

/* Whether it is to fetch: with a lease, or without knowing. */
static bool is_sent(struct client *c)
{
    unsigned long long token = 0;
    const char *at;

    switch (c->kind) {
    case PLAIN_GET: return strcmp(c->reply, "$-1\r\n") == 0;
    case TEXT_GET: return strcmp(c->reply, "END\r\n") == 0;
    case MG: return strcmp(c->reply, "VA 0 W\r\n\r\n") == 0;
    case GETLEASE:
        if ((at = strstr(c->reply, "token\r\n:")) != NULL)
            token = strtoull(at + 8, NULL, 10);
        break;
    case LEASE_GET:
        if (strncmp(c->reply, "LVALUE ", 7) == 0)
            token = strtoull(strchr(c->reply + 7, ' '), NULL, 10);
        break;
    }
    c->token = token;
    return token > 1;
}

static bool has_stored(const struct client *c)
{
    return ends(c, "OK\r\n") || strcmp(c->reply, "STORED\r\n") == 0 || strcmp(c->reply, "HD\r\n") == 0;
}

static void finish(struct client *c, enum doing how)
{
    c->doing = how;
    done++;
    if (how == DEAD) {
        close(c->fd);
        c->fd = -1;
    }
}

static void heard(struct client *c)
{
    if (c->doing == STORING) {
        assert_true(has_stored(c));
        finish(c, DONE);
    } else if (strstr(c->reply, "value\r\n") != NULL &&
               (c->kind != GETLEASE || strstr(c->reply, "live") != NULL)) {
        finish(c, DONE);
    } else if (is_sent(c)) {
        fetches++;
        c->doing = FETCHING;
        c->until = now_ms() + FETCH_MS;
        if (fetches <= deaths_wanted)
            finish(c, DEAD);
    } else {
        assert_true(c->kind == MG || c->kind == LEASE_GET || c->kind == GETLEASE);
        c->doing = RESTING;
        c->until = now_ms() + RETRY_MS;
    }
}

static void hear(struct client *c)
{
    ssize_t n = spawn_receive(c->fd, c->reply + c->len, sizeof c->reply - 1 - c->len);

    assert_true(n > 0);
    c->len += (size_t)n;
    c->reply[c->len] = '\0';
    if (is_whole(c))
        heard(c);
}

/* ---- the crowd ---- */

static void gather(const char *name)
{
    static const enum kind kinds[] = {PLAIN_GET, GETLEASE, TEXT_GET, MG,
                                      PLAIN_GET, GETLEASE, TEXT_GET, LEASE_GET};

    key = name;
    fetches = done = 0;
    for (unsigned i = 0; i < CROWD; i++) {
        struct client *c = &crowd[i];

        *c = (struct client){.kind = kinds[i % 8]};
        c->fd = spawn_connect(c->kind == PLAIN_GET || c->kind == GETLEASE ? node.port : text_port);
        assert_true(c->fd >= 0);
    }
}

static void disperse(void)
{
    for (unsigned i = 0; i < CROWD; i++) {
        if (crowd[i].fd >= 0)
            close(crowd[i].fd);
    }
}

static void run_timers(void)
{
    int64_t now = now_ms();

    for (unsigned i = 0; i < CROWD; i++) {
        struct client *c = &crowd[i];

        if (c->doing == FETCHING && now >= c->until)
            store(c);
        else if (c->doing == RESTING && now >= c->until)
            ask(c);
    }
}

/* `first` asks first. Until everybody has the value. */
static void run(unsigned first)
{
    static struct pollfd polls[CROWD];
    int64_t limit = now_ms() + PATIENCE_MS;

    for (unsigned i = 0; i < CROWD; i++)
        ask(&crowd[(first + i) % CROWD]);
    while (done < CROWD) {
        for (unsigned i = 0; i < CROWD; i++) {
            bool listens = crowd[i].doing == ASKING || crowd[i].doing == STORING;

            polls[i] = (struct pollfd){.fd = listens ? crowd[i].fd : -1, .events = POLLIN};
        }
        assert_true(poll(polls, CROWD, 2) >= 0);
        for (unsigned i = 0; i < CROWD; i++) {
            if (polls[i].revents != 0)
                hear(&crowd[i]);
        }
        run_timers();
        if (now_ms() > limit)
            fail_msg("%u of %u have the value, after %u fetches", done, CROWD, fetches);
    }
}

/* ---- tests ---- */

static void crowd_at(const char *name, unsigned first, unsigned deaths)
{
    deaths_wanted = deaths;
    gather(name);
    run(first);
    disperse();
    assert_int_equal(fetches, 1 + deaths);
}

/* Whichever dialect comes first. */
static void test_one_fetches(void **state)
{
    (void)state;
    if (node.pid == 0)
        skip();
    crowd_at("h:1", 0, 0);
    crowd_at("h:2", 1, 0);
    crowd_at("h:3", 2, 0);
    crowd_at("h:4", 3, 0);
    crowd_at("h:5", 7, 0);
}

static void test_one_more_for_each_who_dies(void **state)
{
    (void)state;
    if (node.pid == 0)
        skip();
    crowd_at("h:6", 0, 1);
    crowd_at("h:7", 1, 1);
    crowd_at("h:8", 3, 2);
    crowd_at("h:9", 7, 3);
}

static int start(void **state)
{
    struct rlimit files = {.rlim_cur = 4096, .rlim_max = 4096};
    const char *bin = getenv("CORRAL_BIN");
    static char path[SPAWN_PATH_MAX];
    char name[SPAWN_PATH_MAX], ports[2][16];
    struct rlimit now;

    (void)state;
    if (getrlimit(RLIMIT_NOFILE, &now) == 0 && now.rlim_cur < files.rlim_cur &&
        now.rlim_max >= files.rlim_cur) {
        files.rlim_max = now.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    snprintf(name, sizeof name, "%s/corrald", bin != NULL ? bin : "bin");
    if (!spawn_find(name, path))
        return 0; /* the tests skip themselves */
    for (int tries = 0; tries < 5; tries++) {
        int port = spawn_free_port();

        text_port = spawn_free_port();
        snprintf(ports[0], sizeof ports[0], "%d", port);
        snprintf(ports[1], sizeof ports[1], "%d", text_port);
        /* Leases outlast a fetch, however slow the machine; but the dead shall not hold things up for long.
         */
        if (port != text_port &&
            spawn_start(&node,
                        (char *[]){path, "--port", ports[1], "--memcache-port", ports[0], "--threads", "2",
                                   "--herd-protect", "h:* park 15000 lease 1500", "--lease-default-ms",
                                   "1500", "--lease-min-ms", "1500", "--lease-max-ms", "1500", NULL},
                        port, "/dev/null")) {
            text_port = port;
            node.port = atoi(ports[1]);
            return 0;
        }
    }
    return -1;
}

static int stop(void **state)
{
    (void)state;
    spawn_stop(&node);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_fetches),
        cmocka_unit_test(test_one_more_for_each_who_dies),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
