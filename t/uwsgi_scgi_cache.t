#!/usr/bin/perl

# uwsgi_cache and scgi_cache: no cached answer is given to a handshake and no answer to a handshake is
# stored.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http uwsgi scgi cache /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(21);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    uwsgi_cache_path  %%TESTDIR%%/uwsgi-cache keys_zone=uwsgi:1m;
    scgi_cache_path   %%TESTDIR%%/scgi-cache keys_zone=scgi:1m;

    add_header  X-Cache $upstream_cache_status always;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        uwsgi_param  REQUEST_METHOD $request_method;
        uwsgi_param  REQUEST_URI    $request_uri;

        uwsgi_cache         uwsgi;
        uwsgi_cache_key     $arg_key;
        uwsgi_cache_valid   any 1m;
        uwsgi_cache_bypass  $arg_fresh;

        location /auto/ {
            websocket_guard  auto;
            uwsgi_pass       127.0.0.1:8081;
        }

        location /on/ {
            websocket_guard  on;
            uwsgi_pass       127.0.0.1:8081;
        }
    }

    server {
        listen       127.0.0.1:8090;
        server_name  localhost;

        scgi_param  REQUEST_METHOD $request_method;
        scgi_param  REQUEST_URI    $request_uri;
        scgi_param  CONTENT_LENGTH $content_length;

        scgi_cache         scgi;
        scgi_cache_key     $arg_key;
        scgi_cache_valid   any 1m;
        scgi_cache_bypass  $arg_fresh;

        location /auto/ {
            websocket_guard  auto;
            scgi_pass        127.0.0.1:8091;
        }

        location /on/ {
            websocket_guard  on;
            scgi_pass        127.0.0.1:8091;
        }
    }
}
EOC

my %handlers = (
    # a server that says no to WebSocket, not to the page
    refusing => sub {
        my ($c, $request) = @_;
        $request->is_upgrade ? $c->respond(403, 'refused') : $c->respond(200, 'page');
    },
);
run_backend($t, 8081, protocol => 'uwsgi', handlers => \%handlers);
run_backend($t, 8091, protocol => 'scgi', handlers => \%handlers);
$t->run();

for my $case (['uwsgi', 8080], ['scgi', 8090]) {
    my ($protocol, $port) = @$case;
    my $cache = sub {
        my ($uri) = @_;
        return raw_request("GET $uri HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", port => $port)->header('X-Cache');
    };

    is($cache->('/auto/?key=a'), 'MISS', "$protocol: plain request");
    is($cache->('/auto/?key=a'), 'HIT', "$protocol: the next one comes from the cache");
    is($cache->('/auto/?key=a&fresh=1'), 'BYPASS', "$protocol: but where the configuration says no");

    for my $mode (qw/ auto on /) {
        my $ws = websocket(path => "/$mode/?key=a", port => $port);
        is($ws->echo('hello'), 'hello', "$protocol: $mode: a handshake does not");
        is($ws->header('X-Cache'), 'BYPASS', "$protocol: $mode: it goes past the cache");
    }

    for my $mode (qw/ auto on /) {
        websocket(path => "/$mode/refusing?key=$mode", port => $port);
        is($cache->("/auto/refusing?key=$mode"), 'MISS', "$protocol: $mode: its answer is not stored");
    }
    is($cache->('/auto/?key=a'), 'HIT', "$protocol: the page is still in the cache");
}

is(join(' ', guard_findings($t, 'error', count => 4)), 'backend-auth backend-auth backend-auth backend-auth', 'nothing but what failed');
