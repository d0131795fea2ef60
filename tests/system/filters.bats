#!/usr/bin/env bats
# Filters as keys: beside memcached's clients, evicted, expired, moved between nodes.
# What each command answers is in tests/wire/filters.resp.txt.

setup() { load helper; }
teardown() { stop_all; }

there()
{
    is MBbloom-- cli TYPE f
    is 1 cli BF.EXISTS f x
}

@test "to memcached's clients a filter is a miss that is not stored over by accident" {
    start_node
    cli BF.ADD f x
    is "$(printf 'END\nEND\nEN\nEN\nEN')" memcache 'get f' 'gets f' 'mg f v' 'mg f v N30' 'me f'
    is "$(printf 'NOT_STORED\nNOT_STORED\nNOT_STORED\nNOT_STORED\nNOT_FOUND')" \
        memcache 'add f 0 0 1' x 'append f 0 0 1' x 'prepend f 0 0 1' x 'replace f 0 0 1' x 'cas f 0 0 1 5' x
    is "$(printf 'NS\nNS\nNF\nNF\nNOT_FOUND\nNOT_FOUND\nNOT_FOUND')" \
        memcache 'ms f 1 ME' x 'ms f 1 MA N0' x 'ma f N0' 'ma f' 'incr f 1' 'decr f 1' 'touch f 100'
    memcache 'lease-get f' | grep -v LVALUE | grep END
    is END memcache 'lru_crawler metadump all'
    there
    is DELETED memcache 'delete f'
    is none cli TYPE f
    for delete in 'md f' 'md f I' 'md f x'; do
        cli BF.ADD f x
        is HD memcache "$delete"
        is none cli TYPE f
    done
    cli BF.ADD f x
    is STORED memcache 'set f 0 0 3' abc
    is abc cli GET f
}

@test "with herd protection a filter is no key to be filled" {
    start_node --herd-protect '*'
    cli BF.ADD f x
    cli GET f | grep WRONGTYPE
    is END memcache 'get f'
    there
}

@test "a filter ends with its time, and is evicted like a string" {
    start_node --maxmemory 32mb
    cli BF.ADD f x
    cli PEXPIRE f 100
    eventually is none cli TYPE f
    is 0 cli BF.EXISTS f x
    cli BF.ADD f x
    there
    for i in $(seq 200); do echo "BF.RESERVE large:$i 0.01 400000"; done | cli | sort | uniq -c | grep '200 OK'
    [ "$(info evicted_keys)" -gt 100 ]
    [ "$(info store_memory)" -le $((32 << 20)) ]
    for i in $(seq 200); do echo "QF.RESERVE large:q$i 0.01 100000"; done | cli | sort | uniq -c | grep '200 OK'
    [ "$(info store_memory)" -le $((32 << 20)) ]
}

@test "without room for it a filter is refused, and what is there stays" {
    start_node --maxmemory 16mb --maxmemory-policy noeviction
    is OK cli BF.RESERVE f 0.01 2000000
    is 1 cli BF.ADD f x
    cli BF.RESERVE g 0.01 50000000 | grep 'filter-max-bytes'
    for i in $(seq 20); do echo "BF.RESERVE g:$i 0.01 2000000"; done | cli | grep OOM
    there
    is 1 info filters_refused
}

# A filter that grows is replaced while others look at it and add to it.
@test "nothing is lost while a filter grows under many clients" {
    needs python3
    start_node --threads 2 --bf-initial-size 20
    python3 "$CORRAL_ROOT/tests/system/filters/growing.py" "$PORT"
}
