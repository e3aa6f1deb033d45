#!/usr/bin/perl

# Headers from http and server level survive in a guarded location, as they would without the guard:
# all from the nearest level that sets any. Upgrade and Connection come to them, one line each.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(26);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    proxy_set_header  Host $host;
    proxy_set_header  X-Level http;
    proxy_set_header  X-Request $request_method:$uri;
    proxy_set_header  Cookie "";

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
    }

    server {
        listen       127.0.0.1:8083;
        server_name  localhost;

        proxy_set_header  X-Level server;
        websocket_guard   on;

        location / {
            proxy_pass  http://127.0.0.1:8081;
        }

        location /around/ {
            proxy_pass        http://127.0.0.1:8081;
            proxy_set_header  X-Level location;

            location /around/nested/ {
                proxy_pass  http://127.0.0.1:8081;
            }
        }
    }
}
EOC

run_backend($t, 8081);
$t->run();

my @headers = ('Host: example.com', 'Cookie: secret');

for my $mode (qw/ on auto /) {
    ok(websocket(path => "/$mode/ws", headers => \@headers)->is_open, "$mode, handshake");
    my $seen = (requests_seen($t))[-1];
    inherited($seen, "/$mode/ws");
    is_deeply([$seen->header('Upgrade')], ['websocket'], 'one Upgrade');
    is_deeply([$seen->header('Connection')], ['upgrade'], 'one Connection');

    raw_request(join "\r\n", "GET /$mode/page HTTP/1.1", @headers, '', '');
    inherited((requests_seen($t))[-1], "/$mode/page");
}

sub inherited {
    my ($seen, $uri) = @_;
    is_deeply([map { [$seen->header($_)] } qw/ X-Level X-Request Host Cookie /],
        [['http'], ["GET:$uri"], ['example.com'], []], "$uri, headers of http");
}

# The nearest level that sets any.

for my $case (['/ws' => 'server'], ['/around/ws' => 'location'], ['/around/nested/ws' => 'location']) {
    my ($path, $level) = @$case;
    ok(websocket(port => 8083, path => $path, headers => \@headers)->is_open, "$path, handshake");
    my $seen = (requests_seen($t))[-1];
    is_deeply([map { [$seen->header($_)] } qw/ Upgrade Connection X-Level /],
        [['websocket'], ['upgrade'], [$level]], "headers of $level");
    is($seen->header('X-Request'), undef, 'none of the levels above');
    is($seen->header('Cookie'), 'secret', 'nor what they hid');
    is($seen->header('Host'), 'example.com', 'and the Host of the client');
}

is_deeply([guard_log($t, 'error')], [], 'nothing to complain about');
