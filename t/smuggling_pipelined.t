#!/usr/bin/perl

# Bytes in the same packet as a handshake that is refused are the next request, or nobody's: they are answered
# by nginx's rules, on a connection that goes on, or not read on one that is closed. They are no frames either.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(42);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    lingering_timeout       300ms;
    websocket_guard_origin  https://a.example;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /strict/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /lenient/ {
            websocket_guard  on;
            websocket_guard_handshake lenient;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /auto/ {
            websocket_guard  auto;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /strict-own/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
        }

        location /lenient-own/ {
            websocket_guard  on;
            websocket_guard_handshake lenient;
            proxy_pass       http://127.0.0.1:8081;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
        }

        location /auto-own/ {
            websocket_guard  auto;
            proxy_pass       http://127.0.0.1:8081;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
        }

        location /internal/ {
            return  403;
        }

        location /page {
            proxy_pass  http://127.0.0.1:8081;
        }
    }
}
EOC

run_backend($t, 8081);
$t->run();

my $get = sub { "GET $_[0] HTTP/1.1\r\nHost: localhost\r\n\r\n" };

for my $location (map { ("/$_/", "/$_-own/") } qw/ strict lenient auto /) {
    for my $case (
        # What refuses it, and whether the connection goes on.
        ['origin-denied', 1, headers => ['Origin: https://evil.example']],
        $location =~ /strict/ ? (
            ['handshake-version', 1, headers => ['Sec-WebSocket-Version: 8'], origin => 'https://a.example'],
            ['handshake-key', 0, without => ['Sec-WebSocket-Key'], origin => 'https://a.example'],
        ) : (),
    ) {
        my ($finding, $goes_on, %request) = @$case;
        my $since = log_size($t);
        my $client = connection();
        $client->handshake(path => "${location}ws", %request,
            pipeline => $get->('/internal/') . $get->('/page'));

        my @then = map { $client->read_response(timeout => 2)->status } 1 .. 2;
        is_deeply(\@then, $goes_on ? [403, 200] : [0, 0], "$location $finding, then HTTP");
        ok(!$goes_on == $client->closed_within(0.2), "$location $finding, the connection");
        $client->disconnect;

        # Frames are no request.
        $client = websocket(path => "${location}ws", %request, pipeline_message => $get->('/page'));
        is($client->read_response(timeout => 2)->status, $goes_on ? 400 : 0, "$location $finding, then frames");
        wait_until(sub { guard_log($t, 'error', since => $since) == 2 }, 5);
        is(join(' ', map {/ \[([\w-]+)\], client/} guard_log($t, 'error', since => $since)), "$finding $finding", "$location $finding, one line each");
    }
}

is(scalar(grep { defined $_->header('Upgrade') } requests_seen($t)), 0, 'no upgrade arrived');
is(join(' ', map { $_->uri } requests_seen($t)), join(' ', ('/page') x 8), 'only what may pass');
