#!/usr/bin/env bats
# corral-load replay: traces against live servers, as a cache-aside client.

setup()
{
    load helper
    cd "$BATS_TEST_TMPDIR" || return 1
}

teardown()
{
    stop_all
}

replay()
{
    "$CORRAL_BIN/corral-load" replay "$@" --json
}

# member NAME: of the JSON line on stdin
member()
{
    sed -n "s/.*[{,]\"$1\":\([^,}]*\).*/\1/p"
}

# some_keys REQUESTS KEYS: popular ones first
some_keys()
{
    awk -v n="$1" -v k="$2" 'BEGIN { srand(4); for (i = 0; i < n; i++) print 1 + int(k * rand() * rand()) }'
}

@test "where everything fits each key misses once, over both protocols and at any pipeline" {
    some_keys 20000 2000 >keys
    hits=$((20000 - $(sort -u keys | wc -l)))
    for pipeline in 1 64; do
        start_node --maxmemory 64mb
        [ "$(replay keys --port "$PORT" --pipeline $pipeline | member hits)" = $hits ]
        cli FLUSHALL
        replay keys --port "$MC_PORT" --protocol memcache --pipeline $pipeline --pid "$PID" >out
        [ "$(member hits <out)" = $hits ]
        [ "$(member corrupt <out)" = 0 ]
        [ "$(member rss_kib <out)" -gt 1000 ]
        stop_all
    done
}

@test "a trace's sizes, writes and deletes reach the server" {
    cat >ops.csv <<'END'
time,key,size,op
0,a,1000,set
5,a,1000,get
6,b,70000,get
7,b,70000,get
8,a,1000,delete
9,a,1000,get
10,c,3,get
END
    start_node --maxmemory 64mb
    replay ops.csv --port "$PORT" --key-size 20 >out
    [ "$(member reads <out)" = 5 ]
    [ "$(member hits <out)" = 2 ]
    [ "$(member writes <out)" = 1 ]
    [ "$(member deletes <out)" = 1 ]
    [ "$(cli DBSIZE)" = 3 ]
    for key in $(cli KEYS '*'); do cli STRLEN "$key"; done | sort -n >lengths
    [ "$(tr '\n' ' ' <lengths)" = "1 980 69980 " ]
}

@test "keys without sizes get those of a published table" {
    printf '| cluster | key size | value size |\n|:--:|:--:|:--:|\n| one | 40 | 300 |\n| two | N/A | N/A |\n' >sizes.md
    seq 1 100 >keys
    start_node --maxmemory 64mb
    replay keys --port "$PORT" --sizes-from sizes.md | member fills | grep -qx 100
    key=$(cli RANDOMKEY)
    [ ${#key} -eq 40 ]
    [ "$(cli STRLEN "$key")" = 300 ]
    run "$CORRAL_BIN/corral-load" replay keys --port "$PORT" --sizes-from keys
    [ "$status" -eq 1 ]
    [[ "$output" == *"has no table with the columns"* ]]
}

# The simulator counts objects, so it is told how many stayed. The limit is large beside what clients' buffers
# take of it for a while.
@test "a node under a memory limit hits what the simulator says" {
    some_keys 200000 40000 >keys
    for policy in s3fifo lru lfu; do
        start_node --maxmemory 64mb --maxmemory-policy allkeys-$policy
        live=$(replay keys --port "$PORT" --pipeline 32 --value-size 4000 | member hit_ratio)
        items=$(cli DBSIZE)
        stop_all
        misses=$("$CORRAL_BIN/corral-sim" keys --quiet --policies $policy --sizes "$items" |
            awk -v p=$policy '$1 == p { sub(/\*/, "", $2); print $2; exit }')
        echo "$policy: $live live with $items items, misses in the simulator: $misses"
        awk -v l="$live" -v m="$misses" 'BEGIN { d = l - (1 - m); exit !(l > .1 && d < .03 && d > -.03) }'
    done
}

@test "what cannot be replayed is said" {
    start_node --maxmemory 64mb
    printf '1 7 100\n2 8 -5\n' >negative.tr
    run "$CORRAL_BIN/corral-load" replay negative.tr --port "$PORT"
    [ "$status" -eq 1 ]
    [[ "$output" == *"negative.tr:2: column 3: a size cannot be negative"* ]]
    run "$CORRAL_BIN/corral-load" replay nowhere --port "$PORT"
    [ "$status" -eq 1 ]
    [[ "$output" == *"No such file"* ]]
    run "$CORRAL_BIN/corral-load" replay --port "$PORT"
    [ "$status" -eq 2 ]
    run "$CORRAL_BIN/corral-load" replay negative.tr --port "$PORT" --protocol meta
    [ "$status" -eq 2 ]
    stop_all
    seq 1 10 >keys
    run "$CORRAL_BIN/corral-load" replay keys --port "$PORT"
    [ "$status" -eq 1 ]
    [[ "$output" == *"no server at"* ]]
}
