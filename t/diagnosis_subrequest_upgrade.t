#!/usr/bin/perl

# subrequest-upgrade: a hand-made recipe passes the handshake on in a subrequest as well, and a backend answers that with
# 101, which belongs to the main request only.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy auth_request mirror rewrite /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(6);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    proxy_http_version  1.1;
    proxy_set_header    Upgrade $http_upgrade;
    proxy_set_header    Connection upgrade;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /off/ {
            auth_request     /check;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /on/ {
            websocket_guard  on;
            auth_request     /check;
            proxy_pass       http://127.0.0.1:8081;
        }

        # the tunnel lives until the backend has answered the copy
        location /mirrored/ {
            mirror           /copy/slow;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /copy/ {
            internal;
            proxy_pass       http://127.0.0.1:8081;
        }

        location = /check {
            internal;
            proxy_pass       http://127.0.0.1:8081;
        }

        # the guard's values are empty in subrequests
        location /guarded/ {
            websocket_guard  on;
            auth_request     /guarded-check;
            proxy_pass       http://127.0.0.1:8081;
        }

        location = /guarded-check {
            internal;
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }
    }
}
EOC

run_backend($t, 8081);
$t->run();

my $line = '[error] upgrade failed: a subrequest to "%s" got a 101, which belongs to the main request only; set Upgrade and Connection '
    . 'to "" in the location that serves the subrequest, or use websocket_guard there [subrequest-upgrade]';

is(outcome($t, path => '/off/', timeout => 3), "0, " . sprintf($line, "/check"), 'not guarded');
is(outcome($t, path => '/on/', timeout => 3), "0, " . sprintf($line, "/check"), 'guarded, but not the check');
my $ended;
my $mirrored = sub {
    my $ws = websocket(path => '/mirrored/?0.5');
    $ended = ($ws->echo('hello') // '') eq 'hello' && $ws->closed_within(10);
    return $ws;
};
is(outcome($t, $mirrored), '101, ' . sprintf($line, '/copy/slow'), 'mirror');
ok($ended, 'mirror: the tunnel was ended');

is(outcome($t, path => '/guarded/'), '101', 'guarded, both');
is(raw_request("GET /off/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")->status, 200, 'plain request');
