#!/usr/bin/perl

# "websocket_guard check" and "off" change nothing: the backend gets byte for byte what it would get
# without the directive, whether the location upgrades by hand or not at all.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy map /);

# The same three servers, but for the directive.

my $locations = <<'EOC';
        location / {
            proxy_pass  http://127.0.0.1:8081;
        }

        location /own/ {
            proxy_pass        http://127.0.0.1:8081;
            proxy_set_header  Host $http_host;
            proxy_set_header  X-Upgrade $http_upgrade;
        }

        location /recipe/ {
            proxy_pass          http://127.0.0.1:8081;
            proxy_http_version  1.1;
            proxy_set_header    Upgrade $http_upgrade;
            proxy_set_header    Connection $connection_upgrade;
            proxy_buffering     off;
            proxy_read_timeout  10s;
        }
EOC

$t->write_file_expand('nginx.conf', <<"EOC")->plan(42);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    map \$http_upgrade \$connection_upgrade {
        default  upgrade;
        ''       close;
    }

    proxy_set_header    X-Level http;
    proxy_read_timeout  1s;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

$locations
    }

    server {
        listen       127.0.0.1:8083;
        server_name  localhost;

        websocket_guard            off;
        websocket_guard_forwarded  on;
        websocket_guard_timeout    10s;
        websocket_guard_upgrade    other;

$locations
    }

    server {
        listen       127.0.0.1:8084;
        server_name  localhost;

        websocket_guard            check;
        websocket_guard_forwarded  on;
        websocket_guard_timeout    10s;
        websocket_guard_upgrade    other;

$locations
    }
}
EOC

run_backend($t, 8081);
$t->run();

my %mode = (8083 => 'off', 8084 => 'check');

my $key = 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==';
my %request = (
    'plain request' => ['Connection: close'],
    'handshake'     => ['Upgrade: websocket', 'Connection: Upgrade', $key, 'Sec-WebSocket-Version: 13'],
    'h2c'           => ['Upgrade: h2c', 'Connection: Upgrade, HTTP2-Settings', 'HTTP2-Settings: AAMAAABkAAQAAP__'],
    'odd handshake' => ['Upgrade: h2c', 'upgrade:  WebSocket', 'Connection: keep-alive'],
);

for my $path (qw{ / /own/ /recipe/ }) {
    for my $name (sort keys %request) {
        my $plain = head(8080, "${path}page", @{ $request{$name} });
        like($plain, qr!^GET ${path}page HTTP/1\..*^X-Client: yes\r$!ms, "$path, $name");
        is(head($_, "${path}page", @{ $request{$name} }), $plain, "$path, $name, $mode{$_}") for 8083, 8084;
    }
}

# Buffering and timeouts.

for my $port (8083, 8084) {
    ok(!streams('/', port => $port), "buffering, $mode{$port}");
    is(websocket(port => $port, path => '/recipe/ws')->echo('hello'), 'hello', "recipe, $mode{$port}");
    is(raw_request("GET /slow?2 HTTP/1.1\r\nHost: localhost\r\n\r\n", port => $port)->status, 504, "timeout, $mode{$port}");
}

# The head of a request as the backend gets it.
sub head {
    my ($port, $path, @headers) = @_;
    raw_request(join("\r\n", "GET $path HTTP/1.1", 'Host: example.com', @headers, 'X-Client: yes', '', ''), port => $port);
    return (requests_seen($t))[-1]->head;
}
