# Read-through origins: a real redis-server, and an HTTP server that can be told to misbehave.

setup()
{
    load helper
    needs redis-server
    needs python3
    ORIGIN_PORT=
    HTTP_PORT=
}

teardown()
{
    [ -z "${ORIGIN_PID:-}" ] || kill -CONT "$ORIGIN_PID" 2>/dev/null || true
    stop_all
}

# ---- origins ----

# start_redis: an origin on $ORIGIN_PORT, again on the same one when it has run before.
start_redis()
{
    ORIGIN_PORT=${ORIGIN_PORT:-$(free_port)}
    redis-server --port "$ORIGIN_PORT" --bind 127.0.0.1 --save "" --appendonly no --enable-debug-command yes \
        --dir "$BATS_TEST_TMPDIR" "$@" >"$BATS_TEST_TMPDIR/redis.log" 2>&1 3>&- </dev/null &
    ORIGIN_PID=$!
    STARTED+=("$ORIGIN_PID")
    eventually origin PING
}

stop_redis()
{
    kill -KILL "$ORIGIN_PID"
    wait "$ORIGIN_PID" || true
}

origin()
{
    redis-cli -h 127.0.0.1 -p "$ORIGIN_PORT" "$@"
}

# How many GETs it was sent.
origin_gets()
{
    origin INFO commandstats | tr -d '\r' | sed -n 's/^cmdstat_get:calls=\([0-9]*\),.*/\1/p'
}

start_http()
{
    local file=$BATS_TEST_TMPDIR/http.port.$RANDOM

    python3 "$CORRAL_ROOT/tests/system/origins/http_origin.py" "$file" ${HTTP_PORT:+"$HTTP_PORT"} \
        >"$BATS_TEST_TMPDIR/http.log" 2>&1 3>&- </dev/null &
    HTTP_PID=$!
    STARTED+=("$HTTP_PID")
    eventually test -s "$file"
    HTTP_PORT=$(cat "$file")
}

http_set()
{
    python3 -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1], b"").read()' \
        "http://127.0.0.1:$HTTP_PORT/set?$1"
}

# http_count WHAT [KEY]
http_count()
{
    python3 -c 'import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode().strip())' \
        "http://127.0.0.1:$HTTP_PORT/count?what=$1${2:+&key=$2}"
}

# figure NAME [N]: of the n-th origin in INFO origins.
figure()
{
    cli INFO origins | tr -d '\r' | grep "^origin${2:-0}:" | tr ',' '\n' | sed -n "s/^$1=//p"
}

figure_is()
{
    [ "$(figure "$1" "${3:-0}")" = "$2" ]
}

readers()
{
    python3 "$CORRAL_ROOT/tests/system/origins/readers.py" "$PORT" "$MC_PORT" "$@"
}

ms_since()
{
    echo $((($(date +%s%N) - $1) / 1000000))
}

# ---- reading ----

@test "a missing key comes from a redis origin, for both dialects" {
    start_redis
    start_node --origin 'item:*' "redis://127.0.0.1:$ORIGIN_PORT/3" ttl 30
    origin -n 3 MSET item:1 one item:2 two

    is one cli GET item:1
    is "$(printf 'VALUE item:2 0 3\ntwo\nEND')" memcache 'get item:2'
    is "$(printf 'VA 3\none\nEN\nEND')" memcache 'mg item:1 v' 'mg item:9 v' 'get item:9'
    is "$(printf 'one\ntwo\n\n')" cli MGET item:1 item:2 item:3 other
    is 3 cli STRLEN item:2
    [ "$(cli PTTL item:1)" -le 30000 ]
    [ "$(cli PTTL item:1)" -gt 20000 ]
    is 0 cli EXISTS other
    figure_is hits 2
}

@test "200 readers of both dialects at once cause one fetch" {
    start_redis
    start_node --threads 2 --origin 'item:*' "redis://127.0.0.1:$ORIGIN_PORT" timeout 5000
    origin SET item:hot value
    origin CLIENT PAUSE 500 ALL

    is "200 value" readers 200 item:hot
    is 1 origin_gets
    figure_is fetches 1
    [ "$(figure coalesced)" -gt 100 ]
    is 0 info blocked_clients
}

@test "200 readers of a key that the origin has not" {
    start_redis
    start_node --threads 2 --origin 'item:*' "redis://127.0.0.1:$ORIGIN_PORT" timeout 5000 negative-ttl 0
    origin CLIENT PAUSE 1500 ALL

    is "200 (none)" readers 200 item:none
    is 1 origin_gets

    cli CONFIG SET origin "item:* redis://127.0.0.1:$ORIGIN_PORT negative-ttl 60"
    is "" cli GET item:none
    is "" cli GET item:none
    is 2 origin_gets
    is "200 (none)" readers 200 item:none
    is 2 origin_gets
    is 0 cli EXISTS item:none

    origin SET item:none value
    cli DEL item:none
    is value cli GET item:none
}

@test "200 readers of a key whose origin fails" {
    start_node --threads 2 --origin 'item:*' "redis://127.0.0.1:$(free_port)" retries 1
    run readers 200 item:hot
    [[ ${lines[0]} == "100 -ORIGIN redis://127.0.0.1:"*": cannot connect: Connection refused" ||
       ${lines[0]} == "100 -ORIGIN redis://127.0.0.1:"*": Connection refused" ]]
    [[ ${lines[1]} == "100 SERVER_ERROR origin redis://"* ]]
    [ "${#lines[@]}" = 2 ]
    is 0 info blocked_clients
}

@test "an origin that hangs: an error after the timeout, a stale value within the grace" {
    start_redis
    start_node --origin 'item:*' "redis://127.0.0.1:$ORIGIN_PORT" ttl 1 grace 2000 timeout 200 retries 1 \
        --origin-retry-base-ms 1
    origin SET item:1 one
    is one cli GET item:1
    kill -STOP "$ORIGIN_PID"

    started=$(date +%s%N)
    run cli GET item:2
    [[ $output == "ORIGIN redis://127.0.0.1:$ORIGIN_PORT: it took too long"* ]]
    [ "$(ms_since "$started")" -ge 400 ]
    [ "$(ms_since "$started")" -lt 3000 ]
    figure_is timeouts 2
    figure_is retries 1
    figure_is failures 1

    eventually is 0 cli EXISTS item:1 # its second is over
    is one cli GET item:1
    is "$(printf 'VALUE item:1 0 3\none\nEND\nVA 3\none')" memcache 'get item:1' 'mg item:1 v'
    [ "$(figure stale_served)" -ge 2 ]

    is_error() { cli GET item:1 | grep -q '^ORIGIN'; }
    eventually is_error # so is its grace
    [[ $(memcache 'get item:1') == "SERVER_ERROR origin "* ]]
    kill -CONT "$ORIGIN_PID"
    eventually is one cli GET item:1
}

@test "the breaker opens, lets nothing through, and closes again" {
    start_redis
    start_node --origin 'item:*' "redis://127.0.0.1:$ORIGIN_PORT" timeout 200 retries 0 \
        --origin-breaker-failures 3 --origin-breaker-open-ms 400
    origin SET item:1 one
    stop_redis

    for i in 1 2 3; do cli GET "item:$i" | grep -q '^ORIGIN'; done
    figure_is breaker open
    cli GET item:4 | grep 'failed too often'
    [ "$(figure refused_breaker)" -ge 1 ]
    grep -q event=origin_breaker_open "$LOG"

    start_redis
    origin SET item:1 one
    eventually is one cli GET item:1
    figure_is breaker closed
}

@test "a slow origin does not hold up the keys of another" {
    start_redis
    SLOW_PORT=$ORIGIN_PORT SLOW_PID=$ORIGIN_PID
    ORIGIN_PORT=
    start_redis
    start_node --origin 'slow:*' "redis://127.0.0.1:$SLOW_PORT" timeout 4000 in-flight 2 \
        'fast:*' "redis://127.0.0.1:$ORIGIN_PORT" --origin-queue-limit 2
    for i in $(seq 50); do echo "SET fast:$i value$i"; done | origin >/dev/null
    redis-cli -p "$SLOW_PORT" SET slow:1 one
    kill -STOP "$SLOW_PID"
    for i in 1 2 3 4; do
        cli GET "slow:$i" >"$BATS_TEST_TMPDIR/slow.$i" 3>&- &
    done
    eventually figure_is fetches 4 0

    started=$(date +%s%N)
    for i in $(seq 50); do is "value$i" cli GET "fast:$i"; done
    [ "$(ms_since "$started")" -lt 3000 ]
    figure_is in_flight 2
    figure_is queued 2
    cli GET slow:5 | grep 'too many requests are ahead'
    figure_is refused_bulkhead 1
    kill -CONT "$SLOW_PID"
    eventually grep -q one "$BATS_TEST_TMPDIR/slow.1"
    eventually is one cli GET slow:1
}

@test "a delete during a fetch: what was fetched before it is refused" {
    start_http
    start_node --origin 'item:*' "http://127.0.0.1:$HTTP_PORT/items/{key}" timeout 20000
    http_set delay=2000
    cli GET item:x >"$BATS_TEST_TMPDIR/reader" 3>&- &
    reader=$!
    asked() { [ "$(http_count get item:x)" = "$1" ]; }
    eventually asked 1
    cli SET item:x newer
    wait "$reader"
    is newer cat "$BATS_TEST_TMPDIR/reader"
    eventually figure_is late 1
    is newer cli GET item:x

    cli GET item:y >"$BATS_TEST_TMPDIR/reader" 3>&- &
    reader=$!
    asked_y() { [ "$(http_count get item:y)" = "$1" ]; }
    eventually asked_y 1
    http_set delay=0
    cli DEL item:y
    wait "$reader"
    is item:y@0 cat "$BATS_TEST_TMPDIR/reader" # and that was asked for after the delete
    asked_y 2
    eventually figure_is late 2
}
