/* replay.c - traces, and any policy behind replay_host.h. */
#include "bench/replay_host.h"
#include "server/evict/auto.h"
#include "server/evict/list.h"
#include "server/evict/policies.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

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

/* Foreign key -> dense key, by linear probing. */
struct intern {
    uint64_t *keys;
    uint32_t *dense; /* 0: free */
    size_t size;     /* a power of two */
    uint32_t count;
};

static size_t intern_find(const struct intern *in, uint64_t key)
{
    size_t i = replay_mix(key) & (in->size - 1);

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

const struct evict_type replay_auto = {.name = "auto"};

/* Those that are linked in: the simulator has all of them, a test perhaps none. */
#define EVICT_POLICY(name, help)                                                                             \
    extern const struct replay_compiled replay_compiled_##name __attribute__((weak));
#include "server/evict/policies.def"
#undef EVICT_POLICY

static const struct {
    const struct evict_type *type;
    const struct replay_compiled *compiled;
} compiled[] = {
#define EVICT_POLICY(name, help) {&evict_##name, &replay_compiled_##name},
#include "server/evict/policies.def"
#undef EVICT_POLICY
};

static const struct replay_compiled *find_compiled(const struct evict_type *type)
{
    for (size_t i = 0; i < sizeof(compiled) / sizeof(compiled[0]); i++)
        if (compiled[i].type == type)
            return compiled[i].compiled;
    return NULL;
}

_Thread_local struct replay *replay_being_made;

static evict_id call_oldest(void *ctx, unsigned queue)
{
    return host_oldest(ctx, queue);
}

static void call_requeue(void *ctx, evict_id id, unsigned queue, unsigned hits)
{
    host_requeue(ctx, id, queue, hits);
}

static unsigned call_hits(void *ctx, evict_id id)
{
    return host_hits(ctx, id);
}

static void call_set_hits(void *ctx, evict_id id, unsigned hits)
{
    host_set_hits(ctx, id, hits);
}

static uint32_t call_weight(void *ctx, evict_id id)
{
    return host_weight(ctx, id);
}

static int64_t call_expires(void *ctx, evict_id id)
{
    return host_expires(ctx, id);
}

static uint64_t call_hash(void *ctx, evict_id id)
{
    return host_hash(ctx, id);
}

static evict_id call_any(void *ctx, uint64_t dice)
{
    return host_any(ctx, dice);
}

uint32_t replay_next_use(const void *ctx, evict_id id)
{
    const struct replay *r = ctx;

    return r->next_use[id];
}

/* Zeroed; large ones on huge pages where the kernel has some, for the sake of
 * the address translation. */
static void *make_array(size_t count, size_t size)
{
    enum { HUGE = 1 << 21 };
    size_t bytes = (count * size + HUGE - 1) & ~(size_t)(HUGE - 1);
    void *at;

    if (count * size < HUGE)
        return calloc(count, size);
    at = aligned_alloc(HUGE, bytes);
    if (at == NULL)
        return NULL;
    madvise(at, bytes, MADV_HUGEPAGE);
    memset(at, 0, bytes);
    return at;
}

static bool make_arrays(struct replay *r, const struct evict_type *type, unsigned with)
{
    bool is_auto = type == &replay_auto, picks_any = type->queues == 0 && !type->linked && !is_auto;
    const struct {
        bool wanted;
        void **at;
        size_t size;
    } arrays[] = {
        {true, (void **)&r->state, sizeof(r->state[0])},
        {(with & REPLAY_WEIGHTS) != 0, (void **)&r->weights, sizeof(r->weights[0])},
        {(with & REPLAY_FUTURE) != 0, (void **)&r->next_use, sizeof(r->next_use[0])},
        {(with & REPLAY_EXPIRY) != 0, (void **)&r->expires, sizeof(r->expires[0])},
        {type->queues > 0 || is_auto, (void **)&r->links, sizeof(r->links[0])},
        {picks_any, (void **)&r->residents, sizeof(r->residents[0])},
        {picks_any, (void **)&r->place, sizeof(r->place[0])},
        {r->compiled != NULL, (void **)&r->ghosts, sizeof(r->ghosts[0])},
    };

    for (size_t i = 0; i < sizeof(arrays) / sizeof(arrays[0]); i++)
        if (arrays[i].wanted && (*arrays[i].at = make_array((size_t)r->unique + 1, arrays[i].size)) == NULL)
            return false;
    if (type->linked || is_auto) {
        size_t marks = r->compiled != NULL ? ((size_t)r->unique / 64 + 1) * 64 : 0;
        size_t nodes = ((size_t)r->unique + 1) * sizeof(r->host.nodes[0]);

        if ((r->nodes_block = make_array(marks + nodes, 1)) == NULL)
            return false;
        r->host.nodes = (uint64_t *)(void *)(r->nodes_block + marks);
    }
    return true;
}

static void set_shadow_capacities(struct replay *r)
{
    for (unsigned i = 0; i < AUTO_CANDIDATES && r->shadows != NULL; i++)
        shadows_set_capacity(r->shadows, i, r->capacity);
}

static bool make_auto(struct replay *r, uint64_t seed)
{
    struct shadow_kind kinds[AUTO_CANDIDATES];

    auto_kinds(kinds);
    r->type = auto_candidate(0);
    r->shadows = shadows_new(kinds, AUTO_CANDIDATES, REPLAY_SHADOW_ITEMS, seed);
    if (r->shadows == NULL || (r->autos = auto_new(r->shadows, r->type)) == NULL)
        return false;
    set_shadow_capacities(r);
    return true;
}

struct replay *replay_new(const struct evict_type *type, uint64_t capacity, uint32_t unique, uint64_t seed,
                          unsigned with)
{
    struct replay *r = calloc(1, sizeof(*r));
    struct evict_config config = {.capacity = capacity, .seed = seed};

    if (r == NULL)
        return NULL;
    r->compiled = (with & REPLAY_COMPILED) != 0 ? find_compiled(type) : NULL;
    r->type = type = r->compiled != NULL ? r->compiled->type : type;
    r->capacity = capacity;
    r->unique = unique;
    r->host = (struct evict_host){.ctx = r,
                                  .oldest = call_oldest,
                                  .requeue = call_requeue,
                                  .hits = call_hits,
                                  .set_hits = call_set_hits,
                                  .weight = call_weight,
                                  .expires = call_expires,
                                  .hash = call_hash,
                                  .any = call_any};
    if (!make_arrays(r, type, with) || (type == &replay_auto && !make_auto(r, seed)))
        goto fail;
    replay_being_made = r;
    r->policy = r->type->create(&r->host, &config);
    replay_being_made = NULL;
    if (r->policy == NULL)
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
    if (r->policy != NULL)
        r->type->destroy(r->policy);
    auto_free(&r->autos);
    shadows_free(&r->shadows);
    free(r->nodes_block);
    free(r->state);
    free(r->weights);
    free(r->next_use);
    free(r->expires);
    free(r->links);
    free(r->residents);
    free(r->ghosts);
    free(r->place);
    free(r);
    *rp = NULL;
}

bool replay_is_compiled(const struct replay *r)
{
    return r->compiled != NULL;
}

void replay_set_hashes(struct replay *r, const uint64_t *hashes)
{
    CHECK(r->compiled == NULL);
    r->hashes = hashes;
}

void replay_watch(struct replay *r, void (*watcher)(void *arg, uint32_t victim), void *arg)
{
    r->watcher = watcher;
    r->watcher_arg = arg;
}

/* ---- auto ---- */

struct succession {
    uint32_t *ids;
    uint32_t count;
};

/* Coldest first: as the old policy would have evicted them, or by age where it has no order of its own.
 * A store's shard does the same (succession.c), but a few at a time. */
static void list_cold_first(struct replay *r, struct succession *h)
{
    evict_id id;

    if (r->type->linked)
        while ((id = r->type->victim(r->policy)) != EVICT_NOBODY) {
            r->type->gone(r->policy, id, host_hash(r, id), host_weight(r, id), host_queue_of(r, id),
                          EVICT_REMOVED);
            h->ids[h->count++] = id;
        }
    for (unsigned queue = 0; queue < EVICT_QUEUES_MAX && !r->type->linked; queue++)
        for (id = r->queues[queue].oldest; id != EVICT_NOBODY; id = r->links[id].newer)
            h->ids[h->count++] = id;
}

static void join_queues(struct replay *r)
{
    uint32_t oldest = r->queues[1].oldest;

    for (uint32_t id = oldest; id != EVICT_NOBODY; id = r->links[id].newer)
        r->state[id] = (uint8_t)(r->state[id] & ~REPLAY_QUEUE);
    if (oldest == EVICT_NOBODY)
        return;
    r->links[oldest].older = r->queues[0].newest;
    if (r->queues[0].newest != EVICT_NOBODY)
        r->links[r->queues[0].newest].newer = oldest;
    else
        r->queues[0].oldest = oldest;
    r->queues[0].newest = r->queues[1].newest;
    r->queues[1] = (struct replay_queue){0, 0};
}

static void change_policy(struct replay *r, const struct evict_type *type)
{
    struct evict_config config = {.capacity = r->capacity, .seed = 1};
    struct succession h = {malloc(((size_t)r->unique + 1) * sizeof(h.ids[0])), 0};
    struct evict_policy *next = h.ids != NULL ? type->create(&r->host, &config) : NULL;

    if (next == NULL) {
        free(h.ids);
        return;
    }
    list_cold_first(r, &h);
    r->type->destroy(r->policy);
    r->type = type;
    r->policy = next;
    join_queues(r);
    for (uint32_t i = 0; i < h.count; i++)
        type->admitted(r->policy, h.ids[i], host_hash(r, h.ids[i]), host_weight(r, h.ids[i]), 0);
    free(h.ids);
}

enum told { TOLD_HIT, TOLD_MISSED, TOLD_STORED };

/* What the shadows see of it. */
static void tell(struct replay *r, uint32_t key, uint32_t weight, enum told told)
{
    struct shadow_item item = {.hash = host_hash(r, key), .weight = weight};

    shadows_count_reads(r->shadows, told != TOLD_STORED);
    if (shadow_draw(item.hash) >= shadows_threshold(r->shadows))
        return;
    item.expires = r->expires != NULL ? r->expires[key] : 0;
    switch (told) {
    case TOLD_HIT: shadows_hit(r->shadows, &item, r->now); break;
    case TOLD_MISSED: shadows_missed(r->shadows, &item, r->now); break;
    case TOLD_STORED: shadows_stored(r->shadows, &item, r->now); return;
    }
    const struct evict_type *type = auto_follow(r->autos);
    if (type != r->type)
        change_policy(r, type);
}

/* Any policy may be the next, so hits are counted for all. */
static bool ask(struct replay *r, uint32_t key, uint32_t weight)
{
    uint8_t state = r->state[key];

    if (r->autos != NULL && !r->type->wants_hits && (state & REPLAY_RESIDENT) != 0 &&
        (state & REPLAY_HITS) < EVICT_HITS_MAX)
        r->state[key] = (uint8_t)(state + 1);
    return replay_ask(r, r->type, key, weight, r->weights != NULL);
}

bool replay_get(struct replay *r, uint32_t key, uint32_t weight)
{
    bool hit;

    CHECK(key > 0 && key <= r->unique);
    weight = r->weights != NULL ? weight : 1;
    hit = ask(r, key, weight);
    if (r->autos == NULL)
        return hit;
    tell(r, key, weight, hit ? TOLD_HIT : TOLD_MISSED);
    if (!hit && replay_holds(r, key))
        tell(r, key, weight, TOLD_STORED);
    return hit;
}

bool replay_put(struct replay *r, uint32_t key, uint32_t weight)
{
    bool was_there;

    CHECK(key > 0 && key <= r->unique);
    weight = r->weights != NULL ? weight : 1;
    was_there = ask(r, key, weight);
    if (r->autos != NULL && replay_holds(r, key))
        tell(r, key, weight, TOLD_STORED);
    return was_there;
}

void replay_set_time(struct replay *r, int64_t now)
{
    r->now = now;
}

void replay_know(struct replay *r, uint32_t key, uint32_t next_use)
{
    r->next_use[key] = next_use;
}

uint64_t replay_many(struct replay *r, const uint32_t *keys, const uint32_t *sizes, size_t n,
                     uint64_t *missed_bytes)
{
    bool weighted = r->weights != NULL;
    uint64_t misses = 0;

    if (r->compiled != NULL)
        return r->compiled->many(r, keys, sizes, n, weighted, missed_bytes);
    for (size_t i = 0; i < n; i++) {
        uint32_t size = sizes != NULL ? sizes[i] : 0;
        bool hit = replay_get(r, keys[i], weighted ? size : 1);

        misses += !hit;
        *missed_bytes += hit ? 0 : size;
    }
    return misses;
}

bool replay_holds(const struct replay *r, uint32_t key)
{
    return (r->state[key] & REPLAY_RESIDENT) != 0;
}

void replay_set_expiry(struct replay *r, uint32_t key, int64_t expires)
{
    r->expires[key] = expires;
    if (r->type->expiry_changed != NULL && replay_holds(r, key))
        r->type->expiry_changed(r->policy, key);
    if (r->shadows != NULL && replay_holds(r, key)) {
        struct shadow_item item = {
            .hash = host_hash(r, key), .weight = host_weight(r, key), .expires = expires};
        shadows_expiry_changed(r->shadows, &item);
    }
}

int64_t replay_expiry(const struct replay *r, uint32_t key)
{
    return r->expires[key];
}

bool replay_drop(struct replay *r, uint32_t key)
{
    if (r->shadows != NULL)
        shadows_dropped(r->shadows, host_hash(r, key));
    if (!replay_holds(r, key))
        return false;
    replay_leave(r, r->type, key, EVICT_REMOVED);
    return true;
}

void replay_set_capacity(struct replay *r, uint64_t capacity)
{
    r->capacity = capacity;
    r->type->set_capacity(r->policy, capacity);
    replay_make_room(r, r->type, 0);
    set_shadow_capacities(r);
}

uint64_t replay_held(const struct replay *r)
{
    return r->held;
}

uint64_t replay_evicted(const struct replay *r)
{
    return r->evicted;
}

size_t replay_policy_bytes(const struct replay *r)
{
    return r->type->bytes(r->policy);
}

void replay_check(const struct replay *r)
{
    uint64_t held = 0;

    for (uint32_t key = 1; key <= r->unique; key++)
        held += replay_holds(r, key) ? host_weight(r, key) : 0;
    CHECK(held == r->held && r->held <= r->capacity);
    r->type->check(r->policy);
    if (r->shadows != NULL)
        shadows_check(r->shadows);
}

const struct shadows *replay_shadows(const struct replay *r)
{
    return r->shadows;
}

const struct evict_auto *replay_autos(const struct replay *r)
{
    return r->autos;
}

double replay_miss_ratio(const struct trace *t, const struct evict_type *type, uint64_t capacity,
                         bool weighted)
{
    bool weighs = weighted && t->sizes != NULL;
    struct replay *r = replay_new(type, capacity, t->unique, 1, weighs ? REPLAY_WEIGHTS : 0);
    uint64_t misses, missed_bytes = 0;

    if (r == NULL)
        return -1;
    misses = replay_many(r, t->keys, weighs ? t->sizes : NULL, t->requests, &missed_bytes);
    replay_free(&r);
    return (double)misses / (double)t->requests;
}
