/* test_memcache_binary.c - sends the same binary packets to Corral and to memcached.
 *
 * Every story gets a connection of its own to each, and both servers are
 * emptied before it. Each step is followed by a noop, whose answer ends it;
 * what came before is written down packet by packet and must be the same. Cas
 * numbers are told as the order in which a server showed them first, so that it
 * counts which are the same; the version is left out.
 *
 * What memcached 1.6.18 itself gets wrong (it loses count of the stream after an
 * unknown opcode with a body) is asked of Corral alone.
 *
 * CORRAL_BIN  directory of corrald     bin
 * MEMCACHED   the program to compare   memcached */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "protocol/memcache_binary.h"
#include "tests/unit/support/spawn.h"

enum {
    BYTES_MAX = 4 << 20, /* of one step, either way */
    RECORD_MAX = 64 * 1024,
    CAS_MAX = 128,
    VALUE_SHOWN = 80,
    SENTINEL = 0x7e57e57e, /* opaque of the noop that ends a step */
    OPAQUE = 0x0badcafe,
};

struct peer {
    const char *name;
    bool present;
    struct spawned process;
    int fd;
    uint64_t cas[CAS_MAX];
    size_t cas_len;
    uint8_t *in;
    size_t in_len;
    bool closed;
    char record[RECORD_MAX];
    size_t record_len;
};

static struct peer corral = {.name = "corral", .fd = -1}, memcached = {.name = "memcached", .fd = -1};
static char dir[] = "/tmp/corral-mb-XXXXXX";

/* ---- packets ---- */

struct packet {
    uint8_t opcode;
    const char *key, *value;
    const void *extras;
    uint8_t extras_len;
    uint64_t cas;
    unsigned cas_seen; /* instead: the n-th cas that this server has shown */
    size_t value_len;  /* of a value of that many x's, instead of `value` */
    bool bad_magic;
    int body_len_off; /* added to the true length of the body */
    uint32_t opaque;
};

static size_t write_packet(const struct peer *peer, const struct packet *p, uint8_t *to)
{
    size_t key = p->key != NULL ? strlen(p->key) : 0;
    size_t value = p->value != NULL ? strlen(p->value) : p->value_len;
    size_t body = p->extras_len + key + value;
    uint8_t *at = to;

    *at++ = p->bad_magic ? 0x81 : BINARY_MAGIC;
    *at++ = p->opcode;
    *at++ = (uint8_t)(key >> 8);
    *at++ = (uint8_t)key;
    *at++ = p->extras_len;
    memset(at, 0, 3);
    at = binary_put_u32(at + 3, (uint32_t)((int64_t)body + p->body_len_off));
    at = binary_put_u32(at, p->opaque != 0 ? p->opaque : OPAQUE);
    if (p->cas_seen != 0) {
        assert_true(p->cas_seen <= peer->cas_len);
        at = binary_put_u64(at, peer->cas[p->cas_seen - 1]);
    } else {
        at = binary_put_u64(at, p->cas);
    }
    if (p->extras_len > 0)
        memcpy(at, p->extras, p->extras_len);
    at += p->extras_len;
    if (key > 0)
        memcpy(at, p->key, key);
    at += key;
    if (p->value != NULL)
        memcpy(at, p->value, value);
    else
        memset(at, 'x', value);
    return (size_t)(at + value - to);
}

/* ---- what came back, in words ---- */

__attribute__((format(printf, 2, 3))) static void note(struct peer *p, const char *format, ...)
{
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(p->record + p->record_len, sizeof p->record - p->record_len, format, args);
    va_end(args);
    assert_true(n >= 0 && p->record_len + (size_t)n < sizeof p->record);
    p->record_len += (size_t)n;
}

static void note_bytes(struct peer *p, const char *what, const uint8_t *bytes, size_t len)
{
    if (len == 0)
        return;
    note(p, " %s(%zu)=", what, len);
    for (size_t i = 0; i < len && i < VALUE_SHOWN; i++)
        note(p, bytes[i] >= ' ' && bytes[i] < 127 ? "%c" : "\\%02x", bytes[i]);
}

static size_t cas_number(struct peer *p, uint64_t cas)
{
    for (size_t i = 0; i < p->cas_len; i++)
        if (p->cas[i] == cas)
            return i + 1;
    assert_true(p->cas_len < CAS_MAX);
    p->cas[p->cas_len++] = cas;
    return p->cas_len;
}

/* Answers to STAT are figures of each server's own; their names may differ too. */
static void note_packet(struct peer *p, const struct binary_header *h, const uint8_t *head)
{
    const uint8_t *body = head + BINARY_HEADER;
    size_t value = (size_t)h->body_len - h->extras_len - h->key_len;

    note(p, "%02x status=%02x opaque=%x", h->opcode, head[7], h->opaque);
    if (h->cas != 0)
        note(p, " cas=#%zu", cas_number(p, h->cas));
    note_bytes(p, "extras", body, h->extras_len);
    note_bytes(p, "key", body + h->extras_len, h->key_len);
    if (h->opcode != BINARY_VERSION || head[7] != BINARY_OK)
        note_bytes(p, "value", body + h->extras_len + h->key_len, value);
    note(p, "\n");
}

/* Takes whole packets off the front of what came. True once the sentinel was among them. */
static bool read_packets(struct peer *p)
{
    size_t at = 0;
    bool ended = false;

    while (!ended && p->in_len - at >= BINARY_HEADER && p->in[at] == 0x81) {
        struct binary_header h = binary_header_decode(p->in + at);

        if (p->in_len - at < BINARY_HEADER + (size_t)h.body_len)
            break;
        assert_true((uint32_t)h.extras_len + h.key_len <= h.body_len);
        ended = h.opcode == BINARY_NOOP && h.opaque == SENTINEL;
        if (!ended)
            note_packet(p, &h, p->in + at);
        at += BINARY_HEADER + (size_t)h.body_len;
    }
    p->in_len -= at;
    memmove(p->in, p->in + at, p->in_len);
    return ended;
}

/* ---- a step ---- */

static void dial(struct peer *p)
{
    p->fd = spawn_connect(p->process.port);
    assert_true(p->fd >= 0);
    p->closed = false;
    p->in_len = 0;
}

static void hang_up(struct peer *p)
{
    if (p->fd >= 0)
        close(p->fd);
    p->fd = -1;
}

static void ask(struct peer *p, const struct packet *packets, size_t n)
{
    static uint8_t out[BYTES_MAX];
    size_t len = 0;

    p->record_len = 0;
    p->record[0] = '\0';
    if (p->closed || p->fd < 0) {
        hang_up(p);
        dial(p);
    }
    for (size_t i = 0; i < n; i++)
        len += write_packet(p, &packets[i], out + len);
    len += write_packet(p, &(struct packet){.opcode = BINARY_NOOP, .opaque = SENTINEL}, out + len);
    spawn_send(p->fd, out, len); /* it may have been closed after the first of them */
    while (!read_packets(p)) {
        ssize_t got = spawn_receive(p->fd, p->in + p->in_len, BYTES_MAX - p->in_len);

        assert_true(got >= 0 || !"no answer");
        if (got == 0) {
            p->closed = true;
            note(p, "closed\n");
            return;
        }
        p->in_len += (size_t)got;
    }
}

static void compare(const struct packet *packets, size_t n, const char *expected)
{
    if (corral.present)
        ask(&corral, packets, n);
    if (memcached.present)
        ask(&memcached, packets, n);
    if (corral.present && memcached.present && strcmp(corral.record, memcached.record) != 0)
        fail_msg("corral said:\n%smemcached said:\n%s", corral.record, memcached.record);
    if (expected != NULL)
        assert_string_equal(corral.present ? corral.record : memcached.record, expected);
}

#define COUNT(array) (sizeof(array) / sizeof *(array))
/* The same answer from both. */
#define SAME(...)                                                                                            \
    do {                                                                                                     \
        const struct packet step_[] = {__VA_ARGS__};                                                         \
        compare(step_, COUNT(step_), NULL);                                                                  \
    } while (0)
/* And this one. */
#define SAYS(text, ...)                                                                                      \
    do {                                                                                                     \
        const struct packet step_[] = {__VA_ARGS__};                                                         \
        compare(step_, COUNT(step_), text);                                                                  \
    } while (0)
/* Of Corral alone. */
#define CORRAL_SAYS(text, ...)                                                                               \
    do {                                                                                                     \
        const struct packet step_[] = {__VA_ARGS__};                                                         \
        if (corral.present) {                                                                                \
            ask(&corral, step_, COUNT(step_));                                                               \
            assert_string_equal(corral.record, text);                                                        \
        }                                                                                                    \
    } while (0)

#define STORE_EXTRAS(flags_time) .extras = (flags_time), .extras_len = 8
#define PUT(op, name, text)                                                                                  \
    {                                                                                                        \
        .opcode = (op), .key = (name), .value = (text), STORE_EXTRAS("\0\0\0\7\0\0\0\0")                     \
    }
#define WITH(op, name, text)                                                                                 \
    {                                                                                                        \
        .opcode = (op), .key = (name), .value = (text)                                                       \
    }
#define JUST(op, name)                                                                                       \
    {                                                                                                        \
        .opcode = (op), .key = (name)                                                                        \
    }
#define TIMED(op, name, time)                                                                                \
    {                                                                                                        \
        .opcode = (op), .key = (name), .extras = (time), .extras_len = 4                                     \
    }
/* delta and initial below 256; the expiry as four bytes */
#define SUM(op, name, delta, initial, time)                                                                  \
    {                                                                                                        \
        .opcode = (op), .key = (name), .extras = "\0\0\0\0\0\0\0" delta "\0\0\0\0\0\0\0" initial time,       \
        .extras_len = 20                                                                                     \
    }

static int empty_both(void **state)
{
    (void)state;
    hang_up(&corral);
    hang_up(&memcached);
    corral.cas_len = memcached.cas_len = 0;
    SAME(JUST(BINARY_FLUSH, NULL));
    return 0;
}

/* ---- stories ---- */

static void set_and_get(void **state)
{
    (void)state;
    SAYS("01 status=00 opaque=badcafe cas=#1\n"
         "00 status=00 opaque=badcafe cas=#1 extras(4)=\\00\\00\\00\\07 value(5)=hello\n"
         "0c status=00 opaque=badcafe cas=#1 extras(4)=\\00\\00\\00\\07 key(1)=a value(5)=hello\n",
         PUT(BINARY_SET, "a", "hello"), JUST(BINARY_GET, "a"), JUST(BINARY_GETK, "a"));
    SAME(JUST(BINARY_GETQ, "a"), JUST(BINARY_GETKQ, "a"), JUST(BINARY_GET, "no"), JUST(BINARY_GETK, "no"),
         JUST(BINARY_GETQ, "no"), JUST(BINARY_GETKQ, "no"));
    SAME(PUT(BINARY_SETQ, "a", "again"), PUT(BINARY_SETQ, "empty", ""), JUST(BINARY_GET, "a"),
         JUST(BINARY_GETKQ, "empty"));
    SAME(PUT(BINARY_SET, "a b\r\n\t", "any bytes"), JUST(BINARY_GETK, "a b\r\n\t"));
}

static void a_multiget_answers_hits_and_then_the_noop(void **state)
{
    struct packet gets[100];
    char names[100][8];

    (void)state;
    for (size_t i = 0; i < COUNT(gets); i++) {
        snprintf(names[i], sizeof names[i], "key%zu", i);
        if (i % 3 != 0)
            SAME({.opcode = BINARY_SETQ,
                  .key = names[i],
                  .value = names[i],
                  .extras = "\0\0\0\0\0\0\0\0",
                  .extras_len = 8});
        gets[i] = (struct packet){.opcode = BINARY_GETKQ, .key = names[i], .opaque = (uint32_t)i + 1};
    }
    compare(gets, COUNT(gets), NULL);
}

static void add_replace_and_delete(void **state)
{
    (void)state;
    SAME(PUT(BINARY_ADD, "a", "1"), PUT(BINARY_ADD, "a", "2"), PUT(BINARY_ADDQ, "a", "2"),
         PUT(BINARY_ADDQ, "b", "2"), JUST(BINARY_GET, "a"), JUST(BINARY_GET, "b"));
    SAME(PUT(BINARY_REPLACE, "a", "3"), PUT(BINARY_REPLACE, "c", "3"), PUT(BINARY_REPLACEQ, "c", "3"),
         PUT(BINARY_REPLACEQ, "a", "4"), JUST(BINARY_GET, "a"));
    SAME(JUST(BINARY_DELETE, "a"), JUST(BINARY_DELETE, "a"), JUST(BINARY_DELETEQ, "a"),
         JUST(BINARY_DELETEQ, "b"), JUST(BINARY_GET, "b"));
}

static void cas_decides(void **state)
{
    struct packet again = PUT(BINARY_SET, "a", "2"), late = PUT(BINARY_SET, "a", "3");
    struct packet nowhere = PUT(BINARY_SET, "no", "3"), add = PUT(BINARY_ADD, "a", "4");
    struct packet replace = PUT(BINARY_REPLACEQ, "a", "5"), append = WITH(BINARY_APPEND, "a", "x");
    struct packet gone = JUST(BINARY_DELETE, "a"), right = JUST(BINARY_DELETE, "a");

    (void)state;
    SAME(PUT(BINARY_SET, "a", "1"));
    append.cas = 99;
    again.cas_seen = late.cas_seen = gone.cas_seen = 1;
    nowhere.cas = 7;
    SAME(again, late, nowhere, JUST(BINARY_GET, "a"));
    add.cas_seen = 2;
    replace.cas = 12345678;
    SAME(add, replace, append, gone, JUST(BINARY_GET, "a"));
    right.cas_seen = 3;
    SAME(right, JUST(BINARY_GET, "a"));
}

/* Whoever stored it, a cas that was shown stays until the item changes. */
static void a_quiet_set_has_a_cas_too(void **state)
{
    struct packet again = PUT(BINARY_SET, "a", "2");

    (void)state;
    SAME(PUT(BINARY_SETQ, "a", "1"), JUST(BINARY_GET, "a"), JUST(BINARY_GET, "a"));
    again.cas_seen = 1;
    SAME(again, again, JUST(BINARY_GET, "a"));
}

static void append_and_prepend(void **state)
{
    (void)state;
    SAME(WITH(BINARY_APPEND, "a", "1"), WITH(BINARY_PREPENDQ, "a", "1"), PUT(BINARY_SET, "a", "bc"),
         WITH(BINARY_APPEND, "a", "d"), WITH(BINARY_PREPENDQ, "a", "a"), WITH(BINARY_APPENDQ, "a", "e"),
         WITH(BINARY_PREPEND, "a", "_"), JUST(BINARY_GET, "a"));
}

static void counters_count(void **state)
{
    struct packet late = SUM(BINARY_INCREMENT, "n", "\1", "\7", "\0\0\0\0");

    (void)state;
    SAME(SUM(BINARY_INCREMENT, "n", "\1", "\7", "\0\0\0\0"),
         SUM(BINARY_INCREMENT, "n", "\5", "\7", "\0\0\0\0"),
         SUM(BINARY_DECREMENT, "n", "\2", "\7", "\0\0\0\0"),
         SUM(BINARY_DECREMENTQ, "n", "\1", "\7", "\0\0\0\0"),
         SUM(BINARY_INCREMENTQ, "n", "\1", "\7", "\0\0\0\0"), JUST(BINARY_GET, "n"),
         SUM(BINARY_DECREMENT, "n", "\377", "\7", "\0\0\0\0"));
    SAME(SUM(BINARY_INCREMENT, "m", "\1", "\7", "\377\377\377\377"),
         SUM(BINARY_INCREMENTQ, "m", "\1", "\7", "\377\377\377\377"),
         SUM(BINARY_DECREMENTQ, "m", "\1", "\7", "\0\0\0\144"), JUST(BINARY_GET, "m"));
    late.cas = 1234567;
    SAME(PUT(BINARY_SET, "text", "abc"), SUM(BINARY_INCREMENT, "text", "\1", "\7", "\0\0\0\0"), late);
    SAME(PUT(BINARY_SET, "wide", "18446744073709551615"),
         SUM(BINARY_INCREMENT, "wide", "\2", "\7", "\0\0\0\0"));
}

static void touch_and_gat(void **state)
{
    (void)state;
    SAME(PUT(BINARY_SET, "a", "value"), TIMED(BINARY_TOUCH, "a", "\0\0\0\144"),
         TIMED(BINARY_GAT, "a", "\0\0\0\144"), TIMED(BINARY_GATQ, "a", "\0\0\0\144"),
         TIMED(BINARY_GATK, "a", "\0\0\0\144"), TIMED(BINARY_GATKQ, "a", "\0\0\0\144"));
    SAME(TIMED(BINARY_TOUCH, "no", "\0\0\0\144"), TIMED(BINARY_GAT, "no", "\0\0\0\144"),
         TIMED(BINARY_GATQ, "no", "\0\0\0\144"), TIMED(BINARY_GATK, "no", "\0\0\0\144"),
         TIMED(BINARY_GATKQ, "no", "\0\0\0\144"));
    /* 40 days as seconds are a moment of 1970 */
    SAME(TIMED(BINARY_GAT, "a", "\0\064\274\0"), JUST(BINARY_GET, "a"));
}

static void flush_version_and_quit(void **state)
{
    (void)state;
    SAME(PUT(BINARY_SET, "a", "1"), JUST(BINARY_FLUSHQ, NULL), JUST(BINARY_GET, "a"));
    SAME(TIMED(BINARY_FLUSH, NULL, "\0\0\0\0"), JUST(BINARY_VERSION, NULL));
    SAYS("07 status=00 opaque=badcafe\nclosed\n", JUST(BINARY_QUIT, NULL), JUST(BINARY_GET, "a"));
    SAYS("closed\n", JUST(BINARY_QUITQ, NULL));
}

static void values_that_are_too_large(void **state)
{
    struct packet set = {
        .opcode = BINARY_SET, .key = "a", .value_len = 1100000, STORE_EXTRAS("\0\0\0\0\0\0\0\0")};
    struct packet add = set, append = {.opcode = BINARY_APPENDQ, .key = "a", .value_len = 1100000};

    (void)state;
    add.opcode = BINARY_ADDQ;
    SAME(PUT(BINARY_SET, "a", "1"), add, append, JUST(BINARY_GET, "a"), set, JUST(BINARY_GET, "a"));
    set.value_len = 900000;
    SAME(set, JUST(BINARY_GETK, "a"));
}

static void packets_that_cannot_be(void **state)
{
    static const uint8_t no_value[] = {BINARY_GET,   BINARY_GETK,   BINARY_DELETE,  BINARY_QUIT,
                                       BINARY_FLUSH, BINARY_NOOP,   BINARY_VERSION, BINARY_TOUCH,
                                       BINARY_SET,   BINARY_APPEND, BINARY_STAT,    BINARY_INCREMENT};
    char key[BINARY_KEY_MAX + 2];

    (void)state;
    memset(key, 'k', sizeof key);
    key[BINARY_KEY_MAX + 1] = '\0';
    for (size_t i = 0; i < COUNT(no_value); i++) /* three bytes of extras suit nobody */
        SAME({.opcode = no_value[i], .key = "k", .extras = "abc", .extras_len = 3});
    SAME(JUST(BINARY_GET, NULL));
    SAME(JUST(BINARY_SET, "k"));
    SAME({.opcode = BINARY_SET, .value = "v", STORE_EXTRAS("\0\0\0\0\0\0\0\0")});
    SAME(WITH(BINARY_GET, "k", "v"));
    SAME(JUST(BINARY_NOOP, "k"));
    SAME(JUST(BINARY_VERSION, "k"));
    SAME(JUST(BINARY_QUIT, "k"));
    SAME(JUST(BINARY_GET, key));
    key[BINARY_KEY_MAX] = '\0';
    SAME(JUST(BINARY_GETK, key));
    SAME({.opcode = BINARY_GET, .key = "kk", .body_len_off = -1});
    SAME({.opcode = BINARY_NOOP}, {.opcode = BINARY_NOOP, .bad_magic = true});
    SAME(JUST(0x40, NULL), JUST(0xff, NULL), JUST(0x1b, NULL), JUST(BINARY_SASL_LIST, NULL));
    CORRAL_SAYS("1b status=81 opaque=badcafe value(15)=Unknown command\n"
                "40 status=81 opaque=badcafe value(15)=Unknown command\n"
                "00 status=01 opaque=badcafe value(9)=Not found\n",
                TIMED(0x1b, NULL, "\0\0\0\1"), {.opcode = 0x40, .key = "k", .value = "v"},
                JUST(BINARY_GET, "k"));
}

static void statistics(void **state)
{
    (void)state;
    SAYS("10 status=00 opaque=badcafe key(12)=sizes_status value(8)=disabled\n10 status=00 opaque=badcafe\n",
         JUST(BINARY_STAT, "sizes"));
    SAME(JUST(BINARY_STAT, "reset"), JUST(BINARY_STAT, "nothing"), JUST(BINARY_STAT, "conns"),
         JUST(BINARY_STAT, "detail"), JUST(BINARY_STAT, "detail x"));
    SAME(JUST(BINARY_STAT, "detail on"), PUT(BINARY_SET, "user:1", "x"), JUST(BINARY_GET, "user:1"),
         JUST(BINARY_GETQ, "user:2"), JUST(BINARY_DELETE, "user:1"), JUST(BINARY_STAT, "detail dump"),
         JUST(BINARY_STAT, "detail off"), JUST(BINARY_STAT, "reset"));
    if (corral.present) {
        ask(&corral, &(struct packet)JUST(BINARY_STAT, NULL), 1);
        assert_non_null(strstr(corral.record, "key(7)=cmd_set"));
        assert_non_null(strstr(corral.record, "key(10)=curr_items"));
        ask(&corral, &(struct packet)JUST(BINARY_STAT, "settings"), 1);
        assert_non_null(strstr(corral.record, "key(16)=binding_protocol value(14)=auto-negotiate"));
    }
}

/* ---- both servers ---- */

static const char *setting(const char *name, const char *otherwise)
{
    const char *value = getenv(name);

    return value != NULL && value[0] != '\0' ? value : otherwise;
}

/* Somebody else may take the port between asking for it and using it. */
static void start(struct peer *p, char *argv[], size_t port_at)
{
    char log[SPAWN_PATH_MAX], port[16];

    snprintf(log, sizeof log, "%s/%s.log", dir, p->name);
    argv[port_at] = port;
    assert_non_null(p->in = malloc(BYTES_MAX));
    for (int tries = 0; tries < 5; tries++) {
        int number = spawn_free_port();

        snprintf(port, sizeof port, "%d", number);
        if (spawn_start(&p->process, argv, number, log))
            return;
    }
    fail_msg("%s does not start, see %s", p->name, log);
}

static int start_both(void **state)
{
    static char corrald_path[SPAWN_PATH_MAX], memcached_path[SPAWN_PATH_MAX];
    char name[SPAWN_PATH_MAX];
    char *corral_argv[] = {corrald_path, "--memcache-port", NULL,   "--port",    "0", "--max-item-size",
                           "1mb",        "--maxmemory",     "64mb", "--threads", "2", NULL};
    char *memcached_argv[] = {
        memcached_path, "-p",   NULL, "-l", "127.0.0.1", "-U", "0", "-o", "no_lru_maintainer,no_lru_crawler",
        "-u",           "root", NULL};

    (void)state;
    signal(SIGPIPE, SIG_IGN);
    assert_non_null(mkdtemp(dir));
    snprintf(name, sizeof name, "%s/corrald", setting("CORRAL_BIN", "bin"));
    corral.present = spawn_find(name, corrald_path);
    memcached.present = spawn_find(setting("MEMCACHED", "memcached"), memcached_path);
    if (getuid() != 0)
        memcached_argv[9] = NULL;
    if (corral.present)
        start(&corral, corral_argv, 2);
    if (memcached.present)
        start(&memcached, memcached_argv, 2);
    return 0;
}

static int stop_both(void **state)
{
    struct peer *peers[] = {&corral, &memcached};
    char log[SPAWN_PATH_MAX];
    int status = 0;

    (void)state;
    for (size_t i = 0; i < COUNT(peers); i++) {
        hang_up(peers[i]);
        status = spawn_stop(&peers[i]->process);
        assert_true(peers[i] != &corral || (WIFEXITED(status) && WEXITSTATUS(status) == 0));
        free(peers[i]->in);
        snprintf(log, sizeof log, "%s/%s.log", dir, peers[i]->name);
        unlink(log);
    }
    rmdir(dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(set_and_get, empty_both),
        cmocka_unit_test_setup(a_multiget_answers_hits_and_then_the_noop, empty_both),
        cmocka_unit_test_setup(add_replace_and_delete, empty_both),
        cmocka_unit_test_setup(cas_decides, empty_both),
        cmocka_unit_test_setup(a_quiet_set_has_a_cas_too, empty_both),
        cmocka_unit_test_setup(append_and_prepend, empty_both),
        cmocka_unit_test_setup(counters_count, empty_both),
        cmocka_unit_test_setup(touch_and_gat, empty_both),
        cmocka_unit_test_setup(flush_version_and_quit, empty_both),
        cmocka_unit_test_setup(values_that_are_too_large, empty_both),
        cmocka_unit_test_setup(packets_that_cannot_be, empty_both),
        cmocka_unit_test_setup(statistics, empty_both),
    };

    return cmocka_run_group_tests_name("binary packets", tests, start_both, stop_both);
}
