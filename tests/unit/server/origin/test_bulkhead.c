#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "server/origin/bulkhead.h"

static void lets_in_as_many_as_fit_in_order(void **state)
{
    struct bulkhead b = {.most = 2};
    struct in_line jobs[4] = {0};

    (void)state;
    for (unsigned i = 0; i < 4; i++)
        bulkhead_queue(&b, &jobs[i]);
    assert_int_equal(b.waiting, 4);
    assert_ptr_equal(bulkhead_next(&b), &jobs[0]);
    assert_ptr_equal(bulkhead_next(&b), &jobs[1]);
    assert_null(bulkhead_next(&b));
    assert_int_equal(b.inside, 2);
    assert_int_equal(b.waiting, 2);
    bulkhead_done(&b);
    assert_ptr_equal(bulkhead_next(&b), &jobs[2]);
    assert_null(bulkhead_next(&b));
    bulkhead_done(&b);
    bulkhead_done(&b);
    assert_ptr_equal(bulkhead_next(&b), &jobs[3]);
    assert_null(bulkhead_next(&b));
    bulkhead_done(&b);
    assert_int_equal(b.inside, 0);
}

static void whoever_loses_patience_leaves_the_line(void **state)
{
    struct bulkhead b = {.most = 1};
    struct in_line jobs[5] = {0};

    (void)state;
    for (unsigned i = 0; i < 5; i++)
        bulkhead_queue(&b, &jobs[i]);
    bulkhead_leave_line(&b, &jobs[0]);
    bulkhead_leave_line(&b, &jobs[2]);
    bulkhead_leave_line(&b, &jobs[4]);
    bulkhead_leave_line(&b, &jobs[4]); /* does no harm */
    assert_int_equal(b.waiting, 2);
    assert_ptr_equal(bulkhead_next(&b), &jobs[1]);
    bulkhead_done(&b);
    bulkhead_queue(&b, &jobs[0]); /* and may come again */
    assert_ptr_equal(bulkhead_next(&b), &jobs[3]);
    bulkhead_done(&b);
    assert_ptr_equal(bulkhead_next(&b), &jobs[0]);
    bulkhead_done(&b);
    assert_null(bulkhead_next(&b));
    assert_null(b.first);
    assert_null(b.last);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lets_in_as_many_as_fit_in_order),
        cmocka_unit_test(whoever_loses_patience_leaves_the_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
