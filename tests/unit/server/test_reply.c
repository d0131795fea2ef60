/* test_reply.c - what handlers say, in both protocol versions. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/exec.h"
#include "server/server.h"

static struct server server;
static struct session session;
static struct counters counters;
static struct out out;
static struct exec x = {.server = &server, .session = &session, .counters = &counters, .out = &out};

static int set_up(void **state)
{
    (void)state;
    pthread_mutex_init(&server.errors.lock, NULL);
    return 0;
}

/* Takes what was said, blobs included. */
static void expect(const char *want)
{
    char got[4096];
    struct iovec iov[8];
    size_t len = 0;
    int n = out_iovecs(&out, iov, 8);

    for (int i = 0; i < n; i++) {
        memcpy(got + len, iov[i].iov_base, iov[i].iov_len);
        len += iov[i].iov_len;
    }
    got[len] = '\0';
    out_clear(&out, 1 << 20);
    assert_string_equal(got, want);
}

static void both(void (*say)(void), const char *want2, const char *want3)
{
    session.resp = 2;
    say();
    expect(want2);
    session.resp = 3;
    say();
    expect(want3);
}

static void say_null(void)
{
    reply_null(&x);
}
static void say_null_array(void)
{
    reply_null_array(&x);
}
static void say_map(void)
{
    reply_map(&x, 2);
}
static void say_set(void)
{
    reply_set(&x, 3);
}
static void say_true(void)
{
    reply_bool(&x, true);
}
static void say_double(void)
{
    reply_double(&x, 2.5);
}
static void say_verbatim(void)
{
    reply_verbatim(&x, slice_of("text"));
}

static void versions_differ_where_they_should(void **state)
{
    (void)state;
    both(say_null, "$-1\r\n", "_\r\n");
    both(say_null_array, "*-1\r\n", "_\r\n");
    both(say_map, "*4\r\n", "%2\r\n");
    both(say_set, "*3\r\n", "~3\r\n");
    both(say_true, ":1\r\n", "#t\r\n");
    both(say_double, "$3\r\n2.5\r\n", ",2.5\r\n");
    both(say_verbatim, "$4\r\ntext\r\n", "=8\r\ntxt:text\r\n");
}

static void simple_replies(void **state)
{
    (void)state;
    reply_ok(&x);
    reply_simple(&x, "PONG");
    reply_integer(&x, INT64_MIN);
    reply_bulk(&x, (struct slice){0});
    reply_text(&x, "abc");
    reply_array(&x, 2);
    reply_line(&x, "STORED");
    reply_raw(&x, "raw", 3);
    expect("+OK\r\n+PONG\r\n:-9223372036854775808\r\n$0\r\n\r\n$3\r\nabc\r\n*2\r\nSTORED\r\nraw");
}

static void errors_cannot_break_the_stream_and_are_counted(void **state)
{
    char longer[5000];

    (void)state;
    reply_error(&x, "ERR what is '%.*s'", EXEC_QUOTED(slice_of("a\r\n+OK")));
    expect("-ERR what is 'a  +OK'\r\n");
    reply_error(&x, "WRONGTYPE no");
    reply_wrong_arity(&x, "get");
    reply_syntax_error(&x);
    reply_not_integer(&x);
    expect("-WRONGTYPE no\r\n-ERR wrong number of arguments for 'get' command\r\n-ERR syntax error\r\n"
           "-ERR value is not an integer or out of range\r\n");
    assert_int_equal(server.errors.len, 2);
    assert_string_equal(server.errors.rows[0].code, "ERR");
    assert_int_equal(server.errors.rows[0].count, 4);
    assert_int_equal(server.errors.rows[1].count, 1);

    memset(longer, 'x', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    reply_error(&x, "ERR %s", longer);
    assert_true(out_pending(&out) < 1100);
    assert_memory_equal(out.data + out.len - 3, "x\r\n", 3);
    out_clear(&out, 0);
}

static void an_array_may_learn_its_length_last(void **state)
{
    struct blob *blob = blob_new(4);

    (void)state;
    memcpy(blob->data, "blob", 4);
    reply_ok(&x);
    size_t mark = reply_array_open(&x);
    reply_text(&x, "one");
    reply_bulk_blob(&x, blob, (struct slice){blob->data, 4});
    reply_text(&x, "three");
    reply_array_close(&x, mark, 3);
    reply_array_close(&x, reply_array_open(&x), 0);
    expect("+OK\r\n*3\r\n$3\r\none\r\n$4\r\nblob\r\n$5\r\nthree\r\n*0\r\n");
}

static void refusals_of_the_store_have_their_words(void **state)
{
    (void)state;
    reply_store_refused(&x, STORE_NO_SPACE);
    expect("-OOM command not allowed when used memory > 'maxmemory'.\r\n");
    assert_int_equal(counters.oom_refused, 1);
    reply_store_refused(&x, STORE_TOO_BIG);
    assert_int_equal(counters.too_large, 1);
    out_clear(&out, 0);
}

static int tear_down(void **state)
{
    (void)state;
    out_free(&out);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(versions_differ_where_they_should),
        cmocka_unit_test(simple_replies),
        cmocka_unit_test(errors_cannot_break_the_stream_and_are_counted),
        cmocka_unit_test(an_array_may_learn_its_length_last),
        cmocka_unit_test(refusals_of_the_store_have_their_words),
    };

    return cmocka_run_group_tests_name("reply", tests, set_up, tear_down);
}
