"""redis-py: a cache life."""

import redis

from check import *

r = redis.Redis(port=REDIS_PORT, client_name="redis-py", socket_timeout=10)


def one_key():
    same("set with a ttl", r.set("one", "value", ex=100), True)
    between("ttl", r.ttl("one"), 99, 100)
    same("get", r.get("one"), b"value")
    same("get of a missing key", r.get("nowhere"), None)
    same("ttl of a missing key", r.ttl("nowhere"), -2)
    same("set nx on what is there", r.set("one", "other", nx=True), None)
    same("set xx keepttl get", r.set("one", "two", xx=True, keepttl=True, get=True), b"value")
    between("ttl was kept", r.pttl("one"), 90000, 100000)
    same("persist", r.persist("one"), True)
    same("getex", r.getex("one", px=50000), b"two")
    same("exists", r.exists("one", "nowhere"), 1)
    same("type", r.type("one"), b"string")
    same("delete", r.delete("one", "nowhere"), 1)
    same("getdel of a missing key", r.getdel("one"), None)


def many_keys():
    same("mset", r.mset({"a": 1, "b": "2", "c": b"3"}), True)
    same("msetnx on what is there", r.msetnx({"c": 4, "d": 4}), False)
    same("mget", r.mget(["a", "nowhere", "b", "c"]), [b"1", None, b"2", b"3"])
    r.mset({f"scan:{i}": i for i in range(300)})
    same("scan_iter", len(set(r.scan_iter(match="scan:*", count=50))), 300)
    same("unlink", r.unlink(*r.keys("scan:*")), 300)
    same("rename", r.rename("a", "z"), True)
    same("copy", r.copy("z", "y"), True)
    same("both", r.mget("a", "y", "z"), [None, b"1", b"1"])


def counters():
    same("incr", r.incr("n"), 1)
    same("incrby", r.incrby("n", 41), 42)
    same("decrby", r.decrby("n", 2), 40)
    same("incrbyfloat", r.incrbyfloat("n", 0.5), 40.5)
    same("append", r.append("text", "abc"), 3)
    same("setrange", r.setrange("text", 1, "XY"), 3)
    same("getrange", r.getrange("text", 1, 1), b"X")
    r.set("text", "abc")
    raises("incr of a text", redis.ResponseError, r.incr, "text")


def transactions():
    r.set("stock", 5)
    with r.pipeline() as pipe:
        pipe.watch("stock")
        left = int(pipe.get("stock"))
        pipe.multi()
        pipe.set("stock", left - 1)
        pipe.get("stock")
        same("exec", pipe.execute(), [True, b"4"])
    with r.pipeline() as pipe:
        pipe.watch("stock")
        r.set("stock", 100)
        pipe.multi()
        pipe.set("stock", 0)
        raises("exec after a change by somebody else", redis.WatchError, pipe.execute)
    same("the change is theirs", r.get("stock"), b"100")
    with r.pipeline(transaction=True) as pipe:
        pipe.set("text", "abc").incr("text").incr("stock")
        got = pipe.execute(raise_on_error=False)
    same("what could be done is done", [got[0], type(got[1]), got[2]], [True, redis.ResponseError, 101])
    same("transaction()", r.transaction(lambda pipe: pipe.multi() or pipe.incr("stock"), "stock"), [102])


def pipelines():
    pipe = r.pipeline(transaction=False)
    for i in range(1000):
        pipe.set(f"p:{i}", i, px=60000).get(f"p:{i}")
    got = pipe.execute()
    same("pipeline of 2000", got, [x for i in range(1000) for x in (True, str(i).encode())])


def any_bytes():
    r.set(KEY, LARGE)
    same("large value", r.get(KEY), LARGE)
    same("strlen", r.strlen(KEY), len(LARGE))
    r.set(BINARY, BINARY)
    same("binary key and value", r.get(BINARY), BINARY)
    r.set("", "")
    same("empty key and value", r.get(""), b"")


def databases():
    other = redis.Redis(port=REDIS_PORT, db=1)
    r.set("here", "0")
    same("another database has other keys", other.get("here"), None)
    other.set("here", "1")
    same("and the first keeps its own", r.get("here"), b"0")
    same("move", other.move("here", 2), True)
    same("flushdb", other.flushdb(), True)
    same("flushdb leaves the first alone", r.get("here"), b"0")
    other.close()


def publishing():
    p = r.pubsub()
    p.subscribe("news")
    p.psubscribe("n*")
    same("subscribed", p.get_message(timeout=5)["type"], "subscribe")
    same("psubscribed", p.get_message(timeout=5)["type"], "psubscribe")
    same("publish", r.publish("news", BINARY), 2)
    same("message", p.get_message(timeout=5)["data"], BINARY)
    same("pmessage", p.get_message(timeout=5)["pattern"], b"n*")
    same("ping while subscribed", p.ping(), None)
    same("pong", p.get_message(timeout=5)["type"], "pong")
    p.unsubscribe()
    p.punsubscribe()
    p.get_message(timeout=5)
    p.get_message(timeout=5)
    p.close()


def asking_the_node():
    same("ping", r.ping(), True)
    same("client name", r.client_getname(), "redis-py")
    true("client list", any(c["name"] == "redis-py" for c in r.client_list()))
    true("info", r.info()["redis_version"])
    true("info memory", r.info("memory")["used_memory"] > 0)
    true("time", r.time()[0] > 1700000000)
    true("config get", "maxmemory" in r.config_get("maxmem*"))
    true("command count", r.command_count() > 50)
    true("command", "get" in r.command())
    same("memory usage", r.memory_usage("nowhere"), None)
    true("object encoding", r.object("encoding", KEY))
    same("slowlog", r.slowlog_reset(), True)
    same("flushall", r.flushall(), True)
    same("dbsize", r.dbsize(), 0)


life(one_key, many_keys, counters, transactions, pipelines, any_bytes, databases, publishing, asking_the_node)
