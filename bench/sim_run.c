/* sim_run.c - cells are dealt to threads, the dearest first.
 *
 * Without sizes, operations, future or sample a cell is one call of
 * replay_many(). Else it goes request by request:
 * (1) a read that finds its key expired drops it and is a miss of the kind
 *     "expired"; every miss stores the key, as a cache-aside client does;
 * (2) a write stores, and is no read; a delete drops;
 * (3) what expired leaves as soon as time has passed its second (a wheel of
 *     lists, as a server's sweep), so it does not take room from the living.
 *
 * A sample of the keys at rate R (SHARDS: Waldspurger, Park, Garthwaite, Ahmad:
 * "Efficient MRC construction with SHARDS", FAST 2015) meets a cache of R times
 * the size. Its reads seldom are R times all reads, mostly because of a few
 * hot keys that are in or not; those would be hits, so the difference is taken
 * as hits (the paper's SHARDS-adj). The error is that of a total estimated from
 * a sample of clusters, a cluster being all misses of a key:
 * sqrt((1 - R) sum misses_k^2) / (R reads). What it leaves out is that a small
 * cache is not quite a large one in small: use samples that leave it some
 * hundred objects. */
#include "bench/sim_run.h"
#include "bench/replay.h"
#include "bench/sim_belady.h"
#include "bench/sim_optimum.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { WHEEL = 4096, CHUNK = 1 << 16 };

struct run {
    const struct sim_trace *trace;
    struct cell **order;
    unsigned count;
    bool by_bytes, as_served;
    double sample;
    atomic_uint next;
    atomic_ullong requests; /* done, in all cells */
};

static double now(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- what expires ---- */

struct wheel {
    uint32_t head[WHEEL]; /* by second; keys, 0: none */
    uint32_t *later, *sooner;
    int64_t swept; /* all up to this second are gone */
    bool started;
};

static void wheel_remove(struct wheel *w, struct replay *r, uint32_t key)
{
    int64_t expires = replay_expiry(r, key);

    if (expires == 0)
        return;
    if (w->sooner[key] != 0)
        w->later[w->sooner[key]] = w->later[key];
    else
        w->head[expires % WHEEL] = w->later[key];
    if (w->later[key] != 0)
        w->sooner[w->later[key]] = w->sooner[key];
    replay_set_expiry(r, key, 0);
}

static void wheel_add(struct wheel *w, struct replay *r, uint32_t key, int64_t expires)
{
    uint32_t *head = &w->head[expires % WHEEL];

    w->sooner[key] = 0;
    w->later[key] = *head;
    if (*head != 0)
        w->sooner[*head] = key;
    *head = key;
    replay_set_expiry(r, key, expires);
}

/* Drops what expired before `time`; it stays marked, so that its next read is known for expired. */
static void wheel_sweep(struct wheel *w, struct replay *r, int64_t time, uint8_t *gone)
{
    int64_t from = w->swept + 1;

    if (!w->started || time < w->swept) {
        w->started = true;
        w->swept = time;
        return;
    }
    if (time - from >= WHEEL)
        from = time - WHEEL + 1;
    for (int64_t second = from; second <= time; second++)
        for (uint32_t key = w->head[second % WHEEL], later; key != 0; key = later) {
            later = w->later[key];
            if (replay_expiry(r, key) > time)
                continue;
            wheel_remove(w, r, key);
            if (replay_drop(r, key))
                gone[key] = 1;
        }
    w->swept = time;
}

/* ---- a cell ---- */

struct pass {
    struct run *run;
    struct cell *cell;
    struct replay *replay;
    struct optimum *optimum; /* instead of a replay */
    struct wheel *wheel;     /* NULL without times to live */
    uint8_t *gone;           /* by key: it left because it had expired */
    uint32_t *misses;        /* by key, of a sample */
    bool simple;             /* no operations and no sample: many requests in one call */
    bool optimal;            /* belady where every weight is 1 */
};

static void store(struct pass *p, uint64_t i, uint32_t key)
{
    const struct sim_trace *t = p->run->trace;

    if (p->wheel == NULL)
        return;
    p->gone[key] = 0;
    wheel_remove(p->wheel, p->replay, key);
    if (t->ttls[i] > 0 && replay_holds(p->replay, key))
        wheel_add(p->wheel, p->replay, key, t->times[i] + t->ttls[i]);
}

static void one_request(struct pass *p, uint64_t i)
{
    const struct sim_trace *t = p->run->trace;
    uint32_t key = t->keys[i], size = t->sizes != NULL ? t->sizes[i] : 1,
             weight = p->run->by_bytes ? size : 1;
    enum request_op op = t->ops != NULL ? t->ops[i] : REQUEST_READ;
    bool hit;

    if (p->wheel != NULL && (!p->wheel->started || t->times[i] != p->wheel->swept))
        wheel_sweep(p->wheel, p->replay, t->times[i], p->gone);
    if (p->wheel != NULL)
        replay_set_time(p->replay, t->times[i]);
    if (t->next != NULL)
        replay_know(p->replay, key, t->next[i]);
    if (op == REQUEST_DELETE) {
        if (p->wheel != NULL) {
            wheel_remove(p->wheel, p->replay, key);
            p->gone[key] = 0;
        }
        replay_drop(p->replay, key);
        return;
    }
    hit = op == REQUEST_READ ? replay_get(p->replay, key, weight) : replay_put(p->replay, key, weight);
    if (op == REQUEST_READ) {
        p->cell->misses += !hit;
        p->cell->read_bytes += size;
        p->cell->miss_bytes += hit ? 0 : size;
        p->cell->expired += !hit && p->gone != NULL && p->gone[key];
        if (p->misses != NULL)
            p->misses[key] += !hit;
    }
    if (!hit || op == REQUEST_WRITE)
        store(p, i, key);
}

/* An evicted key expires no more. */
static void forget_expiry(void *arg, uint32_t key)
{
    struct pass *p = arg;

    wheel_remove(p->wheel, p->replay, key);
}

static bool pass_init(struct pass *p)
{
    const struct sim_trace *t = p->run->trace;
    size_t keys = (size_t)t->unique + 1;
    uint64_t capacity = (uint64_t)((double)p->cell->capacity * p->run->sample + .5);
    unsigned with = (p->run->by_bytes ? REPLAY_WEIGHTS : 0) | (t->next != NULL ? REPLAY_FUTURE : 0) |
                    (t->ttls != NULL ? REPLAY_EXPIRY : 0) | (p->run->as_served ? 0 : REPLAY_COMPILED);

    if (p->optimal)
        return (p->optimum = optimum_new(t->requests, capacity)) != NULL;
    p->replay = replay_new(p->cell->type, capacity > 0 ? capacity : 1, t->unique, 1, with);
    if (p->replay == NULL)
        return false;
    if (t->ttls != NULL) {
        p->wheel = calloc(1, sizeof(*p->wheel));
        p->gone = calloc(keys, 1);
        if (p->wheel == NULL || p->gone == NULL)
            return false;
        p->wheel->later = calloc(keys, sizeof(uint32_t));
        p->wheel->sooner = calloc(keys, sizeof(uint32_t));
        if (p->wheel->later == NULL || p->wheel->sooner == NULL)
            return false;
        replay_watch(p->replay, forget_expiry, p);
    }
    if (p->run->sample < 1) {
        p->misses = calloc(keys, sizeof(uint32_t));
        if (p->misses == NULL)
            return false;
    }
    return true;
}

static void pass_free(struct pass *p)
{
    replay_free(&p->replay);
    optimum_free(&p->optimum);
    if (p->wheel != NULL) {
        free(p->wheel->later);
        free(p->wheel->sooner);
    }
    free(p->wheel);
    free(p->gone);
    free(p->misses);
}

static void conclude(struct pass *p)
{
    const struct sim_trace *t = p->run->trace;
    struct cell *c = p->cell;
    double expected = (double)t->reads_all * p->run->sample, sum = 0;

    c->reads = t->reads;
    c->evicted = p->optimal ? optimum_evicted(p->optimum) : replay_evicted(p->replay);
    c->miss_ratio = c->reads > 0 ? (double)c->misses / (double)c->reads : 0;
    if (t->ops == NULL)
        c->read_bytes = t->read_bytes;
    if (t->sizes == NULL)
        c->miss_bytes = c->misses;
    c->byte_miss_ratio = c->read_bytes > 0 ? (double)c->miss_bytes / (double)c->read_bytes : c->miss_ratio;
    if (p->misses == NULL || expected < (double)c->misses)
        return;
    for (uint32_t key = 1; key <= t->unique; key++)
        sum += (double)p->misses[key] * p->misses[key];
    c->miss_ratio = (double)c->misses / expected;
    c->error = 1.96 * sqrt((1 - p->run->sample) * sum) / expected;
}

static uint64_t many_requests(struct pass *p, uint64_t i, uint64_t n)
{
    const struct sim_trace *t = p->run->trace;
    const uint32_t *sizes = t->sizes != NULL ? t->sizes + i : NULL;

    if (p->optimal)
        return optimum_many(p->optimum, t->next + i, sizes, n, &p->cell->miss_bytes);
    return replay_many(p->replay, t->keys + i, sizes, n, &p->cell->miss_bytes);
}

static void run_cell(struct run *run, struct cell *cell)
{
    const struct sim_trace *t = run->trace;
    bool knows = cell->type == &sim_belady || cell->type == &sim_beladysize,
         by_one = t->ops != NULL || run->sample < 1;
    struct pass p = {.run = run,
                     .cell = cell,
                     .simple = !by_one && !knows,
                     .optimal = !by_one && !run->by_bytes && cell->type == &sim_belady};
    double start;

    if (!pass_init(&p)) {
        pass_free(&p);
        return;
    }
    start = now(CLOCK_THREAD_CPUTIME_ID);
    for (uint64_t i = 0; i < t->requests; i += CHUNK) {
        uint64_t n = t->requests - i < CHUNK ? t->requests - i : CHUNK;

        if (p.simple || p.optimal)
            cell->misses += many_requests(&p, i, n);
        else
            for (uint64_t k = i; k < i + n; k++)
                one_request(&p, k);
        atomic_fetch_add_explicit(&run->requests, n, memory_order_relaxed);
    }
    conclude(&p);
    cell->seconds = now(CLOCK_THREAD_CPUTIME_ID) - start;
    cell->done = true;
    pass_free(&p);
}

static void *work(void *arg)
{
    struct run *run = arg;
    unsigned i;

    while ((i = atomic_fetch_add(&run->next, 1)) < run->count)
        run_cell(run, run->order[i]);
    return NULL;
}

static void watch(struct run *run, double start, bool *over, pthread_mutex_t *lock, pthread_cond_t *wake)
{
    double total = (double)run->trace->requests * run->count;
    struct timespec until;

    pthread_mutex_lock(lock);
    while (!*over) {
        double done = (double)atomic_load(&run->requests) / total, took = now(CLOCK_MONOTONIC) - start;

        if (done > 0)
            fprintf(stderr, "\rsimulating: %3.0f %%, %.0f M requests/s, %.0f s left \033[K", done * 100,
                    done * total / took / 1e6, took * (1 - done) / done);
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += 500000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(wake, lock, &until);
    }
    pthread_mutex_unlock(lock);
    fprintf(stderr, "\r\033[K");
}

struct teller {
    struct run *run;
    double start;
    bool over;
    pthread_mutex_t lock;
    pthread_cond_t wake;
};

static void *tell(void *arg)
{
    struct teller *t = arg;

    watch(t->run, t->start, &t->over, &t->lock, &t->wake);
    return NULL;
}

/* The policies with ghosts and sketches take longest, and so do large caches. */
static int dearest_first(const void *a, const void *b)
{
    const struct cell *x = *(struct cell *const *)a, *y = *(struct cell *const *)b;
    bool fx = x->type == &sim_belady || x->type == &sim_beladysize;
    bool fy = y->type == &sim_belady || y->type == &sim_beladysize;

    if (fx != fy)
        return (int)fy - (int)fx;
    return (x->capacity < y->capacity) - (x->capacity > y->capacity);
}

void sim_run(const struct sim_trace *trace, struct cell *cells, unsigned count,
             const struct sim_run_options *options)
{
    struct run run = {.trace = trace,
                      .count = count,
                      .by_bytes = options->by_bytes,
                      .as_served = options->as_served,
                      .sample = options->sample};
    unsigned threads = options->threads > 0 ? options->threads : 1;
    struct teller teller = {.run = &run, .start = now(CLOCK_MONOTONIC)};
    pthread_t *ids = calloc(threads, sizeof(ids[0])), teller_id;
    bool tells = !options->quiet && isatty(STDERR_FILENO);
    unsigned started = 0;

    run.order = calloc(count, sizeof(run.order[0]));
    if (ids == NULL || run.order == NULL) {
        free(ids);
        free(run.order);
        return; /* no cell is done: the caller sees it */
    }
    for (unsigned i = 0; i < count; i++)
        run.order[i] = &cells[i];
    qsort(run.order, count, sizeof(run.order[0]), dearest_first);
    pthread_mutex_init(&teller.lock, NULL);
    pthread_cond_init(&teller.wake, NULL);
    tells = tells && pthread_create(&teller_id, NULL, tell, &teller) == 0;
    while (started + 1 < threads && pthread_create(&ids[started], NULL, work, &run) == 0)
        started++;
    work(&run);
    for (unsigned i = 0; i < started; i++)
        pthread_join(ids[i], NULL);
    if (tells) {
        pthread_mutex_lock(&teller.lock);
        teller.over = true;
        pthread_cond_signal(&teller.wake);
        pthread_mutex_unlock(&teller.lock);
        pthread_join(teller_id, NULL);
    }
    free(ids);
    free(run.order);
}
