#!/usr/bin/perl

# "websocket_guard auto" in a location of one with "on": upgrades still work, but timeouts and
# buffering of plain requests are nginx's again.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(12);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    proxy_read_timeout  1s;
    proxy_set_header    X-Level http;
    proxy_set_header    Connection "x-inherited";

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /on/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;

            location /on/auto/ {
                websocket_guard  auto;
                proxy_pass       http://127.0.0.1:8081;

                location /on/auto/on/ {
                    websocket_guard  on;
                    proxy_pass       http://127.0.0.1:8081;
                }
            }
        }
    }
}
EOC

run_backend($t, 8081);
$t->run();

my $tunnel = websocket(path => '/on/auto/ws');
is($tunnel->echo('hello'), 'hello', 'auto in on');
is(websocket(path => '/on/auto/on/ws')->echo('hello'), 'hello', 'on in that');
my ($seen) = requests_seen($t);
is_deeply([map { $seen->header($_) } qw/ Upgrade Connection X-Level /], [qw/ websocket upgrade http /], 'handshake');

http_get('/on/auto/page');
$seen = (requests_seen($t))[-1];
is_deeply([map { $seen->header($_) } qw/ Upgrade Connection X-Level /], [qw/ x-inherited http /], 'plain request');

ok(!streams('/on/auto/'), 'auto buffers');
ok(streams('/on/'), 'on around it does not');
ok(streams('/on/auto/on/'), 'nor in it');

my %slow = map { $_ => connection() } qw{ /on/ /on/auto/ /on/auto/on/ };
$slow{$_}->write("GET ${_}slow?2 HTTP/1.1\r\nHost: localhost\r\n\r\n") for keys %slow;
$_->read_response for values %slow;
is($slow{'/on/auto/'}->status, 504, 'auto has the inherited timeout');
is($slow{'/on/'}->status, 200, 'on around it has not');
is($slow{'/on/auto/on/'}->status, 200, 'nor in it');

is($tunnel->echo('still there'), 'still there', 'and the tunnel lives on');

is_deeply([guard_log($t, 'error')], [], 'nothing to complain about');
