#include "server/command/value.h"

#include <stdlib.h>

#include "server/store/racy.h"

bool value_visit(struct exec *x, const struct key *key, value_visitor *visit, void *arg)
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
            visit(arg, (struct slice){peek.value, peek.len});
            blob_unpin(&peek.blob);
            break;
        case PEEK_MISS: count_lookup(x, false, peek.expired); return false;
        }
        count_lookup(x, state_shows(peek.state), false);
        return state_shows(peek.state);
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

bool value_hold(struct exec *x, const struct key *key, struct held_value *held)
{
    struct store_peek peek;
    bool shows = false;

    *held = (struct held_value){0};
    for (;;) {
        switch (store_peek(x->store, x->local, key, x->now, true, &peek)) {
        case PEEK_HIT:
            if (!copy_value(held, &peek)) {
                value_release(held);
                return false;
            }
            if (!store_peek_ok(&peek))
                continue;
            shows = state_shows(peek.state);
            break;
        case PEEK_BLOB:
            held->blob = peek.blob;
            held->value = (struct slice){peek.value, peek.len};
            shows = state_shows(peek.state);
            break;
        case PEEK_MISS: break;
        }
        count_lookup(x, shows, peek.expired);
        if (!shows)
            value_release(held);
        return true;
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
