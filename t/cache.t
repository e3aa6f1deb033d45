#!/usr/bin/perl

# proxy_cache: no cached answer is given to a handshake and no answer to a handshake is stored; plain
# requests use the cache as before.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy cache /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(18);

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

        proxy_cache        answers;
        proxy_cache_key    $arg_key;
        proxy_cache_valid  any 1m;

        add_header  X-Cache $upstream_cache_status always;

        location /auto/ {
            websocket_guard  auto;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /on/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /by-hand/ {
            proxy_http_version  1.1;
            proxy_set_header    Upgrade $http_upgrade;
            proxy_set_header    Connection upgrade;
            proxy_pass          http://127.0.0.1:8081;
        }
    }
}
EOC

run_backend($t, 8081, handlers => {
    plain => sub { $_[0]->respond(200, "page $$") },

    # a server that says no to WebSocket, not to the page
    refusing => sub {
        my ($c, $request) = @_;
        $request->is_upgrade ? $c->respond(403, 'refused') : $c->respond(200, "page $$");
    },
});
$t->run();

# An answer in the cache.

is(get('/auto/?key=a')->header('X-Cache'), 'MISS', 'plain request');
my $page = get('/auto/?key=a');
is($page->header('X-Cache'), 'HIT', 'the next one comes from the cache');
is(get('/on/?key=a')->body, $page->body, 'in "on" too');
is(websocket(path => '/by-hand/?key=a')->status, 200, 'without the guard a handshake gets the page');

for my $mode (qw/ auto on /) {
    my $ws = websocket(path => "/$mode/?key=a");
    ok($ws->is_open, "$mode: a handshake does not");
    is($ws->header('X-Cache'), 'BYPASS', "$mode: it goes past the cache");
    is($ws->echo('hello'), 'hello', "$mode: echo");
    $ws->close;
    is(get('/auto/?key=a')->body, $page->body, "$mode: the page is still in the cache");
}

# Nothing in the cache.

for my $mode (qw/ auto on /) {
    is(websocket(path => "/$mode/refusing?key=$mode")->status, 403, "$mode: refused handshake");
    is(get("/auto/refusing?key=$mode")->status, 200, "$mode: its answer is not stored");
}

websocket(path => '/auto/?key=open')->close;
is(get('/auto/?key=open')->header('X-Cache'), 'MISS', 'nor is a 101');

is(join(' ', guard_findings($t, 'error', count => 3)), 'cached-response backend-auth backend-auth', 'nothing but what failed');

sub get { return raw_request("GET $_[0] HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n") }
