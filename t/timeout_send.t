#!/usr/bin/perl

# A backend that stops reading: an inherited proxy_send_timeout of one second does not end the
# tunnel, one in the location itself does, and so does websocket_guard_timeout.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(6);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    proxy_send_timeout  1s;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /on/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /auto/ {
            websocket_guard  auto;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /on/own/ {
            websocket_guard     on;
            proxy_pass          http://127.0.0.1:8081;
            proxy_send_timeout  1s;
        }

        location /auto/own/ {
            websocket_guard     auto;
            proxy_pass          http://127.0.0.1:8081;
            proxy_send_timeout  1s;
        }

        location /on/own-and-guard/ {
            websocket_guard          on;
            websocket_guard_timeout  30s;
            proxy_pass               http://127.0.0.1:8081;
            proxy_send_timeout       1s;
        }

        location /on/guard/ {
            websocket_guard          on;
            websocket_guard_timeout  1s;
            proxy_pass               http://127.0.0.1:8081;
        }
    }
}
EOC

run_backend($t, 8081);
$t->run();

my @lives = qw{ /on/ /auto/ };
my @cut   = qw{ /on/own/ /auto/own/ /on/own-and-guard/ /on/guard/ };

# More than the buffers on the way take.
my $flood = 'x' x (64 << 20);

my %tunnel = map { $_ => websocket(path => "${_}stall") } @lives, @cut;
$tunnel{$_}->write($flood, 0.5) and die 'not enough' for @lives, @cut;

ok($tunnel{$_}->closed_within(5), "$_, cut") for @cut;
ok(!$tunnel{$_}->closed_within(0.1), "$_, lives") for @lives;

# The others would keep nginx from stopping.
$t->stop_daemons();
