#!/usr/bin/perl

# docs/recipes.md, socket.io: polls and the WebSocket of a client reach the server that has its session; what happens
# without session affinity. t/interop/run does the same with the library itself.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;
use Test::WebSocketGuard::Recipe;

my $t = Test::Nginx->new()->has(qw/ http proxy upstream_ip_hash upstream_hash /)->plan(20);

my ($recipe, $at_load, $at_run_time) = blocks('docs/recipes.md', 'socket.io');
my @servers = ('10.0.0.11:3000' => '127.0.0.1:8081', '10.0.0.12:3000' => '127.0.0.1:8082');
my @rest = ('listen 80;' => 'listen 127.0.0.1:8080;', '/srv/chat/public' => $t->testdir);

write_recipe($t, $recipe, @servers, @rest);
is(silent_test($t), '', 'nginx -t is silent');
is((blocks('README.md', 'Recipes'))[0], $recipe =~ s/^    location \/ \{\n.*?^    \}\n\n//msr,
    'README.md has the same without the files');

# As engine.io does: a poll without a session begins one, and one of another server's is refused.
for my $number (8081, 8082) {
    run_backend($t, $number, handlers => { '' => sub {
        my ($c, $request) = @_;
        my ($session) = $request->args =~ /sid=(\d+)/;
        return $c->respond(200, "sid=$number") if !defined $session;
        return $c->default($request) if $session == $number;
        return $c->respond(400, 'Session ID unknown') if $request->is_upgrade;
        $c->respond(400, '{"code":1,"message":"Session ID unknown"}', 'Content-Type: application/json');
    } });
}
$t->write_file('index.html', 'the page');
$t->run();

is(poll('/')->body, 'the page', 'files beside it');
for my $client (1 .. 2) {
    my $session = poll('/socket.io/?EIO=4')->body;
    like($session, qr/^sid=808[12]$/, "client $client: a session");
    is_deeply([map { poll("/socket.io/?EIO=4&$session")->status } 1 .. 3], [200, 200, 200], 'polls find it');
    is(websocket(path => "/socket.io/?EIO=4&$session", authority => 'chat.example.com')->echo('hello'), 'hello',
        'the WebSocket finds it');
}
is_deeply([guard_log($t, 'notice')], [], 'nothing to say about it');

# The other way that the page names.

write_recipe($t, put($recipe, 'ip_hash;' => 'hash $remote_addr consistent;'), @servers, @rest);
is(silent_test($t), '', 'hash: nginx -t is silent');
ok(reload($t), 'hash: reloaded');
my $session = poll('/socket.io/?EIO=4')->body;
is_deeply([map { poll("/socket.io/?EIO=4&$session")->status } 1 .. 3], [200, 200, 200], 'hash: polls find the session');

# Without affinity. With two servers in turn the next request is for the other one, in one worker at least.

my $without = put($recipe, "ip_hash;\n" => "zone chat 64k;\n");
write_recipe($t, $without, @servers, @rest);
is(silent_test($t), as_printed($t, $at_load), 'without affinity: nginx -t says so, as on the page');
my $since = log_size($t);
ok(reload($t), 'reloaded');

$session = poll('/socket.io/?EIO=4')->body;
my @statuses = map { poll("/socket.io/?EIO=4&$session")->status } 1 .. 4;
is_deeply([sort @statuses], [200, 200, 400, 400], 'every other poll fails');
is_deeply([run_time_log($t, 'notice', since => $since)], [], 'a poll is a plain request, nothing is said');

my $session_1;
wait_until(sub { ($session_1) = poll('/socket.io/?EIO=4')->body =~ /(sid=8081)/ });
is(websocket(path => "/socket.io/?EIO=4&$session_1", authority => 'chat.example.com')->status, 400,
    'a WebSocket without affinity');
wait_log($t, qr/\[backend-bad-handshake\]/, 5);
is(join("\n", map { s/, client: .*//r } run_time_log($t, 'notice', since => $since)),
    as_printed($t, $at_run_time, @servers), 'the line on the page');

# Clients that do not poll.

write_recipe($t, put($recipe, "ip_hash;\n" => "\n", 'websocket_guard on;' => 'websocket_guard on; '
    . 'websocket_guard_ignore lb-no-affinity;'), @servers, @rest);
is(silent_test($t), '', 'without affinity, and ignored: nginx -t is silent');

sub poll {
    my ($uri) = @_;
    return raw_request("GET $uri HTTP/1.1\r\nHost: chat.example.com\r\nConnection: close\r\n\r\n");
}
