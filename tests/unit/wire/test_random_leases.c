/* test_random_leases.c - clients of every dialect at one key, by the dice,
 * against a slow and obvious model of what it must do.
 *
 * The model is one value, when it ends, until when it is kept, and at most one
 * token that is good; every reply is compared with what it says. Apart from
 * it, three things are watched that no model should have to know: a token is
 * granted only while none is good, only a good token stores, and a read that did
 * not ask for stale values gets the latest value that was stored, or none.
 *
 * Times are real and short. A request is made only if nothing runs out within
 * some milliseconds of it, and forgotten (with the key) if the machine was so
 * slow that something may have run out after all.
 *
 * CORRAL_BIN   directory of corrald   bin
 * CORRAL_SEED  of the dice; it is printed when a test fails
 * CORRAL_STEPS how many requests      12000 */
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
#include <time.h>
#include <unistd.h>

#include <hiredis/hiredis.h>

#include <cmocka.h>

#include "server/clock.h"
#include "tests/unit/support/spawn.h"

enum {
    STEPS = 12000,
    LEASE_MS = 80,
    GRACE_MS = 90,  /* herd-grace-ms, and that of values stored with one */
    TTL_MS = 70,    /* of what is stored with one */
    RECACHE_S = 30, /* R */
    VIVIFY_S = 600, /* N; too long to end here */
    MARGIN_MS = 6,  /* nothing may run out so near to a request */
    TOKENS = 6,     /* remembered of those that were granted: the latest */
    WORD = 64,
    REPLY = 512,
    STORY = 24, /* steps told when one is wrong */
};
static const uint64_t win_mark = UINT64_C(1) << 62;

/* ---- the node and its clients ---- */

static struct spawned node;
static redisContext *resp;
static int text_fd = -1;
static bool fenced;
static char corrald_path[SPAWN_PATH_MAX];

static void connect_all(int port, int text_port)
{
    struct timeval patience = {.tv_sec = 10};

    resp = redisConnectWithTimeout("127.0.0.1", port, patience);
    assert_non_null(resp);
    assert_int_equal(resp->err, 0);
    redisSetTimeout(resp, patience);
    for (int tries = 0; tries < 200 && (text_fd = spawn_connect(text_port)) < 0; tries++)
        usleep(10000); /* it listens there in a moment */
    assert_true(text_fd >= 0);
}

static int start(bool with_fence)
{
    const char *bin = getenv("CORRAL_BIN");
    char name[SPAWN_PATH_MAX], ports[2][16], lease[16], grace[16];

    fenced = with_fence;
    snprintf(name, sizeof name, "%s/corrald", bin != NULL ? bin : "bin");
    if (!spawn_find(name, corrald_path))
        return 0; /* the tests skip themselves */
    snprintf(lease, sizeof lease, "%d", LEASE_MS);
    snprintf(grace, sizeof grace, "%d", GRACE_MS);
    for (int tries = 0; tries < 5; tries++) {
        int port = spawn_free_port(), text_port = spawn_free_port();

        if (port == text_port)
            continue;
        snprintf(ports[0], sizeof ports[0], "%d", port);
        snprintf(ports[1], sizeof ports[1], "%d", text_port);
        if (spawn_start(&node,
                        (char *[]){corrald_path, "--port", ports[0], "--memcache-port", ports[1],
                                   "--lease-default-ms", lease, "--lease-min-ms", lease, "--lease-max-ms",
                                   lease, "--herd-grace-ms", grace, "--herd-fence", with_fence ? "on" : "off",
                                   "--threads", "2", NULL},
                        port, "/dev/null")) {
            connect_all(port, text_port);
            return 0;
        }
    }
    return -1;
}

static int start_plain(void **state)
{
    (void)state;
    return start(false);
}

static int start_fenced(void **state)
{
    (void)state;
    return start(true);
}

static int stop(void **state)
{
    (void)state;
    if (resp != NULL)
        redisFree(resp);
    resp = NULL;
    if (text_fd >= 0)
        close(text_fd);
    text_fd = -1;
    return spawn_stop(&node) == 0 ? 0 : -1; /* it has ended as it should, leaks looked for */
}

/* ---- dice ---- */

static uint64_t dice;

static uint32_t roll(uint32_t n)
{
    dice ^= dice << 13;
    dice ^= dice >> 7;
    dice ^= dice << 17;
    return (uint32_t)((dice >> 20) % n);
}

static bool one_in(uint32_t n)
{
    return roll(n) == 0;
}

/* ---- the model ---- */

enum kind {
    NOTHING,
    VALUE,
    NEGATIVE,
    RESERVED, /* pending, for as long as the lease */
    VIVIFIED, /* pending, by memcached's N */
};

static struct {
    enum kind kind;
    char value[WORD];
    bool marked;     /* stale, by md I */
    bool won;        /* the bit that memcached shows as Z */
    int64_t expires; /* 0: never */
    int64_t kept;    /* how long after that */
    uint64_t token;  /* 0: none */
    int64_t ends;    /* the lease */
} m;
static int64_t now;

static bool is_out(void)
{
    return m.token != 0 && now < m.ends;
}

static bool is_fresh(void)
{
    return m.expires == 0 || now < m.expires;
}

static bool is_live(void)
{
    return m.kind == VALUE && is_fresh() && !m.marked;
}

static bool is_stale(void)
{
    return m.kind == VALUE && !is_live();
}

static bool is_negative(void)
{
    return m.kind == NEGATIVE && is_fresh();
}

/* Memcached's clients see what md I marked, and what N made. */
static bool memcache_shows(void)
{
    return (m.kind == VALUE && is_fresh()) || m.kind == VIVIFIED;
}

static void forget(void)
{
    m.kind = NOTHING;
    m.token = 0;
    m.won = m.marked = false;
    m.expires = m.kept = 0;
    m.value[0] = '\0';
}

static void let_time_pass(void)
{
    now = clock_now().ms;
    if (m.expires != 0 && now >= m.expires + m.kept)
        forget();
}

static void put(const char *value, int64_t ttl, int64_t grace)
{
    forget();
    m.kind = VALUE;
    snprintf(m.value, sizeof m.value, "%s", value);
    m.expires = ttl != 0 ? now + ttl : 0;
    m.kept = ttl != 0 ? grace : 0;
}

static void win(uint64_t token)
{
    m.token = token;
    m.ends = now + LEASE_MS;
    m.won = true;
}

/* GETLEASE and lease-get: what is there is kept until the lease ends. */
static void take(uint64_t token)
{
    if (m.kind == NOTHING || m.kind == RESERVED || (m.kind == NEGATIVE && !is_fresh())) {
        forget();
        m.kind = RESERVED;
        m.expires = now + LEASE_MS;
    } else if (m.expires != 0 && m.expires + m.kept < now + LEASE_MS) {
        if (m.kind == VIVIFIED)
            m.expires = now + LEASE_MS;
        else
            m.kept = now + LEASE_MS - m.expires;
    }
    win(token);
}

static void invalidate(int64_t grace)
{
    if (m.kind != VALUE || (is_fresh() && grace == 0)) {
        forget();
        return;
    }
    if (is_fresh()) {
        m.expires = now;
        m.kept = grace;
    }
    m.marked = m.won = false;
    m.token = 0;
}

/* ---- what is watched beside the model ---- */

static uint64_t tokens[TOKENS];
static char latest[WORD]; /* the value stored last, "" when it was deleted or invalidated since */
static unsigned grants, fills, late_fills, stale_reads;
static const char *broken; /* which of them; judged once the request is known to have been quick */

static void watch(bool holds, const char *what)
{
    if (!holds && broken == NULL)
        broken = what;
}

static void note_grant(uint64_t token)
{
    watch(!is_out(), "granted while a token is good");
    watch(token > 1, "no token at all");
    for (unsigned i = 0; i < TOKENS; i++)
        watch(tokens[i] != token, "a token for the second time");
    memmove(tokens + 1, tokens, sizeof tokens - sizeof tokens[0]);
    tokens[0] = token;
    grants++;
}

static void note_fill(uint64_t token, bool stored)
{
    watch(!stored || (token == m.token && is_out()), "a dead token stores");
    fills += stored;
    late_fills += !stored;
}

static void note_plain_read(const char *value)
{
    watch(value[0] == '\0' || strcmp(value, latest) == 0, "a stale value that nobody asked for");
}

/* ---- comparing ---- */

static unsigned step, steps, skipped;
static uint64_t seed;
static char expected[REPLY], got[REPLY];
static char story[STORY][REPLY]; /* what was done lately */

static void expect(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void expect(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(expected, sizeof expected, format, args);
    va_end(args);
}

static const char *new_value(void)
{
    static char value[WORD];

    snprintf(value, sizeof value, "%u", 1000000 + step);
    return value;
}

/* One that no client knows. */
static uint64_t lost_token(void)
{
    static uint64_t lost = UINT64_MAX;

    return lost--;
}

static uint64_t some_token(void)
{
    return one_in(3) ? tokens[roll(TOKENS)] : tokens[0];
}

/* ---- asking ---- */

static char asked[REPLY];

static void flatten(const redisReply *r, char *to, size_t room)
{
    switch (r->type) {
    case REDIS_REPLY_NIL: snprintf(to, room, "nil"); return;
    case REDIS_REPLY_INTEGER: snprintf(to, room, "%lld", r->integer); return;
    case REDIS_REPLY_ARRAY:
        to[0] = '\0';
        for (size_t i = 0; i < r->elements; i++) {
            size_t len = strlen(to);

            if (len > 0)
                to[len++] = ' ';
            flatten(r->element[i], to + len, room - len);
        }
        return;
    default: snprintf(to, room, "%s", r->str); return;
    }
}

static void ask_resp(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void ask_resp(const char *format, ...)
{
    redisReply *reply;
    va_list args;

    va_start(args, format);
    vsnprintf(asked, sizeof asked, format, args);
    va_end(args);
    reply = redisCommand(resp, asked);
    assert_non_null(reply);
    flatten(reply, got, sizeof got);
    freeReplyObject(reply);
}

static bool ends_with(const char *text, const char *end)
{
    size_t len = strlen(text), n = strlen(end);

    return len >= n && strcmp(text + len - n, end) == 0;
}

/* Whether all of a reply is there: values hold no line ends. */
static bool is_whole(const char *text, bool lists)
{
    const char *line;

    if (!ends_with(text, "\r\n"))
        return false;
    if (lists)
        return ends_with(text, "END\r\n") || strncmp(text, "CLIENT", 6) == 0;
    line = strstr(text, "\r\n") + 2;
    return strncmp(text, "VA ", 3) != 0 || strlen(line) > 0;
}

/* `text` may hold a \n where a block of data begins. The reply's lines are joined by blanks. */
static void ask_text(bool lists, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void ask_text(bool lists, const char *format, ...)
{
    char wire[REPLY * 2], *p = wire;
    size_t len = 0;
    va_list args;

    va_start(args, format);
    vsnprintf(asked, sizeof asked, format, args);
    va_end(args);
    for (const char *c = asked; *c != '\0'; c++) {
        if (*c == '\n')
            *p++ = '\r';
        *p++ = *c;
    }
    memcpy(p, "\r\n", 2);
    assert_true(spawn_send(text_fd, wire, (size_t)(p + 2 - wire)));
    got[0] = '\0';
    while (!is_whole(got, lists)) {
        ssize_t n = spawn_receive(text_fd, got + len, sizeof got - 1 - len);

        assert_true(n > 0);
        len += (size_t)n;
        got[len] = '\0';
    }
    p = got;
    for (const char *c = got; *c != '\0'; c++) {
        if (*c != '\r')
            *p++ = *c == '\n' ? ' ' : *c;
    }
    if (p > got)
        p--;
    *p = '\0';
}

/* ---- RESP ---- */

static void do_get(void)
{
    ask_resp("GET k");
    expect("%s", is_live() ? m.value : "nil");
    note_plain_read(strcmp(got, "nil") == 0 ? "" : got);
}

static void do_set(void)
{
    const char *value = new_value();

    switch (roll(3)) {
    case 0:
        ask_resp("SET k %s", value);
        put(value, 0, 0);
        break;
    case 1:
        ask_resp("SET k %s PX %d", value, TTL_MS);
        put(value, TTL_MS, 0);
        break;
    case 2:
        ask_resp("SET k %s GRACE %d PX %d", value, GRACE_MS, TTL_MS);
        put(value, TTL_MS, GRACE_MS);
        break;
    }
    snprintf(latest, sizeof latest, "%s", value);
    expect("OK");
}

static void do_del(void)
{
    ask_resp("DEL k");
    expect("%d", is_live());
    forget();
    latest[0] = '\0';
}

static void do_invalidate(void)
{
    ask_resp("INVALIDATE k");
    expect("%d", is_live());
    invalidate(GRACE_MS);
    latest[0] = '\0';
}

static void do_getlease(void)
{
    bool takes_stale = one_in(2), shown = takes_stale && is_stale();
    const char *value = shown ? m.value : "nil";
    uint64_t token = 0;

    ask_resp(takes_stale ? "GETLEASE k STALE" : "GETLEASE k");
    if (is_live()) {
        expect("state live value %s token 0 lease-ms 0", m.value);
    } else if (is_negative()) {
        expect("state negative value nil token 0 lease-ms 0");
    } else if (is_out()) {
        char *left = strstr(got, "lease-ms ");

        if (left != NULL) {
            watch(strtoll(left + 9, NULL, 10) >= 1 && strtoll(left + 9, NULL, 10) <= LEASE_MS,
                  "no time left");
            left[9] = '\0';
        }
        expect("state %s value %s token 0 lease-ms ", shown ? "stale" : "filling", value);
        stale_reads += shown;
    } else {
        char *at = strstr(got, "token ");

        token = at != NULL ? strtoull(at + 6, NULL, 10) : 0;
        expect("state granted value %s token %" PRIu64 " lease-ms %d", value, token, LEASE_MS);
        note_grant(token);
        take(token);
        stale_reads += shown;
    }
    if (strncmp(got, "state live", 10) == 0 || strncmp(got, "state gr", 8) != 0)
        note_plain_read(is_live() ? m.value : "");
}

static void do_setlease(void)
{
    uint64_t token = some_token();
    bool good = token == m.token && is_out();
    const char *value = new_value();
    unsigned how = roll(4);

    switch (how) {
    case 0: ask_resp("SETLEASE k %" PRIu64 " %s", token, value); break;
    case 1: ask_resp("SETLEASE k %" PRIu64 " %s PX %d", token, value, TTL_MS); break;
    case 2: ask_resp("SETLEASE k %" PRIu64 " %s PX %d GRACE %d", token, value, TTL_MS, GRACE_MS); break;
    case 3: ask_resp("SETLEASE k %" PRIu64 " %s PX %d NEGATIVE", token, value, TTL_MS); break;
    }
    note_fill(token, strcmp(got, "OK") == 0);
    expect("%s", good ? "OK" : "nil");
    if (!good)
        return;
    put(value, how == 0 ? 0 : TTL_MS, how == 2 ? GRACE_MS : 0);
    if (how == 3)
        m.kind = NEGATIVE;
    snprintf(latest, sizeof latest, "%s", how == 3 ? "" : value);
}

static void do_incr(void)
{
    char value[WORD];

    ask_resp("INCR k");
    snprintf(value, sizeof value, "%d", is_live() ? atoi(m.value) + 1 : 1);
    expect("%s", value);
    if (!is_live()) {
        put(value, 0, 0);
    } else {
        snprintf(m.value, sizeof m.value, "%s", value);
        m.won = false;
        m.token = 0;
    }
    snprintf(latest, sizeof latest, "%s", value);
}

/* ---- memcached, classic and lease-get ---- */

static void do_text_get(void)
{
    ask_text(true, "get k");
    if (memcache_shows())
        expect("VALUE k 0 %zu %s END", strlen(m.value), m.value);
    else
        expect("END");
    if (!m.marked)
        note_plain_read(memcache_shows() ? m.value : "");
}

static void do_text_set(void)
{
    const char *value = new_value();

    ask_text(false, "set k 0 0 %zu\n%s", strlen(value), value);
    expect("STORED");
    put(value, 0, 0);
    snprintf(latest, sizeof latest, "%s", value);
}

static void do_text_add(void)
{
    const char *value = new_value();

    ask_text(false, "add k 0 0 %zu\n%s", strlen(value), value);
    expect("%s", memcache_shows() ? "NOT_STORED" : "STORED");
    if (memcache_shows())
        return;
    put(value, 0, 0);
    snprintf(latest, sizeof latest, "%s", value);
}

static void do_text_delete(void)
{
    ask_text(false, "delete k");
    expect("%s", memcache_shows() ? "DELETED" : "NOT_FOUND");
    forget();
    latest[0] = '\0';
}

static void do_lease_get(void)
{
    const char *value = is_stale() ? m.value : "";
    uint64_t token = 0;

    ask_text(true, "lease-get k");
    if (is_live()) {
        expect("VALUE k 0 %zu %s END", strlen(m.value), m.value);
        note_plain_read(m.value);
        return;
    }
    stale_reads += is_stale();
    if (sscanf(got, "LVALUE k %" SCNu64 " ", &token) != 1)
        token = 0;
    expect("LVALUE k %" PRIu64 " 0 %zu %s END", is_out() ? 1 : token, strlen(value), value);
    if (!is_out()) {
        note_grant(token);
        take(token);
    }
}

static void do_lease_set(void)
{
    uint64_t token = some_token();
    bool good = token == m.token && is_out();
    const char *value = new_value();

    ask_text(false, "lease-set k %" PRIu64 " 0 0 %zu\n%s", token, strlen(value), value);
    note_fill(token, strcmp(got, "STORED") == 0);
    expect("%s", good ? "STORED" : is_stale() ? "STALE_STORED" : "NOT_STORED");
    if (!good)
        return;
    put(value, 0, 0);
    snprintf(latest, sizeof latest, "%s", value);
}

/* Arithmetic in place leaves the bits, and the time of a lease, but not its
 * token. A result that is longer is a new value. */
static void do_text_incr(void)
{
    ask_text(false, "incr k 7");
    if (!memcache_shows()) {
        expect("NOT_FOUND");
    } else if (m.kind == VIVIFIED) {
        expect("CLIENT_ERROR cannot increment or decrement non-numeric value");
    } else {
        size_t len = strlen(m.value);

        snprintf(m.value, sizeof m.value, "%d", atoi(m.value) + 7);
        expect("%s", m.value);
        if (strlen(m.value) > len) {
            m.marked = m.won = false;
            m.token = 0;
        } else if (is_out()) {
            m.token = lost_token();
        }
        if (!m.marked)
            snprintf(latest, sizeof latest, "%s", m.value);
    }
}

/* Flags and times stay, but it is a new value. */
static void do_text_append(void)
{
    char value[WORD];

    if (strlen(m.value) > 8) { /* a longer number would be one more thing to model */
        do_text_get();
        return;
    }
    ask_text(false, "append k 0 0 1\n5");
    expect("%s", memcache_shows() ? "STORED" : "NOT_STORED");
    if (!memcache_shows())
        return;
    snprintf(value, sizeof value, "%.16s5", m.value);
    snprintf(m.value, sizeof m.value, "%s", value);
    m.kind = VALUE;
    m.marked = m.won = false;
    m.token = 0;
    snprintf(latest, sizeof latest, "%s", value);
}

/* ---- memcached, meta ---- */

/* The number behind c; taken out of what was got, as an item's cas is its own affair. */
static uint64_t cut_cas(void)
{
    char *at = strstr(got, " c"), *end;
    uint64_t cas;

    if (at == NULL)
        return 0;
    cas = strtoull(at + 2, &end, 10);
    memmove(at, end, strlen(end) + 1);
    return cas;
}

static bool meta_may_win(char flag)
{
    if (is_out())
        return false;
    if (m.marked || (m.kind == VIVIFIED && flag == 'N'))
        return true;
    return flag == 'R' && m.expires != 0 && m.expires - now < RECACHE_S * 1000;
}

/* Who wins is told the token only under the fence; else it is one that nobody knows. */
static void note_win(uint64_t cas, bool keeps)
{
    uint64_t token = lost_token();

    if (fenced) {
        watch((cas & win_mark) != 0, "a win without a number");
        token = cas & ~win_mark;
        note_grant(token);
    } else {
        watch((cas & win_mark) == 0, "the number of a win");
        watch(!is_out(), "won while a token is good");
    }
    if (keeps)
        take(token);
    else
        win(token);
}

static void do_mg(void)
{
    static const char *const requests[] = {"mg k v c", "mg k v c N600", "mg k v c R30"};
    static const char flags[] = {' ', 'N', 'R'};
    unsigned which = roll(3);
    char flag = flags[which];
    bool graced = m.kind == VALUE && !is_fresh() && flag != ' ', wins;
    uint64_t cas;

    ask_text(false, "%s", requests[which]);
    cas = cut_cas();
    if (memcache_shows()) {
        wins = meta_may_win(flag);
        expect("VA %zu%s%s%s %s", strlen(m.value), m.won && !wins ? " Z" : "", m.marked ? " X" : "",
               wins ? " W" : "", m.value);
        if (!m.marked)
            note_plain_read(m.value);
        if (wins)
            note_win(cas, false);
    } else if (graced) {
        wins = !is_out();
        expect("VA %zu%s X%s %s", strlen(m.value), wins ? "" : " Z", wins ? " W" : "", m.value);
        stale_reads++;
        if (wins)
            note_win(cas, true);
    } else if (flag == 'N') {
        wins = !is_out();
        expect("VA 0 %s ", wins ? "W" : "Z");
        if (wins) {
            forget();
            note_win(cas, false);
            m.kind = VIVIFIED;
            m.expires = now + VIVIFY_S * 1000;
        }
    } else {
        expect("EN");
    }
}

static void do_ms(void)
{
    const char *value = new_value();
    uint64_t token = some_token();
    bool good = token == m.token && is_out(), stored;

    if (fenced && one_in(2)) {
        ask_text(false, "ms k %zu C%" PRIu64 "\n%s", strlen(value), token | win_mark, value);
        note_fill(token, strcmp(got, "HD") == 0);
        expect("%s", good ? "HD" : memcache_shows() ? "EX" : "NF");
        stored = good;
    } else {
        ask_text(false, "ms k %zu\n%s", strlen(value), value);
        stored = !fenced || !is_out();
        expect("%s", stored ? "HD" : "NS");
        if (!stored) {
            forget();
            latest[0] = '\0';
        }
    }
    if (!stored)
        return;
    put(value, 0, 0);
    snprintf(latest, sizeof latest, "%s", value);
}

static void do_md(void)
{
    bool marks = one_in(2);

    ask_text(false, marks ? "md k I" : "md k");
    expect("%s", memcache_shows() ? "HD" : "NF");
    if (!marks) {
        forget();
    } else if (memcache_shows()) {
        m.marked = true;
        m.won = false;
        m.token = 0;
    } else {
        invalidate(0);
    }
    latest[0] = '\0';
}

/* ---- time ---- */

static int64_t next_end(int64_t from)
{
    int64_t ends[] = {m.expires, m.expires != 0 ? m.expires + m.kept : 0, m.token != 0 ? m.ends : 0};
    int64_t next = INT64_MAX;

    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        if (ends[i] != 0 && ends[i] > from && ends[i] < next)
            next = ends[i];
    }
    return next;
}

static void sleep_until(int64_t moment)
{
    int64_t ms = moment - clock_now().ms;

    if (ms > 0)
        nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

/* Nothing may run out while a request is under way. */
static void wait_for_a_calm(void)
{
    int64_t from, end;

    if (one_in(60) && (end = next_end(clock_now().ms)) != INT64_MAX && end - clock_now().ms < 1000)
        sleep_until(end); /* or hardly anything ever would */
    for (;;) {
        from = clock_now().ms;
        end = next_end(from - MARGIN_MS);
        if (end > from + MARGIN_MS)
            break;
        sleep_until(end + MARGIN_MS + 1);
    }
    let_time_pass();
}

/* False: it took so long that something may have run out in between. */
static bool was_quick(int64_t began, int64_t end_before)
{
    int64_t ended = clock_now().ms;

    return ended >= began && ended - began < MARGIN_MS / 2 && ended + 1 < end_before;
}

static void begin_anew(void)
{
    ask_resp("DEL k");
    forget();
    latest[0] = '\0';
    memset(tokens, 0, sizeof tokens);
    skipped++;
}

/* ---- the test ---- */

static void (*const deeds[])(void) = {
    do_get,       do_set,       do_del,       do_invalidate, do_getlease, do_getlease,    do_setlease,
    do_setlease,  do_incr,      do_text_get,  do_text_set,   do_text_add, do_text_delete, do_text_incr,
    do_lease_get, do_lease_get, do_lease_set, do_lease_set,  do_mg,       do_mg,          do_mg,
    do_mg,        do_ms,        do_ms,        do_md,         do_md,       do_text_append};

static void tell_story(void)
{
    print_error("CORRAL_SEED=%" PRIu64 ", step %u; before it:\n", seed, step);
    for (unsigned i = STORY; i > 0; i--)
        print_error("    %s\n", story[(step + STORY - i + 1) % STORY]);
    print_error("    expected: %s\n    got:      %s\n", expected, got);
}

static void take_step(void)
{
    int64_t end;
    bool quick;

    wait_for_a_calm();
    end = next_end(now);
    broken = NULL;
    deeds[roll(sizeof deeds / sizeof *deeds)]();
    quick = was_quick(now, end);
    snprintf(story[step % STORY], REPLY, "%lld: %.200s -> %.200s", (long long)now, asked, got);
    if (!quick) {
        begin_anew();
    } else if (broken != NULL || strcmp(expected, got) != 0) {
        tell_story();
        fail_msg("%s", broken != NULL ? broken : "wrong reply");
    }
}

static void test_one_key(void **state)
{
    const char *given = getenv("CORRAL_SEED"), *how_many = getenv("CORRAL_STEPS");

    (void)state;
    if (resp == NULL)
        skip();
    seed = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)clock_now_us() | 1;
    dice = seed;
    steps = how_many != NULL ? (unsigned)strtoul(how_many, NULL, 10) : STEPS;
    grants = fills = late_fills = stale_reads = skipped = 0;
    begin_anew();
    for (step = 0; step < steps; step++)
        take_step();
    print_message("%u steps: %u grants, %u fills, %u late ones, %u stale values, %u steps too slow\n", steps,
                  grants, fills, late_fills, stale_reads, skipped);
    assert_true(grants > 0 && fills > 0 && late_fills > 0 && stale_reads > 0);
    assert_true(skipped < steps / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_key, start_plain, stop),
        cmocka_unit_test_setup_teardown(test_one_key, start_fenced, stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
