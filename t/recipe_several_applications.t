#!/usr/bin/perl

# docs/recipes.md, several applications: each gets its WebSockets and pages, with its path, by path and by host; what a
# URL is told that fits nowhere.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;
use Test::WebSocketGuard::Recipe;

my $t = Test::Nginx->new()->has(qw/ http proxy map /)->plan(22);

my ($recipe, $lines) = blocks('docs/recipes.md', 'Several applications');
my ($location, $server) = split /\n/, $lines;
my @addresses = ('listen 80;' => 'listen 127.0.0.1:8080;', map { ("127.0.0.1:300$_" => "127.0.0.1:809$_") } 0 .. 4);

write_recipe($t, $recipe, @addresses);
is(silent_test($t), '', 'nginx -t is silent');
run_backend($t, "809$_") for 0 .. 4;
$t->run();

for my $case (
    ['tools.example.com', '/terminal/ws',         8092, '/terminal/ws'],
    ['tools.example.com', '/grafana/api/live/ws', 8090, '/grafana/api/live/ws'],
    ['tools.example.com', '/notes/ws?id=1',       8091, '/ws?id=1'],
    ['chat.example.com',  '/ws',                  8093, '/ws'],
    ['mail.example.com',  '/live%20now/ws?a=%2F', 8094, '/live%20now/ws?a=%2F'],
) {
    my ($host, $path, $number, $wanted) = @$case;
    my $ws = websocket(path => $path, authority => $host, origin => "http://$host");
    is($ws->echo('hello'), 'hello', "$host$path: a WebSocket");
    my ($seen) = reverse requests_seen($t, $number);
    is_deeply([$seen->uri, $seen->header('Host'), $seen->header('X-Real-IP')], [$wanted, $host, '127.0.0.1'],
        "$host$path: its request");
    like(page($host, $path)->body, qr/^backend: $number\n/, "$host$path: a page");
}
like(page('tools.example.com', '/terminal/')->body, qr/^backend: 8092\n/, 'a page in a location without the guard');
is_deeply([guard_log($t, 'notice')], [], 'nothing to say about any');

# ---- nowhere

for my $case (['/terminal/socket', 'tools.example.com', $location], ['/', 'www.chat.example.com', $server]) {
    my ($path, $host, $line) = @$case;
    my $since = log_size($t);
    isnt(websocket(path => $path, authority => $host, origin => "http://$host")->status, 101, "$host$path");
    wait_until(sub { run_time_log($t, 'error', since => $since) }, 5);
    is(join("\n", map { s/, client: .*//r } run_time_log($t, 'error', since => $since)), as_printed($t, $line),
        "$host$path: the line on the page");
}

sub page {
    my ($host, $path) = @_;
    return raw_request("GET $path HTTP/1.1\r\nHost: $host\r\nConnection: close\r\n\r\n");
}
