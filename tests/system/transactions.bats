#!/usr/bin/env bats
# Transactions and databases: limits, memory, the other dialect, who has to wait.

setup() { load helper; }
teardown() { stop_all; }

# Opens a redis connection at file descriptor 5; say and hear use it.
open_connection()
{
    exec 5<>"/dev/tcp/127.0.0.1/$PORT"
}

say()
{
    printf '%s\r\n' "$@" >&5
}

# One line, and not a byte more.
hear_line()
{
    local line

    IFS= read -r -t 10 line <&5
    printf '%s\n' "${line%$'\r'}"
}

expect()
{
    local want

    for want; do
        is "$want" hear_line
    done
}

@test "a queue too long, by number or by bytes, is void and counted" {
    start_node --client-multi-limit 3 --client-multi-bytes-limit 64kb
    open_connection
    say MULTI PING PING PING PING EXEC
    expect +OK +QUEUED +QUEUED +QUEUED \
        "-ERR transaction is over client-multi-limit or client-multi-bytes-limit" \
        "-EXECABORT Transaction discarded because of previous errors."
    say MULTI "SET k $(printf 'x%.0s' $(seq 10000))" "SET k $(printf 'x%.0s' $(seq 60000))" EXEC
    expect +OK +QUEUED "-ERR transaction is over client-multi-limit or client-multi-bytes-limit" \
        "-EXECABORT Transaction discarded because of previous errors."
    say MULTI PING PING PING EXEC
    expect +OK +QUEUED +QUEUED +QUEUED "*3" +PONG +PONG +PONG
    is 2 info multi_limit_refused
    is 2 info transactions_aborted
    is 1 info transactions_executed
}

@test "watched keys are limited per client and in all" {
    start_node --client-watch-limit 3 --watch-limit 4
    open_connection
    say "WATCH a b c" "WATCH a" "WATCH d"
    expect +OK +OK "-ERR too many watched keys (client-watch-limit, watch-limit)"
    [[ $(printf 'WATCH a\nWATCH b\n' | cli) == OK*"ERR too many watched keys (client-watch-limit, watch-limit)"* ]]
    say UNWATCH
    expect +OK
    is OK cli WATCH a b c
    is 2 info watch_limit_refused
}

@test "a queue counts as memory of its client" {
    start_node --maxmemory 64mb
    open_connection
    say MULTI
    expect +OK
    for _ in 1 2 3 4; do
        say "SET k $(printf 'x%.0s' $(seq 60000))"
        expect +QUEUED
    done
    line=$(cli CLIENT LIST | grep " flags=x ")
    [[ $line == *" multi=4 "* ]]
    memory=${line#* multi-mem=}
    [ "${memory%% *}" -gt 240000 ]
    [ "${memory%% *}" -lt 360000 ] # what they came in may be a little larger
    say DISCARD
    expect +OK
    run grep -c " flags=x " <(cli CLIENT LIST)
    [ "$output" = 0 ]
}

@test "what memcached clients do, and evictions, are changes to a watched key" {
    start_node --maxmemory 16mb --maxmemory-policy allkeys-lru
    open_connection
    say "SET k v" "WATCH k"
    expect +OK +OK
    is STORED memcache "set k 0 0 1" w
    say MULTI PING EXEC
    expect +OK +QUEUED "*-1"
    say "WATCH k"
    expect +OK
    is TOUCHED memcache "touch k 100"
    say MULTI PING EXEC
    expect +OK +QUEUED "*-1"
    say "WATCH k"
    expect +OK
    load_with --preload --seconds 0 --keys 40000 --value-size 1000
    is 0 cli EXISTS k
    say MULTI PING EXEC
    expect +OK +QUEUED "*-1"
    is 3 info transactions_conflicted
}

@test "flush_all empties database 0, whichever that is, and nothing else" {
    start_node
    cli -n 0 SET a 0
    cli -n 1 SET a 1
    is OK memcache flush_all
    is "" cli -n 0 GET a
    is 1 cli -n 1 GET a
    cli SWAPDB 0 1
    is $'VALUE a 0 1\n1\nEND' memcache "get a"
    cli -n 1 SET a 2
    is OK memcache "flush_all 1"
    eventually is "" cli -n 0 GET a
    is 2 cli -n 1 GET a
    [[ $(memcache "stats cachedump 1 0") == END ]]
}

@test "DEBUG is for whom it was allowed" {
    start_node
    [[ $(cli DEBUG SLEEP 0) == "ERR DEBUG command not allowed"* ]]
    stop_node
    start_node --enable-debug-command local
    is OK cli DEBUG SLEEP 0
    [[ $(cli DEBUG SLEEP x) == "ERR value is not a valid float" ]]
    [[ $(cli DEBUG JMAP) == "ERR unknown subcommand 'JMAP'. Try DEBUG HELP." ]]
}

@test "while DEBUG sleeps everybody waits, and then knows what time it is" {
    start_node --threads 3 --enable-debug-command yes
    cli SET k v PX 300
    cli DEBUG SLEEP 0.8 &
    STARTED+=($!)
    sleep 0.1
    start=$(date +%s%N)
    for _ in 1 2 3 4; do
        is "" cli GET k &
    done
    wait $(jobs -p | tail -n 4)
    [ $((($(date +%s%N) - start) / 1000000)) -gt 400 ]
}

@test "--databases 1 leaves one, 256 are the most" {
    start_node --databases 1
    is "ERR DB index is out of range" cli SELECT 1
    stop_node
    start_node --databases 256
    is OK cli -n 255 SET a 1
    cli info keyspace | grep -q '^db255:keys=1,'
    refused --databases 257
    [ "$status" -ne 0 ]
}

@test "where nothing may be evicted, what is refused changes nothing, and a rename is not" {
    start_node --maxmemory 16mb --maxmemory-policy noeviction
    cli SET first 1
    head -c 20000000 /dev/zero | tr '\0' x | cli -x MSETNX a 1 b >"$BATS_TEST_TMPDIR/reply" || true
    grep -q '^OOM' "$BATS_TEST_TMPDIR/reply"
    is 0 cli EXISTS a b
    head -c 100000 /dev/zero | tr '\0' x >"$BATS_TEST_TMPDIR/value"
    for i in $(seq 200); do
        cli -x SET "fill:$i" <"$BATS_TEST_TMPDIR/value"
    done >"$BATS_TEST_TMPDIR/reply"
    grep -q '^OOM' "$BATS_TEST_TMPDIR/reply"
    before=$(cli DBSIZE)
    is OK cli RENAME fill:1 renamed
    is 1 cli MOVE fill:2 1
    is 1 cli RENAMENX fill:3 renamed:3
    [[ $(cli COPY renamed copied) == OOM* ]]
    [[ $(cli MSETNX c "$(printf 'x%.0s' $(seq 50000))" d "$(printf 'x%.0s' $(seq 70000))") == OOM* ]]
    is 0 cli EXISTS copied c d fill:1 fill:2 fill:3
    is 100000 cli STRLEN renamed
    is $((before - 1)) cli DBSIZE
}
