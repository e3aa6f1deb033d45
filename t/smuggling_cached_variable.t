#!/usr/bin/perl

# nginx caches $http_upgrade: a location whose own proxy_set_header uses it sends what the guard left of
# the header even where the rewrite phase has looked at it before. And a copy that was made by then brings
# no foreign protocol through: it becomes no tunnel.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy map rewrite /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(38);

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

        websocket_guard   on;
        proxy_set_header  Upgrade $http_upgrade;
        proxy_set_header  Connection $connection_upgrade;

        location /if/ {
            proxy_set_header  Upgrade $http_upgrade;
            proxy_set_header  Connection "upgrade";
            proxy_pass        http://127.0.0.1:8081;

            if ($http_upgrade = "looked at") {
                return 404;
            }
        }

        location /map/ {
            set               $looked_at $connection_upgrade;
            proxy_set_header  Upgrade $http_upgrade;
            proxy_set_header  Connection $connection_upgrade;
            proxy_pass        http://127.0.0.1:8081;
        }

        location /redirected/ {
            proxy_pass  http://127.0.0.1:8081;

            if ($http_upgrade = "looked at") {
                return 404;
            }

            rewrite  ^  /if$uri last;
        }

        location /copy/ {
            set               $copy $http_upgrade;
            proxy_set_header  Upgrade $copy;
            proxy_set_header  Connection "upgrade";
            proxy_pass        http://127.0.0.1:8081;
        }
    }
}
EOC

run_backend($t, 8081, handlers => {
    h2c => sub { my ($c) = @_; $c->upgrade(upgrade => 'h2c', accept => undef, bytes => 'INTERNAL') && $c->echo },
});
$t->run();

for my $path (qw! /if/ /map/ /redirected/ !) {
    for my $case (
        [undef,       'h2c'],
        [undef,       'h2c', 'foo'],
        ['websocket', 'h2c, websocket'],
        ['websocket', 'websocket', 'h2c'],
        ['websocket', 'foo', 'WebSocket,h2c'],
    ) {
        my ($forwarded, @upgrade) = @$case;
        my $ws = websocket(path => "${path}h2c", headers => [map {"Upgrade: $_"} @upgrade]);
        is($ws->status, 502, "$path, @upgrade, no tunnel");
        is((requests_seen($t))[-1]->header('Upgrade'), $forwarded, "$path, @upgrade, forwarded");
    }
    is(websocket(path => "${path}ws", headers => ['Upgrade: h2c, websocket'])->echo('hello'), 'hello', "$path, WebSocket");
}
is(join("\n", false_upgrades($t)), '', 'nothing but WebSocket arrived as an upgrade');

for my $upgrade ('h2c', 'h2c, websocket', 'websocket, h2c') {
    my $ws = websocket(path => '/copy/h2c', headers => ["Upgrade: $upgrade"]);
    is($ws->status, 502, "a copy, $upgrade");
}
is(join(' ', (guard_findings($t, 'error', count => 18))[-3 .. -1]), 'unsolicited-101 bad-switch bad-switch', 'which is diagnosed');
