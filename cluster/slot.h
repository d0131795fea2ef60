/* slot.h - in which of the 16384 slots a key lies, as every redis cluster client computes it.
 *
 * CRC16 with the polynomial 0x1021, from 0, most significant bit first
 * ("XMODEM": "123456789" gives 0x31c3), of the key; or of what stands between
 * its first '{' and the next '}', if that is anything, so that clients can
 * have keys in one slot. (Redis cluster specification, "Key distribution model".) */
#ifndef CORRAL_SLOT_H
#define CORRAL_SLOT_H

#include "protocol/bytes.h"

enum { SLOTS = 16384 };

uint16_t slot_crc16(struct slice bytes);
/* 0 .. SLOTS - 1 */
unsigned slot_of_key(struct slice key);

#endif
