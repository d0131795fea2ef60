/* test_scope.c - where keys are, how SCAN goes from node to node, and who is told MOVED how often. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/cluster/everywhere.h"
#include "server/cluster/keys.h"
#include "server/cluster/redirect.h"
#include "server/cluster/routes.h"

/* Members by the first two bytes of their ids; what those who differ in the third only have in common is the
 * number that they would like. */
static const struct view *view_of(const unsigned *ids, size_t count)
{
    struct view_member members[8];
    struct view_parts parts = {
        .rules = {GRANULES_MIN, HEADROOM_DEFAULT}, .members = members, .member_count = count};
    enum view_fault fault;
    const struct view *view;

    for (size_t i = 0; i < count; i++)
        members[i] = (struct view_member){
            .id = {.bytes = {(uint8_t)(ids[i] >> 16), (uint8_t)(ids[i] >> 8), (uint8_t)ids[i]}},
            .state = VIEW_ACTIVE,
            .weight = 1,
            .ip_bytes = 4,
            .zone = "",
            .hostname = ""};
    view = view_new(&parts, &fault);
    assert_non_null(view);
    return view;
}

/* ---- SCAN ---- */

static void test_scan_visits_all_nodes(void **state)
{
    /* One that would be 0, two that begin alike, and the last there is. */
    const unsigned ids[] = {0x000001, 0x102000, 0x102033, 0x102101, 0xffff00};
    const struct view *view = view_of(ids, 5);
    uint64_t cursor = 0, at, steps = 0;
    unsigned visited = 0;

    (void)state;
    do {
        uint16_t member = scan_member(view, cursor, &at);

        assert_int_not_equal(member, NOBODY);
        assert_true(at == 0 || at == 77 || at == (UINT64_C(1) << 42) - 1);
        visited |= 1u << member;
        at = at == 0 ? 77 : at == 77 ? (UINT64_C(1) << 42) - 1 : 0;
        cursor = scan_next(view, member, at);
        assert_true(cursor <= INT64_MAX);
        steps++;
    } while (cursor != 0);
    assert_int_equal(visited, 31);
    assert_int_equal(steps, 15);
    view_unpin(&view);
}

static void test_scan_goes_on_when_a_node_leaves(void **state)
{
    const unsigned all[] = {0x100000, 0x200000, 0x300000}, rest[] = {0x100000, 0x300000};
    const struct view *before = view_of(all, 3), *now = view_of(rest, 2);
    uint64_t at;

    (void)state;
    /* In the middle of the one that leaves: the next begins. */
    assert_int_equal(scan_member(now, scan_next(before, 1, 5), &at), 1);
    assert_int_equal(at, 0);
    /* In the middle of another: that goes on. */
    assert_int_equal(scan_member(now, scan_next(before, 2, 5), &at), 1);
    assert_int_equal(at, 5);
    /* The last one has left. */
    assert_int_equal(scan_member(now, (uint64_t)0x4000 << 42 | 3, &at), NOBODY);
    /* And one that comes before where we are is not begun. */
    assert_int_equal(scan_member(before, scan_next(now, 1, 9), &at), 2);
    assert_int_equal(at, 9);
    view_unpin(&before);
    view_unpin(&now);
}

/* ---- keys ---- */

static struct request words(struct slice *argv, const char *line, char *room)
{
    struct request rq = {.argv = argv};

    strcpy(room, line);
    for (char *w = strtok(room, " "); w != NULL; w = strtok(NULL, " "))
        argv[rq.argc++] = slice_of(w);
    return rq;
}

static void expect_keys(const char *line, uint32_t first, uint32_t last, uint32_t step)
{
    struct slice argv[16];
    char room[128];
    struct request rq = words(argv, line, room);
    struct key_words keys = keys_of(command_find(argv[0]), &rq);

    if (step == 0) {
        assert_int_equal(keys_count(keys), 0);
        return;
    }
    assert_int_equal(keys.first, first);
    assert_int_equal(keys.last, last);
    assert_int_equal(keys.step, step);
}

static void test_keys_of_commands(void **state)
{
    struct slice argv[16];
    char room[128];
    struct request rq;

    (void)state;
    expect_keys("get a", 1, 1, 1);
    expect_keys("mget a b c", 1, 3, 1);
    expect_keys("mset a 1 b 2", 1, 4, 2);
    expect_keys("bitop and dest a b", 2, 4, 1);
    expect_keys("copy a b db 1", 1, 2, 1);
    expect_keys("object encoding k", 2, 2, 1);
    expect_keys("object help", 0, 0, 0);
    expect_keys("memory usage k samples 5", 2, 2, 1);
    expect_keys("memory stats", 0, 0, 0);
    expect_keys("ping", 0, 0, 0);
    expect_keys("spublish channel text", 1, 1, 1);
    rq = words(argv, "gat 10 a b", room);
    assert_int_equal(keys_of_line(&rq).first, 2);
    assert_int_equal(keys_count(keys_of_line(&rq)), 2);
    rq = words(argv, "gets a", room);
    assert_int_equal(keys_count(keys_of_line(&rq)), 1);
    rq = words(argv, "version", room);
    assert_int_equal(keys_count(keys_of_line(&rq)), 0);
}

static void test_places(void **state)
{
    const unsigned ids[] = {0x100000, 0x200000};
    const struct view *view = view_of(ids, 2);
    struct routes *routes = routes_new(view, 0);
    const struct routes *unpin = routes;
    struct key_place place = {0};
    struct slice argv[16];
    char room[128];
    struct request rq;

    (void)state;
    assert_non_null(routes);
    for (unsigned i = 0; i < SLOTS; i++)
        routes->holder[i] = i < SLOTS / 2 ? ROUTE_HERE : 1;
    rq = words(argv, "mget foo bar", room); /* slots 12182 and 5061 */
    keys_place(routes, &rq, keys_of(command_find(argv[0]), &rq), &place);
    assert_true(place.some && place.many_slots && place.many_holders);
    assert_int_equal(place.slot, 12182);
    assert_int_equal(place.holder, 1);
    place = (struct key_place){0};
    rq = words(argv, "mget {foo}1 foo {foo}2", room);
    keys_place(routes, &rq, keys_of(command_find(argv[0]), &rq), &place);
    assert_true(place.some && !place.many_slots && !place.many_holders);
    place = (struct key_place){0};
    rq = words(argv, "mget bar hello", room); /* 5061 and 866 */
    keys_place(routes, &rq, keys_of(command_find(argv[0]), &rq), &place);
    assert_true(place.many_slots && !place.many_holders);
    assert_int_equal(place.holder, ROUTE_HERE);
    place = (struct key_place){0};
    rq = words(argv, "ping", room);
    keys_place(routes, &rq, keys_of(command_find(argv[0]), &rq), &place);
    assert_false(place.some);
    routes_unpin(&unpin);
    view_unpin(&view);
}

/* ---- MOVED ---- */

static bool tells(instant *told, int64_t created, int64_t changed, int64_t now)
{
    return redirect_tells(told, (instant){created}, (instant){changed}, (instant){now});
}

static void test_moved_is_said_sparingly(void **state)
{
    instant told = {0};

    (void)state;
    /* A connection that came after the last change: at once, then after a second. */
    assert_true(tells(&told, 4500, 4000, 4600));
    assert_false(tells(&told, 4500, 4000, 4600));
    assert_false(tells(&told, 4500, 4000, 5599));
    assert_true(tells(&told, 4500, 4000, 5600));
    /* The cluster changes, in three steps: a second after the last of them, and once. */
    assert_false(tells(&told, 4500, 7000, 7000));
    assert_false(tells(&told, 4500, 7500, 7999));
    assert_false(tells(&told, 4500, 7800, 8500));
    assert_true(tells(&told, 4500, 7800, 8800));
    assert_false(tells(&told, 4500, 7800, 9799));
    /* And an old one that was never told anything. */
    told = (instant){0};
    assert_false(tells(&told, 100, 7800, 8000));
    assert_true(tells(&told, 100, 7800, 8800));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scan_visits_all_nodes),
        cmocka_unit_test(test_scan_goes_on_when_a_node_leaves),
        cmocka_unit_test(test_keys_of_commands),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_moved_is_said_sparingly),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
