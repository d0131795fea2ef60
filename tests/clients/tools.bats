#!/usr/bin/env bats
# What operators point at a cache: redis-cli's ways of looking, redis-benchmark, libmemcached's
# tools, the Prometheus exporter.

setup() { load ../system/helper; load clients; OUT=$BATS_TEST_TMPDIR/out; }
teardown() { stop_all; }

said()
{
    grep -q -e "$1" "$OUT" || {
        echo "nothing said: $1" >&2
        head -n 40 "$OUT" >&2
        return 1
    }
}

said_no()
{
    ! grep -i -m 5 -e "$1" "$OUT" >&2
}

# ---- redis ----

benchmark()
{
    redis-benchmark -h 127.0.0.1 -p "$PORT" -t ping,set,get,incr,mset -n 20000 -r 1000 -P 16 -q "$@" 2>&1 |
        tr '\r' '\n' >"$OUT"
    is 6 grep -c 'requests per second' "$OUT"
    said_no 'err\|warn\|could not'
}

@test "redis-benchmark, RESP2 and RESP3" {
    needs redis-benchmark
    serve
    benchmark
    benchmark -3
}

@test "redis-cli: mass insertion, and every way to look at the keys" {
    needs redis-cli
    serve
    seq 1000 | awk '{ printf "*3\r\n$3\r\nSET\r\n$%d\r\nkey:%d\r\n$%d\r\n%d\r\n", length($1) + 4, $1, length($1), $1 }' |
        cli --pipe >"$OUT"
    said 'errors: 0, replies: 1000'
    cli SET key:biggest "$(head -c 100000 /dev/zero | tr '\0' x)"
    is 1001 eval "cli --scan | sort -u | wc -l"
    cli --bigkeys >"$OUT" 2>&1
    said 'Sampled 1001 keys in the keyspace'
    said 'Biggest string found .*key:biggest.* has 100000 bytes'
    cli --memkeys >"$OUT" 2>&1
    said 'Sampled 1001 keys in the keyspace'
    said 'Biggest string found .*key:biggest.* has 1[0-9]* bytes'
    said_no 'err\|warn'
}

@test "redis-cli: --stat and --latency" {
    needs redis-cli
    serve
    cli SET a 1
    timeout 2 stdbuf -oL redis-cli -p "$PORT" --stat -i 0.1 >"$OUT" 2>&1 || [ $? = 124 ]
    said '^1  *[0-9.]*[KMG] *[12]  *0 '
    timeout 10 redis-cli -p "$PORT" --latency -i 1 >"$OUT" 2>&1
    said '^[0-9]* [0-9]* [0-9.]* [0-9]*$'
}

@test "redis-cli speaks RESP3, prints help from COMMAND DOCS, and knows its database" {
    needs redis-cli
    serve
    is OK cli -3 SET a 1
    is 1 cli -3 GET a
    is OK cli -n 1 SET a 2
    is 1 cli -n 0 GET a
    cli COMMAND DOCS get >"$OUT"
    said 'string'
}

@test "prometheus-redis-exporter: redis_up 1, and nothing it cannot read" {
    local exporter_port url

    needs prometheus-redis-exporter
    serve
    cli SET a 1
    exporter_port=$(free_port)
    prometheus-redis-exporter -redis.addr "redis://127.0.0.1:$PORT" -web.listen-address "127.0.0.1:$exporter_port" \
        -include-config-metrics -export-client-list -check-single-keys db0=a -debug \
        >"$BATS_TEST_TMPDIR/exporter" 2>&1 3>&- </dev/null &
    STARTED+=($!)
    url="GET /metrics HTTP/1.0\r\n\r\n"
    scraped()
    {
        printf "$url" | nc -w 10 127.0.0.1 "$exporter_port" >"$OUT" && grep -q '^redis_up' "$OUT"
    }
    eventually scraped
    said '^redis_up 1$'
    said '^redis_exporter_last_scrape_error{err=""} 0$'
    said '^redis_connected_clients [1-9]'
    said '^redis_memory_used_bytes [1-9]'
    said '^redis_db_keys{db="db0"} 1$'
    said '^redis_commands_processed_total [1-9]'
    said '^redis_keyspace_hits_total '
    said '^redis_key_size{db="db0",key="a"} 1$'
    cp "$BATS_TEST_TMPDIR/exporter" "$OUT"
    said_no 'level=\(error\|warn\)\|could.\?n.t parse\|unable to parse'
}

# ---- memcached ----

@test "memccapable finds both protocols as they should be" {
    needs memccapable
    serve
    memccapable -h 127.0.0.1 -p "$MC_PORT" -t 5 >"$OUT" 2>&1 || true
    said 'All tests passed'
}

@test "libmemcached's tools, text and binary" {
    needs memccat
    serve
    printf 'line\none' >"$BATS_TEST_TMPDIR/file"
    for binary in '' --binary; do
        tool="--servers=127.0.0.1:$MC_PORT $binary"
        memcping --servers="127.0.0.1:$MC_PORT"
        (cd "$BATS_TEST_TMPDIR" && memccp $tool file)
        memcexist $tool file
        is "$(cat "$BATS_TEST_TMPDIR/file")" memccat $tool file
        memctouch $tool --expire=100 file
        memcstat $tool >"$OUT"
        said 'curr_items: 1'
        memcrm $tool file
        run memcexist $tool file
        [ "$status" != 0 ]
        memcflush $tool
    done
    is 2 eval "memcache 'set a 0 0 1' 1 'set b 0 0 1' 2 >/dev/null; memcdump --servers=127.0.0.1:$MC_PORT | grep -c '^[ab]$'"
}

@test "memcslap and memcaslap run through" {
    needs memcaslap
    serve
    for how in '' --binary; do
        for what in set get mget; do
            memcslap --servers="127.0.0.1:$MC_PORT" $how --test="$what" --concurrency=4 --execute-number=1000 \
                >"$OUT" 2>&1
            said 'Time to'
            said_no 'error\|fail'
        done
        memcaslap --servers="127.0.0.1:$MC_PORT" $how --threads=1 --concurrency=8 --execute_number=20000 --verify=1 \
            --division=10 >"$OUT" 2>&1
        said '^get_misses: 0$'
        said '^verify_failed: 0$'
        said '^read_bytes: [1-9]'
    done
}
