#!/usr/bin/env bats
# Python's clients, and Django's caches over them.

setup() { load ../system/helper; load clients; }
teardown() { stop_all; }

# python SCRIPT ARGUMENTS...: nothing is written beside the sources.
python()
{
    serve
    passes "$PYTHON" -B "$HERE/python/$1" "${@:2}"
}

@test "redis-py" {
    python_with redis python3-redis
    python redis_py.py
}

@test "pymemcache" {
    python_with pymemcache python3-pymemcache
    python pymemcache_life.py
}

@test "pylibmc, text" {
    python_with pylibmc python3-pylibmc
    python pylibmc_life.py text
}

@test "pylibmc, binary" {
    python_with pylibmc python3-pylibmc
    python pylibmc_life.py binary
}

@test "Django over pymemcache" {
    python_with django,pymemcache "python3-django python3-pymemcache"
    python django_cache.py pymemcache
}

@test "Django over pylibmc" {
    python_with django,pylibmc "python3-django python3-pylibmc"
    python django_cache.py pylibmc
}

@test "Django over django-redis" {
    python_with django,django_redis "python3-django python3-django-redis"
    python django_cache.py django-redis
}

# cluster_python SCRIPT ARGUMENTS...: the same in a cluster of three.
cluster_python()
{
    serve_cluster
    passes env REDIS_PORTS="${PORTS[*]}" MEMCACHE_PORTS="${MC_PORTS[*]}" "$PYTHON" -B "$HERE/python/$1" \
        "${@:2}"
}

@test "redis-py, RedisCluster" {
    python_with redis.cluster python3-redis
    serve_cluster
    REDIS_PORT=$CLUSTER_PORT passes "$PYTHON" -B "$HERE/python/redis_cluster.py"
}

@test "redis-py, which knows one node of a cluster" {
    python_with redis python3-redis
    cluster_python redis_any_node.py
}

@test "pymemcache, which knows one node of a cluster" {
    python_with pymemcache python3-pymemcache
    cluster_python pymemcache_cluster.py one
}

@test "pymemcache, HashClient with all nodes of a cluster" {
    python_with pymemcache python3-pymemcache
    cluster_python pymemcache_cluster.py all
}

@test "pymemcache, HashClient with the nodes that it is told" {
    python_with pymemcache python3-pymemcache
    cluster_python pymemcache_cluster.py discovered
}

@test "leases over redis-py" {
    python_with redis python3-redis
    python leases.py
}

@test "filters over redis-py, against exact sets" {
    python_with redis python3-redis
    python filters.py
}
