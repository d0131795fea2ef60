"""pymemcache: a cache life, over one connection and over a pool."""

from pymemcache import serde
from pymemcache.client.base import Client, PooledClient
from pymemcache.client.hash import HashClient
from pymemcache.exceptions import MemcacheClientError, MemcacheIllegalInputError

from check import *

ADDRESS = ("127.0.0.1", MEMCACHE_PORT)
c = Client(ADDRESS, timeout=10, no_delay=True, default_noreply=False)


def one_key():
    same("set with a ttl", c.set("one", "value", expire=100), True)
    same("get", c.get("one"), b"value")
    same("get of a missing key", c.get("nowhere", "default"), "default")
    same("add to what is there", c.add("one", "x"), False)
    same("replace", c.replace("one", "two"), True)
    same("append", c.append("one", "+"), True)
    same("prepend", c.prepend("one", "-"), True)
    same("get the whole", c.get("one"), b"-two+")
    same("touch", c.touch("one", 50), True)
    same("touch of a missing key", c.touch("nowhere", 50), False)
    same("delete", c.delete("one"), True)
    same("delete again", c.delete("one"), False)
    same("set that has expired", c.set("gone", "x", expire=-1), True)
    same("get of it", c.get("gone"), None)


def many_keys():
    same("set_many", c.set_many({"a": "1", "b": "2", "c": "3"}, expire=100), [])
    same("get_many", c.get_many(["a", "nowhere", "c"]), {"a": b"1", "c": b"3"})
    same("delete_many", c.delete_many(["a", "b", "nowhere"]), True)
    keys = {f"many:{i}": str(i) for i in range(500)}
    same("set_many without reply", c.set_many(keys, noreply=True), [])
    same("get_many of 500", len(c.get_many(keys)), 500)


def counters():
    same("incr of a missing key", c.incr("n", 1), None)
    c.set("n", "10")
    same("incr", c.incr("n", 5), 15)
    same("decr stops at zero", c.decr("n", 20), 0)
    c.set("text", "abc")
    raises("incr of a text", MemcacheClientError, c.incr, "text", 1)


def compare_and_swap():
    c.set("swap", "1")
    value, token = c.gets("swap")
    same("gets", value, b"1")
    same("cas", c.cas("swap", "2", token), True)
    same("cas with a token of the past", c.cas("swap", "3", token), False)
    same("cas of a missing key", c.cas("nowhere", "3", token), None)
    same("gets_many", c.gets_many(["swap", "nowhere"])["swap"][0], b"2")


def any_bytes():
    c.set("large", LARGE)
    same("large value", c.get("large"), LARGE)
    c.set("binary", BINARY)
    same("binary value", c.get("binary"), BINARY)
    raises("a key with a blank", MemcacheIllegalInputError, c.set, "a b", "x")
    raises("a key of 251 bytes", MemcacheIllegalInputError, c.set, "k" * 251, "x")
    free = Client(ADDRESS, timeout=10, allow_unicode_keys=True, default_noreply=False)
    free.set(KEY, "x")
    same("non-ascii key", free.get(KEY), b"x")
    free.close()


def objects():
    o = Client(ADDRESS, timeout=10, serde=serde.pickle_serde)
    o.set("object", {"a": [1, "zwei", None]})
    same("object", o.get("object"), {"a": [1, "zwei", None]})
    o.set("number", 42)
    same("number keeps its type by its flags", o.get("number"), 42)
    o.close()


def pools():
    pool = PooledClient(ADDRESS, timeout=10, max_pool_size=4)
    pool.set("pooled", "x")
    same("over a pool", pool.get("pooled"), b"x")
    pool.close()
    ring = HashClient([ADDRESS], timeout=10, use_pooling=True)
    ring.set_many({"r1": "1", "r2": "2"})
    same("over a hash ring", ring.get_many(["r1", "r2"]), {"r1": b"1", "r2": b"2"})
    ring.close()


def asking_the_node():
    true("version", c.version())
    true("stats", c.stats()[b"curr_items"] > 0)
    true("stats settings", b"maxbytes" in c.stats("settings"))
    same("flush_all", c.flush_all(), True)
    same("nothing left", c.get("large"), None)
    c.quit()


life(one_key, many_keys, counters, compare_and_swap, any_bytes, objects, pools, asking_the_node)
