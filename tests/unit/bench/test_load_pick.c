/* test_load_pick.c - the dice fall as the distribution says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "bench/load_pick.c"

enum { KEYS = 1000, PICKS = 1000000 };

static uint32_t count[KEYS];

static void pick_many(enum pick_kind kind, uint32_t keys, double exponent)
{
    struct pick_table *t = pick_table_new(kind, keys, exponent);
    uint64_t dice = 42;

    for (uint32_t i = 0; i < KEYS; i++)
        count[i] = 0;
    for (int i = 0; i < PICKS; i++) {
        uint32_t id = pick_next(t, &dice);

        assert_true(id < keys);
        count[id]++;
    }
    pick_table_free(&t);
    assert_null(t);
}

static void uniform_gives_each_key_its_share(void **state)
{
    (void)state;
    pick_many(PICK_UNIFORM, KEYS, 0);
    for (int i = 0; i < KEYS; i++) /* 1000 expected; six standard deviations are 190 */
        assert_in_range(count[i], 800, 1200);
}

static int by_count_falling(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x < y) - (x > y);
}

static void zipf_falls_by_rank(void **state)
{
    double sum = 0;

    (void)state;
    pick_many(PICK_ZIPF, KEYS, 0.99);
    qsort(count, KEYS, sizeof count[0], by_count_falling);
    for (int i = 1; i <= KEYS; i++)
        sum += pow(i, -0.99);
    for (int rank = 1; rank <= 20; rank++) {
        double expected = PICKS * pow(rank, -0.99) / sum;

        assert_true(fabs(count[rank - 1] - expected) < 6 * sqrt(expected));
    }
}

static void neighbouring_ranks_are_not_neighbouring_keys(void **state)
{
    uint32_t hottest = 0, second = 0;

    (void)state;
    pick_many(PICK_ZIPF, KEYS, 1.2);
    for (uint32_t i = 0; i < KEYS; i++)
        if (count[i] > count[hottest])
            hottest = i;
    second = hottest == 0;
    for (uint32_t i = 0; i < KEYS; i++)
        if (i != hottest && count[i] > count[second])
            second = i;
    assert_true(hottest > second ? hottest - second > 10 : second - hottest > 10);
}

static void few_keys_are_all_picked(void **state)
{
    (void)state;
    for (uint32_t keys = 1; keys <= 8; keys++) {
        pick_many(PICK_ZIPF, keys, 0.99);
        for (uint32_t i = 0; i < keys; i++)
            assert_true(count[i] > 0);
    }
}

static void the_same_start_gives_the_same_picks(void **state)
{
    struct pick_table *t = pick_table_new(PICK_ZIPF, KEYS, 0.99);
    uint64_t one = 5, other = 5;

    (void)state;
    for (int i = 0; i < 1000; i++)
        assert_int_equal(pick_next(t, &one), pick_next(t, &other));
    pick_table_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uniform_gives_each_key_its_share),
        cmocka_unit_test(zipf_falls_by_rank),
        cmocka_unit_test(neighbouring_ranks_are_not_neighbouring_keys),
        cmocka_unit_test(few_keys_are_all_picked),
        cmocka_unit_test(the_same_start_gives_the_same_picks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
