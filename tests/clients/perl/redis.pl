# Perl's Redis: a cache life.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Check;

needs('Redis', 'libredis-perl');

my $r = Redis->new(server => "127.0.0.1:$REDIS_PORT", name => 'perl', cnx_timeout => 10, read_timeout => 10);

life(
    sub {
        same('set with a ttl', $r->set('one', 'value', 'EX', 100), 'OK');
        same('ttl', $r->ttl('one') >= 99, 1);
        same('get', $r->get('one'), 'value');
        same('get of a missing key', $r->get('nowhere'), undef);
        same('set nx on what is there', $r->set('one', 'other', 'NX'), undef);
        same('setex', $r->setex('two', 100, 'x'), 'OK');
        same('expire', $r->expire('one', 50), 1);
        same('exists', $r->exists('one'), 1);
        same('del', $r->del('one', 'two'), 2);
    },
    sub {
        same('mset', $r->mset(a => 1, b => 2, c => 3), 'OK');
        same('mget', [$r->mget('a', 'nowhere', 'c')], [1, undef, 3]);
        $r->set("scan:$_", $_) for 1 .. 300;
        my ($at, %found) = 0;
        do {
            ($at, my $keys) = $r->scan($at, MATCH => 'scan:*', COUNT => 50);
            @found{@$keys} = ();
        } while ($at);
        same('scan', scalar(keys %found), 300);
        same('unlink', $r->unlink(keys %found), 300);
    },
    sub {
        same('incr', $r->incr('n'), 1);
        same('incrby', $r->incrby('n', 41), 42);
        same('decrby', $r->decrby('n', 2), 40);
        same('append', $r->append('text', 'abc'), 3);
        dies('incr of a text', sub { $r->incr('text') }, qr/ERR value is not an integer or out of range/);
    },
    sub {
        $r->set('stock', 5);
        $r->watch('stock');
        $r->multi;
        same('queued', $r->decr('stock'), 'QUEUED');
        same('exec', [$r->exec], [4]);
        my $other = Redis->new(server => "127.0.0.1:$REDIS_PORT");
        $r->watch('stock');
        $other->set('stock', 100);
        $r->multi;
        $r->decr('stock');
        same('exec after a change by somebody else', scalar($r->exec), undef);
        same('the change is theirs', $r->get('stock'), 100);
        $other->quit;
    },
    sub {
        my @got;
        for my $i (1 .. 1000) {
            $r->set("p:$i", $i, sub { });
            $r->get("p:$i", sub { push @got, $_[0] });
        }
        $r->wait_all_responses;
        same('pipeline of 2000', \@got, [1 .. 1000]);
    },
    sub {
        $r->set($KEY, $LARGE);
        same('large value', $r->get($KEY), $LARGE);
        $r->set($BINARY, $BINARY);
        same('binary key and value', $r->get($BINARY), $BINARY);
    },
    sub {
        $r->set('here', 0);
        same('select',                          $r->select(1),    'OK');
        same('another database has other keys', $r->get('here'), undef);
        $r->select(0);
    },
    sub {
        my @heard;
        my $other = Redis->new(server => "127.0.0.1:$REDIS_PORT", read_timeout => 10);
        $other->subscribe('news', sub { @heard = @_[0, 1] });
        same('publish', $r->publish('news', 'text'), 1);
        $other->wait_for_messages(5) until @heard;
        same('heard', \@heard, ['text', 'news']);
        $other->quit;
    },
    sub {
        same('ping', $r->ping, 'PONG');
        same('info', exists $r->info->{redis_version}, 1);
        same('client name', $r->client('getname'), 'perl');
        same('flushall', $r->flushall, 'OK');
        same('dbsize', $r->dbsize, 0);
        $r->quit;
    }
);
