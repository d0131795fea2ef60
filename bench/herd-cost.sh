#!/bin/sh
# herd-cost.sh - what a rule and an origin cost a read that finds its value.
#
#   bench/herd-cost.sh [rounds]    21 by default, about a minute each ten; needs redis-server; 10000 keys, all hits
#
# One server each: without rules, with a rule, with a rule whose values have a
# time to live (and so a grace), and with an origin that has filled all keys.
# They are visited in turn; a line says the CPU of the server per GET, user and
# system, medians and minima over the rounds, and the median of the ratios to
# the plain server in the same round, which is what a busy machine changes least.
#
#   BENCH_CORRALD  the server to measure (bin/corrald)
#   BENCH_PORT     the lowest port to use, of ten (20900)
set -u
cd "$(dirname "$0")/.." || exit 1
CORRALD=${BENCH_CORRALD:-bin/corrald}
LOAD=bin/corral-load
PORT=${BENCH_PORT:-20900}
ROUNDS=${1:-21}
RULE='* park 1000 grace 5000 early on'
DIR=$(mktemp -d) || exit 1
PIDS=''
stop() {
    # shellcheck disable=SC2086
    [ -z "$PIDS" ] || kill $PIDS 2>/dev/null
    wait
    rm -rf "$DIR"
}
trap stop EXIT
trap 'exit 130' INT TERM

start() { # NAME PORT ARGUMENTS...
    name=$1 port=$2
    shift 2
    taskset -c 0 "$CORRALD" --port "$port" --memcache-port 0 --threads 1 "$@" >"$DIR/$name.log" 2>&1 &
    PIDS="$PIDS $!"
    echo "$name $port $!" >>"$DIR/servers"
}

fill() { # PORT ARGUMENTS...
    port=$1
    shift
    "$LOAD" --port "$port" --keys 10000 --connections 4 --pipeline 16 "$@" >/dev/null || exit 1
}

redis-server --port "$PORT" --bind 127.0.0.1 --save '' --appendonly no --dir "$DIR" >"$DIR/redis.log" 2>&1 &
PIDS=$!
start plain $((PORT + 1))
start rule $((PORT + 2)) --herd-protect "$RULE"
start plain-ttl $((PORT + 3))
start rule-ttl $((PORT + 4)) --herd-protect "$RULE"
start origin $((PORT + 5)) --origin "key:* redis://127.0.0.1:$PORT ttl 86400"
sleep 2
fill "$PORT" --preload --seconds 0
fill $((PORT + 1)) --preload --seconds 0
fill $((PORT + 2)) --preload --seconds 0
fill $((PORT + 3)) --preload --seconds 0 --ttl 86400
fill $((PORT + 4)) --preload --seconds 0 --ttl 86400
fill $((PORT + 5)) --ratio 1:0 --distribution sequential --requests 20000 --seconds 30

for pipeline in 16 64; do
    : >"$DIR/samples"
    round=0
    while [ $round -lt "$ROUNDS" ]; do
        while read -r name port pid; do
            "$LOAD" --pin 1 --port "$port" --pid "$pid" --pipeline "$pipeline" --connections 8 --keys 10000 \
                --ratio 1:0 --requests 400000 --seconds 5 --seed "$round" --json |
                sed "s/^.*\"misses\":\\([0-9]*\\),\"stored.*\"cpu_ns\":\\([0-9.]*\\).*/$round $name \\1 \\2/" >>"$DIR/samples"
        done <"$DIR/servers"
        round=$((round + 1))
    done
    echo "pipeline $pipeline, $ROUNDS rounds"
    awk '
        function median(v, n,    i, j, t) {
            for (i = 2; i <= n; i++)
                for (j = i; j > 1 && v[j - 1] > v[j]; j--) { t = v[j]; v[j] = v[j - 1]; v[j - 1] = t }
            return n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2
        }
        { cpu[$2, $1] = $4; missed += $3; rounds = $1 + 1; if (!($2 in seen)) { seen[$2] = 1; order[++names] = $2 } }
        END {
            for (i = 1; i <= names; i++) {
                base = order[i] ~ /-ttl$/ || order[i] == "origin" ? "plain-ttl" : "plain"
                for (r = 0; r < rounds; r++) { v[r + 1] = cpu[order[i], r]; q[r + 1] = v[r + 1] / cpu[base, r] }
                m = median(v, rounds)
                printf "  %-10s %6.1f ns a hit, least %6.1f; %+5.1f %% to %s\n", order[i], m, v[1],
                    (median(q, rounds) - 1) * 100, base
            }
            if (missed > 0) { print "  " missed " reads missed: not what was to be measured"; exit 1 }
        }' "$DIR/samples"
done
