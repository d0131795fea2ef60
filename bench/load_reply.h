/* load_reply.h - the answers of a server, counted as they stream in.
 *
 * A parser belongs to one connection and remembers what was cut off between
 * two reads, wherever that was. It takes replies one at a time, each judged
 * against what was asked: a value's length always, its content when told to.
 * A refusal by the server is an error to count; bytes that cannot be the
 * answer end the connection, for nothing after them can be trusted. */
#ifndef CORRAL_BENCH_LOAD_REPLY_H
#define CORRAL_BENCH_LOAD_REPLY_H

#include "bench/load_data.h"
#include "protocol/bytes.h"

enum load_protocol { LOAD_RESP, LOAD_MEMCACHE, LOAD_META };

/* One request under way. */
struct reply_asked {
    bool is_set;
    uint32_t keys;       /* 1, or more for a multi-get */
    const uint32_t *ids; /* `keys` of them */
};

struct reply_tally {
    uint64_t hits;
    uint64_t misses;
    uint64_t stored;
    uint64_t errors;  /* refused by the server */
    uint64_t corrupt; /* values of a wrong length, or (when verifying) with wrong bytes */
};

enum reply_status {
    REPLY_DONE,  /* one reply is complete; ask again with the next request */
    REPLY_MORE,  /* all bytes are spent, the reply is not complete */
    REPLY_BROKEN /* not an answer to what was asked; see reply_complaint */
};

struct reply_parser;

/* The parser looks at `data` for as long as it lives. NULL when memory is short. */
struct reply_parser *reply_parser_new(enum load_protocol protocol, const struct load_data *data, bool verify);
void reply_parser_free(struct reply_parser **p);

/* Spends bytes from the front of `in`, adds to `tally`. */
enum reply_status reply_take(struct reply_parser *p, struct slice *in, const struct reply_asked *asked,
                             struct reply_tally *tally);

/* After REPLY_BROKEN the line that broke it, else the first refusal; "" when there was none. */
const char *reply_complaint(const struct reply_parser *p);

#endif
