/* range.c - parts of a value: GETRANGE, SUBSTR, SETRANGE, APPEND. */
#include "server/command/command.h"
#include "server/command/value.h"
#include "server/store/racy.h"

/* ---- reading ---- */

struct range {
    int64_t start, end; /* as the client wrote them: from the end when negative */
};

/* The bytes of a value that lie in the range; both ends belong to it. */
static struct slice cut(struct slice value, struct range r)
{
    int64_t len = (int64_t)value.len;
    struct slice nothing = {value.data, 0};

    if (r.start < 0 && r.end < 0 && r.start > r.end)
        return nothing;
    r.start = r.start < 0 ? r.start + len : r.start;
    r.end = r.end < 0 ? r.end + len : r.end;
    r.start = r.start < 0 ? 0 : r.start;
    r.end = r.end < 0 ? 0 : r.end; /* "up to before the first byte" is up to the first: redis's way */
    r.end = r.end >= len ? len - 1 : r.end;
    if (r.start > r.end)
        return nothing;
    return (struct slice){value.data + r.start, (size_t)(r.end - r.start + 1)};
}

/* A reply that waits to be sent keeps the whole blob alive, so it is pinned
 * only for a good part of it. */
static void reply_part_of_blob(struct exec *x, struct store_peek *peek, struct slice part)
{
    if (part.len >= peek->blob->capacity / 4) {
        reply_bulk_blob(x, peek->blob, part);
        return;
    }
    reply_bulk(x, part);
    blob_unpin(&peek->blob);
}

void cmd_getrange(struct exec *x, struct request *rq)
{
    struct key key = exec_key(x, rq, 1);
    size_t mark = out_mark(x->out);
    struct store_peek peek;
    struct slice part;
    struct range r;
    bool shows = false, is_filter = false;

    if (!slice_to_i64(rq->argv[2], &r.start) || !slice_to_i64(rq->argv[3], &r.end)) {
        reply_not_integer(x);
        return;
    }
    for (;; out_rollback(x->out, mark)) {
        enum peek_status status = store_peek(x->store, x->local, &key, x->now, true, &peek);

        if (status == PEEK_MISS)
            break;
        part = cut((struct slice){peek.value, peek.len}, r);
        if (status == PEEK_BLOB) {
            if ((shows = state_shows(peek.state)))
                reply_part_of_blob(x, &peek, part);
            else
                blob_unpin(&peek.blob);
            is_filter = state_is_filter(peek.state);
            break;
        }
        reply_racy_bulk(x, part.data, part.len);
        if (store_peek_ok(&peek)) {
            shows = state_shows(peek.state);
            break;
        }
    }
    count_lookup(x, shows, peek.expired);
    if (is_filter) {
        reply_wrong_type(x);
    } else if (!shows) {
        out_rollback(x->out, mark);
        reply_bulk(x, (struct slice){NULL, 0});
    }
}

/* ---- writing ---- */

void cmd_setrange(struct exec *x, struct request *rq)
{
    struct key key = exec_key(x, rq, 1);
    struct slice bytes = rq->argv[3];
    enum store_status status = STORE_OK;
    struct store_edit edit;
    size_t len;
    int64_t offset;

    if (!slice_to_i64(rq->argv[2], &offset)) {
        reply_not_integer(x);
        return;
    }
    if (offset < 0) {
        reply_error(x, "ERR offset is out of range");
        return;
    }
    if (bytes.len > 0 && !value_length_ok(x, (uint64_t)offset, bytes.len))
        return;
    store_edit_begin(x->store, x->local, &key, x->now, &edit);
    if (refuse_filter(x, &edit))
        return;
    if (bytes.len > 0) /* writing nothing changes nothing, not even the length */
        status = store_edit_write(&edit, (size_t)offset, bytes);
    len = edit_value(&edit).len;
    store_edit_end(&edit);
    if (status == STORE_OK)
        reply_integer(x, (int64_t)len);
    else
        reply_store_refused(x, status);
}

static enum store_status append(struct store_edit *edit, struct slice bytes, struct blob *backing)
{
    struct store_value item = {.head = bytes, .backing = backing};

    if (edit_shows(edit))
        return store_edit_write(edit, edit->value.len, bytes);
    return store_edit_put(edit, &item); /* a new value may keep the buffer it came in */
}

void cmd_append(struct exec *x, struct request *rq)
{
    struct key key = exec_key(x, rq, 1);
    enum store_status status;
    struct store_edit edit;
    size_t len;

    store_edit_begin(x->store, x->local, &key, x->now, &edit);
    if (refuse_filter(x, &edit))
        return;
    if (!value_length_ok(x, edit_value(&edit).len, rq->argv[2].len)) {
        store_edit_end(&edit);
        return;
    }
    status = append(&edit, rq->argv[2], x->backing);
    len = edit_value(&edit).len;
    store_edit_end(&edit);
    if (status == STORE_OK)
        reply_integer(x, (int64_t)len);
    else
        reply_store_refused(x, status);
}
