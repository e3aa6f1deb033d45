#!/usr/bin/perl

# A limit_except block in a guarded location proxies WebSocket as the location around it does, to
# the same backend or to its own.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy access map /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(13);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    proxy_set_header  X-Level http;

    map $uri $backend {
        default  127.0.0.1:8081;
    }

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        # All methods but POST, and so handshakes, belong to the blocks.

        location /own/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;

            limit_except POST {
                proxy_pass   http://127.0.0.1:8082;
            }
        }

        location /inherited/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;

            limit_except POST {
                allow  127.0.0.1;
                deny   all;
            }
        }

        location /variable/ {
            websocket_guard  auto;
            proxy_pass       http://$backend;

            limit_except POST {
                allow  all;
            }
        }

        location /denied/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;

            limit_except POST {
                deny  all;
            }
        }

        # Here they do not.

        location /get/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;

            limit_except GET {
                deny  all;
            }
        }
    }
}
EOC

run_backend($t, 8081);
run_backend($t, 8082);
$t->run();

is(websocket(path => '/own/ws')->echo('hello'), 'hello', 'own proxy_pass');
my ($seen) = requests_seen($t, 8082);
is($seen->uri, '/own/ws', 'which was used');
is_deeply([map { $seen->header($_) } qw/ Upgrade Connection X-Level /], [qw/ websocket upgrade http /],
    'headers of the handshake');

for my $path (qw{ /inherited/ws /variable/ws /get/ws }) {
    is(websocket(path => $path)->echo('hello'), 'hello', $path);
    my $seen = (requests_seen($t, 8081))[-1];
    is_deeply([$seen->uri, map { $seen->header($_) } qw/ Upgrade Connection /], [$path, qw/ websocket upgrade /],
        "$path, headers of the handshake");
}

like(raw_request("POST /own/page HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi")->body,
    qr/^backend: 8081$/m, 'POST, beside the block');
like(http_get('/own/page'), qr/^backend: 8082$/m, 'plain request in the block');

is_deeply([guard_log($t, 'error')], [], 'nothing to complain about');

is(websocket(path => '/denied/ws')->status, 403, 'denied by the block');
