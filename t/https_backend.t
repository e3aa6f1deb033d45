#!/usr/bin/perl

# A backend that speaks TLS.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy http_ssl socket_ssl /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(11);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen       127.0.0.1:8080;
        listen       127.0.0.1:8443 ssl;
        server_name  localhost;

        ssl_certificate      localhost.crt;
        ssl_certificate_key  localhost.key;

        location /on/ {
            websocket_guard  on;
            proxy_pass       https://127.0.0.1:8081;
        }

        location /verified/ {
            websocket_guard                auto;
            proxy_pass                     https://127.0.0.1:8081;
            proxy_ssl_server_name          on;
            proxy_ssl_name                 backend;
            proxy_ssl_verify               on;
            proxy_ssl_trusted_certificate  backend.crt;
        }
    }
}
EOC

make_certificate($t, 'localhost');
make_certificate($t, 'backend');
run_backend($t, 8081, ssl => 'backend');
$t->run();

for my $path (qw! /on/ /verified/ !) {
    for my $ssl (0, 1) {
        my $name = $path . ($ssl ? ' from a TLS client' : '');
        my $ws = websocket(path => $path, ssl => $ssl);
        is($ws->echo('hello'), 'hello', "$name: echo");
        is($ws->echo_bytes(1 << 20), 1 << 20, "$name: 1 MiB");
    }
    is(raw_request("GET $path HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")->status, 200, "$path: plain request");
}
is_deeply([guard_log($t, 'error')], [], 'nothing to complain about');
