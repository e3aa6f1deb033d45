#!/usr/bin/perl

# A worker that is told to leave closes its tunnels one by one (websocket_guard_drain): clients get a code, what they
# still send reaches the backend, and the worker is gone.

use strict;
use warnings;

use IO::Select ();
use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;
use Time::HiRes qw/ time /;

my $t = Test::Nginx->new()->has(qw/ http proxy http_ssl socket_ssl /);

my $CLIENTS = 100;

$t->write_file_expand('nginx.conf', <<'EOC')->plan(31);

%%TEST_GLOBALS%%

daemon off;

events {
    worker_connections  1024;
}

http {
    %%TEST_GLOBALS_HTTP%%

    error_log  %%TESTDIR%%/error.log info;

    log_format  ends '$request_uri $websocket_guard_end $websocket_guard_close_code';
    access_log  %%TESTDIR%%/ends.log ends;

    server {
        listen       127.0.0.1:8080;
        listen       127.0.0.1:8443 ssl;
        server_name  localhost;

        ssl_certificate      localhost.crt;
        ssl_certificate_key  localhost.key;

        websocket_guard  on;

        location /spread/ {
            websocket_guard_tunnel  pump;
            websocket_guard_drain   4s;
            proxy_pass              http://127.0.0.1:8081;
        }

        location /now/ {
            websocket_guard_tunnel  pump;
            websocket_guard_close   off;
            websocket_guard_drain   0 code=4000 wait=1s;
            proxy_pass              http://127.0.0.1:8081;
        }

        location /stays/ {
            websocket_guard_tunnel  pump;
            proxy_pass              http://127.0.0.1:8081;
        }
    }
}
EOC

make_certificate($t, 'localhost');
run_backend($t, 8081, handlers => {
    # Writes down each message, and answers a Close.
    note => sub {
        my ($c, $request) = @_;
        $c->upgrade;
        my $name = $request->args;
        my $frame = Protocol::WebSocket::Frame->new;
        my $noted = '';
        while (length(my $bytes = $c->read_some(1 << 16, 300))) {
            $frame->append($bytes);
            while (defined(my $payload = $frame->next_bytes)) {
                $noted .= $frame->is_close ? 'close ' . unpack('n', $payload) : "$payload ";
                $c->send($payload, 'close') if $frame->is_close;
            }
            last if $frame->is_close;
        }
        $t->write_file("$name.new", $noted);
        rename $t->testdir . "/$name.new", $t->testdir . "/$name";
        $c->closed_within(10);
    },

    # Messages without end, in fragments with half a frame at the end of each write.
    pour => sub {
        my ($c) = @_;
        $c->upgrade;
        my $frame = $c->frame(binary => 'x' x 5000);
        my $next = substr($frame, 100) . substr($frame, 0, 100);
        $c->write(substr $frame, 0, 100);
        1 while $c->write($next, 5);
    },

    # A frame that does not end.
    forever => sub { my ($c) = @_; $c->upgrade; $c->write("\x82\x7f" . pack('Q>', 1 << 40) . 'x'); $c->closed_within(20) },
});
$t->run();

# ---- one by one ------------------------------------------------------------------------------------

my %client = map { my $ws = websocket(path => "/spread/note?$_", ssl => $_ % 2); (fileno $ws->{socket} => [$_, $ws]) } 1 .. $CLIENTS;
my $stays = websocket(path => '/stays/');
my ($old) = worker_pids($t);
my $begin = time;
ok(reload($t), 'reload');
is(websocket(path => '/spread/')->echo('hello'), 'hello', 'new connections are served');

my $select = IO::Select->new(map { $_->[1]{socket} } values %client);
my (%code, @at);
while ($select->count && time < $begin + 30) {
    for my $socket ($select->can_read(1)) {
        my ($number, $ws) = @{ $client{fileno $socket} };
        $ws->recv(5);
        $code{ $ws->close_code // 'none' }++;
        push @at, time - $begin;
        # What a client still has to say.
        $ws->send("last-$number");
        $ws->send(pack('n', 1012), 'close');
        $select->remove($socket);
    }
}
is_deeply(\%code, { 1012 => $CLIENTS }, 'every client gets the code');
my %at;
$at{int $_}++ for @at;
my ($most) = sort { $b <=> $a } values %at;
cmp_ok($most, '<', 0.6 * $CLIENTS, 'not all in one second');
cmp_ok($at[-1], '<', 15, 'nor much later than the time');
my $noted = 0;
for my $number (1 .. $CLIENTS) {
    my $file = $t->testdir . "/$number";
    $noted++ if wait_until(sub { -e $file }, 5) && $t->read_file($number) eq "last-$number close 1012";
}
is($noted, $CLIENTS, 'the last words of each reach the backend, and its Close');
ok($_->[1]->closed_within(5), 'the connection ends') or last for grep { $_->[0] <= 4 } values %client;
is($stays->echo('hello'), 'hello', 'a tunnel of a location without it stays');
$stays->close;
ok(wait_until(sub { !kill 0, $old }, 20), 'the old worker is gone');
like(join("\n", guard_log($t, 'notice', raw => 1)), qr/\[notice\] $old#\d+: websocket_guard: $CLIENTS tunnels of this worker were drained, 0 of them without an answer in time \[tunnel-drained\]/,
    'and tells the sum');
is(scalar(() = $t->read_file('ends.log') =~ m!^/spread/note\S+ drained 1012$!mg), $CLIENTS, 'the access log');

# ---- at once, and what does not answer ---------------------------------------------------------------

my %tunnel = map { $_ => websocket(path => "/now/$_") } qw/ stall pour forever note?silent /;
($old) = worker_pids($t);
ok(reload($t), 'reload');
my $ws = $tunnel{pour};
my ($messages, $broken) = (0, 0);
while (defined(my $payload = $ws->recv(10))) { $messages++; $broken++ if $payload ne 'x' x 5000 }
is($ws->close_code, 4000, 'a backend that sends without end: the Close is between two of its frames');
is($broken, 0, 'all of them whole');
cmp_ok($messages, '>', 0, 'there were some');

$tunnel{stall}->recv(5);
is($tunnel{stall}->close_code, 4000, 'the code');
ok($tunnel{stall}->closed_within(5), 'a backend that does not answer: the end');

ok($tunnel{forever}->closed_within(5), 'a frame that never ends does not hold it up');
is(unpack('H*', $tunnel{forever}{in}), '827f' . unpack('H*', pack 'Q>', 1 << 40) . unpack('H*', 'x'), 'and nothing stands within it');

$tunnel{'note?silent'}->closed_within(5);
ok(wait_until(sub { -e $t->testdir . '/silent' }), 'a client that does not answer');
is($t->read_file('silent'), 'close 1001', 'the backend is told');
$_->disconnect for values %tunnel;
ok(wait_until(sub { !kill 0, $old }, 20), 'the old worker is gone');

# ---- values ------------------------------------------------------------------------------------------

my $conf = $t->read_file('nginx.conf');
for my $case (
    ['soon', qr/invalid value "soon" in "websocket_guard_drain" directive, write a time/],
    ['4s code=1005', qr/invalid value "1005" in "websocket_guard_drain" directive, a Close may have 1000 to 1003/],
    ['4s wait=x', qr/invalid value "x" in "websocket_guard_drain" directive, write a time/],
    ['4s 5s', qr/invalid value "5s" in "websocket_guard_drain" directive, only "code=CODE" and "wait=TIME" may follow/],
    ['off wait=5s', qr/invalid value "wait=5s" in "websocket_guard_drain" directive/],
    ['4s wait=1s wait=2s', qr/"websocket_guard_drain" directive is duplicate/],
) {
    my ($value, $expected) = @$case;
    my ($code, $output) = nginx_test($t, $conf =~ s/(websocket_guard_drain)   4s;/$1 $value;/r);
    like($output, $expected, $value);
}
