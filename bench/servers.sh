# servers.sh - what bench/run and bench/run-herd share: servers of our own, and a report about them.
#
#   PROGRAM=bench/run
#   . bench/servers.sh
#
#   BENCH_CORRALD  the server to measure      (bin/corrald)
#   BENCH_PORT     the lowest port to use     (above 20000)
#
# Rule: only processes started here are ended, at the latest when the script
# ends, and nothing waits without a bound. Everything it writes on the way is in
# $DIR, which goes as well.
LC_ALL=C
export LC_ALL

CORRALD=${BENCH_CORRALD:-bin/corrald}
LOAD=${BENCH_LOAD:-bin/corral-load}

note() { printf '%s\n' "$*" >&2; }
fail() { note "$PROGRAM: $*"; exit 1; }

[ -x "$CORRALD" ] || fail "$CORRALD is missing: run make first"
[ -x "$LOAD" ] || fail "$LOAD is missing: run make first"
for program in redis-server memcached; do
    command -v "$program" >/dev/null || fail "$program is missing: apt-get install redis-server memcached"
done
CORES=$(getconf _NPROCESSORS_ONLN)
ON_SERVER_CORE='' GENERATOR_CORE=''
if [ "$CORES" -gt 1 ] && command -v taskset >/dev/null; then
    ON_SERVER_CORE='taskset -c 0' GENERATOR_CORE='--pin 1'
fi
MEMCACHED_USER=''
[ "$(id -u)" != 0 ] || MEMCACHED_USER='-u root'

DIR=$(mktemp -d) || exit 1
STARTED='' # every process of ours that may still run
PROBER=''
clean_up() {
    stop_servers
    rm -rf "$DIR"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

get() { eval "printf '%s' \"\$$1\""; }

is_listening() { # PORT
    awk -v port="$(printf ':%04X' "$1")" '$4 == "0A" && substr($2, length($2) - 4) == port { found = 1 }
        END { exit !found }' /proc/net/tcp /proc/net/tcp6 2>/dev/null
}

NEXT_PORT=${BENCH_PORT:-$((20000 + $$ % 10000))}
free_port() { # sets PORT
    while is_listening "$NEXT_PORT"; do NEXT_PORT=$((NEXT_PORT + 1)); done
    PORT=$NEXT_PORT
    NEXT_PORT=$((NEXT_PORT + 1))
}

pause() { sleep "$1"; }

# An ended child that nobody has waited for still has a number, so ask for its state.
is_running() { # PID
    grep -q '^State:[^Z]*$' "/proc/$1/status" 2>/dev/null
}

# Starts COMMAND as server NAME; with "free" it may use every core.
launch() { # NAME pinned|free COMMAND...
    name=$1
    where=$ON_SERVER_CORE
    [ "$2" = pinned ] || where=''
    shift 2
    # shellcheck disable=SC2086 # the prefix is words
    $where "$@" >"$DIR/$name.log" 2>&1 </dev/null &
    STARTED="$STARTED $!"
    eval "pid_$name=$!"
    words=$where
    for word in "$@"; do
        case $word in
        '' | *[!A-Za-z0-9_./:=-]*) words="$words '$word'" ;;
        *) words="$words $word" ;;
        esac
    done
    record_command "$(printf '%s' "${words# }" | sed "s|$DIR|TMP|g")"
}

stop_servers() {
    for pid in $PROBER $STARTED; do kill "$pid" 2>/dev/null; done
    for pid in $PROBER $STARTED; do
        tries=0
        while is_running "$pid" && [ $tries -lt 50 ]; do
            tries=$((tries + 1))
            pause 0.1
        done
        kill -9 "$pid" 2>/dev/null
        wait "$pid" 2>/dev/null
    done
    STARTED='' PROBER=''
}

record_command() { printf '%s\n' "$*" >>"$DIR/commands"; }

member() { # NAME, of the JSON line on stdin
    sed -n "s/.*[{,]\"$1\":\([^,}]*\).*/\1/p"
}

machine() {
    printf '%s\n' "$(awk -F': *' '/^model name/ { print $2; exit }' /proc/cpuinfo), $CORES cores," \
        "$(awk '/^MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo), $(uname -sm) $(uname -r | sed "s/-.*//")" |
        paste -sd ' '
}

say() { printf '%s\n' "$*" >>"$DIR/report"; }

write_complaints() {
    [ -s "$DIR/complaints" ] || return 0
    say ''
    say '## Complaints of the generator'
    say ''
    say '```'
    sort "$DIR/complaints" | uniq -c | head -20 >>"$DIR/report"
    say '```'
}

: >"$DIR/complaints"
