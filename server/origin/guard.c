#include "server/origin/guard.h"

#include "server/command/bloom_filter.h"
#include "server/filter/bloom_image.h"
#include "server/server.h"

static struct key guard_key(const struct exec *x, const struct origin *o)
{
    return store_key_in(x->store, server_db(x->server, 0), slice_of(o->rule.guard));
}

static uint64_t hash_of(const struct key *key)
{
    return filter_hash((struct slice){key->data, key->len});
}

bool guard_denies(struct exec *x, const struct origin *o, const struct key *key)
{
    struct filter_pin pin;
    struct key guard;
    bool denies;

    if (o->rule.guard == NULL)
        return false;
    guard = guard_key(x, o);
    if (filter_pin_at(x, &guard, IMAGE_BLOOM, &pin) != FILTER_FOUND)
        return false;
    denies = !bloom_image_maybe(pin.image, hash_of(key));
    blob_unpin(&pin.blob);
    counter_add(x->counters, origin_guarded, denies);
    counter_add(x->counters, origin_guard_passed, !denies);
    return denies;
}

bool guard_admits(struct exec *x, const struct origin *o, const struct key *key)
{
    enum bloom_filter_added added = BLOOM_FILTER_KNOWN;
    struct bloom_refusal refusal;
    struct store_edit edit;
    bool changed = false;
    struct key guard;

    if (o->rule.guard == NULL)
        return true;
    guard = guard_key(x, o);
    store_edit_begin(x->store, x->local, &guard, x->now, &edit);
    if (filter_in(&edit, IMAGE_BLOOM) == FILTER_FOUND)
        added = bloom_filter_add(x, &edit, hash_of(key), &changed, &refusal);
    if (changed)
        store_edit_changed(&edit);
    store_edit_end(&edit);
    return added != BLOOM_FILTER_REFUSED || refusal.why == BLOOM_REFUSED_GONE;
}
