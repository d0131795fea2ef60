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

queue_bytes()
{
    cli INFO origins | tr -d '\r' | sed -n 's/^origin_write_queue_bytes://p'
}

writers_waiting()
{
    cli INFO origins | tr -d '\r' | sed -n 's/^origin_writers_waiting://p'
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
    memcache stats | grep -qx 'STAT cmd_meta 2'
    memcache stats | grep -qx 'STAT cmd_get 4'
    is "$(printf 'one\ntwo\n\n')" cli MGET item:1 item:2 item:3 other
    is 3 cli STRLEN item:2
    [ "$(cli PTTL item:1)" -le 30000 ]
    [ "$(cli PTTL item:1)" -gt 20000 ]
    is 0 cli EXISTS other
    figure_is hits 2
}

@test "the herd ledger says how the origins are" {
    start_node --origin 'item:*' "redis://127.0.0.1:$(free_port)" retries 0 --origin-breaker-failures 1
    cli INFO herd | tr -d '\r' | grep -xF 'herd_origin0:glob=item:*,breaker=closed'
    cli GET item:1 | grep '^ORIGIN'
    cli INFO herd | tr -d '\r' | grep -xF 'herd_origin0:glob=item:*,breaker=open'
    memcache 'stats herd' >"$BATS_TEST_TMPDIR/stats"
    grep -qxF 'STAT origin:0:glob item:*' "$BATS_TEST_TMPDIR/stats"
    grep -qx 'STAT origin:0:breaker open' "$BATS_TEST_TMPDIR/stats"
    grep -qx 'STAT origin:0:fetches 1' "$BATS_TEST_TMPDIR/stats"
}

@test "200 readers of both dialects at once cause one fetch" {
    start_redis
    start_node --threads 2 --origin 'item:*' "redis://127.0.0.1:$ORIGIN_PORT" timeout 5000
    origin SET item:hot value
    origin CLIENT PAUSE 1500 ALL

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

@test "a rule of herd-protect does not keep readers from asking the origin" {
    start_redis
    start_node --herd-protect '* park 15000 early on' \
        --origin 'item:*' "redis://127.0.0.1:$ORIGIN_PORT" negative-ttl 0
    exec 8<>"/dev/tcp/127.0.0.1/$PORT"
    printf 'GET item:none\r\nGET mine\r\n' >&8
    both_asked() { cli INFO herd | tr -d '\r' | grep -qx herd_fetches:2; }
    eventually both_asked
    is "" cli GET item:none
    is END memcache 'get item:none'
    is 3 origin_gets
    exec 8>&-
}

@test "a request of several keys that waits by a rule still asks the origin of the others" {
    start_redis
    origin SET item:1 one
    start_node --herd-protect 'mine:* park 100 lease 60000' --origin 'item:*' "redis://127.0.0.1:$ORIGIN_PORT"
    exec 8<>"/dev/tcp/127.0.0.1/$PORT"
    printf 'GET mine:1\r\n' >&8
    held() { cli INFO herd | tr -d '\r' | grep -qx herd_fetches:1; }
    eventually held
    is "$(printf 'VALUE item:1 0 3\none\nEND')" memcache 'get mine:1 item:1'
    cli DEL item:1
    is "$(printf '\none')" cli MGET mine:1 item:1
    exec 8>&-
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
    for i in $(seq 50); do echo "GET fast:$i"; done | cli >"$BATS_TEST_TMPDIR/fast"
    diff "$BATS_TEST_TMPDIR/fast" <(seq 50 | sed 's/^/value/')
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
    http_set delay=4000
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

# ---- HTTP ----

@test "a missing key comes from an HTTP origin, its name escaped" {
    start_http
    start_node --origin 'item:*' "http://127.0.0.1:$HTTP_PORT/items/{key}" ttl 30 negative-ttl 30

    is 'item:a b/../ü?#%@0' cli GET 'item:a b/../ü?#%'
    is 1 http_count get
    is "$(printf 'VALUE item:2 0 8\nitem:2@0\nEND')" memcache 'get item:2'
    is 2 http_count get
    is item:2@0 cli GET item:2
    is 2 http_count get
    [ "$(cli PTTL item:2)" -gt 20000 ]
}

@test "HTTP: 200 readers of both dialects cause one fetch" {
    start_http
    start_node --threads 2 --origin 'item:*' "http://127.0.0.1:$HTTP_PORT/items/{key}" timeout 20000
    http_set delay=1500
    is "200 item:hot@0" readers 200 item:hot
    is 1 http_count get
}

@test "HTTP: an absence is remembered for negative-ttl" {
    start_http
    start_node --origin '*' "http://127.0.0.1:$HTTP_PORT/items/{key}" negative-ttl 30
    is "" cli GET absent:1
    is "" cli GET absent:1
    is "$(printf 'END\nEN')" memcache 'get absent:1' 'mg absent:1 v'
    is 1 http_count get
    is 0 cli EXISTS absent:1

    cli CONFIG SET origin "* http://127.0.0.1:$HTTP_PORT/items/{key} negative-ttl 0"
    is "" cli GET absent:2
    is "" cli GET absent:2
    is 3 http_count get
    is "$(printf 'END\nEN')" memcache 'get absent:2' 'mg absent:2 v'
}

@test "HTTP: Cache-Control says how long" {
    start_http
    start_node --origin '*' "http://127.0.0.1:$HTTP_PORT/items/{key}" ttl 1000 timeout 20000 --origin-refresh-beta 0
    http_set cache=max-age=100
    is a@0 cli GET a
    [ "$(cli PTTL a)" -gt 90000 ]
    [ "$(cli PTTL a)" -le 100000 ]
    http_set 'cache=private%2C+s-maxage=50'
    is b@0 cli GET b
    is 0 cli EXISTS b
    is b@0 cli GET b
    is "$(printf 'VALUE b 0 3\nb@0\nEND\nVA 3\nb@0')" memcache 'get b' 'mg b v'
    is "$(printf 'a@0\nb@0\n')" cli MGET a b
    is 6 http_count get
    http_set cache=no-store+max-age=5
    http_set cache=max-age=0
    is c@0 cli GET c
    is 0 cli EXISTS c
    http_set delay=1500
    http_set cache=no-store
    is "100 d@0" readers 100 d
    is 1 http_count get d
}

@test "HTTP: stale-while-revalidate serves at once and asks anew" {
    start_http
    start_node --origin '*' "http://127.0.0.1:$HTTP_PORT/items/{key}" timeout 9000 --origin-refresh-beta 0
    http_set 'cache=max-age=1%2C+stale-while-revalidate=60'
    is a@0 cli GET a
    eventually is 0 cli EXISTS a
    http_set 'delay=1000&cache=max-age=100'
    started=$(date +%s%N)
    is a@0 cli GET a
    [ "$(ms_since "$started")" -lt 800 ]
    asked_twice() { [ "$(http_count get a)" = 2 ]; }
    eventually asked_twice
    eventually is 1 cli EXISTS a
    is 2 http_count get a

    # Invalidated is another thing than out of time: it is waited for.
    cli INVALIDATE a
    started=$(date +%s%N)
    is a@0 cli GET a
    [ "$(ms_since "$started")" -ge 900 ]
}

@test "HTTP: failures, garbage, and an answer that is too long" {
    start_http
    start_node --origin '*' "http://127.0.0.1:$HTTP_PORT/items/{key}" timeout 2000 retries 2 \
        --origin-breaker-failures 1000 --origin-retry-base-ms 1 --max-item-size 1mb
    http_set status=503
    cli GET a | grep 'ORIGIN http://.*: it answered with status 503'
    is 3 http_count get a # two retries
    http_set status=403
    cli GET b | grep 'it answered with status 403'
    is 1 http_count get b # that is an answer
    http_set 'status=0&garbage=1'
    cli GET c | grep ORIGIN
    http_set 'garbage=0&length=2000000'
    cli GET d | grep 'longer than max-item-size'
    is 1 http_count get d
    http_set 'length=500000'
    [ "$(cli GET e | wc -c)" = 500001 ]
    kill -STOP "$HTTP_PID"
    cli GET f | grep 'it took too long'
    kill -CONT "$HTTP_PID"
    http_set 'length=0'
    is g@0 cli GET g
}

@test "a redis origin that answers garbage" {
    PIPE_PORT=$(free_port)
    python3 - "$PIPE_PORT" "$BATS_TEST_TMPDIR/up" 3>&- <<'END' &
import socket, sys, threading
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("127.0.0.1", int(sys.argv[1])))
s.listen(100)
open(sys.argv[2], "w").write("1")
def serve(c):
    while data := c.recv(65536):
        if b"array" in data:
            c.sendall(b"*1000000000\r\n")
        elif b"long" in data:
            c.sendall(b"$900000000\r\n")
            try:
                while True:
                    c.sendall(b"x" * 65536)
            except OSError:
                return
        else:
            c.sendall(b"\x00\xffgarbage\r\n\r\n")
while True:
    threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()
END
    STARTED+=("$!")
    eventually test -e "$BATS_TEST_TMPDIR/up"
    start_node --origin '*' "redis://127.0.0.1:$PIPE_PORT" timeout 3000 retries 1 --max-item-size 1mb
    before=$(rss_kb)
    for key in x array long; do
        cli GET "$key" | grep '^ORIGIN redis://'
    done
    sanitized || [ "$(rss_kb)" -lt $((before + 20000)) ]
    is PONG cli PING
}

# ---- ahead of time ----

@test "a key that is read is fetched anew before its time is over" {
    start_http
    start_node --origin '*' "http://127.0.0.1:$HTTP_PORT/items/{key}" ttl 3 timeout 5000 --origin-refresh-beta 300
    http_set delay=300
    is a@0 cli GET a
    # From then on no reader is ever made to wait, though its time is over again and again.
    python3 - "$PORT" <<'END'
import socket, sys, time
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
end = time.time() + 7
longest = 0
while time.time() < end:
    began = time.time()
    s.sendall(b"GET a\r\n")
    assert s.recv(100) == b"$3\r\na@0\r\n"
    longest = max(longest, time.time() - began)
    time.sleep(0.005)
assert longest < 0.25, longest
END
    [ "$(http_count get a)" -ge 3 ]
    [ "$(http_count get a)" -le 20 ]
    is 1 http_count peak
    [ "$(figure refreshes)" -ge 2 ]
}

# ---- writes ----

@test "write through: the origin first, then here" {
    start_redis
    start_node --threads 2 --origin 'item:*' "redis://127.0.0.1:$ORIGIN_PORT" write through ttl 100 timeout 500
    is OK cli SET item:1 one
    is one origin GET item:1
    is one cli GET item:1
    [ "$(cli TTL item:1)" -gt 90 ]
    is OK cli SET item:1 other EX 50
    [ "$(origin TTL item:1)" -gt 40 ]
    is "$(printf 'STORED\nHD\nVALUE item:2 0 3\ntwo\nEND')" \
        memcache 'set item:2 0 0 3' two 'ms item:3 3' abc 'get item:2'
    is "$(printf 'two\nabc')" origin MGET item:2 item:3
    is 2 cli DEL item:1 item:2 item:9
    is 1 origin EXISTS item:1 item:2 item:3
    is "$(printf 'DELETED\nNOT_FOUND\nNF')" memcache 'delete item:3' 'delete item:3' 'md item:3'
    is 0 origin EXISTS item:3
    is OK cli SET other 1
    is 1 cli DEL other

    cli INCR item:4 | grep 'ORIGIN .*only SET'
    cli SET item:4 1 NX | grep 'ORIGIN .*only SET'
    cli DEL item:4 other | grep 'ORIGIN .*cannot be in one request'
    memcache 'set item:4 7 0 1' x | grep 'SERVER_ERROR origin .*flags'
    memcache 'incr item:4 1' | grep 'SERVER_ERROR origin .*only plain'
    is "$(printf 'VALUE item:5 0 1\n5\nEND')" memcache 'incr item:4 1 noreply' 'set item:5 0 0 1 noreply' 5 'get item:5'
    is 5 origin GET item:5
    is "$(printf '+OK\n-ORIGIN redis://127.0.0.1:%s: a transaction cannot wait for it to be written\n-EXECABORT Transaction discarded because of previous errors.\n+OK' "$ORIGIN_PORT")" \
        inline MULTI 'SET item:4 1' EXEC
    is 0 origin EXISTS item:4
}

@test "write through: an origin that fails or hangs, and nothing is stored" {
    start_redis
    start_node --origin 'item:*' "redis://127.0.0.1:$ORIGIN_PORT" write through timeout 300 retries 1 \
        --origin-breaker-failures 1000
    is OK cli SET item:1 one
    origin CONFIG SET maxmemory 1
    cli SET item:1 two | grep 'ORIGIN .*OOM'
    is one cli GET item:1
    origin CONFIG SET maxmemory 0
    kill -STOP "$ORIGIN_PID"
    cli SET item:1 three | grep 'ORIGIN .*it took too long'
    memcache 'set item:1 0 0 4' four | grep '^SERVER_ERROR origin .*it took too long'
    is 0 cli EXISTS item:1
    kill -CONT "$ORIGIN_PID"
    eventually is OK cli SET item:1 five
    is five origin GET item:1
    stop_redis
    cli SET item:1 six | grep '^ORIGIN'
    is 0 info blocked_clients
}

@test "write through: clients that do not wait for the end" {
    start_redis
    start_node --threads 2 --origin "a:* redis://127.0.0.1:$ORIGIN_PORT/1 write through timeout 4000 retries 0;
        b:* redis://127.0.0.1:$ORIGIN_PORT/2 write through timeout 10000 retries 0"
    is OK cli SET a:1 one
    is OK cli SET b:1 one
    kill -STOP "$ORIGIN_PID"

    # Those that go leave nothing behind.
    for i in 1 2 3; do
        timeout 0.2 redis-cli -h 127.0.0.1 -p "$PORT" SET "a:$i" two || true
    done
    eventually is 0 writers_waiting

    # One that is told before the end is not told of that write as if it were its next one.
    mkfifo "$BATS_TEST_TMPDIR/in"
    nc 127.0.0.1 "$PORT" <"$BATS_TEST_TMPDIR/in" >"$BATS_TEST_TMPDIR/out" 3>&- &
    STARTED+=("$!")
    exec 9>"$BATS_TEST_TMPDIR/in"
    printf 'CLIENT ID\r\nSET a:4 two\r\n' >&9
    eventually is 1 writers_waiting
    cli CLIENT UNBLOCK "$(head -1 "$BATS_TEST_TMPDIR/out" | tr -dc 0-9)"
    eventually grep -q 'ORIGIN .*not known' "$BATS_TEST_TMPDIR/out"
    printf 'SET b:1 two\r\n' >&9
    eventually is 1 writers_waiting
    eventually figure_is failures 4
    kill -CONT "$ORIGIN_PID"
    eventually grep -qx '+OK.' "$BATS_TEST_TMPDIR/out"
    is 0 writers_waiting
    is two cli GET b:1
    is two origin -n 2 GET b:1
    exec 9>&-
}

@test "write through: many writers of one key, and the cache holds what the origin holds" {
    start_redis
    start_node --threads 2 --origin '*' "redis://127.0.0.1:$ORIGIN_PORT" write through
    for w in 1 2 3 4 5 6; do
        for i in $(seq 200); do echo "SET key writer$w-$i"; done | cli >/dev/null 3>&- &
        STARTED+=("$!")
        writers="${writers:-} $!"
    done
    wait $writers
    is "$(origin GET key)" cli GET key
    is 1200 figure writes
}

@test "write behind: accepted at once, coalesced, and sent when the origin is back" {
    start_redis
    start_node --threads 2 --origin 'item:*' "redis://127.0.0.1:$ORIGIN_PORT" write behind timeout 300 ttl 100 \
        --origin-breaker-open-ms 100 --origin-retry-max-ms 100
    is OK cli SET item:0 zero
    eventually is zero origin GET item:0
    stop_redis
    for i in $(seq 100); do echo "SET item:1 v$i"; done | cli | sort -u | grep -x OK
    is "$(printf 'STORED\nVALUE item:2 0 3\ntwo\nEND')" memcache 'set item:2 0 0 3' two 'get item:2'
    is 1 cli DEL item:0
    is v100 cli GET item:1
    [ "$(figure writes_coalesced)" -ge 90 ]

    # What is not here any more is answered from the queue: the origin has not heard of it.
    cli FLUSHALL
    is v100 cli GET item:1
    is "" cli GET item:0

    start_redis
    eventually is v100 origin GET item:1
    eventually is two origin GET item:2
    eventually is 0 queue_bytes
    is 0 figure writes_lost
}

@test "write behind: what is written after the rule was changed goes to the new origin" {
    start_redis
    start_node --origin 'item:*' "redis://127.0.0.1:$ORIGIN_PORT" write behind timeout 300
    old=$ORIGIN_PID
    kill -STOP "$old"
    is OK cli SET item:1 v1
    is OK cli SET item:1 v2
    ORIGIN_PORT=
    start_redis
    is OK cli CONFIG SET origin "item:* redis://127.0.0.1:$ORIGIN_PORT write behind"
    is OK cli SET item:1 v3
    kill -CONT "$old"
    eventually is v3 origin GET item:1
    eventually is 0 queue_bytes
}

@test "write behind: a full queue refuses, and says so" {
    start_node --origin '*' "redis://127.0.0.1:$(free_port)" write behind --origin-write-queue-limit 64kb
    value=$(printf '%30000s' x)
    is OK cli SET a "$value"
    is OK cli SET b "$value"
    cli SET c "$value" | grep 'ORIGIN .*too many writes wait'
    is 1 figure writes_refused
    is 0 cli EXISTS c
    kill -TERM "$PID"
    sleep 0.2
    kill -TERM "$PID" # twice: now
    eventually gone "$PID"
    grep -q 'event=origin_write_lost .*key="a"' "$LOG"
    grep -q 'event=origin_writes_left writes=2' "$LOG"
}

@test "write behind: what waits is sent before the node ends" {
    start_redis
    start_node --origin '*' "redis://127.0.0.1:$ORIGIN_PORT" write behind --shutdown-timeout 20 \
        --origin-breaker-open-ms 100 --origin-retry-max-ms 100
    is OK cli SET warm 1
    eventually is 1 origin GET warm
    stop_redis
    for i in $(seq 50); do echo "SET k$i v$i"; done | cli | sort -u | grep -x OK
    kill -TERM "$PID"
    start_redis
    wait "$PID"
    is v1 origin GET k1
    is v50 origin GET k50
    is 50 origin DBSIZE
}

@test "an absence that is not kept, because too many are, is an answer all the same" {
    start_redis
    start_node --threads 2 --origin '*' "redis://127.0.0.1:$ORIGIN_PORT" timeout 5000 --herd-negative-max-items 0
    origin CLIENT PAUSE 4000 ALL # whoever comes after the answer has it asked for again
    is "100 (none)" readers 100 none
    is 1 origin_gets
}

# ---- guards ----

@test "a guard: what is not in it is absent, and the origin hears nothing" {
    start_redis
    origin MSET item:1 one item:2 two
    start_node --threads 2 --origin 'item:*' "redis://127.0.0.1:$ORIGIN_PORT" guard names negative-ttl 0

    # Without a filter nothing is guarded.
    is one cli GET item:1
    is "" cli GET item:9
    is 2 origin_gets
    is 0 info origin_guarded

    cli BF.MADD names item:1 item:2
    for i in $(seq 3 102); do echo "GET item:$i"; done | cli | grep -v '^$' && return 1
    is two cli GET item:2
    is "$(printf 'VALUE item:1 0 3\none\nEND\nEND\nEN')" memcache 'get item:1 item:7' 'get item:8' 'mg item:9 v'
    is "$(printf '\ntwo\n')" cli MGET item:10 item:2
    is "" cli -n 3 GET item:77
    [ "$(info origin_guarded)" -ge 104 ]
    [ "$(origin_gets)" -le 5 ]
    [ "$(info origin_guard_passed)" -ge 1 ]

    # Another one takes its place as a whole; one that is no Bloom filter, or is gone, guards nothing.
    cli BF.ADD next item:3
    origin SET item:3 three
    cli RENAME next names
    is three cli GET item:3
    is two cli GET item:2
    origin SET item:4 four
    is "" cli GET item:4
    cli SET names text
    is four cli GET item:4
    cli DEL names
    origin SET item:5 five
    is five cli GET item:5
}

@test "a guard: none in a cluster, where it would hide what other nodes wrote" {
    refused --cluster-enabled yes --origin 'a:*' "redis://127.0.0.1:1" guard names
    [ "$status" -ne 0 ]
    [[ $output == *"a node of a cluster can have no guard"* ]]
    start_node --cluster-enabled yes --cluster-port "$(free_port)" --cluster-link-port "$(free_port)" \
        --cluster-client-port "$(free_port)" --cluster-config-file "$BATS_TEST_TMPDIR/state"
    cli CONFIG SET origin "a:* redis://127.0.0.1:1 guard names" | grep 'can have no guard'
    is OK cli CONFIG SET origin "a:* redis://127.0.0.1:1"
}

@test "a guard: what is written through this node is in it before the origin has it" {
    start_redis
    start_node --threads 2 --origin 'a:*' "redis://127.0.0.1:$ORIGIN_PORT" guard names write through negative-ttl 0 \
        --origin 'b:*' "redis://127.0.0.1:$ORIGIN_PORT" guard names write behind negative-ttl 0
    cli BF.RESERVE names 0.0001 100
    is "" cli GET a:1
    is OK cli SET a:1 one
    is STORED memcache 'set a:2 0 0 3' two
    is OK cli SET b:1 three
    is "1 1 1" echo $(cli BF.MEXISTS names a:1 a:2 b:1)
    cli FLUSHDB
    cli BF.MADD names a:1 a:2 b:1
    eventually is three origin GET b:1
    is one cli GET a:1
    is two cli GET a:2
    is three cli GET b:1

    # A name that the guard does not take would be hidden, so it is not written.
    cli DEL names
    cli BF.RESERVE names 0.0001 1 NONSCALING
    is OK cli SET a:3 x
    cli SET a:4 x | grep 'ORIGIN .*guard'
    cli SET b:4 x | grep 'ORIGIN .*guard'
    memcache 'set a:4 0 0 1' x | grep 'SERVER_ERROR origin .*guard'
    is 0 origin EXISTS a:4 b:4
    is 1 cli DEL a:3
    is 0 origin EXISTS a:3
    # Without the filter nothing is to be added.
    cli DEL names
    is OK cli SET a:4 x
    is 0 cli EXISTS names
    is x origin GET a:4
}
