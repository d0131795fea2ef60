#include "server/herd/herd.h"

#include <stdlib.h>
#include <sys/random.h>

#include "server/changes.h"
#include "server/herd/herd_private.h"
#include "server/herd/protect.h"
#include "server/park.h"
#include "server/post.h"

enum { WAKE_TOGETHER = 64 }; /* addresses to a letter */

bool herd_init(struct server *server)
{
    struct herd *h = calloc(1, sizeof *h);
    uint64_t seed = 0;

    if (h == NULL)
        return false;
    server->herd = h;
    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) != sizeof seed)
        seed = (uint64_t)clock_now_us();
    return (h->fills = fills_new(seed)) != NULL && (h->waiters = waiters_new()) != NULL &&
           (h->tallies = calloc(TALLIES, sizeof *h->tallies)) != NULL;
}

void herd_free(struct server *server)
{
    struct herd *h = server->herd;

    if (h == NULL)
        return;
    protect_free(server);
    fills_free(&h->fills);
    waiters_free(&h->waiters);
    free(h->tallies);
    free(h);
    server->herd = NULL;
}

/* ---- leases ---- */

uint32_t herd_lease_ms(struct exec *x, struct slice name)
{
    struct fills_bounds bounds = {.min_ms = (uint32_t)option_live(x->options, lease_min_ms),
                                  .max_ms = (uint32_t)option_live(x->options, lease_max_ms),
                                  .default_ms = (uint32_t)option_live(x->options, lease_default_ms)};

    return fills_lease_ms(x->server->herd->fills, name, &bounds);
}

void herd_note_granted(struct exec *x, struct slice name)
{
    struct tally *t = herd_tally(x->server, name);

    counter_add(x->counters, herd_fetches, 1);
    if (t != NULL)
        tally_add(&t->fetches, 1);
    x->session->waiter.granted = x->session->waiter.ticket != 0;
}

void herd_note_expired(struct exec *x, struct slice name)
{
    struct tally *t = herd_tally(x->server, name);

    counter_add(x->counters, herd_leases_expired, 1);
    if (t != NULL)
        tally_add(&t->expired, 1);
    if (fills_note_expired(x->server->herd->fills, name))
        counter_add(x->counters, herd_parking_stopped, 1);
}

/* Before a lease is taken: whether the one before ran out. Returns how long this one shall last. */
static uint32_t next_lease_ms(struct exec *x, const struct store_edit *edit)
{
    if (edit->lapsed || edit->herd.token != 0)
        herd_note_expired(x, herd_name(edit));
    return herd_lease_ms(x, herd_name(edit));
}

static enum lease_answer note_answer(struct exec *x, const struct store_edit *edit, enum lease_answer answer)
{
    if (answer == LEASE_GRANTED)
        herd_note_granted(x, herd_name(edit));
    return answer;
}

enum lease_answer herd_take(struct exec *x, struct store_edit *edit, uint64_t *token)
{
    if (lease_is_out(edit))
        return LEASE_HELD;
    return note_answer(x, edit, lease_take(edit, next_lease_ms(x, edit), token));
}

enum lease_answer herd_win(struct exec *x, struct store_edit *edit, uint64_t *token)
{
    if (lease_is_out(edit))
        return LEASE_HELD;
    return note_answer(x, edit, lease_win(edit, next_lease_ms(x, edit), token));
}

enum lease_answer herd_vivify(struct exec *x, struct store_edit *edit, const struct store_value *value,
                              uint64_t *token)
{
    int64_t left = since(value->expires, x->now).ms;
    uint32_t length_ms;

    if (lease_is_out(edit))
        return LEASE_HELD;
    length_ms = next_lease_ms(x, edit);
    if (value->expires.ms != 0 && left < length_ms)
        length_ms = left > 0 ? (uint32_t)left : 1;
    return note_answer(x, edit, lease_vivify(edit, length_ms, *value, token));
}

void herd_note_filled(struct exec *x, struct slice name, uint32_t took_ms)
{
    counter_add(x->counters, herd_fills, 1);
    fills_note(x->server->herd->fills, name, took_ms);
}

void herd_note_late(struct exec *x, struct slice name)
{
    struct tally *t = herd_tally(x->server, name);

    counter_add(x->counters, herd_late_fills, 1);
    if (t != NULL)
        tally_add(&t->late, 1);
}

void herd_note_stale_served(struct exec *x, struct slice name)
{
    struct tally *t = herd_tally(x->server, name);

    counter_add(x->counters, herd_stale_served, 1);
    counter_add(x->counters, herd_fetches_avoided, 1);
    if (t == NULL)
        return;
    tally_add(&t->stale, 1);
    tally_add(&t->avoided, 1);
}

/* ---- waiting ---- */

static void wake(struct server *server, uint64_t who)
{
    post_address to = who;

    if (who != 0)
        post_later(server, LETTER_WAKE, NULL, 0, &to, 1);
}

/* It is in no queue any more. */
static void left(struct server *server, struct waiter *w)
{
    changes_unwant(server, CHANGES_HERD);
    if (w->tally != NULL)
        tally_add(&w->tally->parked_now, (uint64_t)-1);
    w->tally = NULL;
}

static void joined_now(struct exec *x, struct waiter *w, const struct store_edit *edit)
{
    changes_want_here(x->server, CHANGES_HERD, edit);
    if ((w->tally = herd_tally(x->server, herd_name(edit))) != NULL)
        tally_add(&w->tally->parked_now, 1);
}

static void leave(struct server *server, struct waiter *w)
{
    if (!w->joined)
        return;
    wake(server, waiters_leave(server->herd->waiters, w));
    left(server, w);
}

static bool give_up(struct exec *x)
{
    x->session->waiter.gave_up = x->session->waiter.ticket != 0;
    return false;
}

bool herd_wait(struct exec *x, const struct store_edit *edit, uint32_t most_ms)
{
    struct session *s = x->session;
    struct waiter *w = &s->waiter;
    bool again = exec_outcome(x) != PARK_FRESH, joined;
    instant limit = after(again ? s->parked_first : x->now, (span){most_ms});
    enum waiters_answer answer;

    if (!exec_may_park(x) || !is_before(x->now, limit) || exec_outcome(x) == PARK_TIMED_OUT ||
        exec_outcome(x) == PARK_UNBLOCKED)
        return give_up(x);
    if (!waiters_is_at(w, edit->key.hash, edit->key.db))
        leave(x->server, w); /* another of its keys */
    if (!(joined = w->joined))
        w->who = address_of(s); /* others read it while it has */
    answer = waiters_join(x->server->herd->waiters, w, edit->key.hash, edit->key.db,
                          (uint64_t)option_live(x->options, herd_waiters_max),
                          (uint32_t)option_live(x->options, herd_waiters_per_key));
    if (joined && !w->joined)
        left(x->server, w);
    if (answer == WAITERS_FULL) {
        counter_add(x->counters, herd_waiters_refused, 1);
        if (!again)
            w->ticket = 0; /* it is answered at once, and was never parked */
        return give_up(x);
    }
    if (!joined)
        joined_now(x, w, edit);
    if (!again) {
        counter_add(x->counters, herd_parked, 1);
        if (w->tally != NULL)
            tally_add(&w->tally->parked, 1);
    }
    exec_park_look(x, (span){most_ms}, answer == WAITERS_FIRST ? lease_end(edit) : (instant){0});
    return true;
}

void herd_answered_slowly(struct exec *x)
{
    struct waiter *w = &x->session->waiter;
    int64_t ms = since(x->now, x->session->parked_first).ms;

    tally_wait(x->server->herd->waits, ms);
    if (!w->granted && !w->gave_up)
        counter_add(x->counters, herd_fetches_avoided, 1);
    if (w->tally != NULL) {
        tally_wait(w->tally->waits, ms);
        tally_add(&w->tally->avoided, !w->granted && !w->gave_up);
    }
    leave(x->server, w);
    w->ticket = 0;
    w->granted = w->gave_up = false;
}

void herd_leave(struct server *server, struct session *session)
{
    leave(server, &session->waiter);
}

/* ---- hearing of changes ---- */

void herd_changed(struct server *server, uint8_t db, struct slice name, bool written)
{
    struct waiters *t = server->herd->waiters;
    uint64_t hash = store_key_in(server->store, db, name).hash;
    post_address who[WAKE_TOGETHER];
    size_t n;

    if (!written) {
        wake(server, waiters_first(t, hash, db));
        return;
    }
    do {
        n = waiters_take(t, hash, db, who, WAKE_TOGETHER);
        post_later(server, LETTER_WAKE, NULL, 0, who, n);
    } while (n == WAKE_TOGETHER);
}

static void wake_one(void *server, uint64_t who)
{
    wake(server, who);
}

void herd_flushed(struct server *server, int db)
{
    waiters_each_first(server->herd->waiters, db, wake_one, server);
}
