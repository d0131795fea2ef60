/* test_rumours.c - each rumour is told so often and no more, the least told first;
 * and how long a suspect may wait. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cluster/rumours.h"
#include "cluster/suspicion.h"

/* One packet with room for that many; returns how many it took. */
static unsigned packet(struct rumours *r, unsigned room, unsigned limit, unsigned *told)
{
    unsigned n = 0;

    for (uint32_t at = rumours_first(r); at != RUMOURS_END && n < room; n++) {
        uint32_t subject = at;
        at = rumours_next(r);
        rumours_told(r, subject, limit);
        told[subject]++;
    }
    return n;
}

static void each_is_told_so_often(void **state)
{
    struct rumours *r = rumours_new();
    unsigned told[100] = {0}, packets = 0;

    (void)state;
    for (uint32_t i = 0; i < 100; i++)
        rumours_put(r, i);
    rumours_put(r, 7);
    assert_int_equal(rumours_count(r), 100);
    while (rumours_count(r) > 0) {
        packet(r, 7, 8, told);
        packets++;
        for (uint32_t i = 1; i < 100; i++)
            assert_true(told[i] + 1 >= told[0] && told[0] + 1 >= told[i]);
    }
    for (uint32_t i = 0; i < 100; i++)
        assert_int_equal(told[i], 8);
    assert_int_equal(packets, (800 + 6) / 7);
    rumours_free(&r);
}

static void a_packet_tells_each_once(void **state)
{
    struct rumours *r = rumours_new();
    unsigned told[5] = {0};

    (void)state;
    for (uint32_t i = 0; i < 5; i++)
        rumours_put(r, i);
    assert_int_equal(packet(r, 100, 3, told), 5);
    rumours_put(r, 2); /* news: from the start */
    assert_int_equal(packet(r, 1, 3, told), 1);
    assert_int_equal(told[2], 2);
    assert_int_equal(packet(r, 100, 3, told), 5);
    assert_int_equal(packet(r, 100, 3, told), 5);
    assert_int_equal(told[2], 4);
    assert_int_equal(rumours_count(r), 0);
    rumours_put(r, 4);
    rumours_drop(r, 4);
    assert_false(rumours_has(r, 4));
    assert_int_equal(packet(r, 100, 3, told), 0);
    rumours_free(&r);
}

static void suspects_have_less_time_with_each_accuser(void **state)
{
    (void)state;
    assert_int_equal(suspicion_least_us(4, 3, 250000), 1000000);
    assert_int_equal(suspicion_least_us(4, 10, 250000), 1000000);
    assert_int_equal(suspicion_least_us(4, 1000, 250000), 3000000);
    assert_int_equal(suspicion_span_us(1000, 6000, 0, 2), 6000);
    assert_in_range(suspicion_span_us(1000, 6000, 1, 2), 2800, 2900);
    assert_int_equal(suspicion_span_us(1000, 6000, 2, 2), 1000);
    assert_int_equal(suspicion_span_us(1000, 6000, 9, 2), 1000);
    assert_int_equal(suspicion_span_us(1000, 6000, 0, 0), 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_is_told_so_often),
        cmocka_unit_test(a_packet_tells_each_once),
        cmocka_unit_test(suspects_have_less_time_with_each_accuser),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
