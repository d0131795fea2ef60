#!/bin/sh
# eviction.sh - what live servers hit at equal RSS: Corral with each policy, redis, memcached.
#
#   bench/eviction.sh              all traces, writes bench/RESULTS-EVICTION.md (half an hour)
#   bench/eviction.sh oltp scarab  only these, prints only; names: see TRACES below
#
#   BENCH_TRACES     folder of the traces                     (../shared/traces)
#   BENCH_POLICIES   Corral's policies; the first is the default
#   BENCH_PIPELINE   requests in one round                    (64)
#   BENCH_OUT        file the report goes to as well          (bench/RESULTS-EVICTION.md for a full run)
#   BENCH_CORRALD    the server to measure                    (bin/corrald)
#
# Rules: (1) every run is a fresh server, a cold cache, the whole trace; (2) the
# server's limit is moved until its RSS at the end of the trace is the target's,
# give or take 1.5 %, in at most four runs of which the nearest counts (the report
# says what RSS it had); (3) keys and
# values have the trace's sizes, else those of a published table, the same for all;
# (4) only processes started here are ended, and nothing waits without a bound.
set -u
LC_ALL=C
export LC_ALL
cd "$(dirname "$0")/.." || exit 1

CHOSEN=$*
DATA=${BENCH_TRACES:-../shared/traces}
POLICIES=${BENCH_POLICIES:-s3fifo lru arc wtinylfu gdsf}
PIPELINE=${BENCH_PIPELINE:-64}
CORRALD=${BENCH_CORRALD:-bin/corrald}
LOAD=${BENCH_LOAD:-bin/corral-load}
TRIES=4
SIZES=$DATA/fixtures/twitter_cluster_stats_2020Mar.md

# name, file, RSS in MiB, requests if not all, sizes: the trace's own; those of one
# cluster (4) of the table for all keys; or mixed, each key's those of any cluster.
TRACES='cloudphysics cloudphysics_w92.tr.zst 64 - own
wiki wiki_upload_a.tr.zst 64 - own
orm orm_busy.txt.zst 32 1500000 equal
scarab scarab_recs.txt.zst 64 - equal
oltp arc_oltp.txt.zst 64 - equal
scarab-mixed scarab_recs.txt.zst 64 - mixed
oltp-mixed arc_oltp.txt.zst 64 - mixed'

note() { printf '%s\n' "$*" >&2; }
fail() { note "bench/eviction.sh: $*"; exit 1; }

[ -x "$CORRALD" ] || fail "$CORRALD is missing: run make first"
[ -x "$LOAD" ] || fail "$LOAD is missing: run make first"
[ -d "$DATA" ] || fail "$DATA is missing: set BENCH_TRACES to where the traces are"
for program in redis-server memcached; do
    command -v "$program" >/dev/null || fail "$program is missing: apt-get install redis-server memcached"
done

# redis tells recency by a clock of seconds and ages frequencies by minutes, and a
# replay takes seconds: its clock runs 500 times as fast, so that a replay is about
# an hour to it and not one long moment. See fast_clock.c.
CLOCK=${BENCH_FAST_CLOCK:-obj/fast_clock.so}
[ -e "$CLOCK" ] || fail "$CLOCK is missing: run make bench-eviction"
CLOCK=$(realpath "$CLOCK")

ON_SERVER_CORE='' GENERATOR_CORE=''
if [ "$(getconf _NPROCESSORS_ONLN)" -gt 1 ] && command -v taskset >/dev/null; then
    ON_SERVER_CORE='taskset -c 0' GENERATOR_CORE='--pin 1'
fi
MEMCACHED_USER=''
[ "$(id -u)" != 0 ] || MEMCACHED_USER='-u root'

DIR=$(mktemp -d) || exit 1
SERVER=''
clean_up() {
    stop_server
    rm -rf "$DIR"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# ---- one server at a time ---------------------------------------------------

is_running() { # PID
    grep -q '^State:[^Z]*$' "/proc/$1/status" 2>/dev/null
}

stop_server() {
    [ -n "$SERVER" ] || return 0
    kill "$SERVER" 2>/dev/null
    tries=0
    while is_running "$SERVER" && [ $tries -lt 100 ]; do
        tries=$((tries + 1))
        sleep 0.05
    done
    kill -9 "$SERVER" 2>/dev/null
    wait "$SERVER" 2>/dev/null
    SERVER=''
}

# Starts CONTENDER with a limit in KiB and leaves its process in SERVER, the way to it
# in ADDRESS and its command, as people would type it, in COMMAND.
start_server() { # CONTENDER LIMIT-KIB
    socket=$DIR/socket
    rm -f "$socket"
    ADDRESS="--unix $socket"
    # The prefix and the user are words.
    # shellcheck disable=SC2086
    case $1 in
    redis-*)
        COMMAND="FAST_CLOCK=500 redis-server --hz 500 --maxmemory ${2}kb --maxmemory-policy allkeys-${1#redis-}"
        LD_PRELOAD=$CLOCK FAST_CLOCK=500 $ON_SERVER_CORE redis-server --port 0 --unixsocket "$socket" \
            --dir "$DIR" --save '' --appendonly no --hz 500 \
            --maxmemory "${2}kb" --maxmemory-policy "allkeys-${1#redis-}" >"$DIR/log" 2>&1 </dev/null &
        ;;
    memcached)
        COMMAND="memcached -t 1 -m $(($2 / 1024))"
        ADDRESS="$ADDRESS --protocol memcache"
        $ON_SERVER_CORE memcached $MEMCACHED_USER -s "$socket" -t 1 -m "$(($2 / 1024))" \
            >"$DIR/log" 2>&1 </dev/null &
        ;;
    *)
        COMMAND="corrald --threads 1 --maxmemory ${2}kb --maxmemory-policy allkeys-$1"
        $ON_SERVER_CORE "$CORRALD" --port 0 --memcache-port 0 --unixsocket "$socket" --threads 1 \
            --maxmemory "${2}kb" --maxmemory-policy "allkeys-$1" >"$DIR/log" 2>&1 </dev/null &
        ;;
    esac
    SERVER=$!
    tries=0
    # shellcheck disable=SC2086
    until "$LOAD" $ADDRESS --count-items >/dev/null 2>&1; do
        tries=$((tries + 1))
        if [ $tries -gt 100 ] || ! is_running "$SERVER"; then
            tail -5 "$DIR/log" >&2
            fail "$1 does not answer"
        fi
        sleep 0.05
    done
}

member() { # NAME, of the JSON line on stdin
    sed -n "s/.*[{,]\"$1\":\([^,}]*\).*/\1/p"
}

# Replays FILE at CONTENDER; leaves HITS, BYTE_HITS, RSS (KiB), REFUSED and TOOK.
replay_once() { # CONTENDER LIMIT-KIB
    start_server "$1" "$2"
    # shellcheck disable=SC2086
    line=$("$LOAD" replay "$FILE" $ADDRESS $GENERATOR_CORE $SIZE_OPTIONS --pipeline "$PIPELINE" --pid "$SERVER" --json \
        2>"$DIR/complaints") || fail "replaying at $1 failed: $(tail -1 "$DIR/complaints")"
    # shellcheck disable=SC2086
    ITEMS=$("$LOAD" $ADDRESS --count-items)
    stop_server
    HITS=$(printf '%s' "$line" | member hit_ratio)
    BYTE_HITS=$(printf '%s' "$line" | member byte_hit_ratio)
    RSS=$(printf '%s' "$line" | member rss_kib)
    REFUSED=$(printf '%s' "$line" | member refused)
    TOOK=$(printf '%s' "$line" | member seconds)
}

# Moves the limit by what the RSS is off, then along the line through the last two
# runs where that line is believable (large values leave an allocator's RSS that does
# not follow the limit byte by byte); keeps the run that came nearest. Begins with
# the share of the RSS that was right for the trace before.
settle() { # CONTENDER RSS-MIB
    target=$(($2 * 1024))
    share=share_$(printf '%s' "$1" | tr - _)
    eval "limit=\$((target * \${$share:-85} / 100))"
    best=-1
    try=0
    while [ $try -lt $TRIES ]; do
        try=$((try + 1))
        [ "$1" != memcached ] || limit=$(((limit + 512) / 1024 * 1024))
        [ "$limit" -ge 4096 ] || limit=4096
        replay_once "$1" "$limit"
        off=$((RSS - target))
        away=${off#-}
        if [ $best -lt 0 ] || [ "$away" -lt $best ]; then
            best=$away
            FOUND="$HITS	$BYTE_HITS	$RSS	$ITEMS	$REFUSED	$TOOK	$COMMAND"
            eval "$share=\$((limit * 100 / target))"
        fi
        [ "$away" -gt $((target * 15 / 1000)) ] || break
        step=$off
        if [ $try -gt 1 ] && [ "$RSS" != "$rss_before" ]; then
            slope=$(((limit - limit_before) * 1000 / (RSS - rss_before)))
            [ $slope -lt 300 ] || [ $slope -gt 3000 ] || step=$((off * slope / 1000))
        fi
        limit_before=$limit rss_before=$RSS
        limit=$((limit - step))
    done
}

# ---- all of it --------------------------------------------------------------

run_trace() { # NAME FILE RSS REQUESTS SIZES
    name=$1 FILE=$DATA/$2 rss=$3
    case $5 in
    own) SIZE_OPTIONS='' ;;
    equal) SIZE_OPTIONS="--key-size 67 --value-size 2439" ;;
    mixed) SIZE_OPTIONS="--sizes-from $SIZES" ;;
    esac
    [ "$4" = - ] || SIZE_OPTIONS="$SIZE_OPTIONS --requests $4"
    [ -e "$FILE" ] || { note "no $FILE: passed over"; return 0; }
    note "$name at $rss MiB"
    for contender in $POLICIES; do
        run_contender "$contender"
    done
    for contender in redis-lru redis-lfu memcached; do
        run_contender "$contender"
    done
}

run_contender() { # CONTENDER
    settle "$1" "$rss"
    note "  $1: $FOUND"
    printf '%s\t%s\t%s\t%s\n' "$name" "$rss" "$1" "$FOUND" >>"$DIR/found"
}

: >"$DIR/found"
printf '%s\n' "$TRACES" >"$DIR/traces"
for name in $CHOSEN; do
    grep -q "^$name " "$DIR/traces" || fail "no trace is called '$name'"
done
while read -r name file rss requests sizes <&3; do
    case " ${CHOSEN:-$name} " in
    *" $name "*) run_trace "$name" "$file" "$rss" "$requests" "$sizes" ;;
    esac
done 3<"$DIR/traces"
[ -s "$DIR/found" ] || fail "there was no trace in $DATA"

{
    printf '# Live hit ratios at equal RSS\n\n'
    printf 'Written by `make bench-eviction`; what it does and how far to believe it is in docs/SIMULATOR.md.\n'
    printf '%s; %s; %s; pipeline %s.\n' "$("$CORRALD" --version | head -n 1)" \
        "$(redis-server --version | sed 's/ sha.*//')" "$(memcached -V)" "$PIPELINE"
    awk -F '\t' -v first="${POLICIES%% *}" -f bench/eviction.awk "$DIR/found"
} >"$DIR/report"
cat "$DIR/report"
OUT=${BENCH_OUT:-}
[ -n "$OUT" ] || [ -n "$CHOSEN" ] || OUT=bench/RESULTS-EVICTION.md
[ -z "$OUT" ] || cp "$DIR/report" "$OUT"
