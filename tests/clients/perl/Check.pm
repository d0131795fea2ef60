# Notes what is not as it should be, and tells it all at the end.
package Check;

use strict;
use warnings;
use Exporter 'import';

our @EXPORT = qw($REDIS_PORT $MEMCACHE_PORT $BINARY $LARGE $KEY same dies needs life);

our $REDIS_PORT    = $ENV{REDIS_PORT};
our $MEMCACHE_PORT = $ENV{MEMCACHE_PORT};

# All 256 bytes: zero, CR LF and what is no UTF-8 among them.
our $BINARY = join('', map { chr } 0 .. 255) x 4;
our $LARGE  = '0123456789abcdef' x 60_000;      # 960 kB, within memcached's 1 MB
our $KEY    = "\xd0\xba\xd0\xbb\xd1\x8e\xd1\x87:gr\xc3\xb6\xc3\x9fe";

my $failed = 0;

sub short {
    my ($value) = @_;
    return 'nothing' unless defined $value;
    return length $value < 200 ? "'$value'" : "'" . substr($value, 0, 200) . "'... (" . length($value) . ' bytes)';
}

sub same {
    my ($what, $got, $want) = @_;
    ($got, $want) = map { ref eq 'ARRAY' ? join(', ', map { $_ // 'nothing' } @$_) : $_ } $got, $want;
    return if defined $got ? defined $want && $got eq $want : !defined $want;
    $failed++;
    print "$what: got ", short($got), ', wanted ', short($want), "\n";
    return;
}

sub dies {
    my ($what, $deed, $why) = @_;
    same($what, eval { $deed->(); 1 } ? 'no error' : $@ =~ $why ? 'the error' : $@, 'the error');
    return;
}

sub needs {
    my ($module, $package) = @_;
    return if eval "require $module; 1";
    print "perl has no $module: install $package\n";
    exit 77;
}

# Runs the subs one after the other; one that dies does not keep the rest from running.
sub life {
    for my $chapter (@_) {
        next if eval { $chapter->(); 1 };
        $failed++;
        print $@;
    }
    exit($failed ? 1 : 0);
}

1;
