/* test_random_strings.c - thousands of requests by the dice at Corral and at
 * redis-server: about parts of strings, bits, numbers and subsequences; then
 * about keys, their time, databases and transactions, by two clients in turn.
 * Every byte of every reply must be the same.
 *
 * Words are mostly sensible and now and then not. The seeds are fixed, so a
 * failure comes again; it prints the requests of its batch.
 *
 * CORRAL_BIN    directory of corrald           bin
 * REDIS_SERVER  the program to compare with    redis-server */
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

#include "tests/unit/support/spawn.h"

enum { ROUNDS = 40, BATCHES = 20, BATCH = 50, WORD_MAX = 400000 };

struct bytes {
    uint8_t *data;
    size_t len, cap;
};

static void bytes_add(struct bytes *b, const void *data, size_t len)
{
    if (b->len + len > b->cap) {
        b->cap = (b->len + len) * 2;
        b->data = realloc(b->data, b->cap);
        assert_non_null(b->data);
    }
    if (len > 0)
        memcpy(b->data + b->len, data, len);
    b->len += len;
}

/* ---- the two servers ---- */

struct server {
    struct spawned process;
    int fds[2];
    struct bytes replies;
};
static unsigned speaker; /* whose turn it is */
static struct server corral, redis;
static char corrald_path[SPAWN_PATH_MAX], redis_path[SPAWN_PATH_MAX];
static char logs[] = "/tmp/corral-random-XXXXXX";

static void start(struct server *s, char **argv, const char *name)
{
    char log[64], port[16];

    snprintf(log, sizeof log, "%s/%s", logs, name);
    for (unsigned tries = 0; tries < 3; tries++) {
        int number = spawn_free_port();

        snprintf(port, sizeof port, "%d", number);
        argv[2] = port;
        if (spawn_start(&s->process, argv, number, log))
            return;
    }
    fail_msg("%s does not start, see %s", name, log);
}

/* Sends the requests, and a PING with a word that ends the replies. */
static void ask(struct server *s, const struct bytes *requests)
{
    static const char end[] = "$7\r\nthe-end\r\n";
    uint8_t some[65536];

    s->replies.len = 0;
    assert_true(spawn_send(s->fds[speaker], requests->data, requests->len));
    assert_true(spawn_send(s->fds[speaker], "*2\r\n$4\r\nPING\r\n$7\r\nthe-end\r\n", 27));
    while (s->replies.len < sizeof end - 1 ||
           memcmp(s->replies.data + s->replies.len - (sizeof end - 1), end, sizeof end - 1) != 0) {
        ssize_t n = spawn_receive(s->fds[speaker], some, sizeof some);

        assert_true(n > 0);
        bytes_add(&s->replies, some, (size_t)n);
    }
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

/* ---- requests ---- */

static struct bytes batch, words;
static unsigned words_len;

static void word(const void *data, size_t len)
{
    char header[32];

    bytes_add(&words, header, (size_t)snprintf(header, sizeof header, "$%zu\r\n", len));
    bytes_add(&words, data, len);
    bytes_add(&words, "\r\n", 2);
    words_len++;
}

static void text(const char *s)
{
    word(s, strlen(s));
}

static void send_request(void)
{
    char header[32];

    bytes_add(&batch, header, (size_t)snprintf(header, sizeof header, "*%u\r\n", words_len));
    bytes_add(&batch, words.data, words.len);
    words.len = 0;
    words_len = 0;
}

#define ONE_OF(...)                                                                                          \
    do {                                                                                                     \
        static const char *const choices[] = {__VA_ARGS__};                                                  \
        text(choices[roll(sizeof choices / sizeof *choices)]);                                               \
    } while (0)

static void number(int64_t n)
{
    char digits[32];

    snprintf(digits, sizeof digits, "%lld", (long long)n);
    text(digits);
}

static void odd_number(void)
{
    ONE_OF("", "x", "01", "-0", "+1", " 1", "1 ", "1.0", "9223372036854775807", "-9223372036854775808",
           "9223372036854775808", "-9223372036854775809", "4294967296", "-1", "0", "0x1");
}

static void key(void)
{
    char name[8];

    snprintf(name, sizeof name, "k%u", roll(8));
    text(name);
}

/* A position in a value, mostly near it; `scale` is 8 for bits. */
static void position(uint32_t scale)
{
    if (one_in(40))
        odd_number();
    else if (one_in(12))
        number((int64_t)roll(150000 * scale) - 1000);
    else
        number((int64_t)roll(60 * scale) - 20 * (int64_t)scale);
}

static void offset(uint32_t scale)
{
    if (one_in(40))
        odd_number();
    else
        number(roll(one_in(40) ? 300000 * scale : 50 * scale));
}

static void value(void)
{
    static uint8_t data[WORD_MAX];
    size_t len = one_in(60) ? roll(WORD_MAX) : one_in(8) ? roll(3000) : roll(30);

    switch (roll(4)) {
    case 0: memset(data, 0, len); break;
    case 1: memset(data, 0xff, len); break;
    case 2:
        for (size_t i = 0; i < len; i++)
            data[i] = (uint8_t)roll(256);
        break;
    default:
        for (size_t i = 0; i < len; i++)
            data[i] = (uint8_t)('a' + roll(4));
    }
    if (len > 0 && one_in(3))
        data[roll((uint32_t)len)] = (uint8_t)roll(256);
    word(data, len);
}

static void ask_set(void)
{
    text("SET");
    key();
    value();
    if (one_in(4)) {
        text("EXAT"); /* a moment that both servers understand alike, however late they hear of it */
        number(4102444800);
    }
}

static void ask_range(void)
{
    ONE_OF("GETRANGE", "SUBSTR");
    key();
    position(1);
    position(1);
}

static void ask_setrange(void)
{
    text("SETRANGE");
    key();
    offset(1);
    if (one_in(5))
        text("");
    else if (one_in(50))
        value();
    else
        ONE_OF("x", "hello", "a longer piece of text that reaches further");
}

static void ask_append(void)
{
    text("APPEND");
    key();
    if (one_in(30))
        value();
    else
        ONE_OF("", "x", "abc", "some more");
}

static void ask_bit(void)
{
    if (one_in(3)) {
        text("GETBIT");
        key();
        offset(8);
        return;
    }
    text("SETBIT");
    key();
    offset(8);
    if (one_in(30))
        odd_number();
    else
        number(roll(2));
}

static void unit(void)
{
    if (one_in(30))
        text("bits");
    else
        ONE_OF("BIT", "byte", "Bit", "BYTE");
}

static void ask_bitcount(void)
{
    uint32_t extra = roll(4);

    text("BITCOUNT");
    key();
    if (extra > 0) {
        position(4);
        if (!one_in(20))
            position(4);
    }
    if (extra > 1)
        unit();
}

static void ask_bitpos(void)
{
    uint32_t extra = roll(4);

    text("BITPOS");
    key();
    if (one_in(30))
        odd_number();
    else
        number(roll(2));
    if (extra > 0)
        position(4);
    if (extra > 1)
        position(4);
    if (extra > 2)
        unit();
}

static void ask_bitop(void)
{
    text("BITOP");
    if (one_in(30))
        text("NAND");
    else
        ONE_OF("AND", "or", "XOR", "Not", "NOT");
    key();
    for (uint32_t n = one_in(2) ? 1 : 1 + roll(6); n > 0; n--)
        key();
}

static void field_type(void)
{
    char type[8];

    if (one_in(60)) {
        ONE_OF("u64", "i65", "u0", "i0", "U8", "x8", "8", "", "u", "i-1", "u08");
        return;
    }
    if (one_in(2))
        snprintf(type, sizeof type, "i%u", 1 + roll(64));
    else
        snprintf(type, sizeof type, "u%u", 1 + roll(63));
    text(type);
}

static void field_offset(void)
{
    char at[16];

    if (one_in(3)) {
        snprintf(at, sizeof at, "#%u", roll(12));
        text(at);
    } else if (one_in(60)) {
        ONE_OF("#", "##1", "#-1", "-1", "x", "4294967296");
    } else {
        offset(8);
    }
}

/* With OVERFLOW SAT, redis overflows itself over numbers below -2^62 and sets
 * the largest number instead of the smallest; Corral does not. */
static void field_operand(bool of_set)
{
    int64_t any = (int64_t)(dice * UINT64_C(0x9e3779b97f4a7c15));

    switch (roll(12)) {
    case 0:
        if (of_set)
            ONE_OF("", "x", "01", "9223372036854775807", "9223372036854775808", "-4611686018427387904");
        else
            odd_number();
        break;
    case 1: number(of_set ? any / 2 : any); break;
    default: number((int64_t)roll(600) - 300);
    }
}

static void ask_bitfield(void)
{
    bool reads_only = one_in(4);

    ONE_OF("BITFIELD", "BITFIELD", "BITFIELD", "BITFIELD_RO");
    key();
    for (uint32_t n = roll(7); n > 0; n--) {
        if (one_in(3)) {
            text("OVERFLOW");
            if (one_in(40))
                text("NONE");
            else
                ONE_OF("WRAP", "sat", "Fail");
        }
        if (reads_only || one_in(4)) {
            text("GET");
            field_type();
            field_offset();
            continue;
        }
        bool sets = one_in(3);
        text(sets ? "SET" : "incrby");
        field_type();
        field_offset();
        if (!one_in(100))
            field_operand(sets);
    }
}

static void ask_lcs(void)
{
    text("LCS");
    key();
    key();
    for (uint32_t n = roll(4); n > 0; n--) {
        switch (roll(5)) {
        case 0: text("LEN"); break;
        case 1: text("idx"); break;
        case 2: text("WITHMATCHLEN"); break;
        case 3:
            text("MINMATCHLEN");
            if (one_in(20))
                odd_number();
            else
                number(roll(6));
            break;
        default: text(one_in(10) ? "IDXX" : "IDX");
        }
    }
}

static void decimal(void)
{
    char digits[64];

    if (one_in(4)) {
        ONE_OF("0", "-0", "0.1", "-0.1", "1e10", "1e-17", "1e-18", "1e300", "-1e300", "1e4932", "inf", "-inf",
               "nan", "1e5000", "1e-5000", "", " 1", "1 ", "0x10", "0x1p-3", "+5", ".5", "5.", ".", "1e",
               "1,5", "Infinity", "3.0e3", "123456789012345678901234567890", "00012",
               "1.7976931348623157e308");
        return;
    }
    snprintf(digits, sizeof digits, "%s%u.%u", one_in(2) ? "-" : "", roll(100000), roll(1000000000));
    text(digits);
}

static void ask_float(void)
{
    char name[8];

    if (one_in(15)) {
        text("SET");
        snprintf(name, sizeof name, "f%u", roll(4));
        text(name);
    } else {
        text("INCRBYFLOAT");
        snprintf(name, sizeof name, one_in(30) ? "k%u" : "f%u", roll(4));
        text(name);
    }
    decimal();
}

static void ask_about_key(void)
{
    ONE_OF("STRLEN", "GET", "EXISTS", "DEL", "GETDEL", "PERSIST", "GETEX");
    key();
}

static void make_request(void)
{
    static void (*const kinds[])(void) = {
        ask_set,      ask_set,      ask_range,    ask_range,  ask_setrange, ask_setrange, ask_append,
        ask_bit,      ask_bit,      ask_bitcount, ask_bitpos, ask_bitpos,   ask_bitop,    ask_bitfield,
        ask_bitfield, ask_bitfield, ask_lcs,      ask_lcs,    ask_float,    ask_float,    ask_about_key};

    kinds[roll(sizeof kinds / sizeof *kinds)]();
    send_request();
}

/* ---- requests about keys ---- */

static void few_keys(unsigned n)
{
    char name[8];

    for (; n > 0; n--) {
        snprintf(name, sizeof name, "k%u", roll(6));
        text(name);
    }
}

/* Moments that both servers understand alike, however late they hear of it: far off, or none. */
static void moment(bool in_ms)
{
    int64_t far = INT64_C(4102444800) + roll(1000);

    if (one_in(12))
        ONE_OF("0", "-1", "x", "", "1.0", "+1", "9223372036854775807", "9223372036854775808");
    else
        number(in_ms ? far * 1000 : far);
}

/* A span that is refused, or gone already. */
static void bad_span(void)
{
    ONE_OF("0", "-1", "x", "", "01", "9223372036854775807", "9223372036854775808", "-9223372036854775808");
}

static void database(void)
{
    if (one_in(20))
        ONE_OF("16", "-1", "x", "", "4294967296", "01");
    else
        number(roll(4));
}

static void ask_set_with(void)
{
    text(one_in(4) ? "set" : "SET");
    few_keys(1);
    ONE_OF("v", "10", "", "hello world", "3.5");
    for (unsigned n = one_in(2) ? 0 : 1 + roll(3); n > 0; n--) {
        switch (roll(9)) {
        case 0: text("NX"); break;
        case 1: text("xx"); break;
        case 2: text("GET"); break;
        case 3: text("KEEPTTL"); break;
        case 4:
            text("EXAT");
            moment(false);
            break;
        case 5:
            text("PXAT");
            moment(true);
            break;
        case 6:
            text("EX");
            bad_span();
            break;
        case 7:
            text("PX");
            bad_span();
            break;
        default: ONE_OF("EXAT", "BAD"); break;
        }
    }
}

static void ask_time(void)
{
    bool in_ms = one_in(2);

    switch (roll(7)) {
    case 0:
        text(in_ms ? "PEXPIRE" : "EXPIRE");
        few_keys(1);
        bad_span();
        break;
    case 1:
        text(in_ms ? "PSETEX" : "SETEX");
        few_keys(1);
        bad_span();
        text("v");
        break;
    case 2:
        ONE_OF("EXPIRETIME", "PEXPIRETIME", "PERSIST");
        few_keys(1);
        break;
    case 3:
        text("GETEX");
        few_keys(1);
        switch (roll(5)) {
        case 0: text("PERSIST"); break;
        case 1:
            text("EXAT");
            moment(false);
            break;
        case 2:
            text("PXAT");
            moment(true);
            break;
        case 3:
            text("EX");
            bad_span();
            break;
        default: break;
        }
        break;
    default:
        text(in_ms ? "PEXPIREAT" : "EXPIREAT");
        few_keys(1);
        moment(in_ms);
        for (unsigned n = one_in(2) ? 0 : 1 + one_in(6); n > 0; n--)
            ONE_OF("NX", "XX", "GT", "LT", "gt", "ZZ");
    }
}

static void ask_moving(void)
{
    switch (roll(8)) {
    case 0:
    case 1:
        ONE_OF("RENAME", "RENAMENX");
        few_keys(2);
        break;
    case 2:
    case 3:
        text("COPY");
        few_keys(2);
        if (one_in(3)) {
            text("DB");
            database();
        }
        if (one_in(3))
            text("REPLACE");
        break;
    case 4:
        text("MOVE");
        few_keys(1);
        database();
        break;
    case 5:
        text("SWAPDB");
        database();
        database();
        break;
    case 6: text(one_in(4) ? "FLUSHDB" : "DBSIZE"); break;
    default:
        text("SELECT");
        database();
        break;
    }
}

static void ask_several(void)
{
    switch (roll(4)) {
    case 0:
        ONE_OF("DEL", "UNLINK", "EXISTS", "TOUCH", "MGET");
        few_keys(1 + roll(4));
        break;
    case 1:
        ONE_OF("MSET", "MSETNX");
        for (unsigned n = 1 + roll(3); n > 0; n--)
            few_keys(2); /* the second is the value */
        break;
    case 2:
        ONE_OF("GET", "GETDEL", "TYPE", "STRLEN", "INCR", "DECR");
        few_keys(1);
        break;
    default:
        ONE_OF("GETSET", "SETNX", "APPEND", "INCRBY", "DECRBY");
        few_keys(1);
        number(roll(100));
        break;
    }
}

static void ask_transaction(void)
{
    switch (roll(6)) {
    case 0:
    case 1: text("MULTI"); break;
    case 2:
    case 3: text("EXEC"); break;
    case 4:
        text("WATCH");
        few_keys(1 + roll(2));
        break;
    default: ONE_OF("DISCARD", "UNWATCH", "NOSUCH", "GET", "KEYS"); break;
    }
}

static void make_key_request(void)
{
    static void (*const kinds[])(void) = {ask_set_with,    ask_set_with,   ask_time,    ask_time,
                                          ask_moving,      ask_moving,     ask_several, ask_several,
                                          ask_transaction, ask_transaction};

    kinds[roll(sizeof kinds / sizeof *kinds)]();
    send_request();
}

/* ---- comparing ---- */

static void print_some(const char *what, const struct bytes *b, size_t from, size_t most)
{
    fprintf(stderr, "# %s: ", what);
    for (size_t i = from; i < b->len && i < from + most; i++)
        fprintf(stderr, b->data[i] >= ' ' && b->data[i] < 127 ? "%c" : "\\x%02x", b->data[i]);
    fprintf(stderr, "\n");
}

static void compare(unsigned round)
{
    size_t same = 0, from;

    ask(&corral, &batch);
    ask(&redis, &batch);
    if (corral.replies.len == redis.replies.len &&
        memcmp(corral.replies.data, redis.replies.data, redis.replies.len) == 0)
        return;
    while (same < corral.replies.len && same < redis.replies.len &&
           corral.replies.data[same] == redis.replies.data[same])
        same++;
    from = same > 300 ? same - 300 : 0;
    print_some("requests", &batch, 0, 6000);
    print_some("corral", &corral.replies, from, 600);
    print_some("redis", &redis.replies, from, 600);
    fail_msg("round %u: the replies differ at byte %zu", round, same);
}

/* Everything that is left, with its time to live. */
static void compare_all(unsigned round)
{
    char name[8];

    batch.len = 0;
    for (unsigned i = 0; i < 12; i++) {
        snprintf(name, sizeof name, "%c%u", i < 8 ? 'k' : 'f', i % 8);
        text("GET");
        text(name);
        send_request();
        text("EXPIRETIME");
        text(name);
        send_request();
    }
    compare(round);
}

static void say_hello(struct server *s, bool resp3)
{
    batch.len = 0;
    text("HELLO");
    text(resp3 ? "3" : "2");
    send_request();
    text("FLUSHALL");
    send_request();
    ask(s, &batch);
}

static void replies_are_the_same(void **state)
{
    (void)state;
    if (corrald_path[0] == '\0' || redis_path[0] == '\0') {
        print_message("skipped: corrald or redis-server is not there\n");
        skip();
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        dice = UINT64_C(88172645463325252) + round * UINT64_C(1000003);
        say_hello(&corral, round % 2 == 1);
        say_hello(&redis, round % 2 == 1);
        for (unsigned i = 0; i < BATCHES; i++) {
            batch.len = 0;
            for (unsigned n = 0; n < BATCH; n++)
                make_request();
            compare(round);
        }
        compare_all(round);
    }
}

/* A client leaves MULTI at the end of its turn, or the word that ends the replies would be queued, too. What
 * it watches it goes on watching while the other one has its turn. */
static void keys_are_the_same(void **state)
{
    (void)state;
    if (corrald_path[0] == '\0' || redis_path[0] == '\0') {
        print_message("skipped: corrald or redis-server is not there\n");
        skip();
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        dice = UINT64_C(1181783497276652981) + round * UINT64_C(1000003);
        for (speaker = 0; speaker < 2; speaker++) {
            say_hello(&corral, round % 2 == 1);
            say_hello(&redis, round % 2 == 1);
        }
        for (unsigned i = 0; i < 4 * BATCHES; i++) {
            speaker = i % 2;
            batch.len = 0;
            for (unsigned n = 1 + roll(12); n > 0; n--)
                make_key_request();
            text("DISCARD");
            send_request();
            compare(round);
        }
    }
    speaker = 0;
}

static const char *setting(const char *name, const char *otherwise)
{
    const char *set = getenv(name);

    return set != NULL && set[0] != '\0' ? set : otherwise;
}

static int start_both(void **state)
{
    char corrald[SPAWN_PATH_MAX];
    char *ours[] = {corrald_path, "--port", NULL, "--memcache-port", "0", "--threads", "2", NULL};
    char *theirs[] = {redis_path, "--port", NULL, "--save", "", "--appendonly", "no", "--dir", logs, NULL};

    (void)state;
    snprintf(corrald, sizeof corrald, "%s/corrald", setting("CORRAL_BIN", "bin"));
    if (!spawn_find(corrald, corrald_path))
        corrald_path[0] = '\0';
    if (!spawn_find(setting("REDIS_SERVER", "redis-server"), redis_path))
        redis_path[0] = '\0';
    if (corrald_path[0] == '\0' || redis_path[0] == '\0')
        return 0;
    assert_non_null(mkdtemp(logs));
    start(&corral, ours, "corral");
    start(&redis, theirs, "redis");
    for (unsigned i = 0; i < 2; i++) {
        corral.fds[i] = spawn_connect(corral.process.port);
        redis.fds[i] = spawn_connect(redis.process.port);
        assert_true(corral.fds[i] >= 0 && redis.fds[i] >= 0);
    }
    return 0;
}

static void remove_log(const char *name)
{
    char path[64];

    snprintf(path, sizeof path, "%s/%s", logs, name);
    unlink(path);
}

static int stop_both(void **state)
{
    (void)state;
    if (corral.process.pid == 0)
        return 0;
    for (unsigned i = 0; i < 2; i++) {
        close(corral.fds[i]);
        close(redis.fds[i]);
    }
    spawn_stop(&corral.process);
    spawn_stop(&redis.process);
    remove_log("corral");
    remove_log("redis");
    rmdir(logs);
    free(corral.replies.data);
    free(redis.replies.data);
    free(batch.data);
    free(words.data);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(replies_are_the_same),
                                       cmocka_unit_test(keys_are_the_same)};

    return cmocka_run_group_tests(tests, start_both, stop_both);
}
