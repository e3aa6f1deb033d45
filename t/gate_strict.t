#!/usr/bin/perl

# A location with "websocket_guard on;" refuses a malformed handshake (RFC 6455 section 4.2.1): nothing of
# it reaches the backend, and one line says what is wrong with it.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(39);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location / {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }
    }
}
EOC

run_backend($t, 8081);
$t->run();

my $sample = 'dGhlIHNhbXBsZSBub25jZQ==';
my $method = '[error] upgrade failed: the method is "%s" where a WebSocket handshake is a GET; '
    . 'correct the client [handshake-method]';
my $body = '[error] upgrade failed: the handshake has a body; correct the client [handshake-body]';
my $connection = '[error] upgrade failed: %s; let the proxy in front send "Connection: upgrade" '
    . '(an outer nginx: "websocket_guard on;") [handshake-connection]';
my $key = '[error] upgrade failed: Sec-WebSocket-Key %s; correct the client; with curl add '
    . "\"-H 'Sec-WebSocket-Key: $sample'\" [handshake-key]";
my $version = '[error] upgrade failed: Sec-WebSocket-Version %s; correct or renew the client; with curl add '
    . "\"-H 'Sec-WebSocket-Version: 13'\" [handshake-version]";

my @refused = (
    [400, sprintf($method, 'POST'), method => 'POST'],
    [400, sprintf($method, 'HEAD'), method => 'HEAD'],
    [400, sprintf($method, 'GETX'), method => 'GETX'],
    [400, '[error] upgrade failed: the request is HTTP/1.0 where a WebSocket handshake needs HTTP/1.1; let the proxy '
        . 'in front speak HTTP/1.1 (an outer nginx: "websocket_guard on;") [handshake-http-version]', version => '1.0'],
    [400, $body, headers => ['Content-Length: 4'], pipeline => 'body'],
    [400, $body, headers => ['Transfer-Encoding: chunked'], pipeline => "4\r\nbody\r\n0\r\n\r\n"],

    [400, sprintf($connection, 'the request has an Upgrade header but no Connection header'), without => ['Connection']],
    [400, sprintf($connection, 'Connection "close" of the request lacks the token "upgrade"'), headers => ['Connection: close']],
    [400, sprintf($connection, 'Connection "upgraded, keep-alive" of the request lacks the token "upgrade"'),
        headers => ['Connection: upgraded, keep-alive']],

    [400, sprintf($key, 'is missing'), without => ['Sec-WebSocket-Key']],
    [400, sprintf($key, '"test" is not 16 bytes in base64'), key => 'test'],
    [400, sprintf($key, '"" is not 16 bytes in base64'), key => ''],
    [400, sprintf($key, "is given twice, the second is \"$sample\""),
        headers => ["Sec-WebSocket-Key: $sample", "Sec-WebSocket-Key: $sample"]],

    [426, sprintf($version, 'is missing'), without => ['Sec-WebSocket-Version']],
    [426, sprintf($version, '"8" is not 13'), headers => ['Sec-WebSocket-Version: 8']],
    [426, sprintf($version, '"13, 8" is not 13'), headers => ['Sec-WebSocket-Version: 13, 8']],
    [400, sprintf($version, 'is given twice, the second is "8"'),
        headers => ['Sec-WebSocket-Version: 13', 'Sec-WebSocket-Version: 8']],
);

for my $case (@refused) {
    my ($status, $line, @handshake) = @$case;
    my $answer;
    my $name = $line =~ s/.*\[([\w-]+)\]/$1/r;
    is(outcome($t, sub { $answer = websocket(path => "/$name", @handshake) }), "$status, $line", $line);
    is_deeply([map { [$answer->header($_)] } qw/ Sec-WebSocket-Version Upgrade /],
        $status == 426 ? [['13'], ['websocket']] : [[], []], "$name: what would be understood");
}

is_deeply([requests_seen($t)], [], 'nothing was passed on');

# What looks wrong and is not.
my @accepted = (
    [headers => ['Connection: keep-alive, UPGRADE']],
    [headers => ['Connection: keep-alive', 'Connection: upgrade']],
    [headers => ['Content-Length: 0']],
);
for my $handshake (@accepted) {
    is(outcome($t, @$handshake), '101', "accepted: @{ $handshake->[1] }");
}

# The checks are about upgrades.
is(raw_request("POST / HTTP/1.0\r\nHost: localhost\r\nContent-Length: 4\r\nSec-WebSocket-Version: 8\r\n\r\nbody")->status, 200,
    'plain request');
