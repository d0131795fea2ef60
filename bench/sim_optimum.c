/* sim_optimum.c - a set of times instead of a heap of keys.
 *
 * The residents are known by when each is asked for next. No two are asked for
 * at the same time, so they are a set of bits, one per request of the trace:
 *
 *   level 2:                    1                a bit: the word below is not 0
 *   level 1:        1     0     1     1
 *   level 0:  01001000 ... 00000010 00100000     a bit: who is asked for then is resident
 *
 * Rules: (1) request i is a hit if bit i is set; (2) a resident that is never asked
 * for again has no bit: those are only counted, and die first, it matters not in which
 * order; (3) else the victim is the highest bit. All of it takes a step per level, and
 * there are four for 16 million requests. */
#include "bench/sim_optimum.h"
#include "bench/replay.h"
#include "server/check.h"

#include <stdbool.h>
#include <stdlib.h>

enum { LEVELS_MAX = 6, AHEAD = 16 }; /* 64^6 is more than 2^32 requests */

struct optimum {
    uint64_t *level[LEVELS_MAX];
    unsigned levels; /* the uppermost is one word */
    uint64_t now, capacity, held, evicted;
    uint64_t never; /* residents without a bit */
};

struct optimum *optimum_new(uint64_t requests, uint64_t capacity)
{
    struct optimum *o = calloc(1, sizeof(*o));
    uint64_t words = requests;

    if (o == NULL)
        return NULL;
    o->capacity = capacity > 0 ? capacity : 1;
    do {
        words = words / 64 + 1;
        if ((o->level[o->levels++] = calloc(words, sizeof(uint64_t))) == NULL) {
            optimum_free(&o);
            return NULL;
        }
    } while (words > 1);
    return o;
}

void optimum_free(struct optimum **op)
{
    if (*op == NULL)
        return;
    for (unsigned i = 0; i < (*op)->levels; i++)
        free((*op)->level[i]);
    free(*op);
    *op = NULL;
}

static inline bool has(const struct optimum *o, uint64_t time)
{
    return (o->level[0][time / 64] >> (time % 64) & 1) != 0;
}

static inline void add(struct optimum *o, uint64_t time)
{
    for (unsigned i = 0; i < o->levels; i++) {
        uint64_t *word = &o->level[i][time / 64], before = *word;

        *word |= UINT64_C(1) << (time % 64);
        if (before != 0)
            return;
        time /= 64;
    }
}

static inline void drop(struct optimum *o, uint64_t time)
{
    for (unsigned i = 0; i < o->levels; i++) {
        uint64_t *word = &o->level[i][time / 64];

        *word &= ~(UINT64_C(1) << (time % 64));
        if (*word != 0)
            return;
        time /= 64;
    }
}

static inline uint64_t latest(const struct optimum *o)
{
    uint64_t time = 0;

    for (unsigned i = o->levels; i-- > 0;)
        time = time * 64 + (63 - (unsigned)__builtin_clzll(o->level[i][time]));
    return time;
}

static inline void make_room(struct optimum *o)
{
    if (o->held < o->capacity) {
        o->held++;
        return;
    }
    o->evicted++;
    if (o->never > 0)
        o->never--;
    else
        drop(o, latest(o));
}

uint64_t optimum_many(struct optimum *o, const uint32_t *next, const uint32_t *sizes, uint64_t n,
                      uint64_t *missed_bytes)
{
    uint64_t misses = 0, missed = 0;

    for (uint64_t i = 0; i < n; i++, o->now++) {
        bool hit = has(o, o->now);
        uint32_t ahead = next[i + AHEAD < n ? i + AHEAD : i];

        if (ahead != REPLAY_NEVER)
            __builtin_prefetch(&o->level[0][ahead / 64], 1);
        if (hit)
            drop(o, o->now);
        else
            make_room(o);
        if (next[i] == REPLAY_NEVER)
            o->never++;
        else
            add(o, next[i]);
        misses += !hit;
        if (sizes != NULL)
            missed += hit ? 0 : sizes[i];
    }
    *missed_bytes += missed;
    return misses;
}

uint64_t optimum_evicted(const struct optimum *o)
{
    return o->evicted;
}
