#!/usr/bin/perl

# Every byte arrives, in its order, at every awkward size and split: plain and TLS, one way, back, and
# both at once.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy http_ssl socket_ssl /);

# 65,550 is what the guard reads at once.
my @SIZES   = (1, 2, 4095, 4096, 4097, 16_384, 16_385, 65_535, 65_536, 65_537, 65_549, 65_550, 65_551, 131_072, 1_000_003);
my @RECORDS = (512, 1000, 16_383);
my %PATHS = ('/on/' => 'to a plain backend', '/tls/' => 'to a TLS backend');

$t->write_file_expand('nginx.conf', <<'EOC')->plan(4 * (@SIZES + 5) + 3 * @RECORDS);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    # a debug log of every read would take longer than the test
    error_log  %%TESTDIR%%/error.log info;

    server {
        listen       127.0.0.1:8080;
        listen       127.0.0.1:8443 ssl;
        server_name  localhost;

        ssl_certificate      localhost.crt;
        ssl_certificate_key  localhost.key;

        location /on/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /tls/ {
            websocket_guard  auto;
            proxy_pass       https://127.0.0.1:8082;
        }
    }
}
EOC

my $BIG = 10 << 20;

# What comes from the backend and what it gets; no period of it is that of a buffer.
my $down = stream(7919, $BIG);
my $up   = stream(7907, $BIG);

my %handlers = (
    # Back as it comes, whatever it is.
    mirror => sub {
        my ($c) = @_;
        $c->upgrade;
        while (length(my $bytes = $c->read_some(1 << 20, 60))) { $c->write($bytes) or last }
    },

    # The same in TLS records of a size.
    records => sub {
        my ($c, $request) = @_;
        $c->upgrade;
        limit_records($c, $request->args);
        while (length(my $bytes = $c->read_some(1 << 20, 60))) { $c->write($bytes) or last }
    },

    # Both ways at once.
    duplex => sub {
        my ($c) = @_;
        $c->upgrade;
        $c->{greedy} = 1;
        $c->write($down) or return;
        $c->write(($c->read($BIG, 60) // '') eq $up ? 'same' : 'else');
        $c->closed_within(10);
    },

    # The stream with the 101 in one packet.
    pour => sub { my ($c) = @_; $c->upgrade(bytes => $down); $c->closed_within(10) },

    # In one byte, and what is in the middle of it, each in a packet.
    drip => sub { my ($c) = @_; $c->upgrade; $c->write(substr $down, $_, 1) for 0 .. 2999; $c->closed_within(10) },
);

make_certificate($t, 'localhost');
run_backend($t, 8081, handlers => \%handlers);
run_backend($t, 8082, handlers => \%handlers, ssl => 'localhost');
$t->run();

for my $path (sort keys %PATHS) {
    for my $ssl (0, 1) {
        my $name = ($ssl ? 'TLS ' : '') . $PATHS{$path};

        my $ws = websocket(path => "${path}mirror", ssl => $ssl);
        for my $size (@SIZES) {
            $ws->write(substr $up, 0, $size);
            ok(($ws->read($size, 20) // '') eq substr($up, 0, $size), "$name: $size bytes");
        }
        $ws->write(substr $up, $_, 1) for 0 .. 2999;
        ok(($ws->read(3000, 20) // '') eq substr($up, 0, 3000), "$name: byte by byte");

        $ws = websocket(path => "${path}drip", ssl => $ssl);
        ok(($ws->read(3000, 20) // '') eq substr($down, 0, 3000), "$name: byte by byte, from the backend");

        $ws = websocket(path => "${path}pour", ssl => $ssl);
        ok(($ws->read($BIG, 60) // '') eq $down, "$name: 10 MiB with the 101");

        # The tunnel's first bytes come with the handshake.
        $ws = websocket(path => "${path}duplex", ssl => $ssl, pipeline => substr $up, 0, 500);
        $ws->write(substr($up, 500), 60);
        ok(($ws->read($BIG, 60) // '') eq $down, "$name: both ways at once, down");
        is($ws->read(4, 60), 'same', "$name: both ways at once, up");

        next unless $ssl or $path eq '/tls/';
        for my $size (@RECORDS) {
            $ws = websocket(path => "${path}records?$size", ssl => $ssl);
            limit_records($ws, $size);
            $ws->write(substr $up, 0, 1_000_003);
            ok(($ws->read(1_000_003, 60) // '') eq substr($up, 0, 1_000_003), "$name: records of $size bytes");
        }
    }
}

# At most so many bytes in a TLS record, if it is a TLS connection (SSL_CTRL_SET_MAX_SEND_FRAGMENT).
sub limit_records {
    my ($stream, $size) = @_;
    my $ssl = $stream->{socket}->isa('IO::Socket::SSL') ? $stream->{socket}->_get_ssl_object : return;
    Net::SSLeay::ctrl($ssl, 52, $size, 0) or die 'the size is not taken';
}

sub stream {
    my ($period, $length) = @_;
    srand $period;
    my $piece = join '', map { chr int rand 256 } 1 .. $period;
    return substr $piece x (1 + $length / $period), 0, $length;
}
