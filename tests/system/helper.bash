# helper.bash - real nodes for the system tests.
#
#   setup() { load helper; }
#   teardown() { stop_all; }
#   @test "..." { start_node --maxmemory 8mb; [ "$(cli SET a 1)" = OK ]; }
#
# Rules: (1) everything listens on 127.0.0.1, on ports that were free a moment
# ago, or on a socket in BATS_TEST_TMPDIR; (2) what was started is stopped by its
# pid; (3) nobody sleeps for a while and hopes: `eventually` asks until it is so.

CORRAL_BIN=${CORRAL_BIN:-$BATS_TEST_DIRNAME/../../bin}
CORRAL_ROOT=${CORRAL_ROOT:-$(cd "$BATS_TEST_DIRNAME/../.." && pwd)}
PATIENCE_MS=${PATIENCE_MS:-15000}
STARTED=() # pids, of nodes and of clients in the background

# ---- waiting ----

# eventually COMMAND...: until it succeeds, at most PATIENCE_MS. Bare commands only: use a function for more.
eventually()
{
    local tries=$((PATIENCE_MS / 50))

    while ! "$@" >/dev/null 2>&1; do
        if [ $((tries -= 1)) -le 0 ]; then
            echo "never came true: $*" >&2
            return 1
        fi
        sleep 0.05
    done
}

gone()
{
    ! kill -0 "$1" 2>/dev/null
}

# ---- nodes ----

# A port on which nobody listens now. Below the range of ephemeral ports, so that no
# client's own end takes it before the node does.
free_port()
{
    local port

    while :; do
        port=$((10240 + (RANDOM * 32768 + RANDOM) % 20000))
        # Not one that these tests have for something that does not listen yet.
        grep -q -x "$port" "$BATS_FILE_TMPDIR/ports" 2>/dev/null && continue
        nc -z 127.0.0.1 "$port" 2>/dev/null || break
    done
    echo "$port" | tee -a "$BATS_FILE_TMPDIR/ports"
}

# Starts corrald with these arguments on $PORT and $MC_PORT, which it chooses when they
# are empty. Sets $PID. Its log is $LOG, and what a failing test prints last.
start_node()
{
    local tries

    for tries in 1 2 3; do
        PORT=${PORT:-$(free_port)}
        MC_PORT=${MC_PORT:-$(free_port)}
        LOG=$BATS_TEST_TMPDIR/log.$PORT
        "$CORRAL_BIN/corrald" "${NODE_FILE[@]}" --port "$PORT" --memcache-port "$MC_PORT" --threads 1 "$@" \
            >>"$LOG" 2>&1 3>&- </dev/null &
        PID=$!
        STARTED+=("$PID")
        if eventually ready_or_gone "$PID" "$LOG" && ! gone "$PID"; then
            return 0
        fi
        # Somebody else may have taken the port in between.
        grep -q 'is taken' "$LOG" || break
        PORT= MC_PORT=
    done
    cat "$LOG" >&2
    return 1
}

# The pid stands in the line, so a log that was there before does not count.
ready_or_gone()
{
    gone "$1" || grep -q "event=ready pid=$1 " "$2"
}

# ---- clusters ----

# Nodes of a cluster, by number from 0: their ports, pids and logs.
PORTS=() MC_PORTS=() CLUSTER_PORTS=() LINK_PORTS=() CLIENT_PORTS=() PIDS=() LOGS=()

# start_member I [options]: node I, on ports of its own that stay the same when it is started again. What
# $SEEDS holds is where it looks for others.
start_member()
{
    local i=$1

    shift
    CLUSTER_PORTS[i]=${CLUSTER_PORTS[i]:-$(free_port)}
    CLIENT_PORTS[i]=${CLIENT_PORTS[i]:-$(free_port)}
    LINK_PORTS[i]=${LINK_PORTS[i]:-$(free_port)}
    PORT=${PORTS[i]:-} MC_PORT=${MC_PORTS[i]:-}
    start_node --cluster-enabled yes --cluster-port "${CLUSTER_PORTS[i]}" \
        --cluster-link-port "${LINK_PORTS[i]}" --cluster-client-port "${CLIENT_PORTS[i]}" \
        --cluster-config-file "$BATS_TEST_TMPDIR/state.$i" --cluster-seeds "${SEEDS:-}" "$@" || return 1
    PORTS[i]=$PORT MC_PORTS[i]=$MC_PORT PIDS[i]=$PID LOGS[i]=$LOG
}

# start_cluster N [options]: that many nodes who have found each other and agree. PORT, PID and so on are
# the first one's; `use I` makes them another's.
start_cluster()
{
    local n=$1 i

    shift
    SEEDS=
    for ((i = 0; i < n; i++)); do
        CLUSTER_PORTS[i]=$(free_port)
        SEEDS="$SEEDS 127.0.0.1:${CLUSTER_PORTS[i]}"
    done
    for ((i = 0; i < n; i++)); do
        start_member "$i" "$@" || return 1
    done
    use 0
    eventually together "$n"
}

use()
{
    PORT=${PORTS[$1]} MC_PORT=${MC_PORTS[$1]} PID=${PIDS[$1]} LOG=${LOGS[$1]}
}

# at I COMMAND...: with redis-cli, at node I.
at()
{
    redis-cli -h 127.0.0.1 -p "${PORTS[$1]}" "${@:2}"
}

# info_at I FIELD: one figure of its INFO.
info_at()
{
    at "$1" INFO | tr -d '\r' | sed -n "s/^$2://p"
}

# What node I says of the cluster, without what each says of itself only.
nodes_at()
{
    at "$1" CLUSTER NODES | sed 's/myself,//' | sort
}

# together N [I...]: these nodes (0 to N-1) know each other, each serves its share, and they say the same.
together()
{
    local n=$1 first held i

    shift
    [ $# -gt 0 ] || set -- $(seq 0 $((n - 1)))
    first=$(nodes_at "$1")
    for i in "$@"; do
        [ "$(info_at "$i" cluster_members_alive)" = "$n" ] || return 1
        [ "$(info_at "$i" cluster_state)" = ok ] || return 1
        held=$(info_at "$i" cluster_granules_held)
        [ $((held * n)) -gt 800 ] && [ $((held * n)) -lt 1200 ] || return 1
        [ "$(nodes_at "$i")" = "$first" ] || return 1
    done
    [ "$(echo "$first" | grep -c connected)" = "$n" ]
}

# Stops it as an operator would. Its exit code is the result.
stop_node()
{
    kill -TERM "${1:-$PID}" 2>/dev/null
    wait "${1:-$PID}"
}

stop_all()
{
    local pid

    if [ -z "${BATS_TEST_COMPLETED:-}" ] && [ -n "${LOG:-}" ] && [ -e "$LOG" ]; then
        sed 's/^/log: /' "$LOG" >&2
    fi
    # Members of a cluster have nobody to hand over to at the end: the second signal says so.
    for pid in "${PIDS[@]}" "${PIDS[@]}"; do
        kill -TERM "$pid" 2>/dev/null && sleep 0.1
    done
    for pid in "${STARTED[@]}"; do
        kill -TERM "$pid" 2>/dev/null || continue
        eventually gone "$pid" || kill -KILL "$pid" 2>/dev/null
    done
    return 0
}

# What a program that is expected to refuse its start says; 124 when it starts after all.
refused()
{
    run timeout 10 "$CORRAL_BIN/corrald" "$@" 3>&-
}

# ---- clients ----

cli()
{
    redis-cli -h 127.0.0.1 -p "$PORT" "$@"
}

# Sends these lines, each with CR LF, then quit; prints the answers without CR.
memcache()
{
    { printf '%s\r\n' "$@"; printf 'quit\r\n'; } | nc -w 10 127.0.0.1 "$MC_PORT" | tr -d '\r'
}

# The same over the redis port: inline commands.
inline()
{
    { printf '%s\r\n' "$@"; printf 'QUIT\r\n'; } | nc -w 10 127.0.0.1 "$PORT" | tr -d '\r'
}

corral()
{
    "$CORRAL_BIN/corral" -p "$PORT" "$@"
}

load_with()
{
    "$CORRAL_BIN/corral-load" --port "$PORT" "$@"
}

# info FIELD: one figure of INFO.
info()
{
    cli INFO | tr -d '\r' | sed -n "s/^$1://p"
}

rss_kb()
{
    awk '/^VmRSS:/ { print $2 }' "/proc/$PID/status"
}

is_empty()
{
    [ "$(cli DBSIZE)" = 0 ]
}

# is WANT COMMAND...: what it prints, compared.
is()
{
    local want=$1 got

    shift
    got=$("$@")
    [ "$got" = "$want" ] || {
        printf '%s\n  wanted: %s\n  got:    %s\n' "$*" "$want" "$got" >&2
        return 1
    }
}

needs()
{
    command -v "$1" >/dev/null || skip "$1 is not installed"
}

# The sanitizers' own memory is no business of maxmemory.
sanitized()
{
    grep -q -e __asan_init -e __tsan_init "$CORRAL_BIN/corrald"
}
