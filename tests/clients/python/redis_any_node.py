"""redis-py: a cache life in a cluster of three, by a client that knows of one node and of no cluster.

REDIS_PORT is the ordinary port of one node, REDIS_PORTS those of all."""

import os

import redis

from check import *

r = redis.Redis(port=REDIS_PORT, socket_timeout=10)
others = [redis.Redis(port=int(p), socket_timeout=10) for p in os.environ["REDIS_PORTS"].split()]


def one_key():
    for i in range(300):
        same("set", r.set(f"key:{i}", i), True)
    for other in others:
        for i in range(0, 300, 7):
            same("get", other.get(f"key:{i}"), str(i).encode())
        same("dbsize", other.dbsize(), 300)
    same("large", (r.set("large", LARGE), others[1].get("large"), others[2].get("large")), (True, LARGE, LARGE))
    same("delete", others[1].delete("large"), 1)


def many_keys():
    many = {f"many:{i}": str(i).encode() * 50 for i in range(200)}
    same("mset", r.mset(many), True)
    for other in others:
        same("mget", other.mget([*many, "nowhere", "many:3"]), [*many.values(), None, many["many:3"]])
    same("large ones", r.mset({f"large:{i}": LARGE[: 100000 + i] for i in range(9)}), True)
    same("and back", others[1].mget([f"large:{i}" for i in range(9)]), [LARGE[: 100000 + i] for i in range(9)])
    same("exists", r.exists(*many, "nowhere"), 200)
    same("touch", r.touch(*many), 200)
    same("unlink", r.unlink(*[f"large:{i}" for i in range(9)]), 9)
    same("delete", others[2].delete(*many, "nowhere"), 200)
    same("wrong arity", "wrong number" in str(error_of(r, "MSET", "a", 1, "b")), True)


def error_of(r, *words):
    try:
        return r.execute_command(*words)
    except redis.ResponseError as e:
        return e


def two_keys():
    spread = [k for k in (f"spread:{i}" for i in range(50))]
    r.mset({k: k for k in spread})
    same("rename with tags", (r.set("{u}a", 1), r.rename("{u}a", "{u}b"), r.get("{u}b")), (True, True, b"1"))
    same("copy with tags", (r.copy("{u}b", "{u}c"), r.mget("{u}b", "{u}c")), (True, [b"1", b"1"]))
    same("msetnx with tags", (r.msetnx({"{u}x": 1, "{u}y": 2}), r.msetnx({"{u}y": 1, "{u}z": 2})), (True, False))
    told = [error_of(r, "RENAME", spread[0], k) for k in spread[1:]]
    same("rename across", any("braces" in str(t) for t in told), True)
    r.delete(*spread, "{u}b", "{u}c", "{u}x", "{u}y", *[k for k in r.keys("spread*")])


def all_keys():
    want = {f"key:{i}".encode() for i in range(300)}
    for other in others:
        same("keys", sorted(other.keys("*")), sorted(want))
        same("scan", set(other.scan_iter(count=20)), want)
        same("randomkey", {other.randomkey() for _ in range(30)} <= want, True)


def transactions():
    for i in range(30):
        key = f"tx:{i}"
        same("on one node", r.pipeline().set(key, i).incr(key).get(key).execute(), [True, i + 1, str(i + 1).encode()])
    pipe = r.pipeline()
    for i in range(30):
        pipe.set(f"tx:{i}", 0)
    raises("on several", redis.ResponseError, pipe.execute)
    same("nothing was done", r.get("tx:3"), b"4")
    same("still in order", r.get("tx:4"), b"5")
    raises("tracking", redis.ResponseError, r.execute_command, "CLIENT", "TRACKING", "ON")
    raises("swapdb", redis.ResponseError, r.swapdb, 0, 1)


def messages():
    listeners = [o.pubsub() for o in others]
    for one in listeners:
        one.subscribe("news")
        same("subscribed", one.get_message(timeout=10)["type"], "subscribe")
    same("one hears it from this node", r.publish("news", "hello"), 1)
    for one in listeners:
        same("heard", one.get_message(timeout=10)["data"], b"hello")


def databases():
    db = redis.Redis(port=REDIS_PORT, db=3, socket_timeout=10)
    same("another database", (db.mset({f"key:{i}": "three" for i in range(30)}), db.dbsize()), (True, 30))
    same("is another one", r.mget("key:1", "key:2"), [b"1", b"2"])
    same("flushdb", (db.flushdb(), db.dbsize(), r.dbsize()), (True, 0, 330))


def the_end():
    same("flushall", (others[1].flushall(), [o.dbsize() for o in others]), (True, [0, 0, 0]))
    same("randomkey of nothing", r.randomkey(), None)
    same("keys of nothing", r.keys(), [])


life(one_key, many_keys, two_keys, all_keys, transactions, messages, databases, the_end)
