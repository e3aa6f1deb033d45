#!/usr/bin/perl

# A 426 of the gate tells what would be understood, and the response that takes its place does not.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy map access /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(20);

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

        location /plain/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /old/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
            error_page       426 = @old;
        }

        # a recipe by hand
        location @old {
            proxy_http_version  1.1;
            proxy_set_header    Upgrade $http_upgrade;
            proxy_set_header    Connection $connection_upgrade;
            proxy_pass          http://127.0.0.1:8081;
        }

        location /lenient/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
            error_page       426 = @lenient;
        }

        location @lenient {
            websocket_guard            on;
            websocket_guard_handshake  lenient;
            proxy_pass                 http://127.0.0.1:8081;
        }

        location /answered/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
            error_page       426 = @answered;
        }

        # a 426 of the backend's own
        location @answered {
            proxy_pass  http://127.0.0.1:8081;
        }

        location /page/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
            error_page       426 /426.html;
        }

        location /replaced/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
            error_page       426 =200 /426.html;
        }

        location = /426.html {
        }

        location /redirect/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
            error_page       426 =302 http://localhost/help;
        }

        location /twice/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
            error_page       426 /guarded/426.html;
        }

        location /recursive/ {
            websocket_guard        on;
            recursive_error_pages  on;
            proxy_pass             http://127.0.0.1:8081;
            error_page             426 /guarded/426.html;
        }

        location /guarded/ {
            websocket_guard        on;
            recursive_error_pages  on;
            proxy_pass             http://127.0.0.1:8081;
            error_page             426 = @old;
        }

        location /named/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
            error_page       426 @kept;
        }

        location @kept {
            proxy_pass  http://127.0.0.1:8081;
        }

        location /switched/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
            error_page       426 @old;
        }

        location /satisfy/ {
            websocket_guard  on;
            satisfy          any;
            deny             all;
            proxy_pass       http://127.0.0.1:8081;
            error_page       403 = @old;
        }
    }
}
EOC

$t->write_file('426.html', 'use a newer client');
run_backend($t, 8081);
$t->run();

my $told = '13 websocket';
for my $case (
    # location, status and what the client is told
    ['plain',     "426 $told"],
    ['old',       '101  websocket'],
    ['lenient',   '101  websocket'],
    ['answered',  '426'],
    ['page',      "426 $told"],
    ['replaced',  '200'],
    ['redirect',  '302'],
    ['twice',     "426 $told"],
    ['recursive', "426 $told"],
    ['named',     "426 $told"],
    ['switched',  '426  websocket'],
    ['satisfy',   "426 $told"],
) {
    my ($path, $expected) = @$case;
    my $uri = $path eq 'answered' ? '/answered/status?426' : "/$path/ws";
    is(told($uri, headers => ['Sec-WebSocket-Version: 8']), $expected, $path);
}
is(told('/old/ws'), '101  websocket', 'nothing refused');
is(told('/satisfy/ws'), '101  websocket', 'another error page');
is(websocket(path => '/old/ws', headers => ['Sec-WebSocket-Version: 8'])->echo('hello'), 'hello', 'the tunnel works');
like(websocket(path => '/page/ws', headers => ['Sec-WebSocket-Version: 8'])->body, qr/newer client/, 'the page');

# On one connection each request has its own.
my $client = connection();
for my $version (8, 9) {
    $client->request(scalar handshake_request(path => '/plain/ws', headers => ["Sec-WebSocket-Version: $version"]));
    is(understood($client), $told, "version $version");
    $client->request("GET /plain/page HTTP/1.1\r\nHost: localhost\r\n\r\n");
    is(understood($client), ' ', 'a page after it');
}

# What is told to the client.
sub understood {
    my ($client) = @_;
    return join ' ', map { join ',', $client->header($_) } qw/ Sec-WebSocket-Version Upgrade /;
}

# The same, behind the status.
sub told {
    my ($path, @request) = @_;
    my $ws = websocket(path => $path, body => 0, @request);
    my $told = join ' ', $ws->status, understood($ws);
    $told =~ s/ +\z//;
    $ws->disconnect;
    return $told;
}
