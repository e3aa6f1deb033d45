#!/usr/bin/perl

# Memory that runs out ends the one tunnel that wanted it, and what many tunnels took is given back when
# they are gone.

use strict;
use warnings;

use POSIX ();
use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;
use Test::WebSocketGuard::Heap;

my $t = Test::Nginx->new()->has(qw/ http proxy http_ssl socket_ssl /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(16);

%%TEST_GLOBALS%%

daemon off;

events {
    worker_connections  2048;
}

http {
    %%TEST_GLOBALS_HTTP%%

    websocket_guard_buffer_size  %%SIZE%%;

    error_log  %%TESTDIR%%/error.log info;

    server {
        listen       127.0.0.1:8080;
        listen       127.0.0.1:8443 ssl sndbuf=32k;
        server_name  localhost;

        ssl_certificate      localhost.crt;
        ssl_certificate_key  localhost.key;

        location / {
            websocket_guard         on;
            websocket_guard_tunnel  pump;
            proxy_pass              http://127.0.0.1:8081;
        }
    }
}
EOC

my $conf   = $t->read_file('nginx.conf');
my $LENGTH = 8 << 20;
my $stream = substr join('', map { chr int rand 256 } 1 .. 7919) x (1 + $LENGTH / 7919), 0, $LENGTH;

# AddressSanitizer gives up where memory runs out, unless told otherwise, and keeps what was freed.
my $sanitized = `$ENV{TEST_NGINX_BINARY} -V 2>&1` =~ /-fsanitize=address/;
local $ENV{ASAN_OPTIONS} = join ':', $ENV{ASAN_OPTIONS} // (), 'allocator_may_return_null=1';

make_certificate($t, 'localhost');
run_backend($t, 8081, handlers => {
    pour => sub { my ($c) = @_; $c->upgrade; $c->write($stream, 60); $c->closed_within(30) },
});

# ---- memory runs out -----------------------------------------------------------------------------

$t->write_file('nginx.conf', $conf =~ s/%%SIZE%%/300m/r);
$sanitized ? run_with_heap_meter($t) : $t->run();

my $first = websocket();
is($first->echo('hello'), 'hello', 'a tunnel');
my ($worker) = worker_pids($t);
ok(limit_memory($worker, 100 << 20), 'no room for a second buffer');

# OpenSSL wants the bytes where they were, so that the worker's buffer stays with this tunnel.
my $blocked = websocket(path => '/pour', ssl => 1);
ok($blocked->is_open, 'a tunnel that blocks, with the only buffer');
delete $blocked->{greedy};
ok(wait_until(sub { buffer_is_taken() }, 10), 'a tunnel that needs one, too, is cut');

is(raw_request("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")->status, 200, 'plain requests go on');
ok(($blocked->read($LENGTH, 30) // '') eq $stream, 'the one with the buffer has everything');
is(websocket()->echo('hello'), 'hello', 'then there is a buffer again');
is((worker_pids($t))[0], $worker, 'the worker lives');
like($t->read_file('error.log'), qr/\[emerg\] .*(?:malloc|posix_memalign)\(\d+.*\) failed/, 'nginx tells why');
$_->disconnect for $blocked, $first;

# ---- memory comes back ---------------------------------------------------------------------------

$t->write_file('nginx.conf', $conf =~ s/%%SIZE%%/64k/r);
ok(reload($t), 'another worker');
ok(wait_until(sub { ($worker) = worker_pids($t) }), 'is there');
is(websocket()->echo_bytes(100_000), 100_000, 'the first tunnel');
my $before = memory();

# In no order, so that holes are left all over the heap.
my @tunnels = map { websocket() } 1 .. 600;
my $open = memory();
cmp_ok($open - $before, '<', 600 * ($sanitized ? 64 : 16), 'idle tunnels take little');
is(scalar(grep { $_->is_open } @tunnels), 600, 'all are open');
while (@tunnels) {
    (splice @tunnels, rand @tunnels, 1)->disconnect;
}
ok(wait_until(sub { memory() - $before < 0.5 * ($open - $before) }), 'and give it back');
is(websocket()->echo('hello'), 'hello', 'the worker goes on');

# KiB that the worker has of the system. AddressSanitizer keeps what was freed; there it is what is allocated.
sub memory { return $sanitized ? heap_bytes($t, $worker) / 1024 : rss_kib($worker) }

# So much more than it has now. Root need not have the right to do this to another user's process.
sub limit_memory {
    my ($pid, $bytes) = @_;
    open my $file, '<', "/proc/$pid/statm" or return 0;
    my ($pages) = <$file> =~ /^(\d+)/;
    my ($user, $group) = (stat "/proc/$pid")[4, 5];
    my $child = fork() // return 0;
    if ($child == 0) {
        POSIX::setgid($group);
        POSIX::setuid($user);
        exec 'prlimit', "--pid=$pid", '--as=' . ($pages * 4096 + $bytes) or POSIX::_exit(1);
    }
    waitpid $child, 0;
    return $? == 0;
}

sub buffer_is_taken {
    my $ws = websocket();
    return !($ws->is_open && defined $ws->echo('hello', 2));
}
