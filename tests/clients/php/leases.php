<?php
// The example of docs/HERDS.md, over phpredis.

require __DIR__ . '/check.php';
needs('redis');

$r = new Redis();
$r->connect('127.0.0.1', REDIS_PORT, 10);
$fetches = 0;

function fetch(string $key): string
{
    global $fetches;
    $fetches++;
    return 'from the origin';
}

function cached(Redis $r, string $key, int $ttl = 60)
{
    $lease = [];
    foreach (array_chunk($r->rawCommand('GETLEASE', $key, 'WAIT', 2000), 2) as [$name, $value])
        $lease[$name] = $value;
    if ($lease['state'] === 'live' || $lease['state'] === 'negative')
        return $lease['value'];
    $value = fetch($key);
    if ($lease['state'] === 'granted')
        $r->rawCommand('SETLEASE', $key, $lease['token'], $value, 'EX', $ttl);
    return $value;
}

life(
    function () use ($r) {
        global $fetches;
        same('cold', cached($r, 'page:1'), 'from the origin');
        same('warm', cached($r, 'page:1'), 'from the origin');
        same('fetches', $fetches, 1);
        between('ttl', $r->ttl('page:1'), 59, 60);
    },
    function () use ($r) {
        $token = $r->rawCommand('GETLEASE', 'page:2')[5];
        $r->del('page:2');
        same('late fill', $r->rawCommand('SETLEASE', 'page:2', $token, 'old'), false);
        same('late value', $r->get('page:2'), false);
    }
);
