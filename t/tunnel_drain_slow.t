#!/usr/bin/perl

# A drain (websocket_guard_drain) of a client that takes its bytes slowly, from a backend that sends without end: frames
# are whole and in order up to the Close, nothing follows it, and the client's answer reaches the backend, however long the
# client takes to read.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;
use Time::HiRes qw/ sleep time /;

my $t = Test::Nginx->new()->has(qw/ http proxy http_ssl socket_ssl /);

# Ends of frames must not fall together with ends of reads.
my @SIZES = (300, 20_000, 60_000, 150_000);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(5 * 2 * @SIZES + 2);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    error_log  %%TESTDIR%%/error.log info;

    server {
        listen       127.0.0.1:8080 sndbuf=32k;
        listen       127.0.0.1:8443 ssl sndbuf=32k;
        server_name  localhost;

        ssl_certificate      localhost.crt;
        ssl_certificate_key  localhost.key;

        websocket_guard  on;

        location / {
            websocket_guard_tunnel  pump;
            websocket_guard_drain   0 wait=30s;
            proxy_pass              http://127.0.0.1:8081;
        }
    }
}
EOC

make_certificate($t, 'localhost');
run_backend($t, 8081, handlers => {
    # Numbered messages of one size without end, until a Close comes, which it writes down.
    flood => sub {
        my ($c, $request) = @_;
        my ($size) = $request->args =~ /^(\d+)/;
        my ($number, $frame) = (0, Protocol::WebSocket::Frame->new);
        $c->upgrade;
        my $seen = 'nothing';
        while ($c->write($c->frame(binary => pack('N', $number++) . 'x' x $size), 20)) {
            $c->fill(0) or next;
            $frame->append($c->{in});
            my $payload = $frame->next_bytes // next;
            $seen = $frame->is_close ? 'close ' . unpack 'n', $payload : $payload;
            last;
        }
        $t->write_file($request->args . '.new', $seen);
        rename $t->testdir . '/' . $request->args . '.new', $t->testdir . '/' . $request->args;
    },
});
$t->run();

my @clients = map {
    my $ssl = $_;
    map { { size => $_, name => "$_-$ssl", ws => websocket(path => "/flood?$_-$ssl", ssl => $ssl) } } @SIZES
} 0, 1;
# Not more than sockets hold.
sleep 0.5;
my ($old) = worker_pids($t);
ok(reload($t), 'reload');
# A worker that waits for nobody is gone by then.
sleep 1;

# A few bytes at a time, so that hardly a frame leaves nginx at once.
my $until = time + 60;
while (time < $until && grep { !is_told($_) } @clients) {
    for my $client (grep { !is_told($_) } @clients) {
        sysread $client->{ws}{socket}, $client->{ws}{in}, 3000, length $client->{ws}{in};
    }
    sleep 0.001;
}

for my $client (@clients) {
    my ($size, $name, $ws) = @$client{qw/ size name ws /};
    cmp_ok($client->{messages}, '>', 0, "$name: messages came");
    is($client->{wrong} // 'nothing', 'nothing', "$name: all of them whole and in order");
    is($client->{code}, 1012, "$name: then the Close");
    $ws->send(pack('n', 1012), 'close');
    $ws->closed_within(10);
    is(unpack('H*', $ws->{in}), '', "$name: and nothing else");
    wait_until(sub { -e $t->testdir . "/$name" }, 10);
    is($t->read_file($name), 'close 1012', "$name: the backend has the answer");
}
ok(wait_until(sub { !kill 0, $old }, 20), 'the old worker is gone');

# Takes whole frames of a client's; true after a Close, or what should not be there.
sub is_told {
    my ($client) = @_;
    my $size = 4 + $client->{size};
    my $head = $size < 65536 ? "\x82\x7e" . pack 'n', $size : "\x82\x7f" . pack 'Q>', $size;
    $client->{messages} //= 0;
    for ($client->{ws}{in}) {
        while (!$client->{code} && !$client->{wrong} && length >= 14) {
            last if /^\x88/;
            my $expected = $head . pack 'N', $client->{messages};
            if (substr($_, 0, length $expected) ne $expected) {
                $client->{wrong} = unpack 'H*', substr $_, 0, length $expected;
            } elsif (length >= length($head) + $size) {
                substr $_, 0, length($head) + $size, '';
                $client->{messages}++;
            } else {
                return 0;
            }
        }
        $client->{code} = unpack 'n', $1 if s/^\x88\x02(..)//s;
    }
    return $client->{code} || $client->{wrong} || $client->{ws}->eof;
}
