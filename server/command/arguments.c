#include "server/command/arguments.h"

static void reply_bad_expiry(struct exec *x, const char *command)
{
    reply_error(x, "ERR invalid expire time in '%s' command", command);
}

bool read_any_moment(struct exec *x, const char *command, struct slice word, struct moment_form form,
                     instant *out)
{
    int64_t ms;
    int64_t origin = form.absolute ? 0 : x->now.ms;

    if (!slice_to_i64(word, &ms)) {
        reply_not_integer(x);
        return false;
    }
    if (__builtin_mul_overflow(ms, (int64_t)(form.in_seconds ? 1000 : 1), &ms) ||
        __builtin_add_overflow(ms, origin, &ms)) {
        reply_bad_expiry(x, command);
        return false;
    }
    out->ms = ms;
    return true;
}

bool read_expiry(struct exec *x, const char *command, struct slice word, struct moment_form form,
                 instant *out)
{
    if (!read_any_moment(x, command, word, form, out))
        return false;
    /* What is not after the origin was 0 or negative as the client wrote it. */
    if (out->ms <= (form.absolute ? 0 : x->now.ms)) {
        reply_bad_expiry(x, command);
        return false;
    }
    return true;
}

bool read_span_ms(struct exec *x, const char *command, const char *option, struct slice word, uint32_t least,
                  uint32_t *out)
{
    int64_t ms;

    if (!slice_to_i64(word, &ms)) {
        reply_not_integer(x);
        return false;
    }
    if (ms < least || ms > UINT32_MAX) {
        reply_error(x, "ERR invalid %s time in '%s' command", option, command);
        return false;
    }
    *out = (uint32_t)ms;
    return true;
}

void count_lookup(struct exec *x, bool hit, bool expired)
{
    if (hit)
        counter_add(x->counters, keyspace_hits, 1);
    else
        counter_add(x->counters, keyspace_misses, 1);
    if (expired)
        counter_add(x->counters, expired_on_read, 1);
}

bool look_at_key(struct exec *x, const struct key *key, bool used, struct store_peek *found)
{
    enum peek_status status;
    bool hit;

    do {
        status = store_peek(x->store, x->local, key, x->now, used, found);
    } while (status == PEEK_HIT && !store_peek_ok(found));
    if (status == PEEK_BLOB)
        blob_unpin(&found->blob);
    hit = status != PEEK_MISS && state_exists(found->state);
    count_lookup(x, hit, status == PEEK_MISS && found->expired);
    return hit;
}

uint32_t fetch_keys(const struct exec *x, const struct request *rq, uint32_t from, uint32_t step,
                    struct key keys[KEYS_AT_ONCE])
{
    uint32_t n = 0;

    for (uint32_t i = from; i < rq->argc && n < KEYS_AT_ONCE; i += step) {
        keys[n] = exec_key(x, rq, i);
        store_prefetch_bucket(x->store, keys[n].hash);
        n++;
    }
    for (uint32_t k = 0; k < n; k++)
        store_prefetch_item(x->store, keys[k].hash);
    return n;
}
