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
        [ "$port" = "${PORT:-}" ] && continue
        nc -z 127.0.0.1 "$port" 2>/dev/null || break
    done
    echo "$port"
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
