#!/usr/bin/perl

# websocket_guard is inherited from http and from server, and a lower level overrides a higher one.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(9);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    websocket_guard  auto;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location / {
            proxy_pass  http://127.0.0.1:8081;
        }

        location /off/ {
            websocket_guard  off;
            proxy_pass       http://127.0.0.1:8081;
        }
    }

    server {
        listen       127.0.0.1:8083;
        server_name  localhost;

        websocket_guard  off;

        location / {
            proxy_pass  http://127.0.0.1:8081;
        }

        location /on/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }
    }

    server {
        listen       127.0.0.1:8084;
        server_name  localhost;

        websocket_guard  on;

        location / {
            proxy_pass  http://127.0.0.1:8081;
        }

        location /off/ {
            websocket_guard  off;
            proxy_pass       http://127.0.0.1:8081;
        }
    }
}
EOC

run_backend($t, 8081);
$t->run();

is(websocket(path => '/ws')->echo('hello'), 'hello', 'auto at http level');
is(websocket(port => 8083, path => '/on/ws')->echo('hello'), 'hello', 'on in a location of a server with off');
is(websocket(port => 8084, path => '/ws')->echo('hello'), 'hello', 'on at server level');

# "auto" from http, "on" from server.

ok(!streams('/'), 'auto buffers');
ok(streams('/', port => 8084), 'on does not');

is_deeply([guard_log($t, 'error')], [], 'nothing to complain about');

is(websocket(path => '/off/ws')->status, 200, 'off in a location under auto');
is(websocket(port => 8083, path => '/ws')->status, 200, 'off in a server under auto');
is(websocket(port => 8084, path => '/off/ws')->status, 200, 'off in a location under on');
