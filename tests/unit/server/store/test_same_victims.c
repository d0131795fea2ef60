/* test_same_victims.c - what the simulator evicts is what a node evicts.
 *
 * One trace goes through a store of one shard and through the simulator's
 * host, with the same policy objects, weights, hashes and capacity. The keys
 * that die must be the same, one by one, for every policy whose choice does not
 * depend on where items lie (random picks by place). ttl's items expire, each at a time
 * of its own that never comes; the others' do not.
 *
 * The store gets so little memory that its capacity is the least a shard can
 * have and does not move with what index and ghosts take. Where the log of
 * s3fifo's two queues gets too tight for that, the shard lowers its capacity by
 * itself; there the comparison ends. */
#include "bench/replay.h"
#include "server/store/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { KEYS = 12000, REQUESTS = 120000, SEED = 11, NAME_LEN = 8 };

struct both {
    struct store *store;
    struct store_local *local;
    struct replay *replay;
    instant now;
    uint64_t dice;
    uint64_t hashes[KEYS + 1];
    uint32_t weights[KEYS + 1];
    uint32_t server_victims[REQUESTS], simulator_victims[REQUESTS];
    unsigned server_count, simulator_count, hits;
    bool expires; /* items have a time to live */
};

static uint32_t roll(struct both *b, uint32_t sides)
{
    b->dice = b->dice * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(((b->dice >> 32) * sides) >> 32);
}

static uint32_t value_len(uint32_t key)
{
    static const uint32_t lens[] = {100, 300, 40, 900};

    return lens[key % 4];
}

/* Hours from now; no two are the same. */
static instant expiry_of(const struct both *b, uint32_t key)
{
    return (instant){b->now.ms + 3600000 + key * INT64_C(7919) % 1000003};
}

static struct key key_of(const struct both *b, uint32_t key, char *name)
{
    snprintf(name, NAME_LEN + 1, "k%07u", key);
    return store_key(b->store, (struct slice){(uint8_t *)name, NAME_LEN});
}

static void server_change(void *arg, void *by, uint8_t db, struct slice name, enum store_change change)
{
    struct both *b = arg;
    char text[NAME_LEN + 1] = {0};

    (void)by, (void)db;
    if (change != CHANGE_EVICTED)
        return;
    assert_int_equal(name.len, NAME_LEN);
    memcpy(text, name.data, NAME_LEN);
    assert_true(b->server_count < REQUESTS);
    b->server_victims[b->server_count++] = (uint32_t)strtoul(text + 1, NULL, 10);
}

static void simulator_victim(void *arg, uint32_t key)
{
    struct both *b = arg;

    assert_true(b->simulator_count < REQUESTS);
    b->simulator_victims[b->simulator_count++] = key;
}

static uint64_t capacity_of(const struct both *b)
{
    struct store_stats stats;

    store_stats(b->store, &stats);
    return stats.capacity_bytes;
}

static void server_put(struct both *b, uint32_t key)
{
    static uint8_t bytes[1000];
    struct store_value value = {.head = {bytes, value_len(key)}};
    char name[NAME_LEN + 1];
    struct key k = key_of(b, key, name);
    struct store_edit e;

    if (b->expires)
        value.expires = expiry_of(b, key);
    store_edit_begin(b->store, b->local, &k, b->now, &e);
    assert_int_equal(store_edit_put(&e, &value), STORE_OK);
    store_edit_end(&e);
}

static void server_drop(struct both *b, uint32_t key)
{
    char name[NAME_LEN + 1];
    struct key k = key_of(b, key, name);
    struct store_edit e;

    store_edit_begin(b->store, b->local, &k, b->now, &e);
    if (e.found)
        store_edit_drop(&e);
    store_edit_end(&e);
}

static bool server_get(struct both *b, uint32_t key)
{
    char name[NAME_LEN + 1];
    struct key k = key_of(b, key, name);
    struct store_peek peek;

    if (store_peek(b->store, b->local, &k, b->now, true, &peek) == PEEK_HIT)
        return true;
    server_put(b, key); /* as a cache-aside client does */
    return false;
}

static bool simulator_get(struct both *b, uint32_t key)
{
    if (replay_get(b->replay, key, b->weights[key]))
        return true;
    if (b->expires)
        replay_set_expiry(b->replay, key, expiry_of(b, key).ms);
    return false;
}

/* What an item of that length weighs in the store. */
static uint32_t weigh(struct both *b, uint32_t key)
{
    struct store_stats before, after;

    store_stats(b->store, &before);
    server_put(b, key);
    store_stats(b->store, &after);
    server_drop(b, key);
    return (uint32_t)(after.value_bytes - before.value_bytes);
}

static struct both *both_new(const struct evict_type *type)
{
    static struct store_observer observer;
    struct both *b = calloc(1, sizeof(*b));
    char err[200] = "", name[NAME_LEN + 1];
    struct store_config config = {.memory_max = 8 * 256 * 1024,
                                  .item_max = 1 << 20,
                                  .shards = 1,
                                  .workers = 1,
                                  .segment_bytes = 256 * 1024,
                                  .scope = EVICT_ALLKEYS,
                                  .policy = type,
                                  .seed = SEED};

    assert_non_null(b);
    b->store = store_new(&config, err, sizeof(err));
    if (b->store == NULL)
        fail_msg("%s", err);
    b->local = store_local_new(b->store);
    b->now = (instant){1700000000000};
    b->dice = 77;
    b->expires = strcmp(type->name, "ttl") == 0;
    for (uint32_t key = 1; key <= KEYS; key++) {
        b->hashes[key] = key_of(b, key, name).hash;
        b->weights[key] = key <= 4 ? weigh(b, key) : b->weights[key - 4];
    }
    assert_true(store_set_policy(b->store, EVICT_ALLKEYS, type)); /* forgets the weighing */
    observer = (struct store_observer){.changed = server_change, .arg = b};
    store_observe(b->store, &observer);
    b->replay =
        replay_new(type, capacity_of(b), KEYS, SEED, REPLAY_WEIGHTS | (b->expires ? REPLAY_EXPIRY : 0));
    assert_non_null(b->replay);
    replay_set_hashes(b->replay, b->hashes);
    replay_watch(b->replay, simulator_victim, b);
    return b;
}

static void both_free(struct both *b)
{
    store_observe(b->store, NULL);
    replay_free(&b->replay);
    store_local_free(&b->local);
    store_free(&b->store);
    free(b);
}

/* Popular keys, and now and then a scan. */
static uint32_t next_key(struct both *b, unsigned i)
{
    if (i % 10000 < 1500)
        return 1 + i % KEYS;
    return 1 + (uint32_t)((uint64_t)roll(b, KEYS) * roll(b, KEYS) / KEYS * roll(b, KEYS) / KEYS);
}

static void compare(const struct evict_type *type)
{
    struct both *b = both_new(type);
    uint64_t capacity = capacity_of(b);

    for (unsigned i = 0; i < REQUESTS; i++) {
        uint32_t key = next_key(b, i);
        unsigned before;
        bool hit;

        if (i % 97 == 0) {
            server_drop(b, key);
            replay_drop(b->replay, key);
        }
        before = b->server_count;
        hit = server_get(b, key);
        if (capacity_of(b) != capacity) {
            b->server_count = before; /* made room under two limits */
            break;
        }
        b->hits += hit;
        if (hit != simulator_get(b, key))
            fail_msg("%s: request %u for key %u is a %s in the server only", type->name, i, key,
                     hit ? "hit" : "miss");
        if (b->server_count != b->simulator_count)
            fail_msg("%s: after request %u the server has evicted %u, the simulator %u", type->name, i,
                     b->server_count, b->simulator_count);
    }
    for (unsigned i = 0; i < b->server_count; i++)
        if (b->server_victims[i] != b->simulator_victims[i])
            fail_msg("%s: victim %u is %u in the server and %u in the simulator", type->name, i,
                     b->server_victims[i], b->simulator_victims[i]);
    print_message("%-9s %u victims alike, %u hits\n", type->name, b->server_count, b->hits);
    assert_true(b->server_count > 8000 && b->hits > 10000);
    both_free(b);
}

static void the_same_keys_die_in_server_and_simulator(void **state)
{
    const struct evict_type *type;

    (void)state;
    for (size_t i = 0; (type = evict_type_at(i)) != NULL; i++)
        if (strcmp(type->name, "random") != 0)
            compare(type);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_keys_die_in_server_and_simulator),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
