#!/usr/bin/perl

# A URI that changes on its way to the backend, in more than the beginning of its path: whatever the backend answers, the
# line has both and says what to do, and that helps. Another beginning is nothing to speak of.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy rewrite map /)->plan(31);

$t->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    map $uri $target {
        ~^/map/(?<rest>.*)$  /c/$rest;
    }

    server {
        listen           127.0.0.1:8080;
        server_name      localhost;
        websocket_guard  on;
        include          locations.conf;
    }

    server {
        listen              127.0.0.1:8083;
        server_name         localhost;
        proxy_http_version  1.1;
        proxy_set_header    Upgrade $http_upgrade;
        proxy_set_header    Connection upgrade;
        proxy_set_header    Host $http_host;
        include             locations.conf;
    }

    # A backend that insists on a sound request line.
    server {
        listen               127.0.0.1:8082;
        server_name          localhost;
        websocket_guard      on;
        websocket_guard_log  off;
        access_log           off;

        location / {
            proxy_pass  http://127.0.0.1:8081;
        }
    }
}
EOC

$t->write_file_expand('locations.conf', <<'EOC');
location ~ ^/c/(.*)/ws$ {
    proxy_pass  http://127.0.0.1:%%PORT_8082%%/c/$1/ws;
}

location ~ ^/query/(.*)$ {
    proxy_pass  http://127.0.0.1:%%PORT_8082%%/$1;
}

location /uri/ {
    proxy_pass  http://127.0.0.1:%%PORT_8082%%$uri;
}

location /map/ {
    proxy_pass  http://127.0.0.1:%%PORT_8082%%$target;
}

location /room/ {
    rewrite     ^/room/(\d+)$ /status?$1? break;
    proxy_pass  http://127.0.0.1:%%PORT_8081%%;
}

location /moved/ {
    proxy_pass  http://127.0.0.1:%%PORT_8081%%/;
}

location / {
    proxy_pass  http://127.0.0.1:%%PORT_8082%%;
}
EOC

run_backend($t, 8081, handlers => { plain => sub { $_[0]->respond(200, 'no WebSocket') } });
$t->run();

my ($strict, $backend) = map { 'backend 127.0.0.1:' . port($_) } 8082, 8081;
my $remedy = 'pass the URI on as it came, by a proxy_pass without one, or correct the rewrite or the URI there: "$1" and '
    . '"$uri" are decoded and have no query';
my $doc = '/c/my%20doc/ws?WOPISrc=https%3A%2F%2Fcloud.example.com';
my @cases = (
    [$doc, 400, "$strict answered 400", '/c/my doc/ws', 'backend-bad-handshake'],
    ['/uri/a%20b?c', 400, "$strict answered 400", '/uri/a b', 'backend-bad-handshake'],
    ['/map/a%20b', 400, "$strict answered 400", '/c/a b', 'backend-bad-handshake'],
    ['/query/plain?a=b', 200, qq{$strict answered 200 to "/plain", it has no WebSocket there}, '/plain', 'backend-not-websocket'],
    ['/room/400', 400, qq{$backend answered 400 and said "status"}, '/status?400', 'backend-bad-handshake'],
    ['/room/405', 405, qq{$backend answered 405 to "/status?405", it has no WebSocket there}, '/status?405',
        'backend-not-websocket'],
);
for my $port (8080, 8083) {
    my $mode = $port == 8080 ? 'on' : 'by hand';
    for my $case (@cases) {
        my ($uri, $status, $answer, $sent, $finding) = @$case;
        is(outcome($t, port => $port, path => $uri, authority => 'localhost'),
            qq{$status, [error] upgrade failed: $answer; the client asked for "$uri" and nginx for "$sent"; $remedy [$finding]},
            "$mode, $uri");
    }
    is(outcome($t, port => $port, path => '/room/404', authority => 'localhost'),
        qq{404, [error] upgrade failed: $backend answered 404 to "/status?404", the client asked for "/room/404"; $remedy }
            . '[backend-not-found]', "$mode, 404");
    is(outcome($t, port => $port, path => '/room/500', authority => 'localhost'),
        qq{500, [error] upgrade failed: $backend answered 500; the client asked for "/room/500" and nginx for "/status?500"; }
            . qq{see the backend's log, and $remedy [backend-error]}, "$mode, 500");

    # Only the beginning, or nothing.
    like(outcome($t, port => $port, path => '/moved/status?404', authority => 'localhost'),
        qr{^404, .* answered 404 to "//?status\?404", the client asked for "/moved/status\?404"; correct the path },
        "$mode, a prefix");
    like(outcome($t, port => $port, path => '/moved/a%20b/status?400', authority => 'localhost'),
        qr/^400, .* answered 400 to a correct handshake /, "$mode, a prefix, 400");
    like(outcome($t, port => $port, path => '/a%20b/status?400', authority => 'localhost'),
        qr/^400, .* answered 400 to a correct handshake /, "$mode, nothing");
    is(outcome($t, port => $port, path => '/moved/a%20b?c=%20', authority => 'localhost'), 101, "$mode, a tunnel");
}

# What the line says: once without a URI, once with a rewrite.
$t->write_file_expand('locations.conf', <<'EOC');
location ~ ^/c/(.*)/ws$ {
    proxy_pass  http://127.0.0.1:%%PORT_8082%%;
}

location /uri/ {
    proxy_pass  http://127.0.0.1:%%PORT_8082%%;
}

location /map/ {
    rewrite     ^/map/(.*)$ /c/$1 break;
    proxy_pass  http://127.0.0.1:%%PORT_8082%%;
}
EOC
reload($t);
my $count = requests_seen($t, 8081);
for my $port (8080, 8083) {
    is(outcome($t, port => $port, path => $doc), 101, 'without a URI');
    is(outcome($t, port => $port, path => '/map/a%20b?c=%20'), 101, 'a rewrite');
    is(outcome($t, port => $port, path => '/uri/a%20b?c'), 101, 'without $uri');
}
my @seen = map { $_->uri } (requests_seen($t, 8081))[$count .. $count + 2];
is_deeply(\@seen, [$doc, '/c/a%20b?c=%20', '/uri/a%20b?c'], 'the backend is asked for what the client asked for');
