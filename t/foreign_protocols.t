#!/usr/bin/perl

# Only WebSocket is forwarded: a request that asks for another protocol, such as h2c, is proxied as the
# plain request that it also is, whatever the location says about Upgrade.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy map rewrite /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(86);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    map $http_upgrade $connection_upgrade {
        default  upgrade;
        ''       close;
    }

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

        location /explicit/ {
            websocket_guard     auto;
            proxy_pass          http://127.0.0.1:8081;
            proxy_http_version  1.1;
            proxy_set_header    Upgrade $http_upgrade;
            proxy_set_header    Connection $connection_upgrade;
        }

        location /if/ {
            websocket_guard     on;
            proxy_set_header    Upgrade $http_upgrade;
            proxy_pass          http://127.0.0.1:8082;

            if ($uri) {
                proxy_pass      http://127.0.0.1:8081;
            }
        }

        location /named/ {
            try_files  $uri @named;
        }

        location @named {
            websocket_guard     on;
            proxy_set_header    Upgrade $http_upgrade;
            proxy_pass          http://127.0.0.1:8081;
        }
    }
}
EOC

run_backend($t, 8081);
$t->run();

my @h2c = ('Upgrade: h2c', 'Connection: Upgrade, HTTP2-Settings', 'HTTP2-Settings: AAMAAABkAAQAAP__');

for my $path (qw{ /on/ /auto/ /explicit/ /if/ /named/ }) {
    my $response = raw_request(join "\r\n", "GET ${path}page HTTP/1.1", 'Host: localhost', @h2c, '', '');
    is($response->status, 200, "$path, h2c");
    like($response->body, qr/^uri: ${path}page$/m, "$path, answered by the backend");
    not_upgraded($path);

    my $body = 'body';
    $response = raw_request(join "\r\n", "POST ${path}page HTTP/1.1", 'Host: localhost', 'Content-Length: 4',
        @h2c, '', $body);
    like($response->body, qr/^body-length: 4$/m, "$path, h2c with a body");
    not_upgraded($path);

    for my $others (['websocket2'], ['foo, "websocket"'], ['WebSocket/13'], ['h2c', 'foo'], ['', '']) {
        websocket(path => "${path}ws", headers => [map {"Upgrade: $_"} @$others]);
        not_upgraded(join ' and ', "$path, Upgrade", map {"\"$_\""} @$others);
    }

    # Even a backend that switches without being asked gets no tunnel.
    my $forced = websocket(path => "${path}101", headers => \@h2c, timeout => 1);
    is($forced->echo('through', 0.5), undef, "$path, no tunnel");

    # Of several protocols only this one goes on.
    for my $offer (['Upgrade: h2c, websocket'], ['Upgrade: h2c', 'Upgrade: websocket'], ['Upgrade: websocket,foo/1']) {
        my $ws = websocket(path => "${path}ws", headers => $offer);
        is($ws->echo('hello'), 'hello', "$path, @$offer");
        is_deeply([(requests_seen($t))[-1]->header('Upgrade')], ['websocket'], "$path, only websocket");
    }
}

is(join(' ', guard_findings($t, 'error', count => 5)), 'unsolicited-101 unsolicited-101 unsolicited-101 unsolicited-101 unsolicited-101', 'nothing but what failed');

sub not_upgraded {
    my ($name) = @_;
    my $seen = (requests_seen($t))[-1];
    ok(!defined $seen->header('Upgrade') && !$seen->has_token(Connection => 'upgrade'), "$name, no upgrade");
}
