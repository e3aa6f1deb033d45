#!/usr/bin/perl

# Bytes that have no place in a header, folded lines, and as much of everything as nginx reads: none of it
# becomes an upgrade or breaks a line of the log.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(131);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    large_client_header_buffers  16 160k;
    proxy_buffer_size            64k;
    proxy_buffers                8 64k;
    proxy_busy_buffers_size      128k;
    lingering_timeout            300ms;

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

    server {
        listen       127.0.0.1:8083;
        server_name  localhost;

        ignore_invalid_headers  off;
        underscores_in_headers  on;

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
my $long = 'x' x 65536;
my @plain = ('200 not-websocket') x 3;

# nginx itself refuses these while it reads them, before it knows the location.
for my $case (
    ['folded Upgrade',        ["Upgrade:\r\n websocket"]],
    ['folded list',           ["Upgrade: h2c,\r\n\twebsocket"]],
    ['folded Connection',     ["Connection: keep-alive,\r\n Upgrade"]],
    ['NUL',                   ["Upgrade: websocket\0"]],
    ['NUL before a list',     ["Upgrade: websocket\0, h2c"]],
    ['NUL elsewhere',         ["X-Anything: \0"]],
    ['CR',                    ["Upgrade: websocket\r, h2c"]],
) {
    my ($name, $headers) = @$case;
    is(named(path => '/strict/ws', headers => $headers), '400 not-proxied', $name);
}

# What was sent; status and finding with strict, lenient, auto.
my @cases = (
    ['LF',                    ["X-Anything: a\nX-Upgrade: b"], 101, 101, 101],
    ['8 bits',                ["Upgrade: websocket\xff"], @plain],
    ['8 bits in front',       ["Upgrade: \xa0websocket"], @plain],
    ['UTF-8',                 ["Upgrade: \xd7\x95ebsocket"], @plain],
    ['vertical tab',          ["Upgrade: websocket\x0b"], @plain],
    ['DEL',                   ["Upgrade: websocket\x7f"], @plain],
    ['quote and backslash',   ["Upgrade: \"\\x1b[2J"], @plain],
    ['8 bits in the key',     ["Sec-WebSocket-Key: \xff\xff"], '400 handshake-key', 101, '200 handshake-key'],
    ['8 bits in Connection',  ["Connection: upgrade\xa0"], '400 handshake-connection', 101, '200 handshake-connection'],
    ['long Upgrade',          ["Upgrade: $long"], @plain],
    ['long list',             ['Upgrade: ' . 'foo, ' x 20000 . 'websocket'], 101, 101, 101],
    ['long list of commas',   ['Upgrade: ' . ',' x 65536], @plain],
    ['100 lines',             [('Upgrade: foo') x 100, 'Upgrade: websocket'], 101, 101, 101],
    ['100 foreign lines',     [('Upgrade: foo') x 100], @plain],
    ['100 lines of it',       [('Upgrade: websocket') x 100], 101, 101, 101],
    ['long Connection',       ["Connection: $long, upgrade"], 101, 101, 101],
    ['long Origin',           ["Origin: http://$long"], 101, 101, 101],
);

my @locations = map { ("/$_/", "/$_-own/") } qw/ strict lenient auto /;
for my $location (@locations) {
    for my $case (@cases) {
        my ($name, $headers, @expected) = @$case;
        my $expected = $expected[$location =~ /strict/ ? 0 : $location =~ /lenient/ ? 1 : 2];
        is(named(path => "${location}ws", headers => $headers), $expected, "$location $name");
    }
}

is(named(path => '/strict/ws', port => 8083, headers => ["Up\x01grade: websocket"]), '400 not-proxied', 'control character in a name');

# Names which nginx passes on if it is told to.
for my $location (@locations) {
    my @headers = ('Upgrade_: websocket', 'up_grade: websocket', "Upgrade\xff: h2c");
    is(named(path => "${location}ws", port => 8083, headers => ['Upgrade: h2c', @headers]), '200 not-websocket', "$location names");
    is(named(path => "${location}ws", port => 8083, headers => ['Upgrade : websocket'], without => ['Upgrade']), '400 not-proxied',
        "$location, a space behind the name");
    like(named(path => "${location}ws", port => 8083, headers => ['Sec_WebSocket_Key: AAAAAAAAAAAAAAAAAAAAAA==']), qr/^101$/,
        "$location, another name of the key");
}

is(join("\n", false_upgrades($t, 8081, lenient => qr!^/lenient!)), '', 'no false upgrade arrived');
is(scalar(grep { !/ \[[a-z0-9-]+\](?:, client: .*)?$/ } guard_log($t)), 0, 'every line ends as it should');
is(scalar(grep {/[^ -~]/} map {/(.*) \[[a-z0-9-]+\], client: /} guard_log($t)), 0, 'and holds nothing but text');
# The status that the client got, and the names of the guard's lines.
sub named {
    my ($status, @lines) = split /, (?=\[)/, outcome($t, @_);
    return join " ", $status, map { / \[([\w-]+)\]\z/ ? $1 : $_ } @lines;
}
