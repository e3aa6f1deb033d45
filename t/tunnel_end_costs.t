#!/usr/bin/perl

# What the end of a tunnel costs the worker beside its line: nothing that no line needs, and the search of the heap for
# memory that can go back comes when others do not wait for it.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;
use Time::HiRes qw/ sleep /;

my $t = Test::Nginx->new()->has(qw/ http proxy /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(11);

%%TEST_GLOBALS%%

daemon off;

events {
    worker_connections  2048;
}

http {
    %%TEST_GLOBALS_HTTP%%

    error_log  %%TESTDIR%%/error.log info;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        websocket_guard         on;
        websocket_guard_tunnel  pump;

        location /told/ {
            proxy_pass  http://127.0.0.1:8081;
        }

        location /ignored/ {
            websocket_guard_ignore  tunnel-client-gone;
            proxy_pass              http://127.0.0.1:8081;
        }

        location /off/ {
            websocket_guard_log  off;
            proxy_pass           http://127.0.0.1:8081;
        }

        location /above/ {
            error_log   %%TESTDIR%%/above.log warn;
            proxy_pass  http://127.0.0.1:8081;
        }
    }
}
EOC

time_limit(120);
run_backend($t, 8081);
run_with_call_counter();

# ---- how long a side was silent is asked for a line only ------------------------------------------

end_one('/told/');
is(calls('tcp_info'), 0, 'a Close: no line, and nothing is asked');

for my $path (qw! /ignored/ /off/ /above/ !) {
    cut_one($path);
    is(calls('tcp_info'), 0, "no line in $path, and nothing is asked");
}

cut_one('/told/');
ok(wait_log($t, qr/tunnel-client-gone/), 'a line');
is(calls('tcp_info'), 2, 'two sides are asked');

# ---- memory goes back when there is time for it ---------------------------------------------------

my @tunnels = map { websocket(path => '/told/') } 1 .. 600;
is(scalar(grep { $_->is_open } @tunnels), 600, 'many tunnels');
is(calls('malloc_trim'), 0, 'no search of the heap so far');
$_->disconnect for @tunnels;
ok(wait_until(sub { calls('malloc_trim') }, 10), 'they end, and then the heap is searched');
sleep 0.5;
is(calls('malloc_trim'), 1, 'once for all of them');
is(websocket(path => '/told/')->echo('hello'), 'hello', 'the worker goes on');

sub end_one {
    my ($path) = @_;
    my $ws = websocket(path => $path);
    $ws->echo('hello');
    $ws->close(1000, 'bye');
    $ws->disconnect;
    settle();
}

sub cut_one {
    my ($path) = @_;
    my $ws = websocket(path => $path);
    $ws->echo('hello');
    $ws->disconnect;
    settle();
}

# The worker has seen the end of the tunnel.
sub settle {
    sleep 0.2;
    return raw_request("GET /told/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")->status;
}

sub run_with_call_counter {
    my $library = $t->testdir . '/call_counter.so';
    my $source = __FILE__ =~ s{[^/]+$}{lib/call_counter.c}r;
    system('gcc', qw/ -Wall -Werror -O2 -shared -fPIC -o /, $library, $source, '-ldl') == 0 or die 'gcc fails';
    $t->write_file('calls', "\0" x 16);
    local $ENV{LD_PRELOAD} = $library;
    local $ENV{CALL_COUNTER} = $t->testdir . '/calls';
    # The library defines nothing of AddressSanitizer's.
    local $ENV{ASAN_OPTIONS} = join ':', $ENV{ASAN_OPTIONS} // (), 'verify_asan_link_order=0';
    return $t->run();
}

sub calls {
    my ($name) = @_;
    my %calls;
    @calls{qw/ malloc_trim tcp_info /} = unpack 'Q2', $t->read_file('calls');
    return $calls{$name};
}
