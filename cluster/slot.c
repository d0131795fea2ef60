#include "cluster/slot.h"

/* Four bits at a time: 32 bytes of table, and keys are short. */
static const uint16_t step[16] = {
    0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50a5, 0x60c6, 0x70e7,
    0x8108, 0x9129, 0xa14a, 0xb16b, 0xc18c, 0xd1ad, 0xe1ce, 0xf1ef,
};

uint16_t slot_crc16(struct slice bytes)
{
    unsigned crc = 0;

    for (size_t i = 0; i < bytes.len; i++) {
        crc = (crc << 4 & 0xffff) ^ step[crc >> 12 ^ bytes.data[i] >> 4];
        crc = (crc << 4 & 0xffff) ^ step[crc >> 12 ^ (bytes.data[i] & 15)];
    }
    return (uint16_t)crc;
}

unsigned slot_of_key(struct slice key)
{
    const uint8_t *open = key.len > 0 ? memchr(key.data, '{', key.len) : NULL, *close;
    struct slice tag;

    if (open == NULL)
        return slot_crc16(key) % SLOTS;
    tag = (struct slice){open + 1, key.len - (size_t)(open + 1 - key.data)};
    close = tag.len > 0 ? memchr(tag.data, '}', tag.len) : NULL;
    if (close == NULL || close == tag.data)
        return slot_crc16(key) % SLOTS;
    tag.len = (size_t)(close - tag.data);
    return slot_crc16(tag) % SLOTS;
}
