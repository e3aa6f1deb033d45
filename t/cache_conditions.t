#!/usr/bin/perl

# proxy_cache_bypass and proxy_no_cache of a guarded location, its own or inherited, go on working.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy cache /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(19);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    proxy_cache_path  %%TESTDIR%%/cache keys_zone=answers:1m;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        websocket_guard  auto;

        proxy_cache         answers;
        proxy_cache_valid   any 1m;
        proxy_cache_key     $uri;
        proxy_cache_bypass  $arg_fresh;
        proxy_no_cache      $arg_secret;

        add_header  X-Cache $upstream_cache_status always;

        location /inherited/ {
            proxy_pass  http://127.0.0.1:8081;
        }

        location /own/ {
            proxy_cache_bypass  $http_x_unused $arg_own_fresh;
            proxy_no_cache      $arg_own_secret $http_x_unused;
            proxy_pass          http://127.0.0.1:8081;

            location /own/off/ {
                websocket_guard  off;
                proxy_pass       http://127.0.0.1:8081;
            }
        }
    }
}
EOC

run_backend($t, 8081);
$t->run();

for my $case (['/inherited/', 'fresh', 'secret'], ['/own/', 'own_fresh', 'own_secret']) {
    my ($path, $fresh, $secret) = @$case;

    cached("${path}a?$secret=1", 'MISS');
    cached("${path}a", 'MISS', 'was not stored');
    cached("${path}a", 'HIT');
    cached("${path}a?$fresh=1", 'BYPASS');
    ok(websocket(path => "${path}a")->is_open, "$path: handshake");
}

cached('/own/a?fresh=1', 'HIT', 'not the server\'s condition');
cached('/own/b?secret=1', 'MISS');
cached('/own/b', 'HIT', 'nor the other');

# Where the guard is off, nothing of it is left.

cached('/own/off/a', 'MISS');
cached('/own/off/a', 'HIT');
cached('/own/off/a?own_fresh=1', 'BYPASS');
is(websocket(path => '/own/off/a')->header('X-Cache'), 'HIT', 'off: a handshake is like any request');
is(websocket(path => '/own/off/a?own_fresh=1')->header('X-Cache'), 'BYPASS', 'off: unless asked for');

is(join(' ', guard_findings($t, 'error', count => 2)), 'cached-response wrong-location', 'nothing but what failed');

sub cached {
    my ($uri, $status, $name) = @_;
    my $response = raw_request("GET $uri HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    is($response->header('X-Cache'), $status, join ': ', $uri, $name // ());
}
