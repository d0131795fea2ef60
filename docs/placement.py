#!/usr/bin/env python3
"""Which node owns which granule: docs/PLACEMENT.md as a program, slow and plain.

    placement.py GRANULES HEADROOM <nodes

A line of `nodes` is "id weight zone". Prints a line for each granule: the ids
of its owner and its second node, "-" for nobody."""
import sys

MASK = 2**64 - 1


def cost(node_id, granule, weight):
    key = 0xCBF29CE484222325
    for byte in bytes.fromhex(node_id):
        key = (key ^ byte) * 0x100000001B3 & MASK
    h = key + (granule + 1) * 0x9E3779B97F4A7C15 & MASK
    h = (h ^ h >> 30) * 0xBF58476D1CE4E5B9 & MASK
    h = (h ^ h >> 27) * 0x94D049BB133111EB & MASK
    h = (h ^ h >> 31) or 1
    top = h.bit_length() - 1
    x = (h << 32 >> top) - 2**32
    q = 646535156 - (x * 192732170 >> 32)
    q = 1157828758 - (x * q >> 32)
    q = 1900173326 - (x * q >> 32)
    log = (64 - top << 32) - x - ((x * (2**32 - x) >> 32) * q >> 32)
    return (log << 24) // weight


def match(granules, weights, quotas, allowed):
    room, result = dict(quotas), [None] * granules
    pairs = sorted((cost(i, g, w), g, i) for i, w in weights.items() for g in range(granules) if allowed(g, i))
    for _, g, i in pairs:
        if result[g] is None and room[i] > 0:
            result[g] = i
            room[i] -= 1
    for _, g, i in pairs:
        result[g] = result[g] or i
    return result


def owners(nodes, granules, headroom):
    weights = {i: w for i, w, _ in nodes if w > 0}
    total = sum(weights.values())
    quotas = {i: -(-(1000 + headroom) * granules * w // (1000 * total)) for i, w in weights.items()}
    return match(granules, weights, quotas, lambda g, i: True)


def seconds(nodes, granules, headroom, firsts):
    weights = {i: w for i, w, _ in nodes if w > 0}
    zone = {i: z for i, _, z in nodes}
    if len({zone[i] for i in weights}) < 2:
        zone = {i: i for i in zone}
    avoid = [zone.get(i) for i in firsts]
    share = {}
    for c in set(avoid):
        outside = sum(w for i, w in weights.items() if zone[i] != c)
        share[c] = (avoid.count(c) << 32) // outside if outside else 0
    spread = {i: w * sum(s for c, s in share.items() if c != zone[i]) for i, w in weights.items()}
    quotas = {i: -(-(1000 + headroom) * s // (1000 << 32)) for i, s in spread.items()}
    return match(granules, weights, quotas, lambda g, i: zone[i] != avoid[g])


if __name__ == "__main__":
    granules, headroom = int(sys.argv[1]), int(sys.argv[2])
    nodes = [(i, int(w), z) for i, w, z in map(str.split, sys.stdin)]
    firsts = owners(nodes, granules, headroom)
    for pair in zip(firsts, seconds(nodes, granules, headroom, firsts)):
        print(*(i or "-" for i in pair))
