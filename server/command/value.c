#include "server/command/value.h"

#include <stdlib.h>

#include "server/store/racy.h"

/* Of what was peeked at, and not missed. */
static enum value_found found_as(struct exec *x, uint8_t state)
{
    count_lookup(x, state_exists(state), false);
    if (state_is_filter(state)) {
        reply_wrong_type(x);
        return VALUE_REFUSED;
    }
    return state_shows(state) ? VALUE_FOUND : VALUE_MISSING;
}

enum value_found value_visit(struct exec *x, const struct key *key, value_visitor *visit, void *arg)
{
    struct store_peek peek;

    for (;;) {
        switch (store_peek(x->store, x->local, key, x->now, true, &peek)) {
        case PEEK_HIT:
            visit(arg, (struct slice){peek.value, peek.len});
            if (!store_peek_ok(&peek))
                continue;
            break;
        case PEEK_BLOB:
            if (!state_is_filter(peek.state))
                visit(arg, (struct slice){peek.value, peek.len});
            blob_unpin(&peek.blob);
            break;
        case PEEK_MISS: count_lookup(x, false, peek.expired); return VALUE_MISSING;
        }
        return found_as(x, peek.state);
    }
}

static bool copy_value(struct held_value *held, const struct store_peek *peek)
{
    uint8_t *copy = realloc(held->copy, peek->len > 0 ? peek->len : 1);

    if (copy == NULL)
        return false;
    held->copy = copy;
    racy_read(copy, peek->value, peek->len);
    held->value = (struct slice){copy, peek->len};
    return true;
}

enum value_found value_hold(struct exec *x, const struct key *key, struct held_value *held)
{
    struct store_peek peek;
    enum value_found found;

    *held = (struct held_value){0};
    for (;;) {
        switch (store_peek(x->store, x->local, key, x->now, true, &peek)) {
        case PEEK_HIT:
            if (!copy_value(held, &peek)) {
                value_release(held);
                return VALUE_NO_MEMORY;
            }
            if (!store_peek_ok(&peek))
                continue;
            break;
        case PEEK_BLOB:
            held->blob = peek.blob;
            held->value = (struct slice){peek.value, peek.len};
            break;
        case PEEK_MISS:
            count_lookup(x, false, peek.expired);
            value_release(held);
            return VALUE_MISSING;
        }
        found = found_as(x, peek.state);
        if (found != VALUE_FOUND)
            value_release(held);
        return found;
    }
}

void value_release(struct held_value *held)
{
    free(held->copy);
    blob_unpin(&held->blob);
    *held = (struct held_value){0};
}

void reply_edited(struct exec *x, const struct store_edit *edit)
{
    if (edit->blob == NULL) {
        reply_bulk(x, edit->value);
        return;
    }
    blob_pin(edit->blob);
    reply_bulk_blob(x, edit->blob, edit->value);
}

bool value_length_ok(struct exec *x, uint64_t offset, uint64_t len)
{
    uint64_t most = option_live(x->options, proto_max_bulk_len);

    if (offset <= most && len <= most - offset)
        return true;
    reply_error(x, "ERR string exceeds maximum allowed size (proto-max-bulk-len)");
    return false;
}
