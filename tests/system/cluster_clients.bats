#!/usr/bin/env bats
# A cluster of three, as clients see it: those who know the slots, and those who know of nothing.

setup() { load helper; load ../clients/clients; OUT=$BATS_TEST_TMPDIR/out; }
teardown()
{
    kill -CONT "${PIDS[@]}" 2>/dev/null || true
    stop_all
}

said()
{
    grep -q -e "$1" "$OUT" || {
        echo "nothing said: $1" >&2
        head -n 40 "$OUT" >&2
        return 1
    }
}

# node I COMMAND...: to the I-th node, from 0; slots I COMMAND...: by its cluster-client-port.
node()
{
    redis-cli -p "${PORTS[$1]}" "${@:2}"
}

slots()
{
    redis-cli -p "${CLIENT_PORTS[$1]}" "${@:2}"
}

memcache_of()
{
    MC_PORT=${MC_PORTS[$1]} memcache "${@:2}"
}

# The node that holds this key, by its number.
holder_of()
{
    local i

    for i in 0 1 2; do
        if ! slots "$i" GET "$1" | grep -q MOVED; then
            echo "$i"
            return
        fi
    done
}

# Keys of three nodes, in an order that goes back and forth between them.
keys()
{
    seq -f "${1}%g" 1 "$2"
}

# ---- who knows the slots ----

@test "redis-cli -c finds every key, and --cluster check, info and call find every node" {
    needs redis-cli
    serve_cluster
    keys k 60 | sed 's/.*/SET & v&/' | redis-cli -c -p "$CLUSTER_PORT" >"$OUT"
    is 60 grep -c '^OK' "$OUT"
    keys k 60 | sed 's/.*/GET &/' | redis-cli -c -p "${CLIENT_PORTS[1]}" | grep '^vk' | cmp - <(keys vk 60)
    redis-cli --cluster check "127.0.0.1:$CLUSTER_PORT" >"$OUT"
    said 'All 16384 slots covered'
    said 'All nodes agree about slots configuration'
    redis-cli --cluster info "127.0.0.1:$CLUSTER_PORT" >"$OUT"
    said '60 keys in 3 masters'
    redis-cli --cluster call "127.0.0.1:$CLUSTER_PORT" DBSIZE >"$OUT"
    is 60 total "$OUT"
}

# The sum of what each node has said.
total()
{
    sed -n 's/^127.0.0.1:[0-9]*: \(([a-z]*) \)\{0,1\}//p' "$1" | awk '{ n += $1 } END { print n }'
}

@test "redis-benchmark --cluster" {
    needs redis-benchmark
    serve_cluster
    redis-benchmark --cluster -h 127.0.0.1 -p "$CLUSTER_PORT" -t set,get,incr -n 20000 -r 1000 -P 8 -q 2>&1 |
        tr '\r' '\n' >"$OUT"
    said 'Cluster has 3 master nodes'
    is 3 grep -c 'requests per second' "$OUT"
    ! grep -i 'error' "$OUT"
}

@test "what a redis cluster refuses is refused by the cluster-client-port" {
    serve_cluster
    is "ERR SELECT is not allowed in cluster mode" slots 0 SELECT 1
    is OK slots 0 SELECT 0
    is "CROSSSLOT Keys in request don't hash to the same slot" slots 0 MGET foo bar
    is "ERR SWAPDB is not allowed in cluster mode" slots 0 SWAPDB 0 1
    is OK slots 0 READONLY
    is OK slots 0 READWRITE
    is OK slots 0 ASKING
    local at other
    at=$(holder_of foo)
    other=$(((at + 1) % 3))
    is OK slots "$at" MSET '{foo}1' 1 '{foo}2' 2
    is $'1\n2' slots "$at" MGET '{foo}1' '{foo}2'
    is "MOVED 12182 127.0.0.1:${CLIENT_PORTS[$at]}" slots "$other" MGET '{foo}1' '{foo}2'
    # A transaction that a key elsewhere has spoilt.
    printf '%s\r\n' MULTI "SET foo 1" EXEC | nc -w 10 -q 1 127.0.0.1 "${CLIENT_PORTS[$other]}" | tr -d '\r' >"$OUT"
    is $'+OK\n-MOVED 12182 127.0.0.1:'"${CLIENT_PORTS[$at]}"$'\n-EXECABORT Transaction discarded because of previous errors.' \
        cat "$OUT"
    is "" node 0 GET foo
    is 2 slots "$at" DBSIZE
    is 0 slots "$other" DBSIZE
}

@test "a connection is told MOVED, then served, and told again a second later" {
    serve_cluster
    local at other
    at=$(holder_of foo)
    other=$(((at + 1) % 3))
    exec 5<>"/dev/tcp/127.0.0.1/${CLIENT_PORTS[$other]}"
    printf 'SET foo 1\r\nSET foo 2\r\nGET foo\r\nMGET {foo}1 foo\r\n' >&5
    is "-MOVED 12182 127.0.0.1:${CLIENT_PORTS[$at]}" one_line
    is +OK one_line
    is '$1' one_line
    is 2 one_line
    is '*2' one_line
    is '$-1' one_line
    is '$1' one_line
    is 2 one_line
    sleep 1.1
    printf 'GET foo\r\n' >&5
    is "-MOVED 12182 127.0.0.1:${CLIENT_PORTS[$at]}" one_line
    exec 5>&-
}

one_line()
{
    local line

    IFS= read -r -t 20 line <&5 && printf '%s\n' "${line%$'\r'}"
}

# ---- who knows of nothing ----

@test "requests for keys of several nodes are answered in the order of the keys, by any node" {
    serve_cluster
    local i
    node 0 MSET $(for i in $(keys k 90); do echo "$i v$i"; done) >"$OUT"
    is OK cat "$OUT"
    for i in 0 1 2; do
        node "$i" MGET $(keys k 90) | cmp - <(keys vk 90)
        is 90 node "$i" EXISTS $(keys k 90) nowhere
        is 90 node "$i" TOUCH $(keys k 90)
        is 90 node "$i" DBSIZE
        [ "$(slots "$i" DBSIZE)" -lt 90 ]
        memcache_of "$i" "get $(keys k 90 | tr '\n' ' ')nowhere" | sed -n 's/^VALUE \(k[0-9]*\) .*/\1/p' |
            cmp - <(keys k 90)
    done
    is $'vk3\n\nvk1\nvk3' node 1 MGET k3 nowhere k1 k3
    is 45 node 1 DEL $(keys k 45)
    is 45 node 2 UNLINK $(keys k 90)
    is 0 node 0 DBSIZE
    is "ERR wrong number of arguments for 'mset' command" node 0 MSET a 1 b
}

@test "the slowlog has a request for keys of several nodes as the client sent it" {
    serve_cluster --slowlog-log-slower-than 0
    memcache_of 1 "get $(keys k 20 | tr '\n' ' ')nowhere"
    node 1 SLOWLOG GET -1 >"$OUT"
    # Maybe twice, as it has waited.
    sed -n '/^get$/,/^nowhere$/p' "$OUT" | sort -u | cmp - <((echo get; keys k 20; echo nowhere) | sort)
}

@test "large values from several nodes come back whole" {
    serve_cluster
    local i
    head -c 300000 /dev/zero | tr '\0' x >"$BATS_TEST_TMPDIR/large"
    for i in $(keys l 9); do
        node 0 -x SET "$i" <"$BATS_TEST_TMPDIR/large" >/dev/null
    done
    for i in 0 1 2; do
        is 2700009 count_bytes "$i"
        is 9 lines_of_memcache "$i"
    done
}

count_bytes()
{
    node "$1" MGET $(keys l 9) | wc -c
}

lines_of_memcache()
{
    memcache_of "$1" "get $(keys l 9 | tr '\n' ' ')" | awk '/^x/ && length == 300000' | grep -c ''
}

@test "commands about everything mean all nodes" {
    serve_cluster
    local i cursor found
    keys k 500 | sed 's/.*/SET & v/' | node 0 >"$OUT"
    for i in 0 1 2; do
        is 500 node "$i" DBSIZE
        node "$i" KEYS 'k*' | sort | cmp - <(keys k 500 | sort)
        node "$i" --scan | sort -u | cmp - <(keys k 500 | sort)
        [[ $(node "$i" RANDOMKEY) == k* ]]
        is "ERR invalid cursor" node "$i" SCAN x
        is "ERR syntax error" node "$i" SCAN 0 COUNT
    done
    is OK node 1 -n 5 MSET a 1 b 2 c 3 d 4
    is 4 node 2 -n 5 DBSIZE
    is OK node 0 -n 5 FLUSHDB
    is 0 node 2 -n 5 DBSIZE
    is 500 node 2 DBSIZE
    is OK node 2 FLUSHALL
    for i in 0 1 2; do
        is 0 node "$i" DBSIZE
        is 0 slots "$i" DBSIZE
        is "" node "$i" KEYS '*'
        is "" node "$i" RANDOMKEY
    done
    keys k 50 | sed 's/.*/SET & v/' | node 0 >"$OUT"
    is OK memcache_of 1 flush_all
    is 0 node 0 DBSIZE
    keys k 50 | sed 's/.*/SET & v/' | node 0 >"$OUT"
    is OK memcache_of 1 "flush_all 1"
    is 50 node 2 DBSIZE
    PORT=${PORTS[2]} eventually is_empty
    # The same by its own port is about that node alone.
    keys k 60 | sed 's/.*/SET & v/' | node 0 >"$OUT"
    is OK slots 0 FLUSHALL
    [ "$(node 1 DBSIZE)" -gt 0 ]
}

@test "a scan goes on when a node leaves, and lists all that stays" {
    serve_cluster
    local cursor=0 before n=0
    keys k 3000 | sed 's/.*/SET & v/' | node 0 --pipe >"$OUT"
    slots 0 KEYS '*' >"$BATS_TEST_TMPDIR/stay"
    slots 1 KEYS '*' >>"$BATS_TEST_TMPDIR/stay"
    : >"$BATS_TEST_TMPDIR/listed"
    while :; do
        before=$cursor
        node 0 SCAN "$before" COUNT 50 >"$OUT"
        cursor=$(head -n 1 "$OUT")
        [ "$((n += 1))" != 5 ] || kill -KILL "${PIDS[2]}"
        if [[ $cursor == CLUSTERDOWN* ]]; then # it is at the node that has just gone
            cursor=$before
            continue
        fi
        tail -n +2 "$OUT" >>"$BATS_TEST_TMPDIR/listed"
        [ "$cursor" != 0 ] || break
    done
    sort -u "$BATS_TEST_TMPDIR/listed" | comm -13 - <(sort -u "$BATS_TEST_TMPDIR/stay") | cmp - /dev/null
}

@test "two keys on one node go there, on two they are refused with what to do" {
    serve_cluster
    local i
    for i in 0 1 2; do
        is OK node "$i" SET '{u}a' "$i"
        is OK node "$i" RENAME '{u}a' '{u}b'
        is 1 node "$i" COPY '{u}b' '{u}c'
        is "$i"$'\n'"$i" node "$i" MGET '{u}b' '{u}c'
        is 0 node "$i" MSETNX '{u}b' 1 '{u}d' 2
        is 1 node "$i" LCS '{u}b' '{u}c' LEN
        is 1 node "$i" BITOP AND '{u}e' '{u}b' '{u}c'
        is 3 node "$i" DEL '{u}b' '{u}c' '{u}e'
    done
    node 0 MSET $(for i in $(keys k 20); do echo "$i v$i"; done) >"$OUT"
    for i in $(keys k 20); do
        node 0 RENAME k1 "$i" 2>&1
        node 0 SET k1 v >/dev/null
    done >"$OUT"
    said 'CROSSSLOT the keys of the request are on several nodes; .*braces'
    said OK
    is "ERR no such key" node 1 RENAME '{v}nothing' '{v}x'
}

@test "a transaction runs where its keys are, or is refused" {
    serve_cluster
    local i
    for i in 0 1 2; do
        printf '%s\r\n' MULTI "SET {t}a $i" "INCR {t}n" "GET {t}a" "PING" EXEC "GET {t}n" QUIT |
            nc -w 10 127.0.0.1 "${PORTS[$i]}" | tr -d '\r' >"$OUT"
        is $'+OK\n+QUEUED\n+QUEUED\n+QUEUED\n+QUEUED\n*4\n+OK\n:'$((i + 1))$'\n$1\n'"$i"$'\n+PONG\n$1\n'$((i + 1))$'\n+OK' \
            cat "$OUT"
    done
    { echo MULTI; keys k 30 | sed 's/.*/SET & 1/'; printf '%s\n' EXEC DBSIZE QUIT; } |
        nc -w 10 127.0.0.1 "$PORT" | tr -d '\r' >"$OUT"
    said '^-CROSSSLOT the keys of the transaction are on several nodes'
    said '^:2$'
    printf '%s\r\n' MULTI DBSIZE EXEC QUIT | nc -w 10 127.0.0.1 "$PORT" | tr -d '\r' >"$OUT"
    said '^-ERR dbsize asks every node'
    said '^-EXECABORT'
    is 1 watched_elsewhere
}

# Of three nodes, two cannot watch a key.
watched_elsewhere()
{
    local i n=0

    for i in 0 1 2; do
        [ "$(node "$i" WATCH k)" != OK ] || n=$((n + 1))
    done
    echo "$n"
}

@test "what cannot be had in a cluster says what to do" {
    serve_cluster
    node 0 CLIENT TRACKING ON >"$OUT"
    said 'cluster-client-port'
    node 0 SWAPDB 0 1 >"$OUT"
    said 'node that is alone'
    is OK slots 0 CLIENT TRACKING ON
}

@test "what is published is heard on all nodes, and the count is this node's" {
    serve_cluster
    local i
    for i in 0 1 2; do
        (timeout 20 redis-cli -p "${PORTS[$i]}" SUBSCRIBE news >"$OUT.$i" 2>&1 3>&- &)
        (timeout 20 redis-cli -p "${CLIENT_PORTS[$i]}" SUBSCRIBE news >"$OUT.c$i" 2>&1 3>&- &)
    done
    for i in 0 1 2; do
        PORT=${PORTS[$i]} eventually is $'news\n2' node "$i" PUBSUB NUMSUB news
    done
    is 2 node 1 PUBLISH news hello
    is 2 slots 2 PUBLISH news again
    for i in 0 1 2 c0 c1 c2; do
        eventually grep -q again "$OUT.$i"
        is $'hello\nagain' grep -x 'hello\|again' "$OUT.$i"
    done
}

# ---- when nodes go ----

@test "keys of a node that hangs are misses of a read, errors of a write, and time is kept" {
    serve_cluster
    local pairs there began asked
    pairs=$(for i in $(keys k 30); do echo "$i v"; done)
    node 0 MSET $pairs >"$OUT"
    there=$(slots 1 DBSIZE)
    is OK node 0 CONFIG SET cluster-forward-timeout 100
    is OK node 2 CONFIG SET cluster-forward-timeout 100
    kill -STOP "${PIDS[1]}"
    # At the same time: soon the others will know that it is gone.
    began=$(date +%s%3N)
    node 0 MGET $(keys k 30) >"$OUT.mget" 3>&- &
    asked=("$!")
    node 2 MSET $pairs >"$OUT.mset" 3>&- &
    asked+=("$!")
    node 0 DBSIZE >"$OUT.dbsize" 3>&- &
    asked+=("$!")
    memcache_of 2 "flush_all 1000" >"$OUT.flush" 3>&- &
    asked+=("$!")
    wait "${asked[@]}"
    [ $(($(date +%s%3N) - began)) -lt 3000 ]
    is "$there" grep -c '^$' "$OUT.mget"
    is $((30 - there)) grep -c '^v$' "$OUT.mget"
    grep '^CLUSTERDOWN a node that holds some of the keys does not answer' "$OUT.mset"
    grep '^CLUSTERDOWN a node of the cluster does not answer' "$OUT.dbsize"
    grep '^SERVER_ERROR a node of the cluster does not answer' "$OUT.flush"
}

@test "what may not be done twice is not, and then its outcome is unknown" {
    serve_cluster --threads 1 # so that the link is there already
    local there other asked
    node 0 MSET '{u}a' 1 '{u}b' 2
    there=$(holder_of '{u}a')
    other=$(((there + 1) % 3))
    is OK node "$other" CONFIG SET cluster-forward-timeout 100
    is 1 node "$other" COPY '{u}a' '{u}x'
    kill -STOP "${PIDS[$there]}"
    node "$other" RENAME '{u}a' '{u}c' >"$OUT.rename" 3>&- &
    asked=("$!")
    printf '%s\r\n' MULTI 'INCR {u}b' EXEC QUIT | nc -w 10 127.0.0.1 "${PORTS[$other]}" >"$OUT.exec" 3>&- &
    asked+=("$!")
    wait "${asked[@]}"
    grep '^CLUSTERDOWN the node that holds the keys has not answered: .* unknown' "$OUT.rename"
    grep '^-CLUSTERDOWN the node that holds the keys has not answered: .* unknown' "$OUT.exec"
}

@test "who hangs up while others are asked leaves nothing behind" {
    serve_cluster
    local i
    kill -STOP "${PIDS[1]}"
    for i in 1 2 3 4 5; do
        exec 5<>"/dev/tcp/127.0.0.1/$PORT"
        printf '%s\r\n' "MGET $(keys k 30 | tr '\n' ' ')" "DBSIZE" "SET k1 1" >&5
        exec 5>&-
        exec 5<>"/dev/tcp/127.0.0.1/$MC_PORT"
        printf '%s\r\n' "get $(keys k 30 | tr '\n' ' ')" "flush_all" >&5
        exec 5>&-
    done
    exec 5<>"/dev/tcp/127.0.0.1/$PORT"
    printf '%s\r\n' "MSET $(for i in $(keys k 30); do echo -n "$i v "; done)" >&5
    eventually is 1 info blocked_clients
    is 1 node 0 CLIENT UNBLOCK "$(blocked_id)"
    is "-CLUSTERDOWN a node that holds some of the keys does not answer; what it was asked to do may be done or not, the rest is" \
        one_line
    exec 5>&-
    kill -CONT "${PIDS[1]}"
    eventually is 0 info blocked_clients
    eventually is 1 info connected_clients
    is PONG node 0 PING
}

blocked_id()
{
    node 0 CLIENT LIST | sed -n 's/^id=\([0-9]*\) .* flags=[^ ]*b.*/\1/p'
}

@test "replies that a client does not want are not given, wherever they come from" {
    serve_cluster
    local mget
    mget="MGET $(keys k 30 | tr '\n' ' ')"
    printf '%s\r\n' "CLIENT REPLY SKIP" "$mget" "ECHO one" "CLIENT REPLY OFF" "$mget" "DBSIZE" "FLUSHALL" "GET k1" "GET k2" \
        "GET k3" "CLIENT REPLY ON" "ECHO two" QUIT | nc -w 10 127.0.0.1 "$PORT" | tr -d '\r' >"$OUT"
    is $'$3\none\n+OK\n$3\ntwo\n+OK' cat "$OUT"
}

# ---- when slots go ----

@test "when slots go to another node, who tracks hears that all is invalid, and what was watched has changed" {
    start_cluster 1
    exec 5<>"/dev/tcp/127.0.0.1/${CLIENT_PORTS[0]}" 6<>"/dev/tcp/127.0.0.1/$PORT" 7<>"/dev/tcp/127.0.0.1/$PORT"
    printf '%s\r\n' "HELLO 3" "CLIENT TRACKING ON" "GET k1" PING >&5
    printf '%s\r\n' "WATCH $(keys k 50 | tr '\n' ' ')" MULTI PING >&6
    printf '%s\r\n' "HELLO 3" "CLIENT TRACKING ON" PING >&7
    until_line +PONG <&5
    until_line +QUEUED <&6
    until_line +PONG <&7
    start_member 1
    eventually together 2
    until_line _ <&5 # invalidate: all
    printf 'EXEC\r\n' >&6
    is '*-1' head_of <&6
    # By its port it could read keys that are elsewhere now, and would not hear of them.
    keys k 50 | sed 's/.*/GET &\r/' >&7
    until_line '-ERR CLIENT TRACKING hears.*' <&7
    exec 5>&- 6>&- 7>&-
}

# Reads up to a line that matches.
until_line()
{
    local line

    while IFS= read -r -t 20 line; do
        line=${line%$'\r'}
        [[ $line =~ ^${1/+/\\+}$ ]] && return 0
    done
    return 1
}

head_of()
{
    local line

    IFS= read -r -t 20 line && printf '%s\n' "${line%$'\r'}"
}

# ---- herds and origins ----

@test "a request for several keys waits for those that others fetch, on any node" {
    serve_cluster --herd-protect 'page:* park 15000 lease 9000'
    local i
    exec 5<>"/dev/tcp/127.0.0.1/$PORT"
    for i in $(keys page: 9); do
        printf 'GET %s\r\n' "$i" >&5
        is '$-1' one_line
    done
    (timeout 20 redis-cli -p "${PORTS[1]}" MGET $(keys page: 9) x >"$OUT.1" 3>&- &)
    (MC_PORT=${MC_PORTS[2]} memcache "get $(keys page: 9 | tr '\n' ' ')x" >"$OUT.2" 3>&- &)
    PORT=${PORTS[1]} eventually some_wait
    PORT=${PORTS[2]} eventually some_wait
    sleep 2.2 # longer than cluster-forward-timeout
    for i in $(keys page: 9); do
        printf 'SET %s v%s\r\n' "$i" "$i" >&5
        is +OK one_line
    done
    eventually is "$(keys vpage: 9)" values_of "$OUT.1"
    eventually is "$(keys vpage: 9)" values_of "$OUT.2"
    exec 5>&-
}

some_wait()
{
    [ "$(info blocked_clients)" -gt 0 ]
}

values_of()
{
    grep '^v' "$1"
}

@test "a request for several keys that an origin has is answered by it, each key fetched once" {
    needs redis-server
    local origin i
    origin=$(free_port)
    redis-server --port "$origin" --bind 127.0.0.1 --save '' --dir "$BATS_TEST_TMPDIR" >"$BATS_TEST_TMPDIR/redis" 2>&1 \
        3>&- </dev/null &
    STARTED+=($!)
    eventually redis-cli -p "$origin" PING
    redis-cli -p "$origin" MSET $(for i in $(keys item: 30); do echo "$i v$i"; done) >"$OUT"
    serve_cluster --origin "item:* redis://127.0.0.1:$origin"
    for i in 0 1 2; do
        node "$i" MGET $(keys item: 30) | cmp - <(keys vitem: 30)
        memcache_of "$i" "get $(keys item: 30 | tr '\n' ' ')" | grep -c '^VALUE' | grep -qx 30
    done
    is 30 gets_of "$origin"
}

gets_of()
{
    redis-cli -p "$1" INFO commandstats | tr -d '\r' | sed -n 's/^cmdstat_get:calls=\([0-9]*\),.*/\1/p'
}
