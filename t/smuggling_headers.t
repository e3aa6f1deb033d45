#!/usr/bin/perl

# Handshakes that two parsers could read in two ways: repeated headers, lists, odd white space and names,
# targets, tokens of hop-by-hop headers. What reaches a backend as an upgrade is the one well-formed handshake.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(235);

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
    }
}
EOC

run_backend($t, 8081);
$t->run();

my $key = 'dGhlIHNhbXBsZSBub25jZQ==';
my @all = (101) x 3;

# What was sent; status and finding with strict, lenient, auto.
my @cases = (
    # Repeated headers.
    [['Upgrade: websocket', 'Upgrade: websocket'], @all],
    [['Upgrade: websocket', 'Upgrade: '], @all],
    [['Upgrade: ', 'Upgrade: websocket'], @all],
    [['Upgrade: foo', 'Upgrade: bar'], ('200 not-websocket') x 3],
    [['Connection: keep-alive', 'Connection: Upgrade'], @all],
    [['Connection: close', 'Connection: Upgrade'], @all],
    [["Sec-WebSocket-Key: $key", "Sec-WebSocket-Key: $key"], '400 handshake-key', '502 handshake-key', '200 handshake-key'],
    [["Sec-WebSocket-Key: $key", 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=='], '400 handshake-key', '502 handshake-key',
        '200 handshake-key'],
    [['Sec-WebSocket-Version: 13', 'Sec-WebSocket-Version: 13'], '400 handshake-version', 101,
        '200 handshake-version'],
    [['Sec-WebSocket-Version: 13', 'Sec-WebSocket-Version: 8'], '400 handshake-version', 101,
        '200 handshake-version'],
    [['Sec-WebSocket-Version: 12'], '426 handshake-version', 101, '200 handshake-version'],
    [['Host: localhost', 'Host: localhost'], ('400 not-proxied') x 3],
    [['Origin: http://a.example', 'Origin: http://b.example'], @all],

    # Lists and white space.
    [["Upgrade: ,\t, websocket ,,"], @all],
    [["Upgrade:\twebsocket\t"], @all],
    [["Upgrade:websocket"], @all],
    [["Upgrade: web socket"], ('200 not-websocket') x 3],
    [["Upgrade: \"websocket\""], ('200 not-websocket') x 3],
    [["Upgrade: websocket/13"], ('200 not-websocket') x 3],
    [["Connection: ,keep-alive,\tUPGRADE\t,"], @all],
    [["Connection: keep-alive Upgrade"], '400 handshake-connection', 101, '200 handshake-connection'],
    [["Connection: Upgrade-Insecure"], '400 handshake-connection', 101, '200 handshake-connection'],
    [["Sec-WebSocket-Version: 13, 8"], '426 handshake-version', 101, '200 handshake-version'],
    [["Sec-WebSocket-Key: $key, $key"], '400 handshake-key', 101, '200 handshake-key'],
    [["Sec-WebSocket-Key:\t $key \t"], @all],

    # Connection and TE.
    [['Connection: close, Upgrade'], @all],
    [['Connection: Upgrade, TE', 'TE: trailers'], @all],
    [['Connection: Upgrade, Sec-WebSocket-Key, Upgrade'], @all],
    [['TE: chunked'], @all],

    # Names that only some take for Upgrade.
    [['Upgrade_: websocket'], @all],
    [['UPGRADE: websocket'], @all],
    [['uPGRADE: WebSocket'], @all],
    [['Upgrade: foo', 'Up-grade: websocket'], ('200 not-websocket') x 3],
    [['Upgrade: foo', 'Upgrade_: websocket'], ('200 not-websocket') x 3],
    [['Upgrade: foo', 'X-Upgrade: websocket'], ('200 not-websocket') x 3],
    [['Sec_WebSocket_Key: AAAAAAAAAAAAAAAAAAAAAA=='], @all],
);

# One location takes ten lines of a finding: the others are summed up.
my @locations = map { ("/$_/", "/$_-own/") } qw/ strict lenient auto /;
for my $location (@locations) {
    for my $case (@cases) {
        my ($headers, $strict, $lenient, $auto) = @$case;
        my $expected = $location =~ /strict/ ? $strict : $location =~ /lenient/ ? $lenient : $auto;
        is(named(path => "${location}ws", headers => $headers), $expected, join ' ', $location, @$headers);
    }
    is(named(path => "http://localhost${location}ws"), 101, "$location absolute form");
    is(named(path => "http://elsewhere.example${location}ws"), 101, "$location absolute form, another host");
    is(named(path => '/x/..' . $location . 'ws'), 101, "$location through another");
}

is(join("\n", false_upgrades($t, 8081, lenient => qr!/lenient!)), '', 'no false upgrade arrived');
# The status that the client got, and the names of the guard's lines.
sub named {
    my ($status, @lines) = split /, (?=\[)/, outcome($t, @_);
    return join " ", $status, map { / \[([\w-]+)\]\z/ ? $1 : $_ } @lines;
}
