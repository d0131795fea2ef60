/* test_transaction.c - nobody sees half of anything, on a node with four workers.
 *
 * Real connections, so that they land on different workers. Some change
 * several keys at once in every way there is; others look at those keys in one
 * request, in either dialect, and what they see must fit together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <pthread.h>
#include <unistd.h>
#include <cmocka.h>

#include "tests/unit/support/spawn.h"

enum { WORD_MAX = 256, RUN_MS = 1500, COUNTERS = 3, COUNTED = 150, SCANNED = 3000 };

static struct spawned node;
static int memcache_port;
static char log_file[64];

struct client {
    int fd;
    FILE *in;
};

static struct client client_open(int port)
{
    struct client c = {.fd = spawn_connect(port)};

    assert_true(c.fd >= 0);
    c.in = fdopen(c.fd, "r");
    assert_non_null(c.in);
    return c;
}

static void client_close(struct client *c)
{
    fclose(c->in);
}

/* Words with single blanks between them, as a RESP array. Returns what follows the last byte. */
static char *encode(char *to, const char *words)
{
    size_t n = 1;

    for (const char *p = words; *p != '\0'; p++)
        n += *p == ' ';
    to += sprintf(to, "*%zu\r\n", n);
    for (const char *p = words; n > 0; n--) {
        int len = (int)strcspn(p, " ");

        to += sprintf(to, "$%d\r\n%.*s\r\n", len, len, p);
        p += len + 1;
    }
    return to;
}

/* A reply in one line: its elements with a blank behind each, null as "-". */
static void receive(struct client *c, char *text, size_t room)
{
    char line[WORD_MAX];
    size_t len;

    assert_non_null(fgets(line, sizeof line, c->in));
    len = strcspn(line, "\r");
    line[len] = '\0';
    if (line[0] == '$' && line[1] != '-') {
        assert_non_null(fgets(line, sizeof line, c->in));
        line[strcspn(line, "\r")] = '\0';
        snprintf(text, room, "%s ", line);
    } else if (line[0] == '*' && line[1] != '-') {
        text[0] = '\0';
        for (int i = 0; i < atoi(line + 1); i++) {
            size_t used = strlen(text);
            receive(c, text + used, room - used);
        }
    } else {
        snprintf(text, room, "%s ", line[0] == '$' || line[0] == '*' ? "-" : line + (line[0] != '-'));
    }
}

/* Requests with ';' between them, sent at once; the last one's reply. */
static const char *ask(struct client *c, const char *requests, char text[WORD_MAX])
{
    char bytes[4096] = "", one[1024], *end = bytes;
    unsigned n = 0;

    for (const char *p = requests; *p != '\0'; n++) {
        size_t len = strcspn(p, ";");

        snprintf(one, sizeof one, "%.*s", (int)len, p);
        end = encode(end, one);
        p += len + (p[len] == ';');
    }
    assert_true(spawn_send(c->fd, bytes, (size_t)(end - bytes)));
    while (n-- > 0)
        receive(c, text, WORD_MAX);
    return text;
}

static int start(void **state)
{
    char program[SPAWN_PATH_MAX], path[SPAWN_PATH_MAX], port[8], memcache[8];
    const char *bin = getenv("CORRAL_BIN");

    (void)state;
    snprintf(program, sizeof program, "%s/corrald", bin != NULL ? bin : "bin");
    assert_true(spawn_find(program, path));
    snprintf(log_file, sizeof log_file, "/tmp/test_transaction.%d", (int)getpid());
    node.port = spawn_free_port();
    memcache_port = spawn_free_port();
    snprintf(port, sizeof port, "%d", node.port);
    snprintf(memcache, sizeof memcache, "%d", memcache_port);
    char *argv[] = {path, "--port", port, "--memcache-port", memcache, "--threads", "4", NULL};
    assert_true(spawn_start(&node, argv, node.port, log_file));
    return 0;
}

static int stop(void **state)
{
    char line[WORD_MAX];
    FILE *log = fopen(log_file, "r");
    int status = spawn_stop(&node);
    bool reported = false;

    (void)state;
    while (log != NULL && fgets(line, sizeof line, log) != NULL) {
        if (strstr(line, "Sanitizer") != NULL)
            reported = true;
        if (reported)
            print_message("%s", line);
    }
    if (log != NULL)
        fclose(log);
    unlink(log_file);
    return status != 0 || reported ? -1 : 0;
}

/* ---- halves ---- */

static _Atomic bool over;
static _Atomic uint64_t changes, looks, halves;

static void count_half(const char *what, const char *seen)
{
    if (atomic_fetch_add(&halves, 1) < 5)
        print_message("%s: %s\n", what, seen);
}

static void *change_with_exec(void *arg)
{
    struct client c = client_open(node.port);
    char text[WORD_MAX], requests[WORD_MAX];

    (void)arg;
    for (unsigned i = 0; !atomic_load(&over); i++) {
        snprintf(requests, sizeof requests, "MULTI;SET a %u;INCR i;SET b %u;DEL m;DEL n;EXEC", i, i);
        ask(&c, requests, text);
        if (strncmp(text, "OK ", 3) != 0)
            count_half("EXEC", text);
        atomic_fetch_add(&changes, 1);
    }
    client_close(&c);
    return NULL;
}

static void *change_with_others(void *arg)
{
    struct client c = client_open(node.port);
    char text[WORD_MAX];

    (void)arg;
    while (!atomic_load(&over)) {
        ask(&c, "RENAME x y", text);
        ask(&c, "MSETNX m 1 n 1", text);
        ask(&c, "RENAMENX y x;COPY x z;MSETNX m 1 n 1;MOVE z 1", text);
        ask(&c, "SELECT 1;DEL z;SELECT 0", text);
        ask(&c, "SWAPDB 2 3", text);
        atomic_fetch_add(&changes, 5);
    }
    client_close(&c);
    return NULL;
}

static void look_once(struct client *c)
{
    char text[WORD_MAX], a[32] = "", b[32] = "";

    ask(c, "MGET a b", text);
    if (sscanf(text, "%31s %31s", a, b) != 2 || strcmp(a, b) != 0)
        count_half("MGET a b", text);
    ask(c, "GET a;GET b;EXISTS x y", text); /* a batch is looked at together, too */
    if (strcmp(text, "1 ") != 0)
        count_half("EXISTS x y", text);
    ask(c, "EXISTS m n", text);
    if (strcmp(text, "0 ") != 0 && strcmp(text, "2 ") != 0)
        count_half("EXISTS m n", text);
    ask(c, "MULTI;SELECT 2;GET s;SELECT 3;GET s;SELECT 0;EXEC", text);
    if (strcmp(text, "OK two OK three OK ") != 0 && strcmp(text, "OK three OK two OK ") != 0)
        count_half("SWAPDB", text);
}

static void *look(void *arg)
{
    struct client c = client_open(node.port);

    (void)arg;
    while (!atomic_load(&over)) {
        look_once(&c);
        atomic_fetch_add(&looks, 1);
    }
    client_close(&c);
    return NULL;
}

static void *look_as_memcached(void *arg)
{
    static const char request[] = "get a b\r\n";
    struct client c = client_open(memcache_port);
    char line[WORD_MAX], a[WORD_MAX], b[WORD_MAX];

    (void)arg;
    while (!atomic_load(&over)) {
        assert_true(spawn_send(c.fd, request, sizeof request - 1));
        assert_non_null(fgets(line, sizeof line, c.in));
        assert_non_null(fgets(a, sizeof a, c.in));
        assert_non_null(fgets(line, sizeof line, c.in));
        assert_non_null(fgets(b, sizeof b, c.in));
        assert_non_null(fgets(line, sizeof line, c.in));
        if (strcmp(line, "END\r\n") != 0 || strcmp(a, b) != 0)
            count_half("get a b", a);
        atomic_fetch_add(&looks, 1);
    }
    client_close(&c);
    return NULL;
}

static void nobody_sees_half_of_anything(void **state)
{
    void *(*const roles[])(void *) = {change_with_exec, change_with_others, look, look, look_as_memcached};
    enum { THREADS = sizeof roles / sizeof roles[0] };
    pthread_t threads[THREADS];
    struct client c = client_open(node.port);
    char text[WORD_MAX];

    (void)state;
    ask(&c, "MSET a 0 b 0 x 1;SELECT 2;SET s two;SELECT 3;SET s three", text);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, roles[i], NULL);
    usleep(RUN_MS * 1000);
    atomic_store(&over, true);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    print_message("%lu changes, %lu looks\n", (unsigned long)changes, (unsigned long)looks);
    assert_int_equal(halves, 0);
    assert_true(changes > 20 && looks > 20);
    client_close(&c);
}

/* ---- WATCH ---- */

static void *count_up(void *arg)
{
    struct client c = client_open(node.port);
    char text[WORD_MAX], requests[WORD_MAX];
    unsigned *tries = arg;

    for (unsigned done = 0; done < COUNTED; ++*tries) {
        ask(&c, "WATCH counter;GET counter", text);
        snprintf(requests, sizeof requests, "MULTI;SET counter %d;EXEC", atoi(text) + 1);
        done += strcmp(ask(&c, requests, text), "OK ") == 0;
    }
    client_close(&c);
    return NULL;
}

/* The classic use: read, compute, write if nobody else has. */
static void no_count_is_lost(void **state)
{
    pthread_t threads[COUNTERS];
    unsigned tries[COUNTERS] = {0}, all = 0;
    struct client c = client_open(node.port);
    char text[WORD_MAX];

    (void)state;
    ask(&c, "SET counter 0", text);
    for (unsigned i = 0; i < COUNTERS; i++)
        pthread_create(&threads[i], NULL, count_up, &tries[i]);
    for (unsigned i = 0; i < COUNTERS; i++) {
        pthread_join(threads[i], NULL);
        all += tries[i];
    }
    assert_int_equal(atoi(ask(&c, "GET counter", text)), COUNTERS * COUNTED);
    print_message("%u tries for %d counts\n", all, COUNTERS * COUNTED);
    client_close(&c);
}

/* ---- SCAN ---- */

static void *grow(void *arg)
{
    struct client c = client_open(node.port);
    char text[WORD_MAX], requests[WORD_MAX];
    unsigned db = *(unsigned *)arg;

    snprintf(requests, sizeof requests, "SELECT %u", db);
    ask(&c, requests, text);
    for (unsigned i = 0; !atomic_load(&over); i++) {
        snprintf(requests, sizeof requests, "SET more:%u x;SET more:%u x;SET more:%u x;SET more:%u x", i,
                 i + 1, i + 2, i + 3);
        ask(&c, requests, text);
        i += 3;
    }
    client_close(&c);
    return NULL;
}

static void note_names(char *elements, bool *seen, bool *foreign)
{
    for (char *word = strtok(elements, " "); word != NULL; word = strtok(NULL, " ")) {
        unsigned k;

        if (sscanf(word, "there:%u", &k) == 1 && k < SCANNED)
            seen[k] = true;
        if (strncmp(word, "elsewhere:", 10) == 0)
            *foreign = true;
    }
}

static void scan_round(struct client *c, bool *seen, bool *foreign)
{
    char bytes[256], cursor[WORD_MAX] = "0 ", names[8192], request[WORD_MAX], line[WORD_MAX];

    do {
        snprintf(request, sizeof request, "SCAN %.*s TYPE string COUNT 20", (int)strcspn(cursor, " "),
                 cursor);
        assert_true(spawn_send(c->fd, bytes, (size_t)(encode(bytes, request) - bytes)));
        assert_non_null(fgets(line, sizeof line, c->in)); /* *2 */
        receive(c, cursor, sizeof cursor);
        receive(c, names, sizeof names);
        note_names(names, seen, foreign);
    } while (strcmp(cursor, "0 ") != 0);
}

static void scan_shows_what_is_there_throughout(void **state)
{
    static bool seen[SCANNED];
    struct client c = client_open(node.port);
    char text[WORD_MAX], request[WORD_MAX];
    unsigned dbs[2] = {5, 6};
    pthread_t threads[2];
    bool foreign = false;

    (void)state;
    atomic_store(&over, false);
    for (unsigned k = 0; k < SCANNED; k++) {
        snprintf(request, sizeof request, "SELECT 6;SET elsewhere:%u x;SELECT 5;SET there:%u x", k, k);
        ask(&c, request, text);
    }
    for (unsigned i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, grow, &dbs[i]);
    for (unsigned round = 0; round < 5; round++) {
        memset(seen, 0, sizeof seen);
        scan_round(&c, seen, &foreign);
        for (unsigned k = 0; k < SCANNED; k++) {
            if (!seen[k])
                fail_msg("round %u: there:%u was not shown", round, k);
        }
    }
    atomic_store(&over, true);
    for (unsigned i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_false(foreign);
    client_close(&c);
}

/* ---- who goes in the middle ---- */

static void a_client_may_leave_at_any_point(void **state)
{
    struct client c = client_open(node.port);
    char text[WORD_MAX];

    (void)state;
    for (unsigned i = 0; i < 200; i++) {
        struct client other = client_open(node.port);

        ask(&other, "WATCH a b c d", text);
        if (i % 2 == 0)
            ask(&other, "MULTI;SET a 1;GET a", text);
        ask(&c, "SET a 2;SWAPDB 0 4", text);
        client_close(&other);
        ask(&c, "SET a 3;SWAPDB 0 4", text);
    }
    assert_string_equal(ask(&c, "WATCH a;MULTI;PING;EXEC", text), "PONG ");
    client_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_sees_half_of_anything),
        cmocka_unit_test(no_count_is_lost),
        cmocka_unit_test(scan_shows_what_is_there_throughout),
        cmocka_unit_test(a_client_may_leave_at_any_point),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
