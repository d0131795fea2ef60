"""Filters through redis-py: its own BF client, and QF by name, against exact sets."""

import random
import sys
import threading

import redis

from check import *

r = redis.Redis(port=REDIS_PORT, socket_timeout=20)
bf = r.bf()
dice = random.Random(7)

try:
    bf.exists("none", "x")
except redis.ResponseError:
    print("the server has no BF.*: a redis-server with RedisBloom would")
    sys.exit(77)


def the_client_understands():
    same("create", bf.create("b", 0.01, 1000), True)
    same("add", bf.add("b", "x"), 1)
    same("add again", bf.add("b", "x"), 0)
    same("madd", bf.madd("b", "x", "y"), [0, 1])
    same("exists", bf.exists("b", "x"), 1)
    same("mexists", bf.mexists("b", "x", "nothing"), [1, 0])
    same("insert", bf.insert("i", ["a", "b", "a"], capacity=10, error=0.001, expansion=4), [1, 1, 0])
    info = bf.info("i")
    same("capacity", info.capacity, 10)
    same("layers", info.filterNum, 1)
    same("items", info.insertedNum, 2)
    same("expansion", info.expansionRate, 4)
    same("type", r.type("b"), b"MBbloom--")
    r.flushdb()


def move(source, target):
    chunks, iterator = 0, 0
    while True:
        iterator, data = bf.scandump(source, iterator)
        if iterator == 0:
            return chunks
        if chunks > 0:
            same("nothing is denied meanwhile", bf.exists(target, "whatever"), 1)
        bf.loadchunk(target, iterator, data)
        chunks += 1


def dumps_and_loads():
    bf.create("large", 0.001, 300000)
    for start in range(0, 700000, 10000):
        bf.madd("large", *range(start, start + 10000))
    between("parts of a megabyte", move("large", "copy"), 3, 10)
    same("card", r.execute_command("BF.CARD", "copy"), r.execute_command("BF.CARD", "large"))
    same("all are there", sum(bf.mexists("copy", *range(100000))), 100000)
    strangers = sum(bf.mexists("copy", *range(1 << 40, (1 << 40) + 200000))) / 200000
    between("false positives", strangers, 0, 0.001)
    same("it takes more", bf.add("copy", "more"), 1)
    r.flushdb()


# What is certain: an item that was added is never denied, while the key is there.
# What is likely: others are, at the rate asked for.
def bloom_model():
    exact, asked, wrong = {}, 0, 0
    for step in range(6000):
        key = f"m:{dice.randrange(8)}"
        what = dice.random()
        items = [dice.randrange(4000) for _ in range(dice.randrange(1, 12))]
        if what < 0.45:
            known = exact.setdefault(key, set())
            added = bf.madd(key, *items)
            for item, new in zip(items, added):
                if item in known and new:
                    same("an item that was there is new", key, item)
                known.add(item)
        elif what < 0.9:
            known = exact.get(key, set())
            for item, maybe in zip(items, bf.mexists(key, *items)):
                if item in known:
                    same(f"{key} has {item}", maybe, 1)
                else:
                    asked, wrong = asked + 1, wrong + maybe
        elif what < 0.92:
            other = f"m:{dice.randrange(8)}"
            if key in exact and other != key:
                r.copy(key, other, replace=True)
                exact[other] = set(exact[key])
        elif what < 0.94:
            other = f"m:{dice.randrange(8)}"
            if key in exact and other != key:
                r.rename(key, other)
                exact[other] = exact.pop(key)
        elif what < 0.95:
            same("delete", r.delete(key), 1 if exact.pop(key, None) is not None else 0)
        elif what < 0.96 and key in exact:
            bf.insert("moved", ["x"])
            r.delete("moved")
            move(key, "moved")
            r.rename("moved", key)
        elif what < 0.97:
            same("exists", r.exists(key), 1 if key in exact else 0)
    between("rate of false positives", wrong / asked, 0, 0.012)
    r.flushdb()


# Counts are exact but for items that share a fingerprint: never too low, rarely too high.
def quotient_model():
    exact, asked, wrong = {}, 0, 0

    def qf(verb, *words):
        return r.execute_command("QF." + verb, *words)

    qf("RESERVE", "q:0", 0.001, 500)
    exact["q:0"] = {}
    for step in range(12000):
        key = f"q:{dice.randrange(4)}"
        item, what = dice.randrange(1500), dice.random()
        counts = exact.get(key)
        if what < 0.5:
            n = dice.choice([1, 1, 1, 2, 7, 1000])
            counts = exact.setdefault(key, {})
            counts[item] = counts.get(item, 0) + n
            between("count after add", qf("ADD", key, item, n), counts[item], float("inf"))
        elif what < 0.65 and counts and counts.get(item, 0) > 0:
            n = dice.randrange(1, counts[item] + 1)
            same("taken away", qf("DEL", key, item, n), n)
            counts[item] -= n
        elif what < 0.99:
            has, got = (counts or {}).get(item, 0), qf("COUNT", key, item)
            between("count", got, has, float("inf"))
            same("exists", qf("EXISTS", key, item), 1 if got > 0 else 0)
            asked, wrong = asked + 1, wrong + (got != has)
        elif what < 0.995 and len(exact) > 1:
            source = dice.choice(sorted(exact))
            try:
                qf("MERGE", key, source)
            except redis.ResponseError as e:
                same("shorter fingerprints", "shorter" in str(e), True)
                continue
            mine = exact.setdefault(key, {})
            for item, n in list(exact[source].items()):
                mine[item] = mine.get(item, 0) + n
    between("rate of wrong counts", wrong / asked, 0, 0.012)
    for key, counts in exact.items():
        info = qf("INFO", key)
        info = dict(zip(info[::2], info[1::2]))
        same("sum of counts", info[b"Sum of counts"], sum(counts.values()))
    r.flushdb()


# What one connection was told that it was added, all others find, whichever worker serves them.
def adders_and_askers():
    keys, acked, failed = 4, {}, []

    def adder(n):
        c = redis.Redis(port=REDIS_PORT, socket_timeout=20)
        for i in range(3000):
            key, item = f"t:{i % keys}", f"{n}:{i}"
            c.execute_command("BF.ADD", key, item)
            acked[n] = i

    def asker():
        c, mine = redis.Redis(port=REDIS_PORT, socket_timeout=20), random.Random()
        while any(t.is_alive() for t in adders):
            n = mine.randrange(3)
            if n not in acked:
                continue
            i = mine.randrange(acked[n] + 1)
            if c.execute_command("BF.EXISTS", f"t:{i % keys}", f"{n}:{i}") != 1:
                failed.append((n, i))

    adders = [threading.Thread(target=adder, args=(n,)) for n in range(3)]
    askers = [threading.Thread(target=asker) for _ in range(3)]
    for t in adders + askers:
        t.start()
    for t in adders + askers:
        t.join()
    same("denied", failed, [])
    r.flushdb()


life(the_client_understands, dumps_and_loads, bloom_model, quotient_model, adders_and_askers)
