package Test::WebSocketGuard::Heap;

# How much of its heap a process of nginx has allocated, to the byte: what it keeps for reuse is not counted, as it is
# in the memory that the system sees.

use strict;
use warnings;

use Carp;
use Exporter 'import';
use POSIX ();
use Test::WebSocketGuard;

our @EXPORT = qw/ run_with_heap_meter heap_bytes /;

my $SIGNAL = POSIX::SIGRTMIN() + 3;

# $t->run() for an nginx that heap_bytes can ask.
sub run_with_heap_meter {
    my ($t) = @_;
    my $library = $t->testdir . '/heap_meter.so';
    my $source = __FILE__ =~ s{Test/WebSocketGuard/Heap\.pm$}{heap_meter.c}r;
    system('gcc', qw/ -Wall -Werror -O2 -shared -fPIC -o /, $library, $source) == 0 or croak 'gcc fails';
    $t->write_file('heap', "\0" x 16);

    local $ENV{LD_PRELOAD} = $library;
    local $ENV{HEAP_METER} = $t->testdir . '/heap';
    local $ENV{HEAP_METER_SIGNAL} = $SIGNAL;
    # The library defines nothing of AddressSanitizer's. And chunks that glibc keeps at hand would count as allocated.
    local $ENV{ASAN_OPTIONS} = join ':', $ENV{ASAN_OPTIONS} // (), 'verify_asan_link_order=0';
    local $ENV{GLIBC_TUNABLES} = 'glibc.malloc.tcache_count=0:glibc.malloc.mxfast=0';
    return $t->run();
}

# Allocated bytes of a process that has nothing to do.
sub heap_bytes {
    my ($t, $pid) = @_;
    wait_until(sub { _state($pid) eq 'S' }) or croak "process $pid is busy";
    my (undef, $asked) = _answer($t);
    kill $SIGNAL, $pid or croak "no process $pid";
    my ($bytes, $now);
    wait_until(sub { ($bytes, $now) = _answer($t); $now > $asked }) or croak "process $pid does not answer";
    return $bytes;
}

sub _answer { return unpack 'Q2', $_[0]->read_file('heap') }

sub _state {
    my ($pid) = @_;
    open my $file, '<', "/proc/$pid/stat" or croak "no process $pid";
    return <$file> =~ /\) (\w) / ? $1 : '';
}

1;
