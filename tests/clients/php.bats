#!/usr/bin/env bats
# PHP's clients, and its sessions over them.

setup() { load ../system/helper; load clients; }
teardown() { stop_all; }

php_script()
{
    command -v php >/dev/null || skip "php is missing: install php-cli"
    serve
    passes php "$HERE/php/$1" "${@:2}"
}

@test "phpredis" {
    php_script redis.php
}

@test "php-memcached, text" {
    php_script memcached.php text
}

@test "php-memcached, binary" {
    php_script memcached.php binary
}

@test "PHP sessions in redis" {
    php_script session.php redis
}

@test "PHP sessions in memcached" {
    php_script session.php memcached
}

@test "leases over phpredis" {
    php_script leases.php
}
