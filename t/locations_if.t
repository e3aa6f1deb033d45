#!/usr/bin/perl

# An "if" block in a guarded location proxies WebSocket as the location around it does, to the same
# backend or to its own.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy rewrite /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(13);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    proxy_set_header  X-Level http;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /on/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;

            if ($arg_to = other) {
                proxy_pass   http://127.0.0.1:8082;
            }

            if ($arg_quiet) {
                access_log   off;
            }
        }

        location /auto/ {
            websocket_guard  auto;
            set              $backend 127.0.0.1:8081;
            proxy_pass       http://$backend;

            if ($arg_to = other) {
                proxy_pass   http://127.0.0.1:8082;
            }

            if ($arg_quiet) {
                access_log   off;
            }
        }

        location /unguarded/ {
            proxy_pass       http://127.0.0.1:8081;

            if ($arg_to = other) {
                proxy_pass   http://127.0.0.1:8082;
            }
        }
    }
}
EOC

run_backend($t, 8081);
run_backend($t, 8082);
$t->run();

for my $mode (qw/ on auto /) {
    is(websocket(path => "/$mode/ws")->echo('hello'), 'hello', "$mode, no condition true");
    is(websocket(path => "/$mode/ws?quiet=1")->echo('hello'), 'hello', "$mode, inherited proxy_pass");
    is(websocket(path => "/$mode/ws?to=other")->echo('hello'), 'hello', "$mode, own proxy_pass");
    my ($seen) = grep { $_->path eq "/$mode/ws" } requests_seen($t, 8082);
    is_deeply([map { $seen->header($_) } qw/ Upgrade Connection X-Level /], [qw/ websocket upgrade http /],
        "$mode, headers of the handshake");
}

like(http_get('/on/page?to=other'), qr/^backend: 8082$/m, 'plain request');
is((requests_seen($t, 8082))[-1]->header('Upgrade'), undef, 'without Upgrade');

is_deeply([guard_log($t, 'error')], [], 'nothing to complain about');

is(websocket(path => '/unguarded/ws?to=other')->status, 200, 'unguarded');
is((requests_seen($t, 8082))[-1]->header('Upgrade'), undef, 'without Upgrade');
