#!/usr/bin/perl

# The limits of tunnels that are too long to wait for, seen in the timers of nginx's debug log: one
# hour, a longer one that is inherited, or what is set.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy debug /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(22);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen       127.0.0.1:8080;
        server_name  default;

        location /on/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /auto/ {
            websocket_guard  auto;
            proxy_pass       http://127.0.0.1:8081;
        }
    }

    server {
        listen       127.0.0.1:8080;
        server_name  longer;

        proxy_read_timeout  2h;

        location /on/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /auto/ {
            websocket_guard  auto;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /set/ {
            websocket_guard          auto;
            websocket_guard_timeout  3h;
            proxy_pass               http://127.0.0.1:8081;
        }
    }

    server {
        listen       127.0.0.1:8080;
        server_name  shorter;

        proxy_read_timeout  50m;

        location /on/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /auto/ {
            websocket_guard  auto;
            proxy_pass       http://127.0.0.1:8081;
        }
    }

    server {
        listen       127.0.0.1:8080;
        server_name  set;

        proxy_read_timeout       2h;
        websocket_guard_timeout  40m;

        location /on/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /auto/ {
            websocket_guard  auto;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /auto/own/ {
            websocket_guard     auto;
            proxy_pass          http://127.0.0.1:8081;
            proxy_read_timeout  30m;
        }

        location /on/off/ {
            websocket_guard  off;
            proxy_pass       http://127.0.0.1:8081;
        }
    }
}
EOC

run_backend($t, 8081);
$t->run();

my $minute = 60 * 1000;
my $hour   = 60 * $minute;

for my $case (
    # server, location, of a plain request, of a tunnel
    ['default', '/on/',       $hour,        $hour],
    ['default', '/auto/',     $minute,      $hour],
    ['longer',  '/on/',       2 * $hour,    2 * $hour],
    ['longer',  '/auto/',     2 * $hour,    2 * $hour],
    ['longer',  '/set/',      2 * $hour,    3 * $hour],
    ['shorter', '/on/',       $hour,        $hour],
    ['shorter', '/auto/',     50 * $minute, $hour],
    ['set',     '/on/',       40 * $minute, 40 * $minute],
    ['set',     '/auto/',     2 * $hour,    40 * $minute],
    ['set',     '/auto/own/', 30 * $minute, 30 * $minute],
) {
    my ($server, $path, $plain, $tunnel) = @$case;

    my $since = log_size($t);
    raw_request("GET ${path}page HTTP/1.1\r\nHost: $server\r\n\r\n");
    is(timer($since), $plain, "$server, $path, plain request");

    $since = log_size($t);
    my $ws = websocket(path => "${path}ws", authority => $server);
    $ws->echo('hello');
    is(timer($since), $tunnel, "$server, $path, tunnel");
}

my $since = log_size($t);
raw_request("GET /on/off/page HTTP/1.1\r\nHost: set\r\n\r\n");
is(timer($since), 2 * $hour, 'set, /on/off/, plain request');

is_deeply([guard_log($t, 'error')], [], 'nothing to complain about');

# The timer that was last set on the connection to the backend, in milliseconds.
sub timer {
    my ($since) = @_;
    my $log = substr $t->read_file('error.log'), $since;
    my ($fd) = $log =~ /\[debug\].* connect to 127\.0\.0\.1:\d+, fd:(\d+)/ or die 'no connection to a backend';
    my @timers = $log =~ /event timer add: $fd: (\d+):/g;
    return $timers[-1];
}
