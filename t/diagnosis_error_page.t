#!/usr/bin/perl

# error_page sends a request to another location. What is said is still about the one in which the handshake
# failed, once.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy rewrite access auth_request /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(17);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen           127.0.0.1:8080;
        server_name      localhost;

        # a page, a named location, another status, a page that is not there, a page from the backend
        error_page  400      /error.html;
        error_page  403      @error;
        error_page  426 =200 /error.html;
        error_page  404      /missing.html;
        error_page  502 503  /backend/error;
        error_page  500      /error.html;
        error_page  401 =302 https://sso.example.com/;

        location /ws/ {
            websocket_guard         on;
            websocket_guard_origin  none https://app.example.com;
            proxy_pass              http://127.0.0.1:8081;
        }

        location /deny/ {
            websocket_guard  on;
            deny             all;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /ask/ {
            websocket_guard  on;
            auth_request     /check;
            proxy_pass       http://127.0.0.1:8081;
        }

        location = /check {
            internal;
            proxy_pass       http://127.0.0.1:8081/status?418;
        }

        location /intercept/ {
            websocket_guard         auto;
            proxy_intercept_errors  on;
            proxy_pass              http://127.0.0.1:8081;
        }

        location /dead/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8089;
        }

        location /static/ {
            websocket_guard  on;
        }

        location /off/ {
            websocket_guard         off;
            proxy_intercept_errors  on;
            proxy_pass              http://127.0.0.1:8081;
        }

        # as many do it: the page is not one of a location of its own
        location = /error.html {
            internal;
        }

        location @error {
            return  403 "no\n";
        }

        location = /backend/error {
            internal;
            proxy_pass  http://127.0.0.1:8081/;
        }
    }
}
EOC

$t->write_file('error.html', 'error');
run_backend($t, 8081);
$t->run();

my $sample = 'dGhlIHNhbXBsZSBub25jZQ==';
my $key = "[error] upgrade failed: Sec-WebSocket-Key \"test\" is not 16 bytes in base64; correct the client; with curl add "
    . "\"-H 'Sec-WebSocket-Key: $sample'\" [handshake-key]";
is(outcome($t, path => '/ws/', key => 'test'), "400, $key", 'to a page');
is(outcome($t, path => '/ws/', headers => ['Sec-WebSocket-Version: 8']),
    '200, [error] upgrade failed: Sec-WebSocket-Version "8" is not 13; correct or renew the client; with curl add '
        . '"-H \'Sec-WebSocket-Version: 13\'" [handshake-version]', 'to a page with another status');
is(outcome($t, path => '/ws/', origin => 'https://evil.example'),
    '403, [error] upgrade failed: origin "https://evil.example" is not allowed, allowed: "none https://app.example.com"; add it to '
        . 'websocket_guard_origin if the page is yours [origin-denied]', 'to a named location');

is(outcome($t, path => '/deny/'), '403, [error] upgrade failed: ' . place_of($t, '/deny/') . ' refused access with 403 by "deny" (' . $t->testdir
    . '/nginx.conf:' . conf_line($t, qr/^\s*deny /) . q{); put an "allow" for the client's address before it [access-denied]},
    'refused by nginx, to a named location');
is(outcome($t, path => '/ask/'), '500, [error] upgrade failed: "auth_request" (' . $t->testdir
    . '/nginx.conf:' . conf_line($t, qr/^\s*auth_request /) . ') in ' . place_of($t, '/ask/') . ' was answered with 418, which '
    . 'nginx turns into 500; set Upgrade and Connection to "" in the location that auth_request names, and see the auth backend\'s log '
    . '[access-check-failed]', 'auth_request, to a page');

is(outcome($t, path => '/static/none'), '404, [error] upgrade failed: ' . place_of($t, '/static/') . ' serves files and answered 404, no '
    . 'backend was asked; add a proxy_pass to the location, or correct the URL in the client [not-proxied]', 'to a page that is not there');
my $dead = 'backend 127.0.0.1:' . port(8089);
is(outcome($t, path => '/dead/'), "502, [error] upgrade failed: no connection to $dead (111: Connection refused); start the "
    . 'backend, or correct the address in proxy_pass [backend-unreachable]', 'no backend, to a page of another one');

# What the backend answered, and nginx hid.
my $peer = 'backend 127.0.0.1:' . port(8081);
my %expected = (
    400 => [400, "answered 400 to a correct handshake that offers no subprotocol; see the backend's log; with several servers check "
        . 'session affinity, else the list of trusted proxies, and whether the backend wants a subprotocol [backend-bad-handshake]'],
    401 => [302, "refused access with 401; see the backend's log, and that cookies or tokens reach it [backend-auth]"],
    403 => [403, "refused access with 403; see the backend's log, and that cookies or tokens reach it [backend-auth]"],
    503 => [503, "answered 503; see the backend's log [backend-error]"],
);
for my $answer (sort keys %expected) {
    my ($status, $line) = @{ $expected{$answer} };
    is(outcome($t, path => "/intercept/status?$answer"), "$status, [error] upgrade failed: $peer $line", "/intercept/: $answer");
    is(outcome($t, path => "/off/status?$answer"), "$status, [error] upgrade failed: \"/off/status?$answer\" falls into "
        . place_of($t, '/off/') . ', not into the marked location "/ws/"; correct the URL in the client, or mark that location too '
        . '[wrong-location]', "/off/: $answer");
}

is(outcome($t, path => '/ws/'), '101', 'nothing is wrong');
is(outcome($t, path => '/intercept/'), '101', 'nor here');
