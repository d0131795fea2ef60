#include "cluster/slot.h"

/* Eight bytes at a time: step[k][b] is what byte b does to the remainder with k more bytes behind it. Four
 * bits at a time would need 32 bytes of table instead of 4 KiB and five times as long, twice for each request
 * that another node executes. Filled before main(). */
enum { AT_ONCE = 8 };
static uint16_t step[AT_ONCE][256];

__attribute__((constructor)) static void fill_steps(void)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        unsigned crc = byte << 8;

        for (unsigned bit = 0; bit < 8; bit++)
            crc = (crc << 1 ^ (crc & 0x8000 ? 0x1021 : 0)) & 0xffff;
        step[0][byte] = (uint16_t)crc;
    }
    for (unsigned k = 1; k < AT_ONCE; k++) {
        for (unsigned byte = 0; byte < 256; byte++) {
            unsigned crc = step[k - 1][byte];

            step[k][byte] = (uint16_t)(crc << 8 ^ step[0][crc >> 8]);
        }
    }
}

uint16_t slot_crc16(struct slice bytes)
{
    const uint8_t *p = bytes.data;
    size_t left = bytes.len;
    unsigned crc = 0;

    for (; left >= AT_ONCE; p += AT_ONCE, left -= AT_ONCE)
        crc = step[7][p[0] ^ crc >> 8] ^ step[6][p[1] ^ (crc & 255)] ^ step[5][p[2]] ^ step[4][p[3]] ^
              step[3][p[4]] ^ step[2][p[5]] ^ step[1][p[6]] ^ step[0][p[7]];
    for (; left > 0; p++, left--)
        crc = (crc << 8 & 0xffff) ^ step[0][crc >> 8 ^ *p];
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
