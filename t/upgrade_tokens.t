#!/usr/bin/perl

# websocket_guard_upgrade: which protocols are forwarded.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(22);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    websocket_guard          on;
    websocket_guard_upgrade  Foo;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location / {
            proxy_pass  http://127.0.0.1:8081;
        }

        location /both/ {
            websocket_guard          auto;
            websocket_guard_upgrade  bar/2 websocket;
            proxy_pass               http://127.0.0.1:8081;

            location /both/nested/ {
                proxy_pass           http://127.0.0.1:8081;
            }
        }
    }

    server {
        listen       127.0.0.1:8083;
        server_name  localhost;

        websocket_guard_upgrade  websocket;

        location / {
            proxy_pass  http://127.0.0.1:8081;
        }
    }
}
EOC

run_backend($t, 8081, handlers => {
    foo => sub { my ($c) = @_; $c->upgrade(upgrade => 'foo', accept => undef) && $c->echo },
    bar => sub { my ($c) = @_; $c->upgrade(upgrade => 'bar/2', accept => undef) && $c->echo },
});
$t->run();

for my $case (
    # request, Upgrade, what is forwarded
    ['/foo',             'foo',               'Foo'],
    ['/foo',             'websocket, FOO',    'Foo'],
    ['/both/bar',        'bar/2',             'bar/2'],
    ['/both/nested/bar', 'BAR/2',             'bar/2'],
    ['/both/ws',         'websocket',         'websocket'],
    ['/both/ws',         'Foo,WebSocket,bar', 'websocket'],
    ['/both/ws',         'websocket, bar/2',  'websocket, bar/2'],
    ['/both/ws',         'bar/2, websocket',  'bar/2, websocket'],
) {
    my ($path, $upgrade, $forwarded) = @$case;
    is(websocket(path => $path, headers => ["Upgrade: $upgrade"])->echo('hello'), 'hello', "$path, $upgrade, tunnel");
    my $seen = (requests_seen($t))[-1];
    is_deeply([map { [$seen->header($_)] } qw/ Upgrade Connection /], [[$forwarded], ['upgrade']],
        "$path, $upgrade, forwarded");
}

is(websocket(port => 8083)->echo('hello'), 'hello', 'server below http');
is_deeply([guard_log($t, 'error')], [], 'nothing to complain about');

for my $case (['/', 'websocket'], ['/both/', 'Foo'], ['/both/', 'bar'], ['/both/', 'bar/3']) {
    my ($path, $upgrade) = @$case;
    websocket(path => $path, headers => ["Upgrade: $upgrade"]);
    is((requests_seen($t))[-1]->header('Upgrade'), undef, "$path, $upgrade, not forwarded");
}
