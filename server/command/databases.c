/* databases.c - choosing, counting, swapping and emptying databases.
 *
 * A session's number is not the store's: server->databases[] has that, so
 * that SWAPDB is an exchange of two bytes. It changes only while a worker is
 * alone (gate.h), never between the beginning and the end of a request. */
#include "server/command/databases.h"

#include "server/changes.h"
#include "server/clients.h"
#include "server/cluster/handover.h"
#include "server/command/command.h"
#include "server/server.h"
#include "server/watch.h"

static bool is_database(const struct exec *x, int64_t db)
{
    return db >= 0 && db < x->options->databases;
}

bool read_database(struct exec *x, struct slice word, int *db)
{
    int64_t wanted;

    if (!slice_to_i64(word, &wanted)) {
        reply_not_integer(x);
    } else if (wanted < INT32_MIN || wanted > INT32_MAX) {
        reply_error(x, "ERR value is out of range, value must between %d and %d", INT32_MIN, INT32_MAX);
    } else if (!is_database(x, wanted)) {
        reply_error(x, "ERR DB index is out of range");
    } else {
        *db = (int)wanted;
        return true;
    }
    return false;
}

void select_database(struct exec *x, int db)
{
    clients_lock(x->server->registry); /* CLIENT LIST shows it */
    x->session->db = db;
    clients_unlock(x->server->registry);
    x->db = server_db(x->server, db);
}

void cmd_select(struct exec *x, struct request *rq)
{
    int db;

    if (!read_database(x, rq->argv[1], &db))
        return;
    select_database(x, db);
    reply_ok(x);
}

void cmd_swapdb(struct exec *x, struct request *rq)
{
    _Atomic uint8_t *databases = x->server->databases;
    int64_t a, b;

    if (!slice_to_i64(rq->argv[1], &a) || a < INT32_MIN || a > INT32_MAX) {
        reply_error(x, "ERR invalid first DB index");
    } else if (!slice_to_i64(rq->argv[2], &b) || b < INT32_MIN || b > INT32_MAX) {
        reply_error(x, "ERR invalid second DB index");
    } else if (!is_database(x, a) || !is_database(x, b)) {
        reply_error(x, "ERR DB index is out of range");
    } else {
        uint8_t was_a = databases[a], was_b = databases[b];

        if (a != b)
            watch_swapped(x, was_a, was_b);
        databases[a] = was_b;
        databases[b] = was_a;
        if (a != b)
            changes_swapped(x->server, x);
        reply_ok(x);
    }
}

void cmd_dbsize(struct exec *x, struct request *rq)
{
    (void)rq;
    reply_integer(x, (int64_t)store_db_count(x->store, x->db).items);
}

/* Both words mean the same here: the items are gone at once, their memory soon. */
static bool flush_words_are_right(struct exec *x, const struct request *rq)
{
    if (rq->argc == 1 || (rq->argc == 2 && (slice_is(rq->argv[1], "async") || slice_is(rq->argv[1], "sync"))))
        return true;
    reply_syntax_error(x);
    return false;
}

void cmd_flushall(struct exec *x, struct request *rq)
{
    if (!flush_words_are_right(x, rq))
        return;
    handover_flush(x->server);
    store_flush(x->store);
    changes_flushed(x->server, x, CHANGES_ALL_DATABASES);
    reply_ok(x);
}

void cmd_flushdb(struct exec *x, struct request *rq)
{
    if (!flush_words_are_right(x, rq))
        return;
    handover_flush(x->server);
    store_flush_db(x->store, x->db, x->now);
    changes_flushed(x->server, x, x->db);
    reply_ok(x);
}
