#include "server/cluster/several.h"

#include "cluster/slot.h"
#include "protocol/cut.h"
#include "protocol/memcache_text.h"
#include "server/check.h"
#include "server/cluster/gather.h"
#include "server/cluster/keys.h"
#include "server/park.h"
#include "server/worker.h"

enum answer { VALUES, HITS, SUM, DONE };

/* What a request of several keys looks like, and what is answered to it. */
struct shape {
    enum answer answer;
    bool writes;
    struct key_words keys;
};

static const struct {
    command_handler *handler;
    enum answer answer;
    bool writes;
} kinds[] = {
    {cmd_mget, VALUES, false}, {cmd_mset, DONE, true},  {cmd_del, SUM, true},
    {cmd_exists, SUM, false},  {cmd_touch, SUM, false}, {cmd_invalidate, SUM, true},
};

static bool shape_of(const struct command *command, const struct request *rq, struct shape *shape)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (kinds[i].handler != command->handler)
            continue;
        *shape = (struct shape){kinds[i].answer, kinds[i].writes, {0}};
        if (rq != NULL)
            shape->keys = keys_of(command, rq);
        return true;
    }
    return false;
}

bool several_knows(const struct command *command)
{
    struct shape shape;

    return shape_of(command, NULL, &shape);
}

bool several_knows_line(const struct request *rq)
{
    static const char *const verbs[] = {"get", "gets", "gat", "gats", "bget", "lease-get"};

    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        if (slice_equals(rq->argv[0], slice_of(verbs[i])))
            return true;
    }
    return false;
}

/* ---- asking ---- */

static uint32_t word_of(const struct shape *shape, uint32_t key)
{
    return shape->keys.first + key * shape->keys.step;
}

/* The request with those keys alone whose answer comes `from` there. */
static void write_part(const struct shape *shape, const struct request *rq, struct gather *g, uint16_t from)
{
    struct request *part = &g->words;

    part->argc = 0;
    part->data = rq->data;
    for (uint32_t i = 0; i < shape->keys.first; i++)
        part->argv[part->argc++] = rq->argv[i];
    for (uint32_t k = 0; k < g->keys; k++) {
        for (uint32_t i = 0; i < shape->keys.step && g->from[k] == from; i++)
            part->argv[part->argc++] = rq->argv[word_of(shape, k) + i];
    }
}

/* The part for that member among those of this round; FROM_OPEN: there can be none. */
static uint16_t part_for(struct exec *x, struct gather *g, uint32_t round, uint16_t to)
{
    const struct view *view = x->worker->routes.routes->view;

    for (uint32_t i = round; i < g->parts_len; i++) {
        if (node_id_compare(&g->parts[i]->to, &view->members[to].id) == 0)
            return (uint16_t)i;
    }
    return gather_part(x, g, to) != NULL ? (uint16_t)(g->parts_len - 1) : FROM_OPEN;
}

static bool is_settled(const struct gather *g, uint16_t from)
{
    return from < g->parts_len && g->parts[from]->state != PART_AGAIN;
}

/* Where each key is now, and who is not asked yet is. True: some are still open. */
static bool ask(struct exec *x, const struct shape *shape, const struct request *rq, struct gather *g)
{
    const struct routes *routes = x->worker->routes.routes;
    uint32_t round = g->parts_len;
    bool open = false;

    for (uint32_t k = 0; k < g->keys; k++) {
        uint16_t holder;

        if (is_settled(g, g->from[k]))
            continue;
        holder = routes->holder[slot_of_key(rq->argv[word_of(shape, k)])];
        if (holder == ROUTE_HERE)
            g->from[k] = FROM_HERE;
        else
            g->from[k] = holder == ROUTE_NOBODY ? FROM_OPEN : part_for(x, g, round, holder);
        open |= g->from[k] == FROM_OPEN;
    }
    for (uint32_t i = round; i < g->parts_len; i++) {
        write_part(shape, rq, g, (uint16_t)i);
        gather_ask(x, g->parts[i], &g->words, 0);
        open |= g->parts[i]->state == PART_AGAIN;
    }
    return open;
}

/* ---- using ---- */

/* What nobody has answered for. */
static bool give_up(struct gather *g)
{
    bool some = false;

    for (uint32_t k = 0; k < g->keys; k++) {
        if (g->from[k] == FROM_HERE || is_settled(g, g->from[k]))
            continue;
        g->from[k] = FROM_NOBODY;
        some = true;
    }
    return some;
}

size_t several_elsewhere(const struct exec *x)
{
    const struct gather *g = x->gathered;
    size_t n = 0;

    for (uint32_t k = 0; k < g->keys; k++)
        n += g->from[k] != FROM_HERE;
    return n;
}

static void put_value(struct exec *x, struct part *p)
{
    struct slice reply;

    if (p != NULL && cut_reply(&p->left, &reply))
        gather_put(x, p, reply);
    else
        reply_null(x);
}

/* memcached passes over what is not there. */
static void put_hit(struct exec *x, struct part *p, struct slice wanted)
{
    struct slice left, key, hit;

    if (p == NULL)
        return;
    left = p->left;
    if (!cut_value(&left, &key, &hit) || !slice_equals(key, wanted))
        return;
    gather_put(x, p, hit);
    p->left = left;
}

/* The answers for keys that are elsewhere, up to one that is here, or the end. */
static void put_elsewhere(struct exec *x)
{
    struct gather *g = x->gathered;

    for (; g->at < g->keys && g->from[g->at] != FROM_HERE; g->at++) {
        struct part *p = g->from[g->at] < g->parts_len ? g->parts[g->from[g->at]] : NULL;

        if (x->session->dialect == DIALECT_MEMCACHE)
            put_hit(x, p, g->whole->argv[g->first_key + g->at]);
        else
            put_value(x, p);
    }
}

void several_before(struct exec *x)
{
    put_elsewhere(x);
    x->gathered->at++;
}

void several_rest(struct exec *x)
{
    put_elsewhere(x);
    CHECK(x->gathered->at >= x->gathered->keys);
}

/* From the first answer on, each time that the handler runs. */
static void rewind_answers(const struct shape *shape, struct gather *g)
{
    size_t count;

    g->at = 0;
    for (uint32_t i = 0; i < g->parts_len; i++) {
        g->parts[i]->left = g->parts[i]->answer;
        if (shape->answer == VALUES)
            (void)cut_array(&g->parts[i]->left, &count);
    }
}

/* ---- the end ---- */

static void reply_lost(struct exec *x)
{
    counter_add(x->counters, gather_lost, 1);
    reply_error(x, "CLUSTERDOWN a node that holds some of the keys does not answer; what it was asked to "
                   "do may be done or not, the rest is");
}

/* The answer of who was asked last is there: ":n" or "+OK", or what went wrong. */
static void combine(struct exec *x, const struct gather *g)
{
    struct slice here = {x->out->data + g->mark, x->out->len - g->mark}, error = gather_error(g);
    int64_t sum, own = 0;

    if (x->out->failed || (here.len > 0 && cut_is_error(here)))
        return;
    if (g->answer == SUM && !cut_integer(here, &own))
        return;
    out_rollback(x->out, g->mark);
    if (error.len > 0)
        reply_raw(x, error.data, error.len);
    else if (g->lost)
        reply_lost(x);
    else if (g->answer == DONE)
        reply_ok(x);
    else if (gather_sum(g, &sum) && !__builtin_add_overflow(sum, own, &sum))
        reply_integer(x, sum);
    else
        reply_error(x, "ERR another node has answered something else");
}

void several_end(struct exec *x)
{
    struct gather *g = x->gathered;

    x->gathered = NULL;
    if (x->session->parked != PARK_NOT)
        return;
    if (g->answer == SUM || g->answer == DONE)
        combine(x, g);
    gather_end(x->session);
}

/* Nothing of it is here. */
static void answer_without(struct exec *x, const struct shape *shape)
{
    switch (shape->answer) {
    case VALUES:
        reply_array(x, x->gathered->keys);
        several_rest(x);
        break;
    case HITS:
        several_rest(x);
        reply_raw(x, MEMCACHE_END, 5);
        break;
    case SUM: reply_integer(x, 0); break;
    case DONE: break;
    }
    several_end(x);
}

/* Everything that comes from elsewhere has come. True: the handler is to run for the rest. */
static bool begin_here(struct exec *x, const struct shape *shape, struct gather *g, struct request **rq)
{
    x->gathered = g;
    g->mark = out_mark(x->out);
    g->whole = *rq;
    g->first_key = shape->keys.first;
    rewind_answers(shape, g);
    write_part(shape, *rq, g, FROM_HERE);
    if (g->words.argc == shape->keys.first) {
        answer_without(x, shape);
        return false;
    }
    if (!g->here_begun && exec_outcome(x) == PARK_WOKEN)
        x->session->outcome = PARK_FRESH; /* that it has waited for others is no business of the handler */
    g->here_begun = true;
    *rq = &g->words;
    return true;
}

static bool ready(struct exec *x, const struct shape *shape, struct request **rq)
{
    struct gather *g = gather_of(x);
    struct slice error;

    if (g == NULL) {
        if ((g = gather_new(x, keys_count(shape->keys), (*rq)->argc)) == NULL)
            return false;
        g->answer = shape->answer;
        counter_add(x->counters, gather_requests, 1);
    }
    if (gather_waits(x, g, ask(x, shape, *rq, g)))
        return false;
    g->lost = give_up(g);
    error = gather_error(g);
    if (g->over) {
        x->out->over = x->out->failed = true;
        gather_end(x->session);
        return false;
    }
    if (error.len > 0 && !shape->writes) {
        reply_raw(x, error.data, error.len);
        gather_end(x->session);
        return false;
    }
    if (g->lost && !shape->writes)
        counter_add(x->counters, gather_lost, 1);
    return begin_here(x, shape, g, rq);
}

bool several_ready(struct exec *x, const struct command *command, struct request **rq)
{
    struct shape shape;
    bool known = shape_of(command, *rq, &shape);

    CHECK(known);
    return ready(x, &shape, rq);
}

bool several_ready_line(struct exec *x, struct request **rq)
{
    struct shape shape = {.answer = HITS, .keys = keys_of_line(*rq)};

    return ready(x, &shape, rq);
}
