<?php
// Notes what is not as it should be, and tells it all at the end.

error_reporting(E_ALL);
ini_set('display_errors', '1');

define('REDIS_PORT', (int)getenv('REDIS_PORT'));
define('MEMCACHE_PORT', (int)getenv('MEMCACHE_PORT'));

// All 256 bytes: zero, CR LF and what is no UTF-8 among them.
define('BYTES', str_repeat(implode('', array_map('chr', range(0, 255))), 4));
define('LARGE', str_repeat('0123456789abcdef', 60000)); // 960 kB, within memcached's 1 MB
const KEY = 'ключ:größe:鍵';

$failed = 0;

// What a library only warns of has not worked either.
set_error_handler(function (int $level, string $text): bool {
    global $failed;
    $failed++;
    echo "$text\n";
    return true;
});

function same(string $what, $got, $want): void
{
    global $failed;
    if ($got !== $want) {
        $failed++;
        echo "$what: got ", short($got), ', wanted ', short($want), "\n";
    }
}

function between(string $what, $got, $low, $high): void
{
    global $failed;
    if ($got < $low || $got > $high) {
        $failed++;
        echo "$what: got $got, wanted $low to $high\n";
    }
}

function short($value): string
{
    $text = var_export($value, true);
    return strlen($text) < 200 ? $text : substr($text, 0, 200) . '... (' . strlen($text) . ' bytes)';
}

/** Runs the functions one after the other; one that fails does not keep the rest from running. */
function life(callable ...$chapters): void
{
    global $failed;
    foreach ($chapters as $chapter) {
        try {
            $chapter();
        } catch (Throwable $e) {
            $failed++;
            echo $e, "\n";
        }
    }
    exit($failed ? 1 : 0);
}

function needs(string $extension): void
{
    if (!extension_loaded($extension)) {
        echo "php has no $extension: install php-$extension\n";
        exit(77);
    }
}
