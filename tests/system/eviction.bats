#!/usr/bin/env bats
# allkeys-auto, and what the shadows say of more or less memory.

setup() { load helper; }
teardown() { stop_all; }

# A loop a little larger than the cache: recency alone never hits.
loop_trace()
{
    awk 'BEGIN { for (i = 0; i < 120000; i++) print "loop:" i % 16000 }'
}

# Each key is asked for often for a short while, and never again.
shifting_trace()
{
    awk 'BEGIN { srand(1); for (i = 0; i < 300000; i++) print "new:" int(i / 8) + int(rand() * 9000) }'
}

replay()
{
    timeout 60 "$CORRAL_BIN/corral-load" replay "$1" --port "$PORT" --value-size 1000 --pipeline 64
}

hit_ratio()
{
    replay "$1" | sed -n 's/^hit ratio \([0-9.]*\),.*/\1/p'
}

followed()
{
    grep -c event=eviction_policy_followed "$LOG"
}

# replay_until TRACE COMMAND...: as often as it takes, within reason.
replay_until()
{
    local trace=$1 tries

    shift
    for tries in 1 2 3 4 5 6 7 8 9 10 11 12; do
        replay "$trace" >/dev/null
        "$@" && return
    done
    echo "after $tries replays still not: $*" >&2
    cli INFO eviction >&2
    return 1
}

follows()
{
    case " $* " in *" $(info eviction_policy) "*) return 0 ;; esac
    return 1
}

is_through()
{
    [ "$(info eviction_handing_over)" = 0 ] && [ "$(info auto_shards_to_change)" = 0 ]
}

@test "auto changes the policy when the traffic does, and hits more" {
    loop_trace >"$BATS_TEST_TMPDIR/loop"
    shifting_trace >"$BATS_TEST_TMPDIR/shifting"
    start_node --maxmemory 16mb --maxmemory-policy allkeys-auto --shadow-items 512 --threads 1
    is s3fifo info eviction_policy
    is 0 info auto_switches
    before=$(hit_ratio "$BATS_TEST_TMPDIR/loop")
    replay_until "$BATS_TEST_TMPDIR/loop" follows lirs wtinylfu
    eventually is_through
    [ "$(followed)" -ge 1 ]
    info auto_why | grep -q 'less than s3fifo in [0-9]* sampled reads'
    after=$(hit_ratio "$BATS_TEST_TMPDIR/loop")
    echo "$(info eviction_policy): $before before, $after now"
    awk "BEGIN { exit !($after > $before) }"

    replay_until "$BATS_TEST_TMPDIR/shifting" follows lru arc s3fifo sieve
    eventually is_through
    [ "$(followed)" -ge 2 ]
    [ "$(info auto_switches)" = "$(followed)" ]
    is allkeys-auto info maxmemory_policy
}

@test "auto begins with the policy in use, and leaves the choice to the operator afterwards" {
    start_node --maxmemory 16mb --maxmemory-policy allkeys-arc
    is 0 info auto_enabled
    is 0 info shadow_bytes
    is OK cli CONFIG SET maxmemory-policy allkeys-auto
    is 1 info auto_enabled
    is arc info eviction_policy
    [ "$(info shadow_bytes)" -gt 100000 ]
    is OK cli CONFIG SET maxmemory-policy allkeys-fifo
    is 0 info auto_enabled
    is fifo info eviction_policy
    is 0 info shadow_bytes
    is OK cli CONFIG SET maxmemory-policy allkeys-auto
    is s3fifo info eviction_policy
    for policy in volatile-auto volatile-s3fifo allkeys-ttl some-lru allkeys; do
        cli CONFIG SET maxmemory-policy "$policy" | grep -q 'must be one of'
    done
}

# mrc SCALE: the hit ratio expected with so many times the memory.
mrc()
{
    cli INFO mrc | tr -d '\r' | sed -n "s/^mrc_$1x:.*,hit_ratio=\([0-9.]*\),.*/\1/p"
}

@test "the curve says what a node of another size would hit" {
    awk 'BEGIN { srand(1); for (i = 0; i < 400000; i++) print "user:" int(exp(rand() * log(60000))) }' \
        >"$BATS_TEST_TMPDIR/trace"
    start_node --maxmemory 32mb --maxmemory-policy allkeys-lru
    cli CORRAL MRC | grep -q 'CONFIG SET mrc-enabled yes'
    is OK cli CONFIG SET mrc-enabled yes
    replay "$BATS_TEST_TMPDIR/trace" >/dev/null
    [ "$(hit_ratio "$BATS_TEST_TMPDIR/trace")" != "" ]
    quarter=$(mrc 0.25) one=$(mrc 1) four=$(mrc 4)
    echo "said: $quarter, $one, $four"
    awk "BEGIN { exit !($quarter < $one && $one < $four) }"
    is 10 eval "cli CORRAL MRC | wc -l"
    is 8388608 eval "cli CORRAL MRC | head -1"
    stop_node
    unset PORT MC_PORT
    start_node --maxmemory 8mb --maxmemory-policy allkeys-lru
    replay "$BATS_TEST_TMPDIR/trace" >/dev/null
    real=$(hit_ratio "$BATS_TEST_TMPDIR/trace")
    echo "8mb: said $quarter, is $real"
    awk "BEGIN { d = $quarter - $real; exit !(d < .06 && d > -.06) }"
}

@test "a doorkeeper can be had at any time, and is part of wtinylfu only" {
    start_node --maxmemory 16mb --maxmemory-policy allkeys-wtinylfu --wtinylfu-doorkeeper yes
    is wtinylfu-doorkeeper info eviction_policy
    cli SET kept yes
    is OK cli CONFIG SET wtinylfu-doorkeeper no
    is wtinylfu info eviction_policy
    is OK cli CONFIG SET maxmemory-policy allkeys-lru
    is OK cli CONFIG SET wtinylfu-doorkeeper yes
    is lru info eviction_policy
    is OK cli CONFIG SET maxmemory-policy allkeys-wtinylfu
    is wtinylfu-doorkeeper info eviction_policy
    is yes cli GET kept
    timeout 60 "$CORRAL_BIN/corral-load" --port "$PORT" --preload --keys 60000 --value-size 500 --requests 60000 >/dev/null
    [ "$(info evicted_keys)" -gt 10000 ]
}
