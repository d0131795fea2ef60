/* test_origin.c - what becomes of jobs, on a clock that the test turns and with an
 * origin that answers when and what the test says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "server/log.h"
#include "server/origin/backoff.h"
#include "server/origin/origin.h"
#include "tests/unit/server/origin/fake.h"

/* ---- jobs ---- */

struct rig {
    struct options options;
    struct timers timers;
    struct origin *origin;
    struct fake *fake;
};

struct asked {
    struct job job; /* first */
    unsigned ended;
    enum answer_kind kind;
    char why[64];
    int64_t began_ms, ended_ms;
};

static void on_ended(struct job *job, const struct answer *answer)
{
    struct asked *a = (struct asked *)job;

    a->ended++;
    a->kind = answer->kind;
    a->ended_ms = now_ms;
    snprintf(a->why, sizeof a->why, "%s", answer->why != NULL ? answer->why : "");
}

/* As the rule below has it, and the options. */
enum {
    TIMEOUT_MS = 100,
    RETRIES = 2,
    IN_FLIGHT = 2,
    BASE_MS = 10,
    MOST_MS = 80,
    FAILURES = 4,
    OPEN_MS = 1000
};

static void rig_open(struct rig *r)
{
    char err[128];
    struct origin_rules *rules =
        origin_rules_new("* redis://127.0.0.1:1 timeout 100 retries 2 in-flight 2", err, sizeof err);

    *r = (struct rig){0};
    now_ms = 1000000;
    r->options.origin_retry_base_ms = BASE_MS;
    r->options.origin_retry_max_ms = MOST_MS;
    r->options.origin_breaker_failures = FAILURES;
    r->options.origin_breaker_open_ms = OPEN_MS;
    r->options.origin_queue_limit = 100;
    assert_non_null(rules);
    r->origin = origin_new(&rules, &r->options, NULL, &r->timers);
    assert_non_null(r->origin);
    r->fake = fake_new(r->origin);
}

/* Nothing is left behind. */
static void rig_close(struct rig *r)
{
    assert_int_equal(r->fake->len, 0);
    assert_int_equal(atomic_load(&r->origin->jobs), 0);
    assert_int_equal(r->origin->bulkhead.inside, 0);
    assert_int_equal(r->origin->bulkhead.waiting, 0);
    assert_false(timers_some(&r->timers));
    origin_unpin(&r->origin);
    timers_free(&r->timers);
}

static void ask(struct rig *r, struct asked *a, bool patient)
{
    *a = (struct asked){
        .job.origin = r->origin, .job.ended = on_ended, .job.patient = patient, .began_ms = now_ms};
    if (!patient)
        assert_int_equal(origin_reserve(r->origin), PLACE_KEPT);
    origin_begin(&a->job);
    origin_pump(r->origin);
}

static void answer(struct rig *r, struct asked *a, enum answer_kind kind)
{
    struct answer given = {.kind = kind,
                           .why = kind == ANSWER_FAILED || kind == ANSWER_REFUSED ? "no" : NULL};

    take_off(r->fake, &a->job.call);
    call_end(&a->job.call, &given);
    origin_pump(r->origin);
}

static bool is_asked(const struct rig *r, const struct asked *a)
{
    for (unsigned i = 0; i < r->fake->len; i++) {
        if (r->fake->calls[i] == &a->job.call)
            return true;
    }
    return false;
}

/* Timer by timer, as the thread's loop does. */
static void pass(struct rig *r, int64_t ms)
{
    int64_t until = now_ms + ms;

    while (timers_some(&r->timers) && timers_next(&r->timers).ms <= until) {
        if (timers_next(&r->timers).ms > now_ms)
            now_ms = timers_next(&r->timers).ms;
        timers_run(&r->timers, (instant){now_ms});
        origin_pump(r->origin);
    }
    now_ms = until;
}

#define COUNTED(r, name) ((unsigned)atomic_load(&(r)->origin->counts.name))

/* ---- what becomes of them ---- */

static void an_answer_ends_a_job(void **state)
{
    static const enum answer_kind kinds[] = {ANSWER_VALUE, ANSWER_ABSENT, ANSWER_DONE, ANSWER_REFUSED};
    struct asked a;
    struct rig r;

    (void)state;
    rig_open(&r);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        ask(&r, &a, false);
        assert_true(is_asked(&r, &a));
        assert_int_equal(atomic_load(&r.origin->in_flight), 1);
        pass(&r, 5);
        answer(&r, &a, kinds[i]);
        assert_int_equal(a.ended, 1);
        assert_int_equal(a.kind, kinds[i]);
    }
    assert_int_equal(r.fake->started, 4); /* what it refused is not tried again */
    assert_int_equal(COUNTED(&r, failures), 1);
    assert_int_equal(COUNTED(&r, retries), 0);
    rig_close(&r);
}

static void so_many_at_once_and_the_others_in_line(void **state)
{
    struct asked a[4];
    struct rig r;

    (void)state;
    rig_open(&r);
    for (unsigned i = 0; i < 4; i++)
        ask(&r, &a[i], false);
    assert_true(is_asked(&r, &a[0]) && is_asked(&r, &a[1]));
    assert_int_equal(r.fake->len, IN_FLIGHT);
    answer(&r, &a[1], ANSWER_VALUE);
    assert_true(is_asked(&r, &a[2]) && !is_asked(&r, &a[3]));
    answer(&r, &a[0], ANSWER_VALUE);
    answer(&r, &a[3], ANSWER_VALUE);
    answer(&r, &a[2], ANSWER_VALUE);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(a[i].ended, 1);
    rig_close(&r);
}

static void a_try_that_takes_too_long_is_cancelled_and_made_again(void **state)
{
    struct asked a;
    struct rig r;

    (void)state;
    rig_open(&r);
    ask(&r, &a, false);
    pass(&r, TIMEOUT_MS - 1);
    assert_int_equal(r.fake->cancelled, 0);
    pass(&r, 1);
    assert_int_equal(r.fake->cancelled, 1);
    assert_int_equal(a.ended, 0);
    pass(&r, BASE_MS); /* the first back-off is no longer */
    assert_int_equal(r.fake->started, 2);
    answer(&r, &a, ANSWER_VALUE);
    assert_int_equal(a.kind, ANSWER_VALUE);

    ask(&r, &a, false); /* and one that never comes */
    pass(&r, origin_patience_ms(r.origin));
    assert_int_equal(a.ended, 1);
    assert_int_equal(a.kind, ANSWER_FAILED);
    assert_string_equal(a.why, "it took too long");
    assert_int_equal(r.fake->started, 2 + 1 + RETRIES);
    assert_int_equal(COUNTED(&r, timeouts), 2 + RETRIES);
    assert_int_equal(COUNTED(&r, retries), 1 + RETRIES);
    rig_close(&r);
}

static void who_stands_in_line_gives_up_in_time(void **state)
{
    struct asked a[20];
    unsigned in_line = 0;
    struct rig r;

    (void)state;
    rig_open(&r);
    r.options.origin_breaker_failures = 1000000;
    for (unsigned i = 0; i < 20; i++)
        ask(&r, &a[i], false);
    pass(&r, origin_patience_ms(r.origin));
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(a[i].ended, 1);
        in_line += strcmp(a[i].why, "too many requests are ahead") == 0;
    }
    assert_true(in_line > 0 && in_line < 20);
    rig_close(&r);
}

static void after_failures_in_a_row_it_is_left_alone(void **state)
{
    struct asked a;
    struct rig r;

    (void)state;
    rig_open(&r);
    for (unsigned i = 0; i < FAILURES;) {
        ask(&r, &a, false);
        for (; a.ended == 0; i++) {
            answer(&r, &a, ANSWER_FAILED);
            pass(&r, MOST_MS);
        }
        assert_int_equal(a.kind, ANSWER_FAILED);
    }
    assert_int_equal(atomic_load(&r.origin->breaker_shown), BREAKER_OPEN);
    assert_int_equal(origin_reserve(r.origin), PLACE_SHUT);
    assert_int_equal(COUNTED(&r, refused_breaker), 1);

    pass(&r, OPEN_MS);
    ask(&r, &a, false); /* one is let through, and others are not */
    assert_true(is_asked(&r, &a));
    struct asked other;
    ask(&r, &other, false);
    assert_int_equal(other.ended, 1);
    assert_string_equal(other.why, "it has failed too often; asked again soon");
    answer(&r, &a, ANSWER_VALUE);
    assert_int_equal(atomic_load(&r.origin->breaker_shown), BREAKER_CLOSED);
    ask(&r, &other, false);
    answer(&r, &other, ANSWER_VALUE);
    rig_close(&r);
}

static void a_patient_job_goes_on_until_it_is_through(void **state)
{
    unsigned tries = 0;
    struct asked a;
    struct rig r;

    (void)state;
    rig_open(&r);
    ask(&r, &a, true);
    for (; tries < 50; tries++) {
        while (!is_asked(&r, &a))
            pass(&r, 10);
        answer(&r, &a, ANSWER_FAILED);
        assert_int_equal(a.ended, 0);
    }
    while (!is_asked(&r, &a))
        pass(&r, 10);
    answer(&r, &a, ANSWER_DONE);
    assert_int_equal(a.ended, 1);
    assert_int_equal(a.kind, ANSWER_DONE);
    assert_int_equal(COUNTED(&r, failures), 0);
    assert_int_equal(COUNTED(&r, retries), tries);
    rig_close(&r);
}

static void a_job_is_given_up_wherever_it_is(void **state)
{
    struct asked running, other, in_line, backing_off;
    struct rig r;

    (void)state;
    rig_open(&r);
    ask(&r, &backing_off, false);
    answer(&r, &backing_off, ANSWER_FAILED);
    ask(&r, &running, false);
    ask(&r, &other, false);
    ask(&r, &in_line, false);
    assert_int_equal(backing_off.job.state, JOB_BACKING_OFF);
    assert_int_equal(running.job.state, JOB_RUNNING);
    assert_int_equal(in_line.job.state, JOB_IN_LINE);
    job_give_up(&backing_off.job, "over");
    job_give_up(&in_line.job, "over");
    job_give_up(&running.job, "over");
    job_give_up(&other.job, "over");
    assert_int_equal(r.fake->cancelled, 2);
    assert_true(running.ended == 1 && in_line.ended == 1 && backing_off.ended == 1 && other.ended == 1);
    assert_string_equal(running.why, "over");
    rig_close(&r);
}

/* Whatever the origin does, and in whatever order: each job ends once, and in time. */
static void each_job_ends_once_and_in_time(void **state)
{
    enum { JOBS = 40, ROUNDS = 300 };
    struct asked jobs[JOBS];
    struct rig r;

    (void)state;
    srandom(7);
    for (unsigned round = 0; round < ROUNDS; round++) {
        rig_open(&r);
        r.options.origin_breaker_failures = (int)(random() % 20) + 1;
        unsigned begun = 0;
        while (begun < JOBS) {
            if (random() % 2 == 0 && origin_reserve(r.origin) == PLACE_KEPT) {
                origin_unreserve(r.origin);
                ask(&r, &jobs[begun++], false);
            }
            if (r.fake->len > 0 && random() % 2 == 0) {
                struct asked *one = (struct asked *)r.fake->calls[(unsigned long)random() % r.fake->len];

                answer(&r, one, random() % 3 == 0 ? ANSWER_VALUE : ANSWER_FAILED);
            }
            pass(&r, random() % 40);
        }
        pass(&r, origin_patience_ms(r.origin));
        for (unsigned i = 0; i < JOBS; i++) {
            assert_int_equal(jobs[i].ended, 1);
            assert_true(jobs[i].ended_ms - jobs[i].began_ms <= origin_patience_ms(r.origin));
        }
        rig_close(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_ends_a_job),
        cmocka_unit_test(so_many_at_once_and_the_others_in_line),
        cmocka_unit_test(a_try_that_takes_too_long_is_cancelled_and_made_again),
        cmocka_unit_test(who_stands_in_line_gives_up_in_time),
        cmocka_unit_test(after_failures_in_a_row_it_is_left_alone),
        cmocka_unit_test(a_patient_job_goes_on_until_it_is_through),
        cmocka_unit_test(a_job_is_given_up_wherever_it_is),
        cmocka_unit_test(each_job_ends_once_and_in_time),
    };

    assert_true(log_open("/dev/null")); /* a breaker that opens is worth a line each time */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
