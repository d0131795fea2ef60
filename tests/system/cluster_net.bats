#!/usr/bin/env bats
# Real nodes on a real, bad network: a namespace each.

setup()
{
    load helper
    load cluster/net
    net_needed
}

teardown()
{
    stop_all
    net_down
}

# start N [OPTION...]
start()
{
    local k

    net_up "$1"
    for k in $(seq "$1"); do
        net_node "$k" "${@:2}"
    done
    eventually net_agree "$1" $(seq "$1")
}

# So many probes has each of these nodes begun since: their minutes, however busy the machine is.
probed() { # K AT_LEAST
    [ "$(net_info "$1" cluster_probes)" -ge "$2" ]
}

failed_seen() # K: how many failures it has logged
{
    grep -c event=member_failed "$BATS_TEST_TMPDIR/log.$1" || true
}

@test "five machines find each other, and a key set at one is read at all" {
    start 5
    for k in 1 2 3 4 5; do
        net_cli "$k" SET "from:$k" "$k"
    done
    for k in 1 2 3 4 5; do
        is "$(printf '1\n2\n3\n4\n5')" net_cli "$k" MGET from:1 from:2 from:3 from:4 from:5
    done
}

@test "a fifth of all packets lost: nobody is held for dead, and everything is answered" {
    start 3 --cluster-forward-timeout 10000 --cluster-hold-ms 10000 # what is lost is sent again by TCP, in its own time
    for k in 1 2 3; do
        lose "$k" 20
    done
    for k in 1 2 3; do
        is OK net_cli "$k" SET "k:$k" v
        is v net_cli $((k % 3 + 1)) GET "k:$k"
    done
    for k in 1 2 3; do
        eventually probed "$k" $(($(net_info "$k" cluster_probes) + 20))
    done
    for k in 1 2 3; do
        is 0 failed_seen "$k"
        heal "$k"
    done
    net_agree 3 1 2 3
}

@test "a machine that dies is found dead; its keys are misses, then writable, and it comes back empty" {
    start 3
    for i in $(seq 60); do
        net_cli 1 SET "k:$i" "$i"
    done >/dev/null
    unplug 3
    eventually net_agree 2 1 2
    hits=0
    for i in $(seq 60); do
        got=$(net_cli 2 GET "k:$i")
        [ -z "$got" ] || { is "$i" echo "$got" && hits=$((hits + 1)); }
        is OK net_cli 1 SET "k:$i" "new:$i"
    done
    [ "$hits" -ge 20 ] && [ "$hits" -lt 60 ]
    plug 3
    eventually net_agree 3 1 2 3
    # What it held before is older than what was written since: none of it is served.
    for i in $(seq 60); do
        got=$(net_cli 3 GET "k:$i")
        [ -z "$got" ] || is "new:$i" echo "$got"
    done
}

# told N FILE...: so many of these hold an answer.
told()
{
    local n=$1 some=0 file

    shift
    for file in "$@"; do
        [ ! -s "$file" ] || some=$((some + 1))
    done
    [ "$some" -ge "$n" ]
}

@test "a machine dies, and crowds at two nodes want its keys: of each crowd one is told to fetch" {
    # A slow machine takes its time to hold another for dead.
    start 3 --herd-protect "* park 20000 lease 20000" --cluster-forward-timeout 15000 --cluster-hold-ms 15000
    unplug 3
    # They stay: the right to fetch of one who goes away is the next one's.
    mkfifo "$BATS_TEST_TMPDIR/open"
    for key in $(seq 12); do
        for client in 1 2 3 4; do
            k=$((client % 2 + 1))
            { printf 'GET cold:%s\r\n' "$key"; cat "$BATS_TEST_TMPDIR/open"; } 3>&- |
                at "$k" nc -w 60 "$NET.$k" 6379 >"$BATS_TEST_TMPDIR/told.$key.$client" 2>&1 3>&- &
            STARTED+=("$!")
        done
    done
    eventually told 12 "$BATS_TEST_TMPDIR"/told.*
    eventually net_agree 2 1 2
    is 12 eval 'cat "$BATS_TEST_TMPDIR"/told.* | grep -c -F -e "\$-1"'
    for key in $(seq 12); do
        is OK net_cli 1 SET "cold:$key" "v$key"
    done
    eventually told 48 "$BATS_TEST_TMPDIR"/told.*
    for key in $(seq 12); do
        is 3 eval 'cat "$BATS_TEST_TMPDIR"/told.$key.* | tr -d "\r" | grep -c -x "v$key"'
    done
    : >"$BATS_TEST_TMPDIR/open" # the clients' ends
}

@test "cut in two and joined again: one cluster, every slot with one node" {
    start 5
    for a in 1 2; do
        for b in 3 4 5; do
            at "$a" nft add table inet test \; add chain inet test in "{ type filter hook input priority 0; }" \; \
                add rule inet test in ip saddr "$NET.$b" drop
            at "$b" nft add table inet test \; add chain inet test in "{ type filter hook input priority 0; }" \; \
                add rule inet test in ip saddr "$NET.$a" drop
        done
    done
    eventually net_agree 2 1 2
    eventually net_agree 3 3 4 5
    is OK net_cli 1 SET here 1
    is OK net_cli 3 SET there 3
    for k in 1 2 3 4 5; do
        heal "$k"
    done
    PATIENCE_MS=40000 eventually net_agree 5 1 2 3 4 5
    is OK net_cli 4 SET k v
    is v net_cli 1 GET k
}

@test "one that does not hear another is not declared dead by it alone" {
    start 4
    deaf 1 2
    eventually probed 1 $(($(net_info 1 cluster_probes) + 25))
    for k in 1 3 4; do
        is 0 failed_seen "$k"
    done
    heal 1
    net_agree 4 1 2 3 4
}

@test "a process that is killed is found dead at once; its machine says so" {
    start 3
    kill -KILL "${NET_PIDS[2]}"
    eventually net_agree 2 1 3
    is OK net_cli 1 SET k v
    is v net_cli 3 GET k
    net_node 2
    eventually net_agree 3 1 2 3
    is v net_cli 2 GET k
}
