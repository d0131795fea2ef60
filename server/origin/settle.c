/* settle.c - what a fetch brought, put where its readers will find it. */
#include "server/check.h"
#include "server/gate.h"
#include "server/herd/herd.h"
#include "server/origin/origins_private.h"
#include "server/server.h"

enum { GRACE_MAX_S = 604800 };

static bool leave_outcome(struct fetch *f, struct outcome *outcome)
{
    struct origins *os = f->origins;
    struct slice name = {f->name, f->len};
    bool left;

    pthread_mutex_lock(&os->lock);
    left = outcomes_put(os->outcomes, f->db, name, outcome, origin_ticks_ms());
    pthread_mutex_unlock(&os->lock);
    return left;
}

/* For those who waited alone: it is not kept. */
static void leave_value(struct fetch *f, struct slice value)
{
    struct outcome outcome = {.kind = OUTCOME_VALUE, .value = blob_new(value.len)};

    if (outcome.value == NULL) {
        outcome.kind = OUTCOME_FAILED;
        snprintf(outcome.why, sizeof outcome.why, "out of memory");
    } else if (value.len > 0) {
        memcpy(outcome.value->data, value.data, value.len);
    }
    leave_outcome(f, &outcome);
}

/* For how long it is kept beyond its time. The origin's word is more than the rule's. */
static uint32_t grace_ms(const struct origin_rule *rule, const struct answer *answer)
{
    uint32_t ms = (uint32_t)rule->grace_ms;

    if (answer->stale_s > 0)
        return (uint32_t)(answer->stale_s < GRACE_MAX_S ? answer->stale_s : GRACE_MAX_S) * SECOND_MS +
               GRACE_REVALIDATES_MS;
    return grace_revalidates(ms) ? ms - 1 : ms;
}

/* What is to be stored; false: nothing is. */
static bool shape_value(const struct origin_rule *rule, const struct answer *answer, instant now,
                        struct store_value *out)
{
    int64_t ttl_ms = (int64_t)rule->ttl_s * 1000;

    *out = (struct store_value){.head = answer->value};
    if (answer->kind == ANSWER_ABSENT) {
        out->head = (struct slice){(const uint8_t *)"", 0};
        out->state = ITEM_NEGATIVE;
        out->expires = after(now, (span){(int64_t)rule->negative_ttl_s * 1000});
        return rule->negative_ttl_s > 0;
    }
    if (answer->no_store || (answer->has_max_age && answer->max_age_s <= 0))
        return false;
    if (answer->has_max_age)
        ttl_ms = answer->max_age_s * 1000;
    if (ttl_ms > 0) {
        out->expires = after(now, (span){ttl_ms});
        out->herd.grace_ms = grace_ms(rule, answer);
    }
    return true;
}

/* A value. What wakes readers comes last in each of these: they look at once. */
static void fill(struct fetch *f, struct store_edit *edit, const struct answer *answer)
{
    enum lease_fill done = FILL_REFUSED;
    enum store_status why = STORE_OK;
    struct store_value value;
    uint32_t took;

    if (shape_value(&f->job.origin->rule, answer, edit->now, &value))
        done = lease_fill(edit, f->token, value, &why, &took);
    if (done == FILL_STORED)
        return;
    leave_value(f, answer->value);
    lease_give_back(edit, f->token);
}

/* There is none. Even if that is to be remembered, the store may have no room for it. */
static void fill_absent(struct fetch *f, struct store_edit *edit, const struct answer *answer)
{
    enum store_status why = STORE_OK;
    struct store_value value;
    uint32_t took;

    leave_outcome(f, &(struct outcome){.kind = OUTCOME_ABSENT});
    if (shape_value(&f->job.origin->rule, answer, edit->now, &value) &&
        lease_fill(edit, f->token, value, &why, &took) == FILL_STORED)
        return;
    store_edit_drop(edit); /* it may be there out of time: it is not to be served any more */
}

static void fail(struct fetch *f, struct store_edit *edit, const struct answer *answer)
{
    struct outcome outcome = {.kind = OUTCOME_FAILED};

    snprintf(outcome.why, sizeof outcome.why, "%s", answer->why);
    leave_outcome(f, &outcome);
    lease_give_back(edit, f->token);
}

void origins_settle(struct fetch *f, const struct answer *answer)
{
    struct origin *o = f->job.origin;
    struct server *server = f->origins->server;
    struct slice name = {f->name, f->len};
    struct key key = store_key_in(server->store, f->db, name);
    struct store_edit edit;

    gate_visit(server->gate);
    store_edit_begin(server->store, f->origins->local, &key, clock_now(), &edit);
    if (!lease_is_out(&edit) || edit.herd.token != f->token) {
        origin_count(o, late); /* whoever changed the key has woken those who waited */
    } else {
        if (answer->kind == ANSWER_VALUE)
            fill(f, &edit, answer);
        else if (answer->kind == ANSWER_ABSENT)
            fill_absent(f, &edit, answer);
        else
            fail(f, &edit, answer);
        herd_changed(server, f->db, name, true);
    }
    store_edit_end(&edit);
    gate_depart(server->gate);
    if (answer->kind == ANSWER_VALUE)
        origin_count(o, hits);
    if (answer->kind == ANSWER_ABSENT)
        origin_count(o, absent);
}
