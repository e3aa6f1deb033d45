#!/usr/bin/perl

# docs/recipes.md, authentication by auth_request: who is let through, with which headers and for how long; what is said
# to the others.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;
use Test::WebSocketGuard::Recipe;

my $t = Test::Nginx->new()->has(qw/ http proxy auth_request /)->plan(29);

my ($recipe, $denied) = blocks('docs/recipes.md', 'Authentication by auth_request');
my @addresses = ('listen 80;' => 'listen 127.0.0.1:8080; websocket_guard_tunnel pump;',
    '127.0.0.1:3000' => '127.0.0.1:8081', '127.0.0.1:3001' => '127.0.0.1:8082');

write_recipe($t, $recipe, @addresses);
is(silent_test($t), '', 'nginx -t is silent');

run_backend($t, 8081);
run_backend($t, 8082, handlers => { session => sub {
    my ($c, $request) = @_;
    my ($user, $expires) = ($request->header('Cookie') // '') =~ /session=(\w+)(?:\.(\d+))?/;
    return $c->respond(401, '') if !defined $user;
    return $c->respond(403, '') if $user eq 'mallory';
    $c->respond(200, '', "X-User: $user", defined $expires ? "X-Expires: $expires" : ());
} });
$t->run();

# ---- let through

my $ws = client('alice');
is($ws->echo('hello'), 'hello', 'with a session');
my ($seen) = requests_seen($t, 8081);
is($seen->header('X-User'), 'alice', 'the backend knows who it is');
is($seen->header('Upgrade'), 'websocket', 'and that it is a handshake');
my ($asked, @more) = requests_seen($t, 8082);
is(scalar @more, 0, 'asked once');
is_deeply([$asked->uri, $asked->header('Cookie'), $asked->header('X-Original-URI')], ['/session', 'session=alice', '/ws/'],
    'with cookies and path');
is_deeply([map { $asked->header($_) // '' } qw/ Upgrade Content-Length /], ['', ''], 'a plain request without body');

# A poll in the same location has a body, which is not for whom is asked.
is(raw_request("POST /ws/ HTTP/1.1\r\nHost: app.example.com\r\nCookie: session=alice\r\nContent-Length: 5\r\n"
    . "Connection: close\r\n\r\nhello")->status, 200, 'a request with a body');
($asked) = reverse requests_seen($t, 8082);
is_deeply([$asked->method, $asked->header('Content-Length') // ''], ['GET', ''], 'asked without it');
($seen) = reverse requests_seen($t, 8081);
is($seen->header('Content-Length'), 5, 'which the backend gets');

# ---- for how long

for my $case (['a moment', 2], ['a Unix time', time + 2]) {
    my ($what, $expires) = @$case;
    my $ends = client("alice.$expires");
    is($ends->echo('hello'), 'hello', $what);
    $ends->recv;
    is($ends->close_code, 1008, "$what: closed when it is over");
}
is($ws->echo('hello'), 'hello', 'without X-Expires it goes on');
is(client("alice")->echo('hello'), 'hello', 'and so for who comes again');
is_deeply([run_time_log($t, 'notice')], [], 'nothing to say about these');

# ---- not

my $since = log_size($t);
is(client()->status, 401, 'without a session');
is(said($since), as_printed($t, $denied), 'the line on the page');
$since = log_size($t);
is(client('mallory')->status, 403, 'refused');
like(said($since), qr/ with 403 by "auth_request" .* \[access-denied\]$/, 'its line');
$since = log_size($t);
is(client('alice', origin => 'http://evil.example')->status, 403, 'a page of somebody else, with the cookie');
like(said($since), qr/ \[origin-denied\]$/, 'its line');
is(raw_request("GET /auth HTTP/1.1\r\nHost: app.example.com\r\nConnection: close\r\n\r\n")->status, 404,
    '/auth is for nginx only');

# ---- a page to sign in

write_recipe($t, put($recipe, 'auth_request /auth;' => 'error_page 401 = @login; auth_request /auth;',
    'location = /auth {' => 'location @login { return 302 /login; } location = /auth {'), @addresses);
is(silent_test($t), '', 'error_page: nginx -t is silent');
ok(reload($t), 'error_page: reloaded');
$since = log_size($t);
is(client()->status, 302, 'error_page: a redirect');
like(said($since), qr/ \[redirected\]$/, 'error_page: its line');
is(client('alice')->echo('hello'), 'hello', 'error_page: with a session');

sub client {
    my ($session, %options) = @_;
    return websocket(path => '/ws/', authority => 'app.example.com:' . port(8080),
        origin => 'http://app.example.com:' . port(8080), $session ? (headers => ["Cookie: session=$session"]) : (), %options);
}

sub said {
    my ($since) = @_;
    wait_until(sub { run_time_log($t, 'error', since => $since) }, 5);
    return join "\n", map { s/, client: .*//r } run_time_log($t, 'error', since => $since);
}
