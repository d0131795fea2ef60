#!/usr/bin/env bats
# What somebody does in the first minute: both kinds of client, the same keys.

setup() { load helper; }
teardown() { stop_all; }

# What README shows of make run.
@test "three nodes are one cache to clients of both kinds" {
    MC_PORT=$(free_port)
    PORT=$(free_port)
    "$CORRAL_BIN/corral" up 3 --port "$PORT" --memcache-port "$MC_PORT" --cluster-port "$(free_port)" \
        --cluster-client-port "$(free_port)" >"$BATS_TEST_TMPDIR/out" 2>&1 3>&- &
    STARTED+=("$!")
    if ! eventually grep -q 'Ctrl-C stops them all' "$BATS_TEST_TMPDIR/out"; then
        cat "$BATS_TEST_TMPDIR/out"
        return 1
    fi
    for i in 0 1 2 3 4 5 6 7 8 9; do
        is OK cli SET "greeting$i" "hello$i" EX 60
        is "VALUE greeting$i 0 6
hello$i
END" eval "MC_PORT=$((MC_PORT + 2)) memcache 'get greeting$i'"
        is "hello$i" redis-cli -p $((PORT + 1)) GET "greeting$i"
    done
    is 3 eval 'corral nodes | grep -c 127.0.0.1:'
    corral ring greeting | grep -q '^greeting is in slot 12714, which'
    corral status | grep -q '^cluster   ok, 3 nodes'
}

@test "a value set by redis-cli is read by a memcached client" {
    start_node
    is OK cli SET greeting hello
    is hello cli GET greeting
    is $'VALUE greeting 0 5\nhello\nEND' memcache "get greeting"
}

@test "a value stored by a memcached client is read by redis-cli, with its flags kept" {
    start_node
    is STORED memcache "set colour 42 0 4" blue
    is blue cli GET colour
    is $'VALUE colour 42 4\nblue\nEND' memcache "get colour"
    is 1 cli DEL colour
    is END memcache "get colour"
}

@test "a time to live set by one protocol is seen by the other" {
    start_node
    is STORED memcache "set a 0 100 1" x
    ttl=$(cli TTL a)
    [ "$ttl" -ge 99 ]
    [ "$ttl" -le 100 ]
    is OK cli SET b y EX 100
    left=$(memcache "mg b t" | sed -n 's/^HD t//p')
    [ "$left" -ge 99 ]
    [ "$left" -le 100 ]
    is TOUCHED memcache "touch b 200"
    [ "$(cli TTL b)" -gt 100 ]
    is 1 cli PERSIST a
    is "HD t-1" memcache "mg a t"
}

@test "arithmetic and appending work on the same value from both sides" {
    start_node
    is OK cli SET n 41
    is 42 memcache "incr n 1"
    is 40 cli DECRBY n 2
    is STORED memcache "append n 0 0 1" 5
    is 405 cli GET n
}

@test "bytes of any kind survive the way through both protocols" {
    start_node
    printf 'a\0b\r\nc\377' >"$BATS_TEST_TMPDIR/value"
    is OK cli -x SET binary <"$BATS_TEST_TMPDIR/value"
    { printf 'get binary\r\nquit\r\n'; } | nc -w 10 127.0.0.1 "$MC_PORT" >"$BATS_TEST_TMPDIR/got"
    { printf 'VALUE binary 0 7\r\n'; cat "$BATS_TEST_TMPDIR/value"; printf '\r\nEND\r\n'; } |
        cmp - "$BATS_TEST_TMPDIR/got"
}

@test "inline commands work by hand, with quotes" {
    start_node
    is $'+PONG\n+OK\n$9\ntwo words\n:1\n+OK' inline PING 'SET k "two words"' "GET k" "DEL k"
}

@test "the Unix socket serves redis clients, with the permissions asked for" {
    start_node --unixsocket "$BATS_TEST_TMPDIR/s" --unixsocketperm 0770
    is OK redis-cli -s "$BATS_TEST_TMPDIR/s" SET k v
    is v cli GET k
    is 770 stat -c %a "$BATS_TEST_TMPDIR/s"
    stop_node
    [ ! -e "$BATS_TEST_TMPDIR/s" ]
}

@test "one protocol alone can be turned off" {
    start_node --memcache-port 0
    is PONG cli PING
    run nc -z 127.0.0.1 "$MC_PORT"
    [ "$status" -ne 0 ]
}
