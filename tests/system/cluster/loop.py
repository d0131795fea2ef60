#!/usr/bin/env python3
"""A client of a cluster that knows what every key must hold, and goes on while nodes come and go.

    loop.py --stop FILE [--keys N] [--threads N] [--mortal PORT,PORT] [--read-only] PORT ...

A port with an m before it speaks memcached's text protocol, others RESP. Each thread has keys of its own,
so it knows what was acknowledged last: anything older is stale, nothing at all is a miss (and is stored
again, as a cache's client does). A write that failed may or may not have happened. Counters are INCRed, and
each answer is one more than the last; else it is stale. Some are read by MGET. Ends when FILE exists, and
prints one line of figures. Connections to mortal ports may break; to others that is an error.
"""
import argparse
import os
import random
import socket
import sys
import threading
import time


class Resp:
    def __init__(self, port):
        self.port = port
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=15)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")

    def run(self, operations):
        """Sends them all, then reads: ("value", bytes or None) or ("error", text) for each."""
        out = []
        for verb, key, value in operations:
            words = [verb, key] + ([value] if value is not None else [])
            out.append(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))
        self.socket.sendall(b"".join(out))
        return [self.reply() for _ in operations]

    def reply(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise OSError("the connection ended")
        if line[:1] == b"-":
            return "error", line.decode()
        if line[:1] == b"*":
            return "value", [self.reply()[1] for _ in range(int(line[1:]))]
        if line[:1] != b"$":
            return "value", line[1:-2]
        length = int(line[1:])
        if length < 0:
            return "value", None
        data = self.file.read(length + 2)
        if len(data) < length + 2:
            raise OSError("the connection ended")
        return "value", data[:-2]


class Memcached(Resp):
    def run(self, operations):
        out = []
        for verb, key, value in operations:
            if verb == b"GET":
                out.append(b"get %s\r\n" % key)
            elif verb == b"SET":
                out.append(b"set %s 0 0 %d\r\n%s\r\n" % (key, len(value), value))
            else:
                out.append(b"delete %s\r\n" % key)
        self.socket.sendall(b"".join(out))
        return [self.answer(verb) for verb, _, _ in operations]

    def answer(self, verb):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise OSError("the connection ended")
        if line.startswith((b"SERVER_ERROR", b"CLIENT_ERROR", b"ERROR")):
            return "error", line.decode()
        if verb != b"GET" or line == b"END\r\n":
            return "value", None
        data = self.file.read(int(line.split()[3]) + 2)
        if self.file.readline() != b"END\r\n":
            raise OSError("the connection ended")
        return "value", data[:-2]


class Figures:
    def __init__(self):
        self.lock = threading.Lock()
        self.counts = dict.fromkeys(("gets", "sets", "deletes", "misses", "stale", "errors"), 0)
        self.slowest = 0.0
        self.said = 0

    def add(self, name, text=None):
        with self.lock:
            self.counts[name] += 1
            if text and self.said < 10:
                self.said += 1
                print("%s: %s" % (name, text), file=sys.stderr, flush=True)


class Thread(threading.Thread):
    DEPTH = 16
    COUNTERS = 200

    def __init__(self, number, options, figures):
        super().__init__(daemon=True)
        self.options = options
        self.figures = figures
        self.dice = random.Random(number)
        self.links = {}
        each = options.keys // options.threads
        # What each key may hold: a set, of one after a write that was acknowledged.
        self.keys = [b"key:%d:%d" % (number, i) for i in range(each)]
        self.may_hold = [{None} for _ in self.keys]
        self.version = 0
        self.counters = {b"count:%d:%d" % (number, i): 0 for i in range(self.COUNTERS)}

    def value(self, at):
        self.version += 1
        return b"%s=%d" % (self.keys[at], self.version) + b"." * (at % 200)

    def link(self, port):
        if port not in self.links:
            kind, number = (Memcached, port[1:]) if port[0] == "m" else (Resp, port)
            self.links[port] = kind(int(number))
        return self.links[port]

    def batch(self, port, planned):
        """planned: (verb, which key, value). Returns False when the node is gone."""
        began = time.monotonic()
        for verb, at, value in planned:
            if verb != b"GET":
                self.may_hold[at] = self.may_hold[at] | {value}
        try:
            answers = self.link(port).run([(v, self.keys[at], value) for v, at, value in planned])
        except OSError as broken:
            self.links.pop(port, None)
            if port not in self.options.mortal:
                self.figures.add("errors", "port %s: %s" % (port, broken))
            return False
        with self.figures.lock:
            self.figures.slowest = max(self.figures.slowest, time.monotonic() - began)
        for (verb, at, value), (kind, got) in zip(planned, answers):
            self.judge(port, verb, at, value, kind, got)
        return True

    def judge(self, port, verb, at, value, kind, got):
        if kind == "error":
            self.figures.add("errors", "port %s %s %s: %s" % (port, verb, self.keys[at], got.strip()))
            return
        if verb != b"GET":
            self.figures.add("sets" if verb == b"SET" else "deletes")
            self.may_hold[at] = {value}
            return
        self.figures.add("gets")
        if got is None:
            if None not in self.may_hold[at]:
                self.figures.add("misses")
            self.may_hold[at] = self.may_hold[at] | {None}
        elif got not in self.may_hold[at]:
            self.figures.add("stale", "%s holds %r, may hold %r" % (self.keys[at], got[:60], self.may_hold[at]))
        else:
            self.may_hold[at] = {got}

    def count(self, port):
        """RESP alone, and no mortal ports: who knows what was counted when a node was lost?"""
        chosen = [self.dice.choice(list(self.counters)) for _ in range(self.DEPTH)]
        for key, (kind, got) in zip(chosen, self.link(port).run([(b"INCR", key, None) for key in chosen])):
            self.counters[key] += 1
            if kind == "error":
                self.figures.add("errors", "port %s INCR %s: %s" % (port, key, got.strip()))
            elif int(got) != self.counters[key]:
                self.figures.add("stale", "%s is %s, not %d" % (key, got.decode(), self.counters[key]))
                self.counters[key] = int(got)

    def read_many(self, port):
        chosen = self.dice.sample(range(len(self.keys)), min(self.DEPTH, len(self.keys)))
        rest = b"".join(b"$%d\r\n%s\r\n" % (len(self.keys[at]), self.keys[at]) for at in chosen)
        link = self.link(port)
        link.socket.sendall(b"*%d\r\n$4\r\nMGET\r\n" % (1 + len(chosen)) + rest)
        kind, got = link.reply()
        for i, at in enumerate(chosen):
            self.judge(port, b"GET", at, None, kind, got if kind == "error" else got[i])

    def plan(self):
        planned = []
        for at in self.dice.sample(range(len(self.keys)), min(self.DEPTH, len(self.keys))):
            throw = self.dice.random()
            if None in self.may_hold[at] and throw < 0.98:
                planned.append((b"SET", at, self.value(at)))
            elif self.options.read_only or throw < 0.9:
                planned.append((b"GET", at, None))
            elif throw < 0.98:
                planned.append((b"SET", at, self.value(at)))
            else:
                planned.append((b"DEL", at, None))
        return planned

    def run(self):
        for first in range(0, len(self.keys), 64):
            chosen = range(first, min(first + 64, len(self.keys)))
            self.batch(self.options.ports[0], [(b"SET", at, self.value(at)) for at in chosen])
        if not self.options.read_only: # as a loop before this one may have left them
            self.link(self.options.ports[0]).run([(b"SET", key, b"0") for key in self.counters])
        self.options.filled.wait()
        alive = list(self.options.ports)
        while not os.path.exists(self.options.stop):
            port = self.dice.choice(alive)
            if not self.options.read_only and port[0] != "m" and port not in self.options.mortal:
                try:
                    self.count(port)
                    self.read_many(port)
                except OSError as broken:
                    self.links.pop(port, None)
                    self.figures.add("errors", "port %s: %s" % (port, broken))
            if not self.batch(port, self.plan()) and port in self.options.mortal:
                alive.remove(port)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("ports", nargs="+")
    parser.add_argument("--stop", required=True)
    parser.add_argument("--ready", help="a file that is made when all keys are stored")
    parser.add_argument("--keys", type=int, default=20000)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--mortal", default="")
    parser.add_argument("--read-only", action="store_true")
    options = parser.parse_args()
    options.mortal = options.mortal.split(",")
    options.filled = threading.Barrier(options.threads + 1)
    figures = Figures()
    threads = [Thread(i, options, figures) for i in range(options.threads)]
    for thread in threads:
        thread.start()
    options.filled.wait()
    if options.ready:
        open(options.ready, "w").close()
    for thread in threads:
        thread.join()
    print(" ".join("%s=%d" % item for item in figures.counts.items()),
          "slowest_ms=%d" % (figures.slowest * 1000), "keys=%d" % options.keys)
    return 0


sys.exit(main())
