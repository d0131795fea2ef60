/* test_command_table.c - every verb is found, in any case, and nothing else is. */
#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/command/command.h"

static void every_row_is_found_in_any_case(void **state)
{
    (void)state;
    assert_true(command_count() > 40);
    for (size_t i = 0; i < command_count(); i++) {
        const struct command *row = command_at(i);
        char name[64];
        size_t len = strlen(row->name);

        assert_ptr_equal(command_find(slice_of(row->name)), row);
        for (unsigned pattern = 0; pattern < 64; pattern++) {
            for (size_t j = 0; j < len; j++)
                name[j] = (char)(pattern >> j % 6 & 1 ? toupper(row->name[j]) : row->name[j]);
            assert_ptr_equal(command_find((struct slice){(uint8_t *)name, len}), row);
        }
    }
}

/* Each byte of each name, changed to every other value. */
static void a_name_with_one_wrong_byte_is_another_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < command_count(); i++) {
        const struct command *row = command_at(i);
        size_t len = strlen(row->name);
        uint8_t name[64];

        for (size_t j = 0; j < len; j++) {
            for (int byte = 0; byte < 256; byte++) {
                memcpy(name, row->name, len);
                name[j] = (uint8_t)byte;
                const struct command *found = command_find((struct slice){name, len});
                if (tolower(byte) == row->name[j] && byte < 128)
                    assert_ptr_equal(found, row);
                else
                    assert_ptr_not_equal(found, row);
            }
        }
        assert_ptr_not_equal(command_find((struct slice){(const uint8_t *)row->name, len - 1}), row);
    }
}

static void odd_names_are_unknown(void **state)
{
    char *exact = malloc(3); /* the sanitizers see a read past it */
    uint8_t long_name[300];

    (void)state;
    assert_null(command_find((struct slice){NULL, 0}));
    memcpy(exact, "gex", 3);
    for (size_t len = 0; len <= 3; len++)
        assert_null(command_find((struct slice){(uint8_t *)exact, len}));
    free(exact);
    memset(long_name, 'g', sizeof long_name);
    assert_null(command_find((struct slice){long_name, sizeof long_name}));
    assert_null(command_find(slice_of("client|list")));
    assert_null(command_find(slice_of("get ")));
}

static void rows_make_sense(void **state)
{
    (void)state;
    for (size_t i = 0; i < command_count(); i++) {
        const struct command *row = command_at(i);

        assert_non_null(row->handler);
        assert_true(row->arity != 0);
        assert_true(row->summary[0] != '\0' && row->group[0] != '\0');
        for (const char *c = row->name; *c != '\0'; c++)
            assert_false(isupper((unsigned char)*c));
        if (row->first_key == 0)
            continue;
        assert_true(row->key_step > 0);
        /* The first key is always there, but for SUNSUBSCRIBE without any. */
        assert_true(abs(row->arity) > row->first_key || row->handler == cmd_sunsubscribe);
        assert_true(row->last_key < 0 || row->last_key >= row->first_key);
    }
}

static void arity_is_exact_or_a_minimum(void **state)
{
    (void)state;
    assert_true(command_arity_ok(2, 2));
    assert_false(command_arity_ok(2, 3));
    assert_false(command_arity_ok(2, 1));
    assert_true(command_arity_ok(-2, 2));
    assert_true(command_arity_ok(-2, 9));
    assert_false(command_arity_ok(-2, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_is_found_in_any_case),
        cmocka_unit_test(a_name_with_one_wrong_byte_is_another_name),
        cmocka_unit_test(odd_names_are_unknown),
        cmocka_unit_test(rows_make_sense),
        cmocka_unit_test(arity_is_exact_or_a_minimum),
    };

    return cmocka_run_group_tests_name("command_table", tests, NULL, NULL);
}
