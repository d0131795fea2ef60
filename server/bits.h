/* bits.h - strings as arrays of bits, as redis numbers them: bit 0 is the
 * highest bit of byte 0. Pure functions over memory.
 *
 * Those that take a `const uint8_t *` may be given memory that a writer is
 * changing meanwhile (store/racy.h): they touch nothing outside of it, and
 * their answer is then to be thrown away. */
#ifndef CORRAL_BITS_H
#define CORRAL_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How many bits from `first` to `last`, both counted, are set. first <= last, both inside. */
uint64_t bits_count(const uint8_t *bytes, uint64_t first, uint64_t last);

/* The first bit from `first` to `last` that is as asked for; -1 if there is none. */
int64_t bits_find(const uint8_t *bytes, uint64_t first, uint64_t last, bool set);

enum bits_operation { BITS_AND, BITS_OR, BITS_XOR };
/* into = into OP other, n bytes. */
void bits_combine(enum bits_operation operation, uint8_t *into, const uint8_t *other, size_t n);
void bits_invert(uint8_t *bytes, size_t n);

/* The `width` bits (1..64) from bit `at` on, as an unsigned number, the first
 * of them the highest; beyond the len bytes there are zeros. */
uint64_t bits_load(const uint8_t *bytes, size_t len, uint64_t at, unsigned width);
/* Puts the low `width` bits of value there; all of them must be inside. */
void bits_store(uint8_t *bytes, uint64_t at, unsigned width, uint64_t value);
/* The low `width` bits as a number in two's complement. */
int64_t bits_signed(uint64_t value, unsigned width);

#endif
