#!/usr/bin/perl

# What a tunnel over TLS keeps: not the buffers that nginx has collected its records in, and of the worker's buffer only
# what a client that does not read has not taken.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;
use Test::WebSocketGuard::Heap;
use Time::HiRes qw/ sleep /;

my $t = Test::Nginx->new()->has(qw/ http proxy http_ssl socket_ssl /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(12);

%%TEST_GLOBALS%%

daemon off;

events {
    worker_connections  2048;
}

http {
    %%TEST_GLOBALS_HTTP%%

    error_log  %%TESTDIR%%/error.log info;

    ssl_certificate      localhost.crt;
    ssl_certificate_key  localhost.key;
    ssl_buffer_size      %%BUFFER%%;

    websocket_guard  on;

    server {
        listen       127.0.0.1:8080;
        listen       127.0.0.1:8443 ssl sndbuf=8k;
        server_name  localhost;

        websocket_guard_tunnel  pump;

        location / {
            proxy_pass  http://127.0.0.1:8081;
        }

        location /tls/ {
            proxy_pass  https://127.0.0.1:8082;
        }

        # nginx's own loop keeps them.
        location /native/ {
            websocket_guard_tunnel  native;
            proxy_pass              http://127.0.0.1:8081;
        }

        location /native/tls/ {
            websocket_guard_tunnel  native;
            proxy_pass              https://127.0.0.1:8082;
        }
    }
}
EOC

my $conf = $t->read_file('nginx.conf');

# AddressSanitizer keeps what was freed, unless told otherwise, and a shadow of what is used.
my $sanitized = `$ENV{TEST_NGINX_BINARY} -V 2>&1` =~ /-fsanitize=address/;
local $ENV{ASAN_OPTIONS} = join ':', $ENV{ASAN_OPTIONS} // (), 'quarantine_size_mb=0', 'thread_local_quarantine_size_kb=0';

time_limit(120);
make_certificate($t, 'localhost');
run_backend($t, 8081, handlers => {
    # More than a client takes that does not read, little by little.
    drip => sub {
        my ($c) = @_;
        $c->upgrade;
        $c->{greedy} = 1;
        for (1 .. 200) {
            $c->write("\x82\x7e" . pack('n', 996) . '.' x 996, 30) or last;
            sleep 0.002;
        }
        $c->closed_within(60);
    },
});
run_backend($t, 8082, ssl => 'localhost');

# ---- buffers of nginx ----------------------------------------------------------------------------

$t->write_file('nginx.conf', $conf =~ s/%%BUFFER%%/100k/r);
run_with_heap_meter($t);

# That to the backend has 16 KiB, whatever is configured. What OpenSSL itself keeps depends on its version.
cmp_ok(given_back('/', 1), '>', 100, 'TLS to the client: the buffer is given back');
cmp_ok(given_back('/tls/', 0), '>', 16, 'TLS to the backend');
cmp_ok(given_back('/tls/', 1), '>', 116, 'TLS to both');

# A small one lies among other things in the pool of the connection.
$t->write_file('nginx.conf', $conf =~ s/%%BUFFER%%/1k/r);
ok(reload($t), 'small buffers');
is(websocket(ssl => 1, path => '/tls/')->echo_bytes(100_000), 100_000, 'stay and do no harm');

# ---- a client that does not read -----------------------------------------------------------------

$t->write_file('nginx.conf', $conf =~ s/%%BUFFER%%/16k/r);
ok(reload($t), 'another worker');
my $healthy = websocket();
my ($worker) = worker_pids($t);
my $count = 25;
my (@stalled, $before);
for my $n (0 .. $count) {
    # All of the worker's buffer is in use by turns.
    $healthy->echo_bytes(400_000) == 400_000 or die 'the tunnel that goes on does not';
    $before = rss_kib($worker) if $n == 1;
    my $ws = websocket(ssl => 1, path => '/drip');
    delete $ws->{greedy};
    push @stalled, $ws;
    sleep 0.9;
}
$healthy->echo_bytes(400_000);
my $each = (rss_kib($worker) - $before) / $count;
note("$each KiB for each that stalls");
cmp_ok($each, '<', $sanitized ? 115 : 75, 'the worker does not leave its buffer to each of them');
for my $ws (@stalled[0, -1]) {
    $ws->{greedy} = 1;
    my $frame = "\x82\x7e" . pack('n', 996) . '.' x 996;
    ok(($ws->read(200 * 1000, 30) // '') eq $frame x 200, 'one that reads again has everything');
}
is((worker_pids($t))[0], $worker, 'the worker lives');
is(websocket(ssl => 1)->echo('hello'), 'hello', 'and goes on');
is_deeply([guard_log($t, 'error')], [], 'nothing to complain about');

# KiB that a tunnel keeps less than with nginx's own loop.
sub given_back {
    my ($path, $ssl) = @_;
    return taken("/native$path", $ssl) - taken($path, $ssl);
}

# KiB that a tunnel keeps.
sub taken {
    my ($path, $ssl) = @_;
    my @first = map { websocket(path => $path, ssl => $ssl) } 1 .. 3;
    my ($worker) = worker_pids($t);
    my $before = heap_bytes($t, $worker);
    my @tunnels = map { websocket(path => $path, ssl => $ssl) } 1 .. 10;
    $_->echo('hello') eq 'hello' or die 'a tunnel fails' for @tunnels;
    my $each = (heap_bytes($t, $worker) - $before) / 1024 / @tunnels;
    note("$each KiB in $path" . ($ssl ? ', TLS client' : ''));
    return $each;
}
