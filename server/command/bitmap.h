/* bitmap.h - what the commands about bits share. */
#ifndef CORRAL_COMMAND_BITMAP_H
#define CORRAL_COMMAND_BITMAP_H

#include "server/command/value.h"

/* Reads a bit's number: 0 up to what proto-max-bulk-len holds. With `width` not 0
 * it may also be "#n", the n-th field of that many bits. False: answered. */
bool read_bit_number(struct exec *x, struct slice word, unsigned width, uint64_t *bit);

#endif
