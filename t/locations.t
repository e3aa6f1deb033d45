#!/usr/bin/perl

# "websocket_guard on" or "auto" is all that a location needs, whatever kind of location it is.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy rewrite pcre /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(15);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /prefix/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }

        location = /exact {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }

        location ~ \.socket$ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /auto/ {
            websocket_guard  auto;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /outer/ {
            proxy_pass       http://127.0.0.1:8081;

            location /outer/nested/ {
                websocket_guard  on;
                proxy_pass       http://127.0.0.1:8081;

                location ~ /deep/ {
                    proxy_pass   http://127.0.0.1:8081;
                }
            }
        }

        location /rewritten/ {
            rewrite  ^/rewritten(/.*) /prefix$1 last;
        }

        location /uri/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081/other/;
        }
    }
}
EOC

run_backend($t, 8081);
$t->run();

for my $path (qw{ /prefix/ws /exact /any.socket /auto/ws /outer/nested/ws /outer/nested/deep/ws /rewritten/ws }) {
    is(websocket(path => $path)->echo($path), $path, $path);
}

is(websocket(path => '/uri/ws?a=b')->echo('hello'), 'hello', '/uri/');
is((requests_seen($t))[-1]->uri, '/other/ws?a=b', 'proxy_pass with a URI');

my $seen = (grep { $_->uri eq '/prefix/ws' } requests_seen($t))[0];
is($seen->version, 'HTTP/1.1', 'version of a handshake');
is_deeply([$seen->header('Upgrade')], ['websocket'], 'its Upgrade');
is_deeply([map {lc} $seen->header('Connection')], ['upgrade'], 'its Connection');

is_deeply([guard_log($t, 'error')], [], 'nothing to complain about');

# Its neighbours stay as they are.

is(websocket(path => '/outer/ws')->status, 200, 'location around a guarded one');
is((requests_seen($t))[-1]->header('Upgrade'), undef, 'which forwards no Upgrade');
