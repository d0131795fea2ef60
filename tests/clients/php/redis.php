<?php
// phpredis: a cache life.

require __DIR__ . '/check.php';
needs('redis');

$r = new Redis();
$r->connect('127.0.0.1', REDIS_PORT, 10);

life(
    function () use ($r) {
        same('set with a ttl', $r->set('one', 'value', 100), true);
        between('ttl', $r->ttl('one'), 99, 100);
        same('get', $r->get('one'), 'value');
        same('get of a missing key', $r->get('nowhere'), false);
        same('set nx on what is there', $r->set('one', 'other', ['nx', 'ex' => 10]), false);
        same('set xx', $r->set('one', 'two', ['xx', 'px' => 90000]), true);
        same('setex', $r->setex('setex', 100, 'x'), true);
        same('expire', $r->expire('one', 50), true);
        same('exists', $r->exists('one', 'nowhere'), 1);
        same('type', $r->type('one'), Redis::REDIS_STRING);
        same('del', $r->del('one', 'nowhere'), 1);
    },
    function () use ($r) {
        same('mset', $r->mSet(['a' => '1', 'b' => '2', 'c' => '3']), true);
        same('mget', $r->mGet(['a', 'nowhere', 'c']), ['1', false, '3']);
        for ($i = 0; $i < 300; $i++) {
            $r->set("scan:$i", (string)$i);
        }
        $r->setOption(Redis::OPT_SCAN, Redis::SCAN_RETRY);
        $found = [];
        $at = null;
        while ($keys = $r->scan($at, 'scan:*', 50)) {
            $found += array_flip($keys);
        }
        same('scan', count($found), 300);
        same('unlink', $r->unlink(array_keys($found)), 300);
    },
    function () use ($r) {
        same('incr', $r->incr('n'), 1);
        same('incrby', $r->incrBy('n', 41), 42);
        same('decrby', $r->decrBy('n', 2), 40);
        same('incrbyfloat', $r->incrByFloat('n', 0.5), 40.5);
        same('append', $r->append('text', 'abc'), 3);
        same('incr of a text', $r->incr('text'), false);
        same('why', rtrim($r->getLastError(), "\0"), 'ERR value is not an integer or out of range');
        $r->clearLastError();
    },
    function () use ($r) {
        $r->set('stock', '5');
        $r->watch('stock');
        same('exec', $r->multi()->decr('stock')->get('stock')->exec(), [4, '4']);
        $other = new Redis();
        $other->connect('127.0.0.1', REDIS_PORT, 10);
        $r->watch('stock');
        $other->set('stock', '100');
        same('exec after a change by somebody else', $r->multi()->decr('stock')->exec(), false);
        same('the change is theirs', $r->get('stock'), '100');
        $r->multi();
        same('discard', $r->discard(), true);
        $other->close();
    },
    function () use ($r) {
        $pipe = $r->pipeline();
        for ($i = 0; $i < 1000; $i++) {
            $pipe->set("p:$i", (string)$i)->get("p:$i");
        }
        $got = $pipe->exec();
        same('pipeline of 2000', count($got), 2000);
        same('its end', array_slice($got, -2), [true, '999']);
    },
    function () use ($r) {
        $r->set(KEY, LARGE);
        same('large value', $r->get(KEY) === LARGE, true);
        $r->set(BYTES, BYTES);
        same('binary key and value', $r->get(BYTES) === BYTES, true);
        $r->setOption(Redis::OPT_SERIALIZER, Redis::SERIALIZER_PHP);
        $r->setOption(Redis::OPT_PREFIX, 'app:');
        $r->set('object', ['a' => [1, null, 'zwei']]);
        same('object', $r->get('object'), ['a' => [1, null, 'zwei']]);
        $r->setOption(Redis::OPT_SERIALIZER, Redis::SERIALIZER_NONE);
        $r->setOption(Redis::OPT_PREFIX, '');
        same('prefix', $r->exists('app:object'), 1);
    },
    function () use ($r) {
        $r->set('here', '0');
        same('select', $r->select(1), true);
        same('another database has other keys', $r->get('here'), false);
        same('swap', $r->swapdb(0, 1), true);
        same('swapped', $r->get('here'), '0');
        $r->swapdb(0, 1);
        $r->select(0);
    },
    function () use ($r) {
        same('ping', $r->ping(), true);
        same('info', isset($r->info()['redis_version']), true);
        same('time', count($r->time()), 2);
        same('config', count($r->config('GET', 'maxmemory')), 1);
        same('client', $r->client('setname', 'phpredis'), true);
        same('client list', in_array('phpredis', array_column($r->client('list'), 'name')), true);
        same('flushall', $r->flushAll(), true);
        same('dbsize', $r->dbSize(), 0);
        same('persistent connection', (new Redis())->pconnect('127.0.0.1', REDIS_PORT, 10), true);
        same('close', $r->close(), true);
    }
);
