/* test_no_memory.c - what policies do when they cannot have the memory that
 * they would like: remember less, and go on naming the right victims.
 *
 * The sources are included, with the allocator replaced, so their objects must
 * not be linked beside this file; from an archive they are not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static _Bool memory_short;

static void *test_calloc_or_null(size_t n, size_t size)
{
    return memory_short ? NULL : calloc(n, size);
}
static void *test_realloc_or_null(void *at, size_t size)
{
    return memory_short ? NULL : realloc(at, size);
}
static void *test_aligned_or_null(size_t align, size_t size)
{
    return memory_short ? NULL : aligned_alloc(align, size);
}

#define calloc        test_calloc_or_null
#define realloc       test_realloc_or_null
#define aligned_alloc test_aligned_or_null
#include "server/evict/ghost.c"
#include "server/evict/prints.c"
#include "server/evict/ttl.c"
#undef calloc
#undef realloc
#undef aligned_alloc

static uint64_t hash_of(uint64_t key)
{
    uint64_t x = (key + 1) * UINT64_C(0x9E3779B97F4A7C15);

    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}

static void nothing_is_made_of_nothing(void **state)
{
    struct evict_host host = {0};

    (void)state;
    memory_short = true;
    assert_null(ghost_new());
    assert_null(prints_new(1000));
    assert_null(evict_ttl.create(&host, &(struct evict_config){1000, 0}));
    memory_short = false;
}

static void a_ghost_stays_shorter(void **state)
{
    struct ghost *g = ghost_new();
    uint64_t fits;

    (void)state;
    memory_short = true;
    ghost_push(g, hash_of(0), 1); /* it never had any */
    assert_int_equal(ghost_count(g), 0);
    memory_short = false;
    for (uint64_t key = 0; key < 100; key++)
        ghost_push(g, hash_of(key), 1);
    memory_short = true;
    for (uint64_t key = 100; key < 1000; key++)
        ghost_push(g, hash_of(key), 1);
    ghost_check(g);
    fits = ghost_count(g);
    assert_in_range(fits, 100, 300);
    for (uint64_t key = 0; key < 1000; key++) /* the newest */
        assert_int_equal(ghost_has(g, hash_of(key)), key >= 1000 - fits);
    while (ghost_drop_oldest(g))
        ghost_check(g);
    memory_short = false;
    ghost_free(&g);
}

static void prints_forget_the_oldest(void **state)
{
    struct prints *p = prints_new(1000);
    uint64_t found = 0;

    (void)state;
    memory_short = true;
    prints_add(p, hash_of(0), 1);
    assert_false(prints_take(p, hash_of(0), 1));
    memory_short = false;
    for (uint64_t key = 0; key < 500; key++)
        prints_add(p, hash_of(key), 1);
    memory_short = true;
    for (uint64_t key = 500; key < 1000; key++)
        prints_add(p, hash_of(key), 1);
    prints_check(p);
    for (uint64_t key = 900; key < 1000; key++)
        found += prints_take(p, hash_of(key), 1);
    assert_in_range(found, 95, 100);
    prints_check(p);
    memory_short = false;
    prints_free(&p);
}

enum { IDS = 1000 };

static int64_t expires_at(void *ctx, evict_id id)
{
    (void)ctx;
    return 1 + (id * 7919) % 1009; /* all different */
}
static uint32_t weighs_one(void *ctx, evict_id id)
{
    (void)ctx, (void)id;
    return 1;
}

static void count_visit(void *arg, evict_id id)
{
    (void)id;
    ++*(unsigned *)arg;
}

static void ttl_lets_items_wait_for_a_place(void **state)
{
    static uint64_t nodes[IDS + 1];
    struct evict_host host = {.expires = expires_at, .weight = weighs_one, .nodes = nodes};
    struct evict_policy *p = evict_ttl.create(&host, &(struct evict_config){IDS, 0});
    unsigned visited = 0;
    int64_t last = 0;
    evict_id id;

    (void)state;
    evict_ttl.admitted(p, 1, 0, 1, 0);
    memory_short = true;
    for (id = 2; id <= 500; id++) {
        evict_ttl.admitted(p, id, 0, 1, 0);
        evict_ttl.check(p);
    }
    evict_ttl.moved(p, 500, 600);
    evict_ttl.resized(p, 600, 1, 1, 0);
    evict_ttl.expiry_changed(p, 600);
    evict_ttl.gone(p, 400, 0, 1, 0, EVICT_REMOVED); /* one that waits */
    evict_ttl.gone(p, 2, 0, 1, 0, EVICT_REMOVED);   /* one in the heap: another moves up */
    evict_ttl.check(p);
    evict_ttl.each_cold_first(p, count_visit, &visited);
    assert_int_equal(visited, 498);
    evict_ttl.check(p);
    /* Those that wait enter as places get free, so the heap is full until
     * nobody waits, and from then on the order is exact. */
    for (unsigned left = 498; left > 0; left--) {
        id = evict_ttl.victim(p);
        assert_true(id != EVICT_NOBODY);
        if (left < HEAP_MIN) {
            assert_true(expires_at(NULL, id) > last);
            last = expires_at(NULL, id);
        }
        evict_ttl.gone(p, id, 0, 1, 0, EVICT_EVICTED);
        evict_ttl.check(p);
    }
    assert_int_equal(evict_ttl.victim(p), EVICT_NOBODY);
    memory_short = false;
    evict_ttl.destroy(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_made_of_nothing),
        cmocka_unit_test(a_ghost_stays_shorter),
        cmocka_unit_test(prints_forget_the_oldest),
        cmocka_unit_test(ttl_lets_items_wait_for_a_place),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
