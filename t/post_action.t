#!/usr/bin/perl

# post_action runs the request once more when it is done. What is said of the handshake is about what came
# before: the location, the backend, the answer that the client got.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy rewrite /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(15);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    log_format  guard  '$request_uri $websocket_guard';
    access_log  %%TESTDIR%%/guard.log guard;
    access_log  %%TESTDIR%%/access.log;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;
        post_action  @done;

        location /off/ {
            proxy_http_version  1.1;
            proxy_set_header    Upgrade $http_upgrade;
            proxy_set_header    Connection "upgrade";
            proxy_pass          http://127.0.0.1:8081/;
        }

        location /plain/ {
            proxy_pass  http://127.0.0.1:8081/;
        }

        location /on/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081/;
        }

        location /dead/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8089;
        }

        location /files/ {
            post_action  /on/status?500;
        }

        location /switch/ {
            websocket_guard  on;
            post_action      /on/101;
            proxy_pass       http://127.0.0.1:8081/;
        }

        location @done {
            proxy_pass  http://127.0.0.1:8082;
        }
    }
}
EOC

run_backend($t, 8081);
run_backend($t, 8082);
$t->run();

wait_until(sub { worker_pids($t) > 0 });
my @workers = worker_pids($t);
my $peer = 'backend 127.0.0.1:' . port(8081);
my $dead = 'backend 127.0.0.1:' . port(8089);
my $auth = "[error] upgrade failed: $peer refused access with 401 and said \"status\"; see the backend's log, and that cookies or tokens reach it "
    . '[backend-auth]';

is(outcome($t, path => '/off/'), '101', 'by hand: a tunnel');
is(outcome($t, path => '/on/'), '101', 'on: a tunnel');
is(outcome($t, path => '/switch/'), '101', 'a tunnel, and then a 101 that nobody gets');
is(outcome($t, path => '/on/status?401'), "401, $auth", 'on: what the backend answered');
is(outcome($t, path => '/dead/'), "502, [error] upgrade failed: no connection to $dead (111: Connection refused); start the backend, or correct the address in "
    . 'proxy_pass [backend-unreachable]', 'on: no backend');
like(outcome($t, path => '/plain/status?400'), qr/^400, \[error\] upgrade failed: location "\/plain\/" .* without its Upgrade header; .*
    \[upgrade-not-forwarded\]$ | ^400, .* \Q[wrong-location]\E$/x, 'no recipe: its own location');
unlike(join("\n", run_time_log($t)), qr/\@done/, 'and not that of the post_action');
like(outcome($t, path => '/files/none'), qr/^404, \[error\] upgrade failed: .*\[(?:not-proxied|wrong-location)\]$/, 'files');
like(outcome($t, path => '/on/', headers => ['Sec-WebSocket-Version: 8']), qr/^426, .*\[handshake-version\]$/, 'refused by the gate');

my %outcome = map { /^(\S+) (\S*)$/ ? ($1 => $2) : () } split /\n/, $t->read_file('guard.log');
is($outcome{'/off/'}, 'upgraded', 'the variable, by hand');
is($outcome{'/on/status?401'}, 'backend-auth', 'the variable, refused by the backend');
is($outcome{'/dead/'}, 'backend-unreachable', 'the variable, no backend');
is(scalar(requests_seen($t, 8082, count => 5)) >= 5, 1, 'the post_action has run');
is_deeply([worker_pids($t)], \@workers, 'no worker was lost');
is(websocket(path => '/on/')->echo('hello'), 'hello', 'and all is well');
