#!/usr/bin/perl

# auth_request: the request for permission is a plain one, whether its location is guarded itself or by
# its server; the handshake waits for the answer, and the tunnel outlives it.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy auth_request /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(20);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /guarded/ {
            websocket_guard  on;
            auth_request     /auth;
            proxy_pass       http://127.0.0.1:8081;
        }

        location = /auth {
            websocket_guard          on;
            proxy_pass               http://127.0.0.1:8082;
            proxy_pass_request_body  off;
            proxy_set_header         Content-Length "";
            proxy_set_header         X-Original-URI $request_uri;
        }
    }

    server {
        listen       127.0.0.1:8083;
        server_name  localhost;

        websocket_guard  auto;

        location /inherited/ {
            auth_request  /auth;
            proxy_pass    http://127.0.0.1:8081;
        }

        location = /auth {
            internal;
            proxy_pass  http://127.0.0.1:8082;
        }
    }
}
EOC

# Whoever grants permission would answer an upgrade with a 101, as most WebSocket servers do.
run_backend($t, 8081);
run_backend($t, 8082, handlers => {
    plain => sub { my ($c, $request) = @_; $c->respond($request->header('X-Answer') // 200, '') },
});
$t->run();

for my $case (['/guarded/', 8080, 'on'], ['/inherited/', 8083, 'inherited auto']) {
    my ($path, $port, $name) = @$case;

    my $ws = websocket(path => $path, port => $port);
    is($ws->status, 101, "$name: allowed");
    is($ws->echo('hello'), 'hello', "$name: echo");
    ok($ws->open_for(0.5), "$name: the tunnel stays");
    is($ws->echo('again'), 'again', "$name: echo again");

    my ($auth) = reverse requests_seen($t, 8082);
    is_deeply([$auth->header('Upgrade')], [], "$name: no Upgrade in the request for permission");
    ok(!$auth->has_token(Connection => 'upgrade'), "$name: nor in its Connection");

    is(websocket(path => $path, port => $port, headers => ["X-Answer: $_"])->status, $_, "$name: denied, $_")
        for 401, 403;
}

my @upgrades = grep { $_->is_upgrade } requests_seen($t, 8081);
is_deeply([map { $_->uri } @upgrades], ['/guarded/', '/inherited/'], 'only what was allowed was passed on');
is(raw_request("GET /guarded/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")->status, 200, 'plain request');

like((requests_seen($t, 8082))[0]->header('X-Original-URI'), qr!^/guarded/!, 'own headers of the location');
is(join(' ', guard_findings($t, 'error', count => 4)), 'access-denied access-denied access-denied access-denied', 'nothing but what failed');
