/* reply.c - the words a handler answers in, written as its session's protocol wants them. */
#include "server/exec.h"
#include "server/herd/reads.h"

#include <stdarg.h>
#include <stdio.h>

#include "protocol/resp.h"
#include "server/check.h"
#include "server/command/value.h"
#include "server/origin/origins.h"
#include "server/server.h"
#include "server/store/racy.h"

enum { ERROR_TEXT_MAX = 1024 };

struct key exec_key(const struct exec *x, const struct request *rq, uint32_t i)
{
    /* It was hashed before the requests ahead of it ran, and one may have been SELECT. */
    if (x->first_key.data == rq->argv[i].data && x->first_key.len == rq->argv[i].len &&
        x->first_key.db == x->db)
        return x->first_key;
    return store_key_in(x->store, x->db, rq->argv[i]);
}

void reply_ok(struct exec *x)
{
    reply_raw(x, "+OK\r\n", 5);
}

void reply_simple(struct exec *x, const char *text)
{
    struct slice s = slice_of(text);

    out_commit(x->out, resp_put_simple(out_room(x->out, RESP_SIMPLE_MAX(s.len)), s));
}

void reply_error(struct exec *x, const char *format, ...)
{
    char text[ERROR_TEXT_MAX];
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (n < 0)
        n = 0;
    if ((size_t)n >= sizeof text)
        n = sizeof text - 1;
    struct slice s = {(const uint8_t *)text, (size_t)n};
    out_commit(x->out, resp_put_error(out_room(x->out, RESP_ERROR_MAX(s.len)), s));
    x->errors++;
    server_count_error(x->server, s);
}

void reply_integer(struct exec *x, int64_t value)
{
    out_commit(x->out, resp_put_integer(out_room(x->out, RESP_INTEGER_MAX), value));
}

void reply_bool(struct exec *x, bool value)
{
    out_commit(x->out, resp_put_boolean(out_room(x->out, RESP_BOOLEAN_MAX), x->session->resp, value));
}

void reply_double(struct exec *x, double value)
{
    out_commit(x->out, resp_put_double(out_room(x->out, RESP_DOUBLE_MAX), x->session->resp, value));
}

void reply_bulk(struct exec *x, struct slice value)
{
    uint8_t *p = out_room(x->out, RESP_BULK_MAX(value.len));

    if (p != NULL)
        out_commit(x->out, resp_put_bulk(p, value));
}

void reply_text(struct exec *x, const char *text)
{
    reply_bulk(x, slice_of(text));
}

void reply_verbatim(struct exec *x, struct slice value)
{
    uint8_t *p = out_room(x->out, RESP_VERBATIM_MAX(value.len));

    if (p != NULL)
        out_commit(x->out, resp_put_verbatim(p, x->session->resp, "txt", value));
}

void reply_null(struct exec *x)
{
    out_commit(x->out, resp_put_null(out_room(x->out, RESP_NULL_MAX), x->session->resp));
}

void reply_null_array(struct exec *x)
{
    out_commit(x->out, resp_put_null_array(out_room(x->out, RESP_NULL_MAX), x->session->resp));
}

void reply_array(struct exec *x, size_t elements)
{
    out_commit(x->out, resp_put_array(out_room(x->out, RESP_HEADER_MAX), elements));
}

void reply_map(struct exec *x, size_t pairs)
{
    out_commit(x->out, resp_put_map(out_room(x->out, RESP_HEADER_MAX), x->session->resp, pairs));
}

void reply_set(struct exec *x, size_t elements)
{
    out_commit(x->out, resp_put_set(out_room(x->out, RESP_HEADER_MAX), x->session->resp, elements));
}

size_t reply_array_open(struct exec *x)
{
    return out_mark(x->out);
}

/* The header is put in front of what has been written: one memmove, paid by
 * the few commands that cannot count beforehand. */
void reply_array_close(struct exec *x, size_t mark, size_t elements)
{
    uint8_t header[RESP_HEADER_MAX];

    out_insert(x->out, mark, header, (size_t)(resp_put_array(header, elements) - header));
}

void reply_bulk_blob(struct exec *x, struct blob *blob, struct slice value)
{
    out_commit(x->out, resp_put_bulk_header(out_room(x->out, RESP_HEADER_MAX), value.len));
    out_blob(x->out, blob, value);
    reply_raw(x, "\r\n", 2);
}

void reply_racy_bulk(struct exec *x, const uint8_t *value, size_t len)
{
    uint8_t *p = out_room(x->out, RESP_BULK_MAX(len));

    if (p == NULL)
        return;
    p = resp_put_bulk_header(p, len);
    racy_read(p, value, len);
    p += len;
    p[0] = '\r';
    p[1] = '\n';
    out_commit(x->out, p + 2);
}

static bool reply_missed(struct exec *x)
{
    reply_null(x);
    counter_add(x->counters, keyspace_misses, 1);
    return false;
}

/* What an origin has for a key that is not there. */
static bool reply_instead(struct exec *x, const struct key *key)
{
    struct origin_gift gift;

    if (!origins_instead(x, key, &gift))
        return false;
    reply_bulk_blob(x, gift.blob, gift.value);
    counter_add(x->counters, keyspace_hits, 1);
    return true;
}

/* To MGET it is as good as missing; to others it is a mistake. */
static bool reply_filter(struct exec *x)
{
    counter_add(x->counters, keyspace_hits, 1);
    if (x->several != NULL)
        reply_null(x);
    else
        reply_wrong_type(x);
    return false;
}

enum absent { ABSENT_MISSED, ABSENT_ANSWERED, ABSENT_RETRY };

/* No plain read finds it. Answers, unless it is to be looked at again, or the request is parked. */
static enum absent reply_absent(struct exec *x, const struct key *key)
{
    struct store_edit edit;

    if (__builtin_expect(x->instead, 0) && reply_instead(x, key))
        return ABSENT_ANSWERED;
    switch (reads_missed(x, key, &edit)) {
    case PROTECT_MISS: reply_missed(x); return ABSENT_MISSED;
    case PROTECT_PARKED: return ABSENT_MISSED;
    case PROTECT_RETRY: return ABSENT_RETRY;
    case PROTECT_STALE:
        reply_edited(x, &edit);
        store_edit_end(&edit);
        counter_add(x->counters, keyspace_hits, 1);
        return ABSENT_ANSWERED;
    }
    CHECK_UNREACHABLE();
}

bool reply_value_of(struct exec *x, const struct key *key)
{
    size_t mark = out_mark(x->out);
    struct store_peek peek;
    enum absent absent;
    bool expired;

    for (;; out_rollback(x->out, mark)) {
        expired = false;
        switch (store_peek(x->store, x->local, key, x->now, !x->no_touch, &peek)) {
        case PEEK_HIT:
            reply_racy_bulk(x, peek.value, peek.len);
            if (!store_peek_ok(&peek))
                continue;
            if (__builtin_expect(!state_shows(peek.state), 0)) {
                out_rollback(x->out, mark); /* stale or pending, and nobody asked for that */
                break;
            }
            if (__builtin_expect(peek.herded, 0) && reads_refresh(x, key, &peek)) {
                out_rollback(x->out, mark);
                return reply_missed(x);
            }
            counter_add(x->counters, keyspace_hits, 1);
            return true;
        case PEEK_BLOB:
            if (!state_shows(peek.state)) {
                blob_unpin(&peek.blob);
                if (state_is_filter(peek.state))
                    return reply_filter(x);
                break;
            }
            if (__builtin_expect(peek.herded, 0) && reads_refresh(x, key, &peek)) {
                blob_unpin(&peek.blob);
                return reply_missed(x);
            }
            reply_bulk_blob(x, peek.blob, (struct slice){peek.value, peek.len});
            counter_add(x->counters, keyspace_hits, 1);
            return true;
        case PEEK_MISS: expired = peek.expired; break;
        }
        absent = reply_absent(x, key);
        if (expired && x->session->parked == PARK_NOT)
            counter_add(x->counters, expired_on_read, 1);
        if (absent != ABSENT_RETRY)
            return absent == ABSENT_ANSWERED;
    }
}

void reply_syntax_error(struct exec *x)
{
    reply_error(x, "ERR syntax error");
}

void reply_wrong_arity(struct exec *x, const char *command)
{
    reply_error(x, "ERR wrong number of arguments for '%s' command", command);
}

void reply_wrong_type(struct exec *x)
{
    reply_error(x, "WRONGTYPE Operation against a key holding the wrong kind of value");
}

void reply_not_integer(struct exec *x)
{
    reply_error(x, "ERR value is not an integer or out of range");
}

void reply_store_refused(struct exec *x, enum store_status why)
{
    switch (why) {
    case STORE_OK: break;
    case STORE_TOO_BIG:
        counter_add(x->counters, too_large, 1);
        reply_error(x, "ERR string exceeds maximum allowed size (max-item-size)");
        return;
    case STORE_NO_SPACE:
        counter_add(x->counters, oom_refused, 1);
        reply_error(x, "OOM command not allowed when used memory > 'maxmemory'.");
        return;
    case STORE_LATE: reply_null(x); return; /* as after a condition that did not hold */
    }
    CHECK_UNREACHABLE();
}

void reply_raw(struct exec *x, const void *data, size_t len)
{
    out_append(x->out, data, len);
}

void reply_line(struct exec *x, const char *text)
{
    size_t len = strlen(text);
    uint8_t *p = out_room(x->out, len + 2);

    memcpy(p, text, len);
    memcpy(p + len, "\r\n", 2);
    out_commit(x->out, p + len + 2);
}
