#!/usr/bin/env bats
# Real clients, doing much at once.

setup() { load helper; }
teardown() { stop_all; }

# What connection 5 hears up to PONG, without the lengths of strings.
replies_up_to_pong()
{
    local line

    while IFS= read -r -t 20 line <&5 && [[ $line != +PONG* ]]; do
        [[ $line == \$* ]] || printf '%s\n' "${line%$'\r'}"
    done
}

@test "going through all keys makes nobody else wait, and the replies stay in order" {
    local keys=500000
    sanitized && keys=100000
    start_node --maxmemory 512mb
    load_with --keys "$keys" --value-size 10 --preload --seconds 0 --pipeline 32 >/dev/null
    cli -n 1 SET lonely 1
    exec 5<>"/dev/tcp/127.0.0.1/$PORT" 6<>"/dev/tcp/127.0.0.1/$PORT"
    printf 'KEYS nothing\r\nDBSIZE\r\nSELECT 1\r\nKEYS l*\r\nRANDOMKEY\r\nPING\r\n' >&5
    printf 'PING\r\n' >&6
    is $'+PONG\r' head -n 1 <&6
    ! read -t 0 -u 5 # they are still under way
    is $'*0\n:'"$keys"$'\n+OK\n*1\nlonely\nlonely' replies_up_to_pong
    # All at once, where that has to be.
    printf 'MULTI\r\nKEYS l*\r\nRANDOMKEY\r\nEXEC\r\nCLIENT REPLY OFF\r\nKEYS *\r\nCLIENT REPLY ON\r\nPING\r\n' >&5
    is $'+OK\n+QUEUED\n+QUEUED\n*2\n*1\nlonely\nlonely\n+OK' replies_up_to_pong
    is "$keys" keys_listed
    # Whoever hangs up in the middle takes the walk along.
    for _ in 1 2 3 4 5; do
        printf 'KEYS *\r\n' >&6
        exec 6>&-
        exec 6<>"/dev/tcp/127.0.0.1/$PORT"
    done
    exec 5>&- 6>&-
    eventually is 1 info connected_clients
    is "" cli -n 2 RANDOMKEY
    is "" cli -n 2 KEYS '*'
}

keys_listed()
{
    cli KEYS '*' | sort -u | wc -l
}

@test "a list of keys longer than a reply may be costs its own connection only" {
    start_node --client-output-buffer-limit 1mb
    load_with --keys 100000 --value-size 10 --preload --seconds 0 --pipeline 32 >/dev/null
    [[ $(cli KEYS '*' 2>&1) == *"closed the connection"* ]]
    is 1 info client_output_limit_closed
    is 100000 scanned
}

# SCAN gives no more at a time than is bearable for others, whatever is asked for.
scanned()
{
    local cursor=0 part=$BATS_TEST_TMPDIR/part

    while :; do
        cli SCAN "$cursor" COUNT 100000000 >"$part"
        cursor=$(head -n 1 "$part")
        tail -n +2 "$part"
        [ "$cursor" != 0 ] || break
    done | sort -u | wc -l
}

@test "a pipeline of 10000 commands is answered completely and in order" {
    start_node
    seq 10000 | sed 's/.*/SET key:& value:&/' | cli --pipe >"$BATS_TEST_TMPDIR/pipe"
    grep -q 'errors: 0, replies: 10000' "$BATS_TEST_TMPDIR/pipe"
    is 10000 cli DBSIZE
    seq 10000 | sed 's/.*/GET key:&/' | cli >"$BATS_TEST_TMPDIR/got"
    seq 10000 | sed 's/^/value:/' | cmp - "$BATS_TEST_TMPDIR/got"
}

@test "10000 memcached commands in one go are answered completely and in order" {
    start_node
    { seq 10000 | awk '{ printf "set k%d 0 0 %d\r\n%d\r\n", $1, length($1), $1 }'; printf 'quit\r\n'; } |
        nc -w 10 127.0.0.1 "$MC_PORT" >"$BATS_TEST_TMPDIR/stored"
    is 10000 grep -c '^STORED' "$BATS_TEST_TMPDIR/stored"
    { seq 10000 | awk '{ printf "get k%d\r\n", $1 }'; printf 'quit\r\n'; } |
        nc -w 10 127.0.0.1 "$MC_PORT" | tr -d '\r' >"$BATS_TEST_TMPDIR/got"
    seq 10000 | awk '{ printf "VALUE k%d 0 %d\n%d\nEND\n", $1, length($1), $1 }' |
        cmp - "$BATS_TEST_TMPDIR/got"
}

@test "a memcached multiget gives what is there, in the order of the question" {
    start_node
    cli MSET a 1 b 22 c 333 >/dev/null
    is $'VALUE c 0 3\n333\nVALUE a 0 1\n1\nVALUE b 0 2\n22\nEND' memcache "get c nowhere a b"
}

@test "a quiet meta pipeline answers hits only, up to the mn" {
    start_node
    cli MSET a 1 c 3 >/dev/null
    is $'VA 1 ka\n1\nVA 1 kc\n3\nMN' memcache "mg a k v q" "mg b k v q" "mg c k v q" mn
}

@test "redis-cli --scan finds each of 10000 keys, and with a pattern only those" {
    start_node
    seq 10000 | sed 's/.*/SET key:& x/' | cli --pipe >/dev/null
    cli --scan | sort -u >"$BATS_TEST_TMPDIR/found"
    seq 10000 | sed 's/^/key:/' | sort | cmp - "$BATS_TEST_TMPDIR/found"
    is 1112 count_matching 'key:1*' # 1, 10 to 19, 100 to 199, 1000 to 1999, 10000
}

count_matching()
{
    cli --scan --pattern "$1" | sort -u | wc -l
}

@test "two workers, four client threads: redis-benchmark runs through, and no value is wrong" {
    start_node --threads 2
    is 2 info worker_threads
    redis-benchmark -h 127.0.0.1 -p "$PORT" --threads 4 -c 20 -n 20000 -r 1000 -P 4 -t set,get,incr,mset -q \
        >"$BATS_TEST_TMPDIR/bench" 2>&1
    [ "$(tr '\r' '\n' <"$BATS_TEST_TMPDIR/bench" | grep -c 'requests per second')" -ge 4 ]
    load_with --threads 2 --connections 20 --keys 5000 --ratio 3:1 --pipeline 4 --preload --seconds 1 --verify \
        >"$BATS_TEST_TMPDIR/load"
    is 0 wrong_values
}

# Over both parts of the run: preload and measured.
wrong_values()
{
    grep -o '[0-9]* refused, [0-9]* wrong' "$BATS_TEST_TMPDIR/load" | awk '{ n += $1 + $3 } END { print n + 0 }'
}

@test "both protocols at once on two workers: no value is wrong" {
    start_node --threads 2
    for protocol in memcache meta; do
        "$CORRAL_BIN/corral-load" --port "$MC_PORT" --protocol "$protocol" --connections 8 --keys 2000 \
            --ratio 1:1 --preload --requests 10000 --seconds 10 --verify \
            >"$BATS_TEST_TMPDIR/load.$protocol" 3>&- &
        STARTED+=($!) pids="$pids $!"
    done
    load_with --connections 8 --keys 2000 --ratio 1:1 --preload --requests 10000 --seconds 10 --verify \
        >"$BATS_TEST_TMPDIR/load.resp"
    for pid in $pids; do
        wait "$pid"
    done
    cat "$BATS_TEST_TMPDIR"/load.* >"$BATS_TEST_TMPDIR/load"
    is 6 grep -c ' 0 refused, 0 wrong' "$BATS_TEST_TMPDIR/load"
    is 0 wrong_values
}

@test "memccapable finds nothing wrong with the text protocol" {
    needs memccapable
    start_node
    run timeout 60 memccapable -h 127.0.0.1 -p "$MC_PORT" -a -t 10 3>&-
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output == *"All tests passed"* ]]
}

@test "libmemcached's tools store, read, remove and show statistics" {
    needs memccp
    start_node
    servers=127.0.0.1:$MC_PORT
    printf hello >"$BATS_TEST_TMPDIR/note"
    memccp --servers="$servers" "$BATS_TEST_TMPDIR/note"
    is hello cli GET note
    is hello memccat --servers="$servers" note
    memcrm --servers="$servers" note
    is 0 cli EXISTS note
    memcstat --servers="$servers" >"$BATS_TEST_TMPDIR/stat"
    grep -q "pid: $PID" "$BATS_TEST_TMPDIR/stat"
    grep -q "curr_items: 0" "$BATS_TEST_TMPDIR/stat"
}

@test "corral, the operator's tool: status, info, ping, config, flush" {
    start_node --maxmemory 64mb
    cli MSET a 1 b 2 >/dev/null
    corral status >"$BATS_TEST_TMPDIR/status"
    grep -q "pid $PID" "$BATS_TEST_TMPDIR/status"
    grep -q "of 64.0 MiB" "$BATS_TEST_TMPDIR/status"
    grep -q "^keys *2," "$BATS_TEST_TMPDIR/status"
    is PONG corral ping
    corral info keyspace | grep -q '^db0:keys=2,'
    is "maxmemory 67108864" corral config get maxmemory
    is "hz is now 20" corral config set hz 20
    is "hz 20" corral config get hz
    is "all keys are gone" corral flush
    is 0 cli DBSIZE
}

@test "corral says what is wrong, with exit code 1" {
    start_node
    run corral config get nothing-like-this
    [ "$status" -eq 1 ]
    run corral frobnicate
    [ "$status" -eq 1 ]
    [[ $output == *"what is 'frobnicate'?"* ]]
    stop_node
    run corral ping
    [ "$status" -eq 1 ]
    [[ $output == *"no node at 127.0.0.1 port $PORT"* ]]
}
