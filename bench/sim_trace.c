/* sim_trace.c - interning, columns that may spill to a file, and what is
 * learnt on the way: sizes, times to live and reuse of each key. */
#include "bench/sim_trace.h"
#include "bench/replay.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* ---- columns: arrays that grow, in memory or in a file ---- */

struct column_store {
    char *at;
    size_t used, size;
    int fd; /* -1: in memory */
};

static int spill_file(void)
{
    const char *dir = getenv("TMPDIR");
    char path[4096];
    int fd;

    snprintf(path, sizeof(path), "%s/corral-sim.XXXXXX", dir != NULL ? dir : "/var/tmp");
    fd = mkstemp(path);
    if (fd >= 0)
        unlink(path);
    return fd;
}

static bool move_to_file(struct column_store *c, size_t size)
{
    int fd = spill_file();
    char *at;

    if (fd < 0)
        return false;
    at = ftruncate(fd, (off_t)size) == 0 ? mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
                                         : MAP_FAILED;
    if (at == MAP_FAILED) {
        close(fd);
        return false;
    }
    if (c->size > 0) {
        memcpy(at, c->at, c->used);
        munmap(c->at, c->size);
    }
    c->at = at;
    c->size = size;
    c->fd = fd;
    return true;
}

static bool column_grow(struct column_store *c, size_t spill)
{
    size_t size = c->size == 0 ? 1 << 20 : c->size + c->size / 2;
    char *at;

    size = (size + 4095) & ~(size_t)4095;
    if (c->size == 0) {
        at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        c->fd = -1;
    } else if (c->fd < 0 && size > spill) {
        return move_to_file(c, size);
    } else if (c->fd >= 0 && ftruncate(c->fd, (off_t)size) != 0) {
        return false;
    } else {
        at = mremap(c->at, c->size, size, MREMAP_MAYMOVE);
    }
    if (at == MAP_FAILED)
        return false;
    c->at = at;
    c->size = size;
    return true;
}

/* All of it at once, uninitialized. */
static bool column_make(struct column_store *c, size_t bytes, size_t spill)
{
    size_t size = (bytes + 4095) & ~(size_t)4095;

    if (size > spill)
        return move_to_file(c, size);
    c->at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    c->fd = -1;
    c->size = c->at != MAP_FAILED ? size : 0;
    return c->size > 0;
}

static bool column_add(struct column_store *c, const void *value, size_t bytes, size_t spill)
{
    while (c->used + bytes > c->size)
        if (!column_grow(c, spill))
            return false;
    memcpy(c->at + c->used, value, bytes);
    c->used += bytes;
    return true;
}

static void column_free(struct column_store *c)
{
    if (c->size == 0)
        return;
    munmap(c->at, c->size);
    if (c->fd >= 0)
        close(c->fd);
    c->size = 0;
}

/* ---- reading ---- */

struct known {
    uint64_t last; /* request + 1, 0: none */
    uint32_t size, largest, ttl;
    uint32_t reads;
};

enum { KEYS, SIZES, OPS, TIMES, TTLS, NEXT, PARTS };

/* A column may take one of so many parts of memory before it goes to a file; keys have the rest. */
enum { PARTS_OF_MEMORY = 32 };

struct loading {
    struct sim_trace trace; /* first: what callers hold */
    struct column_store parts[PARTS];
    const struct sim_trace_options *options;
    uint64_t *hashes; /* by slot; with `slots` an open table */
    uint32_t *slots;  /* 0: free, else the key's number */
    size_t table_size;
    struct known *known; /* by key; mapped, so that it grows without a copy */
    size_t known_bytes;
    bool too_many; /* keys for an evict_id */
    uint64_t memory_max;
    uint64_t threshold; /* of the sampling */
    double next_word;   /* when to say something again */
};

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static size_t slot_of(const uint64_t *hashes, const uint32_t *slots, size_t size, uint64_t hash)
{
    size_t i = (hash * UINT64_C(0x9E3779B97F4A7C15)) >> 20 & (size - 1);

    while (slots[i] != 0 && hashes[i] != hash)
        i = (i + 1) & (size - 1);
    return i;
}

/* How full the table may get, in tenths. */
enum { LOAD = 7 };

/* What reading takes while a table of `size` is filled from one half as large. */
static uint64_t bytes_to_grow(size_t size)
{
    const uint64_t slot = sizeof(uint64_t) + sizeof(uint32_t);

    return size * slot + size / 2 * slot + size * LOAD / 10 * sizeof(struct known);
}

static bool grow_known(struct loading *l, size_t table_size)
{
    size_t bytes = (table_size * LOAD / 10 + 2) * sizeof(struct known);
    void *known = l->known == NULL
                      ? mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                      : mremap(l->known, l->known_bytes, bytes, MREMAP_MAYMOVE);

    if (known == MAP_FAILED)
        return false;
    l->known = known;
    l->known_bytes = bytes;
    return true;
}

static bool grow_table(struct loading *l)
{
    size_t size = l->table_size == 0 ? 1 << 14 : l->table_size * 2;
    uint64_t *hashes;
    uint32_t *slots;

    if (bytes_to_grow(size) > l->options->memory_max / PARTS_OF_MEMORY * (PARTS_OF_MEMORY - PARTS) ||
        !grow_known(l, size))
        return false;
    hashes = malloc(size * sizeof(hashes[0]));
    slots = calloc(size, sizeof(slots[0]));
    if (hashes == NULL || slots == NULL) {
        free(hashes);
        free(slots);
        return false;
    }
    for (size_t i = 0; i < l->table_size; i++)
        if (l->slots[i] != 0) {
            size_t to = slot_of(hashes, slots, size, l->hashes[i]);

            hashes[to] = l->hashes[i];
            slots[to] = l->slots[i];
        }
    free(l->hashes);
    free(l->slots);
    l->hashes = hashes;
    l->slots = slots;
    l->table_size = size;
    return true;
}

/* 0 when memory is short. */
static uint32_t number_of(struct loading *l, uint64_t hash)
{
    size_t i;

    if ((size_t)l->trace.unique * 10 >= l->table_size * LOAD && !grow_table(l))
        return 0;
    i = slot_of(l->hashes, l->slots, l->table_size, hash);
    if (l->slots[i] != 0)
        return l->slots[i];
    if (l->trace.unique + 1 >= 1u << 28) { /* an evict_id */
        l->too_many = true;
        return 0;
    }
    l->hashes[i] = hash;
    l->slots[i] = ++l->trace.unique;
    l->known[l->trace.unique] = (struct known){0};
    return l->trace.unique;
}

static bool keep(struct loading *l, const struct request *q)
{
    size_t spill = l->options->memory_max / PARTS_OF_MEMORY;
    uint32_t key = number_of(l, q->key), size, ttl;
    uint8_t op = (uint8_t)q->op;
    struct known *k;

    if (key == 0)
        return false;
    k = &l->known[key];
    if (q->size > 0)
        k->size = (uint32_t)q->size;
    if (q->ttl > 0 || q->op == REQUEST_WRITE)
        k->ttl = q->ttl < UINT32_MAX ? (uint32_t)q->ttl : 0;
    size = k->size > 0 ? k->size : 1;
    ttl = k->ttl;
    if (size > k->largest) {
        l->trace.footprint += size - k->largest;
        k->largest = size;
    }
    if (q->op == REQUEST_READ) {
        l->trace.reads++;
        l->trace.read_bytes += l->trace.has_sizes ? size : 1;
        k->reads += k->reads < UINT32_MAX;
        if (k->last > 0)
            l->trace.reuse[63 - __builtin_clzll(l->trace.requests + 1 - k->last)]++;
    }
    k->last = ++l->trace.requests;
    return column_add(&l->parts[KEYS], &key, 4, spill) &&
           (!l->trace.has_sizes || column_add(&l->parts[SIZES], &size, 4, spill)) &&
           (!l->trace.has_ops ||
            (column_add(&l->parts[OPS], &op, 1, spill) && column_add(&l->parts[TIMES], &q->time, 8, spill) &&
             column_add(&l->parts[TTLS], &ttl, 4, spill)));
}

static void say_progress(struct loading *l, const struct reader *r, const char *path, double since)
{
    double now = seconds(), done = reader_progress(r);

    if (l->options->quiet || now < l->next_word || isatty(STDERR_FILENO) == 0)
        return;
    l->next_word = now + .5;
    fprintf(stderr, "\rreading %s: %.1f M requests, %.2f M keys", path, (double)l->trace.rows_all / 1e6,
            (double)l->trace.unique / 1e6);
    if (done > 0)
        fprintf(stderr, ", %.0f %%, %.0f s left ", done * 100, (now - since) * (1 - done) / done);
}

static void complain_of_memory(const struct loading *l, const struct reader *r, const char *path)
{
    fprintf(stderr, "corral-sim: %s:%llu: column %u: %s after %u distinct keys and %llu requests: ",
            strcmp(path, "-") == 0 ? "stdin" : path, (unsigned long long)reader_line(r), reader_key_column(r),
            l->too_many ? "more keys than can be numbered" : "memory is short", l->trace.unique,
            (unsigned long long)l->trace.rows_all);
    if (!l->too_many)
        fprintf(stderr, "raise --memory (%.0f MiB), or ", (double)l->options->memory_max / (1 << 20));
    fprintf(stderr, "look at a share of the keys with --sample %g\n", l->options->sample / 100);
}

static bool read_one(struct loading *l, const char *path, bool first)
{
    struct reader *r = reader_open(path, &l->options->read);
    double since = seconds();
    struct request q;
    bool ok = r != NULL;

    if (!ok)
        return false;
    if (first) {
        l->trace.has_sizes = reader_has_sizes(r);
        l->trace.has_ops = reader_has_ops(r);
        snprintf(l->trace.format, sizeof(l->trace.format), "%s", reader_format(r));
    } else if (l->trace.has_sizes != reader_has_sizes(r) || l->trace.has_ops != reader_has_ops(r)) {
        fprintf(stderr, "corral-sim: %s: has other columns than the files before it\n", path);
        ok = false;
    }
    while (ok && reader_next(r, &q)) {
        if (l->trace.rows_all++ % 65536 == 0)
            say_progress(l, r, path, since);
        l->trace.reads_all += q.op == REQUEST_READ;
        if (q.key * UINT64_C(0xD1342543DE82EF95) > l->threshold)
            continue;
        ok = keep(l, &q);
        if (!ok)
            complain_of_memory(l, r, path);
    }
    ok = ok && !reader_failed(r);
    reader_close(&r);
    if (!l->options->quiet && isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[K");
    return ok;
}

static int more_first(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x < y) - (x > y);
}

static bool finish(struct loading *l)
{
    struct sim_trace *t = &l->trace;

    t->popularity = malloc(((size_t)t->unique + 1) * sizeof(t->popularity[0]));
    if (t->popularity == NULL)
        return false;
    for (uint32_t key = 1; key <= t->unique; key++)
        t->popularity[key - 1] = l->known[key].reads;
    qsort(t->popularity, t->unique, sizeof(t->popularity[0]), more_first);
    t->keys = (uint32_t *)(void *)l->parts[KEYS].at;
    if (t->has_sizes)
        t->sizes = (uint32_t *)(void *)l->parts[SIZES].at;
    if (t->has_ops) {
        t->ops = (uint8_t *)l->parts[OPS].at;
        t->times = (int64_t *)(void *)l->parts[TIMES].at;
        t->ttls = (uint32_t *)(void *)l->parts[TTLS].at;
    }
    if (!t->has_sizes)
        t->footprint = t->unique;
    return true;
}

struct sim_trace *sim_trace_read(char *const *paths, unsigned count, const struct sim_trace_options *o)
{
    struct loading *l = calloc(1, sizeof(*l));
    struct sim_trace *t;
    bool ok = true;

    if (l == NULL)
        return NULL;
    l->options = o;
    l->memory_max = o->memory_max;
    l->threshold = o->sample >= 1 ? UINT64_MAX : (uint64_t)(o->sample * 18446744073709551615.0);
    for (unsigned i = 0; ok && i < count; i++)
        ok = read_one(l, paths[i], i == 0);
    if (ok && l->trace.requests == 0) {
        fprintf(stderr, "corral-sim: there is no request in %s%s\n", paths[0],
                o->sample < 1 ? " whose key is in the sample" : "");
        ok = false;
    }
    ok = ok && finish(l);
    free(l->hashes);
    free(l->slots);
    if (l->known != NULL)
        munmap(l->known, l->known_bytes);
    l->hashes = NULL;
    l->known = NULL;
    t = &l->trace;
    if (!ok)
        sim_trace_free(&t);
    return t;
}

bool sim_trace_look_ahead(struct sim_trace *t)
{
    struct loading *l = (struct loading *)(void *)t;
    size_t spill = l->memory_max / PARTS_OF_MEMORY;
    uint32_t *last = malloc(((size_t)t->unique + 1) * sizeof(last[0]));

    if (t->requests >= REPLAY_NEVER) {
        fprintf(stderr, "corral-sim: belady cannot look ahead over more than 2^32 requests\n");
        free(last);
        return false;
    }
    if (last == NULL || !column_make(&l->parts[NEXT], t->requests * sizeof(t->next[0]), spill)) {
        fprintf(stderr,
                "corral-sim: no memory to look ahead for belady: leave it out with --policies, or look "
                "at a share of the keys with --sample 0.01\n");
        free(last);
        return false;
    }
    t->next = (uint32_t *)(void *)l->parts[NEXT].at;
    memset(last, 0xff, ((size_t)t->unique + 1) * sizeof(last[0])); /* REPLAY_NEVER */
    for (uint64_t i = t->requests; i-- > 0;) {
        t->next[i] = last[t->keys[i]];
        last[t->keys[i]] = (uint32_t)i;
    }
    free(last);
    return true;
}

void sim_trace_free(struct sim_trace **tp)
{
    struct loading *l = (struct loading *)(void *)*tp;

    if (l == NULL)
        return;
    for (unsigned i = 0; i < PARTS; i++)
        column_free(&l->parts[i]);
    free(l->trace.popularity);
    free(l);
    *tp = NULL;
}
