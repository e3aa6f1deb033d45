#!/usr/bin/perl

# With Pings of the guard's to both sides, as many as there can be, each side gets what the other one sent, byte by byte:
# frames of all kinds and lengths, compressed ones, Pings and Pongs of the application, at all splits, with slow
# readers, plain and TLS, up to the end of the connection.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy http_ssl socket_ssl /);

my @SCENARIOS = (
    'one byte at a time', 'pieces of all sizes', 'what the guard reads at once, and a byte more',
    'a client that reads slowly', 'a backend that reads slowly', 'only one speaks',
);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(4 * @SCENARIOS + 4);

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

        websocket_guard         on;
        websocket_guard_tunnel  pump;
        websocket_guard_ping    1ms both;
        websocket_guard_frames  strict;
        websocket_guard_close   off;

        location /plain/ {
            proxy_pass  http://127.0.0.1:8081;
        }

        location /tls/ {
            proxy_pass  https://127.0.0.1:8082;
        }
    }
}
EOC

make_certificate($t);
$t->run();

my $seed = $ENV{WEBSOCKET_GUARD_SEED} // int rand 2**31;
note("WEBSOCKET_GUARD_SEED=$seed");

my ($pings, $within, $failed) = (0, 0, 0);
run_tunnels('exact.py', {
    client      => [map { port($_) } 8080, 8443],
    backend     => [map { port($_) } 8081, 8082],
    certificate => $t->testdir . '/localhost',
    scenarios   => \@SCENARIOS,
    seed        => $seed,
}, sub {
    my ($tunnel) = @_;
    my @faults = map { defined $tunnel->{$_} ? "what the $_ got: $tunnel->{$_}" : () } qw/ client backend /;
    my ($client, $client_within, $backend, $backend_within) = @{ $tunnel->{pings} };
    ok(!@faults, $tunnel->{name})
        or diag("WEBSOCKET_GUARD_SEED=$seed: $client and $backend Pings; ", join '; ', @faults);
    $pings += $client + $backend;
    $within += $client_within + $backend_within;
});
cmp_ok($pings, '>', 4 * @SCENARIOS * 2, 'Pings, though the machine may be slow');
cmp_ok($within, '>', 4 * @SCENARIOS, 'Pings within what was sent');
unlike($t->read_file('error.log'), qr/\[tunnel-frame-error\]/, 'no frame was found to be wrong');
like($t->read_file('error.log'), qr/\[tunnel-client-gone\]/, 'and the tunnels ended as they did');
