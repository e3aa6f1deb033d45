#!/usr/bin/perl

# A guarded location whose proxy_pass has variables: an address, a name of an upstream, a whole URL.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy rewrite map /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(12);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    proxy_set_header  X-Level http;

    upstream pool {
        server 127.0.0.1:8081;
    }

    map $arg_tenant $tenant {
        a        127.0.0.1:8081;
        default  127.0.0.1:8082;
    }

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /address/ {
            websocket_guard  on;
            proxy_pass       http://$tenant;
        }

        location /upstream/ {
            websocket_guard  on;
            set              $name pool;
            proxy_pass       http://$name;
        }

        location /url/ {
            websocket_guard  auto;
            set              $url http://pool/other/ws;
            proxy_pass       $url;
        }
    }
}
EOC

run_backend($t, 8081);
run_backend($t, 8082);
$t->run();

for my $case (
    ['/address/ws?tenant=a', 8081, '/address/ws?tenant=a'],
    ['/address/ws?tenant=b', 8082, '/address/ws?tenant=b'],
    ['/upstream/ws',         8081, '/upstream/ws'],
    ['/url/ws',              8081, '/other/ws'],
) {
    my ($path, $backend, $uri) = @$case;
    is(websocket(path => $path)->echo('hello'), 'hello', $path);
    my $seen = (requests_seen($t, $backend))[-1];
    is_deeply([$seen->uri, map { $seen->header($_) } qw/ Upgrade Connection X-Level /],
        [$uri, qw/ websocket upgrade http /], "$path, headers of the handshake");
}

for my $path (qw{ /address/page /upstream/page /url/page }) {
    http_get($path);
    my $seen = (requests_seen($t, $path =~ /address/ ? 8082 : 8081))[-1];
    is($seen->header('Upgrade'), undef, "$path, plain request");
}

is_deeply([guard_log($t, 'error')], [], 'nothing to complain about');
