/* test_load_herd_read.c - every driver, question by question, on answers as servers send them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "bench/load_herd_reply.c"
#include "bench/load_herd_read.c"

static uint8_t buffer[2048];
static struct herd_out out = {.data = buffer, .size = sizeof buffer};
static struct herd_plan plan;
static struct herd_read r;
static char answer_bytes[1024]; /* what the read's value looks into */

static int set_up(void **state)
{
    (void)state;
    plan = (struct herd_plan){.ttl_ms = 2000, .lease_ms = 3000, .wait_ms = 1000};
    return 0;
}

static void expect_sent(const char *text)
{
    assert_int_equal(out.len, strlen(text));
    assert_memory_equal(out.data, text, out.len);
}

/* A RESP request as its words, with blanks between. */
static void expect_words(const char *words)
{
    char text[1024];
    size_t at = 0, len = 0;
    int count = 1;

    for (const char *c = words; *c != '\0'; c++)
        count += *c == ' ';
    len += (size_t)snprintf(text, sizeof text, "*%d\r\n", count);
    for (; count > 0; count--) {
        size_t word = strcspn(words + at, " ");

        len +=
            (size_t)snprintf(text + len, sizeof text - len, "$%zu\r\n%.*s\r\n", word, (int)word, words + at);
        at += word + 1;
    }
    expect_sent(text);
}

static void start(enum herd_driver driver)
{
    out.len = 0;
    assert_int_equal(herd_read_start(&r, driver, slice_of("k"), 77, &plan, &out), HERD_SEND);
}

static enum herd_step answer(const char *bytes)
{
    struct herd_reply reply;
    struct slice in = {(const uint8_t *)answer_bytes, strlen(bytes)};

    strcpy(answer_bytes, bytes);
    assert_int_equal(herd_reply_take(herd_driver_dialect(r.driver), &in, &reply), HERD_TAKEN);
    assert_int_equal(in.len, 0);
    out.len = 0;
    return herd_read_answered(&r, &reply, &plan, &out);
}

static enum herd_step fetched(const char *value)
{
    out.len = 0;
    return herd_read_fetched(&r, slice_of(value), &plan, &out);
}

static enum herd_step again(void)
{
    out.len = 0;
    return herd_read_again(&r, &plan, &out);
}

static void expect_hit(const char *value, bool marked)
{
    assert_true(r.hit);
    assert_int_equal(r.marked, marked);
    assert_int_equal(r.value.len, strlen(value));
    assert_memory_equal(r.value.data, value, r.value.len);
    assert_false(r.refused || r.strange || r.filled || r.late);
}

static void expect_filled(void)
{
    assert_true(r.filled);
    assert_false(r.hit || r.refused || r.strange || r.late);
}

static void expect_late(void)
{
    assert_true(r.late);
    assert_false(r.filled || r.refused || r.strange);
}

static void names(void **state)
{
    (void)state;
    for (int i = 0; i < HERD_DRIVERS; i++) {
        enum herd_driver found;

        assert_true(herd_driver_named(slice_of(herd_driver_name((enum herd_driver)i)), &found));
        assert_int_equal(found, i);
    }
    assert_false(herd_driver_named(slice_of("plain"), &(enum herd_driver){0}));
}

static void plain_resp(void **state)
{
    (void)state;
    start(HERD_PLAIN_RESP);
    expect_words("GET k");
    assert_int_equal(answer("$3\r\nabc\r\n"), HERD_DONE);
    expect_hit("abc", false);

    start(HERD_PLAIN_RESP);
    assert_int_equal(answer("$-1\r\n"), HERD_FETCH);
    assert_int_equal(fetched("abc"), HERD_SEND);
    expect_words("SET k abc PX 2000");
    assert_int_equal(answer("+OK\r\n"), HERD_DONE);
    expect_filled();

    plan.ttl_ms = 0;
    start(HERD_PLAIN_RESP);
    assert_int_equal(answer("_\r\n"), HERD_FETCH);
    assert_int_equal(fetched("abc"), HERD_SEND);
    expect_words("SET k abc");
    assert_int_equal(answer("-OOM full\r\n"), HERD_DONE);
    assert_true(r.refused);
    assert_string_equal(r.complaint, "-OOM full");
}

static void plain_text(void **state)
{
    (void)state;
    start(HERD_PLAIN_TEXT);
    expect_sent("get k\r\n");
    assert_int_equal(answer("VALUE k 0 3\r\nabc\r\nEND\r\n"), HERD_DONE);
    expect_hit("abc", false);

    plan.ttl_ms = 1001; /* not less than asked for */
    start(HERD_PLAIN_TEXT);
    assert_int_equal(answer("END\r\n"), HERD_FETCH);
    assert_int_equal(fetched("abc"), HERD_SEND);
    expect_sent("set k 0 2 3\r\nabc\r\n");
    assert_int_equal(answer("STORED\r\n"), HERD_DONE);
    expect_filled();
}

static void meta(void **state)
{
    (void)state;
    start(HERD_META);
    expect_sent("mg k v c N3\r\n");
    assert_int_equal(answer("VA 3 c9\r\nabc\r\n"), HERD_DONE);
    expect_hit("abc", false);

    start(HERD_META);
    assert_int_equal(answer("VA 0 c9 Z\r\n\r\n"), HERD_PAUSE);
    assert_int_equal(again(), HERD_SEND);
    expect_sent("mg k v c N3\r\n");
    assert_int_equal(answer("VA 0 c10 W\r\n\r\n"), HERD_FETCH);
    assert_int_equal(fetched("abc"), HERD_SEND);
    expect_sent("ms k 3 T2 C10\r\nabc\r\n");
    assert_int_equal(answer("EX\r\n"), HERD_DONE);
    expect_late();

    start(HERD_META_BLIND);
    assert_int_equal(answer("VA 3 c10 X W\r\nold\r\n"), HERD_FETCH);
    assert_int_equal(fetched("abc"), HERD_SEND);
    expect_sent("ms k 3 T2\r\nabc\r\n");
    assert_int_equal(answer("HD\r\n"), HERD_DONE);
    expect_filled();
}

static void marked_values_are_for_those_who_take_them(void **state)
{
    (void)state;
    start(HERD_META);
    assert_int_equal(answer("VA 3 c9 Z X\r\nold\r\n"), HERD_PAUSE);
    start(HERD_LEASE_GET);
    assert_int_equal(answer("LVALUE k 1 0 3\r\nold\r\nEND\r\n"), HERD_PAUSE);
    plan.takes_stale = true;
    start(HERD_META);
    assert_int_equal(answer("VA 3 c9 Z X\r\nold\r\n"), HERD_DONE);
    expect_hit("old", true);
    start(HERD_LEASE_GET);
    assert_int_equal(answer("LVALUE k 1 0 3\r\nold\r\nEND\r\n"), HERD_DONE);
    expect_hit("old", true);
    start(HERD_GETLEASE);
    expect_words("GETLEASE k WAIT 1000 STALE");
    assert_int_equal(answer("*6\r\n+state\r\n+stale\r\n+value\r\n$3\r\nold\r\n+token\r\n:0\r\n"), HERD_DONE);
    expect_hit("old", true);
}

static void lease_get(void **state)
{
    (void)state;
    start(HERD_LEASE_GET);
    expect_sent("lease-get k\r\n");
    assert_int_equal(answer("VALUE k 0 3\r\nabc\r\nEND\r\n"), HERD_DONE);
    expect_hit("abc", false);

    start(HERD_LEASE_GET);
    assert_int_equal(answer("LVALUE k 1 0 0\r\n\r\nEND\r\n"), HERD_PAUSE);
    assert_int_equal(again(), HERD_SEND);
    assert_int_equal(answer("LVALUE k 18446744073709551615 0 0\r\n\r\nEND\r\n"), HERD_FETCH);
    assert_int_equal(fetched("abc"), HERD_SEND);
    expect_sent("lease-set k 18446744073709551615 0 2 3\r\nabc\r\n");
    assert_int_equal(answer("STORED\r\n"), HERD_DONE);
    expect_filled();

    for (int i = 0; i < 2; i++) {
        start(HERD_LEASE_GET);
        assert_int_equal(answer("LVALUE k 5 0 0\r\n\r\nEND\r\n"), HERD_FETCH);
        assert_int_equal(fetched("abc"), HERD_SEND);
        assert_int_equal(answer(i == 0 ? "NOT_STORED\r\n" : "STALE_STORED\r\n"), HERD_DONE);
        expect_late();
    }
}

static void getlease(void **state)
{
    (void)state;
    start(HERD_GETLEASE);
    expect_words("GETLEASE k WAIT 1000");
    assert_int_equal(answer("%3\r\n+state\r\n+live\r\n+value\r\n$3\r\nabc\r\n+token\r\n:0\r\n"), HERD_DONE);
    expect_hit("abc", false);

    plan.wait_ms = 0;
    plan.grace_ms = 500;
    start(HERD_GETLEASE);
    expect_words("GETLEASE k");
    assert_int_equal(answer("*6\r\n+state\r\n+filling\r\n+value\r\n$-1\r\n+token\r\n:0\r\n"), HERD_PAUSE);
    assert_int_equal(again(), HERD_SEND);
    assert_int_equal(answer("*6\r\n+state\r\n+granted\r\n+value\r\n$-1\r\n+token\r\n:12\r\n"), HERD_FETCH);
    assert_int_equal(fetched("abc"), HERD_SEND);
    expect_words("SETLEASE k 12 abc PX 2000 GRACE 500");
    assert_int_equal(answer("+OK\r\n"), HERD_DONE);
    expect_filled();

    start(HERD_GETLEASE); /* an old value and the task to refresh it */
    assert_int_equal(answer("*6\r\n+state\r\n+stale\r\n+value\r\n$3\r\nold\r\n+token\r\n:13\r\n"),
                     HERD_FETCH);
    assert_int_equal(fetched("abc"), HERD_SEND);
    assert_int_equal(answer("$-1\r\n"), HERD_DONE);
    expect_late();

    start(HERD_GETLEASE);
    assert_int_equal(answer("*4\r\n+state\r\n+negative\r\n+value\r\n$-1\r\n"), HERD_DONE);
    assert_true(r.strange);
}

static void win_the_lock(void)
{
    start(HERD_LOCK);
    expect_words("GET k");
    assert_int_equal(answer("$-1\r\n"), HERD_SEND);
    expect_words("SET k:lock 77 NX PX 3000");
    assert_int_equal(answer("+OK\r\n"), HERD_SEND);
    expect_words("GET k");
}

static void a_lock_is_won_looked_behind_and_given_back(void **state)
{
    (void)state;
    win_the_lock();
    assert_int_equal(answer("$-1\r\n"), HERD_FETCH);
    assert_int_equal(fetched("abc"), HERD_SEND);
    expect_words("SET k abc PX 2000");
    assert_int_equal(answer("+OK\r\n"), HERD_SEND);
    expect_words("DEL k:lock");
    assert_int_equal(answer(":1\r\n"), HERD_DONE);
    expect_filled();

    plan.unlock = HERD_UNLOCK_DELIFEQ;
    win_the_lock(); /* and somebody has filled it in between */
    assert_int_equal(answer("$3\r\nabc\r\n"), HERD_SEND);
    assert_true(r.hit);
    expect_words("DELIFEQ k:lock 77");
    assert_int_equal(answer(":0\r\n"), HERD_DONE);

    plan.unlock = HERD_UNLOCK_EVAL;
    win_the_lock(); /* a failed store gives it back too */
    assert_int_equal(answer("$-1\r\n"), HERD_FETCH);
    assert_int_equal(fetched("abc"), HERD_SEND);
    assert_int_equal(answer("-OOM full\r\n"), HERD_SEND);
    assert_memory_equal(out.data, "*5\r\n$4\r\nEVAL\r\n", 14);
    assert_int_equal(answer(":1\r\n"), HERD_DONE);
    assert_true(r.refused);
    assert_string_equal(r.complaint, "-OOM full");
}

static void a_lost_lock_means_asking_again(void **state)
{
    (void)state;
    start(HERD_LOCK);
    assert_int_equal(answer("$-1\r\n"), HERD_SEND);
    assert_int_equal(answer("$-1\r\n"), HERD_PAUSE);
    assert_int_equal(again(), HERD_SEND);
    expect_words("GET k");
    assert_int_equal(answer("$3\r\nabc\r\n"), HERD_DONE);
    expect_hit("abc", false);
}

static void an_answer_to_something_else_is_strange(void **state)
{
    static const struct {
        enum herd_driver driver;
        const char *answer;
    } CASES[] = {
        {HERD_PLAIN_RESP, "+OK\r\n"},    {HERD_PLAIN_RESP, "*2\r\n+state\r\n+live\r\n"},
        {HERD_PLAIN_TEXT, "STORED\r\n"}, {HERD_PLAIN_TEXT, "LVALUE k 5 0 0\r\n\r\nEND\r\n"},
        {HERD_META, "EN\r\n"},           {HERD_LEASE_GET, "END\r\n"},
        {HERD_GETLEASE, "$-1\r\n"},      {HERD_GETLEASE, "*4\r\n+state\r\n+live\r\n+value\r\n$-1\r\n"},
        {HERD_LOCK, ":1\r\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        start(CASES[i].driver);
        assert_int_equal(answer(CASES[i].answer), HERD_DONE);
        assert_true(r.strange);
        assert_true(r.complaint[0] != '\0');
        assert_false(r.hit);
    }
    start(HERD_GETLEASE);
    assert_int_equal(answer("-ERR unknown command\r\n"), HERD_DONE);
    assert_true(r.refused);
}

static void update(enum herd_driver driver)
{
    out.len = 0;
    herd_write_update(driver, slice_of("k"), slice_of("abc"), &plan, &out);
}

static void updates(void **state)
{
    (void)state;
    update(HERD_LOCK);
    expect_words("DEL k");
    update(HERD_LEASE_GET);
    expect_sent("delete k\r\n");
    update(HERD_META);
    expect_sent("md k\r\n");
    plan.update = HERD_UPDATE_INVALIDATE;
    update(HERD_GETLEASE);
    expect_words("INVALIDATE k");
    update(HERD_META_BLIND);
    expect_sent("md k I\r\n");
    assert_false(herd_driver_can_update(HERD_PLAIN_RESP, HERD_UPDATE_INVALIDATE));
    assert_false(herd_driver_can_update(HERD_LEASE_GET, HERD_UPDATE_INVALIDATE));
    plan.update = HERD_UPDATE_SET;
    update(HERD_PLAIN_RESP);
    expect_words("SET k abc PX 2000");
    update(HERD_PLAIN_TEXT);
    expect_sent("set k 0 2 3\r\nabc\r\n");
    update(HERD_META);
    expect_sent("ms k 3 T2\r\nabc\r\n");
    out.len = 0;
    herd_write_clear(HERD_LOCK, slice_of("k"), &out);
    expect_words("DEL k k:lock");
    out.len = 0;
    herd_write_clear(HERD_PLAIN_TEXT, slice_of("k"), &out);
    expect_sent("delete k\r\n");
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup(name, set_up)
    const struct CMUnitTest tests[] = {
        CASE(names),
        CASE(plain_resp),
        CASE(plain_text),
        CASE(meta),
        CASE(marked_values_are_for_those_who_take_them),
        CASE(lease_get),
        CASE(getlease),
        CASE(a_lock_is_won_looked_behind_and_given_back),
        CASE(a_lost_lock_means_asking_again),
        CASE(an_answer_to_something_else_is_strange),
        CASE(updates),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
