#!/usr/bin/env bats
# maxmemory, the policies, and memory that comes back.

setup() { load helper; }
teardown() { stop_all; }

# Every name the node knows, from what it says about a wrong one.
policies()
{
    cli CONFIG SET maxmemory-policy nonsense | sed -n 's/.*the following: //p' | tr -d ','
}

# fill COUNT [corral-load options]: so many values of 1000 bytes.
fill()
{
    load_with --connections 4 --pipeline 16 --keys "$1" --value-size 1000 --preload --seconds 0 "${@:2}"
}

# 40 MB beside maxmemory is what the process may take for itself.
rss_within()
{
    sanitized || [ "$(rss_kb)" -le $(($1 * 1024 + 40000)) ] || {
        echo "resident: $(rss_kb) kB with maxmemory ${1}mb" >&2
        return 1
    }
}

# One node per policy, so that each starts with fresh memory.
evicts_within()
{
    local policy=$1

    shift
    start_node --maxmemory 24mb --maxmemory-policy "$policy"
    fill 60000 "$@" >/dev/null
    echo "$policy: $(info evicted_keys) evicted, $(cli DBSIZE) kept, $(rss_kb) kB resident"
    [ "$(info evicted_keys)" -gt 20000 ]
    # What is kept must be worth the memory: 24 MB hold about 22000 such items.
    [ "$(cli DBSIZE)" -gt 12000 ]
    is 0 info oom_refused
    rss_within 24
    stop_node
}

@test "when memory is full each allkeys policy makes room, and the process stays within" {
    start_node
    names=$(policies | tr ' ' '\n' | grep ^allkeys-)
    stop_node
    [ "$(wc -w <<<"$names")" -ge 7 ]
    for policy in $names; do
        evicts_within "$policy"
    done
}

@test "when memory is full each volatile policy makes room among keys with a time to live" {
    start_node
    names=$(policies | tr ' ' '\n' | grep ^volatile-)
    stop_node
    [ "$(wc -w <<<"$names")" -ge 4 ]
    for policy in $names; do
        evicts_within "$policy" --ttl 1000
    done
}

@test "a volatile policy never evicts a key without a time to live" {
    start_node --maxmemory 24mb --maxmemory-policy volatile-lru
    seq 1000 | sed 's/.*/SET stays:& &/' | cli --pipe >/dev/null
    fill 60000 --ttl 1000 >/dev/null
    [ "$(info evicted_keys)" -gt 0 ]
    seq 1000 | sed 's/.*/GET stays:&/' | cli >"$BATS_TEST_TMPDIR/got"
    seq 1000 | cmp - "$BATS_TEST_TMPDIR/got"
}

oom_keeps_what_is_there()
{
    value=$(printf '%01000d' 0)
    seq 40000 | sed "s/.*/SET key:& $value/" | cli --pipe >"$BATS_TEST_TMPDIR/pipe" 2>&1 || true
    kept=$(cli DBSIZE)
    echo "$kept kept, $(info oom_refused) refused"
    [ "$kept" -gt 12000 ]
    [ "$kept" -lt 40000 ]
    is 0 info evicted_keys
    # Much more than what a connection's buffers may give back in the meantime.
    head -c 2000000 /dev/zero | tr '\0' x >"$BATS_TEST_TMPDIR/big"
    is "OOM command not allowed when used memory > 'maxmemory'." cli -x SET one <"$BATS_TEST_TMPDIR/big"
    is "OOM command not allowed when used memory > 'maxmemory'." cli -x APPEND key:1 <"$BATS_TEST_TMPDIR/big"
    is "SERVER_ERROR out of memory storing object" memcache_set_big
    [ "$(info oom_refused)" -ge 3 ]
    for key in key:1 key:2 "key:$((kept / 2))"; do
        is "$value" cli GET "$key"
    done
    rss_within 24
    # Reading and deleting go on, and make room again.
    seq 2000 | sed 's/.*/DEL key:&/' | cli --pipe >/dev/null
    is $((kept - 2000)) cli DBSIZE
    eventually is OK cli SET one "$value"
}

memcache_set_big()
{
    { printf 'set one 0 0 2000000\r\n'; cat "$BATS_TEST_TMPDIR/big"; printf '\r\nquit\r\n'; } |
        nc -w 10 127.0.0.1 "$MC_PORT" | tr -d '\r'
}

@test "noeviction refuses writes when memory is full, and keeps what is there" {
    start_node --maxmemory 24mb --maxmemory-policy noeviction
    oom_keeps_what_is_there
}

@test "a volatile policy without such keys does the same" {
    start_node --maxmemory 24mb --maxmemory-policy volatile-ttl
    oom_keeps_what_is_there
}

@test "the policy changes at run time, and every item stays" {
    start_node --maxmemory 64mb
    fill 20000 >/dev/null
    for policy in $(policies) allkeys-s3fifo; do
        is OK cli CONFIG SET maxmemory-policy "$policy"
        is 20000 cli DBSIZE
    done
    load_with --connections 4 --keys 20000 --value-size 1000 --ratio 1:0 --distribution sequential \
        --pipeline 16 --requests 20000 --seconds 10 --verify >"$BATS_TEST_TMPDIR/load"
    grep -q ' 0 missing' "$BATS_TEST_TMPDIR/load"
    grep -q ' 0 refused, 0 wrong' "$BATS_TEST_TMPDIR/load"
}

store_within()
{
    [ "$(info store_memory)" -le "$1" ]
}

@test "maxmemory changes at run time: lower gives memory back, higher keeps everything" {
    start_node --maxmemory 64mb
    fill 40000 >/dev/null
    is OK cli CONFIG SET maxmemory 96mb
    is 40000 cli DBSIZE
    is OK cli CONFIG SET maxmemory 16mb
    eventually store_within $((16 * 1024 * 1024))
    [ "$(cli DBSIZE)" -gt 5000 ]
    eventually rss_within 16
}

vanished()
{
    [ "$(cli EXISTS resp)" = 0 ] && [ "$(memcache "get mc")" = END ]
}

@test "a key out of time vanishes for both protocols" {
    start_node
    is STORED memcache "set mc 0 1 1" x
    is OK cli SET resp y PX 500
    eventually vanished
    is "" cli GET mc
    is END memcache "get resp"
    is -2 cli PTTL resp
}

@test "what has expired is freed without anybody reading it" {
    start_node --maxmemory 128mb
    fill 50000 --ttl 1 >/dev/null
    eventually is_empty
    is 50000 info expired_keys
    is 0 info keyspace_hits
    eventually store_within 4000000
    eventually rss_within 1
}

@test "FLUSHALL and flush_all empty the cache and give its memory back" {
    start_node --maxmemory 128mb
    for how in "cli FLUSHALL" "memcache flush_all"; do
        fill 50000 >/dev/null
        is OK $how
        is 0 cli DBSIZE
        eventually store_within 4000000
    done
}

@test "a value of 60 MB goes in by redis-cli and comes out the same by both protocols" {
    start_node --maxmemory 256mb
    head -c 60000000 /dev/urandom >"$BATS_TEST_TMPDIR/big"
    is OK cli -x SET big <"$BATS_TEST_TMPDIR/big"
    is 60000000 cli STRLEN big
    cli GET big | head -c 60000000 | cmp - "$BATS_TEST_TMPDIR/big"
    printf 'get big\r\nquit\r\n' | nc -w 10 127.0.0.1 "$MC_PORT" | tail -c +23 | head -c 60000000 |
        cmp - "$BATS_TEST_TMPDIR/big"
    is 1 cli DEL big
    eventually rss_within 1
}

@test "a value beyond max-item-size is refused, and the old one is not lost" {
    start_node --maxmemory 64mb --max-item-size 1mb
    is OK cli SET k old
    head -c 1100000 /dev/zero | tr '\0' x >"$BATS_TEST_TMPDIR/big"
    is "ERR string exceeds maximum allowed size (max-item-size)" cli -x SET k <"$BATS_TEST_TMPDIR/big"
    is old cli GET k
    { printf 'set other 0 0 1100000\r\n'; cat "$BATS_TEST_TMPDIR/big"; printf '\r\nget k\r\nquit\r\n'; } |
        nc -w 10 127.0.0.1 "$MC_PORT" | tr -d '\r' >"$BATS_TEST_TMPDIR/got"
    printf '%s\n' "SERVER_ERROR object too large for cache" "VALUE k 0 3" old END | cmp - "$BATS_TEST_TMPDIR/got"
    [ "$(info too_large)" -ge 2 ]
}

@test "a flush takes the place of one that was still to come" {
    start_node
    is $'OK\nOK\nSTORED' memcache "flush_all 1" "flush_all" "set a 0 0 1" 1
    local before
    before=$(cli TIME | head -n 1)
    later() { [ "$(cli TIME | head -n 1)" -gt "$((before + 1))" ]; }
    eventually later
    is 1 cli GET a
}
