"""redis-py: a cache life in a cluster of three, by a client that knows the slots.

REDIS_PORT is the cluster-client-port of one node."""

import redis
from redis.cluster import RedisCluster

from check import *

r = RedisCluster(host="127.0.0.1", port=REDIS_PORT, socket_timeout=10)


def nodes():
    same("masters", len(r.get_primaries()), 3)
    same("all slots", len(r.nodes_manager.slots_cache), 16384)
    same("info of every node", len(r.info("server", target_nodes=RedisCluster.ALL_NODES)), 3)
    same("keyslot", r.cluster_keyslot("foo"), 12182)


def one_key():
    for i in range(300):
        same("set", r.set(f"key:{i}", i, ex=100), True)
    for i in range(300):
        same("get", r.get(f"key:{i}"), str(i).encode())
    same("each node has some", min(r.dbsize(target_nodes=n) for n in r.get_primaries()) > 50, True)
    same("dbsize of all", r.dbsize(target_nodes=RedisCluster.PRIMARIES), 300)
    between("ttl", r.ttl("key:1"), 99, 100)
    same("get of a missing key", r.get("nowhere"), None)
    same("binary", (r.set(KEY, BINARY), r.get(KEY)), (True, BINARY))
    same("large", (r.set("large", LARGE), r.get("large")), (True, LARGE))
    same("incr", [r.incr("n"), r.incrby("n", 41)], [1, 42])


def many_keys():
    same("mset", r.mset_nonatomic({f"many:{i}": i for i in range(100)}) is not None, True)
    got = r.mget_nonatomic([f"many:{i}" for i in range(100)] + ["nowhere"])
    same("mget", got, [str(i).encode() for i in range(100)] + [None])
    same("exists", r.exists(*[f"many:{i}" for i in range(100)]), 100)
    same("delete", r.delete(*[f"many:{i}" for i in range(100)]), 100)
    same("tags", (r.mset({"{t}a": 1, "{t}b": 2}), r.mget("{t}b", "{t}a")), (True, [b"2", b"1"]))
    same("rename", (r.rename("{t}a", "{t}c"), r.get("{t}c")), (True, b"1"))
    same("scan", len(set(r.scan_iter(match="key:*", count=50))), 300)
    same("keys", len(r.keys("key:*", target_nodes=RedisCluster.PRIMARIES)), 300)


def pipelines():
    pipe = r.pipeline()
    for i in range(100):
        pipe.set(f"pipe:{i}", i)
        pipe.get(f"pipe:{i}")
    same("pipeline", pipe.execute(), [x for i in range(100) for x in (True, str(i).encode())])


def refusals():
    node = r.get_node_from_key("foo")
    one = redis.Redis(port=node.port, socket_timeout=10)
    raises("several slots", redis.ResponseError, one.execute_command, "MGET", "foo", "bar")
    raises("another database", redis.ResponseError, one.execute_command, "SELECT", 1)
    same("a transaction", one.pipeline().set("{foo}1", 1).incr("{foo}1").execute(), [True, 2])


def messages():
    here, there = r.get_primaries()[:2]
    listener = redis.Redis(port=here.port, socket_timeout=10).pubsub()
    listener.subscribe("news")
    same("subscribed", listener.get_message(timeout=10)["type"], "subscribe")
    other = redis.Redis(port=there.port, socket_timeout=10)
    same("nobody on that node", other.publish("news", "hello"), 0)
    same("heard all the same", listener.get_message(timeout=10)["data"], b"hello")


def the_end():
    same("flushall", set(r.flushall(target_nodes=RedisCluster.PRIMARIES).values()), {True})
    same("nothing left", r.dbsize(target_nodes=RedisCluster.PRIMARIES), 0)


life(nodes, one_key, many_keys, pipelines, refusals, messages, the_end)
