/* fake.h - a clock that the test turns, and an origin that answers when and what the
 * test says. For one file of a program: clock.c is not linked, as its functions are here. */
#ifndef CORRAL_TESTS_ORIGIN_FAKE_H
#define CORRAL_TESTS_ORIGIN_FAKE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

#include "server/origin/origin.h"

/* ---- the clock ---- */

static int64_t now_ms;

instant clock_now(void)
{
    return (instant){now_ms};
}

int64_t clock_now_us(void)
{
    return now_ms * 1000;
}

int64_t clock_ticks_ms(void)
{
    return now_ms;
}

/* Until it is set, the real one: a server that is made measures its ticks by it. */
int64_t clock_ticks_ns(void)
{
    struct timespec ts;

    if (now_ms != 0)
        return now_ms * 1000000;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* Nobody sets it. */
int64_t clock_watch_step(struct clock_watch *watch, instant wall, int64_t ticks_ms)
{
    (void)watch, (void)wall, (void)ticks_ms;
    return 0;
}

int64_t clock_moved(int64_t noted_ms, int64_t step_ms, int64_t at_ms)
{
    (void)step_ms, (void)at_ms;
    return noted_ms;
}

/* ---- the origin ---- */

enum { CALLS_MAX = 64 };

struct fake {
    struct backend backend; /* first */
    struct call *calls[CALLS_MAX];
    unsigned len; /* under way */
    unsigned started, cancelled;
};

static inline void take_off(struct fake *f, const struct call *call)
{
    unsigned i = 0;

    while (f->calls[i] != call)
        assert_true(++i < f->len);
    f->calls[i] = f->calls[--f->len];
}

static void fake_start(struct backend *backend, struct call *call)
{
    struct fake *f = (struct fake *)backend;

    assert_true(f->len < CALLS_MAX);
    call->handle = f;
    f->calls[f->len++] = call;
    f->started++;
}

static void fake_cancel(struct backend *backend, struct call *call)
{
    struct fake *f = (struct fake *)backend;

    take_off(f, call);
    f->cancelled++;
}

static void fake_free(struct backend *backend)
{
    free(backend);
}

static const struct backend_type fake_type = {fake_start, fake_cancel, fake_free};

/* The origin's from now on. */
static inline struct fake *fake_new(struct origin *origin)
{
    struct fake *f = calloc(1, sizeof *f);

    assert_non_null(f);
    f->backend.type = &fake_type;
    origin->backend = &f->backend;
    return f;
}

/* What it is asked first; NULL: nothing. */
static inline struct call *fake_asked(const struct fake *f)
{
    return f->len > 0 ? f->calls[0] : NULL;
}

static inline void fake_answer(struct fake *f, struct call *call, struct answer answer)
{
    take_off(f, call);
    call_end(call, &answer);
}

#endif
