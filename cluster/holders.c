#include "cluster/holders.h"

#include <stdlib.h>

#include <xxhash.h>

#include "server/check.h"

struct holders {
    unsigned granules;
    struct held *all;
    uint64_t bucket[HOLDERS_BUCKETS];
};

struct holders *holders_new(unsigned granules)
{
    struct holders *h = calloc(1, sizeof *h);

    if (h == NULL || (h->all = calloc(granules, sizeof *h->all)) == NULL) {
        free(h);
        return NULL;
    }
    h->granules = granules;
    return h;
}

void holders_free(struct holders **h)
{
    if (*h == NULL)
        return;
    free((*h)->all);
    free(*h);
    *h = NULL;
}

unsigned holders_granules(const struct holders *h)
{
    return h->granules;
}

const struct held *holders_at(const struct holders *h, unsigned granule)
{
    CHECK(granule < h->granules);
    return &h->all[granule];
}

bool holders_news(const struct held *known, const struct held *told)
{
    int order = node_id_compare(&told->holder.id, &known->holder.id);

    if (told->version != known->version)
        return told->version > known->version;
    if (told->version == 0 || order != 0)
        return told->version > 0 && order < 0;
    return told->holder.boots > known->holder.boots;
}

/* Of what is merged, and nothing else. */
static uint64_t hash_of(unsigned granule, const struct held *held)
{
    uint64_t numbers[3] = {granule, held->version, held->holder.boots};

    if (held->version == 0)
        return 0;
    return XXH3_64bits_withSeed(held->holder.id.bytes, NODE_ID_BYTES, XXH3_64bits(numbers, sizeof numbers));
}

bool holders_merge(struct holders *h, unsigned granule, const struct held *told)
{
    struct held *known;

    CHECK(granule < h->granules);
    known = &h->all[granule];
    if (!holders_news(known, told))
        return false;
    h->bucket[granule % HOLDERS_BUCKETS] ^= hash_of(granule, known) ^ hash_of(granule, told);
    *known = *told;
    return true;
}

void holders_digest(const struct holders *h, uint64_t *out)
{
    memcpy(out, h->bucket, sizeof h->bucket);
}

uint64_t holders_hash(const struct holders *h)
{
    uint64_t hash = 0;

    for (int i = 0; i < HOLDERS_BUCKETS; i++)
        hash ^= h->bucket[i];
    return hash;
}

void holders_check(const struct holders *h)
{
    uint64_t bucket[HOLDERS_BUCKETS] = {0};

    for (unsigned g = 0; g < h->granules; g++) {
        CHECK((h->all[g].version == 0) == (h->all[g].holder.boots == 0));
        bucket[g % HOLDERS_BUCKETS] ^= hash_of(g, &h->all[g]);
    }
    CHECK(memcmp(bucket, h->bucket, sizeof bucket) == 0);
}
