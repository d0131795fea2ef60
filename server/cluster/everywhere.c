#include "server/cluster/everywhere.h"

#include <inttypes.h>
#include <stdio.h>

#include "protocol/cut.h"
#include "protocol/memcache_text.h"
#include "protocol/resp.h"
#include "server/check.h"
#include "server/cluster/gather.h"
#include "server/cluster/guest.h"
#include "server/command/memcache.h"
#include "server/command/walk.h"
#include "server/server.h"
#include "server/worker.h"

enum { CURSOR_BITS = 42 }; /* of a node's own cursor: see store_scan() */

/* ---- SCAN's cursor ---- */

uint32_t scan_number(const struct view *view, uint16_t member)
{
    uint32_t number = 0;

    for (uint16_t i = 0; i <= member; i++) { /* in the order of their ids */
        uint32_t wanted = (uint32_t)view->members[i].id.bytes[0] << 8 | view->members[i].id.bytes[1];

        number = wanted > number ? wanted : number + 1;
    }
    return number;
}

static bool is_there(const struct view *view, uint16_t member)
{
    return view->members[member].state != VIEW_FAILED;
}

/* The first from that number on. */
static uint16_t member_from(const struct view *view, uint64_t number)
{
    uint32_t before = 0;

    for (uint16_t i = 0; i < view->member_count; i++) {
        uint32_t wanted = (uint32_t)view->members[i].id.bytes[0] << 8 | view->members[i].id.bytes[1];

        before = wanted > before ? wanted : before + 1;
        if (before >= number && is_there(view, i))
            return i;
    }
    return NOBODY;
}

uint16_t scan_member(const struct view *view, uint64_t cursor, uint64_t *at)
{
    uint64_t number = cursor >> CURSOR_BITS;
    uint16_t member = member_from(view, number);

    *at = 0;
    if (member != NOBODY && scan_number(view, member) == number)
        *at = cursor & ((UINT64_C(1) << CURSOR_BITS) - 1);
    return member;
}

uint64_t scan_next(const struct view *view, uint16_t member, uint64_t at)
{
    uint64_t number = scan_number(view, member);
    uint16_t next;

    if (at != 0)
        return number << CURSOR_BITS | at;
    next = member_from(view, number + 1);
    return next != NOBODY ? (uint64_t)scan_number(view, next) << CURSOR_BITS : 0;
}

/* ---- which ---- */

static const struct {
    command_handler *handler;
    enum everywhere_answer { OKS, SUM, LISTS, ONE_OF, SCAN } answer;
} kinds[] = {{cmd_flushall, OKS}, {cmd_flushdb, OKS},      {cmd_dbsize, SUM},
             {cmd_keys, LISTS},   {cmd_randomkey, ONE_OF}, {cmd_scan, SCAN}};

static bool answer_of(const struct command *command, enum everywhere_answer *answer)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (kinds[i].handler != command->handler)
            continue;
        *answer = kinds[i].answer;
        return true;
    }
    return false;
}

bool everywhere_knows(const struct command *command)
{
    enum everywhere_answer answer;

    return answer_of(command, &answer);
}

bool everywhere_knows_line(const struct request *rq)
{
    return slice_equals(rq->argv[0], slice_of("flush_all"));
}

/* ---- asking ---- */

static const struct routes *routes_of(const struct exec *x)
{
    return x->worker->routes.routes;
}

static bool all_parts(struct exec *x, struct gather *g)
{
    const struct routes *routes = routes_of(x);

    for (uint16_t i = 0; i < routes->view->member_count; i++) {
        if (i != routes->self && is_there(routes->view, i) && gather_part(x, g, i) == NULL)
            return false;
    }
    return true;
}

/* Whoever has not answered yet. True: some have still not been asked. */
static bool ask(struct exec *x, struct gather *g, const struct request *rq)
{
    const struct view *view = routes_of(x)->view;
    bool open = false;

    for (uint32_t i = 0; i < g->parts_len; i++) {
        struct part *p = g->parts[i];
        uint16_t to = view_find(view, &p->to);

        if (p->state != PART_AGAIN)
            continue;
        if (to == NOBODY || !is_there(view, to))
            p->state = PART_GONE;
        else
            gather_ask(x, p, rq, PEER_LOCAL);
        open |= p->state == PART_AGAIN;
    }
    return open;
}

static bool lacks_some(const struct gather *g)
{
    for (uint32_t i = 0; i < g->parts_len; i++) {
        if (g->parts[i]->state == PART_AGAIN)
            return true;
    }
    return false;
}

/* `words` is what the others are asked. True: all have answered, or will not. */
static bool gathered(struct exec *x, const struct request *words)
{
    struct gather *g = gather_of(x);

    if (g == NULL) {
        if ((g = gather_new(x, 0, words->argc)) == NULL)
            return false;
        counter_add(x->counters, gather_everywhere, 1);
        if (!all_parts(x, g)) {
            x->out->failed = true;
            gather_end(x->session);
            return false;
        }
    }
    if (gather_waits(x, g, ask(x, g, words)))
        return false;
    g->lost = lacks_some(g);
    if (!g->over)
        return true;
    x->out->over = x->out->failed = true;
    gather_end(x->session);
    return false;
}

static void reply_lost(struct exec *x)
{
    counter_add(x->counters, gather_lost, 1);
    if (x->session->dialect == DIALECT_MEMCACHE)
        reply_line(x, "SERVER_ERROR a node of the cluster does not answer");
    else
        reply_error(x, "CLUSTERDOWN a node of the cluster does not answer");
}

/* flush_all noreply */
static bool is_silent(const struct exec *x, const struct gather *g)
{
    return x->session->dialect == DIALECT_MEMCACHE && !x->session->binary && memcache_noreply(g->whole);
}

/* True: answered with what another node said was wrong, or that it said nothing. */
static bool failed(struct exec *x, const struct gather *g)
{
    struct slice error = gather_error(g);

    if (is_silent(x, g))
        return true;
    if (x->session->binary && (error.len > 0 || g->lost))
        binary_refuse_origin(x, g->whole, "a node of the cluster has not done it");
    else if (error.len > 0)
        reply_raw(x, error.data, error.len);
    else if (g->lost)
        reply_lost(x);
    return error.len > 0 || g->lost;
}

/* ---- SCAN ---- */

static void reply_text_number(struct exec *x, uint64_t number)
{
    uint8_t text[20];

    reply_bulk(x, (struct slice){text, u64_to_text(text, number)});
}

/* An answer of SCAN, with the cursor of the whole cluster instead of the node's. */
static void put_scanned(struct exec *x, struct slice left, uint16_t member)
{
    struct slice word, cursor;
    uint64_t at = 0;
    size_t two;

    if (!cut_array(&left, &two) || !cut_reply(&left, &word) || !cut_bulk(word, &cursor) ||
        !slice_to_u64(cursor, &at)) {
        reply_error(x, "ERR another node has answered something else");
        return;
    }
    reply_array(x, 2);
    reply_text_number(x, scan_next(routes_of(x)->view, member, at));
    reply_raw(x, left.data, left.len);
}

static bool scan_there(struct exec *x, struct request **rq, uint16_t member)
{
    struct gather *g = gather_of(x);

    if (g == NULL) {
        if ((g = gather_new(x, 0, (*rq)->argc)) == NULL)
            return false;
        if (gather_part(x, g, member) == NULL) {
            x->out->failed = true;
            return false;
        }
    }
    return true;
}

/* With the cursor of the node that is at it instead of the cluster's. */
static void write_scan(struct gather *g, const struct request *rq, struct slice cursor)
{
    g->words.argc = rq->argc;
    memcpy(g->words.argv, rq->argv, rq->argc * sizeof *rq->argv);
    g->words.argv[1] = cursor;
}

static bool scan_ready(struct exec *x, struct request **rq)
{
    const struct routes *routes = routes_of(x);
    struct gather *g = gather_of(x);
    uint64_t cursor, at;
    uint16_t member;
    size_t len;

    if (!read_cursor((*rq)->argv[1], &cursor))
        return true; /* its handler has the words for that */
    member = scan_member(routes->view, cursor, &at);
    if (g != NULL && member != NOBODY &&
        node_id_compare(&g->parts[0]->to, &routes->view->members[member].id) != 0)
        gather_end(x->session); /* who was asked has left */
    if (member == NOBODY) {
        reply_array(x, 2);
        reply_text_number(x, 0);
        reply_array(x, 0);
        gather_end(x->session);
        return false;
    }
    if (!scan_there(x, rq, member))
        return false;
    g = gather_of(x);
    len = u64_to_text(g->text, at);
    write_scan(g, *rq, (struct slice){g->text, len});
    x->gathered = g;
    g->mark = out_mark(x->out);
    if (member == routes->self) {
        *rq = &g->words;
        return true;
    }
    if (gathered(x, &g->words) && !failed(x, g))
        put_scanned(x, g->parts[0]->answer, member);
    x->gathered = NULL;
    if (x->session->parked == PARK_NOT)
        gather_end(x->session);
    return false;
}

/* What the handler has written for this node alone is copied: at most some ten thousand keys. */
static void end_scan(struct exec *x, const struct gather *g)
{
    size_t len = x->out->len - g->mark;
    struct out whole = {.limit = x->out->limit};
    struct slice reply;

    if (x->out->failed || len == 0 || x->out->data[g->mark] != '*')
        return;
    out_append(&whole, x->out->data + g->mark, len);
    reply = (struct slice){whole.data, whole.len};
    out_rollback(x->out, g->mark);
    if (whole.failed)
        x->out->failed = true;
    else
        put_scanned(x, reply, routes_of(x)->self);
    out_free(&whole);
}

/* ---- RANDOMKEY ---- */

/* One of the keys that nodes have named, or none when it is for this node to name one. Every node that has
 * keys is as likely, however many they are. */
static bool choose(struct exec *x, const struct gather *g)
{
    bool here = store_db_count(x->store, x->db).items > 0;
    uint64_t dice = (uint64_t)clock_ticks_ns() * UINT64_C(0x9e3779b97f4a7c15) >> 20;
    uint64_t n = here, seen = 0;
    struct slice value;

    for (uint32_t i = 0; i < g->parts_len; i++)
        n += g->parts[i]->state == PART_ANSWERED && cut_bulk(g->parts[i]->answer, &value);
    if (n == 0 || (here && dice % n == 0))
        return false;
    seen = here;
    for (uint32_t i = 0; i < g->parts_len; i++) {
        const struct part *p = g->parts[i];

        if (p->state != PART_ANSWERED || !cut_bulk(p->answer, &value) || seen++ != dice % n)
            continue;
        reply_raw(x, p->answer.data, p->answer.len);
        return true;
    }
    return false;
}

/* ---- all of them ---- */

bool everywhere_ready(struct exec *x, const struct command *command, struct request **rq)
{
    enum everywhere_answer answer = OKS;
    bool known = answer_of(command, &answer), done;
    struct gather *g;

    CHECK(known);
    if (answer == SCAN)
        return scan_ready(x, rq);
    if (!gathered(x, *rq))
        return false;
    g = gather_of(x);
    if (answer == ONE_OF || (answer == LISTS && failed(x, g))) {
        done = answer == LISTS || choose(x, g);
        gather_end(x->session);
        return !done;
    }
    x->gathered = g;
    g->mark = out_mark(x->out);
    return true;
}

/* FLUSH of the binary protocol has it behind the header. */
static bool has_delay(const struct request *packet)
{
    return packet->argv[0].len >= BINARY_HEADER + sizeof(uint32_t);
}

static uint32_t delay_of(const struct request *packet)
{
    return binary_u32(packet->argv[0].data + BINARY_HEADER);
}

bool everywhere_ready_line(struct exec *x, const struct request *rq, const struct request *packet)
{
    struct slice line[2] = {rq->argv[0]};
    struct request words = {.argv = line, .argc = 1};
    uint8_t delay[20];

    if (x->session->binary && has_delay(packet))
        line[words.argc++] = (struct slice){delay, u64_to_text(delay, delay_of(packet))};
    else if (!x->session->binary && rq->argc > 1 && !slice_equals(rq->argv[1], slice_of("noreply")))
        line[words.argc++] = rq->argv[1];
    if (!gathered(x, &words))
        return false;
    x->gathered = gather_of(x);
    x->gathered->mark = out_mark(x->out);
    x->gathered->whole = packet;
    return true;
}

static void add_up(struct exec *x, const struct gather *g)
{
    struct slice here = {x->out->data + g->mark, x->out->len - g->mark};
    int64_t sum, own;

    if (!cut_integer(here, &own) || !gather_sum(g, &sum))
        return;
    out_rollback(x->out, g->mark);
    reply_integer(x, own + sum);
}

void everywhere_end(struct exec *x, const struct command *command)
{
    enum everywhere_answer answer = OKS;
    struct gather *g = x->gathered;

    x->gathered = NULL;
    if (command != NULL)
        (void)answer_of(command, &answer);
    if (x->session->parked != PARK_NOT || x->session->producer != NULL || x->session->gather == NULL)
        return;
    if (answer == SCAN) {
        end_scan(x, g);
    } else if (!x->out->failed && (gather_error(g).len > 0 || g->lost)) {
        out_rollback(x->out, g->mark);
        (void)failed(x, g);
    } else if (answer == SUM && !x->out->failed) {
        add_up(x, g);
    }
    gather_end(x->session);
}

/* ---- KEYS ---- */

size_t everywhere_keys(const struct exec *x)
{
    const struct gather *g = gather_of(x);
    size_t n = 0, count;

    for (uint32_t i = 0; g != NULL && i < g->parts_len; i++) {
        struct slice left = g->parts[i]->answer;

        if (g->parts[i]->state == PART_ANSWERED && cut_array(&left, &count))
            n += count;
    }
    return n;
}

void everywhere_put_keys(struct exec *x)
{
    struct gather *g = gather_of(x);
    size_t count;

    for (uint32_t i = 0; g != NULL && i < g->parts_len; i++) {
        struct slice left = g->parts[i]->answer;

        if (g->parts[i]->state == PART_ANSWERED && cut_array(&left, &count))
            gather_put(x, g->parts[i], left);
    }
    gather_end(x->session);
}

/* ---- PUBLISH ---- */

static void told(void *arg, struct call *call, const struct call_answer *answer)
{
    struct worker *w = arg;

    (void)call;
    if (answer->end != CALL_ANSWERED)
        counter_add(w->exec.counters, gather_publish_lost, 1);
}

void everywhere_tell(struct exec *x, const struct request *rq)
{
    const struct routes *routes = routes_of(x);
    struct call_options options = {.kind = PEER_REQUEST,
                                   .dialect = PEER_RESP2,
                                   .flags = PEER_LOCAL,
                                   .patience_ms = (uint32_t)option_live(x->options, cluster_forward_timeout),
                                   .done = told,
                                   .arg = x->worker};

    if (routes == NULL || (x->asked != NULL && (x->asked->header.flags & PEER_LOCAL)))
        return; /* who asks tells the others himself */
    for (uint16_t i = 0; i < routes->view->member_count; i++) {
        if (i == routes->self || !is_there(routes->view, i))
            continue;
        if (call_begin(x->worker, i, rq, &options) == NULL)
            counter_add(x->counters, gather_publish_lost, 1);
    }
}
