/* test_push.c - what the server says unasked, over two workers and many connections.
 *
 * Clients keep copies of what they read, as libraries with a client-side cache
 * do, while others write, delete, expire, flush and crowd out the same keys in
 * both protocols. Whenever the writers stop, no copy may differ from what the
 * server holds. And publishers publish while subscribers come and go: as many
 * messages arrive as PUBLISH said, in their order.
 *
 * CORRAL_BIN   directory of corrald   bin */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/support/spawn.h"

enum {
    KEYS = 2000, /* so many that a copy which went stale is not soon put right by the next change */
    RUN = 60,    /* keys read at once */
    CACHES = 6,
    ROUNDS = 12,
    ROUND_MS = 150,
    PATIENCE_S = 15,
    TEXT_MAX = 96,
    MESSAGES = 2000,
    PUBLISHERS = 3,
    SUBSCRIBERS = 8,
};

static struct spawned node;
static int memcache_port;
static _Atomic bool stop;

static void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

/* ---- a connection ---- */

struct client {
    int fd;
    char in[16 * 1024];
    size_t at, len;
    unsigned dice;
    void (*on_push)(struct client *client, char type);
    void *arg;
};

static struct client *client_new(int port, unsigned dice)
{
    struct client *c = calloc(1, sizeof *c);

    assert_non_null(c);
    c->dice = dice * 7919 + 1;
    assert_true((c->fd = spawn_connect(port)) >= 0);
    return c;
}

static void client_free(struct client *c)
{
    close(c->fd);
    free(c);
}

static unsigned roll(struct client *c, unsigned n)
{
    c->dice = c->dice * 1103515245u + 12345u;
    return (c->dice >> 16) % n;
}

static char next_byte(struct client *c)
{
    if (c->at == c->len) {
        ssize_t n = spawn_receive(c->fd, c->in, sizeof c->in);

        assert_true(n > 0);
        c->at = 0;
        c->len = (size_t)n;
    }
    return c->in[c->at++];
}

static void read_line(struct client *c, char line[TEXT_MAX])
{
    size_t n = 0;
    char byte;

    while ((byte = next_byte(c)) != '\n') {
        if (byte != '\r' && n + 1 < TEXT_MAX)
            line[n++] = byte;
    }
    line[n] = '\0';
}

/* The text of one flat reply; "" for null, and for the head of an aggregate. Returns its type. */
static char read_item(struct client *c, char text[TEXT_MAX])
{
    char line[TEXT_MAX];
    char type;
    long left;
    size_t n = 0;

    read_line(c, line);
    type = line[0];
    if (type == '$') {
        for (left = atol(line + 1); left > 0; left--) {
            char byte = next_byte(c);

            if (n + 1 < TEXT_MAX)
                text[n++] = byte;
        }
        text[n] = '\0';
        if (line[1] != '-') {
            next_byte(c);
            next_byte(c);
            return type;
        }
        return '_';
    }
    snprintf(text, TEXT_MAX, "%s", line + 1);
    return type;
}

/* The next reply that is none of the pushes, which go to on_push. */
static char read_reply(struct client *c, char text[TEXT_MAX])
{
    for (;;) {
        char type = read_item(c, text);

        if (type != '>')
            return type;
        c->on_push(c, text[0]);
    }
}

static void say(struct client *c, const char *format, ...)
{
    char text[16 * 1024];
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    assert_true(n > 0 && (size_t)n < sizeof text);
    assert_true(spawn_send(c->fd, text, (size_t)n));
}

static void expect(struct client *c, const char *request, char wanted)
{
    char text[TEXT_MAX];

    say(c, "%s\r\n", request);
    assert_int_equal(read_reply(c, text), wanted);
}

static void hello3(struct client *c)
{
    char text[TEXT_MAX];

    say(c, "HELLO 3\r\n");
    assert_int_equal(read_reply(c, text), '%');
    for (int i = 0; i < 14; i++) /* seven pairs, the last of which is an empty array */
        read_item(c, text);
}

/* ---- client-side caches ---- */

enum cache_mode { CACHE_DEFAULT, CACHE_BCAST, CACHE_OPTIN, CACHE_NOLOOP };

struct cache {
    struct client *client;
    enum cache_mode mode;
    bool held[KEYS];
    char values[KEYS][TEXT_MAX]; /* "" for nothing there */
    unsigned long told, flushed;
    pthread_t thread;
};

static void forget(struct cache *cache, const char *key)
{
    int i;

    if (sscanf(key, "k:%d", &i) == 1)
        cache->held[i] = false;
    cache->told++;
}

/* ">2" has been read: "invalidate", and an array of keys or null. */
static void on_invalidate(struct client *c, char count)
{
    struct cache *cache = c->arg;
    char text[TEXT_MAX];
    char type;

    assert_int_equal(count, '2');
    read_item(c, text);
    assert_string_equal(text, "invalidate");
    type = read_item(c, text);
    if (type == '_') {
        memset(cache->held, 0, sizeof cache->held);
        cache->flushed++;
        return;
    }
    assert_int_equal(type, '*');
    for (int n = atoi(text); n > 0; n--) {
        read_item(c, text);
        forget(cache, text);
    }
}

/* Many at once: the longer it takes from the first interest to the last value, the more can go wrong. Only
 * what is not held: reading anew would put right what had gone wrong before. */
static void cache_read(struct cache *cache, int from)
{
    char request[RUN * 8 + 8] = "MGET", text[TEXT_MAX];
    size_t len = strlen(request);
    int keys[RUN], n = 0;

    for (int i = from; i < KEYS && n < RUN; i++) {
        if (cache->held[i])
            continue;
        len += (size_t)snprintf(request + len, sizeof request - len, " k:%d", i);
        keys[n++] = i;
    }
    if (cache->mode == CACHE_OPTIN)
        expect(cache->client, "CLIENT CACHING yes", '+');
    say(cache->client, "%s\r\n", request);
    assert_int_equal(read_reply(cache->client, text), '*');
    for (int i = 0; i < n; i++) {
        if (read_item(cache->client, text) == '_')
            text[0] = '\0';
        snprintf(cache->values[keys[i]], TEXT_MAX, "%s", text);
        cache->held[keys[i]] = true;
    }
}

/* What it writes itself in NOLOOP mode it is not told of, and so does not keep. */
static void cache_write(struct cache *cache, int i)
{
    char request[TEXT_MAX];

    cache->held[i] = false;
    snprintf(request, sizeof request, "SET k:%d own-%u", i, roll(cache->client, 1000000));
    expect(cache->client, request, '+');
}

static void *run_cache(void *arg)
{
    struct cache *cache = arg;

    while (!atomic_load(&stop)) {
        int i = (int)roll(cache->client, KEYS);

        if (!cache->held[i])
            cache_read(cache, i);
        else if (cache->mode == CACHE_NOLOOP && roll(cache->client, 4) == 0)
            cache_write(cache, i);
        else
            expect(cache->client, "PING", '+');
    }
    return NULL;
}

static void cache_open(struct cache *cache, unsigned n)
{
    static const char *const start[] = {
        "CLIENT TRACKING on",
        "CLIENT TRACKING on BCAST PREFIX k:",
        "CLIENT TRACKING on OPTIN",
        "CLIENT TRACKING on NOLOOP",
    };

    cache->mode = (enum cache_mode)(n % 4);
    cache->client = client_new(node.port, n);
    cache->client->arg = cache;
    cache->client->on_push = on_invalidate;
    hello3(cache->client);
    expect(cache->client, start[cache->mode], '+');
}

/* ---- writers ---- */

static void *run_resp_writer(void *arg)
{
    struct client *c = arg;
    char request[TEXT_MAX], text[TEXT_MAX];

    while (!atomic_load(&stop)) {
        unsigned i = roll(c, KEYS), value = roll(c, 1000000);

        switch (roll(c, 12)) {
        case 0: snprintf(request, sizeof request, "DEL k:%u", i); break;
        case 1: snprintf(request, sizeof request, "SET k:%u %u PX %u", i, value, 1 + roll(c, 60)); break;
        case 2: snprintf(request, sizeof request, "PEXPIRE k:%u %u", i, 1 + roll(c, 60)); break;
        case 3: snprintf(request, sizeof request, "GETDEL k:%u", i); break;
        case 4: snprintf(request, sizeof request, "APPEND k:%u x", i); break;
        case 5:
            snprintf(request, sizeof request, "MSET k:%u %u k:%u %u", i, value, roll(c, KEYS), value);
            break;
        case 6: snprintf(request, sizeof request, roll(c, 100) == 0 ? "FLUSHALL" : "PING"); break;
        default: snprintf(request, sizeof request, "SET k:%u %u", i, value);
        }
        say(c, "%s\r\n", request);
        read_reply(c, text);
    }
    return NULL;
}

static void *run_memcache_writer(void *arg)
{
    struct client *c = arg;
    char line[TEXT_MAX];

    while (!atomic_load(&stop)) {
        unsigned i = roll(c, KEYS);

        switch (roll(c, 4)) {
        case 0: say(c, "delete k:%u\r\n", i); break;
        case 1: say(c, "append k:%u 0 0 1\r\nm\r\n", i); break;
        case 2: say(c, "touch k:%u %d\r\n", i, roll(c, 2) ? -1 : 100); break;
        default: say(c, "set k:%u 0 0 4\r\nmc%02u\r\n", i, roll(c, 100));
        }
        read_line(c, line);
    }
    return NULL;
}

/* Crowds the others out. */
static void *run_filler(void *arg)
{
    static char value[8 * 1024];
    struct client *c = arg;
    char text[TEXT_MAX];

    memset(value, 'f', sizeof value - 1);
    while (!atomic_load(&stop)) {
        say(c, "SET filler:%u %s\r\n", roll(c, 1000000), value);
        read_reply(c, text);
    }
    return NULL;
}

/* ---- the check ---- */

/* After the second answer everything is here that was on its way before the first. */
static void catch_up(struct cache *cache)
{
    expect(cache->client, "PING", '+');
    expect(cache->client, "PING", '+');
}

/* How many of keys[0..n) the server holds with another value. */
static int differing(struct cache *cache, struct client *observer, const int *keys, int n)
{
    char request[RUN * 8 + 8] = "MGET", text[TEXT_MAX];
    size_t len = strlen(request);
    int stale = 0;

    if (n == 0)
        return 0;
    for (int i = 0; i < n; i++)
        len += (size_t)snprintf(request + len, sizeof request - len, " k:%d", keys[i]);
    say(observer, "%s\r\n", request);
    assert_int_equal(read_reply(observer, text), '*');
    for (int i = 0; i < n; i++) {
        if (read_item(observer, text) == '_')
            text[0] = '\0';
        stale += strcmp(text, cache->values[keys[i]]) != 0;
    }
    return stale;
}

static int stale_copies(struct cache *cache, struct client *observer)
{
    int keys[RUN], n = 0, stale = 0;

    catch_up(cache);
    for (int i = 0; i < KEYS; i++) {
        if (cache->held[i])
            keys[n++] = i;
        if (n == RUN || i == KEYS - 1) {
            stale += differing(cache, observer, keys, n);
            n = 0;
        }
    }
    return stale;
}

/* Expired items are dropped, and told of, in the background: everything else at once. */
static void check_caches(struct cache *caches, struct client *observer)
{
    time_t end = time(NULL) + PATIENCE_S;
    int stale;

    for (;;) {
        stale = 0;
        for (unsigned i = 0; i < CACHES; i++)
            stale += stale_copies(&caches[i], observer);
        if (stale == 0)
            return;
        if (time(NULL) > end)
            fail_msg("%d copies stay stale", stale);
        sleep_ms(20);
    }
}

static void test_no_stale_copy_stays(void **state)
{
    struct cache caches[CACHES] = {0};
    struct client *writers[4], *observer;
    void *(*const run[])(void *) = {run_resp_writer, run_resp_writer, run_memcache_writer, run_filler};
    unsigned long told = 0;
    pthread_t threads[4];

    (void)state;
    if (node.pid == 0)
        skip();
    observer = client_new(node.port, 99);
    for (unsigned i = 0; i < CACHES; i++)
        cache_open(&caches[i], i);
    for (unsigned i = 0; i < 4; i++)
        writers[i] = client_new(i == 2 ? memcache_port : node.port, 10 + i);
    for (int round = 0; round < ROUNDS; round++) {
        atomic_store(&stop, false);
        for (unsigned i = 0; i < 4; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, run[i], writers[i]), 0);
        for (unsigned i = 0; i < CACHES; i++)
            assert_int_equal(pthread_create(&caches[i].thread, NULL, run_cache, &caches[i]), 0);
        sleep_ms(ROUND_MS);
        atomic_store(&stop, true);
        for (unsigned i = 0; i < 4; i++)
            pthread_join(threads[i], NULL);
        for (unsigned i = 0; i < CACHES; i++)
            pthread_join(caches[i].thread, NULL);
        check_caches(caches, observer);
    }
    for (unsigned i = 0; i < CACHES; i++) {
        told += caches[i].told;
        client_free(caches[i].client);
    }
    assert_true(told > CACHES * ROUNDS); /* it was about something */
    for (unsigned i = 0; i < 4; i++)
        client_free(writers[i]);
    client_free(observer);
}

/* ---- publish and subscribe ---- */

struct listener {
    struct client *client;
    unsigned long heard;
    int last[PUBLISHERS]; /* number of each publisher's last message */
    pthread_t thread;
};

static _Atomic unsigned long promised; /* the sum of what PUBLISH answered */
static _Atomic unsigned publishing;

/* ">3" or ">4" has been read; what is no message is the answer to a request. */
static bool read_push(struct listener *l, char count)
{
    char kind[TEXT_MAX], text[TEXT_MAX];
    int publisher, number;

    read_item(l->client, kind);
    for (char i = '1'; i < count; i++)
        read_item(l->client, text);
    if (strcmp(kind, "message") != 0 && strcmp(kind, "pmessage") != 0)
        return true;
    assert_int_equal(sscanf(text, "%d:%d", &publisher, &number), 2);
    assert_true(number >= l->last[publisher]);
    l->last[publisher] = number;
    l->heard++;
    return false;
}

static void on_message(struct client *c, char count)
{
    assert_false(read_push(c->arg, count));
}

/* Says it, and listens until it is answered by a push of its own. */
static void change(struct listener *l, const char *request)
{
    char text[TEXT_MAX];

    say(l->client, "%s\r\n", request);
    do
        assert_int_equal(read_item(l->client, text), '>');
    while (!read_push(l, text[0]));
}

static void *run_listener(void *arg)
{
    struct listener *l = arg;

    while (atomic_load(&publishing) > 0) {
        change(l, "SUBSCRIBE c");
        expect(l->client, "PING", '+');
        if (roll(l->client, 2) == 0)
            change(l, "PSUBSCRIBE [c]");
        expect(l->client, "PING", '+');
        if (roll(l->client, 2) == 0)
            change(l, "UNSUBSCRIBE c");
        if (roll(l->client, 2) == 0)
            change(l, "PUNSUBSCRIBE [c]");
    }
    expect(l->client, "PING", '+');
    expect(l->client, "PING", '+');
    return NULL;
}

static void *run_publisher(void *arg)
{
    unsigned me = (unsigned)(uintptr_t)arg;
    struct client *c = client_new(node.port, 50 + me);
    char text[TEXT_MAX];

    for (int i = 0; i < MESSAGES; i++) {
        say(c, "PUBLISH c %u:%d\r\n", me, i);
        assert_int_equal(read_reply(c, text), ':');
        atomic_fetch_add(&promised, (unsigned long)atol(text));
    }
    client_free(c);
    atomic_fetch_sub(&publishing, 1);
    return NULL;
}

static void test_as_many_messages_as_promised(void **state)
{
    struct listener listeners[SUBSCRIBERS] = {0};
    pthread_t threads[PUBLISHERS];
    unsigned long heard = 0;

    (void)state;
    if (node.pid == 0)
        skip();
    atomic_store(&publishing, PUBLISHERS);
    for (unsigned i = 0; i < SUBSCRIBERS; i++) {
        struct listener *l = &listeners[i];

        l->client = client_new(node.port, 20 + i);
        l->client->arg = l;
        l->client->on_push = on_message;
        hello3(l->client);
        assert_int_equal(pthread_create(&l->thread, NULL, run_listener, l), 0);
    }
    for (unsigned i = 0; i < PUBLISHERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run_publisher, (void *)(uintptr_t)i), 0);
    for (unsigned i = 0; i < PUBLISHERS; i++)
        pthread_join(threads[i], NULL);
    for (unsigned i = 0; i < SUBSCRIBERS; i++) {
        pthread_join(listeners[i].thread, NULL);
        heard += listeners[i].heard;
        client_free(listeners[i].client);
    }
    assert_true(heard > 0);
    assert_int_equal(heard, atomic_load(&promised));
}

/* ---- the node ---- */

static int start(void **state)
{
    const char *dir = getenv("CORRAL_BIN");
    char path[SPAWN_PATH_MAX], port[8], mc_port[8], log[SPAWN_PATH_MAX];

    (void)state;
    snprintf(path, sizeof path, "%s/corrald", dir != NULL ? dir : "bin");
    if (access(path, X_OK) != 0)
        return 0;
    snprintf(log, sizeof log, "%s/corral-push-%d.log", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp",
             (int)getpid());
    for (int tries = 0; tries < 3 && node.pid == 0; tries++) {
        int resp = spawn_free_port();

        memcache_port = spawn_free_port();
        snprintf(port, sizeof port, "%d", resp);
        snprintf(mc_port, sizeof mc_port, "%d", memcache_port);
        char *argv[] = {path, "--port",      port,   "--memcache-port", mc_port, "--threads", "2", "--hz",
                        "50", "--maxmemory", "48mb", "--logfile",       log,     NULL};

        if (resp != memcache_port)
            spawn_start(&node, argv, resp, log);
    }
    return node.pid != 0 ? 0 : -1;
}

static int finish(void **state)
{
    (void)state;
    return spawn_stop(&node) == 0 ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_stale_copy_stays),
        cmocka_unit_test(test_as_many_messages_as_promised),
    };

    return cmocka_run_group_tests(tests, start, finish);
}
