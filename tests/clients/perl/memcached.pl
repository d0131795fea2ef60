# Cache::Memcached: a cache life.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Check;

needs('Cache::Memcached', 'libcache-memcached-perl');

my $m = Cache::Memcached->new({ servers => ["127.0.0.1:$MEMCACHE_PORT"], namespace => 'app:', compress_threshold => 0 });

life(
    sub {
        same('set with a ttl', $m->set('one', 'value', 100), 1);
        same('get', $m->get('one'), 'value');
        same('get of a missing key', $m->get('nowhere'), undef);
        same('add to what is there', $m->add('one', 'x') ? 1 : 0, 0);
        same('replace', $m->replace('one', 'two'), 1);
        same('append', $m->append('one', '+'), 1);
        same('prepend', $m->prepend('one', '-'), 1);
        same('get the whole', $m->get('one'), '-two+');
        same('delete', $m->delete('one'), 1);
        same('delete again', $m->delete('one') ? 1 : 0, 0);
    },
    sub {
        $m->set("many:$_", $_) for 1 .. 500;
        my $got = $m->get_multi('nowhere', map { "many:$_" } 1 .. 500);
        same('get_multi', [map { $got->{"many:$_"} } 1 .. 500], [1 .. 500]);
        same('and nothing else', scalar(keys %$got), 500);
    },
    sub {
        same('incr of a missing key', $m->incr('n'), undef);
        $m->set('n', 10);
        same('incr', $m->incr('n', 5), 15);
        same('decr', $m->decr('n', 3), 12);
        same('decr stops at zero', $m->decr('n', 100) + 0, 0);
    },
    sub {
        $m->set('object', { a => [1, undef, 'zwei'] });
        same('object', $m->get('object')->{a}, [1, undef, 'zwei']);
        $m->set('large', $LARGE);
        same('large value', $m->get('large'), $LARGE);
        $m->enable_compress(1);
        $m->set_compress_threshold(1000);
        $m->set('packed', $LARGE);
        same('compressed value', $m->get('packed'), $LARGE);
        $m->set('binary', $BINARY);
        same('binary value', $m->get('binary'), $BINARY);
        $m->set($KEY, 'x');
        same('non-ascii key', $m->get($KEY), 'x');
    },
    sub {
        same('stats', $m->stats('misc')->{total}{curr_items} > 0, 1);
        same('flush_all', $m->flush_all, 1);
        same('nothing left', $m->get('large'), undef);
        $m->disconnect_all;
    }
);
