/* test_view.c - views are what they were made of, survive the wire, and change without surprise. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>

#include "cluster/view.h"

enum { MOST = 110 };

static uint64_t dice;

static uint64_t roll(void)
{
    dice ^= dice << 13;
    dice ^= dice >> 7;
    return dice ^= dice << 17;
}

static void draw_member(struct view_member *m)
{
    static const char *const zones[] = {"a", "b", "eu-west/1:c", ""};
    static const char *const hosts[] = {"", "cache-1.example.net", "n_2"};

    *m = (struct view_member){.incarnation = roll(), .weight = 100, .ip_bytes = roll() % 4 == 0 ? 16 : 4};
    for (size_t i = 0; i < NODE_ID_BYTES; i++)
        m->id.bytes[i] = (uint8_t)(roll() >> 32);
    for (size_t i = 0; i < m->ip_bytes; i++)
        m->ip[i] = (uint8_t)(roll() >> 32);
    m->cluster_port = (uint16_t)roll();
    m->client_port = (uint16_t)roll();
    m->port = (uint16_t)roll();
    m->memcache_port = (uint16_t)roll();
    m->link_port = (uint16_t)roll();
    m->zone = zones[roll() % 4];
    m->hostname = hosts[roll() % 3];
}

static struct view_parts parts_of(const struct view_member *members, size_t count)
{
    return (struct view_parts){.cluster = "0123456789abcde",
                               .generation = 3,
                               .epoch = 41,
                               .rules = {GRANULES_DEFAULT, HEADROOM_DEFAULT},
                               .members = members,
                               .member_count = count};
}

static const struct view *view_of(const struct view_member *members, size_t count)
{
    struct view_parts parts = parts_of(members, count);
    enum view_fault fault;
    const struct view *view = view_new(&parts, &fault);

    assert_non_null(view);
    assert_int_equal(fault, VIEW_OK);
    view_check(view);
    return view;
}

static const struct view *next_of(const struct view *view, const struct view_member *members, size_t count,
                                  const uint16_t *released, size_t released_count)
{
    struct view_change change = {members, count, released, released_count};
    enum view_fault fault;
    const struct view *next = view_next(view, &change, &fault);

    assert_non_null(next);
    assert_int_equal(next->epoch, view->epoch + 1);
    assert_int_equal(next->generation, view->generation);
    assert_memory_equal(next->cluster, view->cluster, VIEW_CLUSTER_BYTES);
    view_check(next);
    return next;
}

/* What view_compare() says, by slot. */
struct seen {
    const struct view *before, *now;
    unsigned slots, runs;
    int last;
};

static void see(void *arg, const struct view_move *move)
{
    struct seen *seen = arg;

    assert_true(move->first <= move->last && (int)move->first > seen->last);
    for (unsigned slot = move->first; slot <= move->last; slot++) {
        assert_int_equal(seen->before->slot_holder[slot], move->from);
        assert_int_equal(seen->now->slot_holder[slot], move->to);
    }
    seen->slots += move->last - move->first + 1u;
    seen->last = move->last;
    seen->runs++;
}

static unsigned slots_moved(const struct view *before, const struct view *now)
{
    struct seen seen = {.before = before, .now = now, .last = -1};

    view_compare(before, now, see, &seen);
    return seen.slots;
}

static unsigned slots_of(const struct view *view, uint16_t member)
{
    unsigned count = 0;

    for (unsigned slot = 0; slot < SLOTS; slot++)
        count += view->slot_holder[slot] == member;
    return count;
}

/* ---- making ---- */

static void members_are_sorted_and_copied(void **state)
{
    struct view_member members[20];
    const struct view *view, *reversed;
    char zone[] = "mine";

    (void)state;
    for (size_t i = 0; i < 20; i++)
        draw_member(&members[i]);
    members[3].zone = zone;
    view = view_of(members, 20);
    for (size_t i = 0; i < 10; i++) {
        struct view_member m = members[i];

        members[i] = members[19 - i];
        members[19 - i] = m;
    }
    reversed = view_of(members, 20);
    assert_true(view->hash == reversed->hash);
    assert_true(slice_equals(view->encoded, reversed->encoded));
    zone[0] = 'X';
    for (size_t i = 0; i < 20; i++) {
        const struct view_member *m = &view->members[view_find(view, &members[i].id)];

        assert_memory_equal(&m->id, &members[i].id, sizeof m->id);
        assert_true(m->incarnation == members[i].incarnation && m->port == members[i].port);
        assert_string_equal(m->zone, members[i].zone == zone ? "mine" : members[i].zone);
    }
    members[0].id.bytes[7] ^= 1;
    assert_int_equal(view_find(view, &members[0].id), NOBODY);
    assert_int_equal(slots_moved(view, reversed), 0);
    view_unpin(&view);
    view_unpin(&reversed);
    assert_null(view);
    view_unpin(&view); /* nobody is there to be unpinned */
}

static void everything_is_in_the_hash(void **state)
{
    struct view_member members[3];
    const struct view *views[14];
    struct view_parts parts;
    enum view_fault fault;
    size_t n = 0;

    (void)state;
    for (size_t i = 0; i < 3; i++)
        draw_member(&members[i]);
    members[0].zone = "z";
    views[n++] = view_of(members, 3);
#define CHANGED(what)                                                                                        \
    do {                                                                                                     \
        struct view_member saved[3];                                                                         \
        memcpy(saved, members, sizeof saved);                                                                \
        parts = parts_of(members, 3);                                                                        \
        what;                                                                                                \
        views[n++] = view_new(&parts, &fault);                                                               \
        memcpy(members, saved, sizeof saved);                                                                \
    } while (0)
    CHANGED(parts.cluster[15] = 1);
    CHANGED(parts.generation++);
    CHANGED(parts.epoch++);
    CHANGED(parts.rules.granules = 2048);
    CHANGED(parts.rules.headroom++);
    CHANGED(parts.member_count--);
    CHANGED(members[1].incarnation++);
    CHANGED(members[1].state = VIEW_LEAVING);
    CHANGED(members[1].weight++);
    CHANGED(members[1].memcache_port++);
    CHANGED(members[1].ip[3]++);
    CHANGED(members[0].zone = "y");
    CHANGED(members[2].hostname = "other");
#undef CHANGED
    assert_int_equal(n, 14);
    for (size_t i = 0; i < n; i++) {
        assert_non_null(views[i]);
        for (size_t j = 0; j < i; j++)
            assert_true(views[i]->hash != views[j]->hash);
    }
    for (size_t i = 0; i < n; i++)
        view_unpin(&views[i]);
}

static enum view_fault fault_of(const struct view_parts *parts)
{
    enum view_fault fault = VIEW_OK;

    assert_null(view_new(parts, &fault));
    assert_true(strlen(view_fault_text(fault)) > 5);
    return fault;
}

static void what_makes_no_view_is_refused(void **state)
{
    struct view_member members[3], good[3];
    struct view_override overrides[2] = {{5, 0}, {5, 0}};
    struct view_parts parts = parts_of(members, 3);
    const struct view *view;
    char long_name[256];

    (void)state;
    memset(long_name, 'a', sizeof long_name);
    long_name[254] = '\0';
    for (size_t i = 0; i < 3; i++)
        draw_member(&good[i]);
    memcpy(members, good, sizeof good);
    parts.rules.granules = 1000;
    assert_int_equal(fault_of(&parts), VIEW_BAD_RULES);
    parts.rules.granules = 32;
    assert_int_equal(fault_of(&parts), VIEW_BAD_RULES);
    parts.rules = (struct placement_rules){64, HEADROOM_MAX + 1};
    assert_int_equal(fault_of(&parts), VIEW_BAD_RULES);
    parts.rules = (struct placement_rules){64, 50};
    members[1].id = members[2].id;
    assert_int_equal(fault_of(&parts), VIEW_BAD_ORDER);
    memcpy(members, good, sizeof good);
    members[1].ip_bytes = 5;
    assert_int_equal(fault_of(&parts), VIEW_BAD_MEMBER);
    memcpy(members, good, sizeof good);
    members[1].zone = "a b";
    assert_int_equal(fault_of(&parts), VIEW_BAD_MEMBER);
    members[1].zone = long_name + 254 - VIEW_ZONE_MAX - 1;
    assert_int_equal(fault_of(&parts), VIEW_BAD_MEMBER);
    memcpy(members, good, sizeof good);
    members[1].hostname = "a\n";
    assert_int_equal(fault_of(&parts), VIEW_BAD_MEMBER);
    members[1].hostname = long_name;
    assert_int_equal(fault_of(&parts), VIEW_BAD_MEMBER);
    long_name[253] = '\0';
    view = view_of(members, 3); /* as long as may be */
    view_unpin(&view);
    memcpy(members, good, sizeof good);

    parts.overrides = overrides;
    parts.override_count = 1;
    overrides[0] = (struct view_override){64, 0};
    assert_int_equal(fault_of(&parts), VIEW_BAD_OVERRIDE);
    overrides[0] = (struct view_override){5, 3};
    assert_int_equal(fault_of(&parts), VIEW_BAD_OVERRIDE);
    members[0].state = VIEW_FAILED;
    overrides[0] = (struct view_override){5, 0};
    assert_int_equal(fault_of(&parts), VIEW_BAD_OVERRIDE);
    members[0].state = VIEW_LEAVING;
    parts.override_count = 2;
    overrides[0] = overrides[1] = (struct view_override){5, 0};
    assert_int_equal(fault_of(&parts), VIEW_BAD_ORDER);
}

static void a_view_without_members_serves_nothing(void **state)
{
    const struct view *view = view_of(NULL, 0);
    enum view_fault fault;
    const struct view *again = view_decode(view->encoded, &fault);

    (void)state;
    assert_int_equal(slots_of(view, NOBODY), SLOTS);
    assert_non_null(again);
    assert_true(again->hash == view->hash);
    view_unpin(&view);
    view_unpin(&again);
}

/* ---- changing ---- */

/* T13: a crash moves the granules of the dead node, all of them, and nothing else. */
static void a_crash_moves_the_share_of_the_dead_only(void **state)
{
    static const size_t counts[] = {2, 3, 10, 30, 100};
    struct view_member members[MOST];

    (void)state;
    for (size_t c = 0; c < 5; c++) {
        for (int forgotten = 0; forgotten < 2; forgotten++) {
            size_t n = counts[c];
            const struct view *before, *now;
            struct node_id dead;
            unsigned share;

            for (size_t i = 0; i < n; i++)
                draw_member(&members[i]);
            before = view_of(members, n);
            dead = members[n - 1].id;
            members[n - 1].state = VIEW_FAILED;
            now = next_of(before, members, forgotten ? n - 1 : n, NULL, 0);
            share = slots_of(before, view_find(before, &dead));
            assert_true(share > 0);
            assert_int_equal(slots_moved(before, now), share);
            assert_int_equal(slots_moved(now, before), share);
            for (unsigned slot = 0; slot < SLOTS; slot++)
                assert_int_not_equal(now->slot_holder[slot], NOBODY);
            view_unpin(&before);
            view_unpin(&now);
        }
    }
}

/* Releasing everything that is where it should not be leads to the placement. */
static const struct view *settle(const struct view *view, const struct view_member *members, size_t count)
{
    uint16_t released[GRANULES_MAX];
    const struct view *next;
    size_t n = 0;

    for (unsigned g = 0; g < view->rules.granules; g++)
        if (view->holder[g] != view->owner[g])
            released[n++] = (uint16_t)g;
    assert_int_equal(n, view->override_count);
    next = next_of(view, members, count, released, n);
    assert_int_equal(next->override_count, 0);
    return next;
}

static void a_join_moves_nothing_until_it_is_handed_over(void **state)
{
    struct view_member members[MOST];
    const struct view *alone, *joined, *one, *settled, *fresh;
    uint16_t newcomer, granule = 0;

    (void)state;
    for (size_t i = 0; i < 11; i++)
        draw_member(&members[i]);
    alone = view_of(members, 10);
    joined = next_of(alone, members, 11, NULL, 0);
    newcomer = view_find(joined, &members[10].id);
    assert_int_equal(slots_moved(alone, joined), 0);
    assert_int_equal(slots_of(joined, newcomer), 0);
    assert_true(joined->override_count > 0);

    while (joined->owner[granule] != newcomer)
        granule++;
    one = next_of(joined, members, 11, &granule, 1);
    assert_int_equal(one->holder[granule], newcomer);
    assert_int_equal(slots_moved(joined, one), SLOTS / GRANULES_DEFAULT);
    assert_int_equal(one->override_count, joined->override_count - 1);

    settled = settle(one, members, 11);
    fresh = view_of(members, 11);
    assert_int_equal(slots_moved(settled, fresh), 0);
    view_unpin(&alone);
    view_unpin(&joined);
    view_unpin(&one);
    view_unpin(&settled);
    view_unpin(&fresh);
}

static void who_leaves_serves_until_the_end(void **state)
{
    struct view_member members[5];
    const struct view *before, *leaving, *gone;
    uint16_t it;

    (void)state;
    for (size_t i = 0; i < 5; i++)
        draw_member(&members[i]);
    before = view_of(members, 5);
    members[4].state = VIEW_LEAVING;
    leaving = next_of(before, members, 5, NULL, 0);
    it = view_find(leaving, &members[4].id);
    assert_int_equal(slots_moved(before, leaving), 0);
    for (unsigned g = 0; g < GRANULES_DEFAULT; g++)
        assert_true(leaving->owner[g] != it && leaving->deputy[g] != it);
    gone = settle(leaving, members, 5);
    assert_int_equal(slots_of(gone, it), 0);
    view_unpin(&before);
    view_unpin(&leaving);
    view_unpin(&gone);
}

/* ---- the wire ---- */

static void views_survive_the_wire(void **state)
{
    struct view_member members[MOST];

    (void)state;
    for (unsigned round = 0; round < 40; round++) {
        size_t n = roll() % 40 + 1;
        const struct view *first, *view, *again;
        enum view_fault fault;

        for (size_t i = 0; i < n + 3; i++)
            draw_member(&members[i]);
        first = view_of(members, n);
        members[roll() % n].state = VIEW_LEAVING;
        members[roll() % n].state = VIEW_FAILED;
        members[roll() % n].weight = (uint16_t)roll();
        view = next_of(first, members, n + 3, NULL, 0);
        again = view_decode(view->encoded, &fault);
        assert_non_null(again);
        view_check(again);
        assert_true(slice_equals(again->encoded, view->encoded));
        assert_true(again->hash == view->hash && again->epoch == view->epoch);
        assert_memory_equal(again->slot_holder, view->slot_holder, sizeof view->slot_holder);
        assert_memory_equal(again->deputy, view->deputy, GRANULES_DEFAULT * sizeof *view->deputy);
        view_unpin(&first);
        view_unpin(&view);
        view_unpin(&again);
    }
}

/* Two members, one override; every cut, every byte changed. */
static void damage_is_noticed_or_makes_another_view(void **state)
{
    struct view_member members[2];
    struct view_override override = {.granule = 0};
    struct view_parts parts = parts_of(members, 2);
    const struct view *view, *again;
    enum view_fault fault;
    uint8_t *bytes;
    size_t len;

    (void)state;
    draw_member(&members[0]);
    draw_member(&members[1]);
    parts.rules.granules = 64;
    view = view_new(&parts, &fault);
    assert_non_null(view);
    override.holder =
        (uint16_t)(memcmp(&view->members[view->owner[0]].id, &members[0].id, NODE_ID_BYTES) == 0);
    view_unpin(&view);
    parts.overrides = &override;
    parts.override_count = 1;
    view = view_new(&parts, &fault);
    assert_non_null(view);
    len = view->encoded.len;
    for (size_t cut = 0; cut < len; cut++) {
        bytes = malloc(cut + 1); /* the sanitizers see a read past it */
        memcpy(bytes, view->encoded.data, cut);
        bytes = realloc(bytes, cut > 0 ? cut : 1);
        assert_null(view_decode((struct slice){bytes, cut}, &fault));
        assert_int_equal(fault, VIEW_BAD_LENGTH);
        free(bytes);
    }
    bytes = malloc(len + 1);
    memcpy(bytes, view->encoded.data, len);
    bytes[len] = 0;
    assert_null(view_decode((struct slice){bytes, len + 1}, &fault));
    assert_int_equal(fault, VIEW_BAD_LENGTH);
    bytes[0] = 2;
    assert_null(view_decode((struct slice){bytes, len}, &fault));
    assert_int_equal(fault, VIEW_BAD_VERSION);
    for (size_t at = 0; at < len; at++) {
        for (unsigned value = 0; value < 256; value += 3) {
            memcpy(bytes, view->encoded.data, len);
            bytes[at] = (uint8_t)value;
            again = view_decode((struct slice){bytes, len}, &fault);
            assert_int_equal(again != NULL, fault == VIEW_OK);
            if (again != NULL)
                assert_true(slice_equals(again->encoded, (struct slice){bytes, len}));
            view_unpin(&again);
        }
    }
    free(bytes);
    view_unpin(&view);
}

/* The bytes themselves, so that they do not change by accident. */
static void the_bytes_are_these(void **state)
{
    static const uint8_t want[] = "\x01\x06\x00\x32\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00\x29"
                                  "0123456789abcde\0"
                                  "\x00\x02\x00\x00"
                                  "AAAAAAAAAAAAAAAAAAAA\x01\x02\x03\x04\x05\x06\x07\x08\x00\x00\x64\x1f\x0a"
                                  "\x42\x07\x18\xeb\x2b\xcb\x1f\x0b\x04"
                                  "\x7f\x00\x00\x01"
                                  "\x02z1\x06host-a"
                                  "BBBBBBBBBBBBBBBBBBBB\x00\x00\x00\x00\x00\x00\x00\x09\x02\x00\x01\x00\x01"
                                  "\x00\x02\x00\x03\x00\x04\x00\x05\x10"
                                  "\xfe\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\x05\x00\x00";
    struct view_member members[2] = {
        {.incarnation = 9,
         .state = VIEW_FAILED,
         .weight = 1,
         .cluster_port = 1,
         .client_port = 2,
         .port = 3,
         .memcache_port = 4,
         .link_port = 5,
         .ip_bytes = 16,
         .ip = {0xfe, 0x80, [15] = 5},
         .zone = "",
         .hostname = ""},
        {.incarnation = 0x0102030405060708,
         .weight = 100,
         .cluster_port = 7946,
         .client_port = 16903,
         .port = 6379,
         .memcache_port = 11211,
         .link_port = 7947,
         .ip_bytes = 4,
         .ip = {127, 0, 0, 1},
         .zone = "z1",
         .hostname = "host-a"},
    };
    struct view_parts parts = parts_of(members, 2);
    const struct view *view;
    enum view_fault fault;

    (void)state;
    memset(members[0].id.bytes, 'B', NODE_ID_BYTES);
    memset(members[1].id.bytes, 'A', NODE_ID_BYTES);
    parts.rules.granules = 64;
    view = view_new(&parts, &fault);
    assert_non_null(view);
    assert_int_equal(view->encoded.len, sizeof want - 1);
    assert_memory_equal(view->encoded.data, want, sizeof want - 1);
    view_unpin(&view);
}

/* ---- comparing, sharing ---- */

static void views_of_other_granules_compare(void **state)
{
    struct view_member members[4];
    struct view_parts parts = parts_of(members, 4);
    const struct view *a, *b;
    enum view_fault fault;
    unsigned differ = 0;

    (void)state;
    for (size_t i = 0; i < 4; i++)
        draw_member(&members[i]);
    a = view_of(members, 4);
    parts.rules.granules = 4096;
    b = view_new(&parts, &fault);
    assert_non_null(b);
    for (unsigned slot = 0; slot < SLOTS; slot++)
        differ += a->slot_holder[slot] != b->slot_holder[slot];
    assert_true(differ > SLOTS / 4);
    assert_int_equal(slots_moved(a, b), differ);
    view_unpin(&a);
    view_unpin(&b);
}

static void *read_and_unpin(void *arg)
{
    const struct view *view = arg;

    view_check(view);
    for (int i = 0; i < 1000; i++) {
        const struct view *mine = view_pin(view);
        view_unpin(&mine);
    }
    view_unpin(&view);
    return NULL;
}

static void the_last_pin_frees(void **state)
{
    struct view_member members[3];
    const struct view *view;
    pthread_t threads[4];

    (void)state;
    for (size_t i = 0; i < 3; i++)
        draw_member(&members[i]);
    view = view_of(members, 3);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_and_unpin, (void *)(uintptr_t)view_pin(view)),
                         0);
    view_unpin(&view);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_are_sorted_and_copied),
        cmocka_unit_test(everything_is_in_the_hash),
        cmocka_unit_test(what_makes_no_view_is_refused),
        cmocka_unit_test(a_view_without_members_serves_nothing),
        cmocka_unit_test(a_crash_moves_the_share_of_the_dead_only),
        cmocka_unit_test(a_join_moves_nothing_until_it_is_handed_over),
        cmocka_unit_test(who_leaves_serves_until_the_end),
        cmocka_unit_test(views_survive_the_wire),
        cmocka_unit_test(damage_is_noticed_or_makes_another_view),
        cmocka_unit_test(the_bytes_are_these),
        cmocka_unit_test(views_of_other_granules_compare),
        cmocka_unit_test(the_last_pin_frees),
    };

    dice = 88172645463325252;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
