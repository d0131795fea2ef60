/* test_bits.c - whole words against one bit at a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "server/bits.h"

static uint64_t dice = 88172645463325252u;

static uint32_t roll(uint32_t n)
{
    dice ^= dice << 13;
    dice ^= dice >> 7;
    dice ^= dice << 17;
    return (uint32_t)((dice >> 20) % n);
}

static bool bit_of(const uint8_t *bytes, uint64_t at)
{
    return bytes[at / 8] >> (7 - at % 8) & 1;
}

/* Exactly `len` bytes from the heap, so that the sanitizers see a look beyond; mostly of one kind of bit. */
static uint8_t *some_bytes(size_t len)
{
    uint8_t *bytes = malloc(len);

    memset(bytes, roll(2) ? 0xff : 0, len);
    for (uint32_t n = roll(4); n > 0; n--)
        bytes[roll((uint32_t)len)] = (uint8_t)roll(256);
    return bytes;
}

static void counts_and_finds_are_right(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 20000; i++) {
        size_t len = 1 + roll(60);
        uint8_t *bytes = some_bytes(len);
        uint64_t first = roll((uint32_t)len * 8), last = first + roll((uint32_t)(len * 8 - first));
        int64_t found[2] = {-1, -1};
        uint64_t count = 0;

        for (uint64_t at = first; at <= last; at++) {
            bool bit = bit_of(bytes, at);

            count += bit;
            if (found[bit] < 0)
                found[bit] = (int64_t)at;
        }
        assert_int_equal(bits_count(bytes, first, last), count);
        assert_int_equal(bits_find(bytes, first, last, true), found[1]);
        assert_int_equal(bits_find(bytes, first, last, false), found[0]);
        free(bytes);
    }
}

static void numbers_are_read_and_written_anywhere(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 20000; i++) {
        size_t len = 1 + roll(20);
        uint8_t *bytes = some_bytes(len), *after = malloc(len);
        unsigned width = 1 + roll(64);
        uint64_t at = roll((uint32_t)len * 8 + 70), expected = 0;
        uint64_t value = dice * UINT64_C(0x9e3779b97f4a7c15);

        for (unsigned k = 0; k < width; k++)
            expected = expected << 1 | (at + k < len * 8 && bit_of(bytes, at + k));
        assert_int_equal(bits_load(bytes, len, at, width), expected);
        if (at + width <= len * 8) {
            memcpy(after, bytes, len);
            bits_store(after, at, width, value);
            for (uint64_t k = 0; k < len * 8; k++) {
                bool inside = k >= at && k < at + width;
                assert_int_equal(bit_of(after, k),
                                 inside ? value >> (width - 1 - (k - at)) & 1 : bit_of(bytes, k));
            }
        }
        free(bytes);
        free(after);
    }
}

static void signs_are_extended(void **state)
{
    (void)state;
    assert_int_equal(bits_signed(0, 1), 0);
    assert_int_equal(bits_signed(1, 1), -1);
    assert_int_equal(bits_signed(0x7f, 8), 127);
    assert_int_equal(bits_signed(0x80, 8), -128);
    assert_int_equal(bits_signed(0xff, 8), -1);
    assert_int_equal(bits_signed(0x1ff, 8), -1);
    assert_int_equal(bits_signed(UINT64_MAX, 64), -1);
    assert_int_equal(bits_signed(UINT64_C(1) << 63, 64), INT64_MIN);
}

static void combining_goes_byte_by_byte(void **state)
{
    uint8_t into[3] = {0x0f, 0xf0, 0xaa};
    const uint8_t other[3] = {0xff, 0x3c, 0x55};

    (void)state;
    bits_combine(BITS_AND, into, other, 3);
    assert_memory_equal(into, "\x0f\x30\x00", 3);
    bits_combine(BITS_OR, into, other, 2);
    assert_memory_equal(into, "\xff\x3c\x00", 3);
    bits_combine(BITS_XOR, into, other, 3);
    assert_memory_equal(into, "\x00\x00\x55", 3);
    bits_invert(into, 2);
    assert_memory_equal(into, "\xff\xff\x55", 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_and_finds_are_right),
        cmocka_unit_test(numbers_are_read_and_written_anywhere),
        cmocka_unit_test(signs_are_extended),
        cmocka_unit_test(combining_goes_byte_by_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
