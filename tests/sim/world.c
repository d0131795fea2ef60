#include "tests/sim/world.h"

#include <stdlib.h>

#include "server/check.h"

enum {
    INBOX_MAX = 256, /* datagrams; as many small ones fit Linux's default socket buffer */
    STREAM_GIVE_UP_US = 10000000,
    STREAM_RETRY_US = 200000,   /* TCP's first retransmission; then it doubles */
    CONNECT_RETRY_US = 1000000, /* and that of a SYN */
    CONNECT_GIVE_UP_US = 3000000
};

enum event_kind { DATAGRAM, UNREACHABLE, STREAM_HEAD, STREAM_DATA, STREAM_END, WAKE, ALARM };

struct event {
    struct event *next; /* in an inbox or a stream's queue */
    enum event_kind kind;
    enum stream_end why;
    unsigned to, from;
    uint32_t boot; /* whom it was meant for, where that matters */
    uint8_t way;   /* STREAM_HEAD: 0 from the opener, 1 to it */
    uint64_t stream;
    int64_t arrived_us;
    size_t len;
    uint8_t bytes[];
};

struct due {
    int64_t at_us;
    uint64_t order; /* alarms after all else of that moment, then first come, first served */
    struct event *event;
};

enum item_kind { ITEM_SYN, ITEM_MESSAGE, ITEM_FIN };
struct item {
    struct item *next;
    enum item_kind kind;
    int64_t first_try_us, backoff_us;
    size_t len;
    uint8_t bytes[];
};

struct stream {
    uint32_t generation; /* odd while in use */
    unsigned node[2];    /* 0 opened it */
    uint32_t boot[2];
    bool closed[2];
    struct item *head[2], *tail[2]; /* what end 0, end 1 have sent */
};

struct node {
    struct world *world;
    unsigned index;
    struct transport_user user;
    bool running, unplugged;
    uint32_t boot;
    int64_t alarm_us, alarm_queued_us; /* world time; INT64_MAX is none */
    int64_t stalled_until_us;
    struct event *inbox, **inbox_end;
    unsigned inbox_datagrams;
    double loss_out, loss_in;
    unsigned side;
    int64_t clock_us, clock_base_us; /* its clock showed clock_us at clock_base_us */
    int ppm;
    struct node_id id;
    struct world_traffic traffic;
    uint64_t dice;
};

struct cut {
    unsigned from, to;
};

struct world {
    int64_t now_us;
    struct world_weather weather;
    uint64_t net_dice, story_dice;
    struct node *nodes;
    unsigned count;
    struct due *heap;
    size_t due, heap_room;
    uint64_t order;
    struct stream *streams;
    size_t stream_count;
    size_t *stream_free, stream_free_count;
    struct cut *cuts;
    size_t cut_count;
    uint64_t events, trace;
};

/* splitmix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators"). */
static uint64_t roll(uint64_t *dice)
{
    uint64_t z = *dice += 0x9e3779b97f4a7c15;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static bool chance(struct world *w, double p)
{
    return p > 0 && (double)(roll(&w->net_dice) >> 11) * 0x1p-53 < p;
}

static void *grow(void *old, size_t bytes)
{
    void *fresh = realloc(old, bytes);

    CHECK(fresh != NULL);
    return fresh;
}

/* ---- what happens when ------------------------------------------------ */

static bool is_sooner(const struct due *a, const struct due *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void schedule(struct world *w, int64_t at_us, struct event *event)
{
    struct due due = {at_us, w->order++ | (event->kind == ALARM ? UINT64_C(1) << 63 : 0), event};
    size_t i = w->due++;

    if (w->due > w->heap_room) {
        w->heap_room = w->heap_room * 2 + 1024;
        w->heap = grow(w->heap, w->heap_room * sizeof *w->heap);
    }
    for (; i > 0 && is_sooner(&due, &w->heap[(i - 1) / 4]); i = (i - 1) / 4)
        w->heap[i] = w->heap[(i - 1) / 4];
    w->heap[i] = due;
}

static struct due soonest(struct world *w)
{
    struct due first = w->heap[0], last = w->heap[--w->due];
    size_t i = 0;

    for (;;) {
        size_t child = 4 * i + 1, best = child;
        if (child >= w->due)
            break;
        for (size_t c = child + 1; c < child + 4 && c < w->due; c++)
            if (is_sooner(&w->heap[c], &w->heap[best]))
                best = c;
        if (!is_sooner(&w->heap[best], &last))
            break;
        w->heap[i] = w->heap[best];
        i = best;
    }
    w->heap[i] = last;
    return first;
}

static struct event *event_new(enum event_kind kind, unsigned to, unsigned from, struct slice bytes)
{
    struct event *event = malloc(sizeof *event + bytes.len);

    CHECK(event != NULL);
    *event = (struct event){.kind = kind, .to = to, .from = from, .len = bytes.len};
    if (bytes.len > 0)
        memcpy(event->bytes, bytes.data, bytes.len);
    return event;
}

/* ---- the network ------------------------------------------------------ */

static bool is_cut(const struct world *w, unsigned from, unsigned to)
{
    const struct node *a = &w->nodes[from], *b = &w->nodes[to];

    if (a->unplugged || b->unplugged || a->side != b->side)
        return true;
    for (size_t i = 0; i < w->cut_count; i++)
        if (w->cuts[i].from == from && w->cuts[i].to == to)
            return true;
    return false;
}

static bool gets_through(struct world *w, unsigned from, unsigned to)
{
    return !is_cut(w, from, to) && !chance(w, w->weather.loss) && !chance(w, w->nodes[from].loss_out) &&
           !chance(w, w->nodes[to].loss_in);
}

static int64_t delay(struct world *w)
{
    int64_t us = w->weather.delay_us;

    if (w->weather.jitter_us > 0)
        us += (int64_t)(roll(&w->net_dice) % (uint64_t)w->weather.jitter_us);
    if (chance(w, w->weather.late))
        us += w->weather.late_us;
    return us;
}

struct address world_address(unsigned node)
{
    struct address address = {.ip = {0xfd}, .port = 7000};

    for (int i = 0; i < 4; i++)
        address.ip[12 + i] = (uint8_t)(node >> (24 - 8 * i));
    return address;
}

static unsigned node_at(const struct world *w, const struct address *address)
{
    unsigned node = 0;

    for (int i = 0; i < 4; i++)
        node = node << 8 | address->ip[12 + i];
    return address->ip[0] == 0xfd && node < w->count ? node : UINT32_MAX;
}

/* A node that stalls in the midst of what it does sends what it sends after that. */
static int64_t leaves_us(const struct node *n)
{
    return n->stalled_until_us > n->world->now_us ? n->stalled_until_us : n->world->now_us;
}

static void send_datagram(void *ctx, const struct address *to, struct slice bytes)
{
    struct node *n = ctx;
    struct world *w = n->world;
    unsigned target = node_at(w, to);

    CHECK(bytes.len <= DATAGRAM_MAX);
    n->traffic.datagrams++;
    n->traffic.datagram_bytes += bytes.len + WORLD_ENVELOPE;
    if (target == UINT32_MAX || !gets_through(w, n->index, target))
        return;
    schedule(w, leaves_us(n) + delay(w), event_new(DATAGRAM, target, n->index, bytes));
    if (chance(w, w->weather.doubled))
        schedule(w, leaves_us(n) + delay(w), event_new(DATAGRAM, target, n->index, bytes));
}

/* ---- streams ---------------------------------------------------------- */

static struct stream *stream_of(struct world *w, uint64_t id)
{
    size_t index = (size_t)(id & UINT32_MAX) - 1;

    if (id == 0 || index >= w->stream_count || w->streams[index].generation != id >> 32)
        return NULL;
    return &w->streams[index];
}

static uint64_t stream_id(const struct world *w, const struct stream *s)
{
    return (uint64_t)s->generation << 32 | (uint64_t)(s - w->streams + 1);
}

static void stream_drop(struct world *w, struct stream *s)
{
    for (int way = 0; way < 2; way++)
        while (s->head[way] != NULL) {
            struct item *item = s->head[way];
            s->head[way] = item->next;
            free(item);
        }
    s->generation++;
    w->stream_free = grow(w->stream_free, (w->stream_free_count + 1) * sizeof *w->stream_free);
    w->stream_free[w->stream_free_count++] = (size_t)(s - w->streams);
}

static void stream_schedule(struct world *w, struct stream *s, int way, int64_t at_us)
{
    struct event *event = event_new(STREAM_HEAD, s->node[way == 0], s->node[way], (struct slice){NULL, 0});

    event->stream = stream_id(w, s);
    event->way = (uint8_t)way;
    schedule(w, at_us, event);
}

static void stream_push(struct world *w, struct stream *s, int way, enum item_kind kind, struct slice bytes)
{
    struct item *item = malloc(sizeof *item + bytes.len);
    bool first = s->head[way] == NULL;

    CHECK(item != NULL);
    *item = (struct item){.kind = kind, .first_try_us = leaves_us(&w->nodes[s->node[way]]), .len = bytes.len};
    item->backoff_us = kind == ITEM_SYN ? CONNECT_RETRY_US : STREAM_RETRY_US;
    if (bytes.len > 0)
        memcpy(item->bytes, bytes.data, bytes.len);
    if (first)
        s->head[way] = item;
    else
        s->tail[way]->next = item;
    s->tail[way] = item;
    w->nodes[s->node[way]].traffic.stream_bytes += bytes.len + WORLD_SEGMENT;
    if (first)
        stream_schedule(w, s, way, leaves_us(&w->nodes[s->node[way]]) + delay(w));
}

static void tell_end(struct world *w, struct stream *s, int end, enum stream_end why, int64_t at_us)
{
    struct event *event;

    if (s->closed[end])
        return;
    s->closed[end] = true;
    event = event_new(STREAM_END, s->node[end], s->node[!end], (struct slice){NULL, 0});
    event->why = why;
    event->boot = s->boot[end];
    event->stream = stream_id(w, s);
    schedule(w, at_us, event);
}

static void stream_break(struct world *w, struct stream *s, enum stream_end why, int64_t at_us)
{
    tell_end(w, s, 0, why, at_us);
    tell_end(w, s, 1, why, at_us);
    stream_drop(w, s);
}

static uint64_t open_stream(void *ctx, const struct address *to)
{
    struct node *n = ctx;
    struct world *w = n->world;
    unsigned target = node_at(w, to);
    struct stream *s;

    if (target == UINT32_MAX || target == n->index)
        return 0;
    if (w->stream_free_count > 0) {
        s = &w->streams[w->stream_free[--w->stream_free_count]];
    } else {
        w->streams = grow(w->streams, (w->stream_count + 1) * sizeof *w->streams);
        s = &w->streams[w->stream_count++];
        s->generation = 0;
    }
    *s = (struct stream){.generation = s->generation + 1, .node = {n->index, target}, .boot = {n->boot}};
    n->traffic.streams++;
    stream_push(w, s, 0, ITEM_SYN, (struct slice){NULL, 0});
    return stream_id(w, s);
}

static int end_of(const struct node *n, const struct stream *s)
{
    return s->node[0] == n->index && s->boot[0] == n->boot ? 0 : 1;
}

static bool send_stream(void *ctx, uint64_t stream, struct slice message)
{
    struct node *n = ctx;
    struct stream *s = stream_of(n->world, stream);

    CHECK(message.len <= STREAM_MESSAGE_MAX);
    if (s == NULL || s->closed[end_of(n, s)])
        return false;
    stream_push(n->world, s, end_of(n, s), ITEM_MESSAGE, message);
    return true;
}

static void close_stream(void *ctx, uint64_t stream)
{
    struct node *n = ctx;
    struct stream *s = stream_of(n->world, stream);

    if (s == NULL || s->closed[end_of(n, s)])
        return;
    s->closed[end_of(n, s)] = true;
    stream_push(n->world, s, end_of(n, s), ITEM_FIN, (struct slice){NULL, 0});
}

/* The oldest item that this end sent is due: it arrives, or is tried again. */
static void stream_head(struct world *w, struct stream *s, int way)
{
    struct item *item = s->head[way];
    unsigned from = s->node[way], to = s->node[!way];
    struct node *target = &w->nodes[to];
    int64_t give_up = item->kind == ITEM_SYN ? CONNECT_GIVE_UP_US : STREAM_GIVE_UP_US, next = w->now_us;

    if (!gets_through(w, from, to) || !gets_through(w, to, from)) {
        if (w->now_us - item->first_try_us > give_up) {
            stream_break(w, s, STREAM_BROKEN, w->now_us);
            return;
        }
        stream_schedule(w, s, way, w->now_us + item->backoff_us);
        item->backoff_us *= 2;
        return;
    }
    if (!target->running || (item->kind != ITEM_SYN && target->boot != s->boot[!way])) {
        stream_break(w, s, item->kind == ITEM_SYN ? STREAM_REFUSED : STREAM_BROKEN, w->now_us + delay(w));
        return;
    }
    if (item->kind == ITEM_FIN) {
        tell_end(w, s, !way, STREAM_CLOSED, w->now_us);
        stream_drop(w, s);
        return;
    }
    if (item->kind == ITEM_SYN) {
        s->boot[1] = target->boot;
        next += 2 * delay(w);
    } else if (!s->closed[!way]) {
        struct event *event = event_new(STREAM_DATA, to, from, (struct slice){item->bytes, item->len});
        event->stream = stream_id(w, s);
        event->boot = s->boot[!way];
        schedule(w, w->now_us, event);
    }
    s->head[way] = item->next;
    free(item);
    if (s->head[way] != NULL) {
        s->head[way]->first_try_us = next;
        stream_schedule(w, s, way, next);
    }
}

/* ---- a node's own view ------------------------------------------------ */

static int64_t clock_of(const struct node *n)
{
    int64_t passed = n->world->now_us - n->clock_base_us;

    return n->clock_us + passed + passed * n->ppm / 1000000;
}

static int64_t now_us(void *ctx)
{
    return clock_of(ctx);
}

static uint64_t random_number(void *ctx)
{
    struct node *n = ctx;

    return roll(&n->dice);
}

static void queue_alarm(struct node *n, int64_t at_us)
{
    struct event *event = event_new(ALARM, n->index, n->index, (struct slice){NULL, 0});

    event->boot = n->boot;
    n->alarm_queued_us = at_us;
    schedule(n->world, at_us, event);
}

/* An alarm put off leaves its event in the heap, which then queues the next. */
static void set_alarm(void *ctx, int64_t at_us)
{
    struct node *n = ctx;
    int64_t wait = at_us - clock_of(n);

    if (wait < 0)
        wait = 0;
    if (n->ppm != 0)
        wait = (int64_t)((double)wait / (1 + n->ppm * 1e-6)) + 1;
    n->alarm_us = n->world->now_us + wait;
    if (n->alarm_us < n->alarm_queued_us)
        queue_alarm(n, n->alarm_us);
}

static void hand_over(struct node *n, const struct event *event)
{
    struct origin origin = {world_address(event->from), n->world->nodes[event->from].id, event->arrived_us};
    struct slice bytes = {event->bytes, event->len};

    switch (event->kind) {
    case DATAGRAM: n->user.datagram(n->user.owner, &origin, bytes); return;
    case UNREACHABLE: n->user.unreachable(n->user.owner, &origin.address); return;
    case STREAM_DATA: n->user.stream_message(n->user.owner, event->stream, &origin, bytes); return;
    case STREAM_END: n->user.stream_ended(n->user.owner, event->stream, event->why); return;
    case STREAM_HEAD:
    case WAKE:
    case ALARM: break;
    }
    CHECK_UNREACHABLE();
}

static void empty_inbox(struct node *n, bool hand)
{
    struct event *event;

    while ((event = n->inbox) != NULL) {
        n->inbox = event->next;
        if (n->inbox == NULL)
            n->inbox_end = &n->inbox;
        if (hand && n->running)
            hand_over(n, event);
        free(event);
    }
    n->inbox_datagrams = 0;
}

static void alarm_due(struct node *n)
{
    n->alarm_us = n->alarm_queued_us = INT64_MAX;
    n->user.alarm(n->user.owner);
}

/* True when the event is kept. */
static bool deliver(struct world *w, struct event *event)
{
    struct node *n = &w->nodes[event->to];
    bool late = (event->kind == STREAM_DATA || event->kind == STREAM_END) && event->boot != n->boot;

    if (!n->running || late) {
        if (event->kind == DATAGRAM && !n->unplugged && gets_through(w, event->to, event->from))
            schedule(w, w->now_us + delay(w),
                     event_new(UNREACHABLE, event->from, event->to, (struct slice){NULL, 0}));
        return false;
    }
    event->arrived_us = clock_of(n);
    if (n->stalled_until_us <= w->now_us) {
        hand_over(n, event);
        return false;
    }
    if (event->kind == DATAGRAM && n->inbox_datagrams >= INBOX_MAX)
        return false;
    n->inbox_datagrams += event->kind == DATAGRAM;
    event->next = NULL;
    *n->inbox_end = event;
    n->inbox_end = &event->next;
    return true;
}

static void happen(struct world *w, struct event *event)
{
    struct node *n = &w->nodes[event->to];
    struct stream *s;

    switch (event->kind) {
    case ALARM:
        if (!n->running || event->boot != n->boot || n->alarm_queued_us != w->now_us)
            break;
        n->alarm_queued_us = INT64_MAX;
        if (n->stalled_until_us > w->now_us)
            queue_alarm(n, n->stalled_until_us);
        else if (n->alarm_us > w->now_us)
            n->alarm_us == INT64_MAX ? (void)0 : queue_alarm(n, n->alarm_us);
        else
            alarm_due(n);
        break;
    case WAKE:
        if (n->running && n->stalled_until_us <= w->now_us)
            empty_inbox(n, true);
        break;
    case STREAM_HEAD:
        if ((s = stream_of(w, event->stream)) != NULL && s->head[event->way] != NULL)
            stream_head(w, s, event->way);
        break;
    case DATAGRAM:
    case UNREACHABLE:
    case STREAM_DATA:
    case STREAM_END:
        w->trace = (w->trace ^ (uint64_t)w->now_us ^ (uint64_t)event->kind << 56 ^ (uint64_t)event->to << 40 ^
                    event->len << 24) *
                   0x100000001b3;
        if (deliver(w, event))
            return;
        break;
    }
    free(event);
}

/* ---- the story's side ------------------------------------------------- */

struct world *world_new(unsigned nodes, uint64_t seed)
{
    struct world *w = calloc(1, sizeof *w);

    CHECK(w != NULL);
    w->net_dice = seed;
    w->story_dice = seed ^ 0x5deece66d;
    w->weather = (struct world_weather){.delay_us = 100, .jitter_us = 100};
    w->count = nodes;
    w->nodes = calloc(nodes, sizeof *w->nodes);
    CHECK(w->nodes != NULL);
    for (unsigned i = 0; i < nodes; i++) {
        struct node *n = &w->nodes[i];
        n->world = w;
        n->index = i;
        n->dice = roll(&w->net_dice);
        n->clock_us = (int64_t)(roll(&w->net_dice) % 1000000000000);
        n->alarm_us = n->alarm_queued_us = INT64_MAX;
        n->inbox_end = &n->inbox;
        for (int b = 0; b < NODE_ID_BYTES; b += 4) {
            uint64_t part = roll(&w->net_dice);
            memcpy(n->id.bytes + b, &part, 4);
        }
    }
    return w;
}

void world_free(struct world **w)
{
    if (*w == NULL)
        return;
    while ((*w)->due > 0)
        free(soonest(*w).event);
    for (size_t i = 0; i < (*w)->stream_count; i++)
        if ((*w)->streams[i].generation % 2 == 1)
            stream_drop(*w, &(*w)->streams[i]);
    for (unsigned i = 0; i < (*w)->count; i++)
        empty_inbox(&(*w)->nodes[i], false);
    free((*w)->streams);
    free((*w)->stream_free);
    free((*w)->cuts);
    free((*w)->heap);
    free((*w)->nodes);
    free(*w);
    *w = NULL;
}

void world_set_weather(struct world *w, struct world_weather weather)
{
    w->weather = weather;
}

struct node_id world_id(const struct world *w, unsigned node)
{
    return w->nodes[node].id;
}

void world_set_id(struct world *w, unsigned node, struct node_id id)
{
    w->nodes[node].id = id;
}

struct transport world_transport(struct world *w, unsigned node)
{
    return (struct transport){&w->nodes[node], send_datagram, open_stream, send_stream,
                              close_stream,    set_alarm,     now_us,      random_number};
}

void world_boot(struct world *w, unsigned node, struct transport_user user)
{
    struct node *n = &w->nodes[node];

    CHECK(!n->running);
    n->user = user;
    n->running = true;
    n->boot++;
    n->alarm_us = n->alarm_queued_us = INT64_MAX;
    n->stalled_until_us = 0;
}

void world_end(struct world *w, unsigned node)
{
    struct node *n = &w->nodes[node];

    n->running = false;
    empty_inbox(n, false);
    for (size_t i = 0; i < w->stream_count; i++) {
        struct stream *s = &w->streams[i];
        int end = s->node[0] == node && s->boot[0] == n->boot ? 0 : 1;
        if (s->generation % 2 == 0 || s->node[end] != node || s->boot[end] != n->boot)
            continue;
        s->closed[end] = true;
        if (!n->unplugged)
            stream_break(w, s, STREAM_BROKEN, w->now_us + delay(w));
    }
}

void world_unplug(struct world *w, unsigned node, bool unplugged)
{
    w->nodes[node].unplugged = unplugged;
}

void world_stall(struct world *w, unsigned node, int64_t for_us)
{
    struct node *n = &w->nodes[node];

    /* Never shorter than before: the alarm waits for the end that it knows. */
    if (for_us <= 0 || n->stalled_until_us > w->now_us + for_us)
        return;
    n->stalled_until_us = w->now_us + for_us;
    schedule(w, n->stalled_until_us, event_new(WAKE, node, node, (struct slice){NULL, 0}));
}

void world_drift(struct world *w, unsigned node, int ppm)
{
    struct node *n = &w->nodes[node];

    n->clock_us = clock_of(n);
    n->clock_base_us = w->now_us;
    n->ppm = ppm;
}

void world_node_loss(struct world *w, unsigned node, double out, double in)
{
    w->nodes[node].loss_out = out;
    w->nodes[node].loss_in = in;
}

void world_side(struct world *w, unsigned node, unsigned side)
{
    w->nodes[node].side = side;
}

void world_cut(struct world *w, unsigned from, unsigned to, bool cut)
{
    for (size_t i = 0; i < w->cut_count; i++)
        if (w->cuts[i].from == from && w->cuts[i].to == to) {
            if (!cut)
                w->cuts[i] = w->cuts[--w->cut_count];
            return;
        }
    if (!cut)
        return;
    w->cuts = grow(w->cuts, (w->cut_count + 1) * sizeof *w->cuts);
    w->cuts[w->cut_count++] = (struct cut){from, to};
}

bool world_reaches(const struct world *w, unsigned from, unsigned to)
{
    const struct node *a = &w->nodes[from], *b = &w->nodes[to];

    return a->running && b->running && a->stalled_until_us <= w->now_us && b->stalled_until_us <= w->now_us &&
           !is_cut(w, from, to) && w->weather.loss <= 0 && a->loss_out <= 0 && b->loss_in <= 0;
}

void world_run(struct world *w, int64_t for_us)
{
    int64_t until = w->now_us + for_us;

    while (w->due > 0 && w->heap[0].at_us <= until) {
        struct due due = soonest(w);
        CHECK(due.at_us >= w->now_us);
        w->now_us = due.at_us;
        w->events++;
        happen(w, due.event);
    }
    w->now_us = until;
}

int64_t world_now_us(const struct world *w)
{
    return w->now_us;
}

uint64_t world_random(struct world *w)
{
    return roll(&w->story_dice);
}

struct world_traffic world_traffic(const struct world *w, unsigned node)
{
    return w->nodes[node].traffic;
}

uint64_t world_events(const struct world *w)
{
    return w->events;
}

uint64_t world_trace(const struct world *w)
{
    return w->trace;
}
