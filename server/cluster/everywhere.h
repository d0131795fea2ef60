/* everywhere.h - requests that mean the whole cluster, whichever node they reach: FLUSHALL, FLUSHDB, DBSIZE,
 * KEYS, SCAN, RANDOMKEY, PUBLISH, SPUBLISH and memcached's flush_all.
 *
 * Each member that has not failed is asked to do its own part (PEER_LOCAL), the node's own handler runs when
 * all have answered, and the answers become one. A member that does not answer within
 * cluster-forward-timeout makes it an error, as half a DBSIZE would pass for a whole one; one that leaves the
 * cluster meanwhile is left out, one that joins is not asked any more. RANDOMKEY takes whom it can get.
 *
 * SCAN goes from node to node, in the order of their ids; the cursor says which one is at it:
 *
 *   0: the beginning    bits 42 and up: the node's number    below: the node's own cursor
 *
 * A node's number is the first 16 bits of its id, or the next number that is free when the one before it has
 * that (then, if the other of such two leaves while a SCAN is under way, that SCAN may pass over the rest of
 * this node). When a node leaves, its part is over. Keys that stay where they are all the while are listed at
 * least once; one that moves may be listed twice, or not at all.
 *
 * PUBLISH and SPUBLISH tell the others and do not wait for them: as in redis cluster, the count is of those
 * who hear it from this node. What one client publishes arrives everywhere in the order it was sent; what the
 * link to a node has no room for is lost, and counted. */
#ifndef CORRAL_EVERYWHERE_H
#define CORRAL_EVERYWHERE_H

#include "server/command/command.h"
#include "server/exec.h"

struct view;

/* Whether it is one of those that wait for the others. */
bool everywhere_knows(const struct command *command);
bool everywhere_knows_line(const struct request *rq);

/* As several_ready() and several_end(). `rq` of a line may be of the binary protocol, in words; `packet` is
 * then the request as it came, else the same. */
bool everywhere_ready(struct exec *x, const struct command *command, struct request **rq);
bool everywhere_ready_line(struct exec *x, const struct request *rq, const struct request *packet);
void everywhere_end(struct exec *x, const struct command *command);

/* KEYS has gone through all that is here: how many the other nodes have listed, and those. Ends the gather.
 */
size_t everywhere_keys(const struct exec *x);
void everywhere_put_keys(struct exec *x);

/* For PUBLISH and SPUBLISH: says the same to all other nodes. */
void everywhere_tell(struct exec *x, const struct request *rq);

/* For tests. The number of a member, by which cursors know it; and who is to go on where `cursor` says:
 * NOBODY when nobody is. `at` is then that node's own cursor. */
uint32_t scan_number(const struct view *view, uint16_t member);
uint16_t scan_member(const struct view *view, uint64_t cursor, uint64_t *at);
/* The cursor to go on with after `member` has answered `at`. */
uint64_t scan_next(const struct view *view, uint16_t member, uint64_t at);

#endif
