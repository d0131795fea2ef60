/* test_lease.c - the lease machine, transition by transition. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "server/herd/lease.h"

enum { MIB = 1 << 20, LENGTH = 500, GRACE = 3000, TTL = 10000, LARGE = 300000 };

static struct store *store;
static struct store_local *local;
static struct key key;
static struct store_edit edit;
static instant now;
static unsigned heard; /* changes told to the observer */
static enum store_change last_told;

static void changed(void *arg, void *by, uint8_t db, struct slice name, enum store_change change)
{
    (void)arg, (void)by, (void)db, (void)name;
    heard++;
    last_told = change;
}

static const struct store_observer observer = {.changed = changed};

static int setup(void **state)
{
    struct store_config config = {.memory_max = 16 * MIB,
                                  .item_max = 4 * MIB,
                                  .workers = 1,
                                  .segment_bytes = 256 * 1024,
                                  .scope = EVICT_ALLKEYS,
                                  .policy = evict_type_find("s3fifo"),
                                  .seed = 7};
    char err[200];

    (void)state;
    now = (instant){1700000000000};
    store = store_new(&config, err, sizeof err);
    assert_non_null(store);
    local = store_local_new(store);
    assert_non_null(local);
    key = store_key(store, slice_of("key"));
    store_observe(store, &observer);
    heard = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    store_check(store);
    store_local_free(&local);
    store_free(&store);
    return 0;
}

static void begin(void)
{
    store_edit_begin(store, local, &key, now, &edit);
}

static void end(void)
{
    store_edit_end(&edit);
    store_check(store);
}

static enum lease_state state_now(void)
{
    enum lease_state state;

    begin();
    state = lease_state(&edit);
    end();
    return state;
}

/* ---- into each state ---- */

static void put(struct slice value, int64_t ttl, uint32_t grace)
{
    struct store_value v = {.head = value, .flags = 7, .sets_expiry = true, .herd = {.grace_ms = grace}};

    if (ttl != 0)
        v.expires = after(now, (span){ttl});
    begin();
    assert_int_equal(store_edit_put(&edit, &v), STORE_OK);
    end();
}

static void put_negative(void)
{
    struct store_value v = {.head = slice_of(""), .expires = after(now, (span){TTL}), .state = ITEM_NEGATIVE};

    begin();
    assert_int_equal(store_edit_put(&edit, &v), STORE_OK);
    end();
}

static uint64_t take(void)
{
    uint64_t token = 0;

    begin();
    assert_int_equal(lease_take(&edit, LENGTH, &token), LEASE_GRANTED);
    assert_true(lease_is_out(&edit));
    assert_int_equal(lease_end(&edit).ms, now.ms + LENGTH);
    end();
    assert_true(token > 1 && token < (uint64_t)1 << 48);
    return token;
}

static void reach(enum lease_state state, struct slice value)
{
    begin();
    store_edit_drop(&edit);
    end();
    switch (state) {
    case LEASE_ABSENT: break;
    case LEASE_PENDING: take(); break;
    case LEASE_LIVE: put(value, TTL, GRACE); break;
    case LEASE_STALE:
        put(value, TTL, GRACE);
        now.ms += TTL;
        break;
    case LEASE_NEGATIVE: put_negative(); break;
    }
    assert_int_equal(state_now(), state);
}

static enum lease_fill fill(uint64_t token, const char *text, uint32_t *took)
{
    struct store_value v = {
        .head = slice_of(text), .expires = after(now, (span){TTL}), .herd = {.grace_ms = GRACE}};
    enum store_status why = STORE_OK;
    enum lease_fill done;

    begin();
    done = lease_fill(&edit, token, v, &why, took);
    end();
    return done;
}

/* What a plain read finds. */
static bool reads(const char *text)
{
    struct store_peek peek;
    bool equal;

    if (store_peek(store, local, &key, now, true, &peek) != PEEK_HIT)
        return false;
    equal = peek.len == strlen(text) && memcmp(peek.value, text, peek.len) == 0 && state_shows(peek.state);
    assert_true(store_peek_ok(&peek));
    return equal;
}

static bool misses(void)
{
    struct store_peek peek;
    enum peek_status status = store_peek(store, local, &key, now, true, &peek);

    if (status == PEEK_BLOB)
        blob_unpin(&peek.blob);
    return status == PEEK_MISS || !state_shows(peek.state);
}

static const enum lease_state all[] = {LEASE_ABSENT, LEASE_PENDING, LEASE_LIVE, LEASE_STALE, LEASE_NEGATIVE};
#define EACH(s) (size_t s = 0; s < sizeof all / sizeof *all; s++)

/* ---- tests ---- */

static void test_take(void **unused)
{
    (void)unused;
    for
        EACH(s)
        {
            uint64_t token, other = 0;

            reach(all[s], slice_of("old"));
            if (all[s] == LEASE_PENDING)
                now.ms += LENGTH; /* its filler never came */
            heard = 0;
            token = take();
            assert_int_equal(heard, 0);
            assert_int_equal(state_now(), all[s] == LEASE_ABSENT ? LEASE_PENDING : all[s]);
            assert_true(all[s] == LEASE_LIVE ? reads("old") : misses());

            begin();
            assert_int_equal(lease_take(&edit, LENGTH, &other), LEASE_HELD);
            assert_int_equal(edit.herd.token, token);
            end();
            now.ms += LENGTH - 1;
            begin();
            assert_int_equal(lease_take(&edit, LENGTH, &other), LEASE_HELD);
            end();
            now.ms += 1;
            assert_int_not_equal(take(), token);
        }
}

static void test_fill(void **unused)
{
    (void)unused;
    for
        EACH(s)
        {
            uint64_t token;
            uint32_t took = 0;

            reach(all[s], slice_of("old"));
            now.ms += all[s] == LEASE_PENDING ? LENGTH : 0;
            token = take();
            now.ms += 40;
            heard = 0;
            assert_int_equal(fill(token, "new", &took), FILL_STORED);
            assert_int_equal(heard, 1);
            assert_int_equal(last_told, CHANGE_WRITTEN);
            assert_int_equal(took, 40);
            assert_true(reads("new"));
            begin();
            assert_int_equal(edit.herd.fill_ms, 40);
            assert_int_equal(edit.herd.grace_ms, GRACE);
            assert_false(lease_is_out(&edit));
            end();
            assert_int_equal(fill(token, "again", &took), FILL_LATE); /* a token is good once */
            assert_true(reads("new"));
        }
}

enum killer { BY_PUT, BY_DROP, BY_INVALIDATE, BY_TIME, BY_GIVING_BACK, KILLERS };

static void kill_lease(enum killer by, uint64_t token)
{
    switch (by) {
    case BY_PUT: put(slice_of("newer"), TTL, 0); break;
    case BY_DROP:
        begin();
        store_edit_drop(&edit);
        end();
        break;
    case BY_INVALIDATE:
        begin();
        assert_true(lease_invalidate(&edit, GRACE));
        end();
        break;
    case BY_TIME: now.ms += LENGTH; break;
    case BY_GIVING_BACK:
        begin();
        assert_true(lease_give_back(&edit, token));
        assert_false(lease_give_back(&edit, token));
        end();
        break;
    case KILLERS: break;
    }
}

static void test_dead_tokens(void **unused)
{
    (void)unused;
    for
        EACH(s)
        {
            for (unsigned by = 0; by < KILLERS; by++) {
                enum lease_state killed;
                uint64_t token;
                uint32_t took = 0;

                reach(all[s], slice_of("old"));
                now.ms += all[s] == LEASE_PENDING ? LENGTH : 0;
                token = take();
                kill_lease((enum killer)by, token);
                killed = state_now();
                heard = 0;
                assert_int_equal(fill(token, "late", &took),
                                 killed == LEASE_STALE ? FILL_LATE_STALE : FILL_LATE);
                assert_int_equal(heard, 0);
                assert_int_equal(state_now(), killed);
                assert_false(reads("late"));
                if (by == BY_PUT)
                    assert_true(reads("newer"));
                if (by == BY_TIME || by == BY_GIVING_BACK)
                    assert_true(all[s] == LEASE_LIVE ? reads("old") : misses());
            }
        }
}

static void test_wrong_tokens(void **unused)
{
    uint32_t took = 0;

    (void)unused;
    for
        EACH(s)
        {
            reach(all[s], slice_of("old"));
            assert_true(fill(0, "x", &took) != FILL_STORED);
            assert_true(fill(1, "x", &took) != FILL_STORED);
            assert_true(fill(lease_new_token(), "x", &took) != FILL_STORED);
        }
}

static void test_invalidate(void **unused)
{
    static const enum lease_state becomes[] = {
        [LEASE_LIVE] = LEASE_STALE, [LEASE_STALE] = LEASE_STALE, [LEASE_NEGATIVE] = LEASE_ABSENT};

    (void)unused;
    for
        EACH(s)
        {
            reach(all[s], slice_of("old"));
            heard = 0;
            begin();
            assert_int_equal(lease_invalidate(&edit, GRACE), all[s] != LEASE_ABSENT);
            end();
            assert_int_equal(state_now(), becomes[all[s]]);
            assert_true(misses());
            if (all[s] == LEASE_LIVE) {
                assert_int_equal(heard, 1);
                assert_int_equal(last_told, CHANGE_REMOVED);
            }
            if (becomes[all[s]] == LEASE_STALE) {
                begin();
                assert_int_equal(edit.value.len, 3);
                assert_memory_equal(edit.value.data, "old", 3);
                assert_int_equal(edit.flags, 7);
                end();
                now.ms += GRACE;
                assert_int_equal(state_now(), LEASE_ABSENT);
            }
            reach(all[s], slice_of("old"));
            begin();
            lease_invalidate(&edit, 0);
            end();
            /* One that is out of time keeps the grace that it has. */
            assert_int_equal(state_now(), all[s] == LEASE_STALE ? LEASE_STALE : LEASE_ABSENT);
        }
}

/* Out of time, it is neither read nor found by a plain edit, and then gone. */
static void test_grace(void **unused)
{
    (void)unused;
    put(slice_of("v"), TTL, GRACE);
    begin();
    assert_int_equal(edit.expires.ms, now.ms + TTL);
    assert_int_equal(edit.herd.grace_ms, GRACE);
    end();
    now.ms += TTL - 1;
    assert_true(reads("v"));
    now.ms += 1;
    assert_true(misses());
    begin();
    assert_false(edit.found);
    assert_true(edit.expired);
    assert_true(edit.graced);
    assert_memory_equal(edit.value.data, "v", 1);
    end();
    now.ms += GRACE;
    begin();
    assert_false(edit.graced);
    end();
}

/* The grace stays with a time that stays, moves with one that moves, and goes with one that goes. */
static void test_grace_and_expiry(void **unused)
{
    struct store_value v = {.head = slice_of("w")};

    (void)unused;
    put(slice_of("v"), TTL, GRACE);
    begin();
    v.expires = edit.expires;
    assert_int_equal(store_edit_put(&edit, &v), STORE_OK);
    assert_int_equal(edit.herd.grace_ms, GRACE);
    assert_int_equal(store_edit_expire(&edit, after(now, (span){2 * TTL})), STORE_OK);
    assert_int_equal(edit.herd.grace_ms, GRACE);
    assert_int_equal(edit.expires.ms, now.ms + 2 * TTL);
    end();
    now.ms += 2 * TTL;
    assert_int_equal(state_now(), LEASE_STALE);
    put(slice_of("v"), TTL, GRACE);
    begin();
    assert_int_equal(store_edit_expire(&edit, (instant){0}), STORE_OK);
    assert_int_equal(edit.herd.grace_ms, 0);
    assert_int_equal(edit.expires.ms, 0);
    end();
    put(slice_of("v"), TTL, GRACE);
    put(slice_of("v"), TTL, 0); /* a put of its own brings its own, even for the same moment */
    now.ms += TTL;
    assert_int_equal(state_now(), LEASE_ABSENT);
}

/* A large value keeps its blob through all of it. */
static void test_large_values(void **unused)
{
    static uint8_t bytes[LARGE];
    uint64_t token;
    struct blob *blob;

    (void)unused;
    memset(bytes, 'x', sizeof bytes);
    put((struct slice){bytes, sizeof bytes}, TTL, GRACE);
    begin();
    blob = edit.blob;
    assert_non_null(blob);
    end();
    token = take();
    begin();
    assert_true(edit.found);
    assert_ptr_equal(edit.blob, blob);
    assert_true(lease_give_back(&edit, token));
    assert_true(lease_invalidate(&edit, GRACE));
    assert_true(edit.graced);
    assert_ptr_equal(edit.blob, blob);
    assert_int_equal(edit.value.len, LARGE);
    end();
    assert_true(misses());
    take();
    begin();
    assert_ptr_equal(edit.blob, blob);
    end();
}

static void test_no_room(void **unused)
{
    static uint8_t bytes[LARGE];
    struct store_value big = {.expires = {0}};
    enum store_status why = STORE_OK;
    uint64_t token;
    uint32_t took = 0;

    (void)unused;
    token = take();
    big.head = (struct slice){bytes, LARGE};
    store_set_item_max(store, 1000);
    begin();
    assert_int_equal(lease_fill(&edit, token, big, &why, &took), FILL_REFUSED);
    assert_int_equal(why, STORE_TOO_BIG);
    assert_true(lease_is_out(&edit));
    end();
}

/* Were the item gone before the lease is over, the lease would be gone with it. */
static void test_value_outlives_its_lease(void **unused)
{
    enum { SHORT = 100 };
    uint64_t token;
    uint32_t took = 0;

    (void)unused;
    put(slice_of("v"), SHORT, 0);
    token = take();
    now.ms += SHORT;
    assert_true(misses());
    assert_int_equal(state_now(), LEASE_STALE);
    begin();
    assert_int_equal(edit.herd.token, token);
    end();
    assert_int_equal(fill(token, "new", &took), FILL_STORED);

    put(slice_of("v"), SHORT, SHORT / 2);
    now.ms += SHORT;
    token = take(); /* with less grace left than the lease is long */
    now.ms += LENGTH - 1;
    assert_int_equal(fill(token, "new", &took), FILL_STORED);
    put(slice_of("v"), SHORT, 2 * LENGTH);
    token = take();
    now.ms += SHORT + 2 * LENGTH - 1; /* a longer grace stays */
    assert_int_equal(state_now(), LEASE_STALE);
    now.ms += 1;
    assert_int_equal(state_now(), LEASE_ABSENT);
}

/* memcached's wins change nothing about when an item ends. */
static void test_win(void **unused)
{
    enum { SHORT = 100 };
    uint64_t token = 0, other;
    uint32_t took = 0;

    (void)unused;
    put(slice_of("v"), SHORT, 0);
    begin();
    assert_int_equal(lease_win(&edit, LENGTH, &token), LEASE_GRANTED);
    assert_int_equal(edit.state, ITEM_WON);
    assert_int_equal(lease_win(&edit, LENGTH, &other), LEASE_HELD);
    end();
    assert_true(reads("v"));
    now.ms += SHORT;
    assert_int_equal(state_now(), LEASE_ABSENT);
    assert_int_equal(fill(token, "late", &took), FILL_LATE);

    put(slice_of("v"), TTL, 0);
    begin();
    lease_win(&edit, LENGTH, &token);
    end();
    assert_int_equal(fill(token, "new", &took), FILL_STORED);
}

static uint64_t vivify(int64_t ttl)
{
    struct store_value v = {.head = slice_of("")};
    uint64_t token = 0;

    if (ttl != 0)
        v.expires = after(now, (span){ttl});
    begin();
    assert_int_equal(lease_vivify(&edit, LENGTH, v, &token), LEASE_GRANTED);
    end();
    return token;
}

/* A pending item that outlives its lease, and whose next lease leaves it in place. */
static void test_vivify(void **unused)
{
    struct store_value v = {.head = slice_of("")};
    uint64_t token = vivify(TTL), other;
    uint32_t took = 0;

    (void)unused;
    assert_true(misses());
    begin();
    assert_int_equal(lease_state(&edit), LEASE_PENDING);
    assert_true(lease_is_vivified(edit.state));
    assert_int_equal(lease_vivify(&edit, LENGTH, v, &other), LEASE_HELD);
    end();
    now.ms += LENGTH;
    assert_int_equal(state_now(), LEASE_PENDING);
    assert_int_equal(fill(token, "late", &took), FILL_LATE);
    other = take();
    assert_int_not_equal(other, token);
    begin();
    assert_true(lease_is_vivified(edit.state));
    assert_int_equal(edit.expires.ms, now.ms - LENGTH + TTL);
    end();
    now.ms += TTL - LENGTH - 1;
    token = take(); /* the item goes on for as long */
    now.ms += LENGTH - 1;
    assert_int_equal(fill(token, "new", &took), FILL_STORED);
    assert_true(reads("new"));

    put_negative();
    token = vivify(0);
    now.ms += 10 * TTL;
    assert_int_equal(state_now(), LEASE_PENDING);
    token = take();
    begin();
    assert_int_equal(edit.expires.ms, 0);
    assert_true(lease_give_back(&edit, token));
    end();
    assert_int_equal(state_now(), LEASE_ABSENT);
}

static void test_mark_stale(void **unused)
{
    uint64_t token;
    uint32_t took = 0;

    (void)unused;
    put(slice_of("old"), TTL, 0);
    token = take();
    begin();
    assert_int_equal(lease_mark_stale(&edit, edit.expires), STORE_OK);
    assert_int_equal(edit.state, ITEM_STALE);
    end();
    assert_true(misses());
    assert_int_equal(state_now(), LEASE_STALE);
    assert_int_equal(fill(token, "late", &took), FILL_LATE_STALE);
    token = take();
    assert_int_equal(fill(token, "new", &took), FILL_STORED);
    assert_true(reads("new"));
}

static void test_orphaned(void **unused)
{
    struct store_value v = {.head = slice_of("2"), .state = ITEM_WON};
    uint64_t token, other;
    uint32_t took = 0;

    (void)unused;
    put(slice_of("1"), TTL, 0);
    token = take();
    begin();
    v.expires = edit.expires;
    v.herd = lease_orphaned(&edit);
    assert_int_equal(store_edit_put(&edit, &v), STORE_OK);
    assert_int_equal(lease_take(&edit, LENGTH, &other), LEASE_HELD);
    end();
    assert_int_equal(fill(token, "late", &took), FILL_LATE);
    assert_true(reads("2"));
    now.ms += LENGTH;
    take();
}

static void test_endless_grace(void **unused)
{
    struct store_value v = {.head = slice_of("v"), .expires = {INT64_MAX}, .herd = {.grace_ms = UINT32_MAX}};

    (void)unused;
    begin();
    assert_int_equal(store_edit_put(&edit, &v), STORE_OK);
    assert_int_equal(edit.expires.ms, INT64_MAX);
    assert_int_equal(edit.herd.grace_ms, 0);
    end();
    assert_true(reads("v"));
}

static void shape(void *arg, const struct store_edit *before, struct store_value *value)
{
    unsigned *calls = arg;

    (void)before;
    ++*calls;
    value->herd.grace_ms = GRACE;
}

static void test_shaper(void **unused)
{
    unsigned calls = 0;
    struct store_shaper shaper = {shape, &calls};

    (void)unused;
    store_shape(store, &shaper);
    put(slice_of("v"), TTL, 0);
    assert_int_equal(calls, 1);
    now.ms += TTL;
    assert_int_equal(state_now(), LEASE_STALE);
    take();
    put_negative();
    assert_int_equal(calls, 1);
    begin();
    assert_int_equal(store_edit_put(&edit, &(struct store_value){.head = slice_of("x"), .expires = now}),
                     STORE_OK);
    end();
    assert_int_equal(calls, 1);
    assert_int_equal(state_now(), LEASE_ABSENT);
    store_shape(store, NULL);
    put(slice_of("v"), TTL, 0);
    assert_int_equal(calls, 1);
}

/* Items with everything, moved about by others that come and go. */
static void test_layout_survives(void **unused)
{
    char name[300], value[64];

    (void)unused;
    for (unsigned i = 0; i < 200000; i++) {
        struct store_value v = {
            .head = {(const uint8_t *)value, (size_t)snprintf(value, sizeof value, "v%u", i)},
            .flags = i & 1 ? i : 0,
            .expires = i & 2 ? after(now, (span){i & 4 ? TTL : (int64_t)60 * 86400000}) : (instant){0},
            .wants_cas = (i & 8) != 0,
            .herd = {.grace_ms = i & 16 ? GRACE : 0, .fill_ms = i & 32 ? 5 : 0}};
        int len =
            snprintf(name, sizeof name, "%s%u",
                     i % 64 == 0 ? "0123456789012345678901234567890123456789012345678901234567890123456789012"
                                   "3456789012345678901234567890123456789012345678901234567890123456789012345"
                                   "6789012345678901234567890123456789012345678901234567890123456789012345678"
                                   "9012345678901234567890123456789012345678901234567890123456789-"
                                 : "k",
                     i);
        struct key k = store_key(store, (struct slice){(const uint8_t *)name, (size_t)len});
        uint64_t token = 0;

        store_edit_begin(store, local, &k, now, &edit);
        assert_int_equal(store_edit_put(&edit, &v), STORE_OK);
        if (i % 3 == 0)
            assert_int_equal(lease_take(&edit, LENGTH, &token), LEASE_GRANTED);
        assert_int_equal(edit.flags, v.flags);
        assert_int_equal(edit.expires.ms, v.expires.ms);
        assert_int_equal(edit.herd.grace_ms, v.expires.ms != 0 ? v.herd.grace_ms : 0);
        assert_int_equal(edit.herd.token, token);
        assert_int_equal(edit.value.len, v.head.len);
        assert_memory_equal(edit.value.data, value, v.head.len);
        store_edit_end(&edit);
        if (i % 50000 == 0)
            store_check(store);
        store_tick(store, 0, now, 100);
    }
}

/* A filter has no value that anybody could fill. */
static void test_no_lease_for_a_filter(void **state)
{
    static const uint8_t bytes[64];
    struct store_value filter = {.head = {bytes, sizeof bytes}, .state = ITEM_FILTER};
    enum store_status why = STORE_OK;
    uint64_t token = 0;
    uint32_t took;

    (void)state;
    store_edit_begin(store, local, &key, now, &edit);
    assert_int_equal(store_edit_put(&edit, &filter), STORE_OK);
    assert_int_equal(lease_state(&edit), LEASE_NEGATIVE);
    assert_int_equal(lease_take(&edit, LENGTH, &token), LEASE_NO_ROOM);
    assert_int_equal(lease_vivify(&edit, LENGTH, (struct store_value){0}, &token), LEASE_NO_ROOM);
    assert_int_equal(lease_fill(&edit, 12345, (struct store_value){.head = slice_of("x")}, &why, &took),
                     FILL_LATE);
    assert_true(edit.found && state_is_filter(edit.state));
    assert_int_equal(edit.value.len, sizeof bytes);
    assert_true(lease_invalidate(&edit, GRACE));
    assert_false(edit.found || edit.graced);
    store_edit_end(&edit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_take, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fill, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dead_tokens, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wrong_tokens, setup, teardown),
        cmocka_unit_test_setup_teardown(test_invalidate, setup, teardown),
        cmocka_unit_test_setup_teardown(test_grace, setup, teardown),
        cmocka_unit_test_setup_teardown(test_grace_and_expiry, setup, teardown),
        cmocka_unit_test_setup_teardown(test_large_values, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_room, setup, teardown),
        cmocka_unit_test_setup_teardown(test_value_outlives_its_lease, setup, teardown),
        cmocka_unit_test_setup_teardown(test_win, setup, teardown),
        cmocka_unit_test_setup_teardown(test_vivify, setup, teardown),
        cmocka_unit_test_setup_teardown(test_mark_stale, setup, teardown),
        cmocka_unit_test_setup_teardown(test_orphaned, setup, teardown),
        cmocka_unit_test_setup_teardown(test_endless_grace, setup, teardown),
        cmocka_unit_test_setup_teardown(test_shaper, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_lease_for_a_filter, setup, teardown),
        cmocka_unit_test_setup_teardown(test_layout_survives, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
