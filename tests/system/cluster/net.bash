# net.bash - nodes on machines of their own: one network namespace each, on a bridge of the test's.
#
#   load helper; load cluster/net
#   setup() { net_needed; net_up 5; }
#   teardown() { stop_all; net_down; }
#
#   net_node 1 [OPTION...]     starts a node in namespace 1, at $NET.1
#   at 1 redis-cli INFO        runs something there
#   unplug 1; plug 1           the machine is dead to others, and back
#   lose 1 20                  of what comes in there, 20 in a hundred are lost
#   deaf 1 2                   1 hears nothing from 2 (2 may hear 1)
#   heal 1                     ends lose and deaf
#
# Rule: all that is made here has $TAG in its name and is gone after net_down.

# Skips the file's tests, saying why, where there are no namespaces.
net_needed()
{
    command -v ip >/dev/null || skip "no ip: install iproute2"
    command -v nft >/dev/null || skip "no nft: install nftables"
    [ "$(id -u)" = 0 ] || skip "network namespaces of its own need root"
    ip netns add "probe$$" 2>/dev/null || skip "network namespaces are not allowed here"
    ip netns del "probe$$"
}

# net_up N
net_up()
{
    local k

    TAG=c$((BASHPID % 100000))
    NET=10.$((RANDOM % 100 + 100)).$((RANDOM % 250 + 1))
    NET_NODES=$1
    NET_PIDS=()
    ip link add "$TAG" type bridge
    ip link set "$TAG" up
    for k in $(seq "$1"); do
        ip netns add "$TAG-$k"
        ip link add "$TAG.$k" type veth peer name eth0 netns "$TAG-$k"
        ip link set "$TAG.$k" master "$TAG" up
        ip -n "$TAG-$k" addr add "$NET.$k/24" dev eth0
        ip -n "$TAG-$k" link set eth0 up
        ip -n "$TAG-$k" link set lo up
    done
    head -c 32 /dev/urandom | base64 >"$BATS_TEST_TMPDIR/secret"
}

net_down()
{
    local k

    [ -n "${TAG:-}" ] || return 0
    for k in $(seq "$NET_NODES"); do
        ip netns del "$TAG-$k"
    done
    ip link del "$TAG"
    TAG=
}

at()
{
    local k=$1

    shift
    ip netns exec "$TAG-$k" "$@"
}

# net_node K [OPTION...]: the first is everybody's seed. Its pid is ${NET_PIDS[K]}, its log $BATS_TEST_TMPDIR/log.K.
net_node()
{
    local k=$1

    shift
    LOG=$BATS_TEST_TMPDIR/log.$k
    # ip becomes the program, so that $! is its pid.
    ip netns exec "$TAG-$k" "$CORRAL_BIN/corrald" --bind "$NET.$k" --protected-mode no --threads 1 --maxmemory 64mb \
        --cluster-enabled yes --cluster-secret-file "$BATS_TEST_TMPDIR/secret" --cluster-seeds "$NET.1" \
        --cluster-announce-ip "$NET.$k" "$@" >>"$LOG" 2>&1 3>&- </dev/null &
    NET_PIDS[$k]=$!
    STARTED+=("$!")
    eventually ready_or_gone "$!" "$LOG"
    ! gone "${NET_PIDS[$k]}"
}

net_cli()
{
    local k=$1

    shift
    at "$k" redis-cli -h "$NET.$k" "$@"
}

# One field of INFO of node K.
net_info()
{
    net_cli "$1" INFO | tr -d '\r' | sed -n "s/^$2://p"
}

unplug() { ip link set "$TAG.$1" down; }
plug() { ip link set "$TAG.$1" up; }

filter() { at "$1" nft add table inet test \; add chain inet test in "{ type filter hook input priority 0; }"; }
lose() { filter "$1" && at "$1" nft add rule inet test in iifname eth0 numgen random mod 100 "<" "$2" drop; }
deaf() { filter "$1" && at "$1" nft add rule inet test in ip saddr "$NET.$2" drop; }
heal() { at "$1" nft delete table inet test; }

# What CLUSTER NODES says on node K of those that live, one "address flags slots" a line, without order.
net_view()
{
    net_cli "$1" CLUSTER NODES | sed 's/myself,//' |
        awk '$3 !~ /fail|noaddr/ { printf "%s", $2; for (i = 9; i <= NF; i++) printf " %s", $i; print "" }' | sort
}

# net_agree N K...: these nodes all see the same N nodes, with the same slots, all of them.
net_agree()
{
    local n=$1 first k

    shift
    first=$(net_view "$1")
    [ "$(wc -l <<<"$first")" = "$n" ] || return 1
    [ "$(awk '{ for (i = 2; i <= NF; i++) { split($i, s, "-"); sum += (s[2] == "" ? s[1] : s[2]) - s[1] + 1 } }
        END { print sum }' <<<"$first")" = 16384 ] || return 1
    for k in "$@"; do
        [ "$(net_view "$k")" = "$first" ] || return 1
    done
}
