#!/usr/bin/perl

# README.md: its configurations, and the lines that it says they bring.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;
use Test::WebSocketGuard::Recipe;

my $t = Test::Nginx->new()->has(qw/ http proxy fastcgi map /)->plan(8);

my $page = 'README.md';
my @first  = ('127.0.0.1:8080' => '127.0.0.1:8091');
my @both   = (@first, '127.0.0.1:8081' => '127.0.0.1:8092');
# Another port than 80 would be worth a notice.
my @listen = ('listen 80;' => 'listen unix:' . $t->testdir . '/80.sock;');

# ---- the examples

my ($example) = blocks($page, 'Example');
$t->write_file_expand('nginx.conf', put($example, @listen, @first, 'http {' => 'http { %%TEST_GLOBALS_HTTP%%',
    "load_module modules/ngx_http_websocket_guard_module.so;\n" => "%%TEST_GLOBALS%%\n"));
is(silent_test($t), '', 'the first example: nginx -t is silent');

my ($by_hand, $with) = blocks($page, 'Compared with the recipe by hand');
write_recipe($t, $by_hand, @listen, @first);
like(silent_test($t), qr/\A\[notice\] .* \[host-not-forwarded\] in \S+\z/, 'by hand: one notice');
write_recipe($t, $with, @listen, @first);
is(silent_test($t), '', 'with the guard: nginx -t is silent');

# ---- what nginx -t says

my ($conf, $said) = blocks($page, 'What `nginx -t` says');
write_recipe($t, $conf, @listen, @both, '127.0.0.1:9000' => '127.0.0.1:8093');
nginx_test($t, put($t->read_file('nginx.conf'),
    'worker_processes 2;' => 'worker_processes 1; worker_shutdown_timeout 1h;'));
my @printed = grep {/websocket_guard: /} split /\n/, as_printed($t, $said, @both);
# HTTP/1.0 is not the default of newer ones.
@printed = grep { !/\[http10-upstream\]/ } @printed if $t->has_version('1.29.7');
my @lines = guard_lines($t->read_file('nginx-test.log'), 'info');
# One line is about an nginx.conf that is not on the page.
s/ in \S+nginx\S*\.conf:\d+$// for @lines, @printed;
is(join("\n", @lines), join("\n", @printed), 'nginx -t, as on the page');

# ---- when an upgrade fails

my ($fails, $why) = blocks($page, 'When an upgrade fails');
my @why = map { s/websocket_guard: //r } split /\n/, as_printed($t, $why, @both);
write_recipe($t, $fails, @both, 'listen 80;' => 'listen 127.0.0.1:8080; websocket_guard_tunnel pump;');
run_backend($t, 8091, handlers => { websocket => sub {
    my ($c, $request) = @_;
    $request->header('Origin') ? $c->respond(403, '') : $c->respond(200, 'a page');
} });
$t->run();

my @app = (authority => 'app.example.com');
is(outcome($t, path => '/ws/', @app, origin => 'https://app.example.com'), "403, $why[0]", 'an origin');
is(outcome($t, path => '/chat', @app), "200, $why[1]", 'a location');
is(outcome($t, path => '/notes/', @app), "502, $why[2]", 'no backend');

run_backend($t, 8092);
my $idle = outcome($t, sub {
    my $client = websocket(path => '/notes/', @app);
    $client->recv;
    return $client;
});
# These times are measured.
is($idle =~ s/ (?:after|for) \K\d+m?s\b/1s/gr, "101, $why[3]", 'silence');
