/* keys.h - which words of a request are keys, and which slots and nodes those belong to.
 *
 * The same rules as COMMAND GETKEYS answers by; shard channels count as keys, as in redis. */
#ifndef CORRAL_CLUSTER_KEYS_H
#define CORRAL_CLUSTER_KEYS_H

#include "server/cluster/routes.h"
#include "server/command/command.h"

/* Words first, first + step, ... up to and with `last`. step 0: there are none. */
struct key_words {
    uint32_t first, last, step;
};
/* Of a request whose number of words was found right. */
struct key_words keys_of(const struct command *command, const struct request *rq);
/* Of those lines of memcached's text protocol that may have several. */
struct key_words keys_of_line(const struct request *rq);

static inline uint32_t keys_count(struct key_words keys)
{
    return keys.step > 0 && keys.last >= keys.first ? (keys.last - keys.first) / keys.step + 1 : 0;
}

/* Where the keys of a request, or of several, are. All zero: of none so far. */
struct key_place {
    bool some;         /* there was a key */
    bool many_slots;   /* in more than one slot */
    bool many_holders; /* ... that are not all served by the same node */
    unsigned slot;     /* of the first */
    uint16_t holder;   /* of the first: index of a member, ROUTE_HERE or ROUTE_NOBODY */
};
void keys_place(const struct routes *routes, const struct request *rq, struct key_words keys,
                struct key_place *place);

#endif
