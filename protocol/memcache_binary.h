/* memcache_binary.h - memcached's binary protocol: packets of a fixed header,
 * extras, a key and a value.
 *
 *   byte  0 magic 0x80   1 opcode   2-3 key length   4 extras length   5 type (ignored)
 *         6-7 (ignored)  8-11 body length = extras + key + value
 *        12-15 opaque, comes back with the answer    16-23 cas
 *
 * Numbers are big endian. Follows memcached's protocol_binary description and,
 * where that leaves room, what memcached 1.6.18 answers. The parser looks at
 * the shape of a packet only; which extras an opcode wants is its caller's
 * business, who finds them in front of everything else.
 *
 * Pure: no memory is allocated, nothing is kept but struct binary_parser. */
#ifndef CORRAL_MEMCACHE_BINARY_H
#define CORRAL_MEMCACHE_BINARY_H

#include "protocol/request.h"

enum {
    BINARY_MAGIC = 0x80, /* the first byte of every request; no text command begins with it */
    BINARY_HEADER = 24,
    BINARY_KEY_MAX = 250,
    BINARY_AUTH_MAX = 1024, /* bytes of what goes with SASL AUTH: two names and a password */
};

enum binary_opcode {
    BINARY_GET = 0x00,
    BINARY_SET = 0x01,
    BINARY_ADD = 0x02,
    BINARY_REPLACE = 0x03,
    BINARY_DELETE = 0x04,
    BINARY_INCREMENT = 0x05,
    BINARY_DECREMENT = 0x06,
    BINARY_QUIT = 0x07,
    BINARY_FLUSH = 0x08,
    BINARY_GETQ = 0x09,
    BINARY_NOOP = 0x0a,
    BINARY_VERSION = 0x0b,
    BINARY_GETK = 0x0c,
    BINARY_GETKQ = 0x0d,
    BINARY_APPEND = 0x0e,
    BINARY_PREPEND = 0x0f,
    BINARY_STAT = 0x10,
    BINARY_SETQ = 0x11,
    BINARY_ADDQ = 0x12,
    BINARY_REPLACEQ = 0x13,
    BINARY_DELETEQ = 0x14,
    BINARY_INCREMENTQ = 0x15,
    BINARY_DECREMENTQ = 0x16,
    BINARY_QUITQ = 0x17,
    BINARY_FLUSHQ = 0x18,
    BINARY_APPENDQ = 0x19,
    BINARY_PREPENDQ = 0x1a,
    BINARY_TOUCH = 0x1c,
    BINARY_GAT = 0x1d,
    BINARY_GATQ = 0x1e,
    BINARY_SASL_LIST = 0x20,
    BINARY_SASL_AUTH = 0x21,
    BINARY_SASL_STEP = 0x22,
    BINARY_GATK = 0x23,
    BINARY_GATKQ = 0x24,
    BINARY_OPCODES = 0x25, /* one more than the highest */
};

enum binary_status {
    BINARY_OK = 0x00,
    BINARY_NOT_FOUND = 0x01,
    BINARY_EXISTS = 0x02,
    BINARY_TOO_LARGE = 0x03,
    BINARY_INVALID = 0x04,
    BINARY_NOT_STORED = 0x05,
    BINARY_NOT_A_NUMBER = 0x06,
    BINARY_AUTH_FAILURE = 0x20,
    BINARY_UNKNOWN = 0x81,
    BINARY_NO_MEMORY = 0x82,
    BINARY_INTERNAL = 0x84,
};

struct binary_header {
    uint8_t opcode;
    uint8_t extras_len;
    uint16_t key_len;
    uint32_t body_len; /* extras, key and value together */
    uint32_t opaque;
    uint64_t cas;
};
/* head: at least BINARY_HEADER bytes. */
struct binary_header binary_header_decode(const uint8_t *head);
/* The lengths agree with each other, and the key is none that memcached never takes. */
static inline bool binary_header_fits(const struct binary_header *h)
{
    return (uint32_t)h->key_len + h->extras_len <= h->body_len && h->key_len <= BINARY_KEY_MAX;
}

/* All zeroes is a parser ready for its first packet. It holds no pointer into
 * the buffer, so the buffer may move between two calls. */
struct binary_parser {
    size_t wanted;  /* PARSE_MORE: bytes, counted from the start of the packet */
    size_t swallow; /* bytes of a refused value still to come, to be thrown away */
};

/* buf..len is everything not yet consumed, from the first byte of a packet.
 * value_max is the longest value taken, in bytes.
 *
 * PARSE_DONE       argv[0] is the header with its extras behind it, argv[1] the
 *                  key (argc 1: none), data the value.
 * PARSE_MORE       nothing consumed; parser->wanted > len.
 * PARSE_ARGV_FULL  nothing consumed; two slots are needed.
 * PARSE_NOTHING    a piece of a refused value went by.
 * PARSE_REFUSED    argv as for PARSE_DONE, no data: the value is too long, or one
 *                  that this opcode (with these extras) does not take, and will be
 *                  thrown away. Or the header contradicts itself
 *                  (!binary_header_fits): argv[0] is the header alone, and what
 *                  follows cannot be understood.
 * PARSE_BROKEN     no packet begins here: close without a word.
 *
 * The result never depends on how the bytes were cut into calls, except into
 * how many PARSE_NOTHINGs a swallowed value falls. */
enum parse_status binary_parse(struct binary_parser *parser, size_t value_max, const uint8_t *buf, size_t len,
                               struct request *request, size_t *consumed);

/* Extras of a request, big endian. */
uint32_t binary_u32(const uint8_t *p);
uint64_t binary_u64(const uint8_t *p);

/* Replies. Each writes at p, where the caller guarantees the room given, and
 * returns the first free byte. Opcode and opaque are the request's. */

uint8_t *binary_put_u32(uint8_t *p, uint32_t v);
uint8_t *binary_put_u64(uint8_t *p, uint64_t v);

/* BINARY_HEADER bytes; the caller adds extras, key and value. */
uint8_t *binary_put_header(uint8_t *p, const struct binary_header *request, enum binary_status status,
                           size_t extras_len, size_t key_len, size_t value_len, uint64_t cas);

#define BINARY_ERROR_ROOM 96
/* A header and memcached's words for the status. */
uint8_t *binary_put_error(uint8_t *p, const struct binary_header *request, enum binary_status status);

#define BINARY_STAT_ROOM(name_len, value_len) (BINARY_HEADER + (size_t)(name_len) + (size_t)(value_len))
/* One packet of the answer to STAT; the last has neither name nor value. */
uint8_t *binary_put_stat(uint8_t *p, const struct binary_header *request, struct slice name,
                         struct slice value);

#endif
