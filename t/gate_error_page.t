#!/usr/bin/perl

# A page that stands for an error keeps the status of the error: a guarded location that serves it gets a plain
# request, refuses nothing a second time, and no tunnel hides behind the status. With "=" the handshake goes on.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(27);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        websocket_guard         on;
        websocket_guard_origin  none https://a.example;
        error_page              400 403 426 502 /page.html;

        # nothing listens there
        location /dead/ {
            proxy_pass  http://127.0.0.1:8082;
        }

        location /static/ {
            proxy_pass  http://127.0.0.1:8081;
        }

        location /switching/ {
            proxy_pass  http://127.0.0.1:8082;
            error_page  400 403 426 502 @switching;
        }

        location /replaced/ {
            proxy_pass  http://127.0.0.1:8082;
            error_page  400 403 426 502 =200 @switching;
        }

        location /goes-on/ {
            proxy_pass  http://127.0.0.1:8082;
            error_page  400 403 426 502 = @switching;
        }

        location @switching {
            proxy_pass  http://127.0.0.1:8081;
        }

        location = /page.html {
        }
    }
}
EOC

$t->write_file('page.html', 'the page of an error');
run_backend($t, 8081);
$t->run();

my @malformed = (
    [400, 'no key',       without => ['Sec-WebSocket-Key']],
    [403, 'foreign page', origin  => 'https://b.example'],
    [426, 'old version',  headers => ['Sec-WebSocket-Version: 8']],
);
for my $case (@malformed) {
    my ($status, $name, @request) = @$case;
    my $ws = websocket(path => '/static/ws', @request);
    is($ws->status, $status, $name);
    is($ws->body, 'the page of an error', "$name, its page");
    is(websocket(path => "/replaced/ws", @request)->status, 200, "$name, another status");
    is(websocket(path => "/goes-on/ws", @request)->status, $status, "$name, refused where it goes on");
}

for my $case ([502, 'ws'], [502, 'bad-accept'], [502, '101'], map { [502, '101', @$_[2 .. $#$_]] } @malformed) {
    my ($status, $path, @request) = @$case;
    my $ws = websocket(path => "/switching/$path", @request);
    is($ws->status, $status, "/switching/$path, $status");
    is($ws->header('Sec-WebSocket-Accept'), undef, "/switching/$path, $status, no tunnel");
}
is(websocket(path => '/dead/ws')->body, 'the page of an error', 'a page for a handshake');
is(websocket(path => '/goes-on/ws')->echo('hello'), 'hello', 'the handshake goes on');

my @upgrades = map { $_->uri } grep { defined $_->header('Upgrade') } requests_seen($t);
is("@upgrades", '/goes-on/ws', 'and no other was forwarded');
