"""pymemcache: a cache life in a cluster of three: by one node, by all nodes with a hash of the client's own,
and by the nodes that config get cluster tells.

    pymemcache_cluster.py one|all|discovered

MEMCACHE_PORT is the port of one node, MEMCACHE_PORTS those of all."""

import os
import socket
import sys

from pymemcache.client.base import Client
from pymemcache.client.hash import HashClient

from check import *

PORTS = [int(p) for p in os.environ["MEMCACHE_PORTS"].split()]


def discovered():
    with socket.create_connection(("127.0.0.1", MEMCACHE_PORT), timeout=10) as s:
        s.sendall(b"config get cluster\r\n")
        lines = s.makefile("rb")
        true("a configuration", lines.readline().startswith(b"CONFIG cluster 0 "))
        between("version", int(lines.readline()), 1, 2**63)
        nodes = [node.split(b"|") for node in lines.readline().split()]
    return sorted((address.decode(), int(port)) for _, address, port in nodes)


def client():
    if sys.argv[1] == "one":
        return Client(("127.0.0.1", MEMCACHE_PORT), timeout=10)
    nodes = [("127.0.0.1", p) for p in PORTS]
    if sys.argv[1] == "discovered":
        same("the nodes", discovered(), sorted(nodes))
        nodes = discovered()
    return HashClient(nodes, timeout=10, connect_timeout=10)


c = client()
others = [Client(("127.0.0.1", p), timeout=10) for p in PORTS]


def one_key():
    for i in range(200):
        same("set", c.set(f"key:{i}", b"%d" % i, noreply=False), True)
    for other in others:
        for i in range(0, 200, 7):
            same("get", other.get(f"key:{i}"), b"%d" % i)
    same("add", (c.add("key:1", b"x", noreply=False), c.add("new", b"x", noreply=False)), (False, True))
    same("incr", (c.set("n", b"1", noreply=False), c.incr("n", 41), others[1].get("n")), (True, 42, b"42"))
    same("large", (c.set("large", LARGE, noreply=False), others[2].get("large")), (True, LARGE))
    value, cas = c.gets("n")
    same("cas", (c.cas("n", b"7", cas), c.cas("n", b"8", cas)), (True, False))
    same("delete", (c.delete("n", noreply=False), c.delete("n", noreply=False)), (True, False))


def many_keys():
    many = {f"many:{i}": b"%d" % i * 50 for i in range(200)}
    same("set_many", c.set_many(many, noreply=False), [])
    for other in [c, *others]:
        same("get_many", other.get_many([*many, "nowhere"]), many)
    got = others[0].gets_many(many)
    same("gets_many", {k: v for k, (v, _) in got.items()}, many)
    k = "many:17"
    same("a cas of many", others[1].cas(k, b"x", got[k][1]), True)
    same("delete_many", c.delete_many(many, noreply=False), True)
    same("nothing left", others[2].get_many(many), {})


def touching():
    c.set("t", b"1", 100, noreply=False)
    same("touch", c.touch("t", 200, noreply=False), True)
    with socket.create_connection(("127.0.0.1", PORTS[1]), timeout=10) as s:
        s.sendall(b"gat 300 t nowhere key:1 key:2\r\nquit\r\n")
        answer = s.makefile("rb").read()
    same("gat", answer, b"VALUE t 0 1\r\n1\r\nVALUE key:1 0 1\r\n1\r\nVALUE key:2 0 1\r\n2\r\nEND\r\n")


def the_end():
    same("flush_all", others[1].flush_all(noreply=False), True)
    for other in others:
        same("nothing left", other.get_many([f"key:{i}" for i in range(200)]), {})


life(one_key, many_keys, touching, the_end)
