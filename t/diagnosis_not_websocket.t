#!/usr/bin/perl

# not-websocket: the request asks for another protocol and is served as plain HTTP; level info, since clients offer h2c
# all the time. stripped-upgrade: a handshake from which something in front of this nginx has removed Upgrade.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy realip map /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(33);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

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

        location /check/ {
            websocket_guard  check;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /off/ {
            proxy_pass       http://127.0.0.1:8081;
        }

        # what is listed is no other protocol
        location /chat/ {
            websocket_guard          on;
            websocket_guard_upgrade  websocket chat;
            proxy_pass               http://127.0.0.1:8081;
        }

        location /by-hand/ {
            proxy_http_version  1.1;
            proxy_set_header    Upgrade $http_upgrade;
            proxy_set_header    Connection upgrade;
            proxy_pass          http://127.0.0.1:8081;
        }
    }

    server {
        listen       127.0.0.1:8082;
        server_name  localhost;

        set_real_ip_from  127.0.0.1;
        real_ip_header    X-Forwarded-For;

        location / {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }
    }
}
EOC

use constant LISTABLE => 'list it in websocket_guard_upgrade if the backend shall speak it';

run_backend($t, 8081);
$t->run();

# ---- not-websocket

for my $path (qw! /on/ /auto/ /check/ /off/ !) {
    is(outcome($t, path => $path, headers => ['Upgrade: h2c']), '200, ' . not_websocket('h2c'), "$path: h2c");
    is(outcome($t, path => $path, headers => ['Upgrade: websocket2, "websocket"', 'Upgrade: foo/1']),
        '200, ' . not_websocket('websocket2, \x22websocket\x22', LISTABLE), "$path: the first line is named");
    is(outcome($t, path => $path, headers => ["Upgrade: h2c\xff\t[forged]"]), '200, ' . not_websocket('h2c\xFF\x09[forged]'),
        "$path: what a client sends is escaped");
}
is(outcome($t, path => '/chat/', headers => ['Upgrade: chat']), '200', 'listed');
is(outcome($t, path => '/chat/', headers => ['Upgrade: h2c']), '200, ' . not_websocket('h2c'), 'not listed');
is(outcome($t, path => $_, headers => ['Upgrade: h2c, websocket']), '101', "$_: one of them") for '/on/', '/auto/', '/by-hand/';

is(outcome($t, path => '/by-hand/', headers => ['Upgrade: h2c']),
    '200, [info] Upgrade "h2c" does not name websocket, passed on by a proxy_set_header of its location; '
        . 'add "websocket_guard on;" to it, which passes on what websocket_guard_upgrade lists [not-websocket]', 'passed on');
is_deeply([run_time_log($t, 'notice')], [], 'nothing above info');

# ---- stripped-upgrade

for my $path (qw! /on/ /auto/ /check/ /off/ /by-hand/ !) {
    is(outcome($t, path => $path, without => ['Upgrade']), '200, ' . stripped('peer 127.0.0.1'), "$path: without Upgrade");
    is(outcome($t, path => $path, without => ['Upgrade', 'Connection'], headers => ['Via: 1.1 "edge"']),
        '200, ' . stripped('peer 127.0.0.1, Via "1.1 \x22edge\x22"'), "$path: with Via");
}

# Not the client, but what stands between it and this nginx, has removed the header.
is(outcome($t, port => 8082, without => ['Upgrade'], headers => ['X-Forwarded-For: 192.0.2.7']), '200, ' . stripped('peer 127.0.0.1'),
    'behind realip');

for my $path (qw! /on/ /off/ !) {
    my @plain = (path => $path, without => ['Upgrade', 'Sec-WebSocket-Key']);
    is(outcome($t, @plain, headers => ['Connection: close']), '200', "$path: without a key it is no handshake");
}
is(outcome($t, path => '/on/missing/status?404', without => ['Upgrade']), '404, ' . stripped('peer 127.0.0.1'),
    'whatever the answer was');

sub not_websocket {
    my ($upgrade, $fix) = @_;
    return "[info] Upgrade \"$upgrade\" does not name websocket, served as plain HTTP; "
        . ($fix // 'nothing is to be done, clients that offer it go on without it') . ' [not-websocket]';
}

sub stripped {
    my ($signs) = @_;
    return '[error] upgrade failed: the request has Sec-WebSocket-Key but no Upgrade header, which was removed in front of '
        . "this nginx ($signs); let the CDN, load balancer or nginx in front pass WebSocket on (an outer nginx: "
        . '"websocket_guard on;") [stripped-upgrade]';
}
