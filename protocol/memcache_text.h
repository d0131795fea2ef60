/* memcache_text.h - memcached's text dialects: lines of words, some followed
 * by a block of data. One parser serves the classic and the meta commands; what
 * the flags of a meta command mean is memcache_meta.h's business.
 *
 * Follows memcached's protocol.txt and, where that leaves room, what memcached
 * 1.6.18 answers, byte for byte. Words are separated by blanks only (a tab is
 * part of a word); a line ends at \n, and a \r before it is dropped. Verbs are
 * lower case.
 *
 * Pure: no memory is allocated, nothing is kept but struct memcache_parser. */
#ifndef CORRAL_MEMCACHE_TEXT_H
#define CORRAL_MEMCACHE_TEXT_H

#include "protocol/request.h"

enum {
    MEMCACHE_KEY_MAX = 250,   /* bytes; for a base64 key, of its encoded form */
    MEMCACHE_LINE_MAX = 2048, /* bytes before \n, for verbs that do not take a list of keys */
};
#define MEMCACHE_KEY_LIST_MAX   ((size_t)64 * 1024 * 1024) /* bytes of a line with a list of keys */
#define MEMCACHE_VALUE_MAX_EVER ((size_t)INT32_MAX - 2)    /* a longer declared length is a bad line */

/* All zeroes is a parser ready for its first request. It holds no pointer into
 * the buffer, so the buffer may move between two calls. */
struct memcache_parser {
    const char *error; /* PARSE_REFUSED, PARSE_BROKEN: the reply line, without \r\n */
    size_t wanted;     /* PARSE_MORE: bytes, counted from the start of the request */
    size_t seen;       /* bytes of this line known to hold no \n */
    size_t swallow;    /* bytes of a refused value still to come, to be thrown away */
    bool silent;       /* PARSE_REFUSED: the request said noreply; do not send the error */
    bool too_large;    /* PARSE_REFUSED: the value was; what argv[1] holds must go too */
};

/* buf..len is everything not yet consumed, from the first byte of a request.
 * Call again with the same bytes and more of them after PARSE_MORE.
 * value_max is the longest value taken (item size limit), in bytes.
 *
 * PARSE_DONE       argv, argc (>= 1) and, for set add replace append prepend
 *                  cas lease-set ms, data (without its \r\n). Classic storage
 *                  lines were checked with memcache_store_decode() or
 *                  memcache_lease_decode(), `ms` only for its length: its flags
 *                  are for meta_decode().
 * PARSE_MORE       nothing consumed; parser->wanted > len. A call with len 0 gives this.
 * PARSE_ARGV_FULL  nothing consumed; request->argc says how many slots are needed.
 * PARSE_NOTHING    a piece of a refused value went by; any amount may be
 *                  consumed at a time, so the value is never held in memory.
 * PARSE_REFUSED    reply with parser->error unless parser->silent, and go on.
 *                  argv and argc (0 for a blank line) are as for PARSE_DONE.
 * PARSE_BROKEN     the line has no end. memcached closes without a word, so
 *                  parser->error is "": close.
 *
 * The result never depends on how the bytes were cut into calls, except into
 * how many PARSE_NOTHINGs a swallowed value falls. The work over all calls is
 * linear. *consumed is 0 unless bytes are spent. */
enum parse_status memcache_parse(struct memcache_parser *parser, size_t value_max, const uint8_t *buf,
                                 size_t len, struct request *request, size_t *consumed);

/* The last word is "noreply". What that means, if anything, depends on the verb. */
static inline bool memcache_noreply(const struct request *request)
{
    const struct slice *last = &request->argv[request->argc - 1];

    return last->len == 7 && memcmp(last->data, "noreply", 7) == 0;
}

/* A classic storage line, decoded. */
struct memcache_store {
    uint64_t cas;   /* `cas` only, else 0 */
    uint64_t token; /* `lease-set` only, else 0 */
    uint32_t flags;
    uint32_t bytes;  /* of the value, without \r\n */
    int64_t exptime; /* seconds, as the client wrote it: relative, absolute or negative */
};
/* <verb> <key> <flags> <exptime> <bytes> [<cas>] [noreply]. NULL when it is
 * well formed, else the reply line. with_cas: the verb is `cas`. */
const char *memcache_store_decode(const struct request *request, bool with_cas, struct memcache_store *out);
/* The same of lease-set, as mcrouter writes it: <verb> <key> <token> <flags> <exptime> <bytes> [noreply]. */
const char *memcache_lease_decode(const struct request *request, struct memcache_store *out);

/* Numbers the way memcached reads a token: an optional sign (a minus only where
 * it is signed, or before 0), leading zeros, and a tab or CR around the digits
 * are fine. One that does not fit the type is refused; memcached keeps its low
 * 32 bits, which stores other flags and times than the client meant. */
bool memcache_i64(struct slice s, int64_t *out);  /* exptime */
bool memcache_u32(struct slice s, uint32_t *out); /* flags, verbosity */
bool memcache_u64(struct slice s, uint64_t *out); /* cas, delta */

/* Replies. Each writes at p, where the caller guarantees the room given, and
 * returns the first free byte. */

#define MEMCACHE_END       "END\r\n"
#define MEMCACHE_STORED    "STORED\r\n"
#define MEMCACHE_EXISTS    "EXISTS\r\n"
#define MEMCACHE_NOT_FOUND "NOT_FOUND\r\n"
#define MEMCACHE_DELETED   "DELETED\r\n"
#define MEMCACHE_TOUCHED   "TOUCHED\r\n"
#define MEMCACHE_OK        "OK\r\n"
#define MEMCACHE_ERROR     "ERROR\r\n"
/* "NOT_STORED\r\n" and the longer error lines are memcache_put_line's. */

#define MEMCACHE_LINE_ROOM(len) ((size_t)(len) + 2)
uint8_t *memcache_put_line(uint8_t *p, struct slice text); /* adds \r\n */

#define MEMCACHE_VALUE_ROOM(key_len) ((size_t)(key_len) + 64)
/* VALUE <key> <flags> <bytes>\r\n; the caller adds data and \r\n. */
uint8_t *memcache_put_value(uint8_t *p, struct slice key, uint32_t flags, size_t bytes);
/* VALUE <key> <flags> <bytes> <cas>\r\n */
uint8_t *memcache_put_value_cas(uint8_t *p, struct slice key, uint32_t flags, size_t bytes, uint64_t cas);

/* LVALUE <key> <token> <flags> <bytes>\r\n: a miss of lease-get. Token 1 says
 * that another client is on it, a larger one that this client may fill it. */
uint8_t *memcache_put_lvalue(uint8_t *p, struct slice key, uint64_t token, uint32_t flags, size_t bytes);

#define MEMCACHE_NUMBER_ROOM 22
uint8_t *memcache_put_number(uint8_t *p, uint64_t v); /* <v>\r\n */

#endif
