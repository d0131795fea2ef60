#include "server/cluster/gather.h"

#include <stdlib.h>

#include "protocol/cut.h"
#include "server/check.h"
#include "server/conn.h"
#include "server/park.h"
#include "server/worker.h"

enum {
    LOOK_AGAIN_MS = 20,     /* between two attempts, when nothing else would wake it */
    LARGE_BYTES = 16 * 1024 /* worth a pin */
};

struct gather *gather_new(struct exec *x, uint32_t keys, uint32_t words)
{
    struct gather *g = calloc(1, sizeof *g + keys * sizeof *g->from);

    CHECK(gather_of(x) == NULL);
    if (g != NULL)
        g->words.argv = malloc((words + 1) * sizeof *g->words.argv);
    if (g == NULL || g->words.argv == NULL) {
        free(g);
        x->out->failed = true;
        return NULL;
    }
    g->words.argv_max = words;
    g->session = x->session;
    g->deadline = after(x->now, (span){option_live(x->options, cluster_forward_timeout)});
    g->limit = x->out->limit;
    g->keys = keys;
    for (uint32_t i = 0; i < keys; i++)
        g->from[i] = FROM_OPEN;
    x->session->gather = g;
    return g;
}

static void free_part(struct part *p)
{
    if (p->call != NULL)
        call_forget(&p->call);
    if (p->blob == NULL)
        free((uint8_t *)(uintptr_t)p->answer.data);
    blob_unpin(&p->blob);
    free(p);
}

void gather_end(struct session *s)
{
    struct gather *g = s->gather;

    if (g == NULL)
        return;
    s->gather = NULL;
    for (uint32_t i = 0; i < g->parts_len; i++)
        free_part(g->parts[i]);
    free(g->parts);
    free(g->words.argv);
    free(g);
}

size_t gather_holds(const struct session *s)
{
    const struct gather *g = s->gather;

    if (g == NULL)
        return 0;
    return sizeof *g + g->keys * sizeof *g->from + g->words.argv_max * sizeof *g->words.argv +
           g->parts_len * sizeof(struct part) + g->bytes;
}

struct part *gather_part(struct exec *x, struct gather *g, uint16_t to)
{
    struct part *p;

    if (g->parts_len == g->parts_cap) {
        uint32_t cap = g->parts_cap > 0 ? 2 * g->parts_cap : 4;
        struct part **parts = g->parts_cap < PARTS_MAX ? realloc(g->parts, cap * sizeof *parts) : NULL;

        if (parts == NULL)
            return NULL;
        g->parts = parts;
        g->parts_cap = cap;
    }
    if (g->parts_len == PARTS_MAX || (p = calloc(1, sizeof *p)) == NULL)
        return NULL;
    p->gather = g;
    p->state = PART_AGAIN;
    p->to = x->worker->routes.routes->view->members[to].id;
    g->parts[g->parts_len++] = p;
    return p;
}

/* ---- asking ---- */

static bool copy_answer(struct part *p, struct slice bytes)
{
    uint8_t *copy = malloc(bytes.len + 1);

    if (copy == NULL)
        return false;
    if (bytes.len > 0)
        memcpy(copy, bytes.data, bytes.len);
    p->answer.data = copy;
    p->answer.len = bytes.len;
    return true;
}

static void keep(struct part *p, const struct call_answer *answer)
{
    struct gather *g = p->gather;
    size_t len = answer->bytes.len;

    g->over |= g->limit != 0 && g->bytes + len > g->limit;
    if (g->over)
        return;
    if (answer->blob != NULL && len >= LARGE_BYTES) {
        blob_pin(answer->blob);
        p->blob = answer->blob;
        p->answer = answer->bytes;
    } else if (!copy_answer(p, answer->bytes)) {
        g->over = true;
        return;
    }
    p->state = PART_ANSWERED;
    g->bytes += len;
}

static void on_answer(void *arg, struct call *call, const struct call_answer *answer)
{
    struct part *p = arg;
    struct gather *g = p->gather;

    CHECK(p->call == call);
    p->call = NULL;
    p->state = PART_AGAIN;
    p->lost = answer->end == CALL_LOST;
    g->under_way--;
    if (answer->end == CALL_ANSWERED)
        keep(p, answer);
    else
        g->again = after(conn_of(g->session)->worker->now, (span){LOOK_AGAIN_MS});
    if (g->under_way == 0)
        conn_wake_later(conn_of(g->session), PARK_WOKEN);
}

static enum peer_dialect dialect_of(const struct session *s)
{
    if (s->dialect == DIALECT_MEMCACHE)
        return PEER_TEXT;
    return s->resp == 3 ? PEER_RESP3 : PEER_RESP2;
}

static struct call_options options_of(struct exec *x, struct part *p, enum peer_kind kind, uint8_t flags)
{
    struct session *s = x->session;
    return (struct call_options){.kind = kind,
                                 .dialect = dialect_of(s),
                                 .db = (uint8_t)s->db,
                                 .flags = flags | (s->modes & SESSION_NO_TOUCH ? PEER_NO_TOUCH : 0),
                                 .patience_ms = (uint32_t)since(p->gather->deadline, x->now).ms,
                                 .asker = s->id,
                                 .done = on_answer,
                                 .arg = p};
}

/* The member it is for; NOBODY: it is not to be asked any more, or is none. */
static uint16_t whom_to_ask(const struct exec *x, const struct part *p)
{
    const struct routes *routes = x->worker->routes.routes;
    struct gather *g = p->gather;

    CHECK(p->call == NULL && p->state == PART_AGAIN);
    if (g->abandoned || g->over || !is_before(x->now, g->deadline) ||
        (is_before(x->now, g->again) && routes->version == g->version))
        return NOBODY;
    return view_find(routes->view, &p->to);
}

static void is_asked(struct exec *x, struct part *p, struct call *call)
{
    if (call == NULL)
        return;
    p->call = call;
    p->state = PART_ASKED;
    p->gather->version = x->worker->routes.routes->version;
    p->gather->under_way++;
    counter_add(x->counters, gather_calls, 1);
}

void gather_ask(struct exec *x, struct part *p, const struct request *rq, uint8_t flags)
{
    struct call_options options = options_of(x, p, PEER_REQUEST, flags);
    uint16_t to = whom_to_ask(x, p);

    if (to != NOBODY)
        is_asked(x, p, call_begin(x->worker, to, rq, &options));
}

void gather_ask_body(struct exec *x, struct part *p, struct slice body)
{
    struct call_options options = options_of(x, p, PEER_TRANSACTION, 0);
    uint16_t to = whom_to_ask(x, p);

    if (to != NOBODY)
        is_asked(x, p, call_message(x->worker, to, body, &options));
}

/* ---- waiting ---- */

static void abandon(struct gather *g)
{
    g->abandoned = true;
    for (uint32_t i = 0; i < g->parts_len; i++) {
        struct part *p = g->parts[i];

        if (p->state != PART_ASKED)
            continue;
        call_forget(&p->call);
        p->state = PART_AGAIN;
        p->lost = true;
    }
    g->under_way = 0;
}

bool gather_waits(struct exec *x, struct gather *g, bool open)
{
    bool told = exec_outcome(x) == PARK_TIMED_OUT || exec_outcome(x) == PARK_UNBLOCKED;
    instant look = {0};

    if (g->under_way == 0 && (!open || g->over || !is_before(x->now, g->deadline)))
        return false;
    if (told || !exec_may_park(x)) {
        abandon(g);
        return false;
    }
    if (g->under_way == 0)
        look = after(x->now, (span){LOOK_AGAIN_MS});
    exec_park_look(x, (span){0}, look);
    return true;
}

/* ---- using what has come ---- */

void gather_put(struct exec *x, const struct part *p, struct slice bytes)
{
    if (p->blob == NULL || bytes.len < LARGE_BYTES) {
        reply_raw(x, bytes.data, bytes.len);
        return;
    }
    blob_pin(p->blob);
    out_blob(x->out, p->blob, bytes);
}

struct slice gather_error(const struct gather *g)
{
    for (uint32_t i = 0; i < g->parts_len; i++) {
        const struct part *p = g->parts[i];

        if (p->state == PART_ANSWERED && cut_is_error(p->answer))
            return p->answer;
    }
    return (struct slice){0};
}

bool gather_sum(const struct gather *g, int64_t *sum)
{
    int64_t one;

    *sum = 0;
    for (uint32_t i = 0; i < g->parts_len; i++) {
        if (g->parts[i]->state != PART_ANSWERED)
            continue;
        if (!cut_integer(g->parts[i]->answer, &one) || __builtin_add_overflow(*sum, one, sum))
            return false;
    }
    return true;
}
