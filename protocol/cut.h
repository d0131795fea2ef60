/* cut.h - replies taken apart again: what nodes have answered becomes one answer. Pure.
 *
 * The replies are those of a node of this cluster, as a client of RESP2, RESP3 or
 * memcached's text protocol would get them. Nothing is trusted all the same: what
 * is cut off whole is whole, and what is not whole is not cut off. */
#ifndef CORRAL_CUT_H
#define CORRAL_CUT_H

#include "protocol/bytes.h"

enum { CUT_DEPTH_MAX = 8 }; /* of arrays within arrays */

/* The first whole RESP reply, all that lies within it included; `left` then begins behind it. False: there is
 * none, and `left` is as it was. */
bool cut_reply(struct slice *left, struct slice *reply);
/* The head of an array, set or push: how many replies follow. A null array has none, and is false. */
bool cut_array(struct slice *left, size_t *count);
/* A whole reply that is an integer. */
bool cut_integer(struct slice reply, int64_t *value);
/* A whole reply that is a bulk, and not null. */
bool cut_bulk(struct slice reply, struct slice *value);

/* "VALUE <key> ...", its data and the line end behind that: one hit of a get. Or LVALUE, a miss of lease-get.
 */
bool cut_value(struct slice *left, struct slice *key, struct slice *hit);

/* A reply that says what went wrong, in either family of protocols. */
bool cut_is_error(struct slice reply);

#endif
