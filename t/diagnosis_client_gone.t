#!/usr/bin/perl

# client-gone: the client left before the handshake was answered. Level info, since that happens.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(9);

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

        location /off/ {
            websocket_guard_log  warn;
            proxy_http_version   1.1;
            proxy_set_header     Upgrade $http_upgrade;
            proxy_set_header     Connection upgrade;
            proxy_pass           http://127.0.0.1:8081;
        }
    }
}
EOC

run_backend($t, 8081);
$t->run();

my $line = '[info] upgrade failed: the client left before the handshake was answered (499); nothing, if it happens now and then; '
    . 'else see why the backend takes so long [client-gone]';

for my $path (qw! /on/ /auto/ /off/ !) {
    is(outcome($t, sub { leave("${path}slow?2") }), "0, $line", "$path: gone before the answer");
    is(outcome($t, sub { leave("${path}slow?2", without => ['Upgrade', 'Sec-WebSocket-Key']) }), '0', "$path: a plain request");
    is(outcome($t, path => "${path}slow?0.2"), '101', "$path: a patient client");
}

sub leave {
    my ($path, %options) = @_;
    my $seen = requests_seen($t);
    my $client = connection();
    $client->write(scalar handshake_request(path => $path, %options));
    requests_seen($t, 8081, count => $seen + 1);
    return $client;
}
