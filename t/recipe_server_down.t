#!/usr/bin/perl

# docs/recipes.md, a server that is down: what becomes of handshakes and tunnels while one server is gone, does not
# answer, or is overloaded, and when all are.

use strict;
use warnings;

use IO::Socket::INET;
use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;
use Test::WebSocketGuard::Recipe;
use Time::HiRes qw/ sleep /;

my $t = Test::Nginx->new()->has(qw/ http proxy upstream_zone /)->plan(29);
my $native = ($ENV{TEST_NGINX_GLOBALS_HTTP} // '') =~ /websocket_guard_tunnel\s+native/;

my ($recipe, $unreachable, $no_live) = blocks('docs/recipes.md', 'A server that is down');
my @second = ('10.0.0.12:3000' => '127.0.0.1:8082');
# Where a handshake went is told to the test. The times are shortened.
my @rest = ('listen 80;' => 'listen 127.0.0.1:8080; add_header X-Tried $upstream_addr always;',
    'proxy_connect_timeout 3s;' => 'proxy_connect_timeout 1s;', 'proxy_read_timeout 10s;' => 'proxy_read_timeout 1s;');

# 8081 and 8082 work, 8083 works and is overloaded, 8084 takes connections and never answers, 8085 takes none, as a
# host that is gone; nothing listens at 8086 and 8087.
run_backend($t, $_) for 8081, 8082;
run_backend($t, 8083, handlers => { websocket => sub { $_[0]->respond(503, 'not now') } });
my ($deaf, $full) = map {
    IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => port($_->[0]), Listen => $_->[1]) // die "listen: $!"
} [8084, 100], [8085, 1];
my @waiting = map {
    IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => port(8085), Blocking => 0)
} 1 .. 4;

write_recipe($t, $recipe, '10.0.0.11:3000' => '127.0.0.1:8086', @second, @rest);
is(silent_test($t), '', 'nginx -t is silent');
$t->run();

# ---- the first of two servers

for my $case ([8086, 'not there'], [8083, 'overloaded'], [8084, 'not answering'], [8085, 'a host that is gone']) {
    my ($first, $what) = @$case;
    write_recipe($t, $recipe, '10.0.0.11:3000' => "127.0.0.1:$first", @second, @rest);
    ok(reload($t), "$what: reloaded");
    my $since = log_size($t);
    my @tunnels = map { websocket(path => '/ws/') } 1 .. 4;
    is_deeply([map { $_->echo('hello') } @tunnels], [('hello') x 4], "$what: no client notices");
    is_deeply([sort map { tried($_) } @tunnels], [sort "$first 8082", ("8082") x 3], "$what: it is tried once");
    is_deeply([run_time_log($t, 'notice', since => $since)], [], "$what: the guard has nothing to say");

    next if $first != 8086;
    sleep 1.5;
    is_deeply([map { $_->echo('hello') } @tunnels], [('hello') x 4], 'proxy_read_timeout is not the limit of a tunnel');
}

# ---- none is left

write_recipe($t, $recipe, '10.0.0.11:3000' => '127.0.0.1:8086', '10.0.0.12:3000' => '127.0.0.1:8087', @rest);
ok(reload($t), 'reloaded with none');
my $since = log_size($t);
my $refused = websocket(path => '/ws/');
my ($last) = tried($refused) =~ /(\d+)$/;
is($refused->status, 502, 'the last one fails');
is(line($since), as_printed($t, $unreachable, '10.0.0.12:3000' => "127.0.0.1:$last"), 'the line on the page');
$since = log_size($t);
is(websocket(path => '/ws/')->status, 502, 'and once more');
is(line($since), as_printed($t, $no_live), 'the next line on the page');

# ---- an upstream with one server

write_recipe($t, put($recipe, 'server 10.0.0.12:3000 max_fails=1 fail_timeout=10s;' => ''),
    '10.0.0.11:3000' => '127.0.0.1:8086', @rest);
ok(reload($t), 'reloaded with one server');
is_deeply([map { tried(websocket(path => '/ws/')) } 1 .. 2], ['8086', '8086'], 'it is tried always');

# ---- a tunnel whose server dies

write_recipe($t, put($recipe, 'server_name' => 'websocket_guard_tunnel ' . ($native ? 'native' : 'pump') . '; server_name'),
    '10.0.0.11:3000' => '127.0.0.1:8081', @second, @rest);
ok(reload($t), 'reloaded with two that live');
for my $number (8081, 8082) {
    my $ws = websocket(path => '/ws/drop?0');
    $ws->recv;
    is($ws->close_code, $native ? undef : 1014, 'the client is told that its server died');
}
is_deeply([sort map { tried(websocket(path => '/ws/')) } 1 .. 4], [qw/ 8081 8081 8082 8082 /],
    'which is no failure that counts');

# The servers that a handshake was tried at, by their numbers here.
sub tried {
    my ($client) = @_;
    my %number = map { port($_) => $_ } 8081 .. 8087;
    return join ' ', map { /:(\d+)$/ ? $number{$1} // $1 : $_ } split /, /, $client->header('X-Tried') // '';
}

sub line {
    my ($since) = @_;
    wait_until(sub { run_time_log($t, 'error', since => $since) }, 5);
    return join "\n", map { s/, client: .*//r } run_time_log($t, 'error', since => $since);
}
