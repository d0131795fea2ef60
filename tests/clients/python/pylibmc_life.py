"""pylibmc, which is libmemcached: a cache life over the text and the binary protocol.

    pylibmc_life.py text|binary
"""

import sys

import pylibmc

from check import *

BINARY_PROTOCOL = sys.argv[1] == "binary"
c = pylibmc.Client(
    [f"127.0.0.1:{MEMCACHE_PORT}"], binary=BINARY_PROTOCOL, behaviors={"tcp_nodelay": True, "cas": True}
)


def one_key():
    same("set with a ttl", c.set("one", "value", time=100), True)
    same("get", c.get("one"), "value")
    same("get of a missing key", c.get("nowhere"), None)
    same("add to what is there", c.add("one", "x"), False)
    same("replace", c.replace("one", b"two"), True)
    same("append", c.append("one", b"+"), True)
    same("prepend", c.prepend("one", b"-"), True)
    same("get the whole", c.get("one"), b"-two+")
    same("touch", c.touch("one", 50), True)
    same("delete", c.delete("one"), True)
    same("delete again", c.delete("one"), False)


def many_keys():
    same("set_multi", c.set_multi({"a": 1, "b": "zwei", "c": [3]}, time=100), [])
    same("get_multi", c.get_multi(["a", "nowhere", "b", "c"]), {"a": 1, "b": "zwei", "c": [3]})
    keys = {f"many:{i}": i for i in range(500)}
    same("set_multi of 500", c.set_multi(keys, key_prefix="p:"), [])
    same("get_multi of 500", c.get_multi(list(keys), key_prefix="p:"), keys)
    same("delete_multi", c.delete_multi(["a", "b", "c"]), True)


def counters():
    raises("incr of a missing key", pylibmc.NotFound, c.incr, "n")
    c.set("n", 10)
    same("incr", c.incr("n", 5), 15)
    same("decr", c.decr("n", 3), 12)
    same("decr stops at zero", c.decr("n", 100), 0)


def compare_and_swap():
    c.set("swap", "1")
    value, token = c.gets("swap")
    same("gets", value, "1")
    same("cas", c.cas("swap", "2", token), True)
    same("cas with a token of the past", c.cas("swap", "3", token), False)


def any_bytes():
    # min_compress_len 0: as it is.
    c.set("large", LARGE)
    same("large value", c.get("large"), LARGE)
    c.set("packed", LARGE, min_compress_len=1000)
    same("compressed value", c.get("packed"), LARGE)
    c.set("binary", BINARY)
    same("binary value", c.get("binary"), BINARY)
    c.set(KEY, "x")
    same("non-ascii key", c.get(KEY), "x")


def pools():
    pool = pylibmc.ThreadMappedPool(c)
    with pool.reserve() as mine:
        mine.set("pooled", "x")
        same("over a pool", mine.get("pooled"), "x")
    pool.relinquish()


def asking_the_node():
    name, figures = c.get_stats()[0]
    true("stats", int(figures["curr_items"]) > 0)
    same("flush_all", c.flush_all(), True)
    same("nothing left", c.get("large"), None)
    c.disconnect_all()


life(one_key, many_keys, counters, compare_and_swap, any_bytes, pools, asking_the_node)
