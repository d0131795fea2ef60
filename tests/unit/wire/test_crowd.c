/* test_crowd.c - maxmemory holds whatever a crowd of clients makes the node
 * keep for them: requests that never end, replies that nobody reads, queues,
 * watched and tracked keys, subscriptions, names, waiting.
 *
 * One kind after the other and then all at once, they come, ask for as much as
 * they get, and go. The node may close any of them. Meanwhile the resident
 * memory stays within maxmemory and a constant, somebody with small requests is
 * served, and afterwards nothing of the crowd is left.
 *
 * CORRAL_BIN           directory of corrald         bin
 * CORRAL_TEST_CLIENTS  of each kind in the crowd    60, 20 under a sanitizer
 * VARIANT              asan, tsan: memory is not measured, all the rest is */
#include <errno.h>
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
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/support/spawn.h"

enum {
    MAXMEMORY_MB = 64,
    BESIDE_MB = 40, /* what the process may take for itself, as in tests/system/memory.bats */
    PATIENCE_MS = 20,
    FILL_KEYS = 80000,
    VALUE = 700,
    SCRAP = 4 * 1024 * 1024,
};

static struct spawned node;
static int crowd = 60;
static bool measured = true;
static int controller = -1;
static long highest_kb;

/* ---- bytes ---- */

/* What is to be sent next. */
static struct {
    uint8_t *data;
    size_t len;
} scrap;

static void add(const void *data, size_t len)
{
    assert_true(scrap.len + len <= SCRAP);
    memcpy(scrap.data + scrap.len, data, len);
    scrap.len += len;
}

static void add_text(const char *text)
{
    add(text, strlen(text));
}

static void begin_request(unsigned words)
{
    char head[32];

    add(head, (size_t)snprintf(head, sizeof head, "*%u\r\n", words));
}

static void add_word(const char *word)
{
    char head[32];

    add(head, (size_t)snprintf(head, sizeof head, "$%zu\r\n", strlen(word)));
    add_text(word);
    add_text("\r\n");
}

/* A word of so many bytes that begins with `name`. */
static void add_long_word(const char *name, size_t len)
{
    char head[32];
    size_t begins = strlen(name);

    add(head, (size_t)snprintf(head, sizeof head, "$%zu\r\n", len));
    add_text(name);
    assert_true(begins <= len && scrap.len + len - begins + 2 <= SCRAP);
    memset(scrap.data + scrap.len, 'x', len - begins);
    scrap.len += len - begins;
    add_text("\r\n");
}

static void add_name(const char *kind, unsigned client, unsigned nth, size_t len)
{
    char name[64];

    snprintf(name, sizeof name, "%s:%u:%u", kind, client, nth);
    add_long_word(name, len);
}

/* Sends as much as is taken before the node stops reading or hangs up. */
static void send_some(int fd)
{
    size_t sent = 0;

    while (sent < scrap.len) {
        struct pollfd writable = {.fd = fd, .events = POLLOUT};
        ssize_t n;

        if (poll(&writable, 1, PATIENCE_MS) != 1 || (writable.revents & (POLLERR | POLLHUP)) != 0)
            break;
        n = send(fd, scrap.data + sent, scrap.len - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN)
            break;
        sent += n > 0 ? (size_t)n : 0;
    }
    scrap.len = 0;
}

/* ---- who looks on ---- */

static void ask(const char *request, char *reply, size_t room)
{
    size_t len = 0;

    assert_true(spawn_send(controller, request, strlen(request)));
    assert_true(spawn_send(controller, "PING the-end\r\n", 14));
    do {
        ssize_t n = spawn_receive(controller, reply + len, room - 1 - len);

        assert_true(n > 0);
        len += (size_t)n;
        reply[len] = '\0';
    } while (strstr(reply, "the-end\r\n") == NULL);
}

static long figure(const char *name)
{
    static char reply[65536];
    char line[64];
    const char *at;

    ask("INFO\r\n", reply, sizeof reply);
    snprintf(line, sizeof line, "\n%s:", name);
    at = strstr(reply, line);
    assert_non_null(at);
    return strtol(at + strlen(line), NULL, 10);
}

static long resident_kb(void)
{
    char path[64], line[256];
    long kb = 0;
    FILE *f;

    snprintf(path, sizeof path, "/proc/%d/status", (int)node.pid);
    f = fopen(path, "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL) {
        if (sscanf(line, "VmRSS: %ld", &kb) == 1)
            break;
    }
    fclose(f);
    return kb;
}

/* Somebody else is served, and memory holds. */
static void look(const char *kind)
{
    char reply[256];
    long kb;

    ask("SET small value\r\nGET small\r\n", reply, sizeof reply);
    assert_string_equal(reply, "+OK\r\n$5\r\nvalue\r\n$7\r\nthe-end\r\n");
    kb = resident_kb();
    highest_kb = kb > highest_kb ? kb : highest_kb;
    if (measured && kb > (MAXMEMORY_MB + BESIDE_MB) * 1024)
        fail_msg("%s: %ld kB are resident with maxmemory %d MB", kind, kb, MAXMEMORY_MB);
}

/* ---- the kinds ---- */

static void uploads(unsigned client)
{
    (void)client;
    add_text("*3\r\n$3\r\nSET\r\n$6\r\nupload\r\n$3000000\r\n");
    memset(scrap.data + scrap.len, 'x', 2000000);
    scrap.len += 2000000;
}

static void endless_words(unsigned client)
{
    (void)client;
    begin_request(900000);
    for (unsigned i = 0; i < 200000; i++)
        add_word("word");
}

/* Values that others overwrite meanwhile, so that only the unread replies hold them. */
static void reads_large(unsigned client)
{
    begin_request(3);
    add_word("SET");
    add_word("large");
    add_name("large", client, 0, 600000);
    for (unsigned i = 0; i < 20; i++)
        add_text("GET large\r\n");
}

static void reads_small(unsigned client)
{
    char line[32];

    for (unsigned i = 0; i < 20000; i++)
        add(line, (size_t)snprintf(line, sizeof line, "GET fill:%u\r\n", (client * 20000 + i) % FILL_KEYS));
}

static void queues_small(unsigned client)
{
    add_text("MULTI\r\n");
    for (unsigned i = 0; i < 300; i++) {
        begin_request(3);
        add_word("SET");
        add_name("queued", client, i, 40);
        add_name("value", client, i, 12000);
    }
}

static void queues_large(unsigned client)
{
    add_text("MULTI\r\n");
    for (unsigned i = 0; i < 8; i++) {
        begin_request(3);
        add_word("SET");
        add_name("queued", client, i, 40);
        add_name("value", client, i, 500000);
    }
}

static void watches(unsigned client)
{
    begin_request(101);
    add_word("WATCH");
    for (unsigned i = 0; i < 100; i++)
        add_name("watched", client, i, 32000);
}

static void names(unsigned client)
{
    begin_request(3);
    add_word("CLIENT");
    add_word("SETNAME");
    add_name("name", client, 0, 1500000);
    begin_request(4);
    add_word("CLIENT");
    add_word("SETINFO");
    add_word("LIB-NAME");
    add_name("name", client, 1, 1500000);
}

static void subscribes(unsigned client)
{
    begin_request(101);
    add_word("SUBSCRIBE");
    for (unsigned i = 0; i < 100; i++)
        add_name("channel", client, i, 10000);
    begin_request(2);
    add_word("SUBSCRIBE");
    add_word("everybody");
}

static void publishes(unsigned client)
{
    for (unsigned i = 0; i < 20; i++) {
        begin_request(3);
        add_word("PUBLISH");
        add_word("everybody");
        add_name("message", client, i, 100000);
    }
}

static void tracks(unsigned client)
{
    add_text("HELLO 3\r\nCLIENT TRACKING ON\r\n");
    for (unsigned i = 0; i < 100; i++) {
        begin_request(2);
        add_word("GET");
        add_name("tracked", client, i, 30000);
    }
}

static void broadcasts(unsigned client)
{
    add_text("HELLO 3\r\n");
    begin_request(4 + 2 * 20);
    add_word("CLIENT");
    add_word("TRACKING");
    add_word("ON");
    add_word("BCAST");
    for (unsigned i = 0; i < 20; i++) {
        add_word("PREFIX");
        add_name("prefix", client, i, 30000);
    }
}

static void monitors(unsigned client)
{
    (void)client;
    add_text("MONITOR\r\n");
}

static void waits(unsigned client)
{
    add_text("WAIT 1 0\r\n");
    begin_request(3);
    add_word("SET");
    add_name("waits", client, 0, 100);
    add_name("value", client, 0, 20000); /* more would keep the node from seeing that it hung up */
}

static void lists_clients(unsigned client)
{
    (void)client;
    for (unsigned i = 0; i < 1000; i++)
        add_text("CLIENT LIST\r\n");
}

static void scans(unsigned client)
{
    (void)client;
    for (unsigned i = 0; i < 20; i++)
        add_text("SCAN 0 COUNT 1000000\r\nKEYS *\r\n");
}

static const struct kind {
    const char *name;
    void (*speak)(unsigned client);
} kinds[] = {
    {"unfinished values", uploads},
    {"requests of many words", endless_words},
    {"large replies unread", reads_large},
    {"small replies unread", reads_small},
    {"queues of small requests", queues_small},
    {"queues of large requests", queues_large},
    {"watched keys", watches},
    {"names", names},
    {"subscribers", subscribes},
    {"publishers", publishes},
    {"trackers", tracks},
    {"trackers of prefixes", broadcasts},
    {"monitors", monitors},
    {"waiters", waits},
    {"lists of clients", lists_clients},
    {"lists of keys", scans},
};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

static int come(const struct kind *kind, unsigned client)
{
    int fd = spawn_connect(node.port), small = 4096;

    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    kind->speak(client);
    send_some(fd);
    return fd;
}

/* Whoever comes first speaks again last: is it still there, it holds more. */
static void come_and_go(const char *name, unsigned first, unsigned step)
{
    int *fds = calloc((size_t)crowd, sizeof *fds);

    assert_non_null(fds);
    for (int i = 0; i < crowd; i++) {
        fds[i] = come(&kinds[(first + (unsigned)i * step) % KINDS], (unsigned)i);
        if (i % 5 == 4)
            look(name);
    }
    look(name);
    for (int i = 0; i < crowd; i++)
        close(fds[i]);
    free(fds);
    look(name);
}

static bool crowd_is_gone(void)
{
    return figure("connected_clients") == 1 && figure("client_memory") < 1000 &&
           figure("pubsub_clients") == 0 && figure("tracking_clients") == 0;
}

static void eventually_gone(void)
{
    struct timespec moment = {0, 50 * 1000000L};

    for (unsigned tries = 0; tries < 200; tries++) {
        if (crowd_is_gone())
            return;
        nanosleep(&moment, NULL);
    }
    fail_msg("of the crowd are left: %ld connections, %ld bytes, %ld subscribers, %ld trackers",
             figure("connected_clients") - 1, figure("client_memory"), figure("pubsub_clients"),
             figure("tracking_clients"));
}

/* ---- the test ---- */

static void fill(void)
{
    char reply[256];
    int fd = spawn_connect(node.port);

    assert_true(fd >= 0);
    add_text("CLIENT REPLY OFF\r\n");
    for (unsigned i = 0; i < FILL_KEYS; i++) {
        char name[32];

        begin_request(3);
        add_word("SET");
        snprintf(name, sizeof name, "fill:%u", i);
        add_word(name);
        add_long_word("", VALUE);
        if (i % 1000 == 999) {
            assert_true(spawn_send(fd, scrap.data, scrap.len));
            scrap.len = 0;
        }
    }
    assert_true(spawn_send(fd, "CLIENT REPLY ON\r\n", 17));
    assert_true(spawn_receive(fd, reply, sizeof reply) > 0);
    close(fd);
}

static void memory_holds_whatever_the_crowd_does(void **state)
{
    (void)state;
    if (node.pid == 0)
        skip();
    fill();
    look("filled");
    for (unsigned i = 0; i < KINDS; i++) {
        long before = highest_kb;

        highest_kb = 0;
        come_and_go(kinds[i].name, i, 0);
        print_message("# %-26s %3ld MB at most\n", kinds[i].name, highest_kb / 1024);
        highest_kb = before > highest_kb ? before : highest_kb;
    }
    for (unsigned round = 0; round < 3; round++)
        come_and_go("all kinds", round, 1);
    eventually_gone();
    assert_true(figure("evicted_clients") > 0);
    print_message("# %ld MB at most, maxmemory %d MB\n", highest_kb / 1024, MAXMEMORY_MB);
}

static const char *setting(const char *name, const char *otherwise)
{
    const char *set = getenv(name);

    return set != NULL && set[0] != '\0' ? set : otherwise;
}

static int start_node(void **state)
{
    static char logs[] = "/tmp/corral-crowd-XXXXXX";
    char corrald[SPAWN_PATH_MAX], path[SPAWN_PATH_MAX], port[16], memory[16];
    char *argv[] = {path,          "--port", port, "--memcache-port", "0", "--threads", "2",
                    "--maxmemory", memory,   NULL};
    struct rlimit files;
    const char *variant = setting("VARIANT", "release");

    (void)state;
    measured = strcmp(variant, "asan") != 0 && strcmp(variant, "tsan") != 0;
    crowd = atoi(setting("CORRAL_TEST_CLIENTS", measured ? "60" : "20"));
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    snprintf(corrald, sizeof corrald, "%s/corrald", setting("CORRAL_BIN", "bin"));
    if (!spawn_find(corrald, path))
        return 0;
    assert_int_equal(close(mkstemp(logs)), 0);
    snprintf(port, sizeof port, "%d", spawn_free_port());
    snprintf(memory, sizeof memory, "%dmb", MAXMEMORY_MB);
    assert_true(spawn_start(&node, argv, atoi(port), logs));
    unlink(logs);
    scrap.data = malloc(SCRAP);
    controller = spawn_connect(node.port);
    assert_true(scrap.data != NULL && controller >= 0);
    return 0;
}

static int stop_node(void **state)
{
    (void)state;
    close(controller);
    free(scrap.data);
    return spawn_stop(&node) == 0 ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(memory_holds_whatever_the_crowd_does)};

    return cmocka_run_group_tests(tests, start_node, stop_node);
}
