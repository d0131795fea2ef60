#!/usr/bin/env bats
# What a client can send, or leave unsent, to hurt the node or its other clients.
# CORRAL_TEST_CLIENTS sets how many there are in a crowd (200).

setup()
{
    load helper
    crowd=${CORRAL_TEST_CLIENTS:-200}
}
teardown() { stop_all; }

counts()
{
    [ "$(info "$1")" -ge "$2" ]
}

# Sends the start of a request and keeps the line open until killed.
announce()
{
    (printf '%s' "$1"; exec sleep 30) 3>&- | nc 127.0.0.1 "$2" >/dev/null 2>&1 3>&- &
    STARTED+=("$!")
}

# An address of this machine that is not its loopback.
other_address()
{
    hostname -I 2>/dev/null | tr ' ' '\n' | grep -m 1 '^[0-9.]*$'
}

@test "protected mode turns other machines away until there is a password" {
    local ip
    ip=$(other_address) && [ -n "$ip" ] || skip "this machine has no address but its loopback"
    start_node --bind "127.0.0.1 $ip"
    [[ $(nc -w 5 "$ip" "$PORT" </dev/null) == "-DENIED "*"protected mode"*requirepass* ]]
    [[ $(nc -w 5 "$ip" "$MC_PORT" </dev/null) == "ERROR protected mode"* ]]
    is 2 info protected_mode_rejected
    is OK cli CONFIG SET protected-mode no
    is PONG redis-cli -h "$ip" -p "$PORT" PING
    is OK cli CONFIG SET protected-mode yes requirepass secret
    is PONG redis-cli --no-auth-warning -a secret -h "$ip" -p "$PORT" PING
}

@test "maxclients-per-address leaves room for others, and counts down again" {
    start_node --maxclients-per-address 2 --unixsocket "$BATS_TEST_TMPDIR/s"
    exec 5<>"/dev/tcp/127.0.0.1/$PORT" 6<>"/dev/tcp/127.0.0.1/$MC_PORT"
    printf 'PING\r\n' >&5
    is $'+PONG\r' head -n 1 <&5
    printf 'mn\r\n' >&6
    is $'MN\r' head -n 1 <&6
    [[ $(nc -w 5 127.0.0.1 "$PORT" </dev/null) == "-ERR max number of clients per address reached"* ]]
    [[ $(nc -w 5 127.0.0.1 "$MC_PORT" </dev/null) == "ERROR Too many open connections from this address"* ]]
    is PONG redis-cli -s "$BATS_TEST_TMPDIR/s" PING
    is PONG redis-cli -h 127.0.0.2 -p "$PORT" PING || true # another address, where the loopback has more than one
    exec 5>&- 6>&-
    eventually is PONG cli PING
    is 2 info address_limit_rejected
}

@test "without file descriptors clients are told so, and the node does not spin" {
    needs prlimit
    start_node
    local last
    exec 5<>"/dev/tcp/127.0.0.1/$PORT"
    printf 'PING\r\n' >&5
    is $'+PONG\r' head -n 1 <&5
    last=$(ls "/proc/$PID/fd" | sort -n | awk '$1 < 200' | tail -n 1) # what bats leaves open is far above
    prlimit --pid "$PID" --nofile=$((last + 1)):
    is "-ERR max number of clients reached" turned_away "$PORT"
    is "ERROR Too many open connections" turned_away "$MC_PORT"
    grep -q 'event=accept_failed' "$LOG"
    prlimit --pid "$PID" --nofile=1000:
    is PONG cli PING
    is 2 info no_file_rejected
    exec 5>&-
}

turned_away()
{
    nc -w 10 127.0.0.1 "$1" </dev/null | tr -d '\r'
}

@test "a request begun and never ended is given up after client-request-timeout" {
    start_node --client-request-timeout 1
    exec 5<>"/dev/tcp/127.0.0.1/$PORT" 6<>"/dev/tcp/127.0.0.1/$MC_PORT"
    # An idle client, and one that drips.
    exec 7<>"/dev/tcp/127.0.0.1/$PORT"
    printf '*2\r\n$4\r\nEC' >&5
    printf 'set a 0 0 10\r\n01' >&6
    for _ in 1 2 3; do
        sleep 0.3
        printf 'H' >&5 2>/dev/null || true
    done
    eventually counts client_request_timeout_closed 2
    is "" timeout 5 cat <&6
    grep -q 'event=client_request_timeout .*waiting_for=request' "$LOG"
    printf 'PING\r\n' >&7
    is $'+PONG\r' head -n 1 <&7
    exec 5>&- 6>&- 7>&-
}

@test "replies that nobody takes are given up after client-request-timeout" {
    start_node --client-request-timeout 1
    head -c 1000000 /dev/zero | tr '\0' x | cli -x SET big >/dev/null
    exec 5<>"/dev/tcp/127.0.0.1/$PORT"
    printf 'GET big\r\n%.0s' $(seq 20) >&5
    eventually counts client_request_timeout_closed 1
    grep -q 'event=client_request_timeout .*waiting_for=replies' "$LOG"
    exec 5>&-
    is PONG cli PING
}

@test "a value longer than will be kept is refused when it is announced, and nothing is held" {
    start_node --maxmemory 64mb --max-item-size 1mb
    exec 5<>"/dev/tcp/127.0.0.1/$PORT"
    printf '*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$400000000\r\n' >&5
    is $'-ERR string exceeds maximum allowed size (max-item-size)\r' head -n 1 <&5
    head -c 400000000 /dev/zero >&5
    printf '\r\nPING\r\n' >&5
    is $'+PONG\r' head -n 1 <&5
    [ "$(info used_memory_peak)" -lt 30000000 ]
    sanitized || [ "$(rss_kb)" -lt 60000 ]
    is 1 info too_large
    exec 5>&-
}

@test "a value for which there is no memory is refused when it is announced" {
    start_node --maxmemory 32mb
    is OK cli SET keep v
    exec 5<>"/dev/tcp/127.0.0.1/$PORT"
    printf '*3\r\n$3\r\nSET\r\n$4\r\nkeep\r\n$30000000\r\n' >&5
    is "-OOM command not allowed when used memory > 'maxmemory'."$'\r' head -n 1 <&5
    is v cli GET keep
    is 1 info oom_refused
    exec 5>&-
}

@test "what all clients hold is bounded: the largest go, small ones stay, the items too" {
    start_node --maxmemory 64mb --maxmemory-clients 10mb
    load_with --keys 20000 --value-size 1000 --preload --seconds 0 >/dev/null
    is 20000 cli DBSIZE
    exec 5<>"/dev/tcp/127.0.0.1/$PORT"
    printf '*2\r\n$4\r\nECHO\r\n$30000\r\n' >&5
    head -c 10000 /dev/zero | tr '\0' x >&5
    head -c 2000000 /dev/zero | tr '\0' x >"$BATS_TEST_TMPDIR/part"
    for _ in $(seq 12); do
        { printf '*3\r\n$3\r\nSET\r\n$1\r\na\r\n$3000000\r\n'; cat "$BATS_TEST_TMPDIR/part"; exec sleep 30; } 3>&- 5>&- |
            nc 127.0.0.1 "$PORT" >/dev/null 2>&1 3>&- 5>&- &
        STARTED+=("$!")
    done
    eventually refused_or_evicted 5
    [ "$(info client_memory)" -le "$(info client_memory_max)" ]
    is 20000 cli DBSIZE
    head -c 20000 /dev/zero | tr '\0' x >&5
    printf '\r\n' >&5
    is $'$30000\r' head -n 1 <&5
    exec 5>&-
}

@test "CLIENT NO-EVICT: who is spared stays, though it holds the most" {
    start_node --maxmemory 64mb --maxmemory-clients 10mb
    head -c 4000000 /dev/zero | tr '\0' x >"$BATS_TEST_TMPDIR/part"
    exec 5<>"/dev/tcp/127.0.0.1/$PORT"
    printf 'CLIENT NO-EVICT ON\r\n' >&5
    is $'+OK\r' head -n 1 <&5
    { printf '*2\r\n$4\r\nECHO\r\n$8000000\r\n'; cat "$BATS_TEST_TMPDIR/part"; } >&5
    for _ in 1 2 3 4; do
        { printf '*3\r\n$3\r\nSET\r\n$1\r\na\r\n$3000000\r\n'; head -c 2000000 "$BATS_TEST_TMPDIR/part"; exec sleep 30; } 3>&- 5>&- |
            nc 127.0.0.1 "$PORT" >/dev/null 2>&1 3>&- 5>&- &
        STARTED+=("$!")
    done
    eventually refused_or_evicted 2
    cat "$BATS_TEST_TMPDIR/part" >&5
    printf '\r\n' >&5
    is $'$8000000\r' head -n 1 <&5
    exec 5>&-
}

# Some find no memory left when they announce their value, others are let go later.
refused_or_evicted()
{
    [ $(($(info oom_refused) + $(info evicted_clients))) -ge "$1" ]
}

@test "one request whose reply would be endless costs its own connection only" {
    start_node --maxmemory 64mb --client-output-buffer-limit 2mb
    head -c 50000 /dev/zero | tr '\0' x | cli -x SET k >/dev/null
    { printf '*1001\r\n$4\r\nMGET\r\n'; printf '$1\r\nk\r\n%.0s' $(seq 1000); } >"$BATS_TEST_TMPDIR/mget"
    is 0 answer_bytes
    is 1 info client_output_limit_closed
    # The worker's buffer works again for whoever is next.
    is PONG cli PING
    is 50000 cli STRLEN k
    sanitized || [ "$(rss_kb)" -lt 60000 ]
}

answer_bytes()
{
    nc -N -w 10 127.0.0.1 "$PORT" <"$BATS_TEST_TMPDIR/mget" | wc -c
}

@test "HTTP on either port is hung up on" {
    start_node
    is "" post "$PORT"
    is "" post "$MC_PORT"
    is 0 cli DBSIZE
    is 1 info cross_protocol_closed
    grep -q 'event=http_request' "$LOG"
}

post()
{
    printf 'POST / HTTP/1.1\r\nHost: x\r\n\r\nSET k v\r\nset k 0 0 1\r\nv\r\n' | nc -N -w 10 127.0.0.1 "$1"
}

@test "ten thousand requests at once, and a thousand errors, are answered in order" {
    start_node
    { seq 10000 | sed 's/.*/ECHO &\r/'; printf 'QUIT\r\n'; } | nc -w 20 127.0.0.1 "$PORT" |
        tr -d '\r' | grep -v '^[$+]' >"$BATS_TEST_TMPDIR/got"
    seq 10000 | cmp - "$BATS_TEST_TMPDIR/got"
    { seq 1000 | sed 's/.*/NOSUCH &\r/'; printf 'QUIT\r\n'; } | nc -w 20 127.0.0.1 "$PORT" |
        grep -c "^-ERR unknown command 'NOSUCH', with args beginning with: '" >"$BATS_TEST_TMPDIR/errors"
    is 1000 cat "$BATS_TEST_TMPDIR/errors"
    { seq 1000 | sed 's/.*/nosuch &\r/'; printf 'quit\r\n'; } | nc -w 20 127.0.0.1 "$MC_PORT" |
        grep -c '^ERROR' >"$BATS_TEST_TMPDIR/errors"
    is 1000 cat "$BATS_TEST_TMPDIR/errors"
}

@test "a client that closes its sending half still gets its replies" {
    start_node
    { seq 2000 | sed 's/.*/PING\r/'; } | nc -N -w 10 127.0.0.1 "$PORT" | grep -c PONG >"$BATS_TEST_TMPDIR/n"
    is 2000 cat "$BATS_TEST_TMPDIR/n"
}

@test "a crowd of unfinished requests leaves the others alone, and nothing behind" {
    start_node --maxmemory 64mb --maxclients $((crowd + 50))
    is OK cli SET k v
    for _ in $(seq "$crowd"); do
        exec {fd}<>"/dev/tcp/127.0.0.1/$PORT"
        printf '*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$100000\r\nbegun' >&"$fd"
        fds+=("$fd")
    done
    eventually crowd_is_there
    is v cli GET k
    for fd in "${fds[@]}"; do
        exec {fd}>&-
    done
    eventually nothing_held
    is v cli GET k
}

# A large crowd announces more than all clients may hold: some are let go at once.
crowd_is_there()
{
    [ $(($(info connected_clients) + $(info evicted_clients))) -gt "$crowd" ]
}

nothing_held()
{
    [ "$(info client_memory)" -lt 1000 ] && [ "$(info connected_clients)" -le 2 ]
}

# A request of the given words, and behind them two per number: `second number` as the format says.
long_request()
{
    local count=$1 format=$2

    shift 2
    printf '*%d\r\n' $(($# + 2 * count))
    printf '%s\n' "$@" | awk '{ printf "$%d\r\n%s\r\n", length($0), $0 }'
    seq "$count" | awk -v format="$format" \
        '{ split(sprintf(format, $1, $1), w, " "); for (i = 1; i <= 2; i++) printf "$%d\r\n%s\r\n", length(w[i]), w[i] }'
}

# What long_request gets for an answer, which takes no longer than two seconds, or twenty under a sanitizer.
answer_at_once()
{
    long_request "$@" >"$BATS_TEST_TMPDIR/request"
    timeout $(sanitized && echo 20 || echo 2) nc -N 127.0.0.1 "$PORT" <"$BATS_TEST_TMPDIR/request" | head -c 300 | tr -d '\r'
}

@test "a hundred thousand words are no reason to compare each with each" {
    start_node --client-watch-limit 1000000 --watch-limit 1000000 --tracking-max-prefixes 200000
    is +OK answer_at_once 100000 'watched:%d watched:%d' WATCH
    is +OK answer_at_once 100000 'PREFIX prefix:%06d' CLIENT TRACKING ON BCAST
    [[ $(answer_at_once 100000 'PREFIX x%d' CLIENT TRACKING ON BCAST) == "-ERR Prefix '"*" overlaps with another provided prefix"* ]]
    is '$0' answer_at_once 100000 '1%07d 2%d' CLIENT LIST ID
    is OK cli CONFIG SET tracking-max-prefixes 10
    [[ $(answer_at_once 100000 'PREFIX x%d' CLIENT TRACKING ON BCAST) == "-ERR too many prefixes"* ]]
    is 1 info subscriptions_refused
    is 0 info tracking_table_bytes
}

@test "noise on both ports closes connections and nothing else" {
    start_node
    is OK cli SET k v
    for size in 1 10 1000 100000; do
        head -c "$size" /dev/urandom | nc -N -w 5 127.0.0.1 "$PORT" >/dev/null || true
        head -c "$size" /dev/urandom | nc -N -w 5 127.0.0.1 "$MC_PORT" >/dev/null || true
    done
    head -c 100000 /dev/zero | nc -N -w 5 127.0.0.1 "$PORT" >/dev/null || true
    head -c 100000 /dev/zero | nc -N -w 5 127.0.0.1 "$MC_PORT" >/dev/null || true
    printf '*1000000\r\n' | nc -N -w 5 127.0.0.1 "$PORT" >/dev/null || true
    is v cli GET k
}

@test "an upload that was let in is not refused for what it holds itself" {
    start_node --maxmemory 64mb --maxmemory-clients 16mb
    head -c 12000000 /dev/zero | tr '\0' x >"$BATS_TEST_TMPDIR/big"
    # Slowly enough for the limits to be looked at anew while it comes.
    { printf '*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$12000000\r\n'; head -c 10000000 "$BATS_TEST_TMPDIR/big"; sleep 0.5
      tail -c 2000000 "$BATS_TEST_TMPDIR/big"; printf '\r\n'; } | nc -N -w 10 127.0.0.1 "$PORT" >"$BATS_TEST_TMPDIR/answer"
    is $'+OK\r' cat "$BATS_TEST_TMPDIR/answer"
    is 12000000 cli STRLEN k
}
