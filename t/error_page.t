#!/usr/bin/perl

# error_page with a named location that proxies: the handshake goes on there, as an upgrade.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(12);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        # nothing listens there
        location /dead/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8082;
            error_page       502 = @fallback;
        }

        location /refusing/ {
            websocket_guard         auto;
            proxy_pass              http://127.0.0.1:8081/status?503;
            proxy_intercept_errors  on;
            error_page              503 = @fallback;
        }

        location /static/ {
            error_page  404 = @fallback;
        }

        location @fallback {
            websocket_guard   auto;
            proxy_set_header  X-Fallback yes;
            proxy_pass        http://127.0.0.1:8081;
        }
    }
}
EOC

run_backend($t, 8081);
$t->run();

for my $path (qw! /dead/ /refusing/ /static/ !) {
    my $ws = websocket(path => $path);
    ok($ws->is_open, "$path: open");
    is($ws->echo('hello'), 'hello', "$path: echo");
    is(raw_request("GET $path HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")->status, 200, "$path: plain request");
}

my @fallback = grep { $_->is_upgrade && $_->header('X-Fallback') } requests_seen($t, 8081);
is_deeply([map { $_->uri } @fallback], [qw! /dead/ /refusing/ /static/ !], 'through the named location');

my ($refused) = grep { $_->uri eq '/status?503' } requests_seen($t, 8081);
ok($refused && $refused->is_upgrade, 'what was refused was an upgrade');
is_deeply([guard_log($t, 'error')], [], 'nothing to complain about');
