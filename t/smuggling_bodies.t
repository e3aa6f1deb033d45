#!/usr/bin/perl

# A handshake with a body, or in HTTP/1.0, or by another method than GET: what stands behind the header is a
# body to the one end and frames, or another request, to the other. None reaches a backend as an upgrade;
# what follows is parsed as the next request, if it is read at all.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(69);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /strict/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /lenient/ {
            websocket_guard  on;
            websocket_guard_handshake lenient;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /auto/ {
            websocket_guard  auto;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /strict-own/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
        }

        location /lenient-own/ {
            websocket_guard  on;
            websocket_guard_handshake lenient;
            proxy_pass       http://127.0.0.1:8081;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
        }

        location /auto-own/ {
            websocket_guard  auto;
            proxy_pass       http://127.0.0.1:8081;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
        }

        location /internal/ {
            access_log  off;
            return      403;
        }
    }
}
EOC

run_backend($t, 8081);
$t->run();

# Behind each handshake stands a request to a place that nginx lets nobody into.
my $smuggled = "GET /internal/ HTTP/1.1\r\nHost: localhost\r\nX-Smuggled: yes\r\n\r\n";
my $chunked = sprintf "%x\r\n%s\r\n0\r\n\r\n", length $smuggled, $smuggled;

for my $location (map { ("/$_/", "/$_-own/") } qw/ strict lenient auto /) {
    my $refused = $location =~ /strict/ ? 400 : 200;
    for my $case (
        ['handshake-body', headers => ['Content-Length: ' . length $smuggled], pipeline => $smuggled],
        ['handshake-body', headers => ['Transfer-Encoding: chunked'], pipeline => $chunked],
        ['handshake-body', headers => ['Transfer-Encoding: chunked'], pipeline => "0\r\n\r\n$smuggled"],
        ['handshake-method', method => 'POST', headers => ['Content-Length: 0'], pipeline => $smuggled],
        ['handshake-method', method => 'POST', headers => ['Content-Length: 4'], pipeline => "body$smuggled"],
        ['handshake-method', method => 'OPTIONS', pipeline => $smuggled],
        ['handshake-method', method => 'CONNECTS', pipeline => $smuggled],
        ['handshake-method', method => 'HEAD', pipeline => $smuggled],
        ['handshake-http-version', version => '1.0', pipeline => $smuggled],
        ['handshake-http-version', version => '1.0', headers => ['Connection: keep-alive, Upgrade'], pipeline => $smuggled],
    ) {
        my ($finding, %request) = @$case;
        my $name = join ' ', $location, @request{grep { $request{$_} } qw/ method version /}, @{ $request{headers} // [] };
        is(named(path => "${location}ws", %request), "$refused $finding", $name);
    }

    # nginx itself refuses to guess how long such a body is.
    is(named(path => "${location}ws", headers => ['Transfer-Encoding: chunked', 'Content-Length: 4'], pipeline => $chunked),
        '400 not-proxied', "$location both lengths");
}

is(join("\n", false_upgrades($t)), '', 'no upgrade arrived');
is(scalar(grep { defined $_->header('Upgrade') } requests_seen($t)), 0, 'none at all');
is(scalar(grep { $_->uri =~ /internal/ } requests_seen($t)), 0, 'nor what was smuggled');
# The status that the client got, and the names of the guard's lines.
sub named {
    my ($status, @lines) = split /, (?=\[)/, outcome($t, @_);
    return join " ", $status, map { / \[([\w-]+)\]\z/ ? $1 : $_ } @lines;
}
