"""The example of docs/HERDS.md: many readers of one cold key, one fetch."""

import threading
import time

import redis

from check import REDIS_PORT, life, same

r = redis.Redis(port=REDIS_PORT)
fetches = []


def fetch(key):
    fetches.append(key)
    time.sleep(0.1)
    return b"from the origin"


def cached(key, ttl=60):
    reply = r.execute_command("GETLEASE", key, "WAIT", 2000)
    lease = dict(zip(reply[::2], reply[1::2]))
    if lease[b"state"] in (b"live", b"negative"):
        return lease[b"value"]
    value = fetch(key)
    if lease[b"state"] == b"granted":
        r.execute_command("SETLEASE", key, lease[b"token"], value, "EX", ttl)
    return value


def one_fetch():
    got = []
    readers = [threading.Thread(target=lambda: got.append(cached("page:1"))) for _ in range(20)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    same("values", got, [b"from the origin"] * 20)
    same("fetches", len(fetches), 1)


def late_fill():
    token = r.execute_command("GETLEASE", "page:2")[5]
    r.delete("page:2")
    same("late fill", r.execute_command("SETLEASE", "page:2", token, "old"), None)
    same("late value", r.get("page:2"), None)


life(one_fetch, late_fill)
