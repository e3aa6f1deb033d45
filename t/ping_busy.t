#!/usr/bin/perl

# What is due in a tunnel takes nothing from what nginx tells of it: a side that only sends is read on, and one that takes
# nothing is cut in time, however many Pings are sent meanwhile.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;
use Time::HiRes qw/ time /;

my $t = Test::Nginx->new()->has(qw/ http proxy http_ssl socket_ssl /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(11);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    error_log  %%TESTDIR%%/error.log info;

    log_format  ends '$request_uri $websocket_guard_end';
    access_log  %%TESTDIR%%/ends.log ends;

    websocket_guard_buffer_size  4k;

    server {
        listen       127.0.0.1:8080;
        listen       127.0.0.1:8443 ssl;
        server_name  localhost;

        ssl_certificate      localhost.crt;
        ssl_certificate_key  localhost.key;

        websocket_guard         on;
        websocket_guard_tunnel  pump;

        location /busy/ {
            websocket_guard_ping  100ms both;
            proxy_pass            http://127.0.0.1:8081;
        }

        location /stalled/ {
            proxy_send_timeout    2s;
            websocket_guard_ping  300ms both timeout=1m;
            proxy_pass            http://127.0.0.1:8081;
        }
    }
}
EOC

my $piece = 'x' x 60_000;
my $SECONDS = 4;

make_certificate($t);
run_backend($t, 8081, handlers => {
    # Sends as much as is taken, and then what tells that nothing is missing.
    pour => sub {
        my ($c, $request) = @_;
        $c->upgrade;
        pour($c, $c->frame(binary => $piece), $c->frame(text => 'last'), $c->frame(close => pack 'n', 1000));
    },

    # Waits for that.
    drink => sub {
        my ($c, $request) = @_;
        $c->upgrade;
        $t->write_file($request->args, drink($c) ? 'all' : 'not all');
    },

    # Takes nothing.
    stall => sub { my ($c) = @_; $c->upgrade; sleep 60 },
});
$t->run();

for my $ssl (0, 1) {
    my $name = $ssl ? 'TLS client' : 'client';
    my @downs = map { websocket(path => "/busy/pour?$ssl$_", ssl => $ssl) } 1 .. 3;
    is(scalar(grep { drink($_) } @downs), 3, "$name: has all of a stream");
    $_->disconnect for @downs;

    my $up = websocket(path => "/busy/drink?up$ssl", ssl => $ssl);
    pour($up, frame("\x82", $piece), frame("\x81", 'last'), frame("\x88", pack 'n', 1000));
    ok(wait_until(sub { -s $t->testdir . "/up$ssl" }, 20), "$name: its stream ends");
    is($t->read_file("up$ssl"), 'all', "$name: the backend has all of it");
    $up->disconnect;
}

# A backend that takes nothing, while the client sends.
my $ws = websocket(path => '/stalled/stall');
my $begin = time;
$ws->write(frame("\x82", $piece) x 50, 0.5) while time < $begin + 1;
ok($ws->closed_within(20), 'a backend that takes nothing');
cmp_ok(time - $begin, '<', 15, 'is given up in time');
ok(wait_log($t, qr/tunnel cut after \S+: backend \S+ took no data for 2s \(.*\[tunnel-backend-stalled\]/), 'the line');
my $line = 'not ended';
wait_until(sub { ($line) = $t->read_file('ends.log') =~ m!^/stalled/stall (.*)$!m });
is($line, 'backend-stalled', 'the end');
is(websocket(path => '/busy/')->echo('hello'), 'hello', 'others go on');

# Frames without end for a while, then the last ones.
sub pour {
    my ($c, $frame, @last) = @_;
    my $until = time + $SECONDS;
    while (time < $until) { $c->write($frame x 10, 20) or return }
    $c->write($_, 20) for @last;
    $c->closed_within(20);
}

# Reads until nothing comes for a while. Returns whether the last message was there.
sub drink {
    my ($c) = @_;
    my $tail = '';
    while (length(my $bytes = $c->read_some(1 << 20, 5))) {
        $tail = substr $tail . $bytes, -40;
        return 1 if $tail =~ /last/;
    }
    return 0;
}

# A client's, with a mask of zeroes.
sub frame {
    my ($first, $payload) = @_;
    my $length = length $payload;
    return $first . ($length < 126 ? pack 'C', 128 | $length : pack 'Cn', 254, $length) . "\0\0\0\0" . $payload;
}
