#!/usr/bin/perl

# Pings of the guard's to a side that is silent (websocket_guard_ping): their Pongs reach nobody else, nothing else is
# changed on the way, and a side that does not answer ends the tunnel.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;
use Time::HiRes qw/ sleep time /;

my $t = Test::Nginx->new()->has(qw/ http proxy http_ssl socket_ssl /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(46);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    error_log  %%TESTDIR%%/error.log info;

    log_format  ends '$request_uri $websocket_guard_end $websocket_guard_close_code '
                     '[$websocket_guard_client_rtt] [$websocket_guard_backend_rtt]';
    access_log  %%TESTDIR%%/ends.log ends;

    server {
        listen       127.0.0.1:8080;
        listen       127.0.0.1:8443 ssl;
        server_name  localhost;

        ssl_certificate      localhost.crt;
        ssl_certificate_key  localhost.key;

        websocket_guard  on;

        location /often/ {
            websocket_guard_tunnel  pump;
            websocket_guard_ping    100ms both;
            proxy_pass              http://127.0.0.1:8081;
        }

        location /often/tls/ {
            websocket_guard_tunnel  pump;
            websocket_guard_ping    100ms both;
            proxy_pass              https://127.0.0.1:8082;
        }

        location /idle/ {
            websocket_guard_tunnel   pump;
            websocket_guard_timeout  1s;
            websocket_guard_ping     300ms;
            proxy_pass               http://127.0.0.1:8081;
        }

        location /client/ {
            websocket_guard_tunnel  pump;
            websocket_guard_ping    300ms timeout=1s;
            proxy_pass              http://127.0.0.1:8081;
        }

        location /backend/ {
            websocket_guard_tunnel  pump;
            websocket_guard_ping    300ms backend timeout=1s;
            proxy_pass              http://127.0.0.1:8081;
        }
    }
}
EOC

# Frames of all kinds. What is none of the guard's has no payload of 12 bytes.
my @frames = map {
    my $n = $_;
    ("\x81", "text $n"), ("\x89", "ping $n"), ("\x8a", "pong $n"), ("\x82", 'x' x (97 * $n)), ("\x89", ''), ("\x8a", ''),
    ("\x01", 'half'), ("\x89", 'between'), ("\x80", 'whole'), ("\x8a", 'y' x 125), ("\x82", ''), ("\x82", 'z' x 70_000),
} 1 .. 4;

my $expected = join '', map { frame(@frames[2 * $_, 2 * $_ + 1]) } 0 .. $#frames / 2;

my %handlers = (
    # Sends all frames, slowly, answers Pings of the guard's in pieces, and notes what it got besides.
    both => sub {
        my ($c, $request) = @_;
        $c->upgrade;
        my ($others, $own) = exchange($c, 0);
        $t->write_file('noted.new', "$own\n$others");
        rename $t->testdir . '/noted.new', $t->testdir . '/noted';
        $c->closed_within(10);
    },

    # Messages without end and without a pause; where one ends, another has begun.
    pour => sub {
        my ($c) = @_;
        $c->upgrade;
        my $frame = $c->frame(binary => 'x' x 200_003);
        my $next = substr($frame, 1000) . substr($frame, 0, 1000);
        $c->write(substr $frame, 0, 1000);
        1 while $c->write($next, 5);
    },

    # Answers no Ping, but says something.
    rude => sub { my ($c) = @_; $c->upgrade; for (1 .. 30) { $c->send('hello'); sleep 0.1 } $c->closed_within(20) },

    # Answers no Ping of the guard's while its own is not answered.
    quiet => sub { my ($c) = @_; $c->upgrade; $c->closed_within(20) },
);

make_certificate($t);
run_backend($t, 8081, handlers => \%handlers);
run_backend($t, 8082, handlers => \%handlers, ssl => 'localhost');
$t->run();

for my $path (qw{ /often/ /often/tls/ }) {
    for my $ssl (0, 1) {
        my $name = $path . ($ssl ? ', TLS client' : '');
        my $ws = websocket(path => "${path}both?$ssl", ssl => $ssl);
        my ($others, $own) = exchange($ws, 1);
        ok($others eq $expected, "$name: from the backend nothing is lost or added") or diag(length $others, ' of ', length $expected);
        cmp_ok($own, '>', 2, "$name: Pings for the client");
        ok(wait_until(sub { -s $t->testdir . '/noted' }, 20), "$name: the backend has all");
        my ($count, $noted) = split /\n/, $t->read_file('noted'), 2;
        ok($noted eq $expected, "$name: from the client nothing is lost or added") or diag(length $noted, ' of ', length $expected);
        cmp_ok($count, '>', 2, "$name: Pings for the backend");
        $ws->disconnect;
        unlink $t->testdir . '/noted';
        like(ended("${path}both?$ssl"), qr/ \[\d\.\d\d\d\] \[\d\.\d\d\d\]$/, "$name: round trips");
    }
}

# A backend that never pauses.
my $poured = websocket(path => '/often/pour');
my ($until_poured, %poured) = (time + 10, ('x' => 0, ping => 0, else => 0));
while ($poured{ping} < 3 && time < $until_poured) {
    $poured->fill(1);
    while (defined(my $frame = take_frame($poured))) {
        my ($first, $payload) = @$frame;
        my $is_ping = $first eq "\x89" && length $payload == 12;
        $poured->write(frame("\x8a", $payload, 1)) if $is_ping;
        $poured{ $is_ping ? 'ping' : $first eq "\x82" && $payload eq 'x' x 200_003 ? 'x' : 'else' }++;
    }
}
is($poured{ping}, 3, 'Pings between messages without a pause');
is($poured{else}, 0, 'and the messages are whole');
$poured->disconnect;

# An answered Ping is traffic.
my $ws = websocket(path => '/idle/');
my ($until, $pings) = (time + 3, 0);
while (time < $until) {
    defined(my $payload = $ws->recv_frame(0.5)) or next;
    $pings++ if $ws->opcode == 9;
    $ws->send($payload, 'pong');
}
cmp_ok($pings, '>', 3, 'Pings');
is($ws->echo('hello'), 'hello', 'keep a tunnel beyond its idle limit');
$ws->disconnect;
websocket(path => '/idle/?deaf')->closed_within(6);
like(ended('/idle/?deaf'), qr/ idle 1001 \[\] \[\]$/, 'if they are answered');

# A client that says nothing at all, and one that says something else.
my $begin = time;
$ws = websocket(path => '/client/?dead');
ok($ws->closed_within(10), 'a client that does not answer');
cmp_ok(time - $begin, '>=', 1.2, 'has its time');
like(ended('/client/?dead'), qr/ ping-timeout 1001 \[\] \[\]$/, 'the end');
ok(wait_log($t, qr/\[error\] .* tunnel cut after \S+: no answer of the client to a Ping for 1s \(.*\[tunnel-client-dead\]/), 'the line');
$ws = websocket(path => '/client/?rude');
for (1 .. 30) { $ws->send('hello'); sleep 0.1; $ws->fill(0) }
ok(!$ws->eof, 'any byte is a sign of life');
$ws->disconnect;

# The same for a backend.
$ws = websocket(path => '/backend/quiet');
$ws->recv(10);
is($ws->close_code, 1014, 'a backend that does not answer');
$ws->disconnect;
like(ended('/backend/quiet'), qr/ ping-timeout 1014 /, 'the end');
ok(wait_log($t, qr/\[error\] .* tunnel cut after \S+: no answer of backend \S+ to a Ping for 1s \(.*\[tunnel-backend-dead\]/), 'the line');
$ws = websocket(path => '/backend/rude');
is($ws->recv(5), 'hello', 'one that says something');
ok($ws->open_for(2), 'goes on');
$ws->disconnect;

my $conf = $t->read_file('nginx.conf');
for my $case (
    ['0', qr/invalid value "0" in "websocket_guard_ping" directive, a side needs time to be silent/],
    ['soon', qr/invalid value "soon" in "websocket_guard_ping" directive, write a time/],
    ['1s all', qr/invalid value "all" in "websocket_guard_ping" directive, it must be "client", "backend" or "both"/],
    ['1s timeout=0', qr/invalid value "0" in "websocket_guard_ping" directive, an answer takes time/],
    ['off client', qr/invalid value "client" in "websocket_guard_ping" directive, nothing may follow "off"/],
    ['1s both client', qr/"websocket_guard_ping" directive is duplicate/],
    ['1s; websocket_guard_tunnel native', qr/\[emerg\] "websocket_guard_ping" needs the guard's own loop/, 'websocket_guard_tunnel   pump;'],
) {
    my ($value, $expected, $without) = @$case;
    my $text = $conf =~ s/websocket_guard_ping     300ms;/websocket_guard_ping $value;/r;
    $text =~ s/\Q$without// if $without;
    my ($code, $output) = nginx_test($t, $text);
    like($output, $expected, $value);
}

# Both ends do the same. Returns what came, unmasked, and how many Pings of the guard's were in it, which are answered in
# two pieces.
sub exchange {
    my ($c, $masks) = @_;
    my @send = map { frame(@frames[2 * $_, 2 * $_ + 1], $masks) } 0 .. $#frames / 2;
    my ($others, $own, $next) = ('', 0, time);
    my $until = time + 30;
    $c->{greedy} = 1;
    while (time < $until) {
        if (@send && time >= $next) {
            my $frame = shift @send;
            $c->write(substr $frame, 0, 1);
            $c->write(substr $frame, 1);
            $next = time + (@send % 12 == 0 ? 0.5 : 0.01);
        }
        $c->fill(0.02);
        while (defined(my $frame = take_frame($c))) {
            my ($first, $payload) = @$frame;
            if ($first eq "\x89" && length $payload == 12) {
                $own++;
                my $pong = frame("\x8a", $payload, $masks);
                $c->write(substr $pong, 0, 5);
                $c->write(substr $pong, 5);
                next;
            }
            $others .= frame($first, $payload);
        }
        last if !@send && length $others >= length $expected && $own > 2;
    }
    return ($others, $own);
}

sub frame {
    my ($first, $payload, $masks) = @_;
    my $bit = $masks ? 0x80 : 0;
    my $length = length $payload;
    my $header = $length < 126 ? pack 'C', $bit | $length : $length < 65536 ? pack 'Cn', $bit | 126, $length : pack 'CQ>', $bit | 127, $length;
    return "$first$header$payload" unless $masks;
    my $mask = pack 'N', int rand 2**32;
    return "$first$header$mask" . ($payload ^ substr $mask x (1 + $length / 4), 0, $length);
}

sub take_frame {
    my ($c) = @_;
    my $in = \$c->{in};
    return undef if length $$in < 2;
    my ($first, $second) = unpack 'aC', $$in;
    my ($length, $at) = ($second & 127, 2);
    return undef if length $$in < 14 && $length > 125;
    ($length, $at) = (unpack('x2n', $$in), 4) if $length == 126;
    ($length, $at) = (unpack('x2Q>', $$in), 10) if $length == 127;
    my $mask = $second & 128 ? substr $$in, $at, 4 : '';
    $at += length $mask;
    return undef if length $$in < $at + $length;
    my $payload = substr $$in, $at, $length;
    substr $$in, 0, $at + $length, '';
    $payload ^= substr $mask x (1 + $length / 4), 0, $length if length $mask;
    return [$first, $payload];
}

sub ended {
    my ($uri) = @_;
    my $line;
    wait_until(sub { ($line) = $t->read_file('ends.log') =~ m!^(\Q$uri\E .*)$!m });
    return $line // 'not ended';
}
