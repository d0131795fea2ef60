# clients.bash - runs the scripts of real client libraries against a node.
#
#   setup() { load ../system/helper; load clients; }
#   teardown() { stop_all; }
#   @test "..." { serve; passes php "$HERE/php/redis.php"; }
#
# A script finds its node in REDIS_PORT and MEMCACHE_PORT, on 127.0.0.1. It leaves with 0
# when all was as it must be, with 1 after a line for each thing that was not, and with 77
# when its library is missing: its last line then says what to install.
#
# CLIENTS_AGAINST=real runs the same scripts at redis-server and memcached, so that one sees
# whether a script asks for something that the real ones would not give either.

HERE=$BATS_TEST_DIRNAME

# Starts what the clients talk to. The arguments are corrald's.
serve()
{
    if [ "${CLIENTS_AGAINST:-corral}" = real ]; then
        serve_real
    else
        start_node "$@"
    fi
    export REDIS_PORT=$PORT MEMCACHE_PORT=$MC_PORT
}

serve_real()
{
    PORT=$(free_port)
    MC_PORT=$(free_port)
    redis-server --port "$PORT" --bind 127.0.0.1 --save '' --dir "$BATS_TEST_TMPDIR" \
        >"$BATS_TEST_TMPDIR/redis" 2>&1 3>&- </dev/null &
    STARTED+=($!)
    memcached -p "$MC_PORT" -l 127.0.0.1 -u nobody >"$BATS_TEST_TMPDIR/memcached" 2>&1 3>&- </dev/null &
    STARTED+=($!)
    eventually cli PING && eventually nc -z 127.0.0.1 "$MC_PORT"
}

# Starts a cluster of three; REDIS_PORT, MEMCACHE_PORT and CLUSTER_PORT are those of the first node.
# The arguments are corrald's.
serve_cluster()
{
    start_cluster 3 --threads 2 --cluster-drain-timeout 0 "$@"
    export REDIS_PORT=$PORT MEMCACHE_PORT=$MC_PORT CLUSTER_PORT=${CLIENT_PORTS[0]}
}

# passes COMMAND...: a script, which has a minute. How it began to complain is shown if it
# failed; some libraries never cease to.
passes()
{
    run timeout -k 5 60 "$@" 3>&-
    if [ "$status" = 77 ]; then
        skip "${lines[-1]}"
    fi
    printf '%.300s\n' "${lines[@]:0:40}"
    return "$status"
}

# The first python3 that has this module. Distributions put theirs into /usr/bin, which need
# not be the one found first.
python_with()
{
    local python

    for python in python3 /usr/bin/python3; do
        if "$python" -c "import $1" 2>/dev/null; then
            PYTHON=$python
            return 0
        fi
    done
    skip "the python module $1 is missing: install $2"
}
