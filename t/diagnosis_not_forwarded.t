#!/usr/bin/perl

# The location proxies, but not the upgrade: it drops or replaces the headers, speaks HTTP/1.0, has a
# handler that cannot upgrade, or changes the handshake on its way.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy fastcgi grpc memcached uwsgi scgi rewrite /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(31);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    upstream pool {
        server 127.0.0.1:8081;
    }

    server {
        listen              127.0.0.1:8080;
        server_name         localhost;
        proxy_http_version  1.1;

        location /plain {
            proxy_pass  http://127.0.0.1:8081;
        }

        location /plain-upstream {
            proxy_pass  http://pool;
        }

        location /plain-variable {
            set         $address 127.0.0.1:8081;
            proxy_pass  http://$address;
        }

        location /plain-dead {
            proxy_pass  http://127.0.0.1:8089;
        }

        location /no-connection {
            proxy_pass        http://127.0.0.1:8081;
            proxy_set_header  Upgrade $http_upgrade;
            proxy_set_header  Connection "";
        }

        location /other-connection {
            proxy_pass        http://127.0.0.1:8081;
            proxy_set_header  Upgrade $http_upgrade;
            proxy_set_header  Connection keep-alive;
        }

        location /other-upgrade {
            proxy_pass        http://127.0.0.1:8081;
            proxy_set_header  Upgrade h2c;
            proxy_set_header  Connection upgrade;
        }

        location /http10 {
            proxy_pass          http://127.0.0.1:8081;
            proxy_http_version  1.0;
            proxy_set_header    Upgrade $http_upgrade;
            proxy_set_header    Connection upgrade;
        }

        location /fastcgi {
            fastcgi_pass  127.0.0.1:8089;
        }

        location /grpc {
            grpc_pass  127.0.0.1:8089;
        }

        location /memcached {
            set             $memcached_key $uri;
            memcached_pass  127.0.0.1:8089;
        }

        location /altered/ {
            proxy_set_header  Upgrade $http_upgrade;
            proxy_set_header  Connection upgrade;

            location /altered/headers {
                proxy_pass                  http://127.0.0.1:8081;
                proxy_pass_request_headers  off;
            }

            location /altered/method {
                proxy_pass    http://127.0.0.1:8081;
                proxy_method  POST;
            }

            location /altered/key {
                proxy_pass        http://127.0.0.1:8081;
                proxy_set_header  Upgrade $http_upgrade;
                proxy_set_header  Connection upgrade;
                proxy_set_header  Sec-WebSocket-Key "";
            }

            location /altered/version {
                proxy_pass        http://127.0.0.1:8081;
                proxy_set_header  Upgrade $http_upgrade;
                proxy_set_header  Connection upgrade;
                proxy_set_header  Sec-WebSocket-Version "";
            }

            # No answer holds anything against it.
            location /altered/nothing {
                proxy_pass        http://127.0.0.1:8081;
                proxy_method      GET;
                proxy_set_header  Upgrade $http_upgrade;
                proxy_set_header  Connection "keep-alive, Upgrade";
                proxy_set_header  Sec-WebSocket-Extensions "";
            }
        }
    }

    server {
        listen           127.0.0.1:8083;
        server_name      localhost;
        websocket_guard  on;

        location /guarded/connection {
            proxy_pass        http://127.0.0.1:8082;
            proxy_set_header  Connection keep-alive;
        }

        location /guarded/upgrade {
            proxy_pass        http://127.0.0.1:8082;
            proxy_set_header  Upgrade "";
        }

        location /guarded/http10 {
            proxy_pass          http://127.0.0.1:8082;
            proxy_http_version  1.0;
        }

        location /guarded/fastcgi {
            fastcgi_pass  127.0.0.1:8089;
        }

        location /guarded/headers {
            proxy_pass                  http://127.0.0.1:8082;
            proxy_pass_request_headers  off;
        }

        location /guarded/key {
            proxy_pass        http://127.0.0.1:8082;
            proxy_set_header  Sec-WebSocket-Key "";
        }

        location /guarded/method {
            websocket_guard  auto;
            proxy_pass       http://127.0.0.1:8082;
            proxy_method     POST;
        }

        location / {
            proxy_pass  http://127.0.0.1:8082;
        }
    }
}
EOC

# The one looks at Upgrade only, the other is strict.
run_backend($t, 8081, handlers => { websocket => sub {
    my ($c, $request) = @_;
    return $c->respond(400, 'no') unless $request->version eq 'HTTP/1.1' && $request->header('Sec-WebSocket-Key')
        && $request->header('Sec-WebSocket-Version') && $request->method eq 'GET'
        && $request->has_token(Connection => 'upgrade');
    $c->upgrade && $c->echo;
} });
run_backend($t, 8082, handlers => { websocket => sub { $_[0]->respond(400, 'no') } });
$t->run();

my $mark = 'add "websocket_guard on;" to it [upgrade-not-forwarded]';
my $remove = 'add "websocket_guard on;" to it and remove its own';
my $other_handler = 'use proxy_pass, uwsgi_pass or scgi_pass there [upgrade-not-forwarded]';
my $altered = 'remove that directive from the location [handshake-altered]';

my @cases = (
    ['/plain',            200, "passes the request on without its Upgrade header; $mark"],
    ['/plain-upstream',   200, "passes the request on without its Upgrade header; $mark"],
    ['/plain-variable',   200, "passes the request on without its Upgrade header; $mark"],
    ['/plain-dead',       502, "passes the request on without its Upgrade header; $mark"],
    ['/no-connection',    400, "passes the request on without its Connection header; $mark"],
    ['/other-connection', 400, "sends Connection \"keep-alive\" in place of \"upgrade\"; $remove \"proxy_set_header Connection\" [upgrade-not-forwarded]"],
    ['/other-upgrade',    200, "sends Upgrade \"h2c\" in place of \"websocket\"; $remove \"proxy_set_header Upgrade\" [upgrade-not-forwarded]"],
    ['/http10',           400, 'speaks HTTP/1.0 to the backend, which cannot upgrade; add "websocket_guard on;" to it and remove its own '
        . '"proxy_http_version" [upgrade-not-forwarded]'],
    ['/fastcgi',          502, "uses fastcgi_pass, which cannot carry a WebSocket; $other_handler"],
    ['/grpc',             502, "uses grpc_pass, which cannot carry a WebSocket; $other_handler"],
    ['/memcached',        502, "uses memcached_pass, which cannot carry a WebSocket; $other_handler"],

    ['/altered/headers', 400, "changes the handshake by \"proxy_pass_request_headers off\"; $altered"],
    ['/altered/method',  400, "changes the handshake by \"proxy_method POST\"; $altered"],
    ['/altered/key',     400, "changes the handshake by \"proxy_set_header Sec-WebSocket-Key ''\"; $altered"],
    ['/altered/version', 400, "changes the handshake by \"proxy_set_header Sec-WebSocket-Version ''\"; $altered"],
);

my @guarded = (
    ['/guarded/connection', 400, 'sends Connection "keep-alive" in place of "upgrade"; '
        . 'remove its own "proxy_set_header Connection" [upgrade-not-forwarded]'],
    ['/guarded/upgrade', 200, 'passes the request on without its Upgrade header; '
        . 'remove its own "proxy_set_header Upgrade" [upgrade-not-forwarded]'],
    ['/guarded/http10', 400, 'speaks HTTP/1.0 to the backend, which cannot upgrade; '
        . 'remove its own "proxy_http_version" [upgrade-not-forwarded]'],
    ['/guarded/fastcgi', 502, "uses fastcgi_pass, which cannot carry a WebSocket; $other_handler"],
    ['/guarded/headers', 400, "changes the handshake by \"proxy_pass_request_headers off\"; $altered"],
    ['/guarded/key', 400, "changes the handshake by \"proxy_set_header Sec-WebSocket-Key ''\"; $altered"],
    ['/guarded/method', 400, "changes the handshake by \"proxy_method POST\"; $altered"],
);

for my $case ((map { [8080, @$_] } @cases), map { [8083, @$_] } @guarded) {
    my ($port, $path, $status, $reason) = @$case;
    is(outcome($t, path => $path, port => $port), "$status, [error] upgrade failed: " . place_of($t, $path) . " $reason", $path);
}

is(outcome($t, path => '/altered/nothing', headers => ['Sec-WebSocket-Extensions: permessage-deflate']), 101,
    'what does not matter');

# Only what the request has can be lost.
like(outcome($t, path => '/altered/key', without => ['Sec-WebSocket-Key']), qr/^400, \[error\] [^,]* \[handshake-key\]$/,
    'a key that never was');

is(outcome($t, sub { raw_request("GET $_ HTTP/1.1\r\nHost: localhost\r\n\r\n") }), 200, "$_, a plain request")
    for qw{ /plain /other-connection /altered/headers };

# What stands between the client and nginx is the first cause.
like(outcome($t, path => '/plain', without => ['Connection']), qr/^200, \[error\] [^,]* \[handshake-connection\]$/,
    'no Connection header from the client');

is_deeply([run_time_log($t, 'crit')], [], 'nothing worse');
like((run_time_log($t, 'error'))[0], qr{\[upgrade-not-forwarded\], client: 127\.0\.0\.1, server: localhost, request: "GET /plain HTTP/1\.1", upstream: "http://127\.0\.0\.1:\d+/plain", host: "localhost"$},
    'what nginx adds');
is(scalar(run_time_log($t)), @cases + @guarded + 2, 'one line each');
