#include "server/command/walk.h"

#include <stdlib.h>

#include "protocol/resp.h"
#include "server/park.h"

enum {
    STEP = 64,              /* buckets: some hundred items */
    PIECE_NS = 300 * 1000L, /* about as long as other upkeep takes at a time */
    PIECE_FIRST = 4 * 1024, /* of what is listed */
    PIECE_BYTES = 128 * 1024,
};

static void visit(void *arg, const struct scan_item *item)
{
    struct walk *walk = arg;

    if (item->db == walk->db && state_exists(item->state))
        walk->kind->visit(walk, item);
}

static bool is_over(const struct walk *walk)
{
    return walk->failed || (walk->kind->has_enough != NULL && walk->kind->has_enough(walk));
}

/* False: there is more to see. */
static bool step(struct exec *x, struct walk *walk)
{
    if (is_over(walk))
        return true;
    walk->cursor = store_scan(x->store, walk->cursor, walk->step, x->now, visit, walk);
    if (walk->cursor == 0 && walk->again > 0) {
        walk->again--;
        return false;
    }
    return walk->cursor == 0 || is_over(walk);
}

static void answer(struct exec *x, struct walk *walk)
{
    if (!walk->failed)
        walk->kind->answer(x, walk);
    x->out->failed |= walk->failed;
    x->out->over |= walk->over;
}

static bool more(struct exec *x, struct producer *producer)
{
    struct walk *walk = (struct walk *)producer;
    int64_t until = clock_ticks_ns() + PIECE_NS;

    do {
        if (step(x, walk)) {
            answer(x, walk);
            return false;
        }
    } while (clock_ticks_ns() < until);
    producer->held = walk->bytes;
    return true;
}

static void end(struct producer *producer)
{
    struct walk *walk = (struct walk *)producer;

    walk_forget(walk);
    free(walk->listed);
    free(walk);
}

void *walk_new(struct exec *x, size_t size, const struct walk_kind *kind)
{
    struct walk *walk = calloc(1, size);

    if (walk == NULL) {
        x->out->failed = true;
        return NULL;
    }
    walk->producer = (struct producer){.more = more, .free = end};
    walk->kind = kind;
    walk->db = x->db;
    walk->step = STEP;
    walk->limit = x->out->limit;
    return walk;
}

void walk_run(struct exec *x, struct walk *walk)
{
    bool may_take_turns = exec_may_park(x) && x->session->replies == REPLY_ON;
    bool goes_on;

    do
        goes_on = more(x, &walk->producer);
    while (goes_on && !may_take_turns);
    if (goes_on)
        x->session->producer = &walk->producer;
    else
        end(&walk->producer);
}

/* ---- what is listed ---- */

static bool add_piece(struct walk *walk)
{
    size_t bytes = walk->bytes < PIECE_FIRST ? PIECE_FIRST : PIECE_BYTES;
    size_t cap = walk->listed_cap > 0 ? 2 * walk->listed_cap : 4;
    struct blob **listed = walk->listed;

    if (walk->limit != 0 && walk->bytes + bytes > walk->limit) {
        walk->over = true;
        return false;
    }
    if (walk->listed_len == walk->listed_cap) {
        if ((listed = realloc(listed, cap * sizeof(*listed))) == NULL)
            return false;
        walk->listed = listed;
        walk->listed_cap = cap;
    }
    if ((listed[walk->listed_len] = blob_new(bytes)) == NULL)
        return false;
    walk->listed_len++;
    walk->last_len = 0;
    walk->bytes += bytes;
    return true;
}

static size_t room(const struct walk *walk)
{
    return walk->listed_len > 0 ? walk->listed[walk->listed_len - 1]->capacity - walk->last_len : 0;
}

/* A piece ends where the next begins: what does not fit is cut in two. */
static void write_bytes(struct walk *walk, const uint8_t *data, size_t len)
{
    while (len > 0 && !walk->failed) {
        size_t some = len < room(walk) ? len : room(walk);

        if (some == 0) {
            walk->failed = !add_piece(walk);
            continue;
        }
        memcpy(walk->listed[walk->listed_len - 1]->data + walk->last_len, data, some);
        walk->last_len += some;
        data += some;
        len -= some;
    }
}

void walk_list(struct walk *walk, struct slice key)
{
    uint8_t head[RESP_HEADER_MAX];

    write_bytes(walk, head, (size_t)(resp_put_bulk_header(head, key.len) - head));
    write_bytes(walk, key.data, key.len);
    write_bytes(walk, (const uint8_t *)"\r\n", 2);
    walk->count++;
}

void walk_forget(struct walk *walk)
{
    for (size_t i = 0; i < walk->listed_len; i++)
        blob_unpin(&walk->listed[i]);
    walk->listed_len = 0;
    walk->bytes = 0;
    walk->count = 0;
}

void walk_reply_listed(struct exec *x, struct walk *walk)
{
    for (size_t i = 0; i < walk->listed_len; i++) {
        bool last = i == walk->listed_len - 1;
        struct slice bytes = {walk->listed[i]->data, last ? walk->last_len : walk->listed[i]->capacity};

        if (bytes.len <= PIECE_FIRST) {
            reply_raw(x, bytes.data, bytes.len);
            continue;
        }
        blob_pin(walk->listed[i]);
        out_blob(x->out, walk->listed[i], bytes);
    }
}
