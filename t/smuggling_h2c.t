#!/usr/bin/perl

# An upgrade to h2c is the classic way past a proxy's rules: it reaches no backend, whatever comes
# with it, and a backend that switches to it all the same gets no tunnel.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(86);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    websocket_guard_log  error;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /strict/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /lenient/ {
            websocket_guard            on;
            websocket_guard_handshake  lenient;
            proxy_pass                 http://127.0.0.1:8081;
        }

        location /auto/ {
            websocket_guard  auto;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /strict-own/ {
            websocket_guard   on;
            proxy_pass        http://127.0.0.1:8081;
            proxy_set_header  Upgrade $http_upgrade;
            proxy_set_header  Connection "upgrade";
        }

        location /lenient-own/ {
            websocket_guard            on;
            websocket_guard_handshake  lenient;
            proxy_pass                 http://127.0.0.1:8081;
            proxy_set_header           Upgrade $http_upgrade;
            proxy_set_header           Connection "upgrade";
        }

        location /auto-own/ {
            websocket_guard   auto;
            proxy_pass        http://127.0.0.1:8081;
            proxy_set_header  Upgrade $http_upgrade;
            proxy_set_header  Connection "upgrade";
        }
    }
}
EOC

run_backend($t, 8081, handlers => {
    h2c => sub { my ($c) = @_; $c->upgrade(upgrade => 'h2c', accept => undef, bytes => 'INTERNAL') && $c->echo },
    both => sub { my ($c) = @_; $c->upgrade(upgrade => 'websocket, h2c', bytes => 'INTERNAL') && $c->echo },
});
$t->run();

my @settings = ('Connection: Upgrade, HTTP2-Settings', 'HTTP2-Settings: AAMAAABkAAQAAP__');
my $plain = '[info] Upgrade "%s" does not name websocket, served as plain HTTP; '
    . 'nothing is to be done, clients that offer it go on without it [not-websocket]';

for my $location (map { ("/$_/", "/$_-own/") } qw/ strict lenient auto /) {
    for my $case (
        ['h2c',            headers => ['Upgrade: h2c', @settings], without => ['Sec-WebSocket-Key']],
        ['h2c',            headers => ['Upgrade: h2c', @settings]],
        ['h2c',            headers => ['Upgrade: h2c', @settings, 'Content-Length: 4'], method => 'POST', pipeline => 'body'],
        ['h2c, h2c',       headers => ['Upgrade: h2c, h2c', @settings]],
        ['h2c',            headers => ['Upgrade: h2c', 'Upgrade: H2C', @settings], version => '1.0'],
        ['h2c;websocket',  headers => ['Upgrade: h2c;websocket', @settings]],
        ['websocket-h2c',  headers => ['Upgrade: websocket-h2c', @settings]],
    ) {
        my ($upgrade, %request) = @$case;
        my $line = sprintf $plain, $upgrade;
        $line =~ s/nothing is .* without it/list it in websocket_guard_upgrade if the backend shall speak it/
            if $upgrade eq 'websocket-h2c';
        is(outcome($t, path => "${location}page", %request), "200, $line",
            "$location, @{$request{headers}}[0]");
    }

    # The backend switches without being asked.
    my $backend = '127.0.0.1:' . port(8081);
    my $forced;
    is(outcome($t, sub { $forced = websocket(path => "${location}h2c", headers => ['Upgrade: h2c', @settings]) }),
        "502, [error] backend $backend answered 101, although Upgrade \"h2c\" was not passed on; correct the backend, and see "
        . 'that no proxy_set_header sets Upgrade to a constant [unsolicited-101]', "$location, h2c and a 101");
    unlike($forced->body, qr/INTERNAL/, "$location, nothing of the tunnel");

    # Of a list the backend sees websocket only, and may not choose h2c.
    for my $list (['Upgrade: websocket, h2c'], ['Upgrade: h2c,websocket'], ['Upgrade: h2c', 'Upgrade: websocket']) {
        my $echo;
        my $outcome = outcome($t, sub {
            my $ws = websocket(path => "${location}ws", headers => [@$list, @settings]);
            $echo = $ws->echo('hello');
            return $ws;
        });
        is("$outcome $echo", '101 hello', "$location, @$list");
    }
    for my $chosen (qw/ h2c both /) {
        is(outcome($t, path => "$location$chosen", headers => ['Upgrade: websocket, h2c', @settings]),
            "502, [error] upgrade failed: backend $backend answered 101 with Upgrade \"h2c\" where \"websocket\" was asked for; "
            . 'correct the backend, or what stands between it and nginx [bad-switch]', "$location, the backend chooses $chosen");
    }
}

is(join("\n", false_upgrades($t, 8081)), '', 'nothing but WebSocket arrived as an upgrade');
is(scalar(grep { defined $_->header('Upgrade') } requests_seen($t)), 6 * 5, 'which did arrive');
