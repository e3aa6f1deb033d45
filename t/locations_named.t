#!/usr/bin/perl

# Named locations are guarded as others are, however a request comes there.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy rewrite /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(10);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location / {
            try_files  $uri @ws;
        }

        location /error/ {
            error_page  418 = @ws;
            return      418;
        }

        location /from-guarded/ {
            websocket_guard  on;
            try_files        $uri @unguarded;
        }

        location @ws {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }

        location @unguarded {
            proxy_pass       http://127.0.0.1:8081;
        }
    }
}
EOC

$t->write_file('file', "a file\n");
run_backend($t, 8081);
$t->run();
my $started = log_size($t);

is(websocket(path => '/ws')->echo('hello'), 'hello', 'try_files');
is(websocket(path => '/error/ws')->echo('hello'), 'hello', 'error_page');
is(raw_request("GET /file HTTP/1.1\r\nHost: localhost\r\n\r\n")->body, "a file\n", 'a file beside them');
like(http_get('/page'), qr!200 OK.*^uri: /page$!ms, 'plain request');

my $h2c = websocket(path => '/h2c', headers => ['Upgrade: h2c']);
is($h2c->status, 200, 'another protocol');
is((requests_seen($t))[-1]->header('Upgrade'), undef, 'is not forwarded');

is_deeply([guard_log($t, 'error', since => $started)], [], 'nothing to complain about');

# It is the location which proxies that counts.

is(websocket(path => '/from-guarded/ws')->status, 200, 'from a guarded location to one that is not');
my $seen = (requests_seen($t))[-1];
is($seen->uri, '/from-guarded/ws', 'is proxied');
is($seen->header('Upgrade'), undef, 'without Upgrade');
