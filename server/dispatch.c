/* dispatch.c - one batch at a time: parse, prefetch, execute in order.
 *
 * Rules: (1) requests are answered in the order they came; (2) whoever waits
 * for memory waits once per batch, not once per request: all buckets are
 * asked for, then all items, and only then is the first request executed;
 * (3) a batch may be cut short when its replies grow large, and what was not
 * executed is then parsed again. */
#include "server/dispatch.h"

#include <stdlib.h>

#include "server/check.h"
#include "server/command/command.h"
#include "server/command/memcache.h"
#include "server/gate.h"
#include "server/log.h"
#include "server/memory.h"
#include "server/server.h"
#include "server/worker.h"

enum {
    BATCH = 32,
    WORDS_FIRST = 1024,
    WORDS_KEPT = 16 * 1024,
    WORDS_MAX = RESP_ARGS_MAX,    /* of one request, in every dialect */
    FULL_BYTES = 256 * 1024,      /* of replies: time to send */
    STRANGER_BYTES = 4096,        /* of one memcached request, from whom has not given the password yet */
    HAND_OVER_BYTES = 256 * 1024, /* of a value: worth telling the store that it comes out of the heap */
};

struct entry {
    struct request request;
    enum parse_status status; /* PARSE_DONE or PARSE_REFUSED */
    const struct command *command;
    struct key key; /* data NULL: none */
    size_t end;     /* of the request, in the input */
    const char *error;
    bool silent, too_large; /* PARSE_REFUSED */
    size_t refused;         /* the same, RESP: the length that was too much */
};

struct batch {
    struct entry entries[BATCH];
    unsigned len;
    size_t end;               /* input parsed so far */
    enum parse_status status; /* why parsing stopped */
    struct slice *words;      /* argv of all requests, one after the other */
    uint32_t words_len, words_cap;
};

struct batch *batch_new(void)
{
    struct batch *b = calloc(1, sizeof *b);

    if (b == NULL || (b->words = malloc(WORDS_FIRST * sizeof *b->words)) == NULL) {
        free(b);
        return NULL;
    }
    b->words_cap = WORDS_FIRST;
    return b;
}

void batch_free(struct batch **batch)
{
    if (*batch == NULL)
        return;
    free((*batch)->words);
    free(*batch);
    *batch = NULL;
}

static bool words_resize(struct batch *b, uint32_t cap)
{
    struct slice *words = realloc(b->words, cap * sizeof *words);

    if (words == NULL)
        return false;
    b->words = words;
    b->words_cap = cap;
    return true;
}

void batch_trim(struct batch *b)
{
    if (b->words_cap > WORDS_KEPT)
        words_resize(b, WORDS_FIRST);
}

/* ---- parsing ---- */

/* What this request holds already is part of what all clients hold, and was let in. */
static size_t longest_kept(const struct worker *w, const struct dispatch_input *in)
{
    size_t most = w->exec.options->max_item_size;

    if (in->blob == NULL || w->request_max >= most)
        return w->request_max;
    return w->request_max + in->blob->capacity < most ? w->request_max + in->blob->capacity : most;
}

static enum parse_status parse_one(struct worker *w, struct dispatch_input *in, struct request *rq, size_t at,
                                   size_t *consumed)
{
    if (in->session->dialect == DIALECT_MEMCACHE)
        return memcache_parse(&in->parser->memcache, longest_kept(w, in), in->data + at, in->len - at, rq,
                              consumed);

    struct resp_limits limits = {.bulk_max = option_live(w->exec.options, proto_max_bulk_len),
                                 .bulk_keep = longest_kept(w, in),
                                 .stranger = !in->session->authenticated};
    return resp_parse(&in->parser->resp, &limits, in->data + at, in->len - at, rq, consumed);
}

/* These get a batch of their own: an inline line is unquoted where it lies and
 * could not be parsed again if the batch were cut short; and what a stranger
 * may say depends on how the request before was answered. */
static bool must_be_alone(const struct dispatch_input *in, size_t at)
{
    return in->session->dialect == DIALECT_RESP && (in->data[at] != '*' || !in->session->authenticated);
}

/* The first request that needs more words than there are must wait until the
 * batch is empty: only then may the words move. */
static bool make_room_for_words(struct batch *b, uint32_t needed)
{
    uint32_t cap = b->words_cap * 2;

    if (b->len > 0)
        return true;
    return words_resize(b, needed > cap ? needed : cap);
}

/* Fills the batch from b->end on. False when memory is short. */
static bool batch_parse(struct worker *w, struct dispatch_input *in)
{
    struct batch *b = w->batch;

    b->len = 0;
    b->words_len = 0;
    b->status = PARSE_DONE;
    while (b->len < BATCH && b->end < in->len) {
        struct entry *e = &b->entries[b->len];
        bool alone = must_be_alone(in, b->end);
        size_t consumed = 0;

        if (alone && b->len > 0)
            break;
        e->request =
            (struct request){.argv = b->words + b->words_len, .argv_max = b->words_cap - b->words_len};
        e->status = parse_one(w, in, &e->request, b->end, &consumed);
        b->end += consumed;
        switch (e->status) {
        case PARSE_NOTHING: continue;
        case PARSE_DONE: break;
        case PARSE_REFUSED:
            if (in->session->dialect == DIALECT_RESP) {
                e->refused = in->parser->resp.refused;
                break;
            }
            e->error = in->parser->memcache.error;
            e->silent = in->parser->memcache.silent;
            e->too_large = in->parser->memcache.too_large;
            break;
        case PARSE_ARGV_FULL:
            if (b->len > 0)
                return true;                   /* the batch as it is; then again */
            if (e->request.argc > WORDS_MAX) { /* memcached's lines of keys have no limit of their own */
                in->parser->memcache.error = "CLIENT_ERROR too many keys";
                b->status = PARSE_BROKEN;
                return true;
            }
            if (!make_room_for_words(b, e->request.argc))
                return false;
            continue;
        case PARSE_MORE:
        case PARSE_BROKEN: b->status = e->status; return true;
        }
        e->end = b->end;
        b->words_len += e->request.argc;
        b->len++;
        if (alone || e->status == PARSE_REFUSED)
            break; /* after a refusal the parser may be swallowing: it must not be asked again from earlier */
    }
    if (b->status == PARSE_DONE && b->end == in->len)
        b->status = PARSE_MORE;
    return true;
}

/* ---- prefetching ---- */

static bool resp_first_key(struct entry *e, struct slice *key)
{
    int first;

    e->command = NULL;
    if (e->status == PARSE_REFUSED)
        return false;
    e->command = command_find(e->request.argv[0]);
    if (e->command == NULL || (first = e->command->first_key) <= 0 || (uint32_t)first >= e->request.argc)
        return false;
    *key = e->request.argv[first];
    return key->len <= STORE_KEY_MAX;
}

static void batch_prefetch(struct worker *w, const struct session *session)
{
    struct batch *b = w->batch;
    enum dialect dialect = session->dialect;
    uint8_t db = server_db(w->server, session->db);
    struct store *store = w->exec.store;

    for (unsigned i = 0; i < b->len; i++) {
        struct entry *e = &b->entries[i];
        struct slice name;
        bool has_key = dialect == DIALECT_RESP
                           ? resp_first_key(e, &name)
                           : e->request.argc > 0 && memcache_first_key(&e->request, &name);

        e->key = has_key ? store_key_in(store, db, name) : (struct key){0};
        if (has_key && b->len > 1)
            store_prefetch_bucket(store, e->key.hash);
    }
    if (b->len == 1)
        return; /* it would be waited for at once */
    for (unsigned i = 0; i < b->len; i++) {
        if (b->entries[i].key.data != NULL)
            store_prefetch_item(store, b->entries[i].key.hash);
    }
}

/* ---- executing ---- */

static void refuse_unknown(struct exec *x, const struct request *rq)
{
    char args[160];
    size_t len = 0;

    args[0] = '\0';
    for (uint32_t i = 1; i < rq->argc && len < 128; i++) {
        struct slice arg = rq->argv[i];
        size_t most = 128 - len;
        int n = snprintf(args + len, sizeof args - len, "'%.*s' ", (int)(arg.len < most ? arg.len : most),
                         (const char *)arg.data);
        len += n > 0 ? (size_t)n : 0;
    }
    reply_error(x, "ERR unknown command '%.*s', with args beginning with: %s", EXEC_QUOTED(rq->argv[0]),
                args);
}

/* A word longer than is ever kept, or than there is memory for now. What came of it is gone already. */
static void refuse_long(struct exec *x, size_t len)
{
    reply_store_refused(x, len > x->options->max_item_size ? STORE_TOO_BIG : STORE_NO_SPACE);
}

enum { ATTACK_LOG_MS = 60 * 1000 };

/* A web page can make a browser POST to us, with commands in the body. redis
 * hangs up at once, before it reads them, and so do we. */
static bool is_http(const struct request *rq)
{
    return slice_is(rq->argv[0], "post") || slice_is(rq->argv[0], "host:");
}

static void hang_up_on_http(struct exec *x)
{
    struct worker *w = x->worker;

    counter_add(x->counters, cross_protocol_closed, 1);
    x->session->close_after_reply = true;
    if (w->ticks_ms < w->next_attack_log_ms)
        return;
    w->next_attack_log_ms = w->ticks_ms + ATTACK_LOG_MS;
    log_event(
        LOG_LEVEL_WARNING, "http_request",
        "addr=%s: POST or Host: sent to the redis port, perhaps by a web page in somebody's browser; closed",
        x->session->address);
}

static bool keys_fit(const struct command *command, const struct request *rq)
{
    int step = command->key_step;
    uint32_t last;

    if (command->first_key <= 0)
        return true;
    last = command_last_key(command, rq->argc);
    for (uint32_t i = (uint32_t)command->first_key; i <= last && i < rq->argc; i += (uint32_t)step) {
        if (rq->argv[i].len > STORE_KEY_MAX)
            return false;
    }
    return true;
}

static bool may_run(struct exec *x, const struct command *command)
{
    if (x->session->authenticated || (command->flags & CMD_NO_AUTH))
        return true;
    if (server_password_set(x->server))
        return false;
    x->session->authenticated = true; /* the password has been taken away since it came */
    return true;
}

static void call(struct exec *x, const struct command *command, struct request *rq)
{
    if (!(command->flags & CMD_EXCLUSIVE) || x->alone) {
        command->handler(x, rq);
        return;
    }
    gate_close(x->server->gate, x->worker->index);
    x->alone = true;
    x->db = server_db(x->server, x->session->db); /* another may have been alone before us */
    command->handler(x, rq);
    x->alone = false;
    gate_open(x->server->gate, x->worker->index);
}

/* The session or the server is in a mode where a request is more than its handler. */
static void run_specially(struct exec *x, const struct command *command, struct request *rq, unsigned modes)
{
    (void)modes;
    call(x, command, rq);
}

static void run_resp(struct exec *x, struct entry *e)
{
    struct request *rq = &e->request;
    const struct command *command = e->command;
    unsigned modes = x->session->modes | atomic_load_explicit(&x->server->modes, memory_order_relaxed);

    if (__builtin_expect(command == NULL, 0)) {
        if (e->status == PARSE_REFUSED)
            refuse_long(x, e->refused);
        else if (is_http(rq))
            hang_up_on_http(x);
        else
            refuse_unknown(x, rq);
        return;
    }
    session_doing(x->session, command->name);
    if (!command_arity_ok(command->arity, rq->argc))
        reply_wrong_arity(x, command->name);
    else if (!may_run(x, command))
        reply_error(x, "NOAUTH Authentication required.");
    else if (!keys_fit(command, rq))
        reply_error(x, "ERR key is longer than %d bytes", STORE_KEY_MAX);
    else if (__builtin_expect(modes != 0, 0))
        run_specially(x, command, rq, modes);
    else
        call(x, command, rq);
}

/* CLIENT REPLY OFF or SKIP: executed, and the reply taken back. */
static void run_muted(struct exec *x, struct entry *e)
{
    struct session *s = x->session;
    size_t mark = out_mark(x->out), pins = x->out->pins_len;

    if (s->replies == REPLY_SKIP_NEXT)
        s->replies = REPLY_SKIPPING;
    run_resp(x, e);
    if (s->replies != REPLY_ON) /* else it was CLIENT REPLY ON, which is answered */
        out_cut(x->out, mark, pins);
    if (s->replies == REPLY_SKIPPING)
        s->replies = REPLY_ON;
}

/* memcached's text authentication: a stranger's first request must be a set
 * (of any key) whose data is "user password". */
static void run_memcache_stranger(struct exec *x, struct entry *e)
{
    const struct request *rq = &e->request;
    const uint8_t *blank;

    if (e->status != PARSE_DONE || !slice_equals(rq->argv[0], slice_of("set"))) {
        reply_line(x, "CLIENT_ERROR unauthenticated");
        return;
    }
    blank = rq->data.len > 0 ? memchr(rq->data.data, ' ', rq->data.len) : NULL;
    struct slice password = {0};
    if (blank != NULL)
        password = (struct slice){blank + 1, rq->data.len - (size_t)(blank + 1 - rq->data.data)};
    if (blank != NULL && server_password_ok(x->server, password)) {
        x->session->authenticated = true;
        reply_line(x, "STORED");
        return;
    }
    counter_add(x->counters, auth_failures, 1);
    reply_line(x, "CLIENT_ERROR authentication failure");
}

static void run_memcache(struct exec *x, struct entry *e)
{
    size_t mark = out_mark(x->out), pins = x->out->pins_len;

    if (!x->session->authenticated && server_password_set(x->server)) {
        run_memcache_stranger(x, e);
        return;
    }
    session_doing(x->session, "memcached");
    if (e->status == PARSE_DONE) {
        memcache_execute(x, &e->request);
        return;
    }
    counter_add(x->counters, protocol_errors, 1);
    memcache_refused(x, &e->request, e->error, e->too_large);
    if (e->silent)
        out_cut(x->out, mark, pins);
}

/* A blob may be kept for a value only if that value is most of it. */
static struct blob *backing_for(struct server *server, const struct dispatch_input *in,
                                const struct request *rq)
{
    size_t longest = rq->data.len;

    if (in->blob == NULL)
        return NULL;
    for (uint32_t i = 0; i < rq->argc; i++) {
        if (rq->argv[i].len > longest)
            longest = rq->argv[i].len;
    }
    if (longest < in->blob->capacity / 4 * 3)
        return NULL;
    if (longest >= HAND_OVER_BYTES)
        memory_hand_over(server, longest);
    return in->blob;
}

/* How many of the batch were executed. */
static unsigned batch_execute(struct worker *w, struct dispatch_input *in)
{
    struct batch *b = w->batch;
    struct session *s = in->session;
    struct exec *x = &w->exec;
    unsigned i = 0;

    x->session = s;
    gate_enter(w->server->gate, w->index);
    while (i < b->len) {
        struct entry *e = &b->entries[i++];

        x->db = server_db(w->server, s->db);
        x->first_key = e->key;
        x->backing = backing_for(w->server, in, &e->request);
        if (s->dialect == DIALECT_MEMCACHE)
            run_memcache(x, e);
        else if (s->replies == REPLY_ON)
            run_resp(x, e);
        else
            run_muted(x, e);
        if (s->close_after_reply || x->out->len + x->out->pinned_bytes >= FULL_BYTES)
            break;
    }
    gate_leave(w->server->gate, w->index);
    s->commands += i;
    counter_add(x->counters, commands_processed, i);
    return i;
}

static void answer_broken(struct worker *w, struct dispatch_input *in)
{
    struct exec *x = &w->exec;

    counter_add(x->counters, protocol_errors, 1);
    x->session = in->session;
    if (in->session->dialect == DIALECT_RESP && in->session->replies == REPLY_ON)
        reply_error(x, "ERR %s", in->parser->resp.error);
    else if (in->session->dialect == DIALECT_MEMCACHE && in->parser->memcache.error[0] != '\0')
        reply_line(x, in->parser->memcache.error);
    in->session->close_after_reply = true;
}

static size_t wanted(const struct dispatch_input *in)
{
    return in->session->dialect == DIALECT_RESP ? in->parser->resp.wanted : in->parser->memcache.wanted;
}

static bool swallowing(const struct dispatch_input *in)
{
    return in->session->dialect == DIALECT_RESP ? in->parser->resp.swallowing
                                                : in->parser->memcache.swallow > 0;
}

/* RESP's parser holds strangers to short requests by itself. */
static bool is_memcache_stranger(struct worker *w, const struct session *session)
{
    return session->dialect == DIALECT_MEMCACHE && !session->authenticated && server_password_set(w->server);
}

enum dispatch_status dispatch(struct worker *w, struct dispatch_input *in)
{
    struct batch *b = w->batch;

    b->end = 0;
    for (;;) {
        if (!batch_parse(w, in))
            return DISPATCH_CLOSE;
        batch_prefetch(w, in->session);
        unsigned done = batch_execute(w, in);
        if (in->session->close_after_reply)
            return DISPATCH_CLOSE;
        if (done < b->len) { /* what was parsed ahead is forgotten */
            in->consumed = b->entries[done - 1].end;
            *in->parser = (union dispatch_parser){0};
            return DISPATCH_FULL;
        }
        in->consumed = b->end;
        if (b->status == PARSE_BROKEN) {
            answer_broken(w, in);
            return DISPATCH_CLOSE;
        }
        if (b->status == PARSE_MORE)
            break;
        if (w->out.len + w->out.pinned_bytes >= FULL_BYTES)
            return DISPATCH_FULL;
    }
    in->wanted = in->consumed < in->len ? wanted(in) : 0;
    in->swallowing = swallowing(in);
    if (in->wanted > STRANGER_BYTES && is_memcache_stranger(w, in->session)) {
        w->exec.session = in->session;
        reply_line(&w->exec, "CLIENT_ERROR unauthenticated");
        return DISPATCH_CLOSE;
    }
    return DISPATCH_MORE;
}
