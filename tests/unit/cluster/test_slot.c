/* test_slot.c - a key's slot is the one that every redis cluster client computes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cluster/slot.h"

/* The check value that names the CRC, and those of one byte: the whole table. */
static void crc_is_xmodem(void **state)
{
    (void)state;
    assert_int_equal(slot_crc16(slice_of("123456789")), 0x31c3);
    assert_int_equal(slot_crc16(slice_of("")), 0);
    for (unsigned byte = 0; byte < 256; byte++) {
        uint8_t one = (uint8_t)byte;
        unsigned want = byte << 8;

        for (int bit = 0; bit < 8; bit++)
            want = (want << 1 ^ (want & 0x8000 ? 0x1021 : 0)) & 0xffff;
        assert_int_equal(slot_crc16((struct slice){&one, 1}), want);
    }
}

/* Many bytes at a time are the same as one bit after the other, at any length and wherever they lie. */
static void the_quick_way_is_the_plain_one(void **state)
{
    uint8_t bytes[64];

    (void)state;
    for (unsigned i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 151 + 77);
    for (unsigned from = 0; from < 9; from++) {
        unsigned want = 0;

        for (unsigned len = 0; from + len < sizeof bytes; len++) {
            assert_int_equal(slot_crc16((struct slice){bytes + from, len}), want);
            want ^= (unsigned)bytes[from + len] << 8;
            for (int bit = 0; bit < 8; bit++)
                want = (want << 1 ^ (want & 0x8000 ? 0x1021 : 0)) & 0xffff;
        }
    }
}

/* As redis-server 7.0.15 answers CLUSTER KEYSLOT. */
static void slots_are_those_of_redis(void **state)
{
    static const struct {
        const char *key;
        size_t len;
        unsigned slot;
    } cases[] = {
        {"", 0, 0},
        {"foo", 3, 12182},
        {"123456789", 9, 12739},
        {"{user1000}.following", 20, 3443},
        {"{user1000}.followers", 20, 3443},
        {"foo{}{bar}", 10, 8363},
        {"foo{{bar}}zap", 13, 4015},
        {"foo{bar}{zap}", 13, 5061},
        {"{", 1, 4092},
        {"}{", 2, 12793},
        {"a{", 2, 14311},
        {"a{b", 3, 13340},
        {"{}", 2, 15257},
        {"a}b{c}", 6, 7365},
        {"{}a{b}", 6, 16175},
        {"a\0\xff{b", 5, 9385},
    };
    uint8_t *exact;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        exact = malloc(cases[i].len + 1); /* the sanitizers see a read past it */
        memcpy(exact, cases[i].key, cases[i].len);
        exact = realloc(exact, cases[i].len > 0 ? cases[i].len : 1);
        assert_int_equal(slot_of_key((struct slice){exact, cases[i].len}), cases[i].slot);
        free(exact);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc_is_xmodem),
        cmocka_unit_test(the_quick_way_is_the_plain_one),
        cmocka_unit_test(slots_are_those_of_redis),
    };

    return cmocka_run_group_tests_name("slot", tests, NULL, NULL);
}
