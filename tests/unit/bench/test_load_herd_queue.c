/* test_load_herd_queue.c - alarms go off in order, whatever was moved or cancelled. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "bench/load_herd_queue.c"
#include "bench/load_pick.h"

enum { ALARMS = 100 };

static void nothing_is_never_due(void **state)
{
    struct herd_queue q = {0};

    (void)state;
    assert_null(herd_queue_pop(&q, INT64_MAX));
    assert_true(herd_queue_next(&q) == INT64_MAX);
}

/* The earliest of all that are set, found the slow way; NULL when none is. */
static struct herd_alarm *earliest(struct herd_alarm *alarms)
{
    struct herd_alarm *first = NULL;

    for (int i = 0; i < ALARMS; i++)
        if (alarms[i].place != 0 && (first == NULL || alarms[i].due_ns < first->due_ns))
            first = &alarms[i];
    return first;
}

static void the_earliest_comes_first(void **state)
{
    static struct herd_alarm alarms[ALARMS];
    struct herd_alarm *heap[ALARMS];
    struct herd_queue q = {.heap = heap, .size = ALARMS};
    uint64_t dice = 3;

    (void)state;
    for (int step = 0; step < 100000; step++) {
        struct herd_alarm *alarm = &alarms[dice_roll(&dice) % ALARMS];
        struct herd_alarm *first = earliest(alarms);
        int64_t now = (int64_t)(dice_roll(&dice) % 1000);

        assert_true(herd_queue_next(&q) == (first != NULL ? first->due_ns : INT64_MAX));
        switch (dice_roll(&dice) % 4) {
        case 0: herd_queue_cancel(&q, alarm); break;
        case 1:
            if (first != NULL && first->due_ns <= now) {
                int64_t due = first->due_ns;
                struct herd_alarm *popped = herd_queue_pop(&q, now);

                assert_non_null(popped);
                assert_true(popped->due_ns == due);
                assert_int_equal(popped->place, 0);
            } else {
                assert_null(herd_queue_pop(&q, now));
            }
            break;
        default: herd_queue_set(&q, alarm, now);
        }
        for (size_t i = 0; i < q.len; i++)
            assert_int_equal(q.heap[i]->place, i + 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_never_due),
        cmocka_unit_test(the_earliest_comes_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
