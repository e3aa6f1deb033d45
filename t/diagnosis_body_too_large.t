#!/usr/bin/perl

# body-too-large: 413 on the POST of a polling fallback: to a location that proxies and is meant for realtime. A WebSocket message
# has no such limit.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(25);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    client_max_body_size  10;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /on/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /auto/ {
            websocket_guard  auto;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /socket.io/ {
            websocket_guard  auto;
            proxy_pass       http://127.0.0.1:8081;
        }

        location ~ ^/check/signalr {
            websocket_guard  check;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /off/ {
            proxy_pass       http://127.0.0.1:8081;
        }

        location /static/ {
            websocket_guard  on;
            websocket_guard_ignore no-proxy;
        }

        location /static/socket.io/ {
            websocket_guard  auto;
            websocket_guard_ignore no-proxy;
        }

        location /off/socket.io/ {
            proxy_pass       http://127.0.0.1:8081;
        }

        location /large/ {
            websocket_guard       on;
            client_max_body_size  0;
            proxy_pass            http://127.0.0.1:8081;
        }
    }

    server {
        listen           127.0.0.1:8082;
        server_name      localhost;
        websocket_guard  on;

        location / {
            proxy_pass  http://127.0.0.1:8081;
        }

        location /inherits/_blazor {
            proxy_pass  http://127.0.0.1:8081;
        }
    }
}
EOC

run_backend($t, 8081);
$t->run();

for my $path ('/on/', '/socket.io/', '/check/signalr') {
    my $line = '[error] a plain request to ' . place_of($t, $path =~ s/^(?=.check)/^/r)
        . ' was refused with 413, a WebSocket message would have no such limit; '
        . 'raise client_max_body_size for the location [body-too-large]';
    is(post($path, 11), "413, $line", "$path: too large");
    is(chunked($path, 11), "413, $line", "$path: too large, and chunked");
    is(post($path, 10), '200', "$path: not too large");
}
is(post('/off/', 11), '413', 'an ordinary location');
is(post('/auto/', 11), '413', 'one in which WebSocket is only possible');
is(request(PUT => '/on/', 11), '413', 'another method');
is(post('/static/', 11), '413', 'files');
is(post('/static/socket.io/', 11), '413', 'files with a name');
is(post('/off/socket.io/', 11), '413', 'an unmarked location with a name');
is(post('/inherits/', 11, port => 8082), '413', 'one that inherits its mark');
like(post('/inherits/_blazor', 11, port => 8082), qr/^413, .*\[body-too-large\]$/, 'but not its name');
is(post('/large/', 11), '200', 'no limit');
is(post('/on/status?413', 10), '413', 'the backend has a limit of its own');

for my $path (qw! /on/ /auto/ !) {
    my $echo;
    my $message = sub {
        my $ws = websocket(path => $path);
        $echo = $ws->echo('x' x 100_000);
        return $ws;
    };
    is(outcome($t, $message), '101', "$path: open");
    is($echo, 'x' x 100_000, "$path: a message");
}
like(outcome($t, path => '/on/', headers => ['Content-Length: 11'], pipeline => 'x' x 11), qr/^413, .* the handshake has a body; .*\[handshake-body\]$/,
    'a handshake with a body');
like(outcome($t, path => '/auto/', headers => ['Content-Length: 11'], pipeline => 'x' x 11), qr/^413, .* \[handshake-body\]$/,
    'and where it is a plain request');

sub post { return request('POST', @_) }

sub request {
    my ($method, $path, $length, %options) = @_;
    return outcome($t, sub {
        raw_request("$method $path HTTP/1.1\r\nHost: localhost\r\nContent-Length: $length\r\n\r\n" . 'x' x $length, %options);
    });
}

sub chunked {
    my ($path, $length) = @_;
    my $body = sprintf "%x\r\n%s\r\n0\r\n\r\n", $length, 'x' x $length;
    return outcome($t, sub {
        raw_request("POST $path HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n$body");
    });
}
