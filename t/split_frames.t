#!/usr/bin/perl

# Handshakes and frames that arrive byte by byte.

use strict;
use warnings;

use Protocol::WebSocket::Frame;
use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;
use Time::HiRes qw/ sleep /;

my $t = Test::Nginx->new()->has(qw/ http proxy /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(11);

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
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /auto/ {
            websocket_guard  auto;
            proxy_pass       http://127.0.0.1:8081;
        }
    }
}
EOC

run_backend($t, 8081, handlers => {
    drip => sub {
        my ($c, $request) = @_;
        my $accept = Test::WebSocketGuard::Client::accept_for($request->header('Sec-WebSocket-Key'));
        drip($c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            . "Sec-WebSocket-Accept: $accept\r\n\r\n" . $c->frame(text => 'd' x 200));
        $c->echo;
    },
});
$t->run();

for my $path (qw! /on/ /auto/ !) {
    my $ws = connection();
    my ($text, $key) = handshake_request(path => $path);
    $ws->{key} = $key;
    drip($ws, $text);
    ok($ws->read_response->is_open, "$path: a handshake");

    # Lengths with one, three and nine bytes; a control frame; fragments.
    drip($ws, frame('hello') . frame('x' x 200));
    is($ws->recv, 'hello', "$path: a short frame");
    is($ws->recv, 'x' x 200, "$path: a longer one");

    # In front of, within and behind the header of a frame of 70000 bytes.
    my $frame = frame('y' x 70_000);
    my @cuts = (1, 1, 3, 5, 2, 1, 1, 65_536);
    drip($ws, substr($frame, 0, shift @cuts, ''), '') while @cuts;
    drip($ws, $frame, '');
    is($ws->recv, 'y' x 70_000, "$path: a long one, cut in its header");

    $ws = websocket(path => "${path}drip");
    is($ws->recv, 'd' x 200, "$path: a 101 and a frame from the backend");
}

is_deeply([guard_log($t, 'error')], [], 'nothing to complain about');

sub frame { return Protocol::WebSocket::Frame->new(buffer => $_[0], masked => 1, max_payload_size => 0)->to_bytes }

# Byte by byte, each in a packet of its own; or a piece at once.
sub drip {
    my ($stream, $bytes, $separator) = @_;
    for my $piece (defined $separator ? $bytes : split //, $bytes) {
        $stream->write($piece);
        sleep 0.001;
    }
}
