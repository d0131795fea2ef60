<?php
// php-memcached, which is libmemcached: a cache life over the text and the binary protocol.
//
//     memcached.php text|binary

require __DIR__ . '/check.php';
needs('memcached');
define('BINARY_PROTOCOL', $argv[1] === 'binary');

$m = new Memcached();
$m->setOptions([
    Memcached::OPT_BINARY_PROTOCOL => BINARY_PROTOCOL,
    Memcached::OPT_TCP_NODELAY => true,
    Memcached::OPT_COMPRESSION => false,
]);
$m->addServer('127.0.0.1', MEMCACHE_PORT);

life(
    function () use ($m) {
        same('set with a ttl', $m->set('one', 'value', 100), true);
        same('get', $m->get('one'), 'value');
        same('get of a missing key', $m->get('nowhere'), false);
        same('why', $m->getResultCode(), Memcached::RES_NOTFOUND);
        same('add to what is there', $m->add('one', 'x'), false);
        same('why', $m->getResultCode(), BINARY_PROTOCOL ? Memcached::RES_DATA_EXISTS : Memcached::RES_NOTSTORED);
        same('replace', $m->replace('one', 'two'), true);
        same('append', $m->append('one', '+'), true);
        same('prepend', $m->prepend('one', '-'), true);
        same('get the whole', $m->get('one'), '-two+');
        same('touch', $m->touch('one', 50), true);
        same('delete', $m->delete('one'), true);
        same('delete again', $m->delete('one'), false);
        same('read-through', $m->get('made', function ($memc, $key, &$value) {
            $value = "$key it is";
            return true;
        }), 'made it is');
        same('and kept', $m->get('made'), 'made it is');
    },
    function () use ($m) {
        same('setMulti', $m->setMulti(['a' => 1, 'b' => 'zwei', 'c' => [3.5, null]], 100), true);
        same('getMulti', $m->getMulti(['a', 'nowhere', 'b', 'c']), ['a' => 1, 'b' => 'zwei', 'c' => [3.5, null]]);
        $keys = array_map(fn ($i) => "many:$i", range(0, 499));
        $m->setMulti(array_combine($keys, range(0, 499)));
        same('getMulti of 500', $m->getMulti($keys), array_combine($keys, range(0, 499)));
        same('getDelayed', $m->getDelayed(['a', 'b'], true), true);
        same('fetchAll', count($m->fetchAll()), 2);
        same('deleteMulti', $m->deleteMulti(['a', 'b']), ['a' => true, 'b' => true]);
    },
    function () use ($m) {
        same('increment of a missing key', $m->increment('n'), false);
        $m->set('n', 10);
        same('increment', $m->increment('n', 5), 15);
        same('decrement stops at zero', $m->decrement('n', 100), 0);
        if (BINARY_PROTOCOL) {
            same('increment with a beginning', $m->increment('fresh', 1, 7, 100), 7);
            same('and on', $m->increment('fresh', 1, 7, 100), 8);
        }
    },
    function () use ($m) {
        $m->set('swap', '1');
        $got = $m->get('swap', null, Memcached::GET_EXTENDED);
        same('get extended', $got['value'], '1');
        same('cas', $m->cas($got['cas'], 'swap', '2'), true);
        same('cas with a token of the past', $m->cas($got['cas'], 'swap', '3'), false);
        same('why', $m->getResultCode(), Memcached::RES_DATA_EXISTS);
    },
    function () use ($m) {
        $m->set('large', LARGE);
        same('large value', $m->get('large') === LARGE, true);
        $m->setOption(Memcached::OPT_COMPRESSION, true);
        $m->set('packed', LARGE);
        same('compressed value', $m->get('packed') === LARGE, true);
        $m->set('binary', BYTES);
        same('binary value', $m->get('binary') === BYTES, true);
        if (BINARY_PROTOCOL) { // the extension refuses them in text
            $m->set(KEY, 'x');
            same('non-ascii key', $m->get(KEY), 'x');
        }
    },
    function () use ($m) {
        same('version', count($m->getVersion()), 1);
        same('stats', current($m->getStats())['curr_items'] > 0, true);
        same('flush', $m->flush(), true);
        same('nothing left', $m->get('large'), false);
        same('quit', $m->quit(), true);
    }
);
