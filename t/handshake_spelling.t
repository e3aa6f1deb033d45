#!/usr/bin/perl

# A handshake is one however it is spelled, as far as the rules allow it.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(25);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /on/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /auto/ {
            websocket_guard  auto;
            proxy_pass       http://127.0.0.1:8081;
        }
    }
}
EOC

run_backend($t, 8081);
$t->run();

for my $path (qw{ /on/ws /auto/ws }) {
    for my $headers (
        ['upgrade: WebSocket'],
        ['UPGRADE: WEBSOCKET', 'CONNECTION: UPGRADE'],
        ['Upgrade:websocket  ', 'connection:upgrade'],
        ['Connection: keep-alive, Upgrade'],
        ['Connection: upgrade,keep-alive', 'Upgrade: websocket,'],
        ['Connection: keep-alive', 'Connection: Upgrade'],
    ) {
        is(websocket(path => $path, headers => $headers)->echo('hello'), 'hello', "$path, @$headers");
        my $seen = (requests_seen($t))[-1];
        is_deeply([map { [$seen->header($_)] } qw/ Upgrade Connection /], [['websocket'], ['upgrade']],
            "$path, forwarded in one spelling");
    }
}

is_deeply([guard_log($t, 'error')], [], 'nothing to complain about');
