#!/usr/bin/perl

# A WebSocket recipe that a guarded location inherits gives way: the backend gets one Upgrade and
# one Connection with a handshake, and with a plain request no Connection that asks for an upgrade.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy map /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(43);

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
        server_name  mapped;

        proxy_http_version  1.1;
        proxy_set_header    Upgrade $http_upgrade;
        proxy_set_header    Connection $connection_upgrade;
        proxy_set_header    X-Level server;

        location /on/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /auto/ {
            websocket_guard  auto;
            proxy_pass       http://127.0.0.1:8081;
        }
    }

    server {
        listen       127.0.0.1:8080;
        server_name  fixed;

        proxy_http_version  1.1;
        proxy_set_header    upgrade websocket;
        proxy_set_header    connection "Upgrade";
        proxy_set_header    X-Level server;

        location /on/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /auto/ {
            websocket_guard  auto;
            proxy_pass       http://127.0.0.1:8081;
        }
    }

    server {
        listen       127.0.0.1:8080;
        server_name  listed;

        proxy_http_version  1.0;
        proxy_set_header    Upgrade $http_upgrade;
        proxy_set_header    Connection "keep-alive, UPGRADE";
        proxy_set_header    Connection "x-second";
        proxy_set_header    X-Level server;

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

for my $server (qw/ mapped fixed listed /) {
    for my $mode (qw/ on auto /) {
        my $name = "$server, $mode";
        is(websocket(path => "/$mode/ws", authority => $server)->echo('hello'), 'hello', "$name, handshake");
        my $seen = (requests_seen($t))[-1];
        is_deeply([map { [$seen->header($_)] } qw/ Upgrade Connection X-Level /],
            [['websocket'], ['upgrade'], ['server']], "$name, its headers");

        raw_request("GET /$mode/page HTTP/1.1\r\nHost: $server\r\n\r\n");
        $seen = (requests_seen($t))[-1];
        plain($seen, "$name, plain request");
        is($seen->header('X-Level'), 'server', "$name, beside them");

        # To $http_upgrade it is no upgrade either.
        raw_request("GET /$mode/h2c HTTP/1.1\r\nHost: $server\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n");
        plain((requests_seen($t))[-1], "$name, another protocol");
    }
}

is_deeply([guard_log($t, 'error')], [], 'nothing to complain about');

# At most one Connection, and without "upgrade".
sub plain {
    my ($seen, $name) = @_;
    my @connection = $seen->header('Connection');
    ok(@connection <= 1, "$name, Connection");
    ok(!$seen->has_token(Connection => 'upgrade') && !defined $seen->header('Upgrade'), "$name, no upgrade");
}
