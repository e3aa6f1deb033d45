#!/usr/bin/perl

# Two nginx in a chain, both guarded.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy http_ssl socket_ssl /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(16);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    ssl_certificate      localhost.crt;
    ssl_certificate_key  localhost.key;

    # outer
    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /on/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8082;
        }

        location /auto/ {
            websocket_guard  auto;
            proxy_pass       https://127.0.0.1:8443;
        }
    }

    # inner
    server {
        listen       127.0.0.1:8082;
        listen       127.0.0.1:8443 ssl;
        server_name  localhost;

        websocket_guard  on;

        location / {
            proxy_pass  http://127.0.0.1:8081;
        }
    }
}
EOC

make_certificate($t);
run_backend($t, 8081);
$t->run();

for my $path (qw! /on/ /auto/ !) {
    my $ws = websocket(path => $path, pipeline_message => 'early');
    is($ws->recv, 'early', "$path: a first frame");
    is($ws->echo_bytes(1 << 20), 1 << 20, "$path: 1 MiB");
    ok($ws->close, "$path: orderly end");

    is(websocket(path => "${path}greet?hi")->recv, 'hi', "$path: a message with the 101");
    is(websocket(path => "${path}status?403")->status, 403, "$path: refused by the backend");
    is(raw_request("GET ${path}h2c HTTP/1.1\r\nHost: localhost\r\nConnection: close, Upgrade\r\nUpgrade: h2c\r\n\r\n")->status,
        200, "$path: h2c is a plain request");
}

my @upgrades = grep { $_->header('Upgrade') } requests_seen($t, 8081);
is(scalar(@upgrades), 6, 'the upgrades arrive');
is(scalar(grep { "@{[$_->header('Upgrade')]}" eq 'websocket' } @upgrades), 6, 'with one Upgrade');
is(scalar(grep { "@{[$_->header('Connection')]}" eq 'upgrade' } @upgrades), 6, 'and one Connection');
is(join(' ', guard_findings($t, 'error', count => 4)), 'backend-auth backend-auth backend-auth backend-auth', 'nothing but what failed');
