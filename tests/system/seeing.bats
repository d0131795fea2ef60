#!/usr/bin/env bats
# What an operator sees and changes while a node runs: CONFIG REWRITE, slow requests, clients of a cluster.

setup() { load helper; }
teardown() { stop_all; }

@test "CONFIG REWRITE keeps comments, order and untouched lines, and adds what is new" {
    local conf=$BATS_TEST_TMPDIR/conf

    printf '%s\n' "# mine" "maxmemory 64mb   " "" "  Hz 20" "timeout 0" "# twice" "hz 30" >"$conf"
    chmod 640 "$conf"
    NODE_FILE=("$conf")
    start_node
    is OK cli CONFIG SET maxclients 77 timeout 9 requirepass 'a "b\c' client-query-buffer-limit 2mb
    export REDISCLI_AUTH='a "b\c'
    is OK cli CONFIG REWRITE
    is "# mine
maxmemory 64mb   

hz 30
timeout 9
# twice

# Added by CONFIG REWRITE
port $PORT
memcache-port $MC_PORT
requirepass \"a \\\"b\\\\c\"
threads 1
maxclients 77
client-query-buffer-limit 2mb" cat "$conf"
    is 640 stat -c %a "$conf"
    is OK cli CONFIG SET maxclients 78
    is OK cli CONFIG REWRITE
    is 1 grep -c '# Added by' "$conf"
    is 1 grep -c maxclients "$conf"
    stop_node
    start_node
    is $'maxclients\n78' cli CONFIG GET maxclients
    is $'client-query-buffer-limit\n2097152' cli CONFIG GET client-query-buffer-limit
    is conf ls "$BATS_TEST_TMPDIR" --hide 'log.*'
}

@test "CONFIG REWRITE says why it cannot, and then changes nothing" {
    local conf=$BATS_TEST_TMPDIR/sub/conf

    start_node
    is "ERR The server is running without a config file" cli CONFIG REWRITE
    stop_node
    mkdir "$BATS_TEST_TMPDIR/sub"
    echo "hz 20" >"$conf"
    NODE_FILE=("$conf")
    start_node
    echo "hz twenty" >"$conf"
    run cli CONFIG REWRITE
    [[ $output == "ERR Rewriting config file: 'hz' cannot be 'twenty'"* ]]
    is "hz twenty" cat "$conf"
    rm "$conf"
    is "ERR Rewriting config file: No such file or directory" cli CONFIG REWRITE
    is "" ls "$BATS_TEST_TMPDIR/sub"
}

@test "every call of a pipeline is counted, and all workers are summed" {
    start_node --threads 2
    load_with --connections 8 --pipeline 64 --ratio 1:1 --keys 1000 --requests 20000 --seconds 60
    cli INFO commandstats | tr -d '\r' | awk -F'[:=,]' '/^cmdstat_(get|set):/ { calls += $3; usec += $5 }
        END { if (calls < 20000 || usec == 0) { print calls, usec; exit 1 } }'
    cli CONFIG RESETSTAT
    ! cli INFO commandstats | grep -q cmdstat_get
}

# 8 MiB are no blob when they are appended to, so they are copied: slow, and slower with a sanitizer.
@test "a slow request is in the slowlog and an event of LATENCY" {
    start_node --slowlog-log-slower-than 2000 --latency-monitor-threshold 1
    head -c 8388608 /dev/zero | tr '\0' x >"$BATS_TEST_TMPDIR/big"
    for i in 1 2 3 4 5; do
        cli -x APPEND big <"$BATS_TEST_TMPDIR/big" >/dev/null
    done
    cli SLOWLOG GET | grep -qi append
    cli LATENCY LATEST | grep -q command
    cli LATENCY DOCTOR | grep -q command
    [ "$(cli LATENCY RESET)" -ge 1 ]
    is "" cli LATENCY LATEST
}

# Each of them is too brief for the limit; 32 are not, and are only timed together.
@test "redis-cli as a cluster client works against one node" {
    start_member 0
    is OK cli -c SET '{a}b' 1
    is 1 cli -c GET '{a}b'
    is OK cli -c -n 0 MSET x 1 y 2
    cli CLUSTER INFO | grep -q cluster_state:ok
    redis-cli --cluster check "127.0.0.1:$PORT" | grep -q 'All 16384 slots covered'
}
