#!/usr/bin/perl

# What becomes of a malformed handshake where it is not refused: "websocket_guard_handshake lenient" and the modes
# auto, check and off. Where there is no tunnel in the end, one line tells why.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy map /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(104);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    map $http_upgrade $connection_upgrade {
        default  upgrade;
        ''       close;
    }

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        websocket_guard_handshake  lenient;

        location /lenient/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /auto/ {
            websocket_guard  auto;
            proxy_pass       http://127.0.0.1:8081;
        }
    }

    server {
        listen       127.0.0.1:8082;
        server_name  localhost;

        location /auto/ {
            websocket_guard  auto;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /check/ {
            websocket_guard  check;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /off/ {
            proxy_pass       http://127.0.0.1:8081;
        }
    }

    # by hand, as it is often written
    server {
        listen       127.0.0.1:8083;
        server_name  localhost;

        proxy_http_version  1.1;
        proxy_set_header    Upgrade $http_upgrade;
        proxy_set_header    Connection $connection_upgrade;

        location /check/ {
            websocket_guard  check;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /off/ {
            proxy_pass       http://127.0.0.1:8081;
        }
    }
}
EOC

run_backend($t, 8081);
$t->run();

my $sample = 'dGhlIHNhbXBsZSBub25jZQ==';
my $key = '[error] upgrade failed: Sec-WebSocket-Key %s; correct the client; with curl add '
    . "\"-H 'Sec-WebSocket-Key: $sample'\" [handshake-key]";

# The handshake; its line; what becomes of it in lenient locations and in those made by hand. In all
# others it is a plain request.
my @table = (
    ['POST', [method => 'POST'],
        '[error] upgrade failed: the method is "POST" where a WebSocket handshake is a GET; correct the client [handshake-method]',
        'plain 200', 'upgrade 101'],
    ['HTTP/1.0', [version => '1.0'],
        '[error] upgrade failed: the request is HTTP/1.0 where a WebSocket handshake needs HTTP/1.1; let the proxy '
            . 'in front speak HTTP/1.1 (an outer nginx: "websocket_guard on;") [handshake-http-version]',
        'plain 200', 'upgrade 101'],
    ['with a body', [headers => ['Content-Length: 4'], pipeline => 'body'],
        '[error] upgrade failed: the handshake has a body; correct the client [handshake-body]',
        'plain 200', 'upgrade 101'],
    ['Connection: close', [headers => ['Connection: close']],
        '[error] upgrade failed: Connection "close" of the request lacks the token "upgrade"; let the proxy in front send '
            . '"Connection: upgrade" (an outer nginx: "websocket_guard on;") [handshake-connection]',
        'upgrade 101', 'upgrade 101'],
    ['key "test"', [key => 'test'], sprintf($key, '"test" is not 16 bytes in base64'),
        'upgrade 101', 'upgrade 101'],
    # There is no right answer without a key.
    ['no key', [without => ['Sec-WebSocket-Key']], sprintf($key, 'is missing'),
        'upgrade 502', 'upgrade 101 with a line'],
    ['version 8', [headers => ['Sec-WebSocket-Version: 8']],
        '[error] upgrade failed: Sec-WebSocket-Version "8" is not 13; correct or renew the client; with curl add '
            . "\"-H 'Sec-WebSocket-Version: 13'\" [handshake-version]",
        'upgrade 101', 'upgrade 101'],
);

my ($plain, $lenient, $by_hand) = ('plain 200', 3, 4);
my @locations = (
    ['/lenient/', 8080, $lenient],
    ['/auto/',    8080],
    ['/auto/',    8082],
    ['/check/',   8082],
    ['/off/',     8082],
    ['/check/',   8083, $by_hand],
    ['/off/',     8083, $by_hand],
);

for my $row (@table) {
    my ($what, $handshake, $line) = @$row;
    for my $location (@locations) {
        my ($path, $port, $column) = @$location;
        my $expected = $column ? $row->[$column] : $plain;
        my ($sent, $status) = split / /, $expected;

        my $before = requests_seen($t);
        my $outcome = outcome($t, path => $path, port => $port, @$handshake);
        my ($request) = (requests_seen($t, 8081, count => $before + 1))[$before];

        is($outcome, $expected =~ /101$/ ? $status : "$status, $line", "$path $port, $what");
        ok($request && ($request->is_upgrade xor $sent eq 'plain'), "$path $port, $what: $sent");
    }
}

# The rest of the gate is the same everywhere: well-formed handshakes.
for my $location (grep { $_->[1] != 8082 || $_->[0] eq '/auto/' } @locations) {
    my ($path, $port) = @$location;
    is(outcome($t, path => $path, port => $port), '101', "$path $port, well-formed");
}
is(outcome($t, path => '/off/', port => 8083, subprotocol => 'chat'), '101', 'and with a subprotocol');
