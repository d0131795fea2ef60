<?php
// PHP's sessions: what one request leaves, the next one finds. phpredis lets go of a session's
// lock with a script, so redis.session.locking_enabled stays off; php-memcached locks by itself.
//
//     session.php redis|memcached

require __DIR__ . '/check.php';
needs($argv[1]);

$where = [
    'redis' => 'tcp://127.0.0.1:' . REDIS_PORT . '?database=1&prefix=session:',
    'memcached' => '127.0.0.1:' . MEMCACHE_PORT,
];
ini_set('session.save_handler', $argv[1]);
ini_set('session.save_path', $where[$argv[1]]);
ini_set('session.use_cookies', '0');
ini_set('session.cache_limiter', '');
ini_set('session.gc_maxlifetime', '300');

life(function () {
    ob_start(); // sessions begin before output does
    session_id('abcdefghijklmnopqrstuvwx');
    same('start', session_start(), true);
    $_SESSION['user'] = ['name' => 'grün', 'binary' => BYTES];
    same('write', session_write_close(), true);
    $_SESSION = [];
    session_start();
    same('what the next request finds', $_SESSION['user']['name'], 'grün');
    same('destroy', session_destroy(), true);
    session_start();
    same('after that', $_SESSION, []);
    session_write_close();
});
