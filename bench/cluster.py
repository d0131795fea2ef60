#!/usr/bin/env python3
"""cluster.py - how a cluster notices, forwards and changes, beside serf and redis.

    bench/cluster.py                 everything, writes bench/RESULTS-CLUSTER.md (about 15 minutes; as root)
    bench/cluster.py detect idle     only these, prints only: detect, idle, forward, change
    BENCH_QUICK=1 bench/cluster.py   fewer trials, prints only

    BENCH_TRIALS   how often each kind of death is tried  (10; quick 3; serf and redis: 3; quick 1)
    BENCH_NODES    nodes of `detect`                      (16)
    BENCH_BIN      where corrald and corral-load are      (bin)

Rules: (1) each node of `detect` and `idle` has a network namespace of its own on one bridge; what is made is
taken away at the end. (2) "All know" is the latest line in the logs of all others, by their own time stamps.
(3) Only processes started here are ended. (4) Nothing waits without a bound.
"""
import datetime
import json
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
BIN = os.environ.get("BENCH_BIN", "bin")
QUICK = os.environ.get("BENCH_QUICK") == "1"
TRIALS = int(os.environ.get("BENCH_TRIALS", "3" if QUICK else "10"))
ANCHOR_TRIALS = 1 if QUICK else 3
NODES = int(os.environ.get("BENCH_NODES", "16"))
EXPERIMENTS = ["detect", "idle", "forward", "change"]
TAG = "cb%d" % (os.getpid() % 100000)
NET = "10.%d.%d" % (random.randint(100, 200), random.randint(1, 250))

started = []
lines = []


def say(text=""):
    print(text, flush=True)
    lines.append(text)


def note(text):
    print("cluster.py: " + text, file=sys.stderr, flush=True)


def call(*words, check=True):
    return subprocess.run(words, check=check, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout


def spawn(words, log, ns=None):
    if ns is not None:
        words = ["ip", "netns", "exec", ns] + words
    with open(log, "ab") as out:
        process = subprocess.Popen(words, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
    started.append(process)
    return process


def stop(process, how=signal.SIGTERM):
    if process.poll() is None:
        process.send_signal(how)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process in started:
        started.remove(process)


def until(what, ready, seconds=60.0):
    end = time.time() + seconds
    while time.time() < end:
        got = ready()
        if got:
            return got
        time.sleep(0.02)
    raise SystemExit("cluster.py: never came true: " + what)


def quantile(values, q):
    values = sorted(values)
    return values[min(len(values) - 1, int(q * len(values)))]


# ---- machines -------------------------------------------------------------------------------------------

class Net:
    """Namespaces 1 .. n, each with an address NET.k, on a bridge."""

    made = 0

    def __init__(self, n):
        self.n = n
        # A name of its own: the kernel takes its time to remove what had one before.
        self.tag = TAG + "abcdefgh"[Net.made]
        Net.made += 1
        call("ip", "link", "add", self.tag, "type", "bridge")
        call("ip", "link", "set", self.tag, "up")
        for k in range(1, n + 1):
            call("ip", "netns", "add", self.ns(k))
            call("ip", "link", "add", self.port(k), "type", "veth", "peer", "name", "eth0", "netns", self.ns(k))
            call("ip", "link", "set", self.port(k), "master", self.tag, "up")
            call("ip", "-n", self.ns(k), "addr", "add", "%s.%d/24" % (NET, k), "dev", "eth0")
            call("ip", "-n", self.ns(k), "link", "set", "eth0", "up")
            call("ip", "-n", self.ns(k), "link", "set", "lo", "up")

    def ns(self, k):
        return "%s-%d" % (self.tag, k)

    def port(self, k):
        return "%s.%d" % (self.tag, k)

    def plug(self, k, up):
        call("ip", "link", "set", self.port(k), "up" if up else "down")

    def sent(self, k):
        """Bytes that namespace k has sent; the bridge's side receives them."""
        with open("/sys/class/net/%s/statistics/rx_bytes" % self.port(k)) as f:
            return int(f.read())

    def close(self):
        for k in range(1, self.n + 1):
            call("ip", "netns", "del", self.ns(k), check=False)
        call("ip", "link", "del", self.tag, check=False)


# ---- Corral -----------------------------------------------------------------------------------------------

class Corral:
    name = "Corral"

    def __init__(self, net, folder):
        self.net = net
        self.folder = folder
        self.secret = os.path.join(folder, "secret")
        with open(self.secret, "w") as f:
            f.write(call("openssl", "rand", "-base64", "32"))
        self.processes = {}
        for k in range(1, net.n + 1):
            self.start(k)
        until("all nodes see each other", lambda: all(self.members(k) == net.n for k in self.processes))

    def log(self, k):
        return os.path.join(self.folder, "corral.%d" % k)

    def start(self, k):
        address = "%s.%d" % (NET, k)
        self.processes[k] = spawn(
            [BIN + "/corrald", "--bind", address, "--protected-mode", "no", "--threads", "1", "--maxmemory", "64mb",
             "--cluster-enabled", "yes", "--cluster-secret-file", self.secret, "--cluster-seeds", NET + ".1",
             "--cluster-announce-ip", address, ], self.log(k), self.net.ns(k))

    def info(self, k, field):
        address = "%s.%d" % (NET, k)
        text = call("ip", "netns", "exec", self.net.ns(k), "redis-cli", "-h", address, "INFO", "cluster", check=False)
        found = re.search(r"^cluster_%s:(\d+)" % field, text, re.M)
        return int(found.group(1)) if found else -1

    def members(self, k):
        return self.info(k, "members_alive")

    def told_dead(self, k, dead, since):
        """When node k said that `dead` has failed, in Unix seconds; None: not yet."""
        with open(self.log(k), errors="replace") as f:
            for line in f:
                if "event=member_failed" in line and " addr=%s.%d:" % (NET, dead) in line:
                    at = datetime.datetime.strptime(line.split()[0], "%Y-%m-%dT%H:%M:%S.%fZ")
                    at = at.replace(tzinfo=datetime.timezone.utc).timestamp()
                    if at >= since:
                        return at
        return None

    def back(self, k):
        until("node %d is back" % k, lambda: all(self.members(i) == self.net.n for i in self.processes))

    def close(self):
        for process in self.processes.values():
            stop(process, signal.SIGKILL)


# ---- serf -------------------------------------------------------------------------------------------------

class Serf:
    name = "serf"

    def __init__(self, net, folder):
        self.net = net
        self.folder = folder
        self.handler = os.path.join(folder, "handler")
        with open(self.handler, "w") as f:
            f.write('#!/bin/sh\nnow=$(date +%s.%N)\nwhile read name rest; do echo "$now $SERF_EVENT $name"; done '
                    '>>"$1"\n')
        os.chmod(self.handler, 0o755)
        self.processes = {}
        for k in range(1, net.n + 1):
            self.start(k)
        until("all agents see each other", lambda: all(self.members(k) == net.n for k in self.processes), 120)

    def events(self, k):
        return os.path.join(self.folder, "serf.events.%d" % k)

    def start(self, k):
        address = "%s.%d" % (NET, k)
        words = ["serf", "agent", "-node=n%d" % k, "-bind=" + address, "-rpc-addr=%s:7373" % address,
                 "-event-handler=%s %s" % (self.handler, self.events(k))]
        if k > 1:
            words.append("-retry-join=%s.1" % NET)
        self.processes[k] = spawn(words, os.path.join(self.folder, "serf.%d" % k), self.net.ns(k))

    def members(self, k):
        text = call("ip", "netns", "exec", self.net.ns(k), "serf", "members", "-status=alive",
                    "-rpc-addr=%s.%d:7373" % (NET, k), check=False)
        return text.count("alive")

    def told_dead(self, k, dead, since):
        if not os.path.exists(self.events(k)):
            return None
        with open(self.events(k)) as f:
            for line in f:
                at, event, name = line.split()[:3]
                if event == "member-failed" and name == "n%d" % dead and float(at) >= since:
                    return float(at)
        return None

    def back(self, k):
        until("agent %d is back" % k, lambda: all(self.members(i) == self.net.n for i in self.processes), 180)

    def close(self):
        for process in self.processes.values():
            stop(process, signal.SIGKILL)


# ---- redis ------------------------------------------------------------------------------------------------

class RedisCluster:
    """Three masters and three replicas on loopback, default node timeout: its own advice for the least cluster."""
    name = "redis"

    def __init__(self, folder):
        self.folder = folder
        self.ports = [17000 + os.getpid() % 1000 * 10 + i for i in range(6)]
        self.processes = {}
        for port in self.ports:
            home = os.path.join(folder, "redis.%d" % port)
            os.makedirs(home)
            self.start(port)
        until("redis answers", lambda: all("PONG" in self.cli(p, "PING") for p in self.ports))
        call("redis-cli", "--cluster", "create", *["127.0.0.1:%d" % p for p in self.ports], "--cluster-replicas",
             "1", "--cluster-yes")
        self.whole()

    def whole(self):
        """Until all see all slots served, and each replica has what its master has."""
        def is_whole():
            roles = [self.cli(p, "INFO", "replication") for p in self.ports]
            return (all("cluster_state:ok" in self.cli(p, "CLUSTER", "INFO") and
                        "fail" not in self.cli(p, "CLUSTER", "NODES") for p in self.ports) and
                    sum("role:master" in r for r in roles) == 3 and
                    sum("master_link_status:up" in r for r in roles) == 3)
        until("redis's cluster is whole", is_whole, 120)

    def start(self, port):
        home = os.path.join(self.folder, "redis.%d" % port)
        self.processes[port] = spawn(["redis-server", "--port", str(port), "--cluster-enabled", "yes", "--dir", home,
                                      "--save", "", "--bind", "127.0.0.1"], home + "/log")

    def cli(self, port, *words):
        return call("timeout", "2", "redis-cli", "-p", str(port), *words, check=False)

    def death(self, how):
        """Seconds until all others call it failed, and until its keys can be written again."""
        nodes = self.cli(self.ports[0], "CLUSTER", "NODES").splitlines()
        masters = [int(re.search(r":(\d+)@", n).group(1)) for n in nodes if "master" in n and "fail" not in n]
        victim = random.choice(masters)
        line = next(n for n in nodes if ":%d@" % victim in n)
        note("redis: node %d dies" % victim)
        slot = int(re.split("[- ]", line.split()[8])[0])
        key = next("k%d" % i for i in range(10 ** 6) if self.slot("k%d" % i) == slot)
        others = [p for p in self.ports if p != victim]
        began = time.time()
        self.processes[victim].send_signal(how)
        known = writable = None
        while known is None or writable is None:
            if time.time() - began > 90:
                raise SystemExit("cluster.py: redis did not notice")
            if known is None and all(re.search(r":%d@\S+ \S*\bfail\b(?!\?)" % victim, self.cli(p, "CLUSTER", "NODES"))
                                     for p in others):
                known = time.time() - began
            if writable is None and "OK" in call("timeout", "2", "redis-cli", "-c", "-p", str(others[0]), "SET", key,
                                                 "x", check=False):
                writable = time.time() - began
        if how == signal.SIGSTOP:
            self.processes[victim].send_signal(signal.SIGCONT)
        else:
            stop(self.processes[victim])
            self.start(victim)
        self.whole()
        return known, writable

    @staticmethod
    def slot(key):
        crc = 0
        for byte in key.encode():
            crc ^= byte << 8
            for _ in range(8):
                crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xffff
        return crc % 16384

    def close(self):
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)
            stop(process, signal.SIGKILL)


# ---- detect -----------------------------------------------------------------------------------------------

def deaths(system, kind, trials):
    """For each trial: seconds until the first, and until the last of the others knew."""
    first, last = [], []
    for trial in range(trials):
        victim = random.randint(2, system.net.n)
        others = [k for k in system.processes if k != victim]
        time.sleep(1 + random.random())
        began = time.time()
        if kind == "kill -9":
            os.kill(child_of(system.processes[victim]), signal.SIGKILL)
        else:
            system.net.plug(victim, False)
        told = until("death %d of %s is known" % (trial, system.name), lambda: all_told(system, others, victim, began))
        first.append(min(told) - began)
        last.append(max(told) - began)
        note("%s, %s: all know after %.3f s" % (system.name, kind, last[-1]))
        if kind == "kill -9":
            stop(system.processes[victim], signal.SIGKILL)
            system.start(victim)
        else:
            system.net.plug(victim, True)
        system.back(victim)
    return first, last


def all_told(system, others, victim, since):
    told = [system.told_dead(k, victim, since) for k in others]
    return None if None in told else told


def child_of(process):
    """`ip netns exec` becomes the program itself, so that this is its pid."""
    return process.pid


def detect(folder):
    say("## Deaths noticed, %d nodes, a network namespace each" % NODES)
    say()
    say("Seconds until all others know. `death`: the machine is unplugged; `kill -9`: the process is gone, and its "
        "machine says so.")
    say()
    say("| system | what | trials | first, median | all, median | all, worst |")
    say("|---|---|---|---|---|---|")
    for System in (Corral, Serf):
        if System is Serf and not shutil.which("serf"):
            say("| serf | not installed here | | | | |")
            continue
        net = Net(NODES)
        try:
            system = System(net, folder)
            for kind in ("kill -9", "death"):
                trials = TRIALS if System is Corral else ANCHOR_TRIALS
                first, last = deaths(system, kind, trials)
                say("| %s | %s | %d | %.3f | %.3f | %.3f |" % (system.name, kind, trials, statistics.median(first),
                                                            statistics.median(last), max(last)))
            system.close()
        finally:
            net.close()
    redis = RedisCluster(folder)
    for kind, how in (("kill -9", signal.SIGKILL), ("stopped", signal.SIGSTOP)):
        known, writable = zip(*[redis.death(how) for _ in range(ANCHOR_TRIALS)])
        say("| redis, 3 + 3 nodes, default timeout | %s | %d | | %.1f (writable again %.1f) | %.1f (%.1f) |" % (
            kind, ANCHOR_TRIALS, statistics.median(known), statistics.median(writable), max(known), max(writable)))
    redis.close()
    say()


# ---- idle -------------------------------------------------------------------------------------------------

def idle(folder):
    say("## Control traffic of a cluster in which nothing happens")
    say()
    say("Bytes a second that a node sends, everything on the wire counted, over %d s." % (10 if QUICK else 30))
    say()
    say("| nodes | mean | most of one node |")
    say("|---|---|---|")
    for n in (3, 30):
        net = Net(n)
        try:
            system = Corral(net, tempfile.mkdtemp(dir=folder))
            time.sleep(8)
            seconds = 10 if QUICK else 30
            before = [net.sent(k) for k in range(1, n + 1)]
            time.sleep(seconds)
            rates = [(net.sent(k) - before[k - 1]) / seconds for k in range(1, n + 1)]
            say("| %d | %.0f | %.0f |" % (n, statistics.mean(rates), max(rates)))
            system.close()
        finally:
            net.close()
    say()


# ---- three nodes on loopback --------------------------------------------------------------------------------

class Local:
    def __init__(self, folder, n=3, extra=()):
        self.folder = folder
        self.base = 18000 + os.getpid() % 500 * 20
        self.extra = list(extra)
        self.nodes = []
        for _ in range(n):
            self.add()
        self.settled(n)

    def add(self):
        k = len(self.nodes)
        ports = {"resp": self.base + k, "mc": self.base + 40 + k, "bus": self.base + 80 + 2 * k,
                 "client": self.base + 160 + k}
        log = os.path.join(self.folder, "local.%d" % k)
        process = spawn([BIN + "/corrald", "--port", str(ports["resp"]), "--memcache-port", str(ports["mc"]),
                         "--cluster-enabled", "yes", "--cluster-port", str(ports["bus"]), "--cluster-client-port",
                         str(ports["client"]), "--cluster-seeds", "127.0.0.1:%d" % (self.base + 80), "--threads", "1",
                         "--maxmemory", "1gb", ] + self.extra, log)
        self.nodes.append((process, ports))
        return k

    def cli(self, k, *words):
        return call("timeout", "5", "redis-cli", "-p", str(self.nodes[k][1]["resp"]), *words, check=False)

    def info(self, k, field):
        found = re.search(r"^%s:(\d+)" % field, self.cli(k, "INFO"), re.M)
        return int(found.group(1)) if found else -1

    def alive(self):
        return [k for k, (process, _) in enumerate(self.nodes) if process.poll() is None]

    def even(self):
        """Everybody holds a share, and all slots are held, and nothing is still to be brought."""
        held = [self.info(k, "cluster_granules_held") for k in self.alive()]
        pulls = [self.info(k, "cluster_granules_pulling") for k in self.alive()]
        return sum(held) == 1024 and min(held) > 0 and max(pulls) == 0

    def settled(self, n):
        until("%d nodes have all slots" % n, lambda: all(self.info(k, "cluster_members_alive") == n
                                                         for k in self.alive()) and self.even())

    def cpu(self):
        """User and system seconds of all nodes so far."""
        total = 0
        for process, _ in self.nodes:
            if process.poll() is None:
                with open("/proc/%d/stat" % process.pid) as f:
                    fields = f.read().rsplit(")", 1)[1].split()
                total += int(fields[11]) + int(fields[12])
        return total / os.sysconf("SC_CLK_TCK")

    def close(self):
        for process, _ in self.nodes:
            stop(process, signal.SIGKILL)


def load(port, seconds, *words):
    out = call(BIN + "/corral-load", "--port", str(port), "--json", "--seconds", str(seconds), *words)
    return json.loads(out)


def forward(folder):
    seconds = 2 if QUICK else 5
    say("## Requests that another node has to answer")
    say()
    say("Three nodes of one worker each; 50 connections to one of them, GET:SET 10:1, 100k keys of 32 B, values of "
        "100 B. Two thirds of the requests are for the other two. CPU is of all nodes, per request. Direct: one node "
        "alone.")
    say()
    say("| pipeline | direct ns | kops/s | through one of three ns | kops/s | a forwarded request | to a direct one |")
    say("|---|---|---|---|---|---|---|")
    common = ["--keys", "100k", "--connections", "50"]
    figures = {}
    for n in (1, 3):
        local = Local(tempfile.mkdtemp(dir=folder), n)
        for pipeline in (1, 16):
            words = common + ["--pipeline", str(pipeline)]
            load(local.nodes[0][1]["resp"], 1, *words)
            rounds = []
            for _ in range(2 if QUICK else 5):
                before = local.cpu()
                got = load(local.nodes[0][1]["resp"], seconds / 2, *words)
                requests = find(got, "requests")
                rounds.append(((local.cpu() - before) / requests * 1e9, requests / (seconds / 2) / 1000))
            figures[n, pipeline] = [statistics.median(r[i] for r in rounds) for i in (0, 1)]
        local.close()
    for pipeline in (1, 16):
        direct, through = figures[1, pipeline], figures[3, pipeline]
        # A third of them is answered where it arrives.
        forwarded = (through[0] - direct[0] / 3) * 3 / 2
        say("| %d | %.0f | %.0f | %.0f | %.0f | %.0f ns | %.2f |" % (
            pipeline, direct[0], direct[1], through[0], through[1], forwarded, forwarded / direct[0]))
    say()


def find(tree, name):
    """The first figure of that name, wherever it stands."""
    if isinstance(tree, dict):
        if name in tree and isinstance(tree[name], (int, float)):
            return tree[name]
        tree = list(tree.values())
    if isinstance(tree, list):
        for branch in tree:
            got = find(branch, name)
            if got is not None:
                return got
    return None


def change(folder):
    keys = 20000
    say("## A client that goes on through changes")
    say()
    say("Four threads of one client over all nodes, RESP and memcached, %d keys; it knows what each must hold. A miss "
        "is a key that it has stored and does not get; n is the number of nodes before the crash." % keys)
    say()
    say("| change | of nodes | reads | misses | allowed | stale | errors | slowest batch of 16, ms |")
    say("|---|---|---|---|---|---|---|---|")
    local = Local(tempfile.mkdtemp(dir=folder), 3)
    for what in ("nothing", "join", "drain", "crash"):
        alive = local.alive()
        victim = alive[-1] if what in ("drain", "crash") else None
        ports = [kind + str(local.nodes[k][1]["mc" if kind else "resp"]) for k in alive if k != victim
                 for kind in ("", "m")]
        stop_file = os.path.join(folder, "stop." + what)
        ready_file = os.path.join(folder, "ready." + what)
        words = [sys.executable, "tests/system/cluster/loop.py", "--stop", stop_file, "--ready", ready_file, "--keys",
                 str(keys)] + (["--read-only"] if what == "crash" else []) + ports
        client = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        started.append(client)
        until("the client has stored its keys", lambda: os.path.exists(ready_file))
        time.sleep(1)
        n = len(alive)
        if what == "join":
            local.add()
            local.settled(n + 1)
        elif what == "drain":
            local.nodes[victim][0].send_signal(signal.SIGTERM)
            until("the node has drained", lambda: local.nodes[victim][0].poll() is not None, 150)
            local.settled(n - 1)
        elif what == "crash":
            local.nodes[victim][0].kill()
            local.nodes[victim][0].wait()
            local.settled(n - 1)
        time.sleep(1)
        open(stop_file, "w").close()
        got = dict(pair.split("=") for pair in client.communicate(timeout=60)[0].split())
        started.remove(client)
        allowed = "%.0f" % (1.02 * keys / n) if what == "crash" else "0"
        say("| %s | %d | %s | %s | %s | %s | %s | %s |" % (what, n, got["gets"], got["misses"], allowed, got["stale"],
                                                         got["errors"], got["slowest_ms"]))
    local.close()
    say()


def main():
    chosen = sys.argv[1:] or EXPERIMENTS
    for name in chosen:
        if name not in EXPERIMENTS:
            raise SystemExit("cluster.py: no experiment is called %r; there are: %s" % (name, " ".join(EXPERIMENTS)))
    folder = tempfile.mkdtemp()
    machine = "%d cores, Linux %s" % (os.cpu_count(), os.uname().release)
    say("# A cluster's figures")
    say()
    say("Written by make bench-cluster; docs/BENCHMARKS.md says how to read it. %s, %s." % (
        datetime.datetime.utcnow().strftime("%Y-%m-%d %H:%M UTC"), machine))
    say()
    try:
        for name in chosen:
            globals()[name](folder)
        if len(sys.argv) == 1 and not QUICK:
            with open("bench/RESULTS-CLUSTER.md", "w") as f:
                f.write("\n".join(lines).rstrip() + "\n")
    finally:
        for process in list(started):
            try:
                process.send_signal(signal.SIGCONT)
                stop(process, signal.SIGKILL)
            except ProcessLookupError:
                pass
        shutil.rmtree(folder, ignore_errors=True)


main()
