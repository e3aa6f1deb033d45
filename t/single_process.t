#!/usr/bin/perl

# nginx without a master process, for debugging: it starts and stops with tunnels open, and what the guard
# has to write when it stops is written.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(17);

%%TEST_GLOBALS%%

daemon off;
master_process off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location / {
            websocket_guard         on;
            websocket_guard_tunnel  pump;
            proxy_pass              http://127.0.0.1:8081;
        }
    }
}
EOC

run_backend($t, 8081);
$t->run();

my $tunnel = websocket(path => '/ws');
is($tunnel->echo('hello'), 'hello', 'tunnel');
is(websocket(path => '/ws', without => ['Sec-WebSocket-Key'])->status, 400, 'refused') for 1 .. 12;
ok(!grep({/more in the last/} guard_log($t)), 'not yet summed up');

my $line = conf_line($t, qr!location / !);
$t->stop();
$tunnel->recv(5);
is($tunnel->close_code, 1012, 'the tunnel is told');
ok($tunnel->closed_within(5), 'and ends with nginx');
is(join("\n", grep {/more in the last/} guard_log($t)), sprintf('[error] websocket_guard: 2 more in the last 10s: location "/" (%s:%d) '
    . '[handshake-key]', $t->testdir . '/nginx.conf', $line), 'what was not written is summed up');
