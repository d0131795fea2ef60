/* test_random_fills.c - the stale-set race, by the dice: a database, those who
 * write to it, and cache-aside clients of every dialect, plain ones included.
 *
 * A step is one request: a client reads, and when it misses reads the database;
 * some steps later it stores what it has read; a writer changes the database
 * and then deletes, invalidates or overwrites the key. Whatever the order,
 * no read may find anything older than the database is.
 *
 * CORRAL_BIN   directory of corrald   bin
 * CORRAL_SEED  of the dice; it is printed when a test fails
 * CORRAL_STEPS how many requests      20000 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include <hiredis/hiredis.h>

#include <cmocka.h>

#include "server/clock.h"
#include "tests/unit/support/spawn.h"

enum { STEPS = 20000, KEYS = 2, EACH = 2, REPLY = 512, STORY = 30 };

enum dialect { PLAIN_RESP, PLAIN_TEXT, GETLEASE, LEASE_GET, META, DIALECTS };
static const char *const dialect_names[] = {"resp", "text", "getlease", "lease-get", "meta"};

struct client {
    enum dialect dialect;
    redisContext *resp;
    int fd;
    int key; /* it has missed, and will fill; -1: none */
    long value;
    uint64_t token;
};

static struct spawned node;
static struct client clients[DIALECTS * EACH], writer, text_writer;
static long database[KEYS];
static unsigned step, hits, misses, fills, refused[DIALECTS];
static uint64_t dice, seed;
static char reply[REPLY], story[STORY][REPLY];

static uint32_t roll(uint32_t n)
{
    dice ^= dice << 13;
    dice ^= dice >> 7;
    dice ^= dice << 17;
    return (uint32_t)((dice >> 20) % n);
}

/* ---- the node ---- */

static void connect_resp(struct client *c, int port)
{
    struct timeval patience = {.tv_sec = 10};

    c->resp = redisConnectWithTimeout("127.0.0.1", port, patience);
    assert_non_null(c->resp);
    assert_int_equal(c->resp->err, 0);
    redisSetTimeout(c->resp, patience);
}

static void connect_text(struct client *c, int port)
{
    for (int tries = 0; tries < 200 && (c->fd = spawn_connect(port)) < 0; tries++)
        usleep(10000); /* it listens there in a moment */
    assert_true(c->fd >= 0);
}

static void connect_all(int port, int text_port)
{
    for (unsigned i = 0; i < DIALECTS * EACH; i++) {
        struct client *c = &clients[i];

        *c = (struct client){.dialect = (enum dialect)(i / EACH), .fd = -1, .key = -1};
        if (c->dialect == PLAIN_RESP || c->dialect == GETLEASE)
            connect_resp(c, port);
        else
            connect_text(c, text_port);
    }
    writer = text_writer = (struct client){.fd = -1};
    connect_resp(&writer, port);
    connect_text(&text_writer, text_port);
}

static int start(const char *lease_ms)
{
    static char path[SPAWN_PATH_MAX];
    const char *bin = getenv("CORRAL_BIN");
    char name[SPAWN_PATH_MAX], lease[16], ports[2][16];

    snprintf(name, sizeof name, "%s/corrald", bin != NULL ? bin : "bin");
    if (!spawn_find(name, path))
        return 0; /* the tests skip themselves */
    snprintf(lease, sizeof lease, "%s", lease_ms);
    for (int tries = 0; tries < 5; tries++) {
        int port = spawn_free_port(), text_port = spawn_free_port();

        if (port == text_port)
            continue;
        snprintf(ports[0], sizeof ports[0], "%d", port);
        snprintf(ports[1], sizeof ports[1], "%d", text_port);
        if (spawn_start(&node,
                        (char *[]){path, "--port", ports[0], "--memcache-port", ports[1],
                                   "--lease-default-ms", lease, "--lease-min-ms", "1", "--lease-max-ms",
                                   "1000000", "--herd-fence", "on", "--herd-protect", "* park 0", "--threads",
                                   "2", NULL},
                        port, "/dev/null")) {
            connect_all(port, text_port);
            return 0;
        }
    }
    return -1;
}

static int start_with_long_leases(void **state)
{
    (void)state;
    return start("1000000");
}

static int start_with_short_leases(void **state)
{
    (void)state;
    return start("1");
}

static void disconnect(struct client *c)
{
    if (c->resp != NULL)
        redisFree(c->resp);
    if (c->fd >= 0)
        close(c->fd);
    c->resp = NULL;
    c->fd = -1;
}

static int stop(void **state)
{
    (void)state;
    for (unsigned i = 0; i < DIALECTS * EACH; i++)
        disconnect(&clients[i]);
    disconnect(&writer);
    disconnect(&text_writer);
    return spawn_stop(&node) == 0 ? 0 : -1;
}

/* ---- asking ---- */

static void tell(const char *who, const char *asked)
{
    snprintf(story[step % STORY], REPLY, "%s: %.200s -> %.200s", who, asked, reply);
}

static void ask_resp(struct client *c, const char *who, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void ask_resp(struct client *c, const char *who, const char *format, ...)
{
    char asked[REPLY];
    size_t len = 0;
    redisReply *r;
    va_list args;

    va_start(args, format);
    vsnprintf(asked, sizeof asked, format, args);
    va_end(args);
    r = redisCommand(c->resp, asked);
    assert_non_null(r);
    reply[0] = '\0';
    for (size_t i = 0; i < (r->type == REDIS_REPLY_ARRAY ? r->elements : 1); i++) {
        const redisReply *e = r->type == REDIS_REPLY_ARRAY ? r->element[i] : r;

        if (e->type == REDIS_REPLY_INTEGER)
            len += (size_t)snprintf(reply + len, sizeof reply - len, "%lld ", e->integer);
        else
            len += (size_t)snprintf(reply + len, sizeof reply - len, "%s ", e->str != NULL ? e->str : "nil");
    }
    freeReplyObject(r);
    tell(who, asked);
}

static bool is_whole(const char *text)
{
    size_t len = strlen(text);

    if (len < 2 || strcmp(text + len - 2, "\r\n") != 0)
        return false;
    if (strncmp(text, "VALUE", 5) == 0 || strncmp(text, "LVALUE", 6) == 0)
        return len > 5 && strcmp(text + len - 5, "END\r\n") == 0;
    return strncmp(text, "VA ", 3) != 0 || strstr(text, "\r\n")[2] != '\0';
}

static void ask_text(struct client *c, const char *who, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void ask_text(struct client *c, const char *who, const char *format, ...)
{
    char asked[REPLY];
    size_t len = 0;
    va_list args;

    va_start(args, format);
    vsnprintf(asked, sizeof asked, format, args);
    va_end(args);
    assert_true(spawn_send(c->fd, asked, strlen(asked)));
    reply[0] = '\0';
    while (!is_whole(reply)) {
        ssize_t n = spawn_receive(c->fd, reply + len, sizeof reply - 1 - len);

        assert_true(n > 0);
        len += (size_t)n;
        reply[len] = '\0';
    }
    tell(who, asked);
}

static void fail_with_story(const char *what)
{
    print_error("CORRAL_SEED=%" PRIu64 ", step %u: %s; before it:\n", seed, step, what);
    for (unsigned i = STORY - 1; i < STORY; i--)
        print_error("    %s\n", story[(step + STORY - i) % STORY]);
    fail_msg("%s", what);
}

/* ---- reading ---- */

static void found(int key, long value)
{
    hits++;
    if (value != database[key])
        fail_with_story("a value older than the database");
}

static void missed(struct client *c, int key, uint64_t token)
{
    misses++;
    c->key = key;
    c->token = token;
    c->value = database[key];
}

static void read_plain_resp(struct client *c, int key)
{
    ask_resp(c, "resp", "GET k%d", key);
    if (strcmp(reply, "nil ") == 0)
        missed(c, key, 0);
    else
        found(key, strtol(reply, NULL, 10));
}

static void read_plain_text(struct client *c, int key)
{
    long value;

    ask_text(c, "text", roll(2) ? "get k%d\r\n" : "gets k%d\r\n", key);
    if (sscanf(reply, "VALUE k%*d %*d %*d%*[^\n]\n%ld", &value) == 1)
        found(key, value);
    else
        missed(c, key, 0);
}

static void read_getlease(struct client *c, int key)
{
    char state[16] = "", value[32] = "";
    uint64_t token = 0;

    ask_resp(c, "getlease", "GETLEASE k%d", key);
    assert_int_equal(sscanf(reply, "state %15s value %31s token %" SCNu64, state, value, &token), 3);
    if (strcmp(state, "live") == 0)
        found(key, strtol(value, NULL, 10));
    else if (strcmp(state, "granted") == 0)
        missed(c, key, token);
}

static void read_lease_get(struct client *c, int key)
{
    uint64_t token = 0;
    long value;

    ask_text(c, "lease-get", "lease-get k%d\r\n", key);
    if (sscanf(reply, "VALUE k%*d %*d %*d%*[^\n]\n%ld", &value) == 1)
        found(key, value);
    else if (sscanf(reply, "LVALUE k%*d %" SCNu64, &token) == 1 && token > 1)
        missed(c, key, token);
}

/* Z and X mean that it is not what there is to know. */
static void read_meta(struct client *c, int key)
{
    uint64_t cas = 0;
    long value;

    ask_text(c, "meta", "mg k%d v c N600\r\n", key);
    if (strncmp(reply, "EN", 2) == 0)
        return;
    assert_int_equal(sscanf(reply, "VA %*d c%" SCNu64, &cas), 1);
    if (strstr(reply, " W") != NULL)
        missed(c, key, cas);
    else if (strstr(reply, " Z") == NULL && strstr(reply, " X") == NULL &&
             sscanf(strchr(reply, '\n'), "%ld", &value) == 1)
        found(key, value);
}

/* ---- filling ---- */

static void fill(struct client *c)
{
    char value[32];
    size_t len = (size_t)snprintf(value, sizeof value, "%ld", c->value);
    int key = c->key;
    bool stored = false;

    c->key = -1;
    switch (c->dialect) {
    case PLAIN_RESP: {
        static const char *const how[] = {"SET k%d %s", "SETEX k%d 100 %s", "SET k%d %s PX 100000"};

        switch (roll(3)) {
        case 0: ask_resp(c, "resp", how[0], key, value); break;
        case 1: ask_resp(c, "resp", how[1], key, value); break;
        default: ask_resp(c, "resp", how[2], key, value); break;
        }
        stored = strcmp(reply, "OK ") == 0;
        break;
    }
    case PLAIN_TEXT:
        ask_text(c, "text", "%s k%d 0 0 %zu\r\n%s\r\n", roll(2) ? "set" : "add", key, len, value);
        stored = strncmp(reply, "STORED", 6) == 0;
        break;
    case GETLEASE:
        ask_resp(c, "getlease", "SETLEASE k%d %" PRIu64 " %s", key, c->token, value);
        stored = strcmp(reply, "OK ") == 0;
        break;
    case LEASE_GET:
        ask_text(c, "lease-get", "lease-set k%d %" PRIu64 " 0 0 %zu\r\n%s\r\n", key, c->token, len, value);
        stored = strncmp(reply, "STORED", 6) == 0;
        break;
    case META:
        ask_text(c, "meta", "ms k%d %zu C%" PRIu64 "\r\n%s\r\n", key, len, c->token, value);
        stored = strncmp(reply, "HD", 2) == 0;
        break;
    case DIALECTS: break;
    }
    fills += stored;
    refused[c->dialect] += !stored;
}

/* ---- writing ---- */

static void change(int key)
{
    database[key]++;
    switch (roll(6)) {
    case 0:
    case 1: ask_resp(&writer, "writer", "DEL k%d", key); break;
    case 2: ask_text(&text_writer, "writer", "delete k%d\r\n", key); break;
    case 3: ask_resp(&writer, "writer", "INVALIDATE k%d", key); break;
    case 4: ask_text(&text_writer, "writer", "md k%d\r\n", key); break;
    case 5: ask_resp(&writer, "writer", "SET k%d %ld", key, database[key]); break;
    }
}

/* ---- the test ---- */

static void (*const reads[])(struct client *c, int key) = {
    [PLAIN_RESP] = read_plain_resp,
    [PLAIN_TEXT] = read_plain_text,
    [GETLEASE] = read_getlease,
    [LEASE_GET] = read_lease_get,
    [META] = read_meta,
};

static void test_race(void **state)
{
    const char *given = getenv("CORRAL_SEED"), *how_many = getenv("CORRAL_STEPS");
    unsigned steps = how_many != NULL ? (unsigned)strtoul(how_many, NULL, 10) : STEPS;

    (void)state;
    if (writer.resp == NULL)
        skip();
    seed = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)clock_now_us() | 1;
    dice = seed;
    hits = misses = fills = 0;
    memset(refused, 0, sizeof refused);
    memset(database, 0, sizeof database);
    for (step = 0; step < steps; step++) {
        struct client *c = &clients[roll(DIALECTS * EACH)];

        if (roll(8) == 0)
            change((int)roll(KEYS));
        else if (c->key >= 0)
            fill(c);
        else
            reads[c->dialect](c, (int)roll(KEYS));
    }
    print_message("%u steps: %u hits, %u misses, %u fills; refused:", steps, hits, misses, fills);
    for (unsigned d = 0; d < DIALECTS; d++)
        print_message(" %s %u", dialect_names[d], refused[d]);
    print_message("\n");
    assert_true(hits > 0 && fills > 0);
    for (unsigned d = 0; d < DIALECTS; d++)
        assert_true(refused[d] > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_race, start_with_long_leases, stop),
        cmocka_unit_test_setup_teardown(test_race, start_with_short_leases, stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
