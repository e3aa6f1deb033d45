#!/usr/bin/perl

# A subrequest is never an upgrade, also where the guarded location that it goes to has a recipe by hand, with a map
# or without one.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy map auth_request mirror /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(19);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    map $http_upgrade $connection_upgrade {
        default  upgrade;
        ''       close;
    }

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        websocket_guard  auto;

        location /auth/on/ {
            auth_request  /asked/on;
            proxy_pass    http://127.0.0.1:8081;
        }

        location /auth/auto/ {
            auth_request  /asked/auto;
            proxy_pass    http://127.0.0.1:8081;
        }

        location /mirror/ {
            websocket_guard  on;
            mirror           /asked/on;
            proxy_pass       http://127.0.0.1:8081;
        }

        location = /asked/on {
            websocket_guard     on;
            proxy_http_version  1.1;
            proxy_set_header    Upgrade $http_upgrade;
            proxy_set_header    Connection "upgrade";
            proxy_pass          http://127.0.0.1:8082/status?204;
        }

        location = /asked/auto {
            proxy_http_version  1.1;
            proxy_set_header    upgrade ${http_upgrade};
            proxy_set_header    Connection $connection_upgrade;
            proxy_pass          http://127.0.0.1:8082/status?204;
        }

        # near misses: the main request, and the same line twice
        location /own/ {
            proxy_set_header  Upgrade $http_upgrade;
            proxy_set_header  Connection "upgrade";
            proxy_pass        http://127.0.0.1:8081;
        }

        location /twice/ {
            proxy_set_header  Upgrade $http_upgrade;
            proxy_set_header  Upgrade $http_upgrade;
            proxy_set_header  Connection "upgrade";
            proxy_pass        http://127.0.0.1:8081;
        }
    }
}
EOC

run_backend($t, 8081);
run_backend($t, 8082);
$t->run();

my $asked = 0;
for my $path (qw! /auth/on/ /auth/auto/ /mirror/ !) {
    my $ws = websocket(path => "${path}ws");
    is($ws->status, 101, "$path: a tunnel");
    is($ws->echo('hello'), 'hello', "$path: it lives");
    my $request = (requests_seen($t, 8082, count => ++$asked))[-1];
    is_deeply([$request->header('Upgrade')], [], "$path: the subrequest asks for no upgrade");
    $ws->close;
}
is(raw_request("GET /auth/on/plain HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")->status, 200, 'a plain request');
is_deeply([(requests_seen($t, 8082, count => ++$asked))[-1]->header('Upgrade')], [], 'its subrequest');

my $ws = websocket(path => '/own/ws');
is($ws->echo('hello'), 'hello', 'the main request of a recipe by hand');
is_deeply([(requests_seen($t, 8081))[-1]->header('Upgrade')], ['websocket'], 'has one Upgrade');
$ws->close;
$ws = websocket(path => '/own/ws', headers => ['Upgrade: h2c, WebSocket']);
is_deeply([(requests_seen($t, 8081))[-1]->header('Upgrade')], ['websocket'], 'reduced to what is allowed');
$ws->close;
is_deeply([(requests_seen($t, 8081))[-1]->header('Connection')], ['upgrade'], 'with the Connection of the location');
is(raw_request("GET /own/plain HTTP/1.1\r\nHost: localhost\r\n\r\n")->status, 200, 'a plain request of that location');
is_deeply([(requests_seen($t, 8081))[-1]->header('Upgrade')], [], 'asks for no upgrade');
websocket(path => '/twice/ws')->disconnect;
is_deeply([(requests_seen($t, 8081))[-1]->header('Upgrade')], ['websocket', 'websocket'], 'what stands there twice is sent twice');
is(join("\n", false_upgrades($t, 8082)), '', 'nothing that is no handshake went to the other backend');
