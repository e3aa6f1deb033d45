#!/usr/bin/perl

# A location whose own proxy_set_header makes every request an upgrade: what it says itself stays, so it reaches the
# backend as one, but only a handshake of the client becomes a tunnel. So with its subrequests.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy auth_request /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(20);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /on/ {
            websocket_guard   on;
            proxy_set_header  Upgrade websocket;
            proxy_set_header  Connection upgrade;
            proxy_pass        http://127.0.0.1:8081;
        }

        location /auto/ {
            websocket_guard   auto;
            proxy_set_header  Upgrade websocket;
            proxy_set_header  Connection upgrade;
            proxy_pass        http://127.0.0.1:8081;
        }

        location /asks/ {
            websocket_guard  on;
            auth_request     /on/ws;
            proxy_pass       http://127.0.0.1:8081;
        }
    }
}
EOC

run_backend($t, 8081);
$t->run();

my @no_handshake = (without => [qw/ Upgrade Connection Sec-WebSocket-Key Sec-WebSocket-Version /]);
for my $path (qw! /on/ /auto/ !) {
    my $refused = $path eq '/on/' ? 400 : 502;
    for my $case (
        ['502 unsolicited-101',      'a page', @no_handshake],
        ['502 unsolicited-101',      'a form', @no_handshake, method => 'POST', headers => ['Content-Length: 4'], pipeline => 'body'],
        ['502 unsolicited-101',      'h2c', headers => ['Upgrade: h2c']],
        ['502 stripped-upgrade',     'no Upgrade', without => ['Upgrade']],
        ["$refused handshake-key",   'no key', without => ['Sec-WebSocket-Key']],
        ["$refused handshake-body",  'a body', headers => ['Content-Length: 4'], pipeline => 'body'],
        ["$refused handshake-http-version", 'HTTP/1.0', version => '1.0'],
    ) {
        my ($expected, $name, %request) = @$case;
        is(named(path => "${path}ws", %request), $expected, "$path $name");
    }
    my $echo;
    my $outcome = named(sub {
        my $ws = websocket(path => "${path}ws");
        $echo = $ws->echo('hello');
        return $ws;
    });
    is("$outcome $echo", '101 hello', "$path a handshake");
}

is(named(path => '/asks/ws'), '500 subrequest-upgrade', 'a subrequest');
is(named(path => '/asks/ws', @no_handshake), '500', 'a subrequest of a page');
is(scalar(grep { $_->uri =~ /asks/ } requests_seen($t)), 0, 'nobody got past them');
is(raw_request("GET /on/page HTTP/1.1\r\nHost: localhost\r\n\r\nGET /on/page HTTP/1.1\r\nHost: localhost\r\n\r\n")->status, 502,
    'a page before another');

# The status that the client got, and the names of the guard's lines.
sub named {
    my ($status, @lines) = split /, (?=\[)/, outcome($t, @_);
    return join ' ', $status, map { / \[([\w-]+)\]\z/ ? $1 : $_ } @lines;
}
