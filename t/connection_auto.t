#!/usr/bin/perl

# Plain requests with "websocket_guard auto": no Upgrade, and the Connection header that the location
# would send without the guard, unless that asks for an upgrade.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy map upstream_keepalive /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(33);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    map $http_upgrade $connection_upgrade {
        default  upgrade;
        ''       keep-alive;
    }

    upstream kept {
        server     127.0.0.1:8081;
        keepalive  4;
    }

    websocket_guard  auto;

    server {
        listen       127.0.0.1:8080;
        server_name  default;

        location / {
            proxy_pass  http://kept;
        }
    }

    server {
        listen       127.0.0.1:8080;
        server_name  empty;

        proxy_set_header  Connection "";

        location / {
            proxy_pass  http://kept;
        }

        location /on/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }
    }

    server {
        listen       127.0.0.1:8080;
        server_name  custom;

        proxy_set_header  Connection "x-custom, $request_method";

        location / {
            proxy_pass  http://kept;
        }

        # A list of its own, in which there is no Connection.

        location /own/ {
            proxy_set_header  X-Own yes;
            proxy_pass        http://kept;
        }

        location /around/ {
            proxy_set_header  Connection x-location;
            proxy_pass        http://kept;

            location /around/nested/ {
                proxy_pass    http://kept;
            }
        }
    }

    server {
        listen       127.0.0.1:8080;
        server_name  mapped;

        proxy_set_header  Connection $connection_upgrade;

        location / {
            proxy_pass  http://kept;
        }
    }

    server {
        listen       127.0.0.1:8080;
        server_name  upgrade;

        proxy_set_header  Connection upgrade;

        location / {
            proxy_pass  http://kept;
        }
    }

    server {
        listen       127.0.0.1:8080;
        server_name  upgrades;

        proxy_set_header  Connection "keep-alive, Upgrade";

        location / {
            proxy_pass  http://kept;
        }
    }
}
EOC

run_backend($t, 8081);
$t->run();

# What nginx sends by itself.
my $close = $t->has_version('1.29.7') ? undef : 'close';

for my $case (
    ['default',  '/'               => $close],
    ['empty',    '/'               => undef],
    ['empty',    '/on/'            => undef],
    ['custom',   '/'               => 'x-custom, GET'],
    ['custom',   '/own/'           => $close],
    ['custom',   '/around/'        => 'x-location'],
    ['custom',   '/around/nested/' => 'x-location'],
    ['mapped',   '/'               => 'keep-alive'],
    ['upgrade',  '/'               => $close],
    ['upgrades', '/'               => $close],
) {
    my ($server, $path, $connection) = @$case;
    my $seen = request($server, $path);
    is_deeply([$seen->header('Connection')], [$connection // ()], "$server, $path, Connection");
    is($seen->header('Upgrade'), undef, "$server, $path, Upgrade");
    is(websocket(path => "${path}ws", authority => $server)->echo('hello'), 'hello', "$server, $path, tunnel");
}

# An inherited "" does what it is for.

my @seen = map { request('empty', '/') } 1 .. 4;
is($seen[-1]->connection, $seen[0]->connection, 'kept connection');
is($seen[-1]->request, $seen[0]->request + 3, 'used again');

is_deeply([guard_log($t, 'error')], [], 'nothing to complain about');

sub request {
    my ($server, $path) = @_;
    raw_request("GET ${path}page HTTP/1.1\r\nHost: $server\r\n\r\n");
    return (requests_seen($t))[-1];
}
