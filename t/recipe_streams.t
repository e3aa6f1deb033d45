#!/usr/bin/perl

# docs/recipes.md, event streams and long polling beside WebSocket: all three work in one location with "on"; what
# "auto" leaves to them.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;
use Test::WebSocketGuard::Recipe;

my $t = Test::Nginx->new()->has(qw/ http proxy /)->plan(14);

my ($recipe) = blocks('docs/recipes.md', 'Event streams and long polling beside WebSocket');
# The 60s that nginx waits for an answer, shortened.
my @addresses = ('listen 80;' => 'listen 127.0.0.1:8080; proxy_read_timeout 1s;', '127.0.0.1:3000' => '127.0.0.1:8081');

write_recipe($t, $recipe, @addresses);
is(silent_test($t), '', 'nginx -t is silent');

run_backend($t, 8081, handlers => { helpful => sub {
    my ($c) = @_;
    $c->write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-Accel-Buffering: no\r\nConnection: close\r\n\r\n");
    for my $number (1, 2) {
        $c->write("data: event $number\n\n");
        select undef, undef, undef, 0.6;
    }
    $c->disconnect;
} });
$t->run();

is(websocket(path => '/live/ws')->echo('hello'), 'hello', 'a WebSocket');
ok(streams('/live/'), 'an event stream');
is(poll('/live/slow?3')->status, 200, 'long polling');
is(poll('/slow?3')->status, 504, 'the limit of the rest of the server');

my $ws = websocket(path => '/live/ws');
sleep 2;
is($ws->echo('hello'), 'hello', 'a tunnel that was silent for longer than that');
is_deeply([guard_log($t, 'notice')], [], 'nothing to say about it');

write_recipe($t, put($recipe, 'websocket_guard on;' => 'websocket_guard auto; websocket_guard_forwarded host;'),
    @addresses);
ok(reload($t), 'reloaded with auto');
is(websocket(path => '/live/ws')->echo('hello'), 'hello', 'auto: a WebSocket');
ok(!streams('/live/'), 'auto: the events of a stream arrive together');
my $stream = raw_request("GET /live/helpful HTTP/1.1\r\nHost: app.example.com\r\n\r\n", body => 0);
$stream->read_until(qr/event 1/, 10);
ok(!$stream->read_until(qr/event 2/, 0.1), 'auto: unless the backend says X-Accel-Buffering');
is(poll('/live/slow?3')->status, 504, 'auto: long polling');
is(poll('/live/slow?0')->status, 200, 'auto: a request that is answered soon');
is_deeply([run_time_log($t, 'notice')], [], 'auto: nothing that the guard reports');

sub poll {
    my ($uri) = @_;
    return raw_request("GET $uri HTTP/1.1\r\nHost: app.example.com\r\nConnection: close\r\n\r\n");
}
