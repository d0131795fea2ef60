#!/usr/bin/env bats
# Any node takes any request: what it does not hold it asks of the node that does (docs/CLUSTER.md, data links).

setup() { load helper; }
teardown() { stop_all; }

# Three nodes, with these options.
start_three()
{
    start_cluster 3 --cluster-drain-timeout 0 "$@"
}

mc_at()
{
    { printf '%s\r\n' "${@:2}"; printf 'quit\r\n'; } | nc -w 10 127.0.0.1 "${MC_PORTS[$1]}" | tr -d '\r'
}

figure_at()
{
    at "$1" INFO all | tr -d '\r' | sed -n "s/^$2://p"
}

# holder_of KEY: the index of the node that has it.
holder_of()
{
    local i slot

    slot=$(at 0 CLUSTER KEYSLOT "$1")
    for ((i = 0; i < 3; i++)); do
        at "$i" CLUSTER NODES | grep myself | tr ' ' '\n' | tail -n +9 |
            awk -F- -v s="$slot" '{ if (s >= $1 && s <= ($2 == "" ? $1 : $2)) found = 1 } END { exit !found }' &&
            echo "$i" && return 0
    done
    return 1
}

# key_at NODE: a key that it holds.
key_at()
{
    local n

    for n in {1..200}; do
        if [ "$(holder_of "$2key$n")" = "$1" ]; then
            echo "$2key$n"
            return 0
        fi
    done
    return 1
}

# A request as clients send it.
resp()
{
    local word

    printf '*%d\r\n' $#
    for word; do
        printf '$%d\r\n%s\r\n' "${#word}" "$word"
    done
}

@test "every node answers for all keys, in every dialect" {
    start_three
    for k in {1..30}; do
        [ "$(at $((k % 3)) SET "k$k" "v$k")" = OK ]
    done
    for k in {1..30}; do
        [ "$(at $(((k + 1) % 3)) GET "k$k")" = "v$k" ]
    done
    [ "$(at 0 GET k7)$(at 1 GET k7)$(at 2 GET k7)" = v7v7v7 ]
    is $'VALUE k1 0 2\nv1\nEND' mc_at 0 'get k1'
    is $'VALUE k1 0 2\nv1\nEND' mc_at 1 'get k1'
    is $'VA 2\nv9\nEN\nMN' mc_at 2 'mg k9 v' 'mg absent v' mn
    for i in 0 1 2; do
        [ "$(figure_at "$i" cluster_call_sent)" -gt 0 ]
        [ "$(figure_at "$i" cluster_forward_served)" -gt 0 ]
    done
}

@test "meta keys in base64 are the same keys" {
    start_three
    for k in {1..12}; do
        at 0 SET "text$k" "v$k"
        is $'VA 2\nv'"${k:0:1}" mc_at 1 "mg $(printf 'text%s' "$k" | base64) b v" || [ "$k" -ge 10 ]
        is $'HD' mc_at 2 "md $(printf 'text%s' "$k" | base64) b"
        [ "$(at 0 EXISTS "text$k")" = 0 ]
    done
}

@test "a pipeline is answered in order, wherever its keys are" {
    start_three
    {
        for k in {1..400}; do
            resp SET "p$((k % 50))" "$k"
            resp GET "p$((k % 50))"
            resp INCR "n$((k % 7))"
            resp PING "$k"
        done
        resp QUIT
    } >"$BATS_TEST_TMPDIR/requests"
    for k in {1..400}; do
        printf '+OK\n$%d\n%s\n:%d\n$%d\n%s\n' ${#k} "$k" $(((k + 6) / 7)) ${#k} "$k"
    done >"$BATS_TEST_TMPDIR/wanted"
    # n0 is first met with k = 7
    timeout 20 nc -w 10 127.0.0.1 "${PORTS[1]}" <"$BATS_TEST_TMPDIR/requests" | tr -d '\r' |
        sed '$d' >"$BATS_TEST_TMPDIR/got"
    diff "$BATS_TEST_TMPDIR/wanted" "$BATS_TEST_TMPDIR/got"
}

@test "memcached's pipelines: noreply, quiet and loud, in order" {
    start_three
    {
        for k in {1..100}; do
            printf 'set q%d 7 0 3 noreply\r\nabc\r\nget q%d\r\nmg q%d q v\r\nmg none%d q v\r\nmg q%d f\r\n' "$k" "$k" \
                "$k" "$k" "$k"
            printf 'incr none%d 1\r\ndelete q%d noreply\r\nms q%d 2 q\r\nhi\r\nmn\r\n' "$k" "$k" "$k"
        done
        printf 'quit\r\n'
    } >"$BATS_TEST_TMPDIR/requests"
    for k in {1..100}; do
        printf 'VALUE q%d 7 3\nabc\nEND\nVA 3\nabc\nHD f7\nNOT_FOUND\nMN\n' "$k"
    done >"$BATS_TEST_TMPDIR/wanted"
    timeout 20 nc -w 10 127.0.0.1 "${MC_PORTS[2]}" <"$BATS_TEST_TMPDIR/requests" | tr -d '\r' \
        >"$BATS_TEST_TMPDIR/got"
    diff "$BATS_TEST_TMPDIR/wanted" "$BATS_TEST_TMPDIR/got"
}

# packet OPCODE KEY OPAQUE: of the binary protocol, without extras or a value.
packet()
{
    printf "\\x80\\x$1\\x00\\x$(printf %02x ${#2})\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x$(printf %02x ${#2})"
    printf "\\x00\\x00\\x00\\x$(printf %02x "$3")\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00%s" "$2"
}

@test "the binary protocol: quiet misses say nothing, and opaques come back in order" {
    start_three
    for k in {1..20}; do
        at 0 SET "b$k" "v$k"
    done
    {
        for k in {1..20}; do
            packet 0d "b$k" "$k"     # GETKQ
            packet 0d "none$k" "$k"
            packet 00 "none$k" $((k + 100))
        done
        packet 0a '' 99 # NOOP
        packet 07 '' 98 # QUIT
    } >"$BATS_TEST_TMPDIR/requests"
    timeout 10 nc -w 5 127.0.0.1 "${MC_PORTS[1]}" <"$BATS_TEST_TMPDIR/requests" >"$BATS_TEST_TMPDIR/got"
    # magic, opcode and opaque of each answer
    got=$(od -An -v -tu1 -w1 "$BATS_TEST_TMPDIR/got" | tr -d ' ' | awk '
        { b[n++] = ($1 + 0) }
        END { for (i = 0; i < n; i += 24 + b[i + 10] * 256 + b[i + 11]) printf "%d:%d ", b[i + 1], b[i + 15] }')
    wanted=$(for k in {1..20}; do printf '13:%d 0:%d ' "$k" $((k + 100)); done; printf '10:99 7:98 ')
    [ "$got" = "$wanted" ]
}

@test "large values pass through" {
    start_three
    head -c 3000000 /dev/urandom >"$BATS_TEST_TMPDIR/value"
    for i in 0 1 2; do
        k=$(key_at "$i" big)
        at $(((i + 1) % 3)) -x SET "$k" <"$BATS_TEST_TMPDIR/value"
        at $(((i + 2) % 3)) GET "$k" | head -c 3000000 | cmp - "$BATS_TEST_TMPDIR/value"
        [ "$(at "$i" STRLEN "$k")" = 3000000 ]
    done
}

@test "who waits for a lease waits at the node that has the key" {
    start_three --lease-default-ms 20000 --lease-max-ms 60000
    k=$(key_at 0 lease)
    at 1 GETLEASE "$k" | grep -q -x granted
    other=$(key_at 0 other)
    timeout 40 redis-cli -p "${PORTS[2]}" GETLEASE "$k" WAIT 30000 >"$BATS_TEST_TMPDIR/waiter" 3>&- &
    waiter=$!
    eventually is 1 figure_at 0 cluster_forward_guests
    # another client of that link is not held up
    [ "$(at 2 SET "$other" 1)" = OK ]
    [ "$(at 1 SET "$k" filled)" = OK ]
    wait "$waiter"
    grep -q filled "$BATS_TEST_TMPDIR/waiter"
}

@test "who goes away while he waits elsewhere is forgotten there" {
    start_three --lease-default-ms 20000 --lease-max-ms 60000
    k=$(key_at 0 lease)
    at 1 GETLEASE "$k"
    timeout 40 redis-cli -p "${PORTS[2]}" GETLEASE "$k" WAIT 30000 >/dev/null 3>&- &
    waiter=$!
    eventually is 1 figure_at 0 blocked_clients
    kill "$waiter"
    eventually is 0 figure_at 0 blocked_clients
}

@test "a herd at all nodes fetches once" {
    start_three --herd-protect '* park 30000 lease 40000' --lease-max-ms 60000
    k=$(key_at 0 cold)
    for c in {1..60}; do # who goes away would give the right to fetch back
        { resp GET "$k"; sleep 60; } | timeout 60 nc 127.0.0.1 "${PORTS[c % 3]}" >"$BATS_TEST_TMPDIR/got.$c" 3>&- &
    done
    eventually is 59 figure_at 0 blocked_clients
    at 1 SET "$k" warm
    all_have() { [ "$(cat "$BATS_TEST_TMPDIR"/got.* | grep -c warm)" = 59 ]; }
    eventually all_have
    [ "$(cat "$BATS_TEST_TMPDIR"/got.* | grep -c -e '^.-1')" = 1 ]
    kill $(jobs -p) || true
}

@test "a node that dies: reads are misses in time, and writes succeed with its successor" {
    start_three
    k=$(key_at 2 dead)
    at 0 SET "$k" here
    kill -9 "${PIDS[2]}"
    started=$(date +%s%N)
    got=$(at 0 GET "$k")
    [ $((($(date +%s%N) - started) / 1000000)) -lt 2500 ]
    [ "$got" = "" ]
    can_write() { [ "$(at 0 SET "$k" again)" = OK ]; }
    eventually can_write
    [ "$(at 1 GET "$k")" = again ]
}

@test "a node that hangs: nothing waits longer than its time, and what may not be repeated says so" {
    start_three --cluster-forward-timeout 300
    k=$(key_at 2 hang)
    at 0 SET "$k" 1
    at 0 PING
    kill -STOP "${PIDS[2]}"
    started=$(date +%s%N)
    timeout 5 redis-cli -p "${PORTS[0]}" INCR "$k" >"$BATS_TEST_TMPDIR/incr" 2>&1 3>&- &
    timeout 5 redis-cli -p "${PORTS[1]}" GET "$k" >"$BATS_TEST_TMPDIR/get" 3>&- &
    wait $(jobs -p | tail -2) || true
    [ $((($(date +%s%N) - started) / 1000000)) -lt 1500 ]
    kill -CONT "${PIDS[2]}"
    grep -q 'CLUSTERDOWN.*unknown' "$BATS_TEST_TMPDIR/incr"
    [ "$(cat "$BATS_TEST_TMPDIR/get")" = "" ]
}

@test "a client that is killed with calls in flight leaves nothing behind" {
    start_three --cluster-forward-timeout 3000
    k=$(key_at 2 kill)
    at 0 SET "$k" 1
    kill -STOP "${PIDS[2]}"
    timeout 9 redis-cli -p "${PORTS[0]}" GET "$k" >"$BATS_TEST_TMPDIR/get" 2>&1 3>&- &
    client=$!
    waits() { at 0 CLIENT LIST | grep -q 'cmd=get'; }
    sleep 0.3
    at 0 CLIENT KILL TYPE normal SKIPME yes
    wait "$client" || true
    kill -CONT "${PIDS[2]}"
    works() { [ "$(at 0 GET "$k")" = 1 ]; }
    eventually works
}

@test "strangers and nodes of another cluster get nothing" {
    start_cluster 1
    link=${LINK_PORTS[0]}
    printf 'GET / HTTP/1.0\r\n\r\n%100s' | timeout 5 nc -w 3 127.0.0.1 "$link" >"$BATS_TEST_TMPDIR/got"
    [ ! -s "$BATS_TEST_TMPDIR/got" ]
    [ "$(figure_at 0 cluster_link_handshakes_failed)" = 1 ]
    # who says nothing is let go
    timeout 8 nc 127.0.0.1 "$link" </dev/zero >/dev/null || true
    started=$(date +%s)
    sleep 6 | timeout 8 nc 127.0.0.1 "$link" || true
    eventually is 3 figure_at 0 cluster_link_handshakes_failed
    grep -q event=link_refused "${LOGS[0]}"
}

@test "who says first that he has no more to say is answered all the same" {
    start_three
    for i in 0 1 2; do
        k=$(key_at "$i" half)
        is $'+OK\n$1\n1' bash -c "{ printf 'SET $k 1\r\nGET $k\r\n'; } | timeout 5 nc -N 127.0.0.1 ${PORTS[0]} | tr -d '\r'"
    done
}

@test "a value that is too long takes the old one away, wherever that is" {
    start_three --max-item-size 1mb
    head -c 1500000 /dev/zero | tr '\0' x >"$BATS_TEST_TMPDIR/value"
    for i in 0 1 2; do
        k=$(key_at "$i" long)
        at 1 SET "$k" old
        { printf 'set %s 0 0 1500000\r\n' "$k"; cat "$BATS_TEST_TMPDIR/value"; printf '\r\nquit\r\n'; } |
            timeout 5 nc -w 5 127.0.0.1 "${MC_PORTS[0]}" | grep -q 'SERVER_ERROR object too large'
        gone_there() { [ "$(at 2 EXISTS "$k")" = 0 ]; }
        eventually gone_there
    done
}

@test "CLIENT REPLY, CLIENT NO-TOUCH, MONITOR and PAUSE mean the same for keys of other nodes" {
    start_three
    k=$(key_at 1 modes)
    {
        resp CLIENT REPLY OFF
        resp SET "$k" 5
        resp INCR "$k"
        resp CLIENT REPLY ON
        resp CLIENT REPLY SKIP
        resp INCR "$k"
        resp CLIENT NO-TOUCH ON
        resp GET "$k"
        resp QUIT
    } >"$BATS_TEST_TMPDIR/requests"
    is $'+OK\n+OK\n$1\n7\n+OK' bash -c \
        "timeout 5 nc -w 5 127.0.0.1 ${PORTS[0]} <$BATS_TEST_TMPDIR/requests | tr -d '\r'"
    timeout 5 redis-cli -p "${PORTS[0]}" MONITOR >"$BATS_TEST_TMPDIR/seen" 3>&- &
    eventually grep -q OK "$BATS_TEST_TMPDIR/seen"
    at 0 GET "$k"
    eventually grep -q "\"GET\" \"$k\"" "$BATS_TEST_TMPDIR/seen"
    [ "$(grep -c "\"GET\" \"$k\"" "$BATS_TEST_TMPDIR/seen")" = 1 ]
    at 1 CLIENT PAUSE 800
    started=$(date +%s%N)
    is 7 at 0 GET "$k"
    [ $((($(date +%s%N) - started) / 1000000)) -ge 500 ]
}

@test "a node that dies in the middle of long answers: what is told is whole" {
    start_three
    head -c 2000000 /dev/zero | tr '\0' v >"$BATS_TEST_TMPDIR/value"
    k=$(key_at 2 mid)
    at 0 -x SET "$k" <"$BATS_TEST_TMPDIR/value"
    for c in 0 1; do
        timeout 20 redis-cli -p "${PORTS[c]}" -r 60 GET "$k" >"$BATS_TEST_TMPDIR/got.$c" 3>&- &
    done
    eventually test -s "$BATS_TEST_TMPDIR/got.0"
    kill -9 "${PIDS[2]}"
    wait $(jobs -p | tail -2) || true
    for c in 0 1; do # 2000000 bytes, or nothing
        is '' awk 'length != 0 && length != 2000000' "$BATS_TEST_TMPDIR/got.$c"
        [ "$(wc -l <"$BATS_TEST_TMPDIR/got.$c")" = 60 ]
    done
}

@test "values as long as a node takes, and databases other than the first" {
    start_three --cluster-link-buffer 64kb
    head -c 20000000 /dev/zero | tr '\0' v >"$BATS_TEST_TMPDIR/value"
    for i in 0 1 2; do
        k=$(key_at "$i" db)
        is OK at 0 -n 3 -x SET "$k" <"$BATS_TEST_TMPDIR/value"
        is 20000000 at 1 -n 3 STRLEN "$k"
        is '' at 2 GET "$k"
    done
    refused --cluster-enabled yes --bind 127.0.0.1 --databases 256 --port "$(free_port)" --memcache-port 0 \
        --cluster-port "$(free_port)"
    [ "$status" != 0 ]
    [[ $output == *"255 at most"* ]]
}
