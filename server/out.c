/* out.c - how replies wait for the socket.
 *
 * The stream to send is data[0..len) with each pin's bytes spliced in before
 * data[pin.at]; `sent` counts along that stream. Rules: (1) pins are in order
 * of `at`; (2) a pin's blob is let go as soon as its last byte is sent, and
 * the entry stays, so that positions keep their meaning until out_clear();
 * (3) after a failure nothing of it is ever sent. */
#include "server/out.h"

#include <stdlib.h>
#include <string.h>

#include "server/check.h"

enum {
    FIRST_CAPACITY = 4096,
    FIRST_PINS = 8,
    SWALLOW_BYTES = 1 << 20,
};

/* Where replies are written when there is no memory for them. All threads may
 * scribble here at once, and nobody ever reads it back into a reply: it costs
 * no memory until then, and spares every writer a check. */
static uint8_t swallow[SWALLOW_BYTES];

static void forget_pins(struct out *out)
{
    for (size_t i = 0; i < out->pins_len; i++)
        blob_unpin(&out->pins[i].blob);
    out->pins_len = 0;
    out->pinned_bytes = 0;
}

static void free_data(struct out *out)
{
    if (out->data != swallow)
        free(out->data);
    out->data = NULL;
    out->len = 0;
    out->cap = 0;
}

static void fail(struct out *out)
{
    forget_pins(out);
    free_data(out);
    out->data = swallow;
    out->cap = sizeof swallow;
    out->sent = 0;
    out->failed = true;
}

static bool over_limit(struct out *out, size_t more)
{
    if (out->limit == 0 || out->len + out->pinned_bytes + more <= out->limit)
        return false;
    out->over = true;
    return true;
}

uint8_t *out_grow(struct out *out, size_t n)
{
    size_t need, cap;
    uint8_t *data;

    if (out->failed) {
        out->len = 0;
        return n <= out->cap ? out->data : NULL;
    }
    if (__builtin_add_overflow(out->len, n, &need) || need > SIZE_MAX / 2) {
        fail(out);
        return NULL;
    }
    if (over_limit(out, n)) {
        fail(out);
        return n <= out->cap ? out->data : NULL;
    }
    for (cap = out->cap > 0 ? out->cap : FIRST_CAPACITY; cap < need;)
        cap *= 2;
    if (out->limit != 0 && cap > out->limit)
        cap = need > out->limit ? need : out->limit;
    if ((data = realloc(out->data, cap)) == NULL) {
        fail(out);
        return n <= out->cap ? out->data : NULL;
    }
    out->data = data;
    out->cap = cap;
    return out->data + out->len;
}

void out_append(struct out *out, const void *data, size_t n)
{
    uint8_t *p;

    if (n == 0 || (p = out_room(out, n)) == NULL)
        return;
    memcpy(p, data, n);
    out_commit(out, p + n);
}

static bool pins_grow(struct out *out)
{
    size_t cap = out->pins_cap > 0 ? out->pins_cap * 2 : FIRST_PINS;
    struct out_pin *pins = realloc(out->pins, cap * sizeof *pins);

    if (pins == NULL)
        return false;
    out->pins = pins;
    out->pins_cap = cap;
    return true;
}

void out_blob(struct out *out, struct blob *blob, struct slice bytes)
{
    if (!out->failed && (over_limit(out, bytes.len) || (out->pins_len == out->pins_cap && !pins_grow(out))))
        fail(out);
    if (out->failed || bytes.len == 0) {
        blob_unpin(&blob);
        return;
    }
    out->pins[out->pins_len++] = (struct out_pin){.at = out->len, .blob = blob, .bytes = bytes};
    out->pinned_bytes += bytes.len;
}

void out_cut(struct out *out, size_t mark, size_t pins)
{
    if (out->failed)
        return;
    CHECK(mark <= out->len && pins <= out->pins_len);
    while (out->pins_len > pins) {
        struct out_pin *last = &out->pins[--out->pins_len];
        out->pinned_bytes -= last->bytes.len;
        blob_unpin(&last->blob);
    }
    out->len = mark;
}

void out_insert(struct out *out, size_t mark, const void *data, size_t n)
{
    if (out->failed || out_room(out, n) == NULL || out->failed)
        return;
    CHECK(mark <= out->len);
    memmove(out->data + mark + n, out->data + mark, out->len - mark);
    memcpy(out->data + mark, data, n);
    out->len += n;
    for (size_t i = out->pins_len; i-- > 0 && out->pins[i].at >= mark;)
        out->pins[i].at += n;
}

size_t out_pending(const struct out *out)
{
    return out->failed ? 0 : out->len + out->pinned_bytes - out->sent;
}

/* Adds what is left of a piece after skipping; false when iov is full. */
static bool add_piece(struct iovec *iov, int *used, int max, const uint8_t *data, size_t len, size_t *skip)
{
    if (*skip >= len) {
        *skip -= len;
        return true;
    }
    if (*used == max)
        return false;
    iov[*used].iov_base = (void *)(uintptr_t)(data + *skip);
    iov[*used].iov_len = len - *skip;
    *skip = 0;
    ++*used;
    return true;
}

int out_iovecs(const struct out *out, struct iovec *iov, int max)
{
    size_t skip = out->sent, at = 0;
    int used = 0;

    if (out->failed)
        return 0;
    for (size_t i = 0; i < out->pins_len; i++) {
        const struct out_pin *pin = &out->pins[i];

        if (!add_piece(iov, &used, max, out->data + at, pin->at - at, &skip) ||
            !add_piece(iov, &used, max, pin->bytes.data, pin->bytes.len, &skip))
            return used;
        at = pin->at;
    }
    if (out->len > at)
        add_piece(iov, &used, max, out->data + at, out->len - at, &skip);
    return used;
}

void out_advance(struct out *out, size_t n)
{
    size_t through = 0; /* stream position just after the pins looked at */

    CHECK(n <= out_pending(out));
    out->sent += n;
    for (size_t i = 0; i < out->pins_len; i++) {
        struct out_pin *pin = &out->pins[i];

        through += pin->bytes.len;
        if (pin->at + through > out->sent)
            return;
        blob_unpin(&pin->blob);
    }
}

void out_clear(struct out *out, size_t keep)
{
    forget_pins(out);
    if (out->failed || out->cap > keep)
        free_data(out);
    if (out->pins_cap * sizeof *out->pins > keep) {
        free(out->pins);
        out->pins = NULL;
        out->pins_cap = 0;
    }
    out->len = 0;
    out->sent = 0;
    out->failed = false;
    out->over = false;
}

/* The rest of the stream, piece by piece, at the end of another. */
static void copy_rest(struct out *to, struct out *from)
{
    size_t skip = from->sent, at = 0;
    struct iovec piece;
    int n;

    for (size_t i = 0; i < from->pins_len; i++) {
        struct out_pin *pin = &from->pins[i];

        n = 0;
        add_piece(&piece, &n, 1, from->data + at, pin->at - at, &skip);
        if (n > 0)
            out_append(to, piece.iov_base, piece.iov_len);
        n = 0;
        add_piece(&piece, &n, 1, pin->bytes.data, pin->bytes.len, &skip);
        if (n > 0) {
            out_blob(to, pin->blob, (struct slice){piece.iov_base, piece.iov_len});
            pin->blob = NULL; /* the pin has moved */
        }
        at = pin->at;
    }
    n = 0;
    if (from->len > at)
        add_piece(&piece, &n, 1, from->data + at, from->len - at, &skip);
    if (n > 0)
        out_append(to, piece.iov_base, piece.iov_len);
}

/* Drops what is sent from the front, so that a buffer that never runs empty does not grow for ever. */
static void forget_sent(struct out *out)
{
    size_t through = 0, gone = 0, at;

    while (gone < out->pins_len && out->pins[gone].at + through + out->pins[gone].bytes.len <= out->sent)
        through += out->pins[gone++].bytes.len;
    at = out->sent - through;
    if (gone < out->pins_len && at > out->pins[gone].at)
        at = out->pins[gone].at; /* the rest of sent lies inside that pin */
    if (at > 0)
        memmove(out->data, out->data + at, out->len - at);
    if (gone > 0)
        memmove(out->pins, out->pins + gone, (out->pins_len - gone) * sizeof *out->pins);
    out->pins_len -= gone;
    for (size_t i = 0; i < out->pins_len; i++)
        out->pins[i].at -= at;
    out->len -= at;
    out->pinned_bytes -= through;
    out->sent -= through + at;
}

void out_move(struct out *to, struct out *from)
{
    if (from->failed) {
        if (!to->failed)
            fail(to);
        out_clear(from, 0);
        return;
    }
    if (to->cap == 0 && to->pins_cap == 0 && out_pending(from) >= from->cap / 2) {
        size_t limit = from->limit;

        *to = *from; /* mostly full: cheaper to hand over than to copy */
        to->limit = 0;
        *from = (struct out){.limit = limit};
        return;
    }
    if (!to->failed && to->sent >= out_pending(to)) /* at least as much to drop as to move: linear */
        forget_sent(to);
    copy_rest(to, from);
    out_clear(from, SIZE_MAX);
}

void out_free(struct out *out)
{
    out_clear(out, 0);
    free(out->pins);
    *out = (struct out){0};
}
