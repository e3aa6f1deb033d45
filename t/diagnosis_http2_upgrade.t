#!/usr/bin/perl

# http2-upgrade: HTTP/2 has no Upgrade header (RFC 9113 section 8.2.2), and an nginx before 1.31.0 that gets one may hang.
# Guarded locations refuse it.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy http_v2 /);

# "listen ... http2" is obsolete since 1.25.1.
my ($http2, $listen) = $t->has_version('1.25.1') ? ('http2 on;', '') : ('', ' http2');

$t->write_file_expand('nginx.conf', <<'EOC' =~ s/%%HTTP2%%/$http2/r =~ s/%%LISTEN%%/$listen/r)->plan(24);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen       127.0.0.1:8080%%LISTEN%%;
        listen       127.0.0.1:8082;
        server_name  localhost;
        %%HTTP2%%

        location /on/ {
            websocket_guard            on;
            proxy_pass                 http://127.0.0.1:8081;
        }

        location /lenient/ {
            websocket_guard            on;
            websocket_guard_handshake  lenient;
            proxy_pass                 http://127.0.0.1:8081;
        }

        location /auto/ {
            websocket_guard            auto;
            proxy_pass                 http://127.0.0.1:8081;
        }

        location /check/ {
            websocket_guard            check;
            proxy_pass                 http://127.0.0.1:8081;
        }

        location /by-hand/ {
            proxy_http_version         1.1;
            proxy_set_header           Upgrade $http_upgrade;
            proxy_set_header           Connection upgrade;
            proxy_pass                 http://127.0.0.1:8081;
        }

        location /off/ {
            proxy_pass                 http://127.0.0.1:8081;
        }
    }
}
EOC

# nginx registers the socket of a tunnel over HTTP/2 twice, about which epoll complains.
$t->todo_alerts() unless $t->has_version('1.31.0');
run_backend($t, 8081);
$t->run();

my $line = '[error] upgrade failed: an HTTP/2 request has an Upgrade header, which only HTTP/1.1 knows; test with HTTP/1.1, '
    . 'such as "curl --http1.1"; browsers are not affected [http2-upgrade]';
my @handshake = ('sec-websocket-key' => 'dGhlIHNhbXBsZSBub25jZQ==', 'sec-websocket-version' => '13');

# From 1.31.0 on nginx refuses them all by itself, before it looks for a location; h2c is then nobody's concern.
my $refuses = $t->has_version('1.31.0');
for my $path (qw! /on/ /lenient/ /auto/ !) {
    is(over_http2($path, upgrade => 'websocket', @handshake), "400, $line", "$path: websocket");
    is(over_http2($path, upgrade => 'h2c'), $refuses ? '400' : "400, $line", "$path: h2c");
}
is_deeply([requests_seen($t)], [], 'nothing was passed on');

my ($status, $h2c) = $refuses ? (400, '') : (200, ', [info] Upgrade "h2c" does not name websocket, served as '
    . 'plain HTTP; nothing is to be done, clients that offer it go on without it [not-websocket]');
for my $path (qw! /check/ /off/ !) {
    is(over_http2($path, upgrade => 'websocket', @handshake), "$status, $line", "$path: websocket");
    is(over_http2($path, upgrade => 'h2c'), "$status$h2c", "$path: h2c");
}

# A recipe by hand passes it on, and nginx makes a tunnel of the answer in which nothing moves.
like(over_http2('/by-hand/', upgrade => 'websocket', @handshake), $refuses ? qr/^400, \Q$line\E$/ : qr/, \Q$line\E$/, 'by hand');
like(over_http2('/by-hand/', @handshake), qr/^200, .*\[http2-upgrade\]$/, 'by hand, with a key');

# The remedy: HTTP/1.1.
is(outcome($t, port => 8082, path => '/by-hand/'), '101', 'HTTP/1.1, by hand');
is(outcome($t, port => 8082, path => '/on/'), '101', 'HTTP/1.1');

# Without the header it is a request like any other, even with a key.
for my $path (qw! /on/ /auto/ /off/ !) {
    is(over_http2($path), '200', "$path: plain request");
    is(over_http2($path, @handshake), '200, [error] upgrade failed: an HTTP/2 request has Sec-WebSocket-Key and no Upgrade header, which '
        . 'only HTTP/1.1 knows: a client such as curl leaves it out there; test with HTTP/1.1, such as "curl --http1.1"; browsers are not '
        . 'affected [http2-upgrade]', "$path: with a key");
    like(over_http2($path, @handshake, via => '2 edge'), qr/^200, .*, Via "2 edge".*\[stripped-upgrade\]$/, "$path: by way of a proxy");
}

sub over_http2 {
    my ($path, @headers) = @_;
    return outcome($t, sub { http2_request($path, @headers) });
}

# One request on a connection of its own, as little HTTP/2 as that takes (RFC 9113; RFC 7541 section 6.2.2 for the headers).
sub http2_request {
    my ($path, @headers) = @_;
    my @fields = (':method' => 'GET', ':scheme' => 'http', ':path' => $path, ':authority' => 'localhost', @headers);
    my $block = '';
    while (my ($name, $value) = splice @fields, 0, 2) {
        $block .= pack 'C C/a C/a', 0, $name, $value;
    }

    my $client = connection();
    $client->write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" . frame(4, 0, 0, '') . frame(1, 5, 1, $block));
    while (defined(my $head = $client->read(9, 10))) {
        my ($high, $low, $type, $flags, $stream) = unpack 'C n C C N', $head;
        my $payload = $client->read($high << 16 | $low, 10);
        next unless $type == 1 && $stream == 1;
        $payload =~ s/^[\x20-\x3f]+//;
        my %indexed = (0x88 => 200, 0x8b => 304, 0x8c => 400, 0x8d => 404, 0x8e => 500);
        my $status = $indexed{ ord $payload } // substr $payload, 2, 3;
        $client->{first_line} = "HTTP/2 $status";
        last;
    }
    return $client;
}

sub frame {
    my ($type, $flags, $stream, $payload) = @_;
    return pack('C n C C N', 0, length $payload, $type, $flags, $stream) . $payload;
}
