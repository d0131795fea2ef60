#!/usr/bin/env bats
# Options, how a start fails, signals, and what a crash leaves behind.

setup() { load helper; }
teardown() { stop_all; }

@test "--help names every option, --version the version" {
    run "$CORRAL_BIN/corrald" --help
    [ "$status" -eq 0 ]
    for option in $(sed -n 's/^[A-Z]* *([a-z_, ]*"\([a-z-]*\)",.*/\1/p' "$CORRAL_ROOT/server/options.def"); do
        [[ $output == *"--$option ("* ]] || { echo "--$option is missing" >&2; false; }
        seen=$((seen + 1))
    done
    [ "$seen" -gt 20 ]
    run "$CORRAL_BIN/corrald" --version
    [ "$status" -eq 0 ]
    [[ $output == *corral* ]]
}

@test "the manual page and the sample configuration come out of the program" {
    "$CORRAL_BIN/corrald" --man | grep -q '^\.TH'
    "$CORRAL_BIN/corrald" --sample-config >"$BATS_TEST_TMPDIR/conf"
    grep -q maxmemory-policy "$BATS_TEST_TMPDIR/conf"
    NODE_FILE=("$BATS_TEST_TMPDIR/conf")
    start_node
    is PONG cli PING
}

@test "a configuration file is read, and the command line wins over it" {
    printf '%s\n' "# a comment" "" "maxmemory 48mb" "Hz 25" "maxclients 77" >"$BATS_TEST_TMPDIR/conf"
    NODE_FILE=("$BATS_TEST_TMPDIR/conf")
    start_node --maxclients 78
    is $'maxmemory\n50331648' cli CONFIG GET maxmemory
    is $'hz\n25' cli CONFIG GET hz
    is $'maxclients\n78' cli CONFIG GET maxclients
}

@test "a wrong line in the file is named, with its number" {
    printf '%s\n' "port 0" "maxmemory lots" >"$BATS_TEST_TMPDIR/conf"
    refused "$BATS_TEST_TMPDIR/conf"
    [ "$status" -eq 1 ]
    [[ $output == *"$BATS_TEST_TMPDIR/conf"*2*maxmemory* ]]
}

@test "a file that is not there is said so" {
    refused "$BATS_TEST_TMPDIR/nowhere.conf"
    [ "$status" -eq 1 ]
    [[ $output == *"nowhere.conf"*"No such file"* ]]
}

@test "an unknown option is refused, with a guess at what was meant" {
    refused --maxmemry 3mb
    [ "$status" -eq 1 ]
    [[ $output == *"'maxmemry'"*"did you mean 'maxmemory'?"* ]]
}

@test "a value out of range is refused" {
    refused --port 70000
    [ "$status" -eq 1 ]
    [[ $output == *port*70000* ]]
    refused --maxmemory-policy allkeys-best
    [ "$status" -eq 1 ]
    [[ $output == *maxmemory-policy*allkeys-best* ]]
}

@test "a port in use is named, with what to do about it" {
    start_node
    refused --port "$PORT" --memcache-port 0
    [ "$status" -eq 1 ]
    [[ $output == *"port $PORT on 127.0.0.1 is taken"*"--port"* ]]
    refused --port 0 --memcache-port "$MC_PORT"
    [ "$status" -eq 1 ]
    [[ $output == *"memcache-port $MC_PORT on 127.0.0.1 is taken"*"--memcache-port"* ]]
    is PONG cli PING
}

@test "a Unix socket that somebody answers on is not taken over" {
    start_node --unixsocket "$BATS_TEST_TMPDIR/s"
    refused --port 0 --memcache-port 0 --unixsocket "$BATS_TEST_TMPDIR/s"
    [ "$status" -eq 1 ]
    [[ $output == *"$BATS_TEST_TMPDIR/s is taken"* ]]
    is PONG redis-cli -s "$BATS_TEST_TMPDIR/s" PING
}

@test "nothing to listen on is an error" {
    refused --port 0 --memcache-port 0
    [ "$status" -eq 1 ]
    [[ $output == *"nothing to listen on"* ]]
}

@test "CONFIG SET shows in CONFIG GET, and in what the node does" {
    start_node
    is OK cli CONFIG SET maxclients 123 hz 50
    is $'maxclients\n123' cli CONFIG GET maxclients
    is $'hz\n50' cli CONFIG GET hz
    is OK cli CONFIG SET maxmemory 100mb
    is 104857600 info maxmemory
    is OK cli CONFIG SET maxmemory-policy allkeys-lru
    is allkeys-lru info maxmemory_policy
    [[ $(cli CONFIG SET port 1) == *"can't set immutable config"* ]]
    [[ $(cli CONFIG SET nonsense 1) == *"Unknown option"* ]]
    [[ $(cli CONFIG SET hz many) == ERR* ]]
    is $'hz\n50' cli CONFIG GET hz
}

@test "SIGTERM stops the node with exit code 0, clients connected or not" {
    start_node --pidfile "$BATS_TEST_TMPDIR/pid"
    is "$PID" cat "$BATS_TEST_TMPDIR/pid"
    mkfifo "$BATS_TEST_TMPDIR/hold"
    nc 127.0.0.1 "$PORT" <"$BATS_TEST_TMPDIR/hold" >/dev/null 3>&- &
    STARTED+=($!)
    exec 4>"$BATS_TEST_TMPDIR/hold"
    eventually two_clients
    stop_node
    exec 4>&-
    grep -q 'event=stopping signal=15' "$LOG"
    grep -q "event=stopped pid=$PID" "$LOG"
    [ ! -e "$BATS_TEST_TMPDIR/pid" ]
}

two_clients()
{
    [ "$(info connected_clients)" -ge 2 ]
}

@test "SHUTDOWN stops the node with exit code 0" {
    start_node
    cli SHUTDOWN NOSAVE
    wait "$PID"
    grep -q 'event=stopping command=shutdown' "$LOG"
}

@test "after kill -9 the node starts again on the same ports and the same socket file" {
    start_node --unixsocket "$BATS_TEST_TMPDIR/s"
    is OK cli SET k v
    first=$PID port=$PORT
    kill -KILL "$PID"
    wait "$PID" || true
    [ -S "$BATS_TEST_TMPDIR/s" ]
    start_node --unixsocket "$BATS_TEST_TMPDIR/s"
    [ "$PID" != "$first" ]
    [ "$PORT" = "$port" ]
    is PONG redis-cli -s "$BATS_TEST_TMPDIR/s" PING
    is 0 cli DBSIZE
    is "VERSION" memcache_version
}

memcache_version()
{
    memcache version | cut -d ' ' -f 1
}

@test "too little address space is said so" {
    ! sanitized || skip "sanitizers need more address space than this test leaves"
    refused_in_4_gb
    [ "$status" -eq 1 ]
    [[ $output == *"ulimit -v"* ]]
}

refused_in_4_gb()
{
    run bash -c 'ulimit -v 4000000; exec timeout 10 "$0" --port 0' "$CORRAL_BIN/corrald" 3>&-
}

@test "SIGHUP opens the log file anew after a rotation" {
    start_node
    stop_node
    "$CORRAL_BIN/corrald" --port "$PORT" --memcache-port 0 --threads 1 --logfile "$BATS_TEST_TMPDIR/log" \
        3>&- </dev/null &
    PID=$! LOG=$BATS_TEST_TMPDIR/log
    STARTED+=("$PID")
    eventually cli PING
    mv "$LOG" "$LOG.1"
    kill -HUP "$PID"
    eventually grep -q 'event=log_reopened ok=1' "$LOG"
    grep -q 'event=ready' "$LOG.1"
    is OK cli CONFIG SET hz 11
    grep -q 'event=config_set option=hz value="11"' "$LOG"
}

# Everything that is wrong before the node runs is one line and exit code 1.
one_line()
{
    refused "$@"
    [ "$status" -eq 1 ]
    [ "${#lines[@]}" -eq 1 ]
    [[ $output == "corrald: "* ]]
}

@test "what cannot be read, written or become is said in one line" {
    local quiet=(--port 0 --memcache-port 0 --unixsocket "$BATS_TEST_TMPDIR/s")
    one_line "$BATS_TEST_TMPDIR"
    [[ $output == *"$BATS_TEST_TMPDIR"*directory* ]]
    one_line "${quiet[@]}" --logfile "$BATS_TEST_TMPDIR/none/log"
    [[ $output == *"cannot open logfile"*"No such file"* ]]
    one_line "${quiet[@]}" --pidfile "$BATS_TEST_TMPDIR/none/pid"
    [[ $output == *"cannot write pidfile"*"No such file"* ]]
    one_line "${quiet[@]}" --pidfile "$BATS_TEST_TMPDIR"
    [[ $output == *"cannot write pidfile"*directory* ]]
    one_line "${quiet[@]}" --user nobody-of-that-name
    [[ $output == *"there is no user 'nobody-of-that-name'"* ]]
    one_line --bind 192.0.2.77 --port "$(free_port)"
    [[ $output == *"cannot listen on 192.0.2.77"* ]]
    one_line --bind no.such.host.invalid
    [[ $output == *"bind: no.such.host.invalid is no address"* ]]
    one_line "${quiet[@]}" --maxmemory-clients 200%
    [[ $output == *"maxmemory-clients"*"percentage"* ]]
    one_line --port
    [[ $output == *"value is missing"* ]]
    one_line port=1
    [ ! -e "$BATS_TEST_TMPDIR/s" ]
}

@test "a file that is no socket is not removed in the place of one" {
    echo precious >"$BATS_TEST_TMPDIR/file"
    one_line --port 0 --memcache-port 0 --unixsocket "$BATS_TEST_TMPDIR/file"
    [[ $output == *"no socket"* ]]
    is precious cat "$BATS_TEST_TMPDIR/file"
}

@test "a second node with the same pid file is refused; that of a crashed one is taken over" {
    start_node --pidfile "$BATS_TEST_TMPDIR/pid"
    one_line --port 0 --memcache-port 0 --unixsocket "$BATS_TEST_TMPDIR/s" --pidfile "$BATS_TEST_TMPDIR/pid"
    [[ $output == *"belongs to a running process ($PID)"* ]]
    is "$PID" cat "$BATS_TEST_TMPDIR/pid"
    kill -KILL "$PID"
    wait "$PID" || true
    start_node --pidfile "$BATS_TEST_TMPDIR/pid"
    is "$PID" cat "$BATS_TEST_TMPDIR/pid"
}

@test "started by root it goes on as another user" {
    [ "$(id -u)" = 0 ] || skip "only root can do that"
    start_node --user nobody --pidfile "$BATS_TEST_TMPDIR/pid"
    is nobody stat -c %U "/proc/$PID"
    is PONG cli PING
    stop_node
    [ ! -s "$BATS_TEST_TMPDIR/pid" ]
}

@test "SIGTERM lets what was asked be answered, and takes nobody new" {
    start_node
    head -c 1000000 /dev/zero | tr '\0' x | cli -x SET big >/dev/null
    # Asks for 100 MB, and begins to read when the node has been told to stop.
    exec 5<>"/dev/tcp/127.0.0.1/$PORT"
    printf 'GET big\r\n%.0s' $(seq 100) >&5
    eventually replies_wait
    kill -TERM "$PID"
    eventually grep -q event=stopping "$LOG"
    eventually refuses_connections
    is $((100 * (1000000 + 12))) bytes_left
    exec 5>&-
    wait "$PID"
    grep -q "event=stopped" "$LOG"
    ! grep -q event=clients_cut_off "$LOG"
}

bytes_left()
{
    timeout 20 cat <&5 | wc -c
}

replies_wait()
{
    [ "$(cli CLIENT LIST | grep -c 'omem=[1-9]')" -ge 1 ]
}

refuses_connections()
{
    ! nc -z 127.0.0.1 "$PORT"
}

@test "shutdown-timeout bounds it, and SHUTDOWN NOW or a second signal do not wait" {
    local how
    for how in timeout now signal; do
        PORT= MC_PORT=
        start_node --shutdown-timeout "$([ $how = timeout ] && echo 1 || echo 60)"
        head -c 1000000 /dev/zero | tr '\0' x | cli -x SET big >/dev/null
        exec 5<>"/dev/tcp/127.0.0.1/$PORT"
        printf 'GET big\r\n%.0s' $(seq 20) >&5
        eventually replies_wait
        case $how in
        timeout) kill -TERM "$PID" ;;
        now) cli SHUTDOWN NOSAVE NOW ;;
        signal)
            kill -TERM "$PID"
            eventually grep -q event=stopping "$LOG"
            kill -TERM "$PID"
            ;;
        esac
        wait "$PID"
        grep -q 'event=clients_cut_off clients=1' "$LOG"
        exec 5>&-
    done
}
