#include "server/cluster/forward.h"

#include <stdlib.h>

#include "cluster/slot.h"
#include "protocol/memcache_binary.h"
#include "protocol/memcache_meta.h"
#include "protocol/memcache_text.h"
#include "server/check.h"
#include "server/cluster/guest.h"
#include "server/cluster/link.h"
#include "server/command/command.h"
#include "server/command/memcache.h"
#include "server/conn.h"
#include "server/figures.h"
#include "server/post.h"
#include "server/worker.h"

enum {
    ROOM = 128,              /* bytes of an answer that need no memory of their own */
    PIN_BYTES = 16 * 1024,   /* of an answer: kept, and sent, from where it was received */
    FULL_BYTES = 256 * 1024, /* of answers at once: time to send */
    LOOK_FIRST_MS = 5,       /* when one is asked again whose node said that it does not serve the key ... */
    LOOK_MOST_MS = 100,      /* ... and ever later, up to this, unless there are new routes */
    HOPS_MOST = PEER_HOPS,
};

enum forward_state {
    FORWARD_ASKED,
    FORWARD_ANSWERED,
    FORWARD_AGAIN,  /* not executed, or may be executed twice: to be asked anew */
    FORWARD_UNKNOWN /* may have been executed, and may not be executed twice */
};

/* A request and what it came to. */
struct forward {
    struct forward *next;
    struct session *session;
    struct call *call;             /* FORWARD_ASKED */
    const struct command *command; /* NULL: memcached's */
    uint64_t begins, ends;         /* its place in what the client has sent */
    uint64_t version;              /* of the routes by which it was asked last */
    instant deadline, look;        /* FORWARD_AGAIN: not before that */
    enum forward_state state;
    bool reads, repeats; /* changes nothing; may be executed twice */
    bool waits_there;    /* for something that may take long */
    unsigned tries;
    struct slice answer; /* in the room, in the blob, or in memory of its own */
    struct blob *blob;
    uint8_t room[ROOM];
};

/* ---- which requests ---- */

uint16_t forward_holder(const struct worker *w, struct slice key)
{
    const struct routes *routes = w->routes.routes;

    if (routes == NULL || routes->alone)
        return ROUTE_HERE;
    return routes->holder[slot_of_key(key)];
}

/* What is asked, and of which key. */
struct errand {
    struct slice key;
    bool reads, repeats;
    uint8_t decoded[META_KEY_ROOM];
};

static bool is_command(const struct command *c, command_handler *const *handlers, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (c->handler == handlers[i])
            return true;
    }
    return false;
}

/* SET with an option that looks at what is there, or that answers with it. */
static bool set_is_plain(const struct request *rq)
{
    for (uint32_t i = 3; i < rq->argc; i++) {
        if (slice_is(rq->argv[i], "nx") || slice_is(rq->argv[i], "xx") || slice_is(rq->argv[i], "get") ||
            slice_is(rq->argv[i], "ifeq"))
            return false;
    }
    return true;
}

/* Executed twice it leaves behind what it leaves behind executed once. (Its answer may differ: the second DEL
 * finds nothing.) */
static bool resp_repeats(const struct command *c, const struct request *rq)
{
    static command_handler *const same[] = {cmd_setex,    cmd_psetex,    cmd_del,     cmd_invalidate,
                                            cmd_expireat, cmd_pexpireat, cmd_persist, cmd_expire,
                                            cmd_pexpire,  cmd_getex,     cmd_setbit,  cmd_setrange};

    if (c->flags & CMD_READONLY)
        return true;
    return c->handler == cmd_set ? set_is_plain(rq) : is_command(c, same, sizeof same / sizeof *same);
}

/* False: it has no key, or several. */
static bool resp_errand(const struct command *c, const struct request *rq, struct errand *errand)
{
    if (c->handler == cmd_object && rq->argc >= 3)
        errand->key = rq->argv[2];
    else if (c->first_key > 0 && command_last_key(c, rq->argc) == (uint32_t)c->first_key &&
             !(c->flags & (CMD_PUBSUB | CMD_NOT_QUEUED)))
        errand->key = rq->argv[c->first_key];
    else
        return false;
    errand->reads = (c->flags & CMD_READONLY) || c->handler == cmd_object;
    errand->repeats = errand->reads || resp_repeats(c, rq);
    return true;
}

bool forward_takes(const struct command *command, const struct request *rq)
{
    struct errand errand;

    return resp_errand(command, rq, &errand);
}

/* Meta commands name a key that is no text as base64. */
static bool decode_key(const struct request *rq, struct errand *errand)
{
    for (uint32_t i = 2; i < rq->argc; i++) {
        size_t len;

        if (rq->argv[i].len != 1 || rq->argv[i].data[0] != 'b')
            continue;
        len = base64_decode(errand->decoded, errand->key);
        errand->key = (struct slice){errand->decoded, len};
        return len > 0;
    }
    return true;
}

static bool has_flag(const struct request *rq, uint32_t from, uint8_t flag)
{
    for (uint32_t i = from; i < rq->argc; i++) {
        if (rq->argv[i].len > 0 && rq->argv[i].data[0] == flag)
            return true;
    }
    return false;
}

static bool meta_errand(const struct request *rq, enum meta_verb verb, struct errand *errand)
{
    if (verb == META_NOOP || rq->argc < 2 || rq->argv[1].len > MEMCACHE_KEY_MAX)
        return false;
    errand->key = rq->argv[1];
    errand->reads =
        (verb == META_GET && !has_flag(rq, 2, 'N') && !has_flag(rq, 2, 'R')) || verb == META_DEBUG;
    errand->repeats = verb == META_GET || verb == META_DEBUG ||
                      (verb == META_DELETE && !has_flag(rq, 2, 'C')) ||
                      (verb == META_SET && !has_flag(rq, 3, 'C') && !has_flag(rq, 3, 'M'));
    return decode_key(rq, errand);
}

static bool line_errand(const struct request *rq, struct errand *errand)
{
    static const char *const reads[] = {"get", "gets", "bget", "metaget"};
    static const char *const repeats[] = {"set", "delete", "touch", "gat", "gats"};
    struct slice verb = rq->argv[0];
    enum meta_verb meta;
    bool lists;

    if (meta_verb_of(verb, &meta))
        return meta_errand(rq, meta, errand);
    if (!memcache_first_key(rq, &errand->key))
        return false;
    errand->reads = errand->repeats = false;
    for (size_t i = 0; i < sizeof reads / sizeof *reads; i++)
        errand->reads |= slice_equals(verb, slice_of(reads[i]));
    for (size_t i = 0; i < sizeof repeats / sizeof *repeats; i++)
        errand->repeats |= slice_equals(verb, slice_of(repeats[i]));
    errand->repeats |= errand->reads;
    lists = verb.len > 0 && (errand->reads || slice_begins_with(verb, slice_of("gat")) ||
                             slice_equals(verb, slice_of("lease-get")));
    return !lists || errand->key.data == rq->argv[rq->argc - 1].data;
}

static bool packet_errand(const struct request *rq, struct errand *errand)
{
    struct binary_header h = binary_header_decode(rq->argv[0].data);

    if (rq->argc < 2)
        return false;
    errand->key = rq->argv[1];
    errand->reads = errand->repeats = false;
    switch (h.opcode) {
    case BINARY_GET:
    case BINARY_GETQ:
    case BINARY_GETK:
    case BINARY_GETKQ: errand->reads = errand->repeats = true; return true;
    case BINARY_TOUCH:
    case BINARY_GAT:
    case BINARY_GATQ:
    case BINARY_GATK:
    case BINARY_GATKQ: errand->repeats = true; return true;
    case BINARY_SET:
    case BINARY_SETQ:
    case BINARY_DELETE:
    case BINARY_DELETEQ: errand->repeats = h.cas == 0; return true;
    case BINARY_ADD:
    case BINARY_ADDQ:
    case BINARY_REPLACE:
    case BINARY_REPLACEQ:
    case BINARY_INCREMENT:
    case BINARY_INCREMENTQ:
    case BINARY_DECREMENT:
    case BINARY_DECREMENTQ:
    case BINARY_APPEND:
    case BINARY_APPENDQ:
    case BINARY_PREPEND:
    case BINARY_PREPENDQ: return true;
    }
    return false;
}

static bool memcache_errand(const struct session *s, const struct request *rq, struct errand *errand)
{
    return s->binary ? packet_errand(rq, errand) : line_errand(rq, errand);
}

/* ---- the queue ---- */

static void free_forward(struct forward *f)
{
    call_forget(&f->call);
    if (f->blob != NULL)
        blob_unpin(&f->blob);
    else if (f->answer.data != f->room)
        free((void *)(uintptr_t)f->answer.data);
    free(f);
}

static size_t held(const struct forward *f)
{
    return sizeof *f + (f->answer.data != f->room ? f->answer.len : 0);
}

size_t forward_holds(const struct session *s)
{
    size_t all = 0;

    for (const struct forward *f = s->calls; f != NULL; f = f->next)
        all += held(f);
    return all;
}

static void pop(struct session *s)
{
    struct forward *f = s->calls;

    s->calls = f->next;
    if (s->calls == NULL)
        s->calls_last = NULL;
    free_forward(f);
}

void forward_leave(struct session *s)
{
    while (s->calls != NULL)
        pop(s);
}

static uint64_t place(const struct session *s, size_t at)
{
    return s->position + at;
}

/* The one of the request that ends there, if it was asked; what stands before it has been dealt with. */
static struct forward *at_turn(struct session *s, uint64_t ends)
{
    while (s->calls != NULL && s->calls->ends < ends)
        pop(s);
    return s->calls != NULL && s->calls->ends == ends ? s->calls : NULL;
}

/* Behind all that stand before it in what the client has sent. That is nearly always the end of the queue;
 * but one that was to be executed here, and had to wait, may be served elsewhere by the time it is its turn.
 */
static void put_in_line(struct session *s, struct forward *f)
{
    struct forward **at = &s->calls;

    if (s->calls_last != NULL && s->calls_last->ends < f->ends)
        at = &s->calls_last->next;
    while (*at != NULL && (*at)->ends < f->ends)
        at = &(*at)->next;
    f->next = *at;
    *at = f;
    if (f->next == NULL)
        s->calls_last = f;
}

static struct forward *append(struct worker *w, struct session *s, const struct entry *e,
                              const struct errand *errand, const struct asked *asked)
{
    span patience = {option_live(w->exec.options, cluster_forward_timeout)};
    struct forward *f = malloc(sizeof *f);

    if (asked != NULL && asked->header.time_ms < patience.ms)
        patience.ms = asked->header.time_ms; /* then nobody waits for it any more */

    if (f == NULL)
        return NULL;
    f->session = s;
    f->call = NULL;
    f->command = s->dialect == DIALECT_RESP ? e->command : NULL;
    f->begins = place(s, e->begin);
    f->ends = place(s, e->end);
    f->version = 0;
    f->deadline = after(w->now, patience);
    f->look = (instant){0};
    f->state = FORWARD_AGAIN;
    f->reads = errand->reads;
    f->repeats = errand->repeats;
    f->waits_there = false;
    f->tries = 0;
    f->answer = (struct slice){f->room, 0};
    f->blob = NULL;
    put_in_line(s, f);
    return f;
}

/* ---- answers ---- */

/* False: memory is short. */
static bool keep(struct forward *f, const struct call_answer *answer)
{
    struct slice bytes = answer->bytes;
    uint8_t *copy;

    if (answer->blob != NULL && answer->bytes.len >= PIN_BYTES) {
        f->blob = answer->blob;
        blob_pin(f->blob);
        f->answer = answer->bytes;
        return true;
    }
    copy = bytes.len <= ROOM ? f->room : malloc(bytes.len);
    if (copy == NULL)
        return false;
    f->answer = (struct slice){copy, bytes.len};
    if (bytes.len > 0)
        memcpy(copy, bytes.data, bytes.len);
    return true;
}

static void wake(struct forward *f)
{
    struct session *s = f->session;

    if (s->calls == f && s->parked == PARK_CALL)
        conn_wake_later(conn_of(s), PARK_WOKEN);
}

/* When to ask again: at once by new routes, else a little later each time. */
static void ask_later(struct forward *f)
{
    struct worker *w = conn_of(f->session)->worker;
    const struct routes *routes = w->routes.routes;
    int64_t ms = (int64_t)LOOK_FIRST_MS << (f->tries < 6 ? f->tries : 6);

    f->state = FORWARD_AGAIN;
    f->tries++;
    f->look = w->now;
    if (routes == NULL || routes->version == f->version)
        f->look = after(w->now, (span){ms < LOOK_MOST_MS ? ms : LOOK_MOST_MS});
}

static void on_done(void *arg, struct call *call, const struct call_answer *answer)
{
    struct forward *f = arg;

    (void)call;
    f->call = NULL;
    switch (answer->end) {
    case CALL_ANSWERED:
        f->state = keep(f, answer) ? FORWARD_ANSWERED : FORWARD_UNKNOWN;
        if (answer->bytes.len >= PIN_BYTES)
            conn_account(conn_of(f->session)); /* a client can make this node hold many of these */
        break;
    case CALL_NOT_MINE:
    case CALL_UNSENT:
    case CALL_REFUSED: ask_later(f); break;
    case CALL_LOST:
        if (f->repeats)
            ask_later(f);
        else
            f->state = FORWARD_UNKNOWN;
    }
    wake(f);
}

/* It waits for something at the other node: that takes as long as it takes. */
static void on_told(void *arg, uint32_t ms)
{
    struct forward *f = arg;
    struct conn *c = conn_of(f->session);

    f->waits_there = true;
    if (ms == PEER_FOR_EVER)
        f->deadline = (instant){INT64_MAX};
    else
        f->deadline =
            after(c->worker->now,
                  (span){(int64_t)ms + option_live(c->worker->exec.options, cluster_forward_timeout)});
    if (c->host != NULL)
        guest_waits(c, ms);
    else
        wake(f); /* so that its client's hanging up is noticed from now on */
}

bool forward_waits_long(const struct session *s)
{
    return s->calls != NULL && s->calls->state == FORWARD_ASKED && s->calls->waits_there;
}

/* ---- asking ---- */

static enum peer_dialect peer_dialect_of(const struct session *s)
{
    if (s->dialect == DIALECT_MEMCACHE)
        return s->binary ? PEER_BINARY : PEER_TEXT;
    return s->resp >= 3 ? PEER_RESP3 : PEER_RESP2;
}

/* False: memory is short. */
static bool ask(struct worker *w, struct forward *f, uint16_t holder, const struct request *rq,
                const struct asked *asked)
{
    const struct session *s = f->session;
    int64_t left = since(f->deadline, w->now).ms;
    struct call_options o = {.kind = PEER_REQUEST,
                             .dialect = peer_dialect_of(s),
                             .db = (uint8_t)s->db,
                             .flags = s->modes & SESSION_NO_TOUCH ? PEER_NO_TOUCH : 0,
                             .patience_ms = left > 0 ? (uint32_t)left : 1,
                             .asker = address_of(s),
                             .done = on_done,
                             .told = on_told,
                             .arg = f};

    if (asked != NULL) {
        o.hops = (uint8_t)((asked->header.flags & PEER_HOPS) + 1);
        o.asker = asked->asker;
        counter_add(w->exec.counters, forward_passed_on, 1);
    }
    f->version = w->routes.routes->version;
    if ((f->call = call_begin(w, holder, rq, &o)) == NULL)
        return false;
    f->state = FORWARD_ASKED;
    return true;
}

/* ---- ahead ---- */

/* Whether requests behind this one may be asked for before it is executed: it says nothing about them, and is
 * about one key, if any. */
static bool may_be_passed(const struct session *s, const struct entry *e)
{
    enum meta_verb verb;

    if (s->dialect == DIALECT_RESP)
        return e->command != NULL && (e->command->handler == cmd_ping || e->command->handler == cmd_echo);
    if (s->binary)
        return binary_header_decode(e->request.argv[0].data).opcode == BINARY_NOOP;
    return e->request.argc > 0 && meta_verb_of(e->request.argv[0], &verb) && verb == META_NOOP;
}

static bool may_go_ahead(const struct session *s, const struct entry *e, struct errand *errand)
{
    const struct command *c = e->command;

    if (s->dialect == DIALECT_MEMCACHE)
        return memcache_errand(s, &e->request, errand);
    return c != NULL && command_arity_ok(c->arity, e->request.argc) && !(c->flags & CMD_EXCLUSIVE) &&
           resp_errand(c, &e->request, errand) && errand->key.len <= STORE_KEY_MAX;
}

/* Its requests are all executed as they stand, and answered. */
static bool is_plain(const struct worker *w, const struct session *s)
{
    unsigned modes = atomic_load_explicit(&w->server->modes, memory_order_relaxed);

    return s->replies == REPLY_ON && s->authenticated && !s->redirects &&
           (s->modes & ~(unsigned)SESSION_NO_TOUCH) == 0 && !(modes & SERVER_PAUSED);
}

void forward_ahead(struct worker *w, const struct dispatch_input *in)
{
    struct session *s = in->session;
    struct batch *b = w->batch;
    const struct routes *routes = w->routes.routes;
    const struct forward *last = s->calls_last;

    if (routes == NULL || routes->alone || !is_plain(w, s))
        return;
    /* Two about one key could overtake each other while the first goes by other routes. */
    if (last != NULL && last->version != routes->version)
        return;
    for (unsigned i = 0; i < b->len; i++) {
        struct entry *e = &b->entries[i];
        struct errand errand;
        struct forward *f;
        uint16_t holder;

        if (e->status != PARSE_DONE)
            return;
        if (!may_go_ahead(s, e, &errand)) {
            if (may_be_passed(s, e))
                continue;
            return;
        }
        holder = forward_holder(w, errand.key);
        if (holder == ROUTE_HERE || (last != NULL && place(s, e->end) <= last->ends))
            continue;
        if (holder == ROUTE_NOBODY || (f = append(w, s, e, &errand, NULL)) == NULL ||
            !ask(w, f, holder, &e->request, NULL))
            return;
    }
}

/* ---- at its turn ---- */

static void give(struct exec *x, struct forward *f)
{
    if (f->command != NULL)
        figures_count(&figures_of(x->worker->figures, f->command)->calls);
    if (f->blob != NULL) {
        blob_pin(f->blob);
        out_blob(x->out, f->blob, f->answer);
    } else {
        out_append(x->out, f->answer.data, f->answer.len);
    }
}

static void wait_for(struct session *s, const struct forward *f)
{
    s->parked = PARK_CALL;
    s->park_until = (instant){0};
    s->park_look = f->state == FORWARD_AGAIN ? f->look : (instant){0};
}

/* A node that could not be reached for that long is not waited for; nor is one when time is over. */
static bool is_over(const struct exec *x, const struct forward *f, uint16_t holder)
{
    if (!is_before(x->now, f->deadline))
        return true;
    return holder < ROUTE_HERE && f->tries > 0 &&
           links_unreachable_ms(x->worker->links, holder) >= option_live(x->options, cluster_hold_ms);
}

static void tell_failure(struct exec *x, const struct request *rq, bool unknown)
{
    const struct session *s = x->session;
    const char *text = unknown ? "the node that has this key was lost meanwhile, so the outcome is unknown"
                               : "the node that has this key cannot be reached; try again later";
    char line[160];

    counter_add(x->counters, forward_writes_failed, 1);
    if (s->dialect == DIALECT_RESP) {
        reply_error(x, "CLUSTERDOWN %s", text);
        return;
    }
    if (s->binary) {
        binary_refuse_origin(x, rq, text);
        return;
    }
    if (memcache_noreply(rq))
        return;
    snprintf(line, sizeof line, "SERVER_ERROR %s", text);
    reply_line(x, line);
}

/* It is a frame that came here and cannot be passed on: who has sent it decides what becomes of it. */
static enum forward_verdict hand_back(struct exec *x, enum peer_status status)
{
    x->asked->status = status;
    return FORWARD_DONE;
}

static enum forward_verdict give_up(struct exec *x, const struct request *rq, bool reads, bool unknown)
{
    if (x->asked != NULL)
        return hand_back(x, unknown ? PEER_LOST : PEER_NOT_MINE);
    if (reads) {
        counter_add(x->counters, forward_reads_given_up, 1);
        return FORWARD_MISS;
    }
    tell_failure(x, rq, unknown);
    return FORWARD_DONE;
}

/* `rq` goes over the link; it is about errand->key. */
static enum forward_verdict take_turn(struct exec *x, struct entry *e, const struct errand *errand)
{
    struct session *s = x->session;
    struct worker *w = x->worker;
    struct forward *f = at_turn(s, place(s, e->end));
    enum forward_verdict verdict;
    uint16_t holder;
    bool unknown;

    if (f == NULL || f->state == FORWARD_AGAIN) {
        holder = forward_holder(w, errand->key);
        if (holder == ROUTE_HERE) {
            if (f != NULL)
                pop(s);
            return FORWARD_HERE;
        }
        if (x->asked != NULL && (x->asked->header.flags & PEER_HOPS) >= HOPS_MOST)
            return hand_back(x, PEER_NOT_MINE);
        if (f == NULL && (f = append(w, s, e, errand, x->asked)) == NULL) {
            x->out->failed = true;
            return FORWARD_DONE;
        }
        if (is_over(x, f, holder)) {
            pop(s);
            return give_up(x, &e->request, errand->reads, false);
        }
        if (holder == ROUTE_NOBODY)
            ask_later(f);
        else if (!is_before(x->now, f->look) && !ask(w, f, holder, &e->request, x->asked))
            ask_later(f);
    }
    if (f->state == FORWARD_ASKED || f->state == FORWARD_AGAIN) {
        wait_for(s, f);
        return FORWARD_DONE;
    }
    unknown = f->state == FORWARD_UNKNOWN;
    if (!unknown)
        give(x, f);
    verdict = unknown ? give_up(x, &e->request, errand->reads, true) : FORWARD_DONE;
    pop(s);
    return verdict;
}

/* A database that no client can choose, and where nothing is ever stored: every key in it is missing, and
 * every dialect's handler says so in its own words. */
static enum forward_verdict in_the_void(struct exec *x, enum forward_verdict verdict)
{
    if (verdict == FORWARD_MISS) {
        x->db = FORWARD_VOID;
        if (x->first_key.data != NULL)
            x->first_key =
                store_key_in(x->store, FORWARD_VOID, (struct slice){x->first_key.data, x->first_key.len});
    }
    return verdict;
}

static bool is_local(const struct exec *x)
{
    const struct routes *routes = x->worker->routes.routes;

    return routes == NULL || (routes->alone && x->session->calls == NULL) || x->session->redirects ||
           (x->asked != NULL && (x->asked->header.flags & PEER_LOCAL));
}

enum forward_verdict forward_resp(struct exec *x, struct entry *e)
{
    struct errand errand;

    if (is_local(x) || !resp_errand(e->command, &e->request, &errand))
        return FORWARD_HERE;
    return in_the_void(x, take_turn(x, e, &errand));
}

enum forward_verdict forward_memcache(struct exec *x, struct entry *e)
{
    struct errand errand;

    if (is_local(x) || !memcache_errand(x->session, &e->request, &errand))
        return FORWARD_HERE;
    return in_the_void(x, take_turn(x, e, &errand));
}

/* ---- what was refused ---- */

static bool was_to_replace(const struct session *s, const struct entry *e)
{
    const struct request *rq = &e->request;

    if (s->binary) {
        struct binary_header h = binary_header_decode(rq->argv[0].data);

        return binary_header_fits(&h) && (h.opcode == BINARY_SET || h.opcode == BINARY_SETQ);
    }
    return e->too_large && rq->argc > 1 &&
           (slice_equals(rq->argv[0], slice_of("set")) || slice_equals(rq->argv[0], slice_of("ms")));
}

void forward_refused(struct exec *x, const struct entry *e)
{
    struct slice words[3] = {slice_of("delete"), {0}, slice_of("noreply")};
    struct request drop = {.argv = words, .argc = 3};
    struct call_options o = {.kind = PEER_REQUEST,
                             .dialect = PEER_TEXT,
                             .db = (uint8_t)x->session->db,
                             .patience_ms = (uint32_t)option_live(x->options, cluster_forward_timeout)};
    struct errand errand;
    uint16_t holder;

    if (is_local(x) || !was_to_replace(x->session, e) || !memcache_errand(x->session, &e->request, &errand))
        return;
    words[1] = errand.key;
    holder = forward_holder(x->worker, errand.key);
    if (holder < ROUTE_HERE)
        (void)call_begin(x->worker, holder, &drop, &o);
}

/* ---- without parsing again ---- */

void forward_answer(struct worker *w, struct dispatch_input *in)
{
    struct session *s = in->session;
    struct exec *x = &w->exec;
    unsigned modes = atomic_load_explicit(&w->server->modes, memory_order_relaxed);
    unsigned n = 0;
    struct forward *f;

    if (!is_plain(w, s) || (modes & SERVER_MONITORED))
        return;
    while ((f = s->calls) != NULL && f->begins == place(s, in->consumed) && f->state == FORWARD_ANSWERED &&
           x->out->len + x->out->pinned_bytes < FULL_BYTES) {
        give(x, f);
        in->consumed = (size_t)(f->ends - s->position);
        pop(s);
        n++;
    }
    CHECK(in->consumed <= in->len);
    s->commands += n;
    counter_add(x->counters, commands_processed, n);
    if (f != NULL && f->begins == place(s, in->consumed) && f->state == FORWARD_ASKED)
        wait_for(s, f);
}

/* ---- new routes ---- */

static void look_again(struct conn *c)
{
    struct session *s = &c->session;

    if (s->parked == PARK_CALL && s->calls != NULL && s->calls->state == FORWARD_AGAIN) {
        s->calls->look = (instant){0};
        conn_wake_later(c, PARK_WOKEN);
    } else if (s->parked == PARK_WAITING) { /* what it waits for may happen elsewhere now */
        conn_wake_later(c, PARK_WOKEN);
    }
}

void forward_routes_changed(struct worker *w)
{
    for (struct conn *c = w->conns; c != NULL; c = c->next) {
        look_again(c);
        if (c->host != NULL)
            guests_each(c, look_again);
    }
}
