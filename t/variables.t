#!/usr/bin/perl

# $websocket_guard_upgrade and $websocket_guard_connection in log_format, map and add_header, in guarded
# and other locations.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy map /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(26);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    log_format  guard '$uri [$websocket_guard_upgrade] [$websocket_guard_connection] $kind';
    access_log  %%TESTDIR%%/guard.log guard;

    map $websocket_guard_upgrade $kind {
        default    other;
        ''         plain;
        websocket  tunnel;
    }

    add_header  X-Upgrade "[$websocket_guard_upgrade]" always;
    add_header  X-Connection "[$websocket_guard_connection]" always;
    add_header  X-Kind $kind always;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /on/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /auto/ {
            websocket_guard   auto;
            proxy_pass        http://127.0.0.1:8081;
        }

        # the two values are of use where the guard is off, too
        location /off/ {
            proxy_http_version  1.1;
            proxy_set_header    Upgrade $websocket_guard_upgrade;
            proxy_set_header    Connection $websocket_guard_connection;
            proxy_pass          http://127.0.0.1:8081;
        }
    }
}
EOC

run_backend($t, 8081);
$t->run();

# By default nginx sends "Connection: close", since 1.29.7 no Connection at all.
my $plain = $t->has_version('1.29.7') ? '' : 'close';

for my $path (qw! /on/ /auto/ /off/ !) {
    my $ws = websocket(path => "${path}ws");
    is_deeply(values_of($ws), ['[websocket]', '[upgrade]', 'tunnel'], "$path: add_header, upgrade");
    is($ws->echo('hello'), 'hello', "$path: echo");
    $ws->close;
    is(logged("${path}ws"), '[websocket] [upgrade] tunnel', "$path: log_format, upgrade");

    my $get = raw_request("GET ${path}get HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    is_deeply(values_of($get), ['[]', "[$plain]", 'plain'], "$path: add_header, plain");
    is(logged("${path}get"), "[] [$plain] plain", "$path: log_format, plain");

    my $h2c = websocket(path => "${path}h2c", headers => ['Upgrade: h2c']);
    is_deeply(values_of($h2c), ['[]', "[$plain]", 'plain'], "$path: add_header, h2c");

    my ($seen) = grep { $_->uri =~ /h2c/ } reverse requests_seen($t, 8081);
    is(join('', $seen->header('Upgrade')), '', "$path: not passed on");
    is(join('', $seen->header('Connection')), $plain, "$path: nor in Connection");
}

is(websocket(path => '/on/case', headers => ['Upgrade: WebSocket'])->header('X-Upgrade'), '[websocket]', 'in lower case');
is_deeply([guard_log($t, 'error')], [], 'nothing to complain about');

sub values_of { return [map { $_[0]->header($_) } qw/ X-Upgrade X-Connection X-Kind /] }

# A tunnel is logged when it ends.
sub logged {
    my ($uri) = @_;
    my $line;
    wait_until(sub { ($line) = $t->read_file('guard.log') =~ /^\Q$uri\E (.*)$/m });
    return $line;
}
