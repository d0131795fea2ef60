/* test_settle.c - what fetches and writes leave in the store and in the outcomes: a
 * whole server without its threads, whose origin thread is the test. */
#include "tests/unit/server/origin/fake.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/herd/lease.h"
#include "server/log.h"
#include "server/origin/writes.h"
#include "server/server.h"
#include "server/worker.h"

static struct server *server;
static struct origins *os;
static struct origin *origin;
static struct fake *fake;
static struct exec *x;
static struct key key;

enum { LENGTH = 5000, TTL_S = 100, GRACE_MS = 30000 };

static char dir[32], socket_path[48];

static void set(char **option, const char *value)
{
    free(*option);
    *option = strdup(value);
    assert_non_null(*option);
}

static int open_with(const char *rule)
{
    struct options options;

    now_ms = 0;
    options_defaults(&options);
    options.port = options.memcache_port = 0;
    options.threads = 1;
    options.maxmemory = 64 << 20;
    set(&options.origin, rule);
    snprintf(dir, sizeof dir, "/tmp/test_settle.XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(socket_path, sizeof socket_path, "%s/socket", dir);
    set(&options.unixsocket, socket_path); /* it has to listen somewhere */
    if ((server = server_new(&options)) == NULL)
        return -1;
    now_ms = 1700000000000;
    os = server->origins;
    origin = os->all[0];
    fake = fake_new(origin);
    x = &server->workers[0]->exec;
    x->now = clock_now();
    key = store_key(server->store, slice_of("item:1"));
    return 0;
}

static int open_reading(void **state)
{
    (void)state;
    return open_with("item:* redis://127.0.0.1:1 ttl 100 grace 30000 negative-ttl 0 retries 0");
}

static int open_remembering(void **state)
{
    (void)state;
    return open_with("item:* redis://127.0.0.1:1 negative-ttl 7 retries 0");
}

static int open_behind(void **state)
{
    (void)state;
    return open_with("item:* redis://127.0.0.1:1 ttl 100 write behind");
}

static int close_all(void **state)
{
    (void)state;
    assert_int_equal(fake->len, 0);
    store_check(server->store);
    server_free(&server);
    unlink(socket_path);
    return rmdir(dir);
}

static void turn(int64_t ms)
{
    now_ms += ms;
    x->now = clock_now();
    timers_run(&os->timers, clock_now());
    writes_pump(os->writes);
    origin_pump(origin);
}

/* ---- the key ---- */

static struct store_edit edit;

static void begin(void)
{
    store_edit_begin(server->store, x->local, &key, x->now, &edit);
}

static enum lease_state state_now(void)
{
    enum lease_state state;

    begin();
    state = lease_state(&edit);
    store_edit_end(&edit);
    return state;
}

static bool lease_out(void)
{
    bool out;

    begin();
    out = lease_is_out(&edit);
    store_edit_end(&edit);
    return out;
}

static void is_here(const char *value)
{
    begin();
    assert_int_equal(lease_state(&edit), LEASE_LIVE);
    assert_true(slice_equals(edit.value, slice_of(value)));
    store_edit_end(&edit);
}

static int64_t left_ms(void)
{
    int64_t left;

    begin();
    left = since(edit.expires, x->now).ms;
    store_edit_end(&edit);
    return left;
}

static void put(const char *value, int64_t ttl_ms, uint32_t grace_ms)
{
    struct store_value v = {
        .head = slice_of(value), .expires = after(x->now, (span){ttl_ms}), .herd.grace_ms = grace_ms};

    begin();
    assert_int_equal(store_edit_put(&edit, &v), STORE_OK);
    store_edit_end(&edit);
}

static struct fetch *fetch_begun(void)
{
    struct fetch *f = origins_fetch_new(os, origin, &key);

    assert_non_null(f);
    origin_pin(origin);
    begin();
    assert_int_equal(lease_take(&edit, LENGTH, &f->token), LEASE_GRANTED);
    store_edit_end(&edit);
    return f;
}

static void settle(struct fetch *f, struct answer answer)
{
    origins_settle(f, &answer);
    origins_fetch_free(&f);
}

/* What those who waited would be told, as "failed: why", "absent", "value: ..." or "nothing". */
static const char *told(void)
{
    static char text[256];
    struct outcome o;

    if (!outcomes_get(os->outcomes, key.db, (struct slice){key.data, key.len}, origin_ticks_ms(), &o))
        return "nothing";
    switch (o.kind) {
    case OUTCOME_FAILED: snprintf(text, sizeof text, "failed: %s", o.why); break;
    case OUTCOME_ABSENT: return "absent";
    case OUTCOME_VALUE:
        snprintf(text, sizeof text, "value: %.*s", (int)o.value->capacity, (const char *)o.value->data);
        blob_unpin(&o.value);
        break;
    }
    return text;
}

#define VALUE(text) .kind = ANSWER_VALUE, .value = slice_of(text)

/* ---- fetches ---- */

static void a_value_is_stored_for_the_rules_time(void **state)
{
    (void)state;
    settle(fetch_begun(), (struct answer){VALUE("v")});
    is_here("v");
    assert_int_equal(left_ms(), TTL_S * 1000);
    assert_false(lease_out());
    assert_string_equal(told(), "nothing");
    turn(TTL_S * 1000 + 1);
    assert_int_equal(state_now(), LEASE_STALE);
    turn(GRACE_MS);
    assert_int_equal(state_now(), LEASE_ABSENT);
}

static void the_origins_word_is_more_than_the_rules(void **state)
{
    (void)state;
    settle(fetch_begun(), (struct answer){VALUE("v"), .has_max_age = true, .max_age_s = 7, .stale_s = 3});
    assert_int_equal(left_ms(), 7000);
    begin();
    assert_true(grace_revalidates(edit.herd.grace_ms));
    store_edit_end(&edit);
}

static void what_must_not_be_kept_is_told_to_those_who_waited(void **state)
{
    (void)state;
    for (int no_store = 0; no_store < 2; no_store++) {
        settle(fetch_begun(),
               (struct answer){VALUE("v"), .no_store = no_store != 0, .has_max_age = !no_store});
        assert_int_equal(state_now(), LEASE_ABSENT);
        assert_string_equal(told(), "value: v");
    }
    now_ms += OUTCOMES_MS;
    assert_string_equal(told(), "nothing");
}

static void a_value_that_comes_too_late_is_thrown_away(void **state)
{
    struct fetch *f;

    (void)state;
    f = fetch_begun();
    begin();
    store_edit_drop(&edit);
    store_edit_end(&edit);
    settle(f, (struct answer){VALUE("old")});
    assert_int_equal(state_now(), LEASE_ABSENT);
    f = fetch_begun();
    put("new", 1000, 0);
    settle(f, (struct answer){VALUE("old")});
    is_here("new");
    turn(2000);
    f = fetch_begun();
    turn(LENGTH + 1);
    settle(f, (struct answer){VALUE("old")});
    assert_int_equal(state_now(), LEASE_ABSENT);
    assert_int_equal(atomic_load(&origin->counts.late), 3);
}

static void none_is_told_and_what_was_kept_goes(void **state)
{
    struct fetch *f;

    (void)state;
    put("old", 10, GRACE_MS);
    turn(20);
    assert_int_equal(state_now(), LEASE_STALE);
    f = fetch_begun();
    settle(f, (struct answer){.kind = ANSWER_ABSENT});
    assert_int_equal(state_now(), LEASE_ABSENT);
    assert_string_equal(told(), "absent");
}

static void none_is_remembered_if_the_rule_says_so(void **state)
{
    (void)state;
    settle(fetch_begun(), (struct answer){.kind = ANSWER_ABSENT});
    assert_int_equal(state_now(), LEASE_NEGATIVE);
    assert_int_equal(left_ms(), 7000);
    turn(7001);
    assert_int_equal(state_now(), LEASE_ABSENT);
}

static void after_a_failure_the_lease_is_free_and_the_stale_value_stays(void **state)
{
    static const enum answer_kind kinds[] = {ANSWER_FAILED, ANSWER_REFUSED};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        put("old", 10, GRACE_MS);
        turn(20);
        settle(fetch_begun(), (struct answer){.kind = kinds[i], .why = "no"});
        assert_int_equal(state_now(), LEASE_STALE);
        assert_false(lease_out());
        assert_string_equal(told(), "failed: no");
    }
}

static void a_new_fetch_makes_forget_how_the_last_one_ended(void **state)
{
    struct fetch *f;

    (void)state;
    settle(fetch_begun(), (struct answer){.kind = ANSWER_FAILED, .why = "no"});
    f = fetch_begun();
    origins_submit(f, f->token);
    assert_string_equal(told(), "nothing");
    os->inbox = os->inbox_last = NULL;
    settle(f, (struct answer){VALUE("v")});
    is_here("v");
}

/* ---- writes behind ---- */

static void write_behind(const char *value)
{
    struct wanted_write wanted = {.kind = value != NULL ? CALL_SET : CALL_DELETE};
    enum store_status why = STORE_OK;
    bool found;

    if (value != NULL)
        wanted.value = slice_of(value);
    assert_int_equal(writes_behind(os->writes, x, &key, origin, &wanted, &why, &found), BEHIND_ACCEPTED);
}

static void is_sent(enum call_kind kind, const char *value)
{
    const struct call *call = fake_asked(fake);

    assert_non_null(call);
    assert_int_equal(fake->len, 1);
    assert_int_equal(call->kind, kind);
    if (kind == CALL_SET)
        assert_true(slice_equals(call->value, slice_of(value)));
}

static void acknowledge(void)
{
    fake_answer(fake, fake_asked(fake), (struct answer){.kind = ANSWER_DONE});
    turn(0);
}

static void writes_are_sent_one_by_one_and_only_the_last_that_waits(void **state)
{
    (void)state;
    write_behind("1");
    is_here("1");
    turn(0);
    is_sent(CALL_SET, "1");
    write_behind("2");
    write_behind(NULL);
    write_behind("3");
    turn(0);
    is_sent(CALL_SET, "1");
    is_here("3");
    acknowledge();
    is_sent(CALL_SET, "3");
    assert_true(writes_some(os->writes));
    acknowledge();
    assert_null(fake_asked(fake));
    assert_false(writes_some(os->writes));
    assert_int_equal(writes_bytes(os->writes), 0);
    assert_int_equal(atomic_load(&origin->counts.writes), 2);
    assert_int_equal(atomic_load(&origin->counts.writes_coalesced), 2);
}

static void what_fails_is_tried_again_and_what_is_refused_is_lost(void **state)
{
    (void)state;
    write_behind("1");
    turn(0);
    for (unsigned i = 0; i < 3; i++) {
        fake_answer(fake, fake_asked(fake), (struct answer){.kind = ANSWER_FAILED, .why = "down"});
        for (unsigned tries = 0; fake_asked(fake) == NULL; tries++) {
            assert_true(tries < 1000);
            turn(10);
        }
        is_sent(CALL_SET, "1");
    }
    is_here("1");
    fake_answer(fake, fake_asked(fake), (struct answer){.kind = ANSWER_REFUSED, .why = "no"});
    turn(0);
    assert_int_equal(state_now(), LEASE_ABSENT); /* what is here the origin has not */
    assert_int_equal(atomic_load(&origin->counts.writes_lost), 1);
    assert_false(writes_some(os->writes));
}

static void what_waits_is_read_from_here(void **state)
{
    struct fetch *f;

    (void)state;
    assert_false(writes_hold(os->writes, &key));
    write_behind("1");
    turn(0);
    begin();
    store_edit_drop(&edit); /* evicted */
    store_edit_end(&edit);
    assert_true(writes_hold(os->writes, &key));
    f = fetch_begun();
    assert_true(writes_answer(os->writes, f));
    origins_fetch_free(&f);
    is_here("1");
    acknowledge();
    assert_false(writes_hold(os->writes, &key));

    write_behind(NULL);
    turn(0);
    f = fetch_begun();
    assert_true(writes_answer(os->writes, f));
    origins_fetch_free(&f);
    assert_string_equal(told(), "absent");
    acknowledge();
}

static void what_is_left_at_the_end_is_given_up(void **state)
{
    (void)state;
    write_behind("1");
    turn(0);
    write_behind("2");
    writes_give_up(os->writes);
    assert_false(writes_some(os->writes));
    assert_int_equal(fake->cancelled, 1);
    assert_int_equal(atomic_load(&origin->counts.writes_lost), 2);
    assert_int_equal(state_now(), LEASE_ABSENT);
}

int main(void)
{
#define READING(test)     cmocka_unit_test_setup_teardown(test, open_reading, close_all)
#define REMEMBERING(test) cmocka_unit_test_setup_teardown(test, open_remembering, close_all)
#define BEHIND(test)      cmocka_unit_test_setup_teardown(test, open_behind, close_all)
    const struct CMUnitTest tests[] = {
        READING(a_value_is_stored_for_the_rules_time),
        READING(the_origins_word_is_more_than_the_rules),
        READING(what_must_not_be_kept_is_told_to_those_who_waited),
        READING(a_value_that_comes_too_late_is_thrown_away),
        READING(none_is_told_and_what_was_kept_goes),
        REMEMBERING(none_is_remembered_if_the_rule_says_so),
        READING(after_a_failure_the_lease_is_free_and_the_stale_value_stays),
        READING(a_new_fetch_makes_forget_how_the_last_one_ended),
        BEHIND(writes_are_sent_one_by_one_and_only_the_last_that_waits),
        BEHIND(what_fails_is_tried_again_and_what_is_refused_is_lost),
        BEHIND(what_waits_is_read_from_here),
        BEHIND(what_is_left_at_the_end_is_given_up),
    };

    assert_true(log_open("/dev/null"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
