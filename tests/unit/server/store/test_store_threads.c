/* test_store_threads.c - readers without locks against writers, evictions,
 * splits, compaction, expiry, policy switches and flushes.
 *
 * Every value says which key and which version it is and is filled with a
 * pattern made from both. A reader notes the last version acknowledged before
 * it looks; what it then sees must be whole and not older (contract C1).
 *
 * Some keys are written into instead of stored anew: small ones all at once,
 * large ones at both ends, which readers must see change together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <pthread.h>
#include <cmocka.h>

#include "server/store/racy.h"
#include "server/store/store.h"

enum { KEYS = 2000, READERS = 2, WRITERS = 2, VALUE_MAX = 3000, MIB = 1 << 20 };
#if defined(__SANITIZE_THREAD__)
enum { WRITES = 40000 };
#else
enum { WRITES = 400000 };
#endif

struct value {
    uint32_t key, version, len, sum;
    uint8_t fill[VALUE_MAX];
};

struct world {
    struct store *store;
    _Atomic uint32_t made[KEYS];  /* versions handed out, under the key's lock */
    _Atomic uint32_t acked[KEYS]; /* versions whose edit has ended */
    _Atomic bool stop;
    _Atomic uint64_t hits, torn, stale, blobs;
    instant now;
};

struct worker_arg {
    struct world *w;
    uint64_t seed;
    struct store_local *local;
};

static uint32_t roll(uint64_t *dice, uint32_t n)
{
    *dice ^= *dice << 13;
    *dice ^= *dice >> 7;
    *dice ^= *dice << 17;
    return (uint32_t)((*dice >> 20) % n);
}

static uint32_t make(struct value *v, uint32_t key, uint32_t version, uint32_t len)
{
    v->key = key;
    v->version = version;
    v->len = len;
    v->sum = key * 31 + version * 17 + len;
    memset(v->fill, (int)(v->sum & 0xff), len);
    return (uint32_t)offsetof(struct value, fill) + len;
}

static bool is_whole(const struct value *v, size_t size, uint32_t key)
{
    if (v->key != key || v->sum != v->key * 31 + v->version * 17 + v->len ||
        size != offsetof(struct value, fill) + v->len)
        return false;
    for (uint32_t i = 0; i < v->len; i++)
        if (v->fill[i] != (v->sum & 0xff))
            return false;
    return true;
}

static struct key key_of(struct world *w, uint32_t k, char *text)
{
    int len = snprintf(text, 32, "threads:%u", k);
    return store_key(w->store, (struct slice){(uint8_t *)text, (size_t)len});
}

static void raise_acked(struct world *w, uint32_t k, uint32_t version)
{
    uint32_t seen = atomic_load(&w->acked[k]);

    while (seen < version && !atomic_compare_exchange_weak(&w->acked[k], &seen, version))
        ;
}

/* Keys that are written into, and those of them whose values are blobs. */
static bool is_written_into(uint32_t k)
{
    return k % 4 == 0;
}
static bool is_large(uint32_t k)
{
    return k % 64 == 0;
}
enum { LARGE = STORE_WRITES_TOGETHER + 5000 };

static bool ends_agree(const uint8_t *value, size_t len)
{
    uint32_t first, last;

    memcpy(&first, value + offsetof(struct value, version), sizeof first);
    memcpy(&last, value + len - sizeof last, sizeof last);
    return first == last;
}

static void *reader(void *arg)
{
    struct worker_arg *a = arg;
    struct world *w = a->w;
    static _Thread_local struct value copy;
    char text[32];

    while (!atomic_load(&w->stop)) {
        uint32_t k = roll(&a->seed, KEYS);
        struct key key = key_of(w, k, text);
        struct store_peek peek;
        for (;;) {
            uint32_t acked = atomic_load(&w->acked[k]);
            enum peek_status status = store_peek(w->store, a->local, &key, w->now, true, &peek);
            if (status == PEEK_MISS)
                break;
            size_t len = peek.len < sizeof copy ? peek.len : sizeof copy;
            if (status == PEEK_BLOB) {
                memcpy(&copy, peek.value, len);
                if (is_large(k) && !ends_agree(peek.value, peek.len))
                    atomic_fetch_add(&w->torn, 1);
                blob_unpin(&peek.blob);
                atomic_fetch_add(&w->blobs, 1);
            } else {
                racy_read(&copy, peek.value, len);
                if (!store_peek_ok(&peek))
                    continue;
                if (!is_whole(&copy, peek.len, k))
                    atomic_fetch_add(&w->torn, 1);
            }
            if (!is_written_into(k) &&
                peek.flags != copy.version) /* value and flags of two different items */
                atomic_fetch_add(&w->torn, 1);
            if (copy.version < acked)
                atomic_fetch_add(&w->stale, 1);
            atomic_fetch_add(&w->hits, 1);
            break;
        }
    }
    return NULL;
}

static enum store_status write_into(struct store_edit *e, uint32_t k, uint32_t version, struct value *v)
{
    uint32_t size = make(v, k, version, k % 300);
    enum store_status status = store_edit_write(e, 0, (struct slice){(uint8_t *)v, size});

    if (status == STORE_OK && is_large(k))
        status =
            store_edit_write(e, LARGE - sizeof version, (struct slice){(uint8_t *)&version, sizeof version});
    return status;
}

static void write_one(struct worker_arg *a, uint32_t k, struct value *v)
{
    struct world *w = a->w;
    char text[32];
    struct key key = key_of(w, k, text);
    struct store_edit e;

    store_edit_begin(w->store, a->local, &key, w->now, &e);
    uint32_t version = atomic_fetch_add(&w->made[k], 1) + 1;
    if (roll(&a->seed, 10) == 0) {
        store_edit_drop(&e);
    } else if (is_written_into(k)) {
        if (write_into(&e, k, version, v) != STORE_OK)
            store_edit_drop(&e);
    } else {
        uint32_t len = roll(&a->seed, 4) == 0 ? roll(&a->seed, VALUE_MAX) : 100;
        uint32_t size = make(v, k, version, len);
        struct store_value value = {.head = {(uint8_t *)v, size}, .flags = version};
        if (roll(&a->seed, 3) == 0)
            value.expires = after(w->now, (span){1000000});
        if (roll(&a->seed, 100) == 0) { /* a blob: the checked part, then padding */
            static const uint8_t padding[300000];
            value.tail = (struct slice){padding, sizeof padding};
        }
        if (store_edit_put(&e, &value) != STORE_OK)
            store_edit_drop(&e);
    }
    store_edit_end(&e);
    raise_acked(w, k, version);
}

static void *writer(void *arg)
{
    struct worker_arg *a = arg;
    struct value *v = malloc(sizeof *v);

    for (unsigned i = 0; i < WRITES; i++) {
        write_one(a, roll(&a->seed, KEYS), v);
        if (i % 1000 == 0) {
            store_local_tick(a->local, a->w->now);
            store_tick(a->w->store, 0, a->w->now, 100);
        }
    }
    free(v);
    return NULL;
}

static void storm(const char *policy, uint64_t memory, bool disturb)
{
    static struct world w;
    bool is_auto = strcmp(policy, "auto") == 0;
    struct store_config config = {.memory_max = memory,
                                  .item_max = 8 * MIB,
                                  .shards = 2,
                                  .workers = 1,
                                  .segment_bytes = 256 * 1024,
                                  .scope = EVICT_ALLKEYS,
                                  .policy = is_auto ? evict_type_find("lru") : evict_type_find(policy),
                                  .seed = 42};
    char err[200] = "";
    pthread_t threads[READERS + WRITERS];
    struct worker_arg args[READERS + WRITERS];

    memset(&w, 0, sizeof w);
    w.now = (instant){1700000000000};
    w.store = store_new(&config, err, sizeof err);
    assert_non_null(w.store);
    assert_true(!is_auto || (store_set_shadows(w.store, true, 64) && store_set_auto(w.store)));
    for (unsigned i = 0; i < READERS + WRITERS; i++) {
        args[i] = (struct worker_arg){&w, 88172645463325252u + i * 7919, store_local_new(w.store)};
        pthread_create(&threads[i], NULL, i < READERS ? reader : writer, &args[i]);
    }
    static const char *const others[] = {"lru", "s3fifo", "arc", "clock"};
    for (unsigned i = 0; disturb && i < 40; i++) {
        assert_true(store_set_policy(w.store, EVICT_ALLKEYS, evict_type_find(others[i % 4])));
        if (i % 8 == 3)
            store_flush(w.store);
        if (i % 4 == 1)
            assert_true(store_set_auto(w.store));
        if (i % 4 == 2)
            assert_true(store_set_shadows(w.store, i % 8 == 2, 64 + i));
        struct store_shadow_report report;
        store_shadow_report(w.store, &report);
        struct store_stats stats;
        store_stats(w.store, &stats);
    }
    for (unsigned i = READERS; i < READERS + WRITERS; i++)
        pthread_join(threads[i], NULL);
    atomic_store(&w.stop, true);
    for (unsigned i = 0; i < READERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&w.torn), 0);
    assert_int_equal(atomic_load(&w.stale), 0);
    assert_true(atomic_load(&w.hits) > 1000);
    store_check(w.store);
    print_message("%s: %lu hits, %lu of them blobs\n", policy, (unsigned long)atomic_load(&w.hits),
                  (unsigned long)atomic_load(&w.blobs));
    for (unsigned i = 0; i < READERS + WRITERS; i++)
        store_local_free(&args[i].local);
    store_free(&w.store);
}

static void readers_see_whole_and_fresh_values(void **state)
{
    (void)state;
    storm("s3fifo", UINT64_C(6) * MIB, false);
    storm("lru", UINT64_C(6) * MIB, false);
    storm("arc", UINT64_C(64) * MIB, false);
}

static void even_while_auto_chooses(void **state)
{
    (void)state;
    storm("auto", UINT64_C(6) * MIB, false);
}

static void even_while_policies_switch_and_flushes_fall(void **state)
{
    (void)state;
    storm("s3fifo", UINT64_C(8) * MIB, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readers_see_whole_and_fresh_values),
        cmocka_unit_test(even_while_auto_chooses),
        cmocka_unit_test(even_while_policies_switch_and_flushes_fall),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
