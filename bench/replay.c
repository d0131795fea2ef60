/* replay.c - a host for eviction policies with nothing around them.
 *
 * Rules: (1) the id of an item is its key and never changes; (2) held weight
 * is at most the capacity after every call; (3) what a policy does not use
 * (nodes, queues, the list of residents) is not kept, so that the time
 * measured is the policy's. */
#include "bench/replay.h"
#include "server/check.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- traces ---- */

struct growing {
    uint32_t *at;
    size_t count, size;
};

static bool append(struct growing *g, uint32_t value)
{
    if (g->count == g->size) {
        size_t size = g->size == 0 ? 4096 : g->size * 2;
        uint32_t *at = realloc(g->at, size * sizeof(at[0]));

        if (at == NULL)
            return false;
        g->at = at;
        g->size = size;
    }
    g->at[g->count++] = value;
    return true;
}

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 31)) * UINT64_C(0x7FB5D329728EA185);
    x = (x ^ (x >> 27)) * UINT64_C(0x81DADEF4BC2DD44D);
    return x ^ (x >> 33);
}

/* Foreign key -> dense key, by linear probing. */
struct intern {
    uint64_t *keys;
    uint32_t *dense; /* 0: free */
    size_t size;     /* a power of two */
    uint32_t count;
};

static size_t intern_find(const struct intern *in, uint64_t key)
{
    size_t i = mix(key) & (in->size - 1);

    while (in->dense[i] != 0 && in->keys[i] != key)
        i = (i + 1) & (in->size - 1);
    return i;
}

static bool intern_grow(struct intern *in)
{
    struct intern next = {.size = in->size == 0 ? 4096 : in->size * 2, .count = in->count};

    next.keys = malloc(next.size * sizeof(next.keys[0]));
    next.dense = calloc(next.size, sizeof(next.dense[0]));
    if (next.keys == NULL || next.dense == NULL) {
        free(next.keys);
        free(next.dense);
        return false;
    }
    for (size_t i = 0; i < in->size; i++) {
        size_t to;

        if (in->dense[i] == 0)
            continue;
        to = intern_find(&next, in->keys[i]);
        next.keys[to] = in->keys[i];
        next.dense[to] = in->dense[i];
    }
    free(in->keys);
    free(in->dense);
    *in = next;
    return true;
}

/* 0 when memory is short. */
static uint32_t intern(struct intern *in, uint64_t key)
{
    size_t i;

    if (in->count >= in->size / 2 && !intern_grow(in))
        return 0;
    i = intern_find(in, key);
    if (in->dense[i] == 0) {
        in->keys[i] = key;
        in->dense[i] = ++in->count;
    }
    return in->dense[i];
}

/* The next number of the line; false if there is none. */
static bool number(const char **at, uint64_t *value)
{
    char *end;

    while (*at[0] == ' ' || *at[0] == '\t')
        (*at)++;
    if (!isdigit((unsigned char)*at[0]))
        return false;
    *value = strtoull(*at, &end, 10);
    *at = end;
    return true;
}

static bool read_line(const char *line, enum trace_format format, uint64_t *key, uint64_t *size)
{
    uint64_t time;
    bool ok = format == TRACE_KEYS ? number(&line, key)
                                   : number(&line, &time) && number(&line, key) && number(&line, size);

    return ok && (line[0] == '\n' || line[0] == '\r' || line[0] == '\0') && *size <= UINT32_MAX;
}

static FILE *open_trace(const char *path, bool *is_pipe)
{
    size_t length = strlen(path);
    char command[4096 + 16];

    *is_pipe = length > 4 && strcmp(path + length - 4, ".zst") == 0;
    if (!*is_pipe)
        return fopen(path, "r");
    if (strchr(path, '\'') != NULL || length > 4096)
        return NULL; /* it could not be quoted */
    snprintf(command, sizeof(command), "zstd -dcq '%s'", path);
    return popen(command, "r");
}

struct trace *trace_read(const char *path, enum trace_format format)
{
    struct growing keys = {0}, sizes = {0};
    struct intern in = {0};
    struct trace *t = calloc(1, sizeof(*t));
    bool is_pipe = false, ok = t != NULL;
    FILE *f = open_trace(path, &is_pipe);
    char line[256];

    if (f == NULL) {
        fprintf(stderr, "%s: cannot be opened\n", path);
        free(t);
        return NULL;
    }
    while (ok && fgets(line, sizeof(line), f) != NULL) {
        uint64_t key, size = 0;

        if (!read_line(line, format, &key, &size)) {
            fprintf(stderr, "%s:%zu: not a request: %s", path, keys.count + 1, line);
            ok = false;
            break;
        }
        ok = append(&keys, intern(&in, key)) && keys.at[keys.count - 1] != 0 &&
             (format == TRACE_KEYS || append(&sizes, (uint32_t)size));
    }
    if ((is_pipe ? pclose(f) : fclose(f)) != 0 && ok) {
        fprintf(stderr, "%s: could not be read to its end\n", path);
        ok = false;
    }
    free(in.keys);
    free(in.dense);
    if (!ok) {
        free(keys.at);
        free(sizes.at);
        free(t);
        return NULL;
    }
    *t = (struct trace){.requests = keys.count, .unique = in.count, .keys = keys.at, .sizes = sizes.at};
    return t;
}

void trace_free(struct trace **tp)
{
    if (*tp == NULL)
        return;
    free((*tp)->keys);
    free((*tp)->sizes);
    free(*tp);
    *tp = NULL;
}

/* ---- the host ---- */

struct item {
    uint32_t newer, older; /* neighbours in its queue */
    uint32_t weight;
    uint8_t hits;
    uint8_t queue;
    bool resident;
};

struct queue {
    uint32_t newest, oldest;
};

struct replay {
    const struct evict_type *type;
    struct evict_policy *policy;
    struct evict_host host;
    uint64_t capacity, held;
    uint32_t unique;
    struct item *items; /* by key */
    struct queue queues[EVICT_QUEUES_MAX];
    /* For any(): the residents in no order, and where each of them is. */
    uint32_t *residents, *place;
    uint32_t resident_count;
};

static void enqueue(struct replay *r, uint32_t id, unsigned queue)
{
    struct queue *q = &r->queues[queue];
    struct item *item = &r->items[id];

    item->queue = (uint8_t)queue;
    item->newer = EVICT_NOBODY;
    item->older = q->newest;
    if (q->newest != EVICT_NOBODY)
        r->items[q->newest].newer = id;
    else
        q->oldest = id;
    q->newest = id;
}

static void dequeue(struct replay *r, uint32_t id)
{
    struct item *item = &r->items[id];
    struct queue *q = &r->queues[item->queue];

    if (item->newer != EVICT_NOBODY)
        r->items[item->newer].older = item->older;
    else
        q->newest = item->older;
    if (item->older != EVICT_NOBODY)
        r->items[item->older].newer = item->newer;
    else
        q->oldest = item->newer;
}

static evict_id host_oldest(void *ctx, unsigned queue)
{
    struct replay *r = ctx;

    return r->queues[queue].oldest;
}

static void host_requeue(void *ctx, evict_id id, unsigned queue, unsigned hits)
{
    struct replay *r = ctx;

    dequeue(r, id);
    enqueue(r, id, queue);
    r->items[id].hits = (uint8_t)hits;
}

static unsigned host_hits(void *ctx, evict_id id)
{
    struct replay *r = ctx;

    return r->items[id].hits;
}

static void host_set_hits(void *ctx, evict_id id, unsigned hits)
{
    struct replay *r = ctx;

    r->items[id].hits = (uint8_t)hits;
}

static uint32_t host_weight(void *ctx, evict_id id)
{
    struct replay *r = ctx;

    return r->items[id].weight;
}

/* Nothing in a replay expires. */
static int64_t host_expires(void *ctx, evict_id id)
{
    (void)ctx, (void)id;
    return INT64_MAX;
}

static uint64_t host_hash(void *ctx, evict_id id)
{
    (void)ctx;
    return mix(id);
}

static evict_id host_any(void *ctx, uint64_t dice)
{
    struct replay *r = ctx;

    if (r->resident_count == 0)
        return EVICT_NOBODY;
    return r->residents[((dice >> 32) * r->resident_count) >> 32];
}

struct replay *replay_new(const struct evict_type *type, uint64_t capacity, uint32_t unique, uint64_t seed)
{
    struct replay *r = calloc(1, sizeof(*r));
    size_t ids = (size_t)unique + 1;
    bool picks_any = type->queues == 0 && !type->linked;
    struct evict_config config = {.capacity = capacity, .seed = seed};

    if (r == NULL)
        return NULL;
    r->type = type;
    r->capacity = capacity;
    r->unique = unique;
    r->host = (struct evict_host){.ctx = r,
                                  .oldest = host_oldest,
                                  .requeue = host_requeue,
                                  .hits = host_hits,
                                  .set_hits = host_set_hits,
                                  .weight = host_weight,
                                  .expires = host_expires,
                                  .hash = host_hash,
                                  .any = host_any};
    if ((r->items = calloc(ids, sizeof(r->items[0]))) == NULL)
        goto fail;
    if (type->linked && (r->host.nodes = calloc(ids, sizeof(r->host.nodes[0]))) == NULL)
        goto fail;
    if (picks_any && ((r->residents = calloc(ids, sizeof(r->residents[0]))) == NULL ||
                      (r->place = calloc(ids, sizeof(r->place[0]))) == NULL))
        goto fail;
    if ((r->policy = type->create(&r->host, &config)) == NULL)
        goto fail;
    return r;
fail:
    replay_free(&r);
    return NULL;
}

void replay_free(struct replay **rp)
{
    struct replay *r = *rp;

    if (r == NULL)
        return;
    r->type->destroy(r->policy);
    free(r->host.nodes);
    free(r->items);
    free(r->residents);
    free(r->place);
    free(r);
    *rp = NULL;
}

static void leave(struct replay *r, uint32_t key, enum evict_reason why)
{
    struct item *item = &r->items[key];

    CHECK(item->resident);
    r->type->gone(r->policy, key, mix(key), item->weight, item->queue, why);
    if (r->type->queues > 0)
        dequeue(r, key);
    if (r->residents != NULL) {
        uint32_t last = r->residents[--r->resident_count];

        r->residents[r->place[key]] = last;
        r->place[last] = r->place[key];
    }
    r->held -= item->weight;
    item->resident = false;
}

static void make_room(struct replay *r, uint32_t weight)
{
    while (r->held + weight > r->capacity) {
        evict_id id = r->type->victim(r->policy);

        CHECK(id != EVICT_NOBODY);
        leave(r, id, EVICT_EVICTED);
    }
}

static void enter(struct replay *r, uint32_t key, uint32_t weight)
{
    struct item *item = &r->items[key];
    unsigned queue = r->type->arriving(r->policy, mix(key), weight);

    make_room(r, weight);
    *item = (struct item){.weight = weight, .resident = true};
    if (r->type->queues > 0)
        enqueue(r, key, queue);
    if (r->residents != NULL) {
        r->place[key] = r->resident_count;
        r->residents[r->resident_count++] = key;
    }
    r->held += weight;
    r->type->admitted(r->policy, key, mix(key), weight, queue);
}

static void resize(struct replay *r, uint32_t key, uint32_t weight)
{
    struct item *item = &r->items[key];
    uint32_t before = item->weight;

    item->weight = weight;
    r->held = r->held - before + weight;
    if (r->type->resized != NULL)
        r->type->resized(r->policy, key, before, weight, item->queue);
    make_room(r, 0);
}

bool replay_get(struct replay *r, uint32_t key, uint32_t weight)
{
    struct item *item = &r->items[key];

    CHECK(key > 0 && key <= r->unique);
    if (!item->resident) {
        if (weight <= r->capacity)
            enter(r, key, weight);
        return false;
    }
    if (item->hits < EVICT_HITS_MAX)
        item->hits++;
    if (r->type->touched != NULL)
        r->type->touched(r->policy, key);
    if (item->weight != weight)
        resize(r, key, weight);
    return true;
}

bool replay_drop(struct replay *r, uint32_t key)
{
    if (!r->items[key].resident)
        return false;
    leave(r, key, EVICT_REMOVED);
    return true;
}

void replay_set_capacity(struct replay *r, uint64_t capacity)
{
    r->capacity = capacity;
    r->type->set_capacity(r->policy, capacity);
    make_room(r, 0);
}

uint64_t replay_held(const struct replay *r)
{
    return r->held;
}

size_t replay_policy_bytes(const struct replay *r)
{
    return r->type->bytes(r->policy);
}

void replay_check(const struct replay *r)
{
    uint64_t held = 0;

    for (uint32_t key = 1; key <= r->unique; key++)
        held += r->items[key].resident ? r->items[key].weight : 0;
    CHECK(held == r->held && r->held <= r->capacity);
    r->type->check(r->policy);
}

double replay_miss_ratio(const struct trace *t, const struct evict_type *type, uint64_t capacity,
                         bool weighted)
{
    struct replay *r = replay_new(type, capacity, t->unique, 1);
    size_t misses = 0;

    if (r == NULL)
        return -1;
    for (size_t i = 0; i < t->requests; i++)
        misses += !replay_get(r, t->keys[i], weighted && t->sizes != NULL ? t->sizes[i] : 1);
    replay_free(&r);
    return (double)misses / (double)t->requests;
}
