#!/usr/bin/env bats
# A cluster of real nodes on loopback: who finds whom, who is let in, and what becomes of who goes.

setup() { load helper; }
teardown() { stop_all; }

# Whether node I knows of so many in that state: alive, suspect, dead, left.
knows()
{
    [ "$(info_at "$1" "cluster_members_$2")" = "$3" ]
}

# above I FIELD N: that figure is more.
above()
{
    [ "$(info_at "$1" "$2")" -gt "$3" ]
}

memcache_nodes()
{
    memcache "config get cluster" | tr ' ' '\n' | grep -c '127.0.0.1|127.0.0.1|'
}

logged()
{
    grep -q "$2" "${LOGS[$1]}"
}

# Until a program that was told to has ended; its exit code is the result.
ended()
{
    eventually gone "$1" && wait "$1"
}

@test "three nodes find each other, and all say the same of who has what" {
    start_cluster 3
    slots=$(at 0 CLUSTER SLOTS)
    is "$slots" at 1 CLUSTER SLOTS
    is "$slots" at 2 CLUSTER SLOTS
    for i in 0 1 2; do
        at "$i" CLUSTER INFO | grep -q '^cluster_state:ok'
        at "$i" CLUSTER INFO | grep -q '^cluster_size:3'
        nodes_at 0 | grep -q "^$(at "$i" CLUSTER MYID) 127.0.0.1:${CLIENT_PORTS[i]}@${CLUSTER_PORTS[i]} "
    done
    redis-cli --cluster check "127.0.0.1:${PORTS[1]}" | grep -q 'All 16384 slots covered'
    # memcached's clients are told as well, and the version is the epoch.
    is 3 memcache_nodes
    memcache "config get cluster" | grep -q -x "$(info_at 0 cluster_epoch)"
    memcache "stats cluster" | grep -q -x "STAT members_alive 3"
    corral ring greeting | grep -q '^greeting is in slot 12714, which'
    is 3 eval 'corral nodes | grep -c 127.0.0.1:'
    corral status | grep -q '^cluster   ok, 3 nodes'
}

@test "who is killed is gone from the others' views, and is the same again when it comes back" {
    start_cluster 3
    id=$(at 2 CLUSTER MYID)
    epoch=$(info_at 0 cluster_epoch)
    kill -KILL "${PIDS[2]}"
    eventually together 2 0 1
    run nodes_at 0
    [[ "$output" != *"$id"* ]]
    [ "$(info_at 0 cluster_epoch)" -gt "$epoch" ]
    is 1 info_at 0 cluster_members_dead
    cli INFO cluster | grep -q "^cluster_absent0:node=$id,addr=127.0.0.1:${CLUSTER_PORTS[2]},state=dead"
    logged 0 "event=member_failed node=$id"
    # Who is first to see it says so as the cause; another may have been told of the result already.
    grep -q "event=placement .*cause=members node=$id members=2" "${LOGS[0]}" "${LOGS[1]}"
    is 2 memcache_nodes
    # The others need not be told where it is: it finds them.
    SEEDS=
    start_member 2
    use 0
    eventually together 3
    is "$id" at 2 CLUSTER MYID
    logged 0 "event=member_[a-z]* node=$id addr=127.0.0.1:${CLUSTER_PORTS[2]} state=alive"
}

@test "other names and other secrets never join, and are counted" {
    "$CORRAL_BIN/corral" keygen >"$BATS_TEST_TMPDIR/secret"
    "$CORRAL_BIN/corral" keygen >"$BATS_TEST_TMPDIR/other"
    start_cluster 2 --cluster-name ours --cluster-secret-file "$BATS_TEST_TMPDIR/secret"
    start_member 2 --cluster-name theirs --cluster-secret-file "$BATS_TEST_TMPDIR/secret"
    start_member 3 --cluster-name ours --cluster-secret-file "$BATS_TEST_TMPDIR/other"
    use 0
    eventually above 0 cluster_refused_forged 0
    eventually above 0 cluster_refused_unknown_key 0
    # By then they have knocked; nobody was let in, and who is alone goes on serving.
    for i in 0 1; do
        is 2 info_at "$i" cluster_members_alive
    done
    for i in 2 3; do
        is 1 info_at "$i" cluster_members_alive
        eventually is ok info_at "$i" cluster_state
    done
    run grep -h member_joined "${LOGS[2]}" "${LOGS[3]}"
    is "" echo "$output"
}

@test "MEET brings nodes together that know nobody, FORGET takes only who is gone" {
    SEEDS=
    start_member 0
    start_member 1
    is 1 info_at 0 cluster_members_alive
    is OK at 0 CLUSTER MEET 127.0.0.1 "${PORTS[1]}" "${CLUSTER_PORTS[1]}"
    eventually together 2
    id=$(at 1 CLUSTER MYID)
    at 0 CLUSTER FORGET "$id" | grep -q "is there"
    at 0 CLUSTER FORGET "$(at 0 CLUSTER MYID)" | grep -q "can't forget myself"
    at 0 CLUSTER FORGET 0123456789012345678901234567890123456789 | grep -q "Unknown node"
    at 0 CLUSTER FORGET nonsense | grep -q "Unknown node"
    at 0 CLUSTER MEET 127.0.0.1 70000 | grep -q "Invalid base port"
    at 0 CLUSTER MEET 127.0.0.1 1 0 | grep -q "Invalid bus port"
    at 0 CLUSTER MEET "" 1 1 | grep -q "Invalid node address"
    kill -KILL "${PIDS[1]}"
    eventually knows 0 dead 1
    use 0
    is "forgotten by 1 of 1 nodes" corral forget "$id"
    eventually knows 0 dead 0
    logged 0 "event=member_removed node=$id"
    # Who was forgotten is welcome when it comes back; this time it is found by a name.
    start_member 1
    use 0
    corral join "localhost:${CLUSTER_PORTS[1]}"
    eventually together 2
}

@test "who stops says goodbye: nobody holds it for dead" {
    start_cluster 3 --cluster-drain-timeout 3
    kill -TERM "${PIDS[1]}"
    ended "${PIDS[1]}"
    eventually together 2 0 2
    is 0 info_at 0 cluster_members_dead
    is 1 info_at 0 cluster_members_left
    logged 1 event=cluster_draining
    # The same by a command, over the network.
    run corral drain "127.0.0.1:${CLIENT_PORTS[2]}"
    [ "$status" -eq 0 ]
    ended "${PIDS[2]}"
    eventually knows 0 left 2
    is 16384 eval 'echo $(($(info_at 0 cluster_granules_held) * 16))'
    at 0 CLUSTER DRAIN | grep -q "there is no other node"
    # The last one just stops.
    use 0
    stop_node
}

@test "a cluster that is stopped as a whole does not wait for itself" {
    start_cluster 3
    kill -TERM "${PIDS[@]}"
    for pid in "${PIDS[@]}"; do
        ended "$pid"
    done
}

@test "a second signal does not wait, nor does SHUTDOWN NOSAVE" {
    start_cluster 3
    at 2 SHUTDOWN NOSAVE || true
    ended "${PIDS[2]}"
    eventually knows 0 left 1
    kill -TERM "${PIDS[1]}"
    eventually logged 1 "event=stopping"
    kill -TERM "${PIDS[1]}" 2>/dev/null || true
    ended "${PIDS[1]}"
    eventually knows 0 left 2
    is 0 info_at 0 cluster_members_dead
}

@test "a state file that is damaged or cannot be written stops nobody" {
    SEEDS=
    echo nonsense >"$BATS_TEST_TMPDIR/state.0"
    start_member 0
    logged 0 'event=cluster_file_refused .*reason="line 1 is not understood"'
    is PONG cli PING
    is nonsense cat "$BATS_TEST_TMPDIR/state.0"
    start_member 1 --cluster-config-file "$BATS_TEST_TMPDIR/none/state"
    eventually logged 1 event=cluster_file_not_written
    is PONG cli PING
    # One that is there is read again, and counts the starts.
    start_member 2
    id=$(at 2 CLUSTER MYID)
    eventually grep -q "^id $id" "$BATS_TEST_TMPDIR/state.2"
    boots=$(sed -n 's/^boots //p' "$BATS_TEST_TMPDIR/state.2")
    stop_node
    start_member 2
    is "$id" at 2 CLUSTER MYID
    eventually eval '[ "$(sed -n "s/^boots //p" "$BATS_TEST_TMPDIR/state.2")" -gt "$boots" ]'
}

@test "the secret is changed while nodes go on hearing each other" {
    old=$("$CORRAL_BIN/corral" keygen)
    new=$("$CORRAL_BIN/corral" keygen)
    secret=$BATS_TEST_TMPDIR/secret
    echo "$old" >"$secret"
    start_cluster 2 --cluster-secret-file "$secret"
    change()
    {
        local before i

        printf '%s\n' "$@" >"$secret"
        for i in 0 1; do
            before=$(grep -c event=cluster_secret_ "${LOGS[i]}" || true)
            kill -HUP "${PIDS[i]}"
            eventually eval "[ \$(grep -c event=cluster_secret_ '${LOGS[i]}') -gt $before ]"
        done
    }
    change "$old" "$new"
    change "$new" "$old"
    change "$new"
    logged 0 "event=cluster_secret_read keys=1"
    change nonsense
    logged 0 'event=cluster_secret_refused .*line 1 is no key'
    # Probes under the new key are answered.
    acked=$(info_at 0 cluster_transport_datagrams_in)
    eventually above 0 cluster_transport_datagrams_in $((acked + 4))
    together 2
    is 0 info_at 0 cluster_refused_unknown_key
}

@test "what cannot work is refused at the start, with what to do" {
    refused --port 0 --memcache-port "$(free_port)" --cluster-enabled yes --bind 0.0.0.0
    [[ "$output" == *"cluster-secret-file is needed"*"corral keygen"* ]]
    refused --cluster-enabled yes --cluster-seeds "10.0.0.1:x"
    [[ "$output" == *"cluster-seeds: 10.0.0.1:x is neither host nor host:port"* ]]
    refused --cluster-enabled yes --cluster-secret-file /nonexistent
    [[ "$output" == *"cluster-secret-file /nonexistent: No such file"* ]]
    refused --cluster-enabled yes --port 60000 --cluster-client-port 0
    [[ "$output" == *"cluster-client-port: port + 10000"* ]]
    refused --cluster-enabled yes --zone "a b"
    [[ "$output" == *"zone: at most 15"* ]]
    refused --cluster-enabled yes --cluster-name ""
    [[ "$output" == *"a cluster needs a name"* ]]
    SEEDS=
    start_member 0
    refused --cluster-enabled yes --cluster-port "${CLUSTER_PORTS[0]}" --port "$(free_port)"
    [[ "$output" == *"cluster-port 127.0.0.1:${CLUSTER_PORTS[0]} is taken"* ]]
    cli CONFIG SET cluster-announce-ip 10.0.0.1 | grep -q "restart the node"
}

@test "corral up runs nodes that share the keys, and takes them all down" {
    port=$(free_port)
    "$CORRAL_BIN/corral" up 3 --dir "$BATS_TEST_TMPDIR/up" --port "$port" --memcache-port "$(free_port)" \
        --cluster-port "$(free_port)" --cluster-client-port "$(free_port)" --maxmemory 32mb >"$BATS_TEST_TMPDIR/out" 2>&1 3>&- &
    up=$!
    STARTED+=("$up")
    if ! eventually grep -q 'Ctrl-C stops them all' "$BATS_TEST_TMPDIR/out"; then
        cat "$BATS_TEST_TMPDIR/out" "$BATS_TEST_TMPDIR"/up/*.log
        return 1
    fi
    PORTS=("$port" $((port + 1)) $((port + 2)))
    eventually together 3
    is 33554432 eval 'at 1 CONFIG GET maxmemory | tail -1'
    pids=$(cat "$BATS_TEST_TMPDIR"/up/node-*.pid)
    kill -INT "$up"
    ended "$up"
    for pid in $pids; do
        gone "$pid"
    done
    [ -s "$BATS_TEST_TMPDIR/up/node-3.log" ]
    [ ! -e "$BATS_TEST_TMPDIR/up/node-3.pid" ]
}
