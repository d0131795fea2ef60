#!/usr/bin/env bats
# Perl's clients.

setup() { load ../system/helper; load clients; }
teardown() { stop_all; }

perl_script()
{
    command -v perl >/dev/null || skip "perl is missing: install perl"
    serve
    passes perl "$HERE/perl/$1" "${@:2}"
}

@test "Perl's Redis" {
    perl_script redis.pl
}

@test "Cache::Memcached" {
    perl_script memcached.pl
}
