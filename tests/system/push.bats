#!/usr/bin/env bats
# Clients who are spoken to unasked, and clients who wait.

setup() { load helper; }
teardown() { stop_all; }

# listen_to WORDS...: redis-cli in the background; what it hears is in $HEARD.
listen_to()
{
    HEARD=$BATS_TEST_TMPDIR/heard.$#.$RANDOM
    cli "$@" >"$HEARD" 2>&1 3>&- </dev/null &
    STARTED+=("$!")
}

subscribers_are()
{
    [ "$(cli PUBSUB NUMSUB "$1" | tail -n 1)" = "$2" ]
}

has_line()
{
    grep -q -- "$2" "$1"
}

@test "redis-cli hears what is published, on two workers" {
    local first second

    start_node --threads 2
    listen_to SUBSCRIBE news
    first=$HEARD
    listen_to PSUBSCRIBE 'n*'
    second=$HEARD
    eventually subscribers_are news 1
    eventually is 1 cli PUBSUB NUMPAT
    is 2 cli PUBLISH news 'something happened'
    eventually has_line "$first" 'something happened'
    eventually has_line "$second" 'something happened'
    is 1 info pubsub_channels
    is 1 info pubsub_patterns
    is 2 info pubsub_clients
}

@test "MONITOR shows requests of both protocols" {
    start_node --threads 2
    listen_to MONITOR
    eventually has_line "$HEARD" OK
    cli SET a 'b c' >/dev/null
    memcache "set m 0 0 3" "xyz" "get m" >/dev/null
    eventually has_line "$HEARD" '"SET" "a" "b c"'
    eventually has_line "$HEARD" '"set" "m" "0" "0" "3" "xyz"'
    eventually has_line "$HEARD" '"get" "m"'
}

@test "who hangs up during a pause is let go, and what was asked is not done" {
    start_node
    is OK cli CLIENT PAUSE 60000 WRITE
    exec 5<>"/dev/tcp/127.0.0.1/$PORT" 6<>"/dev/tcp/127.0.0.1/$MC_PORT"
    printf 'SET gone 1\r\n' >&5
    printf 'set gone 0 0 1\r\n1\r\n' >&6
    eventually is 2 info blocked_clients
    exec 5>&- 6>&-
    eventually is 0 info blocked_clients
    is 1 info connected_clients
    is OK cli CLIENT UNPAUSE
    is 0 cli EXISTS gone
}

@test "CLIENT PAUSE holds memcached's writes back, and only those" {
    start_node
    cli CLIENT PAUSE 60000 WRITE >/dev/null
    printf 'set p 0 0 1\r\n1\r\nget p\r\n' | nc -w 10 127.0.0.1 "$MC_PORT" >"$BATS_TEST_TMPDIR/answers" 3>&- &
    STARTED+=("$!")
    eventually is 1 info blocked_clients
    is END memcache 'get p'
    is 0 cli EXISTS p
    cli CLIENT UNPAUSE >/dev/null
    eventually has_line "$BATS_TEST_TMPDIR/answers" VALUE
    is 0 info blocked_clients
}

@test "who hangs up while it waits is let go" {
    start_node
    printf 'WAIT 1 0\r\n' | nc -N -w 10 127.0.0.1 "$PORT" 3>&- &
    STARTED+=("$!")
    eventually is 0 info blocked_clients
    eventually is 1 info connected_clients
    exec 4<>"/dev/tcp/127.0.0.1/$PORT"
    printf 'WAIT 1 0\r\n' >&4
    eventually is 1 info blocked_clients
    exec 4>&-
    eventually is 0 info blocked_clients
    is 1 info connected_clients
}

@test "subscriptions are limited, and counted when they are too many" {
    start_node --pubsub-max-subscriptions 3
    is 3 subscribed_of a b c d e
    is 2 info subscriptions_refused
}

# How many of these channels a client gets.
subscribed_of()
{
    { printf 'SUBSCRIBE %s\r\n' "$*"; sleep 0.3; } | nc -w 1 127.0.0.1 "$PORT" | grep -c '^:'
}

@test "who does not read what it subscribed to is closed, and the cache goes on" {
    start_node --client-output-buffer-limit-pubsub 1mb
    exec 4<>"/dev/tcp/127.0.0.1/$PORT" # and nobody reads it
    printf 'SUBSCRIBE flood\r\n' >&4
    eventually subscribers_are flood 1
    eventually flooded
    is 1 info client_output_limit_closed
    is 0 info pubsub_clients
    is PONG cli PING
    exec 4>&-
}

flooded()
{
    local big

    big=$(head -c 30000 /dev/zero | tr '\0' x)
    seq 300 | sed "s/.*/PUBLISH flood $big/" | cli --pipe >/dev/null
    subscribers_are flood 0
}

@test "the tracking table is bounded, and says so" {
    start_node --tracking-table-max-keys 10
    { printf 'HELLO 3\r\nCLIENT TRACKING on\r\n'; seq 100 | sed 's/.*/GET key:&\r/'; sleep 0.5; } |
        nc -w 1 127.0.0.1 "$PORT" >"$BATS_TEST_TMPDIR/told"
    is 90 grep -c invalidate "$BATS_TEST_TMPDIR/told"
    is 90 info tracking_evicted
    is 10 info tracking_total_keys
}
