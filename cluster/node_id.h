/* node_id.h - the name of a node: 20 bytes that it drew when its data folder was made.
 *
 * Clients see it as redis shows its own: 40 lower case hex digits. */
#ifndef CORRAL_NODE_ID_H
#define CORRAL_NODE_ID_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { NODE_ID_BYTES = 20, NODE_ID_TEXT = 2 * NODE_ID_BYTES };

struct node_id {
    uint8_t bytes[NODE_ID_BYTES];
};

/* As memcmp(): the order of the bytes, which is the order of the texts, too. */
static inline int node_id_compare(const struct node_id *a, const struct node_id *b)
{
    return memcmp(a->bytes, b->bytes, NODE_ID_BYTES);
}

static inline bool node_id_equals(const struct node_id *a, const struct node_id *b)
{
    return node_id_compare(a, b) == 0;
}

/* Its first bytes as a number, which is in the same order. */
static inline uint64_t node_id_mark(const struct node_id *id)
{
    uint64_t mark = 0;

    for (int i = 0; i < 8; i++)
        mark = mark << 8 | id->bytes[i];
    return mark;
}

/* Writes NODE_ID_TEXT digits, and no NUL. */
static inline void node_id_to_text(const struct node_id *id, char *text)
{
    static const char digits[] = "0123456789abcdef";

    for (unsigned i = 0; i < NODE_ID_BYTES; i++) {
        text[2 * i] = digits[id->bytes[i] >> 4];
        text[2 * i + 1] = digits[id->bytes[i] & 15];
    }
}

#endif
