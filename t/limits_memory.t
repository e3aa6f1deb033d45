#!/usr/bin/perl

# Tunnels that end at a limit leave nothing in their worker's memory, whatever was on its way or waited.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;
use Test::WebSocketGuard::Heap;

my $t = Test::Nginx->new()->has(qw/ http proxy http_ssl socket_ssl /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(7);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    log_format  ends '$request_uri $websocket_guard_end';
    access_log  %%TESTDIR%%/ends.log ends;

    server {
        listen       127.0.0.1:8080;
        listen       127.0.0.1:8443 ssl;
        server_name  localhost;

        ssl_certificate      localhost.crt;
        ssl_certificate_key  localhost.key;

        websocket_guard         on;
        websocket_guard_ignore  tunnel-message-too-large tunnel-message-rate tunnel-client-reset;

        location /size/ {
            websocket_guard_tunnel       pump;
            websocket_guard_max_message  1m;
            proxy_pass                   http://127.0.0.1:8081;
        }

        location /close/ {
            websocket_guard_tunnel        pump;
            websocket_guard_message_rate  1r/m close;
            proxy_pass                    http://127.0.0.1:8081;
        }

        location /delay/ {
            websocket_guard_tunnel        pump;
            websocket_guard_message_rate  1r/m;
            proxy_pass                    http://127.0.0.1:8081;
        }
    }
}
EOC

make_certificate($t, 'localhost');
run_backend($t, 8081, handlers => {
    # Large messages without end.
    pour => sub { my ($c) = @_; $c->upgrade; 1 while $c->write($c->frame(binary => 'x' x 300_000), 3) },
});
run_with_heap_meter($t);
my $worker;
wait_until(sub { ($worker) = worker_pids($t) });

# What is refused, or waits, comes with more behind it, and the client reads or does not.
my $more = join '', map { Test::WebSocketGuard::Client->_frame(text => 'x' x 100) } 1 .. 300;
my $large = pack('CCQ>', 0x82, 0xff, 2 << 20) . 'mask' . 'x' x 50_000;

my %ends;
my $rounds = sub {
    for (1 .. 2) {
        for my $case (['/size/', $large], ['/close/', $more], ['/delay/', $more]) {
            my ($path, $bytes) = @$case;
            for my $ssl (0, 1) {
                my @tunnels = map { websocket(path => $path . $_, ssl => $ssl) } 'pour', 'echo';
                delete $tunnels[0]{greedy};
                $_->write($bytes) for @tunnels;
            select undef, undef, undef, 0.2;
                $tunnels[1]->reset if $path eq '/delay/';
                $_->disconnect for @tunnels;
            }
        }
    }
    wait_until(sub { %ends = (); $ends{$_}++ for $t->read_file('ends.log') =~ m!^/\w+/\w+ (\S+)$!mg; open_tunnels() == 0 }, 30);
};

$rounds->();
my $before = heap_bytes($t, $worker);
cmp_ok($before, '>', 0, 'memory is measured');
my %first = %ends;
$rounds->();
my $after = heap_bytes($t, $worker);
cmp_ok($after - $before, '<', 2048, 'nothing of it grows') or diag("$before, $after");
is($ends{$_} // 0, 2 * $first{$_}, "$_: as often as before") for 'message-too-large', 'message-rate';
cmp_ok($first{'message-too-large'}, '==', 8, 'each of them ends at its limit');
is(websocket(path => '/size/')->echo('hello'), 'hello', 'the worker goes on');
is((worker_pids($t))[0], $worker, 'it is the same');

# Connections to the backend.
sub open_tunnels {
    my $port = sprintf '%04X', port(8081);
    open my $file, '<', '/proc/net/tcp' or die "/proc/net/tcp: $!\n";
    return scalar grep {/^\s*\d+: \w+:\w+ \w+:$port 01/} <$file>;
}
