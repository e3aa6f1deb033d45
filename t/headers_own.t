#!/usr/bin/perl

# What a guarded location says with proxy_set_header itself stays, even about Upgrade and Connection.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy map /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(19);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    map $http_upgrade $connection_upgrade {
        default  upgrade;
        ''       x-plain;
    }

    proxy_set_header  X-Level http;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /on/ {
            websocket_guard   on;
            proxy_pass        http://127.0.0.1:8081;
            proxy_set_header  Host own.example.com;
            proxy_set_header  X-Own $uri;
        }

        location /auto/ {
            websocket_guard   auto;
            proxy_pass        http://127.0.0.1:8081;
            proxy_set_header  Host own.example.com;
            proxy_set_header  X-Own $uri;
        }

        location /connection/ {
            websocket_guard   on;
            proxy_pass        http://127.0.0.1:8081;
            proxy_set_header  connection "Upgrade, X-Own";
        }

        location /upgrade/ {
            websocket_guard   on;
            proxy_pass        http://127.0.0.1:8081;
            proxy_set_header  UPGRADE "WebSocket, x-own";
        }

        location /recipe/ {
            websocket_guard   auto;
            proxy_pass        http://127.0.0.1:8081;
            proxy_set_header  Upgrade $http_upgrade;
            proxy_set_header  Connection $connection_upgrade;
        }
    }
}
EOC

run_backend($t, 8081);
$t->run();

for my $mode (qw/ on auto /) {
    ok(websocket(path => "/$mode/ws")->is_open, "$mode, handshake");
    headers(Upgrade => 'websocket', Connection => 'upgrade');
    headers('X-Own' => "/$mode/ws", Host => 'own.example.com', 'X-Level' => undef);

    http_get("/$mode/page");
    headers('X-Own' => "/$mode/page", Host => 'own.example.com', 'X-Level' => undef);
    headers(Upgrade => undef);
}

ok(websocket(path => '/connection/ws')->is_open, 'Connection, handshake');
headers(Connection => 'Upgrade, X-Own', Upgrade => 'websocket');
http_get('/connection/page');
headers(Connection => 'Upgrade, X-Own', Upgrade => undef);

ok(websocket(path => '/upgrade/ws')->is_open, 'Upgrade, handshake');
headers(Connection => 'upgrade', Upgrade => 'WebSocket, x-own');

is(websocket(path => '/recipe/ws')->echo('hello'), 'hello', 'both as in the usual recipe, handshake');
headers(Connection => 'upgrade', Upgrade => 'websocket');
http_get('/recipe/page');
headers(Connection => 'x-plain', Upgrade => undef);

is_deeply([guard_log($t, 'error')], [], 'nothing to complain about');

# The last request has each of these headers just once, or not at all.
sub headers {
    my %expected = @_;
    my $seen = (requests_seen($t))[-1];
    my @names = sort keys %expected;
    is_deeply([map { [$seen->header($_)] } @names], [map { [$expected{$_} // ()] } @names],
        $seen->uri . ', ' . join ', ', @names);
}
