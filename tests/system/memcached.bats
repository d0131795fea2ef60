#!/usr/bin/env bats
# memcached's tools, passwords and dumps.

setup() { load helper; }
teardown() { stop_all; }

@test "memccapable finds nothing wrong with the binary protocol" {
    needs memccapable
    start_node
    run timeout 60 memccapable -h 127.0.0.1 -p "$MC_PORT" -b -t 10 3>&-
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output == *"binary getkq"*"[pass]"*"All tests passed"* ]]
}

@test "libmemcached's tools work in binary, too" {
    needs memccp
    start_node
    servers=127.0.0.1:$MC_PORT
    printf hello >"$BATS_TEST_TMPDIR/note"
    memccp --binary --servers="$servers" "$BATS_TEST_TMPDIR/note"
    is hello cli GET note
    is hello memccat --binary --servers="$servers" note
    memcexist --binary --servers="$servers" note
    memctouch --binary --servers="$servers" --expire=100 note
    memcrm --binary --servers="$servers" note
    is 0 cli EXISTS note
    memcstat --binary --servers="$servers" >"$BATS_TEST_TMPDIR/stat"
    grep -q "pid: $PID" "$BATS_TEST_TMPDIR/stat"
    cli SET a 1 >/dev/null
    memcflush --binary --servers="$servers"
    is_empty
}

@test "memcslap and memcaslap put load on both protocols" {
    needs memcslap
    start_node --threads 2
    for protocol in "" --binary; do
        timeout 60 memcslap $protocol --servers="127.0.0.1:$MC_PORT" --concurrency=2 --execute-number=200 \
            --initial-load=100 --test=get 3>&- >"$BATS_TEST_TMPDIR/slap"
        grep -q "Time" "$BATS_TEST_TMPDIR/slap"
    done
    if command -v memcaslap >/dev/null; then
        timeout 60 memcaslap -s "127.0.0.1:$MC_PORT" -T 2 -c 4 -x 2000 -v 0.5 3>&- >"$BATS_TEST_TMPDIR/aslap" 2>&1
        grep -q "get_misses: 0" "$BATS_TEST_TMPDIR/aslap"
        timeout 60 memcaslap -s "127.0.0.1:$MC_PORT" -T 2 -c 4 -x 2000 -B 3>&- >"$BATS_TEST_TMPDIR/aslap" 2>&1
        grep -q "get_misses: 0" "$BATS_TEST_TMPDIR/aslap"
    fi
}

@test "memcdump finds the keys" {
    needs memcdump
    start_node
    cli MSET one 1 two 2 >/dev/null
    is $'one\ntwo' dumped_keys
}

dumped_keys()
{
    memcdump --servers="127.0.0.1:$MC_PORT" | sort
}

@test "a metadump lists every key, in pieces, while others are served" {
    start_node --maxmemory 256mb
    seq 200000 | sed 's/.*/SET key:& x/' | cli --pipe >/dev/null
    memcache "lru_crawler metadump all" >"$BATS_TEST_TMPDIR/dump" &
    STARTED+=($!)
    dumper=$!
    is x cli GET key:77
    wait "$dumper"
    is END tail -n 1 "$BATS_TEST_TMPDIR/dump"
    sed -n 's/^key=key%3A\([0-9]*\) exp=-1 .* cls=1 size=[0-9]*$/\1/p' "$BATS_TEST_TMPDIR/dump" | sort -un |
        cmp - <(seq 200000 | sort -un)
    memcache "lru_crawler mgdump all" "get key:1" >"$BATS_TEST_TMPDIR/dump"
    is 200000 grep -c '^mg key:' "$BATS_TEST_TMPDIR/dump"
    is $'EN\nVALUE key:1 0 1\nx\nEND' tail -n 4 "$BATS_TEST_TMPDIR/dump"
}

# A client that asks for a dump and does not read it costs a piece, not the whole.
@test "a dump that nobody reads takes no memory, and goes away with its client" {
    start_node --maxmemory 256mb
    seq 200000 | sed 's/.*/SET key:& x/' | cli --pipe >/dev/null
    before=$(rss_kb)
    for _ in 1 2 3 4 5 6 7 8; do
        exec {fd}<>"/dev/tcp/127.0.0.1/$MC_PORT"
        printf 'lru_crawler metadump all\r\n' >&"$fd"
        fds="$fds $fd"
    done
    eventually dumps_asked_for 8
    [ $(($(rss_kb) - before)) -lt 4096 ] || sanitized
    is x cli GET key:1
    for fd in $fds; do
        exec {fd}>&-
    done
    eventually is 0 info_clients_of_memcached
}

dumps_asked_for()
{
    [ "$(cli CLIENT LIST | grep -c 'cmd=lru_crawler.*dialect=memcached')" = "$1" ]
}

info_clients_of_memcached()
{
    cli CLIENT LIST | grep -c 'dialect=memcached'
}

@test "memcache-auth-file: only who is in it may speak, in text and in binary" {
    printf 'alice:secret\nbob:pass:word\n' >"$BATS_TEST_TMPDIR/auth"
    start_node --memcache-auth-file "$BATS_TEST_TMPDIR/auth"
    is PONG cli PING
    is "CLIENT_ERROR unauthenticated" answer_to "get a"
    is $'STORED\nEND' memcache "set x 0 0 12" "alice secret" "get a"
    is $'STORED\nEND' memcache "set x 0 0 13" "bob pass:word" "get a"
    is "CLIENT_ERROR authentication failure" answer_to "set x 0 0 11" "alice secre"
    is "CLIENT_ERROR authentication failure" answer_to "set x 0 0 10" "bob secret"
    is "CLIENT_ERROR bad authentication token format" answer_to "set x 0 0 5" "alice"
    is 0020 binary_status 10 # a noop
    is 0000 binary_status 32 # which mechanisms?
    is 0000 sasl 'alice\0secret'
    is 0020 sasl 'alice\0wrong'
    is 0020 sasl 'bob\0secret'
}

byte()
{
    printf "\\$(printf %03o "$1")"
}

# The first line of the answer. Strangers cannot even say quit, so nobody waits for the end.
answer_to()
{
    local fd line

    exec {fd}<>"/dev/tcp/127.0.0.1/$MC_PORT"
    printf '%s\r\n' "$@" >&"$fd"
    read -r -t 10 line <&"$fd"
    exec {fd}>&-
    printf '%s\n' "${line%$'\r'}"
}

# The status of what is answered to a packet, in hexadecimal.
answered_status()
{
    local fd

    exec {fd}<>"/dev/tcp/127.0.0.1/$MC_PORT"
    cat >&"$fd"
    head -c 8 <&"$fd" | od -An -tx1 -j6 -N2 | tr -d ' '
    exec {fd}>&-
}

# An opcode alone.
binary_status()
{
    { byte 128; byte "$1"; printf '\0%.0s' {1..22}; } | answered_status
}

# SASL PLAIN: user NUL password, as printf writes them.
sasl()
{
    local message="\\0$1" len

    len=$(printf "$message" | wc -c)
    {
        byte 128; byte 33; byte 0; byte 5; printf '\0%.0s' {1..7}; byte $((len + 5)); printf '\0%.0s' {1..12}
        printf "PLAIN$message"
    } | answered_status
}

@test "the auth file is read again on SIGHUP and CONFIG SET; a bad one changes nothing" {
    printf 'alice:secret\n' >"$BATS_TEST_TMPDIR/auth"
    start_node --memcache-auth-file "$BATS_TEST_TMPDIR/auth"
    printf 'carol:new\n' >"$BATS_TEST_TMPDIR/auth"
    kill -HUP "$PID"
    eventually is STORED memcache "set x 0 0 9" "carol new"
    is "CLIENT_ERROR authentication failure" answer_to "set x 0 0 12" "alice secret"
    echo nonsense >"$BATS_TEST_TMPDIR/auth"
    kill -HUP "$PID"
    eventually grep -q event=auth_file_refused "$LOG"
    is STORED memcache "set x 0 0 9" "carol new"
    [[ $(cli CONFIG SET memcache-auth-file "$BATS_TEST_TMPDIR/nowhere") == *"cannot be opened"* ]]
    is STORED memcache "set x 0 0 9" "carol new"
    is OK cli CONFIG SET memcache-auth-file ""
    is END memcache "get a"
    stop_node
    refused --port 0 --memcache-port "$MC_PORT" --memcache-auth-file "$BATS_TEST_TMPDIR/auth"
    [ "$status" -eq 1 ]
    [[ $output == *"must be user:password"* ]]
}

@test "requirepass guards the memcached port as well; any user name will do" {
    start_node --requirepass sesame
    is "CLIENT_ERROR unauthenticated" answer_to "get a"
    is $'STORED\nEND' memcache "set x 0 0 10" "who sesame" "get a"
    is 0000 sasl 'who\0sesame'
    is 0020 sasl 'who\0barley'
}

@test "config get cluster names this node, by the address the client used or the one announced" {
    start_node
    version=$(memcache "config get cluster" | sed -n 2p)
    [ "$version" -gt 1000000000 ]
    len=$((${#version} + 1 + ${#MC_PORT} + 21))
    is "CONFIG cluster 0 $len
$version
127.0.0.1|127.0.0.1|$MC_PORT

END" memcache "config get cluster"
    is "VALUE AmazonElastiCache:cluster 0 $len" first_line "get AmazonElastiCache:cluster"
    is OK cli CONFIG SET announce-host cache.example.org
    is "cache.example.org|127.0.0.1|$MC_PORT" third_line "config get cluster"
    is OK cli CONFIG SET announce-host 192.0.2.7
    is "192.0.2.7|192.0.2.7|$MC_PORT" third_line "config get cluster"
}

first_line()
{
    memcache "$@" | head -n 1
}

third_line()
{
    memcache "$@" | sed -n 3p
}

@test "cache_memlimit is CONFIG SET maxmemory" {
    start_node --maxmemory 128mb
    is OK memcache "cache_memlimit 64"
    is $'maxmemory\n67108864' cli CONFIG GET maxmemory
}
