#!/usr/bin/perl

# A backend on a Unix socket.

use strict;
use warnings;

use IO::Socket::UNIX;
use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy unix /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(9);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    upstream backend {
        server unix:%%TESTDIR%%/backend.sock;
    }

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /direct/ {
            websocket_guard  on;
            proxy_pass       http://unix:%%TESTDIR%%/backend.sock;
        }

        location /uri/ {
            websocket_guard  on;
            proxy_pass       http://unix:%%TESTDIR%%/backend.sock:/there/;
        }

        location /upstream/ {
            websocket_guard  auto;
            proxy_pass       http://backend;
        }
    }
}
EOC

my $name = $t->testdir . '/backend.sock';
my $listener = IO::Socket::UNIX->new(Local => $name, Listen => 16) or die "cannot listen on $name: $!\n";
chmod 0777, $name;
$t->run_daemon(\&websocket_backend, $t, 8081, listener => $listener);
close $listener;
$t->run();

for my $path (qw! /direct/ /uri/ /upstream/ !) {
    my $ws = websocket(path => $path);
    ok($ws->is_open, "$path: handshake");
    is($ws->echo_bytes(1 << 20), 1 << 20, "$path: 1 MiB");
}

is_deeply([map { $_->uri } requests_seen($t, 8081)], [qw! /direct/ /there/ /upstream/ !], 'where they went');
like(http_get('/direct/'), qr/200 OK/, 'plain request');
is_deeply([guard_log($t, 'error')], [], 'nothing to complain about');
