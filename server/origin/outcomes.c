#include "server/origin/outcomes.h"

#include <stdlib.h>

#include "server/table.h"

struct kept {
    UT_hash_handle hh;
    struct outcome outcome;
    int64_t until_ms;
    size_t key_len;
    uint8_t key[]; /* the database's byte, then the name */
};

struct outcomes {
    struct kept *table; /* in the order they came */
    size_t bytes;       /* of values */
};

struct outcomes *outcomes_new(void)
{
    return calloc(1, sizeof(struct outcomes));
}

static void remove_one(struct outcomes *o, struct kept *k)
{
    HASH_DEL(o->table, k);
    if (k->outcome.value != NULL)
        o->bytes -= k->outcome.value->capacity;
    blob_unpin(&k->outcome.value);
    free(k);
}

void outcomes_free(struct outcomes **outcomes)
{
    if (*outcomes == NULL)
        return;
    while ((*outcomes)->table != NULL)
        remove_one(*outcomes, (*outcomes)->table);
    free(*outcomes);
    *outcomes = NULL;
}

static struct kept *kept_new(uint8_t db, struct slice name)
{
    struct kept *k = calloc(1, sizeof *k + 1 + name.len);

    if (k == NULL)
        return NULL;
    k->key_len = 1 + name.len;
    k->key[0] = db;
    if (name.len > 0)
        memcpy(k->key + 1, name.data, name.len);
    return k;
}

static struct kept *find(struct outcomes *o, const struct kept *like)
{
    struct kept *k = NULL;

    HASH_FIND(hh, o->table, like->key, like->key_len, k);
    return k;
}

static struct kept *find_named(struct outcomes *o, uint8_t db, struct slice name)
{
    struct kept *like, *k;

    if (o->table == NULL || (like = kept_new(db, name)) == NULL)
        return NULL;
    k = find(o, like);
    free(like);
    return k;
}

bool outcomes_put(struct outcomes *o, uint8_t db, struct slice name, struct outcome *outcome, int64_t now_ms)
{
    struct kept *k = kept_new(db, name), *before;
    size_t bytes = outcome->value != NULL ? outcome->value->capacity : 0;

    if (k == NULL) {
        blob_unpin(&outcome->value);
        return false;
    }
    if ((before = find(o, k)) != NULL)
        remove_one(o, before);
    while (o->table != NULL &&
           (HASH_COUNT(o->table) >= OUTCOMES_MAX || o->bytes + bytes > OUTCOMES_BYTES_MAX))
        remove_one(o, o->table);
    k->outcome = *outcome;
    outcome->value = NULL;
    k->until_ms = now_ms + OUTCOMES_MS;
    HASH_ADD(hh, o->table, key, k->key_len, k);
    if (k->hh.tbl == NULL) {
        blob_unpin(&k->outcome.value);
        free(k);
        return false;
    }
    o->bytes += bytes;
    return true;
}

bool outcomes_get(struct outcomes *o, uint8_t db, struct slice name, int64_t now_ms, struct outcome *out)
{
    struct kept *k = find_named(o, db, name);

    if (k == NULL || now_ms >= k->until_ms)
        return false;
    *out = k->outcome;
    if (out->value != NULL)
        blob_pin(out->value);
    return true;
}

void outcomes_remove(struct outcomes *o, uint8_t db, struct slice name)
{
    struct kept *k = find_named(o, db, name);

    if (k != NULL)
        remove_one(o, k);
}

size_t outcomes_expire(struct outcomes *o, int64_t now_ms)
{
    while (o->table != NULL && now_ms >= o->table->until_ms)
        remove_one(o, o->table);
    return HASH_COUNT(o->table);
}
