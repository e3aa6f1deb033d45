#!/usr/bin/perl

# Whatever tells nginx that a connection is ready: epoll, which tells it once, and those that tell it
# again and again, as far as this nginx has them. Bytes pass under each, and so does what stands in their way.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;
use Time::HiRes qw/ sleep time /;

my $t = Test::Nginx->new()->has(qw/ http proxy http_ssl socket_ssl /);

my @methods = ('epoll', grep { $t->has_module("--with-${_}_module") } qw/ poll select /);
$t->plan(@methods * 42);

my $LENGTH = 10 << 20;
my $piece  = join '', map { chr int rand 256 } 1 .. 7919;
my $stream = substr $piece x (1 + $LENGTH / 7919), 0, $LENGTH;

make_certificate($t, 'localhost');
run_backend($t, 8081, handlers => {
    pour => sub { my ($c) = @_; $c->upgrade; $c->write($stream, 60); $c->disconnect },

    # Sends on and on once it is told to, and answers a Close.
    drain => sub {
        my ($c, $request) = @_;
        my $frame = Protocol::WebSocket::Frame->new;
        my $pours = 0;
        $c->upgrade;
        while (!$c->eof) {
            $c->write($c->frame(binary => 'x' x 50_000), 20) if $pours;
            $c->fill($pours ? 0 : 20) or next;
            $frame->append($c->{in});
            while (defined(my $payload = $frame->next_bytes)) {
                $pours = 1 if $payload eq 'pour';
                return $c->write($c->frame(close => $payload)) if $frame->is_close;
            }
        }
    },
});

for my $method (@methods) {
    $t->write_file_expand('nginx.conf', <<"EOC");

%%TEST_GLOBALS%%

daemon off;

events {
    use $method;
}

http {
    %%TEST_GLOBALS_HTTP%%

    # What passes here is no frames.
    websocket_guard_ignore  tunnel-frame-error;

    error_log  %%TESTDIR%%/error.log info;

    server {
        listen       127.0.0.1:8080 sndbuf=32k;
        listen       127.0.0.1:8443 ssl sndbuf=32k;
        server_name  localhost;

        ssl_certificate      localhost.crt;
        ssl_certificate_key  localhost.key;

        location / {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /short/ {
            websocket_guard          on;
            websocket_guard_timeout  1s;
            proxy_pass               http://127.0.0.1:8081;
        }

        # All that may stand in the way of bytes.
        location /asked/ {
            websocket_guard              on;
            websocket_guard_tunnel       pump;
            websocket_guard_ping         300ms both timeout=1m;
            websocket_guard_max_message  64k;
            websocket_guard_drain        0 wait=20s;
            proxy_pass                   http://127.0.0.1:8081;
        }

        location /paced/ {
            websocket_guard               on;
            websocket_guard_tunnel        pump;
            websocket_guard_message_rate  20r/s burst=1 delay;
            proxy_pass                    http://127.0.0.1:8081;
        }
    }
}
EOC
    $t->run();
    ok(wait_log($t, qr/using the "$method" event method/, 5), "$method: in use");

    for my $ssl (0, 1) {
        my $name = $method . ($ssl ? ', TLS' : '');
        my $ws = websocket(ssl => $ssl);
        is($ws->echo('hello'), 'hello', "$name: echo");
        is($ws->echo_bytes($_), $_, "$name: $_ bytes there and back") for 65_536, 10 << 20;
        is($ws->echo_bytes(1 << 20, 1000), 1 << 20, "$name: many messages");
        ok($ws->close, "$name: close");

        $ws = websocket(path => '/pour', ssl => $ssl);
        delete $ws->{greedy};
        sleep 0.5;
        my ($worker) = worker_pids($t);
        my $before = cpu($worker);
        sleep 0.5;
        cmp_ok(cpu($worker) - $before, '<', 10, "$name: a client that takes nothing, nothing done");
        ok(($ws->read_all(30) // '') eq $stream, "$name: a slow client has everything, then the end");

        $ws = websocket(path => '/short/', ssl => $ssl);
        ok($ws->closed_within(5), "$name: the idle limit");

        $ws = websocket(path => '/asked/', ssl => $ssl);
        my ($first, $second) = map {
            my $payload = $ws->recv_frame(10);
            my $is_ping = defined $payload && $ws->{frame}->is_ping;
            $ws->send($payload, 'pong') if $is_ping;
            $is_ping ? $payload : 'no Ping';
        } 1, 2;
        is(length $first, 12, "$name: a Ping");
        is(substr($second, 0, 8), substr($first, 0, 8), "$name: another one");
        # Of any size up to the limit; Pings may come in between.
        my @wrong = grep { ($ws->echo(substr $stream, 0, $_) // '') ne substr $stream, 0, $_ } (1, 1000, 65_536) x 20;
        is("@wrong", '', "$name: messages where there is a limit");
        $ws->write("\x82\xff" . pack('Q>', 70_000) . "\0\0\0\0" . 'x' x 70_000);
        $ws->recv(10);
        is($ws->close_code, 1009, "$name: a message that is too large");
        ok($ws->closed_within(5), "$name: is the end");

        $ws = websocket(path => '/paced/', ssl => $ssl);
        my @messages = map { "message $_" } 1 .. 11;
        my $begin = time;
        $ws->send($_) for @messages;
        is_deeply([map { $ws->recv(10) } @messages], \@messages, "$name: messages that wait");
        my $took = time - $begin;
        ok($took > 0.3 && $took < 5, "$name: as long as they have to") or diag "$took s";
        $ws->disconnect;
    }

    # Nobody must be busy with tunnels on which nothing happens.
    my @idle = map { my $ssl = $_; map { websocket(path => $_, ssl => $ssl) } '/', '/paced/' } 0, 1;
    my ($worker) = worker_pids($t);
    my $before = cpu($worker);
    sleep 0.5;
    cmp_ok(cpu($worker) - $before, '<', 10, "$method: nothing to do, nothing done");
    $_->disconnect for @idle;

    my %drained = map { $_ => websocket(path => '/asked/drain?' . $_, ssl => $_ % 2) } 0 .. 3;
    # Two of them have a backend that sends on and on, faster than they read.
    $drained{$_}->send('pour') for 2, 3;
    sleep 0.5;
    reload($t);
    for my $number (sort keys %drained) {
        my $client = $drained{$number};
        1 while defined $client->recv(20);
        is($client->close_code, 1012, "$method: a drain, client $number");
        $client->send(pack('n', 1012), 'close');
        ok($client->closed_within(5), "$method: is the end");
    }
    ok(wait_until(sub { !kill 0, $worker }, 10), "$method: the old worker is gone");

    is_deeply([grep { !/tunnel-(?:idle|message-too-large)/ } guard_log($t, 'error')], [], "$method: nothing else to complain about");
    $t->stop();
}

# In hundredths of a second.
sub cpu {
    my ($pid) = @_;
    open my $stat, '<', "/proc/$pid/stat" or die "no process $pid\n";
    return eval { my @fields = split / /, <$stat>; $fields[13] + $fields[14] };
}
