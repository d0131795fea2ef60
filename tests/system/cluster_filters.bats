#!/usr/bin/env bats
# Filters in a cluster: any node takes commands about one, and one goes where its key goes.

setup() { load helper; }
teardown() { stop_all; }

filled()
{
    local k
    for k in $(seq 20); do
        at 0 BF.MADD "bloom$k" $(seq 300)
        at 1 QF.ADD "quotient$k" x "$k"
        at 2 QF.ADD "quotient$k" y
        at 2 EXPIRE "bloom$k" 1000
    done
}

carried() # I: node I answers for each of them as if they had been there all the time
{
    local k
    for k in $(seq 20); do
        is "$(printf '1\n1\n1')" at "$1" BF.MEXISTS "bloom$k" 1 150 300 || return 1
        [ "$(at "$1" BF.CARD "bloom$k")" -ge 290 ] || return 1
        [ "$(at "$1" TTL "bloom$k")" -gt 900 ] || return 1
        is MBbloom-- at "$1" TYPE "bloom$k" || return 1
        is "$k" at "$1" QF.COUNT "quotient$k" x || return 1
        is 1 at "$1" QF.COUNT "quotient$k" y || return 1
    done
}

@test "any node takes commands about filters, and a node that joins or leaves takes them along" {
    start_cluster 3
    filled
    for i in 0 1 2; do
        carried "$i"
    done
    start_member 3
    eventually together 4
    for i in 0 1 2 3; do
        carried "$i"
    done
    [ "$(at 3 -n 0 DBSIZE)" -gt 0 ]
    stop_node "${PIDS[0]}"
    eventually together 3 1 2 3
    carried 3
}
