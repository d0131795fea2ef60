#!/usr/bin/env bats
# Nodes come and go while a client that knows what every key must hold goes on: cluster/loop.py.

setup()
{
    load helper
    command -v python3 >/dev/null || skip "no python3"
}

teardown() { stop_all; }

# start_loop [--option...] I...: the client, at these nodes, over both protocols. Returns when its keys are stored.
start_loop()
{
    local words=() i

    for i in "$@"; do
        case $i in
        -*) words+=("$i") ;;
        *) words+=("${PORTS[i]}" "m${MC_PORTS[i]}") ;;
        esac
    done
    rm -f "$BATS_TEST_TMPDIR/stop" "$BATS_TEST_TMPDIR/ready"
    python3 "$BATS_TEST_DIRNAME/cluster/loop.py" --stop "$BATS_TEST_TMPDIR/stop" \
        --ready "$BATS_TEST_TMPDIR/ready" --keys 8000 --threads 2 "${words[@]}" \
        >"$BATS_TEST_TMPDIR/figures" 2>&1 3>&- &
    LOOP=$!
    STARTED+=("$LOOP")
    eventually [ -e "$BATS_TEST_TMPDIR/ready" ]
}

end_loop()
{
    touch "$BATS_TEST_TMPDIR/stop"
    wait "$LOOP"
    cat "$BATS_TEST_TMPDIR/figures"
}

figure()
{
    tr ' ' '\n' <"$BATS_TEST_TMPDIR/figures" | sed -n "s/^$1=//p"
}

# All of these serve something, and have brought what they serve.
brought()
{
    together "$@" || return 1
    for i in $(seq 0 $(($1 - 1))); do
        [ "$(info_at "$i" cluster_granules_pulling)" = 0 ] || return 1
    done
}

left() # I: as its logs say
{
    grep -q event=stopped "${LOGS[$1]}"
}

nothing_went_wrong()
{
    is 0 figure misses
    is 0 figure stale
    is 0 figure errors
}

@test "nodes join and drain: no key is missed, none is stale, nobody gets an error" {
    start_cluster 2 --threads 2
    start_loop 0 1
    for round in 1 2; do
        start_member 2 --threads 2
        eventually brought 3
        [ "$(info_at 2 cluster_handover_taken)" -gt 500 ]
        is 0 info_at 2 cluster_handover_lost
        kill -TERM "${PIDS[2]}"
        eventually left 2
        eventually brought 2
    done
    end_loop
    nothing_went_wrong
    # Everything is somewhere, and once.
    use 0
    [ "$(cli DBSIZE)" -le 8400 ]
}

@test "a node is killed: its share is missed and no more, nothing is stale, nobody gets an error" {
    start_cluster 3
    start_loop --read-only 0 1
    kill -KILL "${PIDS[2]}"
    eventually together 2
    # A while for all of its keys to be missed, and stored again.
    gets=$(info_at 0 keyspace_hits)
    eventually eval '[ "$(info_at 0 keyspace_hits)" -gt $((gets + 30000)) ]'
    end_loop
    is 0 figure stale
    is 0 figure errors
    [ "$(figure misses)" -le $((8000 * 40 / 100)) ]
    [ "$(figure misses)" -ge $((8000 * 20 / 100)) ]
}

@test "what else there is to an item comes along: time, flags, cas, leases, what is stale" {
    # Whatever must not end of itself meanwhile has time for a slow machine.
    start_cluster 1 --lease-min-ms 60000 --lease-max-ms 60000 --herd-grace-ms 600000
    for i in $(seq 60); do
        cli SET "ttl:$i" v PX 600000
        memcache "set mc:$i 7 0 1" x >/dev/null
        cli GETLEASE "lease:$i" >"$BATS_TEST_TMPDIR/lease.$i"
        cli SET "stale:$i" old PX 600000 GRACE 600000
        cli INVALIDATE "stale:$i"
    done >/dev/null
    memcache "gets mc:1" >"$BATS_TEST_TMPDIR/cas"
    start_member 1 --lease-min-ms 60000 --lease-max-ms 60000 --herd-grace-ms 600000
    eventually brought 2
    [ "$(info_at 1 cluster_handover_taken)" -ge 100 ]
    for i in $(seq 60); do
        use $((i % 2))
        ttl=$(cli PTTL "ttl:$i")
        [ "$ttl" -gt 500000 ] && [ "$ttl" -le 600000 ]
        memcache "get mc:$i" | grep -q "^VALUE mc:$i 7 1"
        is "" cli GET "stale:$i"
        cli GETLEASE "stale:$i" STALE | grep -q -x old
        token=$(sed -n '/^token$/{n;p}' "$BATS_TEST_TMPDIR/lease.$i")
        is OK cli SETLEASE "lease:$i" "$token" filled
        is filled cli GET "lease:$i"
    done
    use 0
    is "$(cat "$BATS_TEST_TMPDIR/cas")" memcache "gets mc:1"
}

@test "many large values are brought, however long that takes" {
    start_cluster 1 --maxmemory 512mb
    head -c 3000000 /dev/zero | tr '\0' x >"$BATS_TEST_TMPDIR/large"
    for i in $(seq 40); do
        cli -x SET "large:$i" <"$BATS_TEST_TMPDIR/large"
    done >/dev/null
    start_member 1 --maxmemory 512mb
    eventually brought 2
    for i in $(seq 40); do
        use $((i % 2))
        is 3000000 cli STRLEN "large:$i"
    done
}

@test "what takes longer to come than a client waits for an answer is not lost" {
    start_cluster 1 --maxmemory 1gb
    head -c 20000000 /dev/zero | tr '\0' x >"$BATS_TEST_TMPDIR/large"
    for i in $(seq 8); do
        cli -x SET "large:$i" <"$BATS_TEST_TMPDIR/large"
    done >/dev/null
    start_member 1 --maxmemory 1gb --cluster-forward-timeout 10
    eventually brought 2
    [ "$(info_at 1 cluster_handover_taken)" -gt 0 ]
    is 0 info_at 1 cluster_handover_lost
    at 1 CONFIG SET cluster-forward-timeout 1000
    for i in $(seq 8); do
        use $((i % 2))
        is 20000000 cli STRLEN "large:$i"
    done
}
