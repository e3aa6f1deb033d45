#!/usr/bin/perl

# Slow plain requests of a guarded location: in "auto" they have the location's own or inherited
# proxy_read_timeout while a tunnel of the location lives on; "on" gives them time too.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy rewrite /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(11);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    proxy_read_timeout  1s;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /auto/ {
            websocket_guard  auto;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /auto/longer/ {
            websocket_guard     auto;
            proxy_pass          http://127.0.0.1:8081;
            proxy_read_timeout  30s;
        }

        location /on/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /on/variable/ {
            websocket_guard  on;
            set              $backend 127.0.0.1:8081;
            proxy_pass       http://$backend;
        }

        location /on/own/ {
            websocket_guard     on;
            proxy_pass          http://127.0.0.1:8081;
            proxy_read_timeout  1s;
        }

        location /on/limited/ {
            websocket_guard          on;
            websocket_guard_timeout  1s;
            proxy_pass               http://127.0.0.1:8081;
        }
    }
}
EOC

run_backend($t, 8081);
$t->run();

my %status = (
    '/auto/'        => 504,
    '/auto/longer/' => 200,
    '/on/'          => 200,
    '/on/variable/' => 200,
    '/on/own/'      => 504,
    '/on/limited/'  => 504,
);
my @lives = grep { $_ ne '/on/own/' && $_ ne '/on/limited/' } sort keys %status;

my %tunnel = map { $_ => websocket(path => "${_}ws") } @lives;
my %plain = map { $_ => connection() } keys %status;
$plain{$_}->write("GET ${_}slow?2 HTTP/1.1\r\nHost: localhost\r\n\r\n") for keys %plain;

is($plain{$_}->read_response->status, $status{$_}, "$_, slow request") for sort keys %status;
is($tunnel{$_}->echo('still there'), 'still there', "$_, idle tunnel") for @lives;

is_deeply([guard_log($t, 'error')], [], 'nothing to complain about');
