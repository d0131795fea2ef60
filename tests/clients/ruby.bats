#!/usr/bin/env bats
# Ruby's clients, and Rails' cache stores over them.

setup() { load ../system/helper; load clients; }
teardown() { stop_all; }

ruby_script()
{
    command -v ruby >/dev/null || skip "ruby is missing: install ruby"
    serve
    passes ruby "$HERE/ruby/$1" "${@:2}"
}

@test "redis-rb" {
    ruby_script redis.rb
}

@test "Dalli" {
    ruby_script dalli.rb
}

@test "Rails' redis_cache_store" {
    ruby_script rails_cache.rb redis
}

@test "Rails' mem_cache_store" {
    ruby_script rails_cache.rb memcached
}
