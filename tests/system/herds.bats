#!/usr/bin/env bats
# Herd protection as an operator and unmodified clients see it. The crowds are in
# tests/unit/wire/test_herd.c.

setup() { load helper; }
teardown() { stop_all; }

ledger()
{
    cli INFO herd | tr -d '\r' | sed -n "s/^$1://p"
}

ledger_is()
{
    [ "$(ledger "$1")" = "$2" ]
}

answered()
{
    [ -s "$1" ]
}

# A client in the background; its answers are in the file.
ask_later()
{
    local file=$1

    shift
    cli "$@" >"$file" 2>&1 3>&- &
    STARTED+=("$!")
}

@test "rules in a file add up, are shown as one list, and are written back" {
    file=$BATS_TEST_TMPDIR/corral.conf
    printf 'herd-protect a:* park 100\nherd-protect "b:* lease 200 early on; c:* grace 5"\n' >"$file"
    NODE_FILE=("$file")
    start_node
    [ "$(cli CONFIG GET herd-protect | tail -1)" = 'a:* park 100; b:* lease 200 early on; c:* grace 5' ]
    cli INFO herd | grep -q '^herd_rule2:.*pattern=c:\*'
    [ "$(cli CONFIG SET herd-protect 'd:* park 7')" = OK ]
    [ "$(cli CONFIG REWRITE)" = OK ]
    grep -q '^herd-protect .*d:\* park 7' "$file"
    ! grep -q 'a:\*' "$file"
    stop_node
    start_node
    [ "$(cli CONFIG GET herd-protect | tail -1)" = 'd:* park 7' ]
}

@test "a wrong rule keeps the node from starting, and says which it is" {
    refused --herd-protect 'a:*; b:* park soon' --port "$(free_port)" --memcache-port 0
    [ "$status" -ne 0 ]
    [[ "$output" == *"herd-protect: rule 2: park takes 0 to 600000 milliseconds, not 'soon'"* ]]
}

@test "others wait for the first client's set, on both ports" {
    start_node --herd-protect 'page:* park 15000'
    [ "$(cli --no-raw GET page:1)" = '(nil)' ] # its connection closes: the lease goes back
    mkfifo "$BATS_TEST_TMPDIR/first"
    cli <"$BATS_TEST_TMPDIR/first" >"$BATS_TEST_TMPDIR/first.out" 3>&- &
    STARTED+=("$!")
    exec 9>"$BATS_TEST_TMPDIR/first"
    echo 'GET page:1' >&9
    eventually ledger_is herd_fetches 2
    ask_later "$BATS_TEST_TMPDIR/second" GET page:1
    memcache 'get page:1' >"$BATS_TEST_TMPDIR/third" 3>&- &
    STARTED+=("$!")
    eventually ledger_is herd_parked_now 2
    echo 'SET page:1 hello' >&9
    eventually answered "$BATS_TEST_TMPDIR/second"
    eventually answered "$BATS_TEST_TMPDIR/third"
    exec 9>&-
    [ "$(cat "$BATS_TEST_TMPDIR/second")" = hello ]
    grep -q '^hello' "$BATS_TEST_TMPDIR/third"
    eventually ledger_is herd_parked_now 0
    [ "$(ledger herd_fetches_avoided)" = 2 ]
}

@test "CLIENT UNBLOCK ends the wait" {
    start_node --herd-protect 'page:* park 600000 lease 600000'
    exec 8<>"/dev/tcp/127.0.0.1/$PORT"
    printf 'GET page:1\r\n' >&8
    eventually ledger_is herd_fetches 1
    ask_later "$BATS_TEST_TMPDIR/second" --no-raw GET page:1
    eventually ledger_is herd_parked_now 1
    id=$(cli CLIENT LIST | sed -n 's/^id=\([0-9]*\) .*flags=b.*/\1/p')
    [ "$(cli CLIENT UNBLOCK "$id")" = 1 ]
    eventually answered "$BATS_TEST_TMPDIR/second"
    [ "$(cat "$BATS_TEST_TMPDIR/second")" = '(nil)' ]
    exec 8>&-
}

@test "stats herd says what INFO herd says" {
    start_node --herd-protect 'page:*'
    cli GET page:1
    memcache 'stats herd' >"$BATS_TEST_TMPDIR/stats"
    grep -q '^STAT herd_fetches 1' "$BATS_TEST_TMPDIR/stats"
    grep -q '^STAT rule:0:pattern page:\*' "$BATS_TEST_TMPDIR/stats"
    grep -q '^STAT rule:0:fetches 1' "$BATS_TEST_TMPDIR/stats"
    grep -q '^END' "$BATS_TEST_TMPDIR/stats"
    cli CONFIG RESETSTAT
    [ "$(ledger herd_fetches)" = 0 ]
    cli INFO herd | grep -q '^herd_rule0:.*,fetches=0,.*pattern=page:\*'
}

@test "rules that change while requests of several keys are answered" {
    start_node --threads 2 --herd-protect 'k* park 5 lease 5'
    for run in 1 2; do
        awk -v run="$run" 'BEGIN {
            for (i = 0; i < 20000; i++) {
                printf "MGET"
                for (j = 0; j < 30; j++)
                    printf " k%d:%d:%d", run, i, j
                print ""
            }
            print "QUIT"
        }' | nc 127.0.0.1 "$PORT" >/dev/null 3>&- &
        STARTED+=("$!")
        readers="${readers:-} $!"
    done
    for i in $(seq 1000); do
        printf 'CONFIG SET herd-protect ""\nCONFIG SET herd-protect "k* park 5 lease 5"\n'
    done | cli 3>&- | sort -u | grep -x OK
    wait $readers
    [ "$(cli PING)" = PONG ]
}

# Opens fd 8 to the memcached port, and has it hold the lease of page:b.
hold_page_b()
{
    exec 8<>"/dev/tcp/127.0.0.1/$MC_PORT"
    printf 'get page:b\r\n' >&8
    eventually ledger_is herd_fetches 1
}

fill_page_b()
{
    printf 'set page:b 0 0 1\r\nB\r\n' >&8
}

stat()
{
    memcache stats | sed -n "s/^STAT $1 //p"
}

@test "a request of several keys that waits half-way changes and counts nothing before it is answered" {
    start_node --herd-protect 'page:* park 15000'
    cli SET page:a A EX 1000
    memcache 'stats detail on'
    hold_page_b
    memcache 'gat 5000 page:a page:b' >"$BATS_TEST_TMPDIR/gat" 3>&- &
    STARTED+=("$!")
    eventually ledger_is herd_parked_now 1
    [ "$(cli TTL page:a)" -le 1000 ]
    [ "$(stat cmd_touch)" = 0 ]
    fill_page_b
    eventually answered "$BATS_TEST_TMPDIR/gat"
    grep -q '^A' "$BATS_TEST_TMPDIR/gat"
    grep -q '^B' "$BATS_TEST_TMPDIR/gat"
    [ "$(cli TTL page:a)" -gt 1000 ]
    [ "$(stat touch_hits)" = 2 ]

    memcache 'delete page:b'
    printf 'get page:b\r\n' >&8
    eventually ledger_is herd_fetches 2
    memcache 'get page:a page:b' >"$BATS_TEST_TMPDIR/get" 3>&- &
    STARTED+=("$!")
    eventually ledger_is herd_parked_now 1
    fill_page_b
    eventually answered "$BATS_TEST_TMPDIR/get"
    grep -q '^B' "$BATS_TEST_TMPDIR/get"
    # page:b twice by its holder, and then both by each of the two
    memcache 'stats detail dump' | grep -q '^PREFIX page get 6 hit 4 set 2 del 1'
    [ "$(stat get_hits)" = 2 ]
    exec 8>&-
}

@test "values served in their grace are counted once, though the request waited for another key" {
    start_node --herd-protect 'page:* park 15000 grace 60000 lease 60000'
    cli SET page:a A PX 1
    exec 7<>"/dev/tcp/127.0.0.1/$PORT"
    printf 'GET page:a\r\n' >&7
    eventually ledger_is herd_fetches 1
    exec 8<>"/dev/tcp/127.0.0.1/$PORT"
    printf 'GET page:b\r\n' >&8
    eventually ledger_is herd_fetches 2
    ask_later "$BATS_TEST_TMPDIR/mget" MGET page:a page:b
    eventually ledger_is herd_parked_now 1
    [ "$(ledger herd_stale_served)" = 0 ]
    printf 'SET page:b B\r\n' >&8
    eventually answered "$BATS_TEST_TMPDIR/mget"
    [ "$(cat "$BATS_TEST_TMPDIR/mget")" = "$(printf 'A\nB')" ]
    [ "$(ledger herd_stale_served)" = 1 ]
    exec 7>&- 8>&-
}

# long N: a word of so many bytes.
long()
{
    head -c "$1" /dev/zero | tr '\0' x
}

# Whoever waits for a fill is sent to fetch once that was refused: long before the lease is over.
next_one_fetches()
{
    eventually answered "$BATS_TEST_TMPDIR/next"
    cat "$BATS_TEST_TMPDIR/next"
}

@test "a fill that is refused gives its lease back: SET" {
    start_node --max-item-size 64kb --herd-protect 'page:* park 60000 lease 60000'
    for bytes in 65530 100000; do # too long with its key; too long by itself
        exec 8<>"/dev/tcp/127.0.0.1/$PORT"
        printf 'GET page:%d\r\n' $bytes >&8
        eventually blocked_is 0
        read -r line <&8
        [ "$line" = $'$-1\r' ]
        rm -f "$BATS_TEST_TMPDIR/next"
        ask_later "$BATS_TEST_TMPDIR/next" --no-raw GET page:$bytes
        eventually ledger_is herd_parked_now 1
        { printf '*3\r\n$3\r\nSET\r\n$%d\r\npage:%d\r\n$%d\r\n' $((5 + ${#bytes})) $bytes $bytes; long $bytes; printf '\r\n'; } >&8
        [ "$(next_one_fetches)" = '(nil)' ]
        exec 8>&-
    done
}

blocked_is()
{
    [ "$(info blocked_clients)" = "$1" ]
}

@test "a fill that is refused gives its lease back: SETLEASE, and cas under the fence" {
    start_node --max-item-size 64kb --lease-default-ms 60000 --lease-max-ms 60000 --herd-fence on
    for bytes in 65534 100000; do
        token=$(cli GETLEASE page | sed -n 6p)
        ask_later "$BATS_TEST_TMPDIR/next.$bytes" GETLEASE page WAIT 60000
        eventually ledger_is herd_parked_now 1
        long $bytes | cli -x SETLEASE page "$token" | grep 'max-item-size'
        eventually answered "$BATS_TEST_TMPDIR/next.$bytes"
        grep -q granted "$BATS_TEST_TMPDIR/next.$bytes"
        cli DEL page

        win=$(memcache 'mg item N3600 c' | sed -n 's/^HD.* c\([0-9]*\).*/\1/p')
        memcache "cas item 0 0 $bytes $win" "$(long $bytes)" | grep 'too large'
        memcache 'mg item N3600 c' | grep ' W'
        memcache 'delete item'
    done
}
