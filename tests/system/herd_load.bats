#!/usr/bin/env bats
# corral-load herd against servers whose behaviour is known: what it counts must be what they do.
# Bounds are wide where a busy machine has a say, and exact where it has none.

setup() { load helper; }
teardown() { stop_all; }

start_redis()
{
    needs redis-server
    PORT=$(free_port)
    LOG=$BATS_TEST_TMPDIR/redis.log
    redis-server --bind 127.0.0.1 --port "$PORT" --dir "$BATS_TEST_TMPDIR" --save '' --appendonly no \
        >"$LOG" 2>&1 3>&- </dev/null &
    STARTED+=("$!")
    eventually nc -z 127.0.0.1 "$PORT"
}

start_memcached()
{
    local user=()

    needs memcached
    [ "$(id -u)" != 0 ] || user=(-u root)
    MC_PORT=$(free_port)
    LOG=$BATS_TEST_TMPDIR/memcached.log
    memcached "${user[@]}" -l 127.0.0.1 -p "$MC_PORT" -U 0 -t 1 >"$LOG" 2>&1 3>&- </dev/null &
    STARTED+=("$!")
    eventually nc -z 127.0.0.1 "$MC_PORT"
}

# herd ARGUMENTS...: sets FOUND, one line of JSON.
herd()
{
    FOUND=$(timeout 60 "$CORRAL_BIN/corral-load" herd --port "${PORT:-1}" --memcache-port "${MC_PORT:-1}" \
        --json "$@")
}

figure()
{
    sed -n "s/.*[{,]\"$1\":\([^,}]*\).*/\1/p" <<<"$FOUND"
}

# so EXPRESSION: of figures by name, in awk's words.
so()
{
    awk -v found="$FOUND" "BEGIN {
        gsub(/[{}\"]/, \"\", found)
        count = split(found, pairs, \",\")
        for (i = 1; i <= count; i++) { split(pairs[i], pair, \":\"); f[pair[1]] = pair[2] + 0 }
        exit !($(sed 's/[a-z][a-z0-9_]*/f["&"]/g' <<<"$1")) }" || {
        printf 'not so: %s\n  of: %s\n' "$1" "$FOUND" >&2
        return 1
    }
}

healthy()
{
    so 'errors == 0 && wrong == 0 && unfinished == 0'
}

@test "plain clients on a cold key of redis or memcached: each fetches" {
    start_redis
    start_memcached
    for driver in plain-resp plain-text; do
        herd --driver $driver --clients 100 --keys 1 --reads 1 --ttl 0 --fill-ms 300
        healthy
        so 'reads == 100 && rounds == 1 && fetches == 100 && peak == 100 && avoided == 0 && hits == 0'
        so 'p50_ms >= 300 && met == 100'
    done
}

@test "a lock, or memcached's win, lets one fetch and makes the others wait" {
    start_redis
    start_memcached
    for driver in lock meta meta-blind; do
        herd --driver $driver --clients 100 --keys 1 --reads 1 --ttl 0 --fill-ms 300
        healthy
        so 'reads == 100 && rounds == 1 && fetches == 1 && peak == 1 && avoided == 99 && hits == 99'
        so 'p50_ms >= 200 && requests > 200'
    done
}

@test "expired keys are rounds of their own" {
    start_redis
    herd --driver lock --unlock eval --clients 20 --keys 2 --ttl 0.5 --fill-ms 20 --think-ms 20 --seconds 2
    healthy
    so 'cold_rounds == 2 && cold_fetches == 2 && expired_rounds >= 4 && expired_rounds <= 8'
    so 'expired_fetches == expired_rounds && updated_rounds == 0 && stale == 0'
}

@test "a late fill after a delete leaves a stale value, unless it carries its cas" {
    start_redis
    start_memcached
    for driver in plain-resp lock plain-text meta-blind; do
        herd --driver $driver --clients 50 --keys 2 --ttl 0 --fill-ms 50 --think-ms 10 --update-rate 40 \
            --seconds 1.5
        healthy
        so 'changes > 20 && updated_rounds > 5 && stale > 0 && late == 0'
    done
    herd --driver meta --clients 50 --keys 2 --ttl 0 --fill-ms 50 --think-ms 10 --update-rate 40 --seconds 1.5
    healthy
    so 'changes > 20 && updated_rounds > 5 && stale == 0 && late > 0'
}

@test "a writer that stores what it wrote leaves nothing to fetch" {
    start_redis
    herd --driver plain-resp --clients 10 --keys 2 --ttl 0 --fill-ms 5 --think-ms 10 --ramp-ms 1000 \
        --update set --update-rate 50 --seconds 2
    healthy
    so 'updated_rounds == 0 && rounds <= 2 && changes > 50'
}

@test "a lock whose holder died holds until its time is up" {
    start_redis
    herd --driver lock --clients 20 --keys 1 --reads 1 --ttl 0 --fill-ms 50 --lease-ms 400 --kill-first 2
    healthy
    so 'rounds == 1 && fetches == 3 && killed == 2 && reads == 18 && p50_ms >= 800'
}

@test "the same seed rolls the same dice" {
    local first

    start_redis
    set -- --driver plain-resp --clients 1 --keys 20 --reads 60 --ttl 0 --fill-ms 2 --think-ms 1 --kill-filler 0.5
    herd "$@" --seed 9
    first="$(figure fetches) $(figure killed) $(figure hits)"
    so 'fetches + hits == 60 && reads + killed == 60 && killed > 5'
    herd "$@" --seed 9
    [ "$(figure fetches) $(figure killed) $(figure hits)" = "$first" ]
    herd "$@" --seed 10
    [ "$(figure fetches) $(figure killed) $(figure hits)" != "$first" ]
}

@test "a node serves plain clients of both protocols on the same keys" {
    start_node
    herd --driver plain-resp,plain-text --clients 60 --keys 3 --reads 3 --ttl 0 --fill-ms 30 --think-ms 20
    healthy
    so 'reads == 180 && cold_rounds == 3 && rounds == 3'
}

@test "clients with leases of any dialect share one fetch, and nothing is stale" {
    start_node
    herd --driver getlease,lease-get,meta --clients 90 --keys 1 --reads 1 --ttl 0 --fill-ms 200
    healthy
    so 'reads == 90 && rounds == 1 && fetches == 1 && avoided == 89'
    herd --driver getlease,lease-get,meta --clients 60 --keys 3 --ttl 0 --fill-ms 50 --think-ms 10 \
        --update-rate 40 --seconds 1.5
    healthy
    so 'changes > 20 && updated_rounds > 5 && stale == 0 && late > 0'
    herd --driver getlease --resp3 --clients 60 --keys 1 --reads 1 --ttl 0 --fill-ms 200 --kill-first 1
    healthy
    so 'rounds == 1 && fetches == 2 && killed == 1 && reads == 59'
}

@test "plain clients of a protecting node share one fetch" {
    start_node --herd-protect '* park 5000'
    herd --driver plain-resp,plain-text --clients 100 --keys 1 --reads 1 --ttl 0 --fill-ms 200
    healthy
    so 'reads == 100 && rounds == 1 && fetches == 1 && avoided == 99'
}

@test "plain clients of a protecting node leave nothing stale, whatever the writer does" {
    start_node --herd-protect '* park 5000'
    for update in delete set; do
        herd --driver plain-resp,plain-text,lock --clients 60 --keys 3 --ttl 0 --fill-ms 50 --think-ms 10 \
            --update $update --update-rate 40 --key-prefix $update: --seconds 1.5
        healthy
        so 'changes > 20 && stale == 0 && late > 0'
    done
}

@test "what cannot work is said in a sentence" {
    start_redis
    run timeout 20 "$CORRAL_BIN/corral-load" herd --port "$PORT" --driver getlease --clients 5
    [ "$status" = 1 ]
    [[ "$output" == *"no read ended with a value: -ERR unknown command"* ]]
    run timeout 20 "$CORRAL_BIN/corral-load" herd --port 1
    [ "$status" = 1 ]
    [[ "$output" == *"no server at 127.0.0.1 port 1"* ]]
    run "$CORRAL_BIN/corral-load" herd --driver plain
    [ "$status" = 2 ]
    run "$CORRAL_BIN/corral-load" herd --driver plain-text --ttl 0.5
    [ "$status" = 2 ]
    run "$CORRAL_BIN/corral-load" herd --driver lock --update invalidate --update-rate 1
    [ "$status" = 2 ]
    run "$CORRAL_BIN/corral-load" herd --help
    [ "$status" = 0 ]
    [[ "$output" == *"--kill-filler"* ]]
}
