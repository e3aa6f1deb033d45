#!/usr/bin/perl

# mirror: the copy of a handshake is a plain request, and the live tunnel survives whatever is
# answered to it, even a 101.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy mirror /);

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
            mirror           /copy;
            proxy_pass       http://127.0.0.1:8081;
        }

        location = /copy {
            internal;
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8082$request_uri;
        }
    }

    server {
        listen       127.0.0.1:8083;
        server_name  localhost;

        websocket_guard  auto;

        location /inherited/ {
            mirror      /copy;
            proxy_pass  http://127.0.0.1:8081;
        }

        location = /copy {
            internal;
            proxy_pass  http://127.0.0.1:8082$request_uri;
        }
    }
}
EOC

# The last segment of the path decides how the copy is answered.
run_backend($t, 8081, handlers => { map { $_ => sub { $_[0]->default($_[1]) } } qw/ 101 late / });
run_backend($t, 8082, handlers => {
    late => sub { my ($c, $request) = @_; select undef, undef, undef, 0.4; $c->upgrade && $c->echo },
});
$t->run();

for my $case (['/guarded/', 8080, 'on'], ['/inherited/', 8083, 'inherited auto']) {
    my ($path, $port, $name) = @$case;

    my $before = requests_seen($t, 8082);
    my $ws = websocket(path => $path, port => $port);
    is($ws->echo('hello'), 'hello', "$name: echo");
    my ($copy) = reverse requests_seen($t, 8082, count => $before + 1);
    is($copy->uri, $path, "$name: mirrored");
    is_deeply([$copy->header('Upgrade')], [], "$name: no Upgrade in the copy");
    ok(!$copy->has_token(Connection => 'upgrade'), "$name: nor in its Connection");
    ok($ws->open_for(0.5), "$name: the tunnel stays");

    for my $answer (qw/ 101 late /) {
        my $seen = requests_seen($t, 8082);
        $ws = websocket(path => "$path$answer", port => $port);
        is($ws->echo('hello'), 'hello', "$name: $answer: echo");
        requests_seen($t, 8082, count => $seen + 1);
        ok($ws->open_for(0.8) && ($ws->echo('again') // '') eq 'again', "$name: $answer: the tunnel stays");
    }
}

is(scalar(grep { $_->has_token(Upgrade => 'websocket') } requests_seen($t, 8081)), 6, 'the main requests were upgrades');
is_deeply([guard_log($t, 'error')], [], 'nothing to complain about');
