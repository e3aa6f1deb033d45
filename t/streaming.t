#!/usr/bin/perl

# An event stream arrives event by event with "websocket_guard on"; with "auto" as proxy_buffering
# of the location says.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy rewrite /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(9);

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

        location /on/own/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
            proxy_buffering  on;
        }

        location /auto/ {
            websocket_guard  auto;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /auto/own/ {
            websocket_guard  auto;
            proxy_pass       http://127.0.0.1:8081;
            proxy_buffering  off;
        }
    }

    server {
        listen       127.0.0.1:8083;
        server_name  localhost;

        proxy_buffering  off;

        location /auto/ {
            websocket_guard  auto;
            proxy_pass       http://127.0.0.1:8081;
        }
    }

    server {
        listen       127.0.0.1:8084;
        server_name  localhost;

        proxy_buffering  on;

        location /on/ {
            websocket_guard  on;
            set              $backend 127.0.0.1:8081;
            proxy_pass       http://$backend;
        }
    }
}
EOC

run_backend($t, 8081);
$t->run();

ok(streams('/on/'), 'on');
ok(!streams('/on/own/'), 'on, proxy_buffering on in the location');
ok(streams('/on/', port => 8084), 'on, proxy_buffering on inherited');

ok(!streams('/auto/'), 'auto');
ok(streams('/auto/own/'), 'auto, proxy_buffering off in the location');
ok(streams('/auto/', port => 8083), 'auto, proxy_buffering off inherited');

# Tunnels do not mind.

is(websocket(path => '/on/ws')->echo('hello'), 'hello', 'on, tunnel');
is(websocket(path => '/auto/ws')->echo('hello'), 'hello', 'auto, tunnel');

is_deeply([guard_log($t, 'error')], [], 'nothing to complain about');
