/* placement.h - which node owns which granule: a pure function of who is there.
 *
 * A granule is a contiguous range of the 16384 slots. Every node computes the
 * same owners, bit for bit, from the same nodes, in whatever order they are
 * named and whatever was before; so may a client, in any language.
 * docs/PLACEMENT.md has the algorithm (version 1 of it), test vectors and
 * measured figures. What this code answers may change with a new version
 * number only: nodes that disagree would send each other's keys around. */
#ifndef CORRAL_PLACEMENT_H
#define CORRAL_PLACEMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cluster/node_id.h"
#include "cluster/slot.h"

enum {
    PLACEMENT_VERSION = 1,
    GRANULES_MIN = 64,
    GRANULES_DEFAULT = 1024,
    GRANULES_MAX = SLOTS,
    /* By how much, in thousandths, a node's share may exceed its part of the weight. Less balances
     * better and moves more; 50 moves a fifth more than the ideal at 100 nodes. */
    HEADROOM_DEFAULT = 50,
    HEADROOM_MAX = 1000,
    PLACEMENT_NODES_MAX = SLOTS,
    NOBODY = 0xffff, /* instead of a node's index */
};

struct placement_node {
    struct node_id id; /* no two alike */
    uint16_t weight;   /* only proportions count; 0: owns nothing */
    uint16_t zone;     /* what fails together has the same number, below PLACEMENT_NODES_MAX */
};

struct placement_rules {
    unsigned granules; /* a power of two, GRANULES_MIN to GRANULES_MAX */
    unsigned headroom; /* thousandths, 0 to HEADROOM_MAX */
};

static inline bool placement_rules_valid(struct placement_rules rules)
{
    return rules.granules >= GRANULES_MIN && rules.granules <= GRANULES_MAX &&
           (rules.granules & (rules.granules - 1)) == 0 && rules.headroom <= HEADROOM_MAX;
}

static inline unsigned granule_of_slot(unsigned slot, unsigned granules)
{
    return slot / (SLOTS / granules);
}

/* Writes the index of each granule's owner; NOBODY everywhere when no node has
 * a weight. False, and owners are undefined, when memory is short. */
bool placement_owners(const struct placement_node *nodes, size_t count, struct placement_rules rules,
                      uint16_t *owners);

/* To each granule's first node (its owner, or whoever has it meanwhile; may be
 * NOBODY) a second one: in another zone than the first where nodes with a
 * weight are in more than one zone, else just another one; as evenly as zones
 * and weights allow. NOBODY where there is no other node with a weight. */
bool placement_seconds(const struct placement_node *nodes, size_t count, struct placement_rules rules,
                       const uint16_t *firsts, uint16_t *seconds);

/* For tests and for other implementations: what a node costs a granule; the cheapest has it. */
uint64_t placement_node_key(const struct node_id *id);
uint64_t placement_cost(uint64_t node_key, unsigned granule, unsigned weight);

#endif
