#!/usr/bin/perl

# docs/migration.md: each step from a recipe by hand to the guard, with the lines that the page says it brings; WebSocket
# works at each, and the backend gets what it got before.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;
use Test::WebSocketGuard::Recipe;

my $t = Test::Nginx->new()->has(qw/ http proxy map /)->plan(26);

my $page = 'docs/migration.md';
run_backend($t, $_) for 8091, 8092;

my ($by_hand) = blocks($page, 'From a recipe by hand to the guard');

# 1. Load the module

is(audit($by_hand), '', 'by hand: nginx -t is silent');
write_recipe($t, $by_hand, addresses());
$t->run();
my @before = works('by hand');
websocket(path => '/chat', authority => 'app.example.com');
wait_until(sub { run_time_log($t, 'error') }, 5);
my (undef, $not_forwarded) = blocks($page, '1. Load the module');
is(join("\n", map { s/, client: .*//r } run_time_log($t, 'error')), as_printed($t, $not_forwarded),
    'an upgrade that fails, as on the page');

# 2. Check the recipe

my $check = put($by_hand, "location /ws/ {\n" => "location /ws/ {\n            websocket_guard check;\n");
is(audit($check), '', 'check: nginx -t is silent');
write_recipe($t, $check, addresses());
ok(reload($t), 'check: reloaded');
is_deeply([works('check')], \@before, 'check: as before');

my $lacking = $check =~ s/^ *proxy_(?:http_version|read_timeout|send_timeout).*\n//mgr;
my (undef, undef, $lines) = blocks($page, '2. Check the recipe');
# The first is about HTTP/1.0, which is not the default of newer ones.
$lines =~ s/^.*\n// if $t->has_version('1.29.7');
is(audit($lacking), join("\n", sort split /\n/, as_printed($t, $lines)), 'check: what it lacks, as on the page');

# 3. Turn it on beside the recipe

my $beside = put($by_hand, "location /ws/ {\n" => "location /ws/ {\n            websocket_guard on;\n");
is(audit($beside), '', 'beside: nginx -t is silent');
my ($left) = map { (split /\n\n/)[-1] } blocks($page, '3. Turn it on beside the recipe');
is(guarded(), as_printed($t, $left), 'beside: who sets what');
write_recipe($t, $beside, addresses());
ok(reload($t), 'beside: reloaded');
is_deeply([works('beside')], \@before, 'beside: as before');

# 4. Remove the recipe

my ($remains, $set_by, $forwarded) = blocks($page, '4. Remove the recipe');
is(audit($remains), '', 'removed: nginx -t is silent');
is(guarded(), as_printed($t, $set_by), 'removed: who sets what');
write_recipe($t, $remains, addresses());
ok(reload($t), 'removed: reloaded');
is_deeply([works('removed')], \@before, 'removed: as before');

my $shorter = $remains =~ s/^    location \/ws\/ \{\n.*?^    \}\n/$forwarded/msr;
isnt($shorter, $remains, 'the last location takes the place of the one before');
is(audit($shorter), '', 'forwarded: nginx -t is silent');
write_recipe($t, $shorter, addresses());
ok(reload($t), 'forwarded: reloaded');
works('forwarded');
my ($seen) = reverse requests_seen($t, 8092);
is($seen->header('Host'), 'app.example.com:8000', 'forwarded: Host has the port');
is($seen->header('X-Real-IP'), '127.0.0.1', 'forwarded: X-Real-IP');
like($seen->header('X-Request-ID'), qr/^\w{32}$/, 'forwarded: what is inherited is not lost');

is(scalar run_time_log($t, 'notice'), 1, 'nothing else was said');

sub works {
    my ($step) = @_;
    my $ws = websocket(path => '/ws/chat', authority => 'app.example.com:8000');
    is($ws->echo('hello'), 'hello', "$step: WebSocket works");
    my ($seen) = reverse requests_seen($t, 8092);
    # nginx writes Upgrade and Connection in different places.
    return sort map { lc } grep { !/^Sec-WebSocket-Key/i } $seen->head =~ /(.*)\r\n/g;
}

sub addresses {
    my ($listen) = @_;
    return ('listen 80;' => 'listen ' . ($listen // '127.0.0.1:8080') . ';',
        '127.0.0.1:8081;' => '127.0.0.1:8092;', 'http://127.0.0.1:8080;' => 'http://127.0.0.1:8091;');
}

# What nginx -t says. A listener without a port stands for the page's 80: another port than that is worth a notice.
sub audit {
    my ($text) = @_;
    write_recipe($t, $text, addresses('unix:' . $t->testdir . '/80.sock'));
    return silent_test($t);
}

# The line about the guarded location in the last nginx -t.
sub guarded {
    return join "\n", grep {/ is guarded /} guard_lines($t->read_file('nginx-test.log'), 'info');
}
