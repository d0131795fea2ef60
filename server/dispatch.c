/* dispatch.c - one batch at a time: parse, prefetch, execute in order.
 *
 * Rules: (1) requests are answered in the order they came; (2) whoever waits
 * for memory waits once per batch, not once per request: all buckets are
 * asked for, then all items, and only then is the first request executed;
 * (3) a batch may be cut short when its replies grow large, and what was not
 * executed is then parsed again. */
#include "server/dispatch.h"

#include <stdlib.h>

#include "server/batch.h"
#include "server/check.h"
#include "server/cluster/forward.h"
#include "server/cluster/guest.h"
#include "server/cluster/handover.h"
#include "server/cluster/scope.h"
#include "server/command/command.h"
#include "server/command/memcache.h"
#include "server/gate.h"
#include "server/herd/protect.h"
#include "server/memcache_auth.h"
#include "server/log.h"
#include "server/memory.h"
#include "server/monitor.h"
#include "server/origin/origins.h"
#include "server/park.h"
#include "server/pause.h"
#include "server/push.h"
#include "server/server.h"
#include "server/transaction.h"
#include "server/tracking.h"
#include "server/lookout.h"
#include "server/worker.h"

enum {
    WORDS_FIRST = 1024,
    WORDS_KEPT = 16 * 1024,
    WORDS_MAX = RESP_ARGS_MAX,    /* of one request, in every dialect */
    FULL_BYTES = 256 * 1024,      /* of replies: time to send */
    STRANGER_BYTES = 4096,        /* of one memcached request, from whom has not given the password yet */
    HAND_OVER_BYTES = 256 * 1024, /* of a value: worth telling the store that it comes out of the heap */
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
    free((*batch)->line);
    free((*batch)->asked);
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
    free(b->line);
    b->line = NULL;
    b->line_cap = 0;
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
    if (in->session->dialect == DIALECT_MEMCACHE && in->session->binary)
        return binary_parse(&in->parser->binary, longest_kept(w, in), in->data + at, in->len - at, rq,
                            consumed);
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

/* An inline request that is parked is parsed again later, but its words are unquoted in place. */
static bool keep_line(struct batch *b, const struct dispatch_input *in)
{
    const uint8_t *from = in->data + b->end, *end;
    size_t most = in->len - b->end < RESP_INLINE_MAX ? in->len - b->end : RESP_INLINE_MAX;

    b->line_len = 0;
    if ((end = memchr(from, '\n', most)) == NULL)
        return true;
    b->line_at = b->end;
    b->line_len = (size_t)(end - from);
    if (b->line_len > b->line_cap) {
        uint8_t *line = realloc(b->line, b->line_len);

        if (line == NULL)
            return false;
        b->line = line;
        b->line_cap = b->line_len;
    }
    if (b->line_len > 0)
        memcpy(b->line, from, b->line_len);
    return true;
}

/* The first request that needs more words than there are must wait until the
 * batch is empty: only then may the words move. */
bool batch_make_room(struct batch *b, uint32_t words)
{
    uint32_t cap = b->words_cap * 2;

    if (b->len > 0)
        return true;
    return words_resize(b, words > cap ? words : cap);
}

/* Fills the batch from b->end on. False when memory is short. */
static bool batch_parse(struct worker *w, struct dispatch_input *in)
{
    struct batch *b = w->batch;

    b->len = 0;
    b->words_len = 0;
    b->line_len = 0;
    b->status = PARSE_DONE;
    while (b->len < BATCH && b->end < in->len) {
        struct entry *e = &b->entries[b->len];
        bool alone = must_be_alone(in, b->end);
        size_t consumed = 0;

        if (alone && b->len > 0)
            break;
        if (alone && in->data[b->end] != '*' && !keep_line(b, in))
            return false;
        e->request =
            (struct request){.argv = b->words + b->words_len, .argv_max = b->words_cap - b->words_len};
        e->begin = b->end;
        e->status = parse_one(w, in, &e->request, b->end, &consumed);
        b->end += consumed;
        switch (e->status) {
        case PARSE_NOTHING: continue;
        case PARSE_DONE: break;
        case PARSE_REFUSED:
            if (in->session->dialect == DIALECT_RESP) {
                e->refused = in->parser->resp.refused;
                e->begun = (struct slice){in->data + b->end - consumed, consumed};
                break;
            }
            if (in->session->binary)
                break;
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
            if (!batch_make_room(b, e->request.argc))
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

bool entry_first_key(const struct session *session, struct entry *e, struct slice *key)
{
    if (session->dialect == DIALECT_RESP)
        return resp_first_key(e, key);
    if (session->binary)
        return binary_first_key(&e->request, key);
    return e->request.argc > 0 && memcache_first_key(&e->request, key);
}

static void batch_prefetch(struct worker *w, const struct session *session)
{
    struct batch *b = w->batch;
    uint8_t db = server_db(w->server, session->db);
    struct store *store = w->exec.store;

    for (unsigned i = 0; i < b->len; i++) {
        struct entry *e = &b->entries[i];
        struct slice name;
        bool has_key = entry_first_key(session, e, &name);

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

/* ---- looking ahead ---- */

static struct slice line_at(const uint8_t **p, const uint8_t *end)
{
    const uint8_t *start = *p, *eol = memchr(start, '\n', (size_t)(end - start));

    if (eol == NULL)
        return (struct slice){0};
    *p = eol + 1;
    return (struct slice){start, (size_t)(eol - start)};
}

/* The second word: of `*2 $3 GET $5 hello`, and of `get hello`. */
static struct slice guess_key(enum dialect dialect, const uint8_t *data, size_t len)
{
    const uint8_t *p = data, *end = data + len;

    if (dialect == DIALECT_PEER)
        return (struct slice){0};
    if (dialect == DIALECT_RESP) {
        struct slice word = {0};
        for (unsigned line = 0; line < 5 && p < end; line++)
            word = line_at(&p, end);
        if (*data != '*' || word.len < 2)
            return (struct slice){0};
        return (struct slice){word.data, word.len - 1};
    }
    struct slice line = line_at(&p, end);
    const uint8_t *from = line.len > 0 ? memchr(line.data, ' ', line.len) : NULL;
    if (from == NULL)
        return (struct slice){0};
    from++;
    end = line.data + line.len;
    for (p = from; p<end && * p> ' '; p++)
        ;
    return (struct slice){from, (size_t)(p - from)};
}

uint64_t dispatch_look_ahead(struct worker *w, const struct session *session, const uint8_t *data, size_t len)
{
    struct slice name = guess_key(session->dialect, data, len);
    struct store *store = w->exec.store;
    uint64_t hash;

    if (name.len == 0 || name.len > STORE_KEY_MAX)
        return 0;
    hash = store_key_in(store, server_db(w->server, session->db), name).hash;
    store_prefetch_bucket(store, hash);
    return hash;
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

static void __attribute__((noinline))
run_alone(struct exec *x, const struct command *command, struct request *rq)
{
    gate_close(x->server->gate, x->worker->index);
    x->alone = true;
    x->now = clock_now();                         /* it may have been a long wait */
    x->db = server_db(x->server, x->session->db); /* another may have been alone before us */
    command->handler(x, rq);
    x->alone = false;
    gate_open(x->server->gate, x->worker->index);
}

static inline void run_handler(struct exec *x, const struct command *command, struct request *rq)
{
    if (!(command->flags & CMD_EXCLUSIVE) || x->alone)
        command->handler(x, rq);
    else
        run_alone(x, command, rq);
}

/* Not inlined: the hot path is call()'s first half. */
static void __attribute__((noinline))
call_timed(struct exec *x, const struct command *command, struct request *rq)
{
    struct figures *f = x->worker->figures;
    uint64_t began = figures_begin(f), ns;
    bool tracking;

    run_handler(x, command, rq);
    if (x->session->parked != PARK_NOT)
        return; /* it will be run again */
    tracking = atomic_load_explicit(&x->server->lookout->tracking, memory_order_relaxed);
    ns = figures_end(f, command, session_does(x->session), began, x->errors > 0, tracking);
    x->errors = 0; /* those of a request inside EXEC are not EXEC's own */
    lookout_request(x, x->server->lookout, command, rq, ns);
}

/* Runs it, and keeps the figures: see figures.h. */
static void call(struct exec *x, const struct command *command, struct request *rq)
{
    struct figures *f = x->worker->figures;

    if (figures_times(f, command, rq->argc)) {
        call_timed(x, command, rq);
        return;
    }
    run_handler(x, command, rq);
    if (__builtin_expect(x->session->parked != PARK_NOT, 0))
        return; /* it will be run again */
    figures_count(&figures_of(f, command)->calls);
    if (__builtin_expect(x->errors > 0, 0)) {
        figures_count(&figures_of(f, command)->failed);
        x->errors = 0;
    }
}

/* Whether the session's own modes let it send this. False: answered. */
static bool is_allowed(struct exec *x, const struct command *command, unsigned modes)
{
    if ((modes & SESSION_SUBSCRIBED) && x->session->resp == 2 && !(command->flags & CMD_IN_SUBSCRIBED)) {
        reply_error(
            x,
            "ERR Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are "
            "allowed in this context",
            command->name);
        return false;
    }
    if ((modes & SESSION_MONITOR) &&
        ((command->flags & (CMD_WRITE | CMD_READONLY)) || command->handler == cmd_publish)) {
        reply_error(x, "ERR Replica can't interact with the keyspace"); /* redis's view of who monitors */
        return false;
    }
    return true;
}

/* Executed, with all who want to know about it. */
static void run_observed(struct exec *x, const struct command *command, struct request *rq, unsigned modes)
{
    if (modes & SESSION_TRACKING)
        tracking_before(x, command, rq);
    x->no_touch = (modes & SESSION_NO_TOUCH) != 0;
    call(x, command, rq);
    x->no_touch = false;
    if (x->session->parked != PARK_NOT)
        return;
    if (modes & SESSION_TRACKING)
        tracking_after(x, command);
    if (modes & SERVER_MONITORED)
        monitor_feed(x, command, rq);
}

/* Most reads find what they look for, and need no origin. So they run first, and
 * only one that misses a key of an origin goes the long way. False: it did. */
static bool run_hopefully(struct exec *x, const struct command *command, struct request *rq)
{
    if (!origins_may_hope(command) || exec_outcome(x) != PARK_FRESH)
        return false;
    x->hopeful = true;
    call(x, command, rq);
    x->hopeful = false;
    if (x->session->parked != PARK_ASKING)
        return true;
    x->session->parked = PARK_NOT;
    return false;
}

/* Its key may live on another node. True: that is all there is to do here. */
static bool run_elsewhere(struct exec *x, struct entry *e, unsigned modes)
{
    switch (forward_resp(x, e)) {
    case FORWARD_HERE: return false;
    case FORWARD_DONE:
        if ((modes & SERVER_MONITORED) && x->session->parked == PARK_NOT)
            monitor_feed(x, e->command, &e->request);
        return true;
    case FORWARD_MISS: run_observed(x, e->command, &e->request, modes); return true;
    }
    CHECK_UNREACHABLE();
}

/* What of it is for this node: once its keys are here, and nothing has to be fetched. It may be parked
 * instead. */
static void run_here(struct exec *x, const struct command *command, struct request *rq, unsigned modes)
{
    if ((modes & SERVER_CLUSTER) && !handover_ready(x, command, rq))
        return;
    if (modes == (SERVER_CLUSTER | SERVER_ORIGINS) && !scope_is_open(x) && run_hopefully(x, command, rq))
        return;
    if (!(modes & SERVER_ORIGINS) || origins_ready(x, command, rq))
        run_observed(x, command, rq, modes);
}

/* The session or the server is in a mode where a request is more than its handler. */
static void run_specially(struct exec *x, struct entry *e, unsigned modes)
{
    const struct command *command = e->command;
    struct request *rq = &e->request;

    if (modes == SERVER_ORIGINS && run_hopefully(x, command, rq))
        return;
    if (!is_allowed(x, command, modes))
        return;
    if ((modes & SERVER_PAUSED) && pause_holds(x, command)) {
        x->session->parked = PARK_PAUSED;
        return;
    }
    if ((modes & SERVER_CLUSTER) && !scope_ready(x, command, &rq))
        return;
    if ((modes & SESSION_MULTI) && !(command->flags & CMD_NOT_QUEUED)) {
        if ((modes & SERVER_ORIGINS) && !origins_may_queue(x, command, rq)) {
            transaction_spoil(x->session);
            return;
        }
        transaction_queue(x, command, rq);
        return;
    }
    if ((modes & SERVER_CLUSTER) && !scope_is_open(x) && run_elsewhere(x, e, modes))
        return;
    run_here(x, command, rq, modes);
    x->instead = false;
    if (scope_is_open(x))
        scope_end(x, command);
}

void dispatch_execute(struct exec *x, const struct command *command, struct request *rq)
{
    unsigned modes = x->session->modes | atomic_load_explicit(&x->server->modes, memory_order_relaxed);

    x->db = server_db(x->server, x->session->db);
    session_doing(x->session, command->name);
    if (modes != 0)
        run_observed(x, command, rq, modes);
    else
        call(x, command, rq);
}

/* A value that is too long was to fill a key, perhaps: then somebody may be waiting for it. */
static void give_up_fill(struct exec *x, struct slice begun)
{
    struct slice words[3];
    uint32_t n = resp_words_before(begun.data, begun.len, words, 3);
    const struct command *command = n >= 2 ? command_find(words[0]) : NULL;
    struct key key;

    if (command == NULL || !(command->flags & CMD_WRITE) || command->first_key != 1 ||
        words[1].len > STORE_KEY_MAX || (x->session->modes & SESSION_MULTI) || !may_run(x, command))
        return;
    key = store_key_in(x->store, x->db, words[1]);
    if (command->handler == cmd_setlease && n == 3)
        lease_give_up(x, &key, words[2]);
    else if (x->session->held != NULL)
        protect_give_up(x, &key);
}

/* Not even looked at further. Between MULTI and EXEC that is the end of the transaction. */
static void refuse(struct exec *x, const struct entry *e)
{
    const struct request *rq = &e->request;
    const struct command *command = e->command;

    if (command == NULL && e->status == PARSE_REFUSED) {
        refuse_long(x, e->refused);
        give_up_fill(x, e->begun);
    } else if (command == NULL && is_http(rq))
        hang_up_on_http(x);
    else if (command == NULL)
        refuse_unknown(x, rq);
    else if (!command_arity_ok(command->arity, rq->argc))
        transaction_refuse_arity(x, command);
    else if (!may_run(x, command))
        reply_error(x, "NOAUTH Authentication required.");
    else
        reply_error(x, "ERR key is longer than %d bytes", STORE_KEY_MAX);
    transaction_spoil(x->session);
}

static void run_resp(struct exec *x, struct entry *e)
{
    struct request *rq = &e->request;
    const struct command *command = e->command;
    unsigned modes = x->session->modes | atomic_load_explicit(&x->server->modes, memory_order_relaxed);

    if (command != NULL)
        session_doing(x->session, command->name);
    if (command == NULL || !command_arity_ok(command->arity, rq->argc) || !may_run(x, command) ||
        !keys_fit(command, rq))
        refuse(x, e);
    else if (__builtin_expect(modes != 0, 0))
        run_specially(x, e, modes);
    else {
        call(x, command, rq);
        return;
    }
    if (x->errors > 0) {
        if (command != NULL)
            figures_count(&figures_of(x->worker->figures, command)->rejected);
        x->errors = 0;
    }
}

/* CLIENT REPLY OFF or SKIP: executed, and the reply taken back. */
static void run_muted(struct exec *x, struct entry *e)
{
    struct session *s = x->session;
    size_t mark = out_mark(x->out), pins = x->out->pins_len;
    enum reply_mode before = s->replies;

    if (s->replies == REPLY_SKIP_NEXT)
        s->replies = REPLY_SKIPPING;
    run_resp(x, e);
    if (s->parked != PARK_NOT) {
        s->replies = before; /* nothing was written, and the request will come again */
        return;
    }
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
    struct slice user = {0}, password = {0};
    if (blank != NULL) {
        user = (struct slice){rq->data.data, (size_t)(blank - rq->data.data)};
        password = (struct slice){blank + 1, rq->data.len - user.len - 1};
    }
    if (user.len == 0 || password.len == 0) {
        reply_line(x, "CLIENT_ERROR bad authentication token format");
        return;
    }
    if (memcache_auth_ok(x->server, user, password)) {
        x->session->authenticated = true;
        reply_line(x, "STORED");
        return;
    }
    counter_add(x->counters, auth_failures, 1);
    reply_line(x, "CLIENT_ERROR authentication failure");
}

static void run_binary(struct exec *x, struct entry *e)
{
    session_doing(x->session, "memcached");
    if (e->status == PARSE_DONE)
        binary_execute(x, &e->request);
    else
        binary_refused(x, &e->request);
}

static void run_memcache_text(struct exec *x, struct entry *e)
{
    size_t mark = out_mark(x->out), pins = x->out->pins_len;

    if (!x->session->authenticated && memcache_auth_needed(x->server)) {
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

static void run_memcache(struct exec *x, struct entry *e)
{
    if (x->session->binary)
        run_binary(x, e);
    else
        run_memcache_text(x, e);
}

/* As run_hopefully(). */
static bool run_memcache_hopefully(struct exec *x, struct entry *e)
{
    x->hopeful = true;
    run_memcache(x, e);
    x->hopeful = false;
    if (x->session->parked != PARK_ASKING)
        return true;
    x->session->parked = PARK_NOT;
    return false;
}

/* As run_here() says. `packet`: the request as it came, of the binary protocol. */
static bool line_is_ready(struct exec *x, const struct request *rq, const struct request *packet,
                          unsigned modes)
{
    return (!(modes & SERVER_CLUSTER) || handover_ready_memcache(x, packet)) &&
           (!(modes & SERVER_ORIGINS) || origins_ready_memcache(x, rq, packet));
}

static void run_memcache_specially(struct exec *x, struct entry *e, unsigned modes)
{
    bool stranger = !x->session->authenticated && memcache_auth_needed(x->server);
    struct request whole = e->request, line = whole, *rq = &line;
    enum forward_verdict verdict;
    struct slice words[2];

    if (!stranger && e->status != PARSE_DONE && (modes & SERVER_CLUSTER))
        forward_refused(x, e);
    if (stranger || e->status != PARSE_DONE) {
        run_memcache(x, e);
        return;
    }
    if (modes == SERVER_ORIGINS && origins_may_hope_memcache(x, &e->request) &&
        exec_outcome(x) == PARK_FRESH && run_memcache_hopefully(x, e))
        return;
    if (x->session->binary)
        line = binary_in_words(&e->request, words);
    if ((modes & SERVER_PAUSED) && pause_holds_memcache(x, &line)) {
        x->session->parked = PARK_PAUSED;
        return;
    }
    verdict = modes & SERVER_CLUSTER ? forward_memcache(x, e) : FORWARD_HERE;
    if (verdict == FORWARD_HERE && (modes & SERVER_CLUSTER) && !scope_ready_line(x, &rq, &e->request))
        return;
    if (!x->session->binary)
        e->request = *rq; /* what of it is for this node */
    if (verdict != FORWARD_HERE || line_is_ready(x, rq, &e->request, modes)) {
        if (verdict != FORWARD_DONE)
            run_memcache(x, e);
        if ((modes & SERVER_MONITORED) && x->session->parked == PARK_NOT)
            monitor_feed(x, NULL, rq);
    }
    x->instead = false;
    if (scope_is_open(x))
        scope_end(x, NULL);
    e->request = whole; /* the words of a part have ended with it, and the slowlog may want to know */
}

static inline void run_entry(struct exec *x, struct entry *e, unsigned modes)
{
    const struct session *s = x->session;

    if (s->dialect == DIALECT_MEMCACHE && __builtin_expect(modes != 0, 0))
        run_memcache_specially(x, e, modes);
    else if (s->dialect == DIALECT_MEMCACHE)
        run_memcache(x, e);
    else if (s->replies == REPLY_ON)
        run_resp(x, e);
    else
        run_muted(x, e);
}

void entry_run(struct exec *x, struct entry *e)
{
    run_entry(x, e, atomic_load_explicit(&x->server->modes, memory_order_relaxed));
}

/* A blob may be kept for a value only if that value is most of it. */
struct blob *entry_backing(struct server *server, const struct dispatch_input *in, const struct request *rq)
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
    if (longest >= HAND_OVER_BYTES && !(in->session->modes & SESSION_MULTI)) /* else at EXEC */
        memory_hand_over(server, longest);
    return in->blob;
}

/* Whoever made a batch slow that was not timed one by one, all of it is told. */
static void lookout_batch(struct worker *w, unsigned done)
{
    uint64_t ns = figures_batch_end(w->figures);
    const struct request *first = &w->batch->entries[0].request;

    if (ns < atomic_load_explicit(&w->server->lookout->least_ns, memory_order_relaxed) || ns == 0 ||
        first->argc == 0)
        return;
    lookout_slow_batch(&w->exec, first, done - 1, ns);
}

/* How many of the batch were executed. */
static unsigned batch_execute(struct worker *w, struct dispatch_input *in)
{
    struct batch *b = w->batch;
    struct session *s = in->session;
    struct exec *x = &w->exec;
    unsigned i = 0;
    unsigned modes = atomic_load_explicit(&w->server->modes, memory_order_relaxed);
    bool was_parked = s->outcome != PARK_FRESH;

    x->session = s;
    x->errors = 0;
    if (__builtin_expect((modes & SERVER_CLUSTER) != 0, 0)) {
        routes_enter(w->server, &w->routes);
        forward_ahead(w, in);
    }
    if (gate_enter(w->server->gate, w->index))
        w->now = x->now = clock_now();
    if (s->dialect == DIALECT_RESP)
        figures_batch_begin(w->figures, b->len, lookout_is_close(w->server->lookout));
    else
        figures_batch_whole(w->figures);
    while (i < b->len) {
        struct entry *e = &b->entries[i++];

        x->db = server_db(w->server, s->db);
        x->first_key = e->key;
        x->backing = entry_backing(w->server, in, &e->request);
        run_entry(x, e, modes);
        if (__builtin_expect(s->parked != PARK_NOT, 0)) {
            i--;
            break;
        }
        if (was_parked) {
            s->outcome = PARK_FRESH;
            was_parked = false;
            herd_answered(x);
        }
        if (s->close_after_reply || s->producer != NULL || x->out->len + x->out->pinned_bytes >= FULL_BYTES)
            break;
    }
    lookout_batch(w, i);
    gate_leave(w->server->gate, w->index);
    if (__builtin_expect((modes & SERVER_CLUSTER) != 0, 0))
        routes_leave(&w->routes);
    push_flush(w);
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
    else if (in->session->dialect == DIALECT_MEMCACHE && !in->session->binary &&
             in->parser->memcache.error[0] != '\0')
        reply_line(x, in->parser->memcache.error);
    in->session->close_after_reply = true;
}

static size_t wanted(const struct dispatch_input *in)
{
    if (in->session->dialect == DIALECT_RESP)
        return in->parser->resp.wanted;
    return in->session->binary ? in->parser->binary.wanted : in->parser->memcache.wanted;
}

static bool swallowing(const struct dispatch_input *in)
{
    if (in->session->dialect == DIALECT_RESP)
        return in->parser->resp.swallowing;
    return in->session->binary ? in->parser->binary.swallow > 0 : in->parser->memcache.swallow > 0;
}

/* RESP's parser holds strangers to short requests by itself. */
static bool is_memcache_stranger(struct worker *w, const struct session *session)
{
    return session->dialect == DIALECT_MEMCACHE && !session->authenticated && memcache_auth_needed(w->server);
}

static void refuse_stranger(struct worker *w, struct dispatch_input *in)
{
    w->exec.session = in->session;
    if (in->session->binary)
        binary_refuse_stranger(&w->exec, in->data + in->consumed);
    else
        reply_line(&w->exec, "CLIENT_ERROR unauthenticated");
}

/* The next piece of a long reply. False: there is more to come. */
static bool produce(struct worker *w, struct session *s)
{
    struct exec *x = &w->exec;
    bool more;

    x->session = s;
    gate_enter(w->server->gate, w->index);
    x->db = server_db(w->server, s->db);
    more = s->producer->more(x, s->producer);
    gate_leave(w->server->gate, w->index);
    if (!more)
        session_end_producer(s);
    return !more;
}

/* Back to the beginning of the request that waits. */
static void leave_parked(struct dispatch_input *in, const struct batch *b, unsigned done)
{
    if (done > 0)
        in->consumed = b->entries[done - 1].end;
    if (b->line_len > 0)
        memcpy(in->data + b->line_at, b->line, b->line_len);
    *in->parser = (union dispatch_parser){0};
}

/* Other nodes have answered, maybe. True: there is no more to do now. */
static bool answered_elsewhere(struct worker *w, struct dispatch_input *in, enum dispatch_status *status)
{
    forward_answer(w, in);
    if (in->session->parked != PARK_NOT)
        *status = DISPATCH_PARKED;
    else if (w->out.len + w->out.pinned_bytes >= FULL_BYTES)
        *status = DISPATCH_FULL;
    else
        return false;
    return true;
}

static enum dispatch_status dispatch_requests(struct worker *w, struct dispatch_input *in)
{
    struct batch *b = w->batch;
    enum dispatch_status status;

    if (__builtin_expect(in->session->calls != NULL, 0) && answered_elsewhere(w, in, &status))
        return status;
    b->end = in->consumed;
    if (in->session->producer != NULL && !produce(w, in->session))
        return DISPATCH_FULL;
    /* The first byte of a memcached connection says which protocol it will speak. */
    if (in->session->dialect == DIALECT_MEMCACHE && in->session->commands == 0 && in->len > 0)
        in->session->binary = in->data[0] == BINARY_MAGIC;
    for (;;) {
        if (!batch_parse(w, in))
            return DISPATCH_CLOSE;
        batch_prefetch(w, in->session);
        unsigned done = batch_execute(w, in);
        if (in->session->close_after_reply)
            return DISPATCH_CLOSE;
        if (in->session->parked != PARK_NOT) {
            leave_parked(in, b, done);
            return DISPATCH_PARKED;
        }
        if (done < b->len || in->session->producer != NULL) { /* what was parsed ahead is forgotten */
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
        refuse_stranger(w, in);
        return DISPATCH_CLOSE;
    }
    return DISPATCH_MORE;
}

enum dispatch_status dispatch(struct worker *w, struct dispatch_input *in)
{
    enum dispatch_status status;

    if (__builtin_expect(in->session->dialect == DIALECT_PEER, 0))
        return guest_dispatch(w, in);
    status = dispatch_requests(w, in);
    in->session->position += in->consumed;
    return status;
}
