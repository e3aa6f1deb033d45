#!/usr/bin/perl

# websocket_guard_timeout is the idle limit of tunnels at whatever level it is set; what is set in the
# location itself comes first.

use strict;
use warnings;

use List::Util qw/ max /;
use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;
use Time::HiRes qw/ time /;

my $t = Test::Nginx->new()->has(qw/ http proxy /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(22);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    proxy_read_timeout       30s;
    websocket_guard_timeout  1s;

    server {
        listen       127.0.0.1:8080;
        server_name  http;

        location /on/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /auto/ {
            websocket_guard  auto;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /guard/ {
            websocket_guard          on;
            websocket_guard_timeout  30s;
            proxy_pass               http://127.0.0.1:8081;
        }

        location /proxy/ {
            websocket_guard     auto;
            proxy_read_timeout  30s;
            proxy_pass          http://127.0.0.1:8081;
        }

        location /proxy-on/ {
            websocket_guard     on;
            proxy_read_timeout  30s;
            proxy_pass          http://127.0.0.1:8081;
        }
    }

    server {
        listen       127.0.0.1:8080;
        server_name  server;

        websocket_guard_timeout  30s;

        location / {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /guard/ {
            websocket_guard          on;
            websocket_guard_timeout  1s;
            proxy_pass               http://127.0.0.1:8081;

            location /guard/nested/ {
                proxy_pass           http://127.0.0.1:8081;
            }
        }

        location /auto/ {
            websocket_guard          auto;
            websocket_guard_timeout  1000ms;
            proxy_pass               http://127.0.0.1:8081;
        }
    }

    server {
        listen       127.0.0.1:8080;
        server_name  both;

        # For tunnels, and for plain requests.

        location /short/ {
            websocket_guard          on;
            websocket_guard_timeout  1s;
            proxy_read_timeout       30s;
            proxy_pass               http://127.0.0.1:8081;
        }

        location /long/ {
            websocket_guard          auto;
            websocket_guard_timeout  30s;
            proxy_read_timeout       1s;
            proxy_pass               http://127.0.0.1:8081;
        }

        location /long-on/ {
            websocket_guard          on;
            websocket_guard_timeout  30s;
            proxy_read_timeout       1s;
            proxy_pass               http://127.0.0.1:8081;
        }
    }
}
EOC

run_backend($t, 8081);
$t->run();

my @cut = (
    'http/on/', 'http/auto/',
    'server/guard/', 'server/guard/nested/', 'server/auto/',
    'both/short/',
);
my @kept = (
    'http/guard/', 'http/proxy/', 'http/proxy-on/',
    'server/',
    'both/long/', 'both/long-on/',
);

# Plain requests, meanwhile.

my %status = (
    'http/on/'      => 504,
    'http/auto/'    => 200,
    'http/guard/'   => 200,
    'both/short/'   => 200,
    'both/long/'    => 504,
    'both/long-on/' => 504,
);

my (%tunnel, %plain);
for my $name (@cut, @kept) {
    my ($host, $path) = split m!(?=/)!, $name, 2;
    $tunnel{$name} = websocket(path => "${path}ws", authority => $host);
    next unless $status{$name};
    $plain{$name} = connection();
    $plain{$name}->write("GET ${path}slow?2 HTTP/1.1\r\nHost: $host\r\n\r\n");
}

ok($tunnel{$_}->is_open && $tunnel{$_}->closed_within(5), "$_, idle tunnel is cut") for @cut;
is($plain{$_}->read_response->status, $status{$_}, "$_, slow request") for sort keys %status;
is($tunnel{$_}->echo('still there'), 'still there', "$_, idle tunnel lives") for @kept;

# Only of idle tunnels.

# On a busy machine the test itself may be silent for too long; that tells nothing.
my (%busy, $longest);
for (1 .. 10) {
    my $last = time;
    %busy = map { $_ => websocket(path => $_, authority => 'server') } '/guard/ws', '/guard/stall', '/guard/push?6,0.4';
    $longest = 0;
    for (1 .. 6) {
        $busy{'/guard/ws'}->open_for(0.4);
        $busy{'/guard/ws'}->echo('hello');
        $busy{'/guard/stall'}->send('hello');
        my $now = time;
        ($longest, $last) = (max($longest, $now - $last), $now);
    }
    last if $longest < 0.7;
}
ok(!$busy{'/guard/ws'}->closed_within(0), 'traffic in both directions');
ok(!$busy{'/guard/stall'}->closed_within(0), 'from the client only');
is_deeply([map { $busy{'/guard/push?6,0.4'}->recv(2) } 1 .. 6], [map {"push $_"} 1 .. 6], 'from the backend only');
ok($busy{'/guard/stall'}->closed_within(3), 'and cut when that ends');
