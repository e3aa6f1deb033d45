#!/usr/bin/perl

# A reload with 500 clients whose backends answer a Close, and as many whose backends do not (websocket_guard_drain):
# nobody sees 1006, they are not all told at once, nothing that a client says is lost, new connections are served all the
# time, and the old worker is gone.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy /);

my $CLIENTS = 500;

$t->write_file_expand('nginx.conf', <<'EOC')->plan(22);

%%TEST_GLOBALS%%

daemon off;

events {
    worker_connections  4096;
}

http {
    %%TEST_GLOBALS_HTTP%%

    error_log  %%TESTDIR%%/error.log notice;

    log_format  ends '$request_uri $websocket_guard_end $websocket_guard_close_code';
    access_log  %%TESTDIR%%/ends.log ends;

    server {
        listen       127.0.0.1:8080 backlog=1024;
        server_name  localhost;

        websocket_guard         on;
        websocket_guard_tunnel  pump;

        location /polite {
            websocket_guard_drain  5s;
            proxy_pass             http://127.0.0.1:8081;
        }

        location /deaf {
            websocket_guard_drain  5s wait=2s;
            proxy_pass             http://127.0.0.1:8081;
        }
    }
}
EOC

$t->run();
# Right after its start nginx may still be forking.
my $old;
wait_until(sub { ($old) = worker_pids($t) }) or die "no worker\n";

my %seen;
run_tunnels('drain.py', {
    client  => port(8080),
    backend => port(8081),
    clients => $CLIENTS,
    paths   => ['/polite', '/deaf'],
    signal  => 0 + master_pid($t),
}, sub { my ($seen) = @_; $seen{ $seen->{path} // 'new' } = $seen });

for my $path ('/polite', '/deaf') {
    my $seen = $seen{$path};
    is_deeply($seen->{codes}, { 1012 => $CLIENTS }, "$path: every client gets the code");
    is($seen->{unclean}, 0, "$path: and then the end of the connection");
    cmp_ok($seen->{most}, '<=', $CLIENTS / 4, "$path: no half second has more than a quarter of them");
    cmp_ok($seen->{last} - $seen->{first}, '>', 3, "$path: they have the whole time");
    cmp_ok($seen->{last}, '<', 5 + 5, "$path: and not much more");
    is_deeply($seen->{lost}, [], "$path: all that they said reaches the backend, in order");
    cmp_ok($seen->{messages}, '>', 3 * $CLIENTS, "$path: that was something");
    is(scalar(() = $t->read_file('ends.log') =~ m!^\Q$path\E\?\d+ drained 1012$!mg), $CLIENTS, "$path: the access log");
}
is_deeply($seen{new}{else}, [], 'new connections are served all the time');
cmp_ok($seen{new}{served}, '>', 5, 'some of them');

ok(wait_until(sub { !kill 0, $old }, 20), 'the old worker is gone');
my ($sum) = grep {/\[tunnel-drained\]/} guard_log($t, 'notice', raw => 1);
# Some of the new ones may have come to it just before.
my ($drained) = $sum =~ / $old#\d+: websocket_guard: (\d+) tunnels of this worker were drained, /;
cmp_ok($drained // 0, '>=', 2 * $CLIENTS, 'and tells the sum');
isnt((worker_pids($t))[0], $old, 'another one took over');
my (@alive) = worker_pids($t, old => 1);
is(scalar @alive, 0, 'and no other is left');
