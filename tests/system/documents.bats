#!/usr/bin/env bats
# The documents against what there is: a command, an option, a counter or a module
# that nobody wrote about fails here, and so does a link to nowhere.

setup()
{
    load helper
    cd "$CORRAL_ROOT" || return 1
}
teardown() { stop_all; }

# CONFIG GET and config|get are the same name. Every family has a HELP.
names()
{
    tr 'A-Z|' 'a-z ' | sed 's/\r$//' | grep -v -e ' help$' -e '^$' | sort -u
}

# What a column of the table of all commands names, one a line.
column()
{
    awk -F'|' -v n="$1" '/^## Every command/ { on = 1 } on && /^\|/ { print $(n + 1) }' docs/PROTOCOLS.md |
        grep -o '`[^`]*`' | tr -d '`' | names
}

# Prints the lines of the first list that the second has not, and fails if there are any.
missing()
{
    local lost

    lost=$(comm -23 "$1" "$2")
    [ -z "$lost" ] || {
        echo "$3: $lost" >&2
        return 1
    }
}

@test "PROTOCOLS names the commands of this node, and no others, as known here" {
    start_node
    cli COMMAND LIST | names >"$BATS_TEST_TMPDIR/node"
    column 2 >"$BATS_TEST_TMPDIR/known"
    missing "$BATS_TEST_TMPDIR/node" "$BATS_TEST_TMPDIR/known" "not named"
    missing "$BATS_TEST_TMPDIR/known" "$BATS_TEST_TMPDIR/node" "named, but not there"
}

@test "PROTOCOLS names every command of the real redis-server" {
    needs redis-server
    redis-server --port 0 --unixsocket "$BATS_TEST_TMPDIR/redis" --save '' --daemonize no >/dev/null 2>&1 3>&- &
    STARTED+=("$!")
    eventually redis-cli -s "$BATS_TEST_TMPDIR/redis" PING
    redis-cli -s "$BATS_TEST_TMPDIR/redis" INFO server | grep -q '^redis_version:7\.0\.' ||
        skip "redis-server is not 7.0"
    redis-cli -s "$BATS_TEST_TMPDIR/redis" COMMAND LIST | names >"$BATS_TEST_TMPDIR/real"
    column 3 >"$BATS_TEST_TMPDIR/unknown"
    { column 2; column 3; } | sort -u >"$BATS_TEST_TMPDIR/all"
    missing "$BATS_TEST_TMPDIR/real" "$BATS_TEST_TMPDIR/all" "not named"
    missing "$BATS_TEST_TMPDIR/unknown" "$BATS_TEST_TMPDIR/real" "no command of redis"
}

@test "OPERATIONS names every option" {
    start_node
    for option in $(cli CONFIG GET '*' | sed -n 'p;n' | tr -d '\r'); do
        grep -q -F -- "\`$option\`" docs/OPERATIONS.md || lost="$lost $option"
    done
    is "" echo "${lost:-}"
}

# Those of memcached's stats have their prefix in the code only; redis turns one round.
@test "every counter is shown, and OPERATIONS names it" {
    start_member 0 # those of other nodes are shown in a cluster only
    { cli INFO; memcache stats; } >"$BATS_TEST_TMPDIR/shown"
    for counter in $(sed -n 's/^COUNTER(\([a-z_]*\).*/\1/p' server/counters.def); do
        shown=${counter#mc_}
        [ "$counter" != connections_rejected ] || shown=rejected_connections
        grep -q -e "$shown[: ]" "$BATS_TEST_TMPDIR/shown" || lost="$lost $counter"
        grep -q -e "$shown\`" docs/OPERATIONS.md || lost="$lost $counter"
    done
    is "" echo "${lost:-}"
}

@test "ARCHITECTURE names every module" {
    for file in server/*.[ch] server/*.def server/*/*.[ch] server/*/*.def protocol/*.[ch]; do
        module=$(basename "${file%.*}")
        grep -q -w -e "$module" docs/ARCHITECTURE.md || lost="$lost $file"
    done
    is "" echo "${lost:-}"
}

# The names that a page's headings have as targets of links.
anchors()
{
    sed -n 's/^##* //p' "$1" | tr 'A-Z' 'a-z' | sed 's/[^a-z0-9 _-]//g; s/ /-/g'
}

@test "links between the documents lead somewhere" {
    for page in *.md docs/*.md tests/*/*.md; do
        for link in $(grep -o '](\([^)]*\))' "$page" | sed 's/^](//; s/)$//' | grep -v '^https*:'); do
            target=${link%%#*}
            target=${target:+$(dirname "$page")/$target}
            target=${target:-$page}
            [ -e "$target" ] || lost="$lost $page:$link"
            case $link in
            *'#'*) anchors "$target" | grep -q -x -F -- "${link#*#}" || lost="$lost $page:$link" ;;
            esac
        done
    done
    is "" echo "${lost:-}"
}
