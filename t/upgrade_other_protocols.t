#!/usr/bin/perl

# Upgrades that are not WebSocket, as of container and VPN control protocols: a protocol of websocket_guard_upgrade is
# forwarded whatever the method, and with its body. The rules of RFC 6455 stay for websocket, and what is not listed is
# taken away.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(98);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    websocket_guard_upgrade  websocket tailscale-control-protocol SPDY/3.1 tcp;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /on/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /auto/ {
            websocket_guard  auto;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /lenient/ {
            websocket_guard            on;
            websocket_guard_handshake  lenient;
            proxy_pass                 http://127.0.0.1:8081;
        }

        location /own/ {
            websocket_guard     auto;
            proxy_http_version  1.1;
            proxy_set_header    Upgrade $http_upgrade;
            proxy_set_header    Connection upgrade;
            proxy_pass          http://127.0.0.1:8081;
        }

        # The body goes to the backend while it comes.
        location /unbuffered/ {
            websocket_guard          on;
            proxy_request_buffering  off;
            proxy_pass               http://127.0.0.1:8081;
        }
    }
}
EOC

sub switch_to {
    my ($protocol) = @_;
    return sub {
        my ($c, $request) = @_;
        $c->upgrade(upgrade => $protocol, accept => undef, headers => ["X-Body: $request->{body_length}"]) && $c->echo;
    };
}

run_backend($t, 8081, handlers => {
    ts2021 => switch_to('tailscale-control-protocol'),
    exec   => switch_to('SPDY/3.1'),
    attach => switch_to('tcp'),
    sneaky => sub { my ($c) = @_; $c->upgrade && $c->echo },
});
$t->run();

my @no_key = (without => ['Sec-WebSocket-Key', 'Sec-WebSocket-Version']);
my $json = '{"Detach":false,"Tty":true}';

for my $location (qw! /on/ /auto/ /lenient/ /own/ /unbuffered/ !) {
    for my $case (
        # path, Upgrade, headers, what is sent of a body, what the backend gets of it
        ['ts2021', 'tailscale-control-protocol', ['Content-Length: 0'], '', 0],
        ['exec', 'SPDY/3.1', ['X-Stream-Protocol-Version: v4.channel.k8s.io'], '', 0],
        ['attach', 'tcp', ['Content-Type: application/json', 'Content-Length: ' . length $json], $json, length $json],
        ['attach', 'tcp', ['Transfer-Encoding: chunked'], "4\r\nbody\r\n0\r\n\r\n", 4],
    ) {
        my ($path, $protocol, $headers, $body, $length) = @$case;
        my $name = "$location, $protocol, @$headers";
        my $tunnel = websocket(path => "$location$path", method => 'POST', @no_key, pipeline => $body,
            headers => ["Upgrade: $protocol", @$headers]);
        is($tunnel->status, 101, "$name, 101");
        is($tunnel->echo('hello'), 'hello', "$name, tunnel");
        my $seen = (requests_seen($t))[-1];
        is_deeply([$seen->method, $tunnel->header('X-Body'), map { $seen->header($_) } qw/ Upgrade Connection /],
            ['POST', $length, $protocol, 'upgrade'], "$name, as it came");
    }
    is(websocket(path => "${location}attach", @no_key, headers => ['Upgrade: TCP'])->echo('hello'), 'hello',
        "$location, GET as before");
}

# Another protocol than the one that was sent is no answer, WebSocket least of all.

for my $location (qw! /on/ /auto/ !) {
    is(websocket(path => "${location}sneaky", method => 'POST', headers => ['Upgrade: tcp', 'Content-Length: 0'])->status, 502,
        "$location, 101 for another protocol");
}

# Near: WebSocket only as RFC 6455 has it, also in company.

for my $upgrade ('websocket', 'tcp, websocket', 'websocket, SPDY/3.1') {
    my @post = (method => 'POST', headers => ["Upgrade: $upgrade", 'Content-Length: 4'], pipeline => 'body');
    is(websocket(path => '/on/ws', @post)->status, 400, "POST, $upgrade");
    plain("$_, POST, $upgrade", path => "${_}ws", @post) for '/auto/', '/lenient/', '/own/';
}

# What is not listed, what no HTTP/1.1 client asks for, and h2c.

for my $location (qw! /on/ /auto/ /lenient/ /own/ !) {
    for my $upgrade ('h2c', 'foo', 'SPDY/3', 'tcp2, h2c') {
        plain("$location, $upgrade", path => "${location}exec", method => 'POST', @no_key, pipeline => 'body',
            headers => ["Upgrade: $upgrade", 'Content-Length: 4']);
    }
}
is(websocket(path => '/on/attach', method => 'POST', @no_key, version => '1.0', headers => ['Upgrade: tcp'])->status, 400,
    'HTTP/1.0');
plain('HTTP/1.0, auto', path => '/auto/attach', method => 'POST', @no_key, version => '1.0',
    headers => ['Upgrade: tcp', 'Content-Length: 0']);
is(websocket(path => '/on/attach', method => 'POST', @no_key, headers => ['Upgrade: tcp', 'Connection: close'])->status, 400,
    'Connection lacks upgrade');

# The request reaches the backend, as one that asks for nothing.
sub plain {
    my ($name, %request) = @_;
    my $before = requests_seen($t);
    my $ws = websocket(%request, timeout => 5);
    my $seen = (requests_seen($t, 8081, count => $before + 1))[-1];
    my $asks = defined $seen->header('Upgrade') || ($name !~ m!^/own/! && $seen->has_token(Connection => 'upgrade'));
    ok(!$asks && !$ws->is_open, "$name, plain");
}
