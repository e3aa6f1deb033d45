#!/usr/bin/perl

# A handshake that comes to a guarded location by an internal redirect: its gate is that of the location it comes to,
# and so is the diagnosis. One that leaves the guarded location for an error page is still that location's.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy realip /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(8);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    set_real_ip_from  127.0.0.1;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /from/ {
            try_files  /nothing /origin/ws;
        }

        location /origin/ {
            websocket_guard         on;
            websocket_guard_origin  https://a.example;
            proxy_pass              http://127.0.0.1:8081;
        }

        location /from-same/ {
            try_files  /nothing /same/ws;
        }

        location /same/ {
            websocket_guard         on;
            websocket_guard_origin  same;
            proxy_pass              http://127.0.0.1:8081;
        }

        location /fallback/ {
            websocket_guard  on;
            error_page       502 = @page;
            proxy_pass       http://127.0.0.1:8081;
        }

        location @page {
            proxy_pass  http://127.0.0.1:8082;
        }
    }
}
EOC

run_backend($t, 8081);
run_backend($t, 8082, handlers => { 'no-accept' => sub { my ($c) = @_; $c->respond(200, 'page') } });
$t->run();

is(outcome($t, path => '/from/ws', origin => 'https://a.example'), 101, 'allowed origin');
like(outcome($t, path => '/from/ws', origin => 'https://b.example'), qr/^403, \[error\] upgrade failed: origin "https:\/\/b.example" is not allowed/,
    'another origin');
like(outcome($t, path => '/from/ws', without => ['Sec-WebSocket-Key']), qr/^400, .* \[handshake-key\]$/, 'malformed');

# Behind a proxy that realip trusts.
my @trusted = (headers => ['X-Real-IP: 192.0.2.1', 'X-Forwarded-Proto: https']);
is(outcome($t, path => '/same/ws', origin => 'https://localhost', @trusted), 101, 'same origin');
is(outcome($t, path => '/from-same/ws', origin => 'https://localhost', @trusted), 101, 'same origin, redirected');
like(outcome($t, path => '/from-same/ws', origin => 'http://localhost', @trusted), qr/^403, .* \[origin-denied\]$/, 'another scheme');

my $backend = '127.0.0.1:' . port(8081);
like(outcome($t, path => '/fallback/ws'), qr/^101$/, 'no fallback needed');
like(outcome($t, path => '/fallback/no-accept'), qr/^\d+, \[error\] upgrade failed: backend $backend answered 101 without Sec-WebSocket-Accept.* \[bad-accept\]$/,
    'a false 101 stays the cause where another backend answers');
