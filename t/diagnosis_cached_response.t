#!/usr/bin/perl

# cached-response: the cache answered a handshake with what it had stored of the same URI. Guarded locations ask the
# backend.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy cache /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(11);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    proxy_cache_path   %%TESTDIR%%/cache keys_zone=cache:1m;
    proxy_cache        cache;
    proxy_cache_key    $uri;
    proxy_cache_valid  any 1h;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        proxy_http_version  1.1;
        proxy_set_header    Upgrade $http_upgrade;
        proxy_set_header    Connection upgrade;

        location /off/ {
            proxy_pass          http://127.0.0.1:8081;
        }

        location /check/ {
            websocket_guard     check;
            proxy_pass          http://127.0.0.1:8081;
        }

        location /bypass/ {
            proxy_cache_bypass  $http_upgrade;
            proxy_pass          http://127.0.0.1:8081;
        }

        location /auto/ {
            websocket_guard     auto;
            proxy_pass          http://127.0.0.1:8081;
        }
    }
}
EOC

run_backend($t, 8081);
$t->run();

for my $path (qw! /off/ /check/ !) {
    is(get("${path}page"), 200, "$path: stored");
    is(outcome($t, path => "${path}page"), '200, [error] upgrade failed: the cache of ' . place_of($t, $path)
        . ' answered the handshake with a stored 200; ' . ($path eq '/check/' ? 'set "websocket_guard auto;" in' : 'add "websocket_guard auto;" to') . ' the location, or '
        . '"proxy_cache_bypass $http_upgrade;" [cached-response]', "$path: that answers the handshake");
    is(outcome($t, path => "${path}ws"), '101', "$path: what is not stored does not");
}

for my $path (qw! /bypass/ /auto/ !) {
    is(get("${path}ws"), 200, "$path: stored");
    is(outcome($t, path => "${path}ws"), '101', "$path: the backend is asked");
}

like(outcome($t, path => '/auto/status?200'), qr/^200, .* \[backend-not-websocket\]$/, 'nothing stored, the backend answers 200');

sub get { return raw_request("GET $_[0] HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")->status }
