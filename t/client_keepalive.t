#!/usr/bin/perl

# A client that keeps its connection: a handshake after plain requests, after a refused one, and in
# the same packet as a plain request.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(33);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

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

        location /forbidden {
            return 403;
        }
    }
}
EOC

run_backend($t, 8081);
$t->run();

for my $path (qw! /on/ /auto/ !) {
    my $client = connection();
    is($client->request(plain("${path}one"))->status, 200, "$path: plain request");
    is($client->request(plain("${path}two", 'POST', 'body'))->status, 200, "$path: with a body");
    ok($client->handshake(path => $path)->is_open, "$path: then a handshake");
    is($client->echo('hello'), 'hello', "$path: echo");

    $client = connection();
    is($client->handshake(path => "${path}status?403")->status, 403, "$path: refused by the backend");
    is($client->request(plain("${path}three"))->status, 200, "$path: then a plain request");
    is($client->handshake(path => "${path}status?503")->status, 503, "$path: refused again");
    ok($client->handshake(path => $path)->is_open, "$path: then a handshake");
    is($client->echo('hello'), 'hello', "$path: echo");

    $client = connection();
    is($client->handshake(path => '/forbidden')->status, 403, "$path: refused by nginx");
    ok($client->handshake(path => $path)->is_open, "$path: then a handshake");
    is($client->echo('hello'), 'hello', "$path: echo");

    $client = connection();
    my ($text, $key) = handshake_request(path => $path);
    $client->{key} = $key;
    is($client->request(plain("${path}four") . $text)->status, 200, "$path: plain request and handshake together");
    ok($client->read_response->is_open, "$path: both are answered");
    is($client->echo('hello'), 'hello', "$path: echo");
}

# What one request asked for does not stick to the next.

my @plain = grep { $_->uri =~ m!/(?:one|two|three|four)$! } requests_seen($t, 8081);
is(scalar(@plain), 8, 'all plain requests arrived');
is(scalar(grep { $_->header('Upgrade') || $_->has_token(Connection => 'upgrade') } @plain), 0, 'as plain requests');
is(join(' ', guard_findings($t, 'error', count => 6)), 'backend-auth backend-error access-denied backend-auth backend-error access-denied', 'nothing but what failed');

sub plain {
    my ($uri, $method, $body) = @_;
    return join "\r\n", ($method // 'GET') . " $uri HTTP/1.1", 'Host: localhost',
        defined $body ? 'Content-Length: ' . length $body : (), '', $body // '';
}
