#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "server/origin/outcomes.h"

static void put(struct outcomes *o, uint8_t db, const char *name, enum outcome_kind kind, size_t bytes,
                int64_t now)
{
    struct outcome outcome = {.kind = kind, .value = bytes > 0 ? blob_new(bytes) : NULL};

    assert_true(outcomes_put(o, db, slice_of(name), &outcome, now));
    assert_null(outcome.value);
}

static bool has(struct outcomes *o, uint8_t db, const char *name, enum outcome_kind kind, int64_t now)
{
    struct outcome found;

    if (!outcomes_get(o, db, slice_of(name), now, &found))
        return false;
    blob_unpin(&found.value);
    return found.kind == kind;
}

static void tells_keys_and_databases_apart(void **state)
{
    struct outcomes *o = outcomes_new();

    (void)state;
    put(o, 0, "a", OUTCOME_FAILED, 0, 1);
    put(o, 1, "a", OUTCOME_ABSENT, 0, 1);
    put(o, 0, "", OUTCOME_VALUE, 10, 1);
    assert_true(has(o, 0, "a", OUTCOME_FAILED, 1));
    assert_true(has(o, 1, "a", OUTCOME_ABSENT, 1));
    assert_true(has(o, 0, "", OUTCOME_VALUE, 1));
    put(o, 0, "a", OUTCOME_VALUE, 5, 1);
    assert_true(has(o, 0, "a", OUTCOME_VALUE, 1));
    outcomes_remove(o, 0, slice_of("a"));
    assert_false(has(o, 0, "a", OUTCOME_VALUE, 1));
    assert_true(has(o, 1, "a", OUTCOME_ABSENT, 1));
    outcomes_remove(o, 0, slice_of("a"));
    outcomes_free(&o);
    assert_null(o);
}

static void forgets_in_time(void **state)
{
    struct outcomes *o = outcomes_new();

    (void)state;
    put(o, 0, "a", OUTCOME_ABSENT, 0, 1000);
    put(o, 0, "b", OUTCOME_ABSENT, 0, 1500);
    assert_true(has(o, 0, "a", OUTCOME_ABSENT, 1000 + OUTCOMES_MS - 1));
    assert_false(has(o, 0, "a", OUTCOME_ABSENT, 1000 + OUTCOMES_MS));
    assert_int_equal(outcomes_expire(o, 1000 + OUTCOMES_MS), 1);
    assert_true(has(o, 0, "b", OUTCOME_ABSENT, 1000 + OUTCOMES_MS));
    assert_int_equal(outcomes_expire(o, 1500 + OUTCOMES_MS), 0);
    outcomes_free(&o);
}

static void holds_so_many_and_so_much(void **state)
{
    struct outcomes *o = outcomes_new();
    char name[16];

    (void)state;
    for (int i = 0; i < OUTCOMES_MAX + 10; i++) {
        snprintf(name, sizeof name, "%d", i);
        put(o, 0, name, OUTCOME_ABSENT, 0, 1);
    }
    assert_int_equal(outcomes_expire(o, 1), OUTCOMES_MAX);
    assert_false(has(o, 0, "9", OUTCOME_ABSENT, 1)); /* the oldest went */
    assert_true(has(o, 0, "10", OUTCOME_ABSENT, 1));
    for (int i = 0; i < 5; i++) {
        snprintf(name, sizeof name, "big%d", i);
        put(o, 0, name, OUTCOME_VALUE, OUTCOMES_BYTES_MAX / 3, 1);
    }
    assert_false(has(o, 0, "big1", OUTCOME_VALUE, 1));
    assert_true(has(o, 0, "big2", OUTCOME_VALUE, 1));
    outcomes_free(&o);
    assert_int_equal(blob_bytes_total(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_keys_and_databases_apart),
        cmocka_unit_test(forgets_in_time),
        cmocka_unit_test(holds_so_many_and_so_much),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
