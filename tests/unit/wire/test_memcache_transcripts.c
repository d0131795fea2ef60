/* test_memcache_transcripts.c - plays tests/wire/(name).mc.txt at Corral and at memcached.
 *
 * Every transcript gets a fresh node and a fresh memcached, on free ports of
 * 127.0.0.1. What follows `>` is sent to both; the replies must be the same
 * byte for byte, and what follows `<` if that is given. MEMCACHE.md
 * beside the transcripts describes the format, and what is made equal first.
 *
 * Where a reply ends is found by asking, after every step, for a key that is
 * never there. Steps wait for each other, because memcached itself answers a
 * pipeline differently now and then: it changes a number in place only when
 * nobody else holds it, be it a reply still to be sent or the thread that
 * tends its LRU lists, which is therefore turned off.
 *
 * CORRAL_BIN             directory of corrald     bin
 * CORRAL_MC_TRANSCRIPTS  a glob                   tests/wire/(any).mc.txt
 * MEMCACHED              the program to compare   memcached */
#include <ctype.h>
#include <glob.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/support/spawn.h"

#define SENTINEL_ASKED "mg the-end-of-a-step k\r\n"
#define SENTINEL_SAID  "EN kthe-end-of-a-step\r\n"

enum {
    CAS_MAX = 256, /* distinct cas numbers in a transcript */
    SHOWN_MAX = 600,
    READ_BYTES = 256 * 1024,
};

/* ---- text that grows ---- */

struct text {
    char *data;
    size_t len, cap;
};

static void text_add(struct text *t, const void *data, size_t len)
{
    if (t->len + len + 1 > t->cap) {
        t->cap = (t->len + len + 1) * 2;
        assert_non_null(t->data = realloc(t->data, t->cap));
    }
    if (len > 0)
        memcpy(t->data + t->len, data, len);
    t->len += len;
    t->data[t->len] = '\0';
}

static void text_clear(struct text *t)
{
    t->len = 0;
    text_add(t, "", 0);
}

static void text_free(struct text *t)
{
    free(t->data);
    *t = (struct text){0};
}

static bool text_equal(const struct text *a, const struct text *b)
{
    return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

/* ---- the two servers ---- */

/* A server and the cas numbers it has shown, in order of appearance: both
 * servers number in their own way, but must show the same ones again where the
 * other does. */
struct peer {
    const char *name;
    bool present;
    struct spawned process;
    int fd; /* -1: not connected */
    uint64_t cas[CAS_MAX];
    size_t cas_len;
    struct text raw;   /* the last reply */
    struct text plain; /* the same, made comparable */
};

static char corrald_path[SPAWN_PATH_MAX];
static char memcached_path[SPAWN_PATH_MAX];

static void peer_dial(struct peer *p)
{
    if (p->fd < 0)
        p->fd = spawn_connect(p->process.port);
    assert_true(p->fd >= 0);
}

static void peer_hang_up(struct peer *p)
{
    if (p->fd >= 0)
        close(p->fd);
    p->fd = -1;
}

static bool sentinel_came(const struct text *t)
{
    size_t len = strlen(SENTINEL_SAID);

    return t->len >= len && memcmp(t->data + t->len - len, SENTINEL_SAID, len) == 0;
}

/* Until the sentinel's answer, or until the connection ends. */
static bool peer_hear(struct peer *p, bool closes)
{
    static char buf[READ_BYTES];

    while (closes || !sentinel_came(&p->raw)) {
        ssize_t n = spawn_receive(p->fd, buf, sizeof buf);

        if (n == 0) {
            peer_hang_up(p);
            return closes;
        }
        if (n < 0)
            return false;
        text_add(&p->raw, buf, (size_t)n);
    }
    p->raw.len -= strlen(SENTINEL_SAID);
    p->raw.data[p->raw.len] = '\0';
    return true;
}

static bool peer_step(struct peer *p, const struct text *request, bool closes)
{
    struct text all = {0};

    text_clear(&p->raw);
    peer_dial(p);
    text_add(&all, request->data, request->len);
    if (!closes)
        text_add(&all, SENTINEL_ASKED, strlen(SENTINEL_ASKED));
    spawn_send(p->fd, all.data, all.len);
    text_free(&all);
    return peer_hear(p, closes);
}

/* ---- making replies comparable ---- */

static size_t cas_index(struct peer *p, uint64_t cas)
{
    for (size_t i = 0; i < p->cas_len; i++)
        if (p->cas[i] == cas)
            return i + 1;
    assert_true(p->cas_len < CAS_MAX);
    p->cas[p->cas_len++] = cas;
    return p->cas_len;
}

static void add_cas(struct peer *p, const char *digits)
{
    uint64_t cas = strtoull(digits, NULL, 10);
    char text[32];

    if (cas == 0)
        text_add(&p->plain, "0", 1);
    else
        text_add(&p->plain, text, (size_t)sprintf(text, "#%zu", cas_index(p, cas)));
}

/* A second may have passed at one server and not yet at the other; transcripts
 * use multiples of ten. */
static void add_seconds(struct peer *p, const char *digits)
{
    long long seconds = strtoll(digits, NULL, 10);
    char text[32];

    if (seconds < -1 || seconds > 0)
        seconds = (seconds + (seconds > 0 ? 2 : -2)) / 10 * 10;
    text_add(&p->plain, text, (size_t)sprintf(text, "%lld", seconds));
}

static bool starts(const char *s, const char *with)
{
    return strncmp(s, with, strlen(with)) == 0;
}

/* A word of a meta reply. The letter is not always a flag: k and O hold the client's own words. */
static void add_meta_word(struct peer *p, const char *word)
{
    if (word[0] == 'c' && isdigit((unsigned char)word[1])) {
        text_add(&p->plain, "c", 1);
        add_cas(p, word + 1);
    } else if (word[0] == 't' && (isdigit((unsigned char)word[1]) || word[1] == '-')) {
        text_add(&p->plain, "t", 1);
        add_seconds(p, word + 1);
    } else {
        text_add(&p->plain, word, strlen(word));
    }
}

static void add_debug_word(struct peer *p, const char *word)
{
    if (starts(word, "cas=")) {
        text_add(&p->plain, "cas=", 4);
        add_cas(p, word + 4);
    } else if (starts(word, "exp=")) {
        text_add(&p->plain, "exp=", 4);
        add_seconds(p, word + 4);
    } else if (starts(word, "la=") || starts(word, "cls=") || starts(word, "size=")) {
        text_add(&p->plain, word, strcspn(word, "=") + 1);
    } else {
        text_add(&p->plain, word, strlen(word));
    }
}

static void add_value_word(struct peer *p, const char *word, unsigned number)
{
    if (number == 4)
        add_cas(p, word);
    else
        text_add(&p->plain, word, strlen(word));
}

/* Tokens of leases are numbered along with the cas; 1 says that another client holds it. */
static void add_lvalue_word(struct peer *p, const char *word, unsigned number)
{
    if (number == 2 && strcmp(word, "1") != 0)
        add_cas(p, word);
    else
        text_add(&p->plain, word, strlen(word));
}

/* META <key> age: <n>; exptime: <n>; from: <ip>: moments are never twice the same. */
static void add_metaget_word(struct peer *p, const char *word, unsigned number)
{
    if (number == 5 && strcmp(word, "0;") != 0)
        text_add(&p->plain, "then;", 5);
    else
        text_add(&p->plain, word, strlen(word));
}

static void add_words(struct peer *p, const char *line)
{
    char *copy = strdup(line);
    char *rest = copy;
    unsigned number = 0;
    const char *word;

    assert_non_null(copy);
    for (; (word = strsep(&rest, " ")) != NULL; number++) {
        if (number > 0)
            text_add(&p->plain, " ", 1);
        if (starts(line, "ME "))
            add_debug_word(p, word);
        else if (starts(line, "VALUE "))
            add_value_word(p, word, number);
        else if (starts(line, "LVALUE "))
            add_lvalue_word(p, word, number);
        else if (starts(line, "META "))
            add_metaget_word(p, word, number);
        else
            add_meta_word(p, word);
    }
    free(copy);
}

/* The bytes of data that follow a line; -1 for none. */
static long data_after(const char *line)
{
    unsigned long flags;
    long bytes = -1;

    if (sscanf(line, "VA %ld", &bytes) == 1 || sscanf(line, "VALUE %*s %lu %ld", &flags, &bytes) == 2 ||
        sscanf(line, "LVALUE %*s %*s %lu %ld", &flags, &bytes) == 2)
        return bytes;
    return -1;
}

static void add_line(struct peer *p, const char *line)
{
    static const char *const worded[] = {"HD", "VA ", "EN",     "NS",      "EX",
                                         "NF", "ME ", "VALUE ", "LVALUE ", "META "};

    if (starts(line, "VERSION ")) {
        text_add(&p->plain, "VERSION", 7);
        return;
    }
    for (size_t i = 0; i < sizeof worded / sizeof *worded; i++)
        if (starts(line, worded[i])) {
            add_words(p, line);
            return;
        }
    text_add(&p->plain, line, strlen(line));
}

/* Replies hold data with any bytes in it, so lines are followed by count, not by sight. */
static void make_plain(struct peer *p)
{
    const char *at = p->raw.data;
    const char *end = at + p->raw.len;

    text_clear(&p->plain);
    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        char line[2048];
        size_t len = newline != NULL ? (size_t)(newline - at) : (size_t)(end - at);
        bool cr = len > 0 && at[len - 1] == '\r';
        long data;

        snprintf(line, sizeof line, "%.*s", (int)(len - cr), at);
        add_line(p, line);
        text_add(&p->plain, "\r", cr);
        text_add(&p->plain, "\n", newline != NULL);
        at += len + (newline != NULL);
        data = data_after(line);
        if (data >= 0 && end - at >= data + 2) {
            text_add(&p->plain, at, (size_t)data + 2);
            at += data + 2;
        }
    }
}

/* ---- a transcript ---- */

struct step {
    struct text request;  /* escapes undone, but for {cas} */
    struct text expected; /* empty unless has_expected */
    bool has_expected;
    bool only_corral;
    bool differs;
    bool closes;
    size_t line;
};

struct play {
    const char *file;
    struct peer corral, memcached;
    struct step step;
    unsigned steps, failures;
};

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* \r \n \\ \xHH; returns what follows. */
static const char *add_escape(struct text *to, const char *at)
{
    char c = at[1];
    size_t used = 2;

    if (c == 'r')
        c = '\r';
    if (c == 'n')
        c = '\n';
    if (c == 'x' && hex_value(at[2]) >= 0 && hex_value(at[3]) >= 0) {
        c = (char)(hex_value(at[2]) * 16 + hex_value(at[3]));
        used = 4;
    }
    text_add(to, &c, 1);
    return at + used;
}

/* <x*1000>: a thousand times x. Returns what follows, NULL if it is something else. */
static const char *add_repeat(struct text *to, const char *at)
{
    char c, end;
    unsigned long times;
    int used = 0;

    if (sscanf(at, "<%c*%lu%c%n", &c, &times, &end, &used) != 3 || end != '>')
        return NULL;
    while (times-- > 0)
        text_add(to, &c, 1);
    return at + used;
}

static void unescape(struct text *to, const char *at)
{
    const char *next;

    while (*at != '\0') {
        if (*at == '\\' && at[1] != '\0') {
            at = add_escape(to, at);
        } else if (*at == '<' && (next = add_repeat(to, at)) != NULL) {
            at = next;
        } else {
            text_add(to, at++, 1);
        }
    }
}

/* {cas3} stands for the third cas number that this server has shown. */
static void fill_in_cas(const struct text *request, const struct peer *p, struct text *out)
{
    const char *at = request->data;
    const char *end = at + request->len;

    while (at < end) {
        char digits[32];
        size_t index;
        int used = 0;

        if (*at == '{' && sscanf(at, "{cas%zu}%n", &index, &used) == 1 && used > 0) {
            assert_true(index >= 1 && index <= p->cas_len);
            text_add(out, digits, (size_t)sprintf(digits, "%llu", (unsigned long long)p->cas[index - 1]));
            at += used;
        } else {
            text_add(out, at++, 1);
        }
    }
}

static void show(const char *whose, const struct text *t)
{
    struct text shown = {0};

    for (size_t i = 0; i < t->len && shown.len < SHOWN_MAX; i++) {
        char escaped[8];
        unsigned char c = (unsigned char)t->data[i];

        if (c == '\n')
            text_add(&shown, "\\n\n              ", 17);
        else if (c >= ' ' && c < 127)
            text_add(&shown, &c, 1);
        else
            text_add(&shown, escaped, (size_t)sprintf(escaped, c == '\r' ? "\\r" : "\\x%02x", c));
    }
    print_error("    %-9s %s%s\n", whose, t->len > 0 ? shown.data : "(nothing)",
                shown.len >= SHOWN_MAX ? "..." : "");
    text_free(&shown);
}

static bool ask(struct peer *p, const struct step *step)
{
    struct text request = {0};
    bool complete;

    fill_in_cas(&step->request, p, &request);
    complete = peer_step(p, &request, step->closes);
    text_free(&request);
    make_plain(p);
    if (!complete)
        print_error("    %s %s\n", p->name, step->closes ? "does not close" : "stopped answering");
    return complete;
}

static void play_step(struct play *play)
{
    struct step *step = &play->step;
    struct peer *corral = &play->corral, *memcached = &play->memcached;
    bool ask_memcached = memcached->present && !step->only_corral;
    const struct peer *said = corral->present ? corral : memcached;
    bool ok = true;

    play->steps++;
    if (corral->present)
        ok = ask(corral, step);
    if (ask_memcached)
        ok &= ask(memcached, step);
    if (step->has_expected && (corral->present || ask_memcached))
        ok &= text_equal(&said->plain, &step->expected);
    if (corral->present && ask_memcached && !step->differs)
        ok &= text_equal(&corral->plain, &memcached->plain);
    if (!ok) {
        play->failures++;
        print_error("%s:%zu:\n", play->file, step->line);
        show("sent", &step->request);
        if (step->has_expected)
            show("expected", &step->expected);
        if (corral->present)
            show("corral", &corral->plain);
        if (ask_memcached)
            show("memcached", &memcached->plain);
    }
}

static void next_step(struct play *play)
{
    if (play->step.request.len == 0) /* a directive or a comment stands before it */
        return;
    play_step(play);
    text_clear(&play->step.request);
    text_clear(&play->step.expected);
    play->step.has_expected = play->step.only_corral = play->step.differs = play->step.closes = false;
}

static void directive(struct play *play, const char *word, size_t number)
{
    struct step *step = &play->step;
    long ms;

    next_step(play);
    if (strcmp(word, "corral") == 0)
        step->only_corral = true;
    else if (starts(word, "differs "))
        step->differs = true;
    else if (strcmp(word, "closes") == 0)
        step->closes = true;
    else if (sscanf(word, "sleep %ld", &ms) == 1)
        nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
    else if (!starts(word, "options ")) /* which were looked for before it was started */
        fail_msg("%s:%zu: no such directive: %s", play->file, number, word);
}

static void request_line(struct play *play, const char *text, size_t number, const char *end)
{
    struct step *step = &play->step;

    if (step->has_expected)
        next_step(play);
    if (step->request.len == 0)
        step->line = number;
    unescape(&step->request, text);
    text_add(&step->request, end, strlen(end));
}

static void play_line(struct play *play, const char *line, size_t number)
{
    struct step *step = &play->step;

    if (starts(line, "> ")) {
        request_line(play, line + 2, number, "\r\n");
    } else if (strcmp(line, ">") == 0) {
        request_line(play, "", number, "\r\n");
    } else if (starts(line, "raw> ")) {
        request_line(play, line + 5, number, "");
    } else if (starts(line, "< ") || strcmp(line, "<") == 0) {
        step->has_expected = true;
        unescape(&step->expected, line[1] == '\0' ? "" : line + 2);
        text_add(&step->expected, "\r\n", 2);
    } else if (strcmp(line, "nothing") == 0) {
        step->has_expected = true;
    } else if (line[0] == '@') {
        directive(play, line + 1, number);
    } else if (line[0] == '#' || line[0] == '\0') {
        next_step(play);
    } else {
        fail_msg("%s:%zu: neither > nor <: %s", play->file, number, line);
    }
}

/* ---- running ---- */

static void log_path(char *path, const char *dir, const char *name)
{
    assert_true(snprintf(path, SPAWN_PATH_MAX, "%s/%s.log", dir, name) < SPAWN_PATH_MAX);
}

/* Somebody else may take the port between asking for it and using it. */
static void start(struct peer *p, char *argv[], size_t port_at, const char *dir)
{
    char log[SPAWN_PATH_MAX];
    char port[16];

    log_path(log, dir, p->name);
    argv[port_at] = port;
    for (int tries = 0; tries < 5; tries++) {
        int number = spawn_free_port();

        snprintf(port, sizeof port, "%d", number);
        if (spawn_start(&p->process, argv, number, log))
            return;
    }
    fail_msg("%s does not start, see %s", p->name, log);
}

/* What the transcript wants Corral to be started with besides. Returns where the words are kept. */
static char *add_options(const char *file, char *argv[], size_t at, size_t max)
{
    FILE *f = file != NULL ? fopen(file, "r") : NULL;
    char *line = NULL, *rest, *word;
    size_t size = 0;
    ssize_t len;

    if (file == NULL)
        return NULL;
    assert_non_null(f);
    while ((len = getline(&line, &size, f)) >= 0 && !starts(line, "@options "))
        ;
    fclose(f);
    rest = line;
    if (len < 0)
        return line;
    line[strcspn(line, "\n")] = '\0';
    strsep(&rest, " ");
    while ((word = strsep(&rest, " ")) != NULL) {
        assert_true(at + 1 < max);
        argv[at++] = word;
    }
    return line;
}

static void start_both(struct play *play, const char *dir)
{
    play->corral = (struct peer){.name = "corral", .present = corrald_path[0] != '\0', .fd = -1};
    play->memcached = (struct peer){.name = "memcached", .present = memcached_path[0] != '\0', .fd = -1};
    if (play->corral.present) {
        /* The wins of clients that take their time between two steps shall not end meanwhile. */
        char *argv[32] = {corrald_path, "--memcache-port", NULL,   "--port",    "0", "--max-item-size",
                          "1mb",        "--maxmemory",     "64mb", "--threads", "2", "--lease-default-ms",
                          "10000",      "--lease-min-ms",  "10000"};
        char *options = add_options(play->file, argv, 15, sizeof argv / sizeof *argv);

        start(&play->corral, argv, 2, dir);
        free(options);
    }
    if (play->memcached.present) {
        char *argv[] = {memcached_path,
                        "-p",
                        NULL,
                        "-l",
                        "127.0.0.1",
                        "-U",
                        "0",
                        "-o",
                        "no_lru_maintainer,no_lru_crawler",
                        "-u",
                        "root",
                        NULL};

        if (getuid() != 0)
            argv[9] = NULL;
        start(&play->memcached, argv, 2, dir);
    }
}

static void stop(struct peer *p)
{
    peer_hang_up(p);
    text_free(&p->raw);
    text_free(&p->plain);
}

static void play_file(struct play *play)
{
    char *line = NULL;
    size_t size = 0, number = 0;
    ssize_t len;
    FILE *f = fopen(play->file, "r");

    assert_non_null(f);
    while ((len = getline(&line, &size, f)) >= 0) {
        if (len > 0 && line[len - 1] == '\n')
            line[len - 1] = '\0';
        play_line(play, line, ++number);
    }
    next_step(play);
    free(line);
    fclose(f);
}

static void remove_dir(const char *dir)
{
    char log[SPAWN_PATH_MAX];

    log_path(log, dir, "corral");
    unlink(log);
    log_path(log, dir, "memcached");
    unlink(log);
    rmdir(dir);
}

static void play_transcript(void **state)
{
    struct play play = {.file = *state};
    char dir[] = "/tmp/corral-mc-XXXXXX";
    int status;

    if (corrald_path[0] == '\0' && memcached_path[0] == '\0')
        skip();
    assert_non_null(mkdtemp(dir));
    start_both(&play, dir);
    play_file(&play);
    stop(&play.corral);
    stop(&play.memcached);
    status = spawn_stop(&play.corral.process);
    spawn_stop(&play.memcached.process);
    text_free(&play.step.request);
    text_free(&play.step.expected);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("%s: corrald did not stop cleanly (status %d), see %s", play.file, status, dir);
    if (play.failures > 0)
        fail_msg("%s: %u of %u answers are wrong; logs in %s", play.file, play.failures, play.steps, dir);
    remove_dir(dir);
}

/* ---- stats ---- */

/* What memcached_exporter cannot do without, and what dashboards plot first. */
static const char *const figures[] = {
    "pid",
    "uptime",
    "time",
    "version",
    "pointer_size",
    "rusage_user",
    "rusage_system",
    "max_connections",
    "curr_connections",
    "total_connections",
    "cmd_get",
    "cmd_set",
    "cmd_flush",
    "cmd_touch",
    "cmd_meta",
    "get_hits",
    "get_misses",
    "get_expired",
    "delete_misses",
    "delete_hits",
    "incr_misses",
    "incr_hits",
    "decr_misses",
    "decr_hits",
    "cas_misses",
    "cas_hits",
    "cas_badval",
    "touch_hits",
    "touch_misses",
    "store_too_large",
    "store_no_memory",
    "bytes_read",
    "bytes_written",
    "limit_maxbytes",
    "accepting_conns",
    "listen_disabled_num",
    "threads",
    "conn_yields",
    "hash_is_expanding",
    "bytes",
    "curr_items",
    "total_items",
    "evictions",
    "reclaimed",
    "direct_reclaims",
    "rejected_connections",
    "lru_crawler_starts",
    "crawler_reclaimed",
    "crawler_items_checked",
};

/* Asks for one group; every line must be STAT <name> <value>, but the last, END. */
static void hear_stats(struct peer *p, const char *line)
{
    struct text request = {0};

    text_add(&request, line, strlen(line));
    assert_true(peer_step(p, &request, false));
    text_free(&request);
    for (char *at = p->raw.data, *end; *at != '\0'; at = end + 2) {
        char name[128];

        end = strstr(at, "\r\n");
        assert_non_null(end);
        if (end[2] == '\0')
            assert_memory_equal(at, "END", 3);
        else
            assert_int_equal(sscanf(at, "STAT %127s %*s", name), 1);
    }
}

/* The figure of that name in the last group heard. */
static const char *figure(const struct peer *p, const char *name)
{
    static char value[256];
    char head[160];
    const char *at;

    snprintf(head, sizeof head, "STAT %s ", name);
    at = strstr(p->raw.data, head);
    if (at == NULL)
        fail_msg("no STAT %s", name);
    else
        sscanf(at + strlen(head), "%255s", value);
    return value;
}

static void check_groups(struct peer *p)
{
    hear_stats(p, "stats\r\n");
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++)
        assert_true(strlen(figure(p, figures[i])) > 0);
    assert_int_equal(atoi(figure(p, "get_hits")), 1);
    assert_int_equal(atoi(figure(p, "get_misses")), 2);
    assert_int_equal(atoi(figure(p, "cmd_set")), 1);
    assert_int_equal(atoi(figure(p, "curr_items")), 1);

    hear_stats(p, "stats settings\r\n");
    assert_string_equal(figure(p, "maxconns"), "10000");
    assert_string_equal(figure(p, "lru_crawler"), "yes");
    assert_string_equal(figure(p, "item_size_max"), "1048576");
    hear_stats(p, "stats items\r\n");
    assert_string_equal(figure(p, "items:1:number"), "1");
    hear_stats(p, "stats slabs\r\n");
    assert_string_equal(figure(p, "1:cmd_set"), "1");
    assert_true(atoll(figure(p, "total_malloced")) > 0);
    hear_stats(p, "stats conns\r\n");
    hear_stats(p, "stats sizes\r\n");
}

static void stats_read_as_exporters_read_them(void **state)
{
    struct text warm = {0};
    char dir[] = "/tmp/corral-mc-XXXXXX";
    struct play play = {0};

    (void)state;
    if (corrald_path[0] == '\0')
        skip();
    assert_non_null(mkdtemp(dir));
    start_both(&play, dir);
    unescape(&warm, "set k 0 0 1\\r\\nv\\r\\nget k nothing\\r\\n");
    assert_true(peer_step(&play.corral, &warm, false)); /* and the sentinel is a second miss */
    text_free(&warm);
    check_groups(&play.corral);
    stop(&play.corral);
    stop(&play.memcached);
    spawn_stop(&play.corral.process);
    spawn_stop(&play.memcached.process);
    remove_dir(dir);
}

/* ---- all of them ---- */

static const char *setting(const char *name, const char *otherwise)
{
    const char *value = getenv(name);

    return value != NULL && value[0] != '\0' ? value : otherwise;
}

static void find_programs(void)
{
    char corrald[SPAWN_PATH_MAX];

    snprintf(corrald, sizeof corrald, "%s/corrald", setting("CORRAL_BIN", "bin"));
    if (!spawn_find(corrald, corrald_path)) {
        corrald_path[0] = '\0';
        print_message("%s is not built: transcripts are not played at Corral\n", corrald);
    }
    if (!spawn_find(setting("MEMCACHED", "memcached"), memcached_path)) {
        memcached_path[0] = '\0';
        print_message("memcached is not installed: nothing to compare with\n");
    }
}

int main(void)
{
    const char *pattern = setting("CORRAL_MC_TRANSCRIPTS", "tests/wire/*.mc.txt");
    struct CMUnitTest *tests;
    glob_t found;
    int failed;

    signal(SIGPIPE, SIG_IGN);
    if (glob(pattern, 0, NULL, &found) != 0) {
        fprintf(stderr, "no transcripts: %s\n", pattern);
        return 1;
    }
    find_programs();
    assert_non_null(tests = calloc(found.gl_pathc + 1, sizeof *tests));
    for (size_t i = 0; i < found.gl_pathc; i++)
        tests[i] = (struct CMUnitTest){found.gl_pathv[i], play_transcript, NULL, NULL, found.gl_pathv[i]};
    tests[found.gl_pathc] = (struct CMUnitTest)cmocka_unit_test(stats_read_as_exporters_read_them);
    failed = _cmocka_run_group_tests("memcache transcripts", tests, found.gl_pathc + 1, NULL, NULL);
    free(tests);
    globfree(&found);
    return failed;
}
