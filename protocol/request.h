/* request.h - what was asked, whatever the dialect.
 *
 * A request is a list of words, the first of which is the verb, and for the
 * memcached storage verbs a block of data. All slices point into the buffer
 * the request was parsed from and die with it. */
#ifndef CORRAL_REQUEST_H
#define CORRAL_REQUEST_H

#include "protocol/bytes.h"

struct request {
    struct slice *argv; /* the parser's caller owns the array */
    uint32_t argc;
    uint32_t argv_max;
    struct slice data; /* memcached: the value that followed the line */
};

enum parse_status {
    PARSE_DONE,      /* one whole request; `consumed` bytes are spent */
    PARSE_MORE,      /* not yet; see `wanted` of the parser for how much more at least */
    PARSE_ARGV_FULL, /* argv is too small: enlarge it (argv_max * 2) and call again */
    PARSE_NOTHING,   /* `consumed` bytes are spent and there is nothing to answer (blank inline line) */
    PARSE_REFUSED,   /* `consumed` bytes are spent; answer parser->error and go on */
    PARSE_BROKEN     /* answer parser->error and close: the stream cannot be trusted any more */
};

#endif
