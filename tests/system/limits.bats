#!/usr/bin/env bats
# Who may come in, and how much a client may ask for.

setup() { load helper; }
teardown() { stop_all; }

# What the memcached port says to these lines and nothing else; the stream ends with them.
stranger()
{
    printf '%s\r\n' "$@" | nc -N -w 10 127.0.0.1 "$MC_PORT" | tr -d '\r'
}

@test "requirepass keeps redis clients out until they know it" {
    start_node --requirepass secret
    is "NOAUTH Authentication required." cli GET k
    [[ $(cli --no-auth-warning -a wrong GET k 2>&1) == *WRONGPASS* ]]
    is OK cli --no-auth-warning -a secret SET k v
    is v cli --no-auth-warning -a secret GET k
    is 1 auth_failures
    run corral status
    [ "$status" -eq 1 ]
    [[ $output == *NOAUTH*"-a"* ]]
    is PONG corral -a secret ping
    CORRAL_PASSWORD=secret is PONG corral ping
}

auth_failures()
{
    cli --no-auth-warning -a secret INFO stats | tr -d '\r' | sed -n 's/^auth_failures://p'
}

@test "requirepass keeps memcached clients out until they know it" {
    start_node --requirepass secret
    is "CLIENT_ERROR unauthenticated" stranger "get k"
    is "CLIENT_ERROR authentication failure" stranger "set auth 0 0 10" "user wrong"
    is $'STORED\nSTORED\nVALUE k 0 1\nv\nEND' memcache "set auth 0 0 11" "user secret" "set k 0 0 1" v "get k"
    is 1 auth_failures
}

@test "a password set at run time counts for those who come then" {
    start_node
    is OK cli CONFIG SET requirepass secret
    is "NOAUTH Authentication required." cli GET k
    is OK cli --no-auth-warning -a secret CONFIG SET requirepass ""
    is "" cli GET k
}

clients_are()
{
    [ "$("$CORRAL_BIN/corral" -s "$BATS_TEST_TMPDIR/s" info clients | tr -d '\r' |
        sed -n 's/^connected_clients://p')" = "$1" ]
}

@test "beyond maxclients a client is told so and let go; when one leaves there is room" {
    start_node --maxclients 3 --unixsocket "$BATS_TEST_TMPDIR/s"
    exec 5<>"/dev/tcp/127.0.0.1/$PORT" 6<>"/dev/tcp/127.0.0.1/$MC_PORT"
    eventually clients_are 3 # with the one who asks
    exec 7<>"/dev/tcp/127.0.0.1/$PORT"
    printf 'PING\r\n' >&7
    is $'+PONG\r' head -n 1 <&7
    is "-ERR max number of clients reached" turned_away "$PORT"
    is "ERROR Too many open connections" turned_away "$MC_PORT"
    exec 5>&- 6>&- 7>&-
    eventually cli PING
    [ "$(info rejected_connections)" -ge 2 ]
    [ "$(info connected_clients)" -le 3 ]
}

turned_away()
{
    nc -w 10 127.0.0.1 "$1" </dev/null | tr -d '\r'
}

counts()
{
    [ "$(info "$1")" -ge "$2" ]
}

@test "a client that does not read its replies is closed at client-output-buffer-limit" {
    start_node --client-output-buffer-limit 1mb
    head -c 1000000 /dev/zero | tr '\0' x | cli -x SET big >/dev/null
    exec 5<>"/dev/tcp/127.0.0.1/$PORT"
    printf 'GET big\r\n%.0s' $(seq 40) >&5 2>/dev/null || true # it may be closed before the last is written
    eventually counts client_output_limit_closed 1
    exec 5>&-
    grep -q 'event=client_output_limit ' "$LOG"
    is PONG cli PING
}

@test "an unfinished request beyond client-query-buffer-limit closes its connection" {
    start_node --client-query-buffer-limit 1mb
    exec 5<>"/dev/tcp/127.0.0.1/$PORT"
    printf '*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5000000\r\n' >&5
    head -c 2000000 /dev/zero >&5 2>/dev/null || true
    eventually counts client_query_limit_closed 1
    exec 5>&-
    is PONG cli PING
}

@test "an idle connection is closed after timeout seconds" {
    start_node --timeout 1
    exec 5<>"/dev/tcp/127.0.0.1/$PORT"
    is "" timeout 10 cat <&5
    exec 5>&-
    is 1 info client_idle_closed
}

@test "a name may have 512 bytes" {
    start_node
    longest=$(printf '%0512d' 0)
    is OK cli CLIENT SETNAME "$longest"
    is "ERR Client names cannot be longer than 512 bytes." cli CLIENT SETNAME "${longest}0"
    is "ERR Client names cannot be longer than 512 bytes." cli HELLO 2 SETNAME "${longest}0"
    is OK cli CLIENT SETINFO lib-name "$longest"
    is "ERR lib-ver cannot be longer than 512 bytes." cli CLIENT SETINFO lib-ver "${longest}0"
    is PONG cli PING
}

@test "a key may have 32767 bytes for redis clients and 250 for memcached clients" {
    start_node
    longest=$(printf '%032767d' 0)
    is OK cli SET "$longest" v
    is v cli GET "$longest"
    [[ $(cli SET "${longest}0" v) == ERR* ]]
    is STORED memcache "set $(printf '%0250d' 0) 0 0 1" v
    [[ $(stranger "get $(printf '%0251d' 0)") == CLIENT_ERROR* ]]
    is 2 cli DBSIZE
}

# Sends the start of a request and keeps the line open until killed.
announce()
{
    (printf '%s' "$1"; exec sleep 30) 3>&- | nc 127.0.0.1 "$2" >/dev/null 2>&1 3>&- &
    STARTED+=("$!")
}

big_buffer_seen()
{
    [ "$(cli CLIENT LIST | grep -c 'qbuf=[1-9]')" -ge 1 ]
}

@test "announcing half a gigabyte pushes nothing out of the cache" {
    start_node --maxmemory 64mb
    "$CORRAL_BIN/corral-load" --port "$PORT" --keys 30000 --value-size 1000 --preload --seconds 0 >/dev/null
    is 30000 cli DBSIZE
    announce $'*3\r\n$3\r\nSET\r\n$1\r\na\r\n$30000000\r\nx' "$PORT"
    eventually big_buffer_seen
    local before
    before=$(cli INFO server | tr -d '\r' | sed -n 's/^uptime_in_seconds://p')
    later() { [ "$(cli INFO server | tr -d '\r' | sed -n 's/^uptime_in_seconds://p')" -gt "$((before + 1))" ]; }
    eventually later # a dozen measurements of memory have been made by now
    is 30000 cli DBSIZE
}

@test "a stranger on the memcached port may not send a long request" {
    start_node --requirepass secret
    [[ $( (printf 'set a 0 0 60000\r\n'; head -c 5000 /dev/zero) | nc -N -w 10 127.0.0.1 "$MC_PORT") == \
        *"CLIENT_ERROR unauthenticated"* ]]
}
