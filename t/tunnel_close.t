#!/usr/bin/perl

# How tunnels end while bytes are on their way: what a side sent before it closed still arrives, a
# reset or a worker's end stops both sides, and nothing of it disturbs other tunnels.

use strict;
use warnings;

use Socket ();
use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;
use Time::HiRes qw/ sleep /;

my $t = Test::Nginx->new()->has(qw/ http proxy http_ssl socket_ssl /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(4 * 7 + 12);

%%TEST_GLOBALS%%

daemon off;
worker_shutdown_timeout 1s;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    error_log  %%TESTDIR%%/error.log info;

    log_format  bytes '$request_uri $status $upstream_bytes_received';
    access_log  %%TESTDIR%%/bytes.log bytes;

    server {
        listen       127.0.0.1:8080 sndbuf=32k;
        listen       127.0.0.1:8443 ssl sndbuf=32k;
        server_name  localhost;

        ssl_certificate      localhost.crt;
        ssl_certificate_key  localhost.key;

        location /plain/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /tls/ {
            websocket_guard  on;
            proxy_pass       https://127.0.0.1:8082;
        }

        location /stalled/ {
            websocket_guard  on;
            send_timeout     1s;
            proxy_pass       http://127.0.0.1:8081;
        }
    }
}
EOC

my $LENGTH = 8 << 20;
my $piece  = join '', map { chr int rand 256 } 1 .. 7919;
my $stream = substr $piece x (1 + $LENGTH / 7919), 0, $LENGTH;

my %handlers = (
    # Everything, then the end.
    'pour-and-close' => sub { my ($c) = @_; $c->upgrade; $c->write($stream, 60); $c->disconnect },

    # Half of it, then a reset.
    'pour-and-reset' => sub { my ($c) = @_; $c->upgrade; $c->write(substr($stream, 0, 100_000), 60); sleep 0.3; $c->reset },

    # Without end.
    flood => sub { my ($c) = @_; $c->upgrade; 1 while $c->write($stream, 60); $c->disconnect },

    # Notes what came before the client closed.
    note => sub {
        my ($c) = @_;
        $c->upgrade;
        sleep 0.5;
        my $got = $c->read_all(30) // '';
        $t->write_file('noted', $got eq $stream ? 'same' : 'else, ' . length $got);
    },
);

make_certificate($t, 'localhost');
run_backend($t, 8081, handlers => \%handlers);
run_backend($t, 8082, handlers => \%handlers, ssl => 'localhost');
$t->run();
my $witness = websocket(path => '/plain/');
is($witness->echo('hello'), 'hello', 'a tunnel beside them');
my ($worker) = worker_pids($t);

for my $path (qw! /plain/ /tls/ !) {
    for my $ssl (0, 1) {
        my $name = $path . ($ssl ? ', TLS client' : '');

        my $ws = websocket(path => "${path}pour-and-close", ssl => $ssl);
        delete $ws->{greedy};
        sleep 0.5;
        my $got = $ws->read_all(60) // 'no end';
        ok($got eq $stream, "$name: all of it, then the end");
        is($ws->error, '', "$name: an orderly one");

        $ws = websocket(path => "${path}note", ssl => $ssl);
        $ws->write($stream, 60);
        $ws->disconnect;
        ok(wait_until(sub { -s $t->testdir . '/noted' }, 20), "$name: the end reaches the backend");
        is($t->read_file('noted'), 'same', "$name: after all that was sent before");
        unlink $t->testdir . '/noted';

        $ws = websocket(path => "${path}flood", ssl => $ssl);
        $ws->read(1 << 20, 20);
        $ws->reset;
        is($witness->echo('hello'), 'hello', "$name: a reset of the client");

        $ws = websocket(path => "${path}pour-and-reset", ssl => $ssl);
        ok($ws->closed_within(10), "$name: a reset of the backend");
        is($witness->echo('hello'), 'hello', "$name: and others go on");
    }
}

# The client's half of the connection only: nginx takes that for the end.
my $ws = websocket(path => '/plain/');
$ws->write('');
$ws->{socket}->shutdown(1);
ok($ws->closed_within(5), 'half a close is a close');

# A client that does not read at all.
$ws = websocket(path => '/stalled/flood');
ok(wait_log($t, qr/\[tunnel-client-stalled\]/, 20), 'a stalled client is diagnosed');
ok($ws->closed_within(20), 'and cut');

is((worker_pids($t))[0], $worker, 'the worker lives');
my ($count) = $t->read_file('bytes.log') =~ m!^/plain/pour-and-close 101 (\d+)!m;
ok($count >= $LENGTH && $count < $LENGTH + 1000, 'the bytes are counted');

# The end of the worker, with bytes on their way.
my @held = map { websocket(path => '/plain/flood', ssl => $_) } 0, 1;
sleep 0.3;
ok(reload($t), 'reload');
is($witness->echo('hello'), 'hello', 'the old worker goes on');
ok($_->closed_within(10), 'until its time is over') for @held, $witness;
is(websocket(path => '/plain/')->echo('hello'), 'hello', 'the new one serves');
