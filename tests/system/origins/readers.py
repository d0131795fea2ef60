#!/usr/bin/env python3
"""Many readers of one key at once, half of them over RESP, half over memcached's
protocol (text, and every second one meta).

    readers.py RESP_PORT MEMCACHE_PORT READERS KEY

prints each different answer, and how many got it.
"""
import collections
import socket
import sys

resp_port, mc_port, readers, key = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]


def line(f):
    return f.readline().decode("utf8", "replace").rstrip("\r\n")


def resp(f):
    head = line(f)
    if not head.startswith("$"):
        return head
    if head == "$-1":
        return "(none)"
    return f.read(int(head[1:]) + 2)[:-2].decode()


def text(f):
    head = line(f)
    if not head.startswith("VALUE "):
        return "(none)" if head == "END" else head
    value = f.read(int(head.split()[3]) + 2)[:-2].decode()
    line(f)
    return value


def meta(f):
    head = line(f)
    if not head.startswith("VA "):
        return "(none)" if head == "EN" else head
    return f.read(int(head.split()[1]) + 2)[:-2].decode()


def ask(i):
    if i % 2 == 0:
        return resp_port, f"*2\r\n$3\r\nGET\r\n${len(key)}\r\n{key}\r\n", resp
    if i % 4 == 1:
        return mc_port, f"get {key}\r\n", text
    return mc_port, f"mg {key} v\r\n", meta


waiting = []
for i in range(readers):
    port, request, read = ask(i)
    s = socket.create_connection(("127.0.0.1", port))
    s.settimeout(30)
    waiting.append((s, request, read))
for s, request, _ in waiting:
    s.sendall(request.encode())
answers = collections.Counter(read(s.makefile("rb")) for s, _, read in waiting)
for answer, n in sorted(answers.items()):
    print(n, answer)
