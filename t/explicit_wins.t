#!/usr/bin/perl

# What a guarded location says itself wins, even where it breaks WebSocket.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(7);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /headers/ {
            websocket_guard   on;
            proxy_pass        http://127.0.0.1:8081;
            proxy_set_header  Upgrade "";
            proxy_set_header  Connection x-own;
        }

        location /version/ {
            websocket_guard     on;
            proxy_pass          http://127.0.0.1:8081;
            proxy_http_version  1.0;
        }

        location /buffering/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
            proxy_buffering  on;
        }
    }
}
EOC

run_backend($t, 8081);
$t->run();

is(websocket(path => '/headers/ws')->status, 200, 'headers');
my $seen = (requests_seen($t))[-1];
is_deeply([$seen->header('Upgrade')], [], 'no Upgrade');
is_deeply([$seen->header('Connection')], ['x-own'], 'own Connection');
is($seen->version, 'HTTP/1.1', 'HTTP version from the guard');

http_get('/version/page');
is((requests_seen($t))[-1]->version, 'HTTP/1.0', 'own HTTP version');

ok(!streams('/buffering/'), 'buffering');
is(websocket(path => '/buffering/ws')->echo('hello'), 'hello', 'which disturbs no tunnel');
