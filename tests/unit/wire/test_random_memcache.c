/* test_random_memcache.c - random requests at Corral and at memcached, which must
 * give the same answers: text, meta and binary.
 *
 * A few keys, so that requests meet each other's; values that are numbers now
 * and then; flags and times that are legal, or nearly. Left out is what cannot
 * be equal, which the transcripts have: numbers of cas; whether and how long ago
 * something was read; seconds left, which memcached counts by a clock that
 * ticks; numbers that become shorter. Its maintenance thread is off: an item that
 * it holds just then is not changed in place, which shows.
 *
 * CORRAL_BIN   directory of corrald   bin
 * MEMCACHED    the program to compare memcached
 * CORRAL_SEED  of the dice; it is printed when a test fails
 * CORRAL_STEPS how many requests      4000 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/clock.h"
#include "tests/unit/support/spawn.h"

enum { STEPS = 4000, KEYS = 4, ROOM = 4096, STORY = 12, HEADER = 24 };

struct peer {
    const char *name;
    struct spawned process;
    int fd;
    uint8_t reply[ROOM];
    size_t len;
};

static struct peer corral = {.name = "corral", .fd = -1}, memcached = {.name = "memcached", .fd = -1};
static bool ready;
static uint64_t dice, seed;
static unsigned step;
static uint8_t request[ROOM];
static size_t request_len;
static char story[STORY][ROOM];

static uint32_t roll(uint32_t n)
{
    dice ^= dice << 13;
    dice ^= dice >> 7;
    dice ^= dice << 17;
    return (uint32_t)((dice >> 20) % n);
}

/* ---- the two ---- */

static bool start_one(struct peer *p, char **argv, unsigned port_at)
{
    static char ports[2][16];
    char *port = ports[p == &corral];

    argv[port_at] = port;
    for (int tries = 0; tries < 5; tries++) {
        int number = spawn_free_port();

        snprintf(port, sizeof ports[0], "%d", number);
        if (spawn_start(&p->process, argv, number, "/dev/null")) {
            p->fd = spawn_connect(number);
            return p->fd >= 0;
        }
    }
    return false;
}

static int start(void **state)
{
    static char corrald_path[SPAWN_PATH_MAX], memcached_path[SPAWN_PATH_MAX];
    const char *bin = getenv("CORRAL_BIN"), *other = getenv("MEMCACHED");
    char name[SPAWN_PATH_MAX];

    (void)state;
    snprintf(name, sizeof name, "%s/corrald", bin != NULL ? bin : "bin");
    ready = spawn_find(name, corrald_path) && spawn_find(other != NULL ? other : "memcached", memcached_path);
    if (!ready)
        return 0; /* the tests skip themselves */
    if (!start_one(&corral,
                   (char *[]){corrald_path, "--memcache-port", NULL, "--port", "0", "--lease-default-ms",
                              "10000", "--lease-min-ms", "10000", NULL},
                   2))
        return -1;
    return start_one(&memcached,
                     (char *[]){memcached_path, "-p", NULL, "-l", "127.0.0.1", "-U", "0", "-o",
                                "no_lru_maintainer,no_lru_crawler", "-u", geteuid() == 0 ? "root" : "nobody",
                                NULL},
                     2)
               ? 0
               : -1;
}

static void stop_one(struct peer *p)
{
    if (p->fd >= 0)
        close(p->fd);
    p->fd = -1;
    spawn_stop(&p->process);
}

static int stop(void **state)
{
    (void)state;
    stop_one(&corral);
    stop_one(&memcached);
    return 0;
}

/* ---- asking both ---- */

static void begin(void)
{
    request_len = 0;
}

static void add_bytes(const void *data, size_t len)
{
    assert_true(request_len + len <= sizeof request);
    memcpy(request + request_len, data, len);
    request_len += len;
}

static void add(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void add(const char *format, ...)
{
    char text[512];
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    assert_true(n >= 0 && n < (int)sizeof text);
    add_bytes(text, (size_t)n);
}

/* What ends every exchange, so that quiet requests and errors need no care. */
static void ask_one(struct peer *p, const char *end)
{
    size_t end_len = strlen(end);

    assert_true(spawn_send(p->fd, (const char *)request, request_len));
    p->len = 0;
    while (p->len < end_len || memcmp(p->reply + p->len - end_len, end, end_len) != 0) {
        ssize_t n = spawn_receive(p->fd, p->reply + p->len, sizeof p->reply - p->len);

        if (n <= 0)
            fail_msg("CORRAL_SEED=%" PRIu64 ", step %u: %s hung up or is silent", seed, step, p->name);
        p->len += (size_t)n;
    }
}

static void print_bytes(const char *what, const uint8_t *data, size_t len)
{
    print_error("    %s: ", what);
    for (size_t i = 0; i < len; i++) {
        if (data[i] >= ' ' && data[i] < 127)
            print_error("%c", data[i]);
        else
            print_error("\\x%02x", data[i]);
    }
    print_error("\n");
}

static void compare(void)
{
    if (corral.len == memcached.len && memcmp(corral.reply, memcached.reply, corral.len) == 0)
        return;
    print_error("CORRAL_SEED=%" PRIu64 ", step %u; before it:\n", seed, step);
    for (unsigned i = STORY; i > 0; i--)
        print_error("    %s\n", story[(step + STORY - i) % STORY]);
    print_bytes("asked", request, request_len);
    print_bytes("corral", corral.reply, corral.len);
    print_bytes("memcached", memcached.reply, memcached.len);
    fail_msg("different answers");
}

static void remember_step(void)
{
    char *to = story[step % STORY];
    size_t len = 0;

    for (size_t i = 0; i < request_len && len + 6 < ROOM; i++)
        len += (size_t)snprintf(to + len, ROOM - len,
                                request[i] >= ' ' && request[i] < 127 ? "%c" : "\\x%02x", request[i]);
}

/* ---- text and meta ---- */

static const char *some_value(void)
{
    static const char *const values[] = {"", "1", "41", "7", "x", "1000", "abc def", "99"};

    return values[roll(sizeof values / sizeof *values)];
}

static unsigned some_flags(void)
{
    return roll(3) == 0 ? 0 : roll(70000);
}

/* No time that could end while the test runs, but for those that have ended already. */
static const char *some_time(void)
{
    static const char *const times[] = {"0", "0", "100", "2000", "-1"};

    return times[roll(sizeof times / sizeof *times)];
}

static void text_store(void)
{
    static const char *const verbs[] = {"set", "add", "replace", "append", "prepend"};
    const char *value = some_value();

    add("%s k%u %u %s %zu%s\r\n%s\r\n", verbs[roll(5)], roll(KEYS), some_flags(), some_time(), strlen(value),
        roll(6) == 0 ? " noreply" : "", value);
}

static void text_read(void)
{
    switch (roll(3)) {
    case 0: add("get k%u\r\n", roll(KEYS)); break;
    case 1: add("get k%u k%u k%u\r\n", roll(KEYS), roll(KEYS), roll(KEYS)); break;
    case 2: add("gat %s k%u\r\n", roll(2) ? "100" : "0", roll(KEYS)); break;
    }
}

static void text_change(void)
{
    switch (roll(3)) {
    case 0: add("delete k%u%s\r\n", roll(KEYS), roll(6) == 0 ? " noreply" : ""); break;
    case 1: add("incr k%u %u\r\n", roll(KEYS), roll(1000)); break;
    case 2: add("touch k%u %s\r\n", roll(KEYS), some_time()); break;
    }
}

static void meta_get(void)
{
    static const char *const flags[] = {"v", "f", "s", "k", "q", "Oabc", "T100", "N60", "R30", "u"};
    unsigned used = 0;

    add("mg k%u", roll(KEYS));
    for (unsigned i = roll(5); i > 0; i--) {
        unsigned which = roll(sizeof flags / sizeof *flags);

        if (used & 1u << which)
            continue; /* twice is an error that transcripts have */
        used |= 1u << which;
        add(" %s", flags[which]);
    }
    add("\r\n");
}

static void meta_set(void)
{
    static const char *const modes[] = {"", " ME", " MA", " MP", " MR", " MS"};
    const char *value = some_value();

    add("ms k%u %zu%s%s%s%s%s\r\n%s\r\n", roll(KEYS), strlen(value), modes[roll(6)], roll(2) ? " T100" : "",
        roll(3) == 0 ? " F5" : "", roll(4) == 0 ? " q" : "", roll(4) == 0 ? " k" : "", value);
}

static void meta_other(void)
{
    switch (roll(4)) {
    case 0: add("md k%u%s%s\r\n", roll(KEYS), roll(2) ? " q" : "", roll(3) == 0 ? " k Oxy" : ""); break;
    case 1: add("md k%u I%s\r\n", roll(KEYS), roll(2) ? " T30" : ""); break;
    case 2: add("ma k%u v D%u\r\n", roll(KEYS), roll(100)); break;
    case 3: add("ma k%u N60 J13 v\r\n", roll(KEYS)); break;
    }
}

static void test_text(void **state)
{
    static void (*const deeds[])(void) = {text_store, text_store, text_read, text_change,
                                          meta_get,   meta_get,   meta_set,  meta_other};
    const char *how_many = getenv("CORRAL_STEPS");
    unsigned steps = how_many != NULL ? (unsigned)strtoul(how_many, NULL, 10) : STEPS;

    (void)state;
    if (!ready)
        skip();
    for (step = 0; step < steps; step++) {
        begin();
        deeds[roll(sizeof deeds / sizeof *deeds)]();
        add("mn\r\n");
        ask_one(&corral, "MN\r\n");
        ask_one(&memcached, "MN\r\n");
        compare();
        remember_step();
    }
}

/* ---- binary ---- */

enum {
    OP_GET = 0x00,
    OP_SET = 0x01,
    OP_ADD = 0x02,
    OP_REPLACE = 0x03,
    OP_DELETE = 0x04,
    OP_INCREMENT = 0x05,
    OP_GETQ = 0x09,
    OP_NOOP = 0x0a,
    OP_GETK = 0x0c,
    OP_GETKQ = 0x0d,
    OP_APPEND = 0x0e,
    OP_PREPEND = 0x0f,
    OP_SETQ = 0x11,
    OP_DELETEQ = 0x14,
    OP_TOUCH = 0x1c,
    OP_GAT = 0x1d,
};

static void put32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (24 - 8 * i));
}

static void add_packet(uint8_t opcode, const uint8_t *extras, uint8_t extras_len, const char *key,
                       const char *value)
{
    size_t key_len = strlen(key), value_len = strlen(value);
    uint8_t header[HEADER] = {0x80, opcode, 0, (uint8_t)key_len, extras_len};

    put32(header + 8, (uint32_t)(extras_len + key_len + value_len));
    put32(header + 12, step);
    add_bytes(header, sizeof header);
    add_bytes(extras, extras_len);
    add_bytes(key, key_len);
    add_bytes(value, value_len);
}

static void binary_deed(void)
{
    static const uint8_t opcodes[] = {OP_GET,    OP_GETQ,    OP_GETK,    OP_GETKQ,  OP_SET,
                                      OP_SETQ,   OP_ADD,     OP_REPLACE, OP_DELETE, OP_DELETEQ,
                                      OP_APPEND, OP_PREPEND, OP_GAT,     OP_TOUCH,  OP_INCREMENT};
    uint8_t opcode = opcodes[roll(sizeof opcodes)], extras[20] = {0};
    char key[8];

    snprintf(key, sizeof key, "b%u", roll(KEYS));
    switch (opcode) {
    case OP_SET:
    case OP_SETQ:
    case OP_ADD:
    case OP_REPLACE:
        put32(extras, some_flags());
        put32(extras + 4, roll(2) ? 100 : 0);
        add_packet(opcode, extras, 8, key, some_value());
        return;
    case OP_APPEND:
    case OP_PREPEND: add_packet(opcode, extras, 0, key, some_value()); return;
    case OP_INCREMENT:
        put32(extras + 4, roll(1000));
        put32(extras + 12, roll(1000));
        put32(extras + 16, roll(3) == 0 ? UINT32_MAX : 100);
        add_packet(opcode, extras, 20, key, "");
        return;
    case OP_GAT:
    case OP_TOUCH:
        put32(extras, roll(2) ? 100 : 0);
        add_packet(opcode, extras, 4, key, "");
        return;
    default: add_packet(opcode, extras, 0, key, ""); return;
    }
}

/* Their numbers of cas are their own affair. */
static void forget_cas(struct peer *p)
{
    for (size_t at = 0; at + HEADER <= p->len;) {
        uint32_t body = (uint32_t)p->reply[at + 8] << 24 | (uint32_t)p->reply[at + 9] << 16 |
                        (uint32_t)p->reply[at + 10] << 8 | p->reply[at + 11];

        memset(p->reply + at + 16, 0, 8);
        at += HEADER + body;
    }
}

static void test_binary(void **state)
{
    const char *how_many = getenv("CORRAL_STEPS");
    unsigned steps = how_many != NULL ? (unsigned)strtoul(how_many, NULL, 10) : STEPS;

    (void)state;
    if (!ready)
        skip();
    for (step = 0; step < steps; step++) {
        /* The reply to a no-op, up to its opaque; the rest of it is zeroes. */
        uint8_t end[HEADER] = {0x81, OP_NOOP};

        begin();
        binary_deed();
        put32(end + 12, step);
        add_packet(OP_NOOP, end, 0, "", "");
        for (unsigned i = 0; i < 2; i++) {
            struct peer *p = i == 0 ? &corral : &memcached;

            assert_true(spawn_send(p->fd, (const char *)request, request_len));
            p->len = 0;
            while (p->len < HEADER || memcmp(p->reply + p->len - HEADER, end, HEADER) != 0) {
                ssize_t n = spawn_receive(p->fd, p->reply + p->len, sizeof p->reply - p->len);

                if (n <= 0)
                    fail_msg("CORRAL_SEED=%" PRIu64 ", step %u: %s hung up or is silent", seed, step,
                             p->name);
                p->len += (size_t)n;
            }
            forget_cas(p);
        }
        compare();
        remember_step();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_text, start, stop),
        cmocka_unit_test_setup_teardown(test_binary, start, stop),
    };
    const char *given = getenv("CORRAL_SEED");

    seed = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)clock_now_us() | 1;
    dice = seed;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
