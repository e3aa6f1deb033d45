#!/usr/bin/perl

# proxy_store and proxy_limit_rate need the buffering that "on" switches off: nginx -t says so, and with "auto", as it
# says, or with a proxy_buffering of the location's own, both do what they are for, and WebSocket works beside them.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;
use Time::HiRes qw/ time /;

my $t = Test::Nginx->new()->has(qw/ http proxy /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(12);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    proxy_limit_rate  10k;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /on/ {
            websocket_guard  on;
            proxy_store      %%TESTDIR%%/store$uri;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /auto/ {
            websocket_guard  auto;
            proxy_store      %%TESTDIR%%/store$uri;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /own/ {
            websocket_guard  on;
            proxy_buffering  on;
            proxy_store      %%TESTDIR%%/store$uri;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /neither/ {
            websocket_guard   on;
            proxy_limit_rate  0;
            proxy_pass        http://127.0.0.1:8081;
        }
    }
}
EOC

mkdir $t->testdir . '/store';
chmod 0777, $t->testdir . '/store';
run_backend($t, 8081);
$t->run();

my $line = '[warn] websocket_guard: location "/on/" has proxy_store and proxy_limit_rate without effect, because '
    . '"websocket_guard on" switches buffering off; use "websocket_guard auto;" there, which leaves plain requests as they are '
    . '[buffering-needed] in ' . $t->testdir . '/nginx.conf:' . conf_line($t, qr/proxy_store/);
is_deeply([guard_log($t, 'warn')], [$line], 'what nginx says');

for my $path (qw! /on/ /auto/ /own/ !) {
    is(websocket(path => "${path}ws")->echo('hello'), 'hello', "$path, WebSocket");

    my $start = time;
    my $answer = raw_request("GET ${path}size?40000 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    my $took = time - $start;
    is(length $answer->body, 40000, "$path, an answer");

    my $file = $t->testdir . "/store${path}size";
    if ($path eq '/on/') {
        ok(!-e $file, "$path, nothing is stored");
        next;
    }
    cmp_ok($took, '>', 1, "$path, at the rate that is set");
    ok(wait_until(sub { (-s $file // 0) == 40000 }, 5), "$path, stored");
}
