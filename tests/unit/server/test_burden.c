/* test_burden.c - the heaviest are found, whoever comes and goes. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "server/burden.h"

enum { MANY = 200 };

static unsigned count(struct burden_list *list)
{
    unsigned n = 0;

    for (struct burden *b = burden_first(list); b != NULL; b = burden_next(list, b))
        n++;
    return n;
}

static void the_heaviest_is_found(void **state)
{
    struct burden_list list = {0};
    struct burden small = {0}, middle = {0}, large = {0};

    (void)state;
    assert_null(burden_heaviest(&list));
    assert_int_equal(burden_class(&list), 0);
    burden_set(&list, &middle, 5000);
    burden_set(&list, &small, 1);
    assert_ptr_equal(burden_heaviest(&list), &middle);
    burden_set(&list, &large, SIZE_MAX);
    assert_ptr_equal(burden_heaviest(&list), &large);
    burden_set(&list, &large, 0);
    assert_ptr_equal(burden_heaviest(&list), &middle);
    burden_set(&list, &middle, 100);
    burden_set(&list, &small, 1000);
    assert_ptr_equal(burden_heaviest(&list), &small);
    burden_set(&list, &small, 0);
    burden_set(&list, &small, 0);
    burden_set(&list, &middle, 0);
    assert_null(burden_heaviest(&list));
    assert_int_equal(count(&list), 0);
}

/* Against the slow way: look at all of them. */
static void like_looking_at_all(void **state)
{
    static struct burden burdens[MANY];
    static size_t held[MANY];
    struct burden_list list = {0};
    uint32_t dice = 12345;

    (void)state;
    for (int step = 0; step < 20000; step++) {
        size_t most = 0;
        unsigned holding = 0;

        dice = dice * 1664525 + 1013904223;
        size_t i = (dice >> 8) % MANY;
        held[i] = (dice >> 3) % 4 == 0 ? 0 : (size_t)1 << (dice >> 27);
        burden_set(&list, &burdens[i], held[i]);
        for (size_t j = 0; j < MANY; j++) {
            most = held[j] > most ? held[j] : most;
            holding += held[j] > 0;
        }
        struct burden *heaviest = burden_heaviest(&list);
        assert_int_equal(count(&list), holding);
        assert_int_equal(heaviest == NULL, most == 0);
        if (heaviest != NULL)
            assert_int_equal(held[heaviest - burdens], most);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_heaviest_is_found),
        cmocka_unit_test(like_looking_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
