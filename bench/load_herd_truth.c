/* load_herd_truth.c - versions, rounds, and the count of fetches. */
#include "bench/load_herd_truth.h"

#include "server/check.h"

#include <stdlib.h>

enum { VERSION_DIGITS = 12 };

struct truth_key {
    uint64_t version;
    uint64_t floor;
    bool open;              /* a round is under way */
    enum herd_cause cause;  /* of the next round */
    enum herd_cause caused; /* of this one */
    uint64_t round;         /* 0: there was none yet */
    uint64_t round_version; /* what the round's first fetch found, or what the writer wrote since */
    uint64_t round_fetches;
    int64_t closed_ns; /* whoever asked before belongs to the round that ended then */
    int64_t filled_ns; /* when a fill was last taken */
    uint64_t in_flight;
};

struct herd_truth {
    uint32_t keys;
    uint64_t in_flight;
    struct herd_toll toll; /* finished rounds only */
    struct truth_key key[];
};

struct herd_truth *herd_truth_new(uint32_t keys)
{
    struct herd_truth *t = calloc(1, sizeof *t + keys * sizeof t->key[0]);

    if (t == NULL)
        return NULL;
    t->keys = keys;
    for (uint32_t i = 0; i < keys; i++) {
        t->key[i].version = t->key[i].floor = 1;
        t->key[i].closed_ns = t->key[i].filled_ns = INT64_MIN;
    }
    return t;
}

void herd_truth_free(struct herd_truth **t)
{
    free(*t);
    *t = NULL;
}

static struct truth_key *key_of(struct herd_truth *t, uint32_t key)
{
    CHECK(key < t->keys);
    return &t->key[key];
}

uint64_t herd_floor(const struct herd_truth *t, uint32_t key)
{
    return t->key[key].floor;
}

enum herd_verdict herd_judge(const struct herd_truth *t, uint32_t key, uint64_t floor, uint64_t version)
{
    if (version == 0 || version > t->key[key].version)
        return HERD_WRONG;
    return version < floor ? HERD_STALE : HERD_FRESH;
}

static void count_round(struct herd_toll *toll, const struct truth_key *k)
{
    struct herd_rounds *by = &toll->by[k->caused];

    if (k->round == 0)
        return;
    by->rounds++;
    by->fetches += k->round_fetches;
    if (k->round_fetches > by->fetches_max)
        by->fetches_max = k->round_fetches;
}

struct herd_fetch herd_fetch_begin(struct herd_truth *t, uint32_t key, int64_t asked_ns)
{
    struct truth_key *k = key_of(t, key);

    if (!k->open && (asked_ns >= k->closed_ns || k->version > k->round_version)) {
        count_round(&t->toll, k);
        k->open = true;
        k->caused = k->cause;
        k->round++;
        k->round_version = k->version;
        k->round_fetches = 0;
    }
    k->round_fetches++;
    t->toll.fetches++;
    if (++k->in_flight > t->toll.key_peak)
        t->toll.key_peak = k->in_flight;
    if (++t->in_flight > t->toll.peak)
        t->toll.peak = t->in_flight;
    return (struct herd_fetch){key, k->version, k->round};
}

void herd_fetch_end(struct herd_truth *t, const struct herd_fetch *fetch)
{
    CHECK(t->in_flight > 0 && key_of(t, fetch->key)->in_flight > 0);
    t->in_flight--;
    t->key[fetch->key].in_flight--;
}

static void close_round(struct truth_key *k, enum herd_cause next, int64_t now_ns)
{
    k->open = false;
    k->cause = next;
    k->closed_ns = now_ns;
}

void herd_fill_taken(struct herd_truth *t, const struct herd_fetch *fetch, int64_t now_ns)
{
    struct truth_key *k = key_of(t, fetch->key);

    if (!k->open || k->round != fetch->round)
        return; /* too late to matter: its round is over */
    close_round(k, HERD_EXPIRED, now_ns);
    k->filled_ns = now_ns;
}

bool herd_was_filling(const struct herd_truth *t, uint32_t key, int64_t since_ns)
{
    return t->key[key].open || t->key[key].filled_ns >= since_ns;
}

uint64_t herd_change(struct herd_truth *t, uint32_t key, bool removes)
{
    struct truth_key *k = key_of(t, key);

    t->toll.changes++;
    /* The value may be gone long before the acknowledgement is here. */
    if (removes && !k->open && k->cause == HERD_EXPIRED)
        k->cause = HERD_UPDATED;
    return ++k->version;
}

void herd_change_acknowledged(struct herd_truth *t, uint32_t key, uint64_t version, bool removes,
                              int64_t now_ns)
{
    struct truth_key *k = key_of(t, key);

    if (version > k->floor)
        k->floor = version;
    /* A round whose first fetch saw the change already is the one that this
     * change caused: it began before its cause was known here. */
    if ((removes && k->round == 0) || k->round_version >= version)
        return;
    close_round(k, removes ? HERD_UPDATED : HERD_EXPIRED, now_ns);
    if (!removes)
        k->round_version = version;
}

struct herd_toll herd_toll(const struct herd_truth *t)
{
    struct herd_toll toll = t->toll;

    for (uint32_t i = 0; i < t->keys; i++)
        count_round(&toll, &t->key[i]);
    return toll;
}

/* ---- values ------------------------------------------------------------- */

/* "000000000042 key aaaaaaaa": the letter follows from the version, so two
 * versions torn into one show. */
uint32_t herd_value_size_min(uint32_t key_size)
{
    return VERSION_DIGITS + 1 + key_size + 1;
}

static uint8_t filler_of(uint64_t version)
{
    return (uint8_t)('a' + version % 26);
}

void herd_value_write(uint8_t *to, size_t size, struct slice key, uint64_t version)
{
    uint64_t rest = version;
    size_t head = herd_value_size_min((uint32_t)key.len);

    CHECK(size >= head);
    for (int i = VERSION_DIGITS - 1; i >= 0; i--) {
        to[i] = (uint8_t)('0' + rest % 10);
        rest /= 10;
    }
    to[VERSION_DIGITS] = ' ';
    memcpy(to + VERSION_DIGITS + 1, key.data, key.len);
    to[head - 1] = ' ';
    memset(to + head, filler_of(version), size - head);
}

bool herd_value_read(struct slice value, size_t size, struct slice key, uint64_t *version)
{
    size_t head = herd_value_size_min((uint32_t)key.len);
    uint64_t number = 0;

    if (value.len != size || size < head)
        return false;
    for (int i = 0; i < VERSION_DIGITS; i++) {
        if (value.data[i] < '0' || value.data[i] > '9')
            return false;
        number = number * 10 + (uint64_t)(value.data[i] - '0');
    }
    if (value.data[VERSION_DIGITS] != ' ' || value.data[head - 1] != ' ' ||
        memcmp(value.data + VERSION_DIGITS + 1, key.data, key.len) != 0)
        return false;
    for (size_t i = head; i < size; i++)
        if (value.data[i] != filler_of(number))
            return false;
    *version = number;
    return true;
}
