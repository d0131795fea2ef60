#!/usr/bin/env bats
# Node's clients, and caches and sessions over them.
#
# They come from the npm registry, in the versions of node/package.json, into obj/clients/node.
# The scripts are copied there too, because node looks for libraries beside the script.

MODULES=${CORRAL_ROOT:-$BATS_TEST_DIRNAME/../..}/obj/clients/node

# Tests cannot be skipped from here: setup() finds the reason in a file.
setup_file()
{
    local why=$BATS_FILE_TMPDIR/why

    mkdir -p "$MODULES"
    if ! command -v node >/dev/null || [ "$(node -p 'parseInt(process.versions.node)')" -lt 20 ]; then
        echo "node 20 or newer is missing: install nodejs" >"$why"
    elif cmp -s "$BATS_TEST_DIRNAME/node/package.json" "$MODULES/installed.json"; then
        :
    elif ! command -v npm >/dev/null; then
        echo "npm is missing: install npm" >"$why"
    else
        cp "$BATS_TEST_DIRNAME/node/package.json" "$MODULES"
        (
            cd "$MODULES" && timeout 120 npm install --ignore-scripts --no-package-lock --no-audit --no-fund \
                --fetch-retries 1 && cp package.json installed.json
        ) >"$BATS_FILE_TMPDIR/npm" 2>&1 3>&- </dev/null ||
            echo "npm could not install node/package.json: $(grep -m 1 'npm error' "$BATS_FILE_TMPDIR/npm" |
                cut -c 1-100)" >"$why"
    fi
    cp "$BATS_TEST_DIRNAME"/node/*.mjs "$MODULES"
}

setup()
{
    load ../system/helper
    load clients
    [ ! -e "$BATS_FILE_TMPDIR/why" ] || skip "$(cat "$BATS_FILE_TMPDIR/why")"
}

teardown() { stop_all; }

node_script()
{
    serve
    passes node "$MODULES/$1" "${@:2}"
}

@test "ioredis, Cluster" {
    serve_cluster
    REDIS_PORT=$CLUSTER_PORT passes node "$MODULES/ioredis_cluster.mjs"
}

@test "ioredis, RESP2" {
    node_script ioredis.mjs 2
}

@test "ioredis, RESP3" {
    node_script ioredis.mjs 3
}

@test "node-redis, RESP2" {
    node_script redis.mjs 2
}

@test "node-redis, RESP3 and its client-side cache" {
    node_script redis.mjs 3
}

@test "Valkey GLIDE" {
    node_script glide.mjs
}

@test "memjs" {
    node_script memjs.mjs
}

@test "memcached of npm" {
    node_script memcached.mjs
}

@test "Keyv and cache-manager over redis" {
    node_script keyv.mjs redis
}

@test "Keyv and cache-manager over memcached" {
    node_script keyv.mjs memcached
}

@test "express-session over connect-redis" {
    node_script session.mjs
}

@test "leases over ioredis" {
    node_script leases.mjs
}
