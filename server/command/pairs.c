/* pairs.c - commands that change several keys at once: RENAME, COPY, MOVE, MSETNX.
 *
 * They are CMD_EXCLUSIVE: between taking the value from one key and giving it
 * to the other nobody looks. Rule: whatever goes wrong on the way, all keys
 * are as they were before. */
#include <stdlib.h>

#include "server/command/arguments.h"
#include "server/command/command.h"
#include "server/command/databases.h"
#include "server/server.h"

/* ---- a value on its way ---- */

/* Everything about an item but its name: value, time to live, flags, cas, herd state. */
struct cargo {
    struct store_value item;
    struct blob *blob; /* pinned: a large value is shared, not copied */
    uint8_t *copy;
};

enum load_status { LOADED, NOT_THERE, NO_MEMORY };

/* A filter is not shared (see store_edit_bytes()) but for the moment in which it moves. */
static bool copy_filter(struct cargo *cargo, struct slice value)
{
    if ((cargo->blob = blob_new(value.len)) == NULL)
        return false;
    memcpy(cargo->blob->data, value.data, value.len);
    cargo->item.head.data = cargo->blob->data;
    cargo->item.backing = cargo->blob;
    return true;
}

static enum load_status cargo_take(struct exec *x, const struct key *from, bool moves, struct cargo *cargo)
{
    enum load_status status = NOT_THERE;
    struct store_edit edit;

    *cargo = (struct cargo){0};
    store_edit_begin(x->store, x->local, from, x->now, &edit);
    if (edit_exists(&edit)) {
        cargo->item = (struct store_value){.head = edit.value,
                                           .flags = edit.flags,
                                           .expires = edit.expires,
                                           .state = edit.state,
                                           .key_binary = edit.key_binary,
                                           .cas = edit.cas};
        status = LOADED;
        if (state_is_filter(edit.state) && !moves) {
            status = copy_filter(cargo, edit.value) ? LOADED : NO_MEMORY;
        } else if (edit.blob != NULL) {
            blob_pin(edit.blob);
            cargo->blob = cargo->item.backing = edit.blob;
        } else if ((cargo->copy = malloc(edit.value.len + 1)) != NULL) {
            if (edit.value.len > 0)
                memcpy(cargo->copy, edit.value.data, edit.value.len);
            cargo->item.head.data = cargo->copy;
        } else {
            status = NO_MEMORY;
        }
    }
    store_edit_end(&edit);
    return status;
}

static void cargo_drop(struct cargo *cargo)
{
    blob_unpin(&cargo->blob);
    free(cargo->copy);
}

static bool is_there(struct exec *x, const struct key *key)
{
    struct store_edit edit;
    bool there;

    store_edit_begin(x->store, x->local, key, x->now, &edit);
    there = edit_exists(&edit);
    store_edit_end(&edit);
    return there;
}

static void drop(struct exec *x, const struct key *key)
{
    struct store_edit edit;

    store_edit_begin(x->store, x->local, key, x->now, &edit);
    store_edit_drop(&edit);
    store_edit_end(&edit);
}

static enum store_status put(struct exec *x, const struct key *key, const struct store_value *item)
{
    struct store_edit edit;
    enum store_status status;

    store_edit_begin(x->store, x->local, key, x->now, &edit);
    status = store_edit_put(&edit, item);
    store_edit_end(&edit);
    return status;
}

enum transfer_status { TRANSFERRED, TRANSFER_ABSENT, TRANSFER_OCCUPIED, TRANSFER_REFUSED };

/* Brings the value to `to`, and lets go of `from` if it is to move. A refusal is answered. */
static enum transfer_status transfer(struct exec *x, const struct key *from, const struct key *to,
                                     bool replaces, bool moves)
{
    struct cargo cargo;
    enum store_status status = STORE_NO_SPACE;
    enum load_status load = cargo_take(x, from, moves, &cargo);

    if (load == NOT_THERE)
        return TRANSFER_ABSENT;
    if (!replaces && is_there(x, to)) {
        cargo_drop(&cargo);
        return TRANSFER_OCCUPIED;
    }
    cargo.item.moves = moves;
    if (load == LOADED)
        status = put(x, to, &cargo.item);
    cargo_drop(&cargo);
    if (status != STORE_OK) {
        reply_store_refused(x, status);
        return TRANSFER_REFUSED;
    }
    if (moves)
        drop(x, from);
    return TRANSFERRED;
}

/* 1 when it went, 0 when it could not. */
static void reply_transfer(struct exec *x, enum transfer_status status)
{
    if (status != TRANSFER_REFUSED)
        reply_integer(x, status == TRANSFERRED);
}

/* ---- RENAME and its relatives ---- */

static bool is_same(const struct key *a, const struct key *b)
{
    return a->db == b->db && a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

static void rename_key(struct exec *x, struct request *rq, bool replaces)
{
    struct key from = exec_key(x, rq, 1), to = exec_key(x, rq, 2);
    enum transfer_status status;

    if (is_same(&from, &to))
        status = is_there(x, &from) ? (replaces ? TRANSFERRED : TRANSFER_OCCUPIED) : TRANSFER_ABSENT;
    else
        status = transfer(x, &from, &to, replaces, true);
    if (status == TRANSFER_ABSENT)
        reply_error(x, "ERR no such key");
    else if (!replaces)
        reply_transfer(x, status);
    else if (status == TRANSFERRED)
        reply_ok(x);
}

void cmd_rename(struct exec *x, struct request *rq)
{
    rename_key(x, rq, true);
}

void cmd_renamenx(struct exec *x, struct request *rq)
{
    rename_key(x, rq, false);
}

void cmd_move(struct exec *x, struct request *rq)
{
    struct key from = exec_key(x, rq, 1), to;
    int db;

    if (!read_database(x, rq->argv[2], &db))
        return;
    to = store_key_in(x->store, server_db(x->server, db), rq->argv[1]);
    if (to.db == from.db)
        reply_error(x, "ERR source and destination objects are the same");
    else
        reply_transfer(x, transfer(x, &from, &to, false, true));
}

void cmd_copy(struct exec *x, struct request *rq)
{
    struct key from = exec_key(x, rq, 1), to;
    int db = x->session->db;
    bool replaces = false;

    for (uint32_t i = 3; i < rq->argc; i++) {
        if (slice_is(rq->argv[i], "replace")) {
            replaces = true;
        } else if (slice_is(rq->argv[i], "db") && i + 1 < rq->argc) {
            if (!read_database(x, rq->argv[++i], &db))
                return;
        } else {
            reply_syntax_error(x);
            return;
        }
    }
    to = store_key_in(x->store, server_db(x->server, db), rq->argv[2]);
    if (is_same(&from, &to))
        reply_error(x, "ERR source and destination objects are the same");
    else
        reply_transfer(x, transfer(x, &from, &to, replaces, false));
}

/* ---- MSETNX ---- */

static bool any_is_there(struct exec *x, const struct request *rq)
{
    for (uint32_t i = 1; i < rq->argc; i += 2) {
        struct key key = exec_key(x, rq, i);

        if (is_there(x, &key))
            return true;
    }
    return false;
}

void cmd_msetnx(struct exec *x, struct request *rq)
{
    enum store_status status = STORE_OK;
    uint32_t i;

    if (rq->argc % 2 == 0) {
        reply_wrong_arity(x, "msetnx");
        return;
    }
    if (any_is_there(x, rq)) {
        reply_integer(x, 0);
        return;
    }
    for (i = 1; i < rq->argc && status == STORE_OK; i += 2) {
        struct key key = exec_key(x, rq, i);
        struct store_value item = {.head = rq->argv[i + 1], .backing = x->backing};

        status = put(x, &key, &item);
    }
    if (status == STORE_OK) {
        reply_integer(x, 1);
        return;
    }
    for (uint32_t k = 1; k < i; k += 2) { /* none of them was there */
        struct key key = exec_key(x, rq, k);

        drop(x, &key);
    }
    reply_store_refused(x, status);
}
