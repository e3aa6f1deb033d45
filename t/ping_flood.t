#!/usr/bin/perl

# A client that sends nothing but the answer to a Ping (websocket_guard_ping), again and again, in reads as large as they may
# be: all of that is cut out, and costs no more than bytes that pass.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;
use Time::HiRes qw/ time /;

my $t = Test::Nginx->new()->has(qw/ http proxy /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(6);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    websocket_guard_buffer_size  4m;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location / {
            websocket_guard         on;
            websocket_guard_tunnel  pump;
            websocket_guard_ping    200ms;
            proxy_pass              http://127.0.0.1:8081;
        }
    }
}
EOC

run_backend($t, 8081);
$t->run();

my $ws = websocket();
my $ping = $ws->recv_frame(10);
ok($ws->{frame}->is_ping, 'a Ping');
my $pong  = "\x8a\x8c\0\0\0\0$ping";
my $hello = "\x81\x85\0\0\0\0hello";

# Where Pongs stand between other frames, those stay as they are.
my $some = join '', map { ($pong x ($_ % 3), $hello) } 1 .. 1000;
ok($ws->write($some), 'messages and Pongs');
my $right = 0;
while (defined(my $payload = $ws->recv(10))) {
    $right++ if $payload eq 'hello';
    last if $right == 1000;
}
is($right, 1000, 'all messages, and no Pong among them');

my ($worker) = worker_pids($t);
my $before = cpu($worker);
# In one piece: what waits in the socket is one read.
ok($ws->write($pong x 800_000), 'only Pongs');
is($ws->echo('hello', 60), 'hello', 'the tunnel goes on');
# Each of them moved all that was behind it once: that took many seconds.
cmp_ok(cpu($worker) - $before, '<', 100, 'it costs next to nothing');

# In hundredths of a second.
sub cpu {
    my ($pid) = @_;
    open my $stat, '<', "/proc/$pid/stat" or die "no process $pid\n";
    return eval { my @fields = split / /, <$stat>; $fields[13] + $fields[14] };
}
