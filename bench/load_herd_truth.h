/* load_herd_truth.h - what the origin knows, and what its cache cost it.
 *
 * The origin keeps one version number per key. A fetch returns the version of
 * the moment it began. So two questions have exact answers:
 *
 *   Was that value stale? A change counts for every read that starts after the
 *   server acknowledged that the old value is gone (or replaced). `floor` is
 *   the newest version this holds for; a read remembers the floor of its start.
 *
 *   How many fetches did one disappearance cost? A round begins with the first
 *   fetch after the value went away and ends when the cache has taken a fill
 *   of that round. A fetch by a reader that started before that end belongs to
 *   the round, however late it comes.
 *
 * No clock and no socket: the caller says when. */
#ifndef CORRAL_BENCH_LOAD_HERD_TRUTH_H
#define CORRAL_BENCH_LOAD_HERD_TRUTH_H

#include "bench/load_data.h"

/* Why the value of a round was not there. */
enum herd_cause {
    HERD_COLD,    /* it had never been */
    HERD_EXPIRED, /* its time was over; or it was evicted, or refreshed early */
    HERD_UPDATED, /* the writer removed it */
    HERD_CAUSES
};

struct herd_rounds {
    uint64_t rounds;
    uint64_t fetches;
    uint64_t fetches_max; /* of one round */
};

struct herd_toll {
    struct herd_rounds by[HERD_CAUSES];
    uint64_t fetches;
    uint64_t changes;
    uint64_t peak;     /* fetches under way at once, of all keys */
    uint64_t key_peak; /* of one key */
};

/* One fetch under way. */
struct herd_fetch {
    uint32_t key;
    uint64_t version;
    uint64_t round;
};

enum herd_verdict {
    HERD_FRESH,
    HERD_STALE, /* the read started after a newer version was in force */
    HERD_WRONG  /* never written */
};

struct herd_truth;

struct herd_truth *herd_truth_new(uint32_t keys); /* NULL when memory is short */
void herd_truth_free(struct herd_truth **t);

/* The oldest version a read that starts now may return. */
uint64_t herd_floor(const struct herd_truth *t, uint32_t key);
enum herd_verdict herd_judge(const struct herd_truth *t, uint32_t key, uint64_t floor, uint64_t version);

/* A reader that asked the cache at `asked_ns` now asks the origin. Every begun
 * fetch ends once, answered or given up. */
struct herd_fetch herd_fetch_begin(struct herd_truth *t, uint32_t key, int64_t asked_ns);
void herd_fetch_end(struct herd_truth *t, const struct herd_fetch *fetch);
/* The cache said that it took what this fetch had found. */
void herd_fill_taken(struct herd_truth *t, const struct herd_fetch *fetch, int64_t now_ns);
/* Whether the key was being filled at any time since `since_ns`. */
bool herd_was_filling(const struct herd_truth *t, uint32_t key, int64_t since_ns);

/* The origin changes: returns the new version. With `removes` the writer tells
 * the cache to drop the key, else it writes the new value there. */
uint64_t herd_change(struct herd_truth *t, uint32_t key, bool removes);
/* The server acknowledged what the writer did about `version`. */
void herd_change_acknowledged(struct herd_truth *t, uint32_t key, uint64_t version, bool removes,
                              int64_t now_ns);

/* Unfinished rounds count as they are. */
struct herd_toll herd_toll(const struct herd_truth *t);

/* ---- values: they say whose they are, and which version ---- */

uint32_t herd_value_size_min(uint32_t key_size);
/* Writes `size` bytes, at least herd_value_size_min. */
void herd_value_write(uint8_t *to, size_t size, struct slice key, uint64_t version);
/* False when this is not, to the last byte, a value of this key and size. */
bool herd_value_read(struct slice value, size_t size, struct slice key, uint64_t *version);

#endif
