#!/usr/bin/perl

# A worker that is stopped at once (SIGTERM) tells both sides of its tunnels, and the log.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy http_ssl socket_ssl /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(7);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen       127.0.0.1:8080;
        listen       127.0.0.1:8443 ssl;
        server_name  localhost;

        ssl_certificate      localhost.crt;
        ssl_certificate_key  localhost.key;

        location / {
            websocket_guard         on;
            websocket_guard_tunnel  pump;
            proxy_pass              http://127.0.0.1:8081;
        }

        location /off/ {
            websocket_guard         on;
            websocket_guard_tunnel  pump;
            websocket_guard_close   off;
            proxy_pass              http://127.0.0.1:8081;
        }
    }
}
EOC

make_certificate($t, 'localhost');
run_backend($t, 8081, handlers => {
    note => sub {
        my ($c) = @_;
        $c->upgrade;
        my ($mask, $code) = map { unpack 'a4a2', $_ } map { substr $_, 2 } $c->read(8, 20) // '';
        $t->write_file('noted', unpack 'n', $code ^ substr $mask, 0, 2);
        $c->closed_within(10);
    },
});
$t->run();

my %tunnels = (plain => websocket(path => '/stall'), TLS => websocket(path => '/stall', ssl => 1), off => websocket(path => '/off/'), note => websocket(path => '/note'));
is($tunnels{off}->echo('hello'), 'hello', 'a tunnel');
# Something that the worker has not read.
$tunnels{$_}->write("\x82\xfe\x10\x00mask" . 'x' x 2000) for qw/ plain TLS /;

my ($worker) = worker_pids($t);
kill 'TERM', $worker;
for my $name (sort keys %tunnels) {
    my $ws = $tunnels{$name};
    $ws->recv(10);
    is($ws->close_code // 'none', $name eq 'off' ? 'none' : 1012, "$name, the code");
}
ok(wait_until(sub { -s $t->testdir . '/noted' }), 'the backend');
is($t->read_file('noted'), 1012, 'has it too');
