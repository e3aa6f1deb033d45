#!/usr/bin/perl

# docs/recipes.md, several servers: least_conn counts open tunnels, over all workers; each way of affinity brings a
# client to one server.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;
use Test::WebSocketGuard::Recipe;

my $t = Test::Nginx->new()->has(qw/ http proxy upstream_least_conn upstream_zone upstream_hash upstream_ip_hash /);
my $sticky = $t->has_version('1.29.6');
$t->plan(23);

my ($recipe) = blocks('docs/recipes.md', 'Several servers');
my @addresses = ('listen 80;' => 'listen 127.0.0.1:8080;', '10.0.0.11:3000' => '127.0.0.1:8081',
    '10.0.0.12:3000' => '127.0.0.1:8082');

write_recipe($t, $recipe, @addresses);
is(silent_test($t), '', 'nginx -t is silent');

for my $number (8081, 8082) {
    run_backend($t, $number, handlers => { websocket => sub {
        my ($c) = @_;
        $c->upgrade(bytes => $c->frame(text => $number)) && $c->echo;
    } });
}
$t->run();

my %open;
open_tunnel() for 1 .. 8;
is_deeply([map { scalar @{ $open{$_} } } 8081, 8082], [4, 4], 'eight tunnels, four at each');

# Three leave one server. The next three come to it, and are spread evenly then.
$_->close for splice @{ $open{8081} }, 0, 3;
wait_until(sub { 3 == (() = $t->read_file('access.log') =~ /\n/g) });
open_tunnel() for 1 .. 3;
is_deeply([map { scalar @{ $open{$_} } } 8081, 8082], [4, 4], 'new ones go where few are');
is_deeply([guard_log($t, 'notice')], [], 'nothing to say about it');

# In turn they would not.

write_recipe($t, put($recipe, "least_conn;\n" => "\n"), @addresses);
ok(reload($t), 'reloaded without least_conn');
my @round = map { server_of(websocket(path => '/ws/')) } 1 .. 4;
is(join(' ', sort @round), '8081 8081 8082 8082', 'in turn');

# Without the directive that silences it.

write_recipe($t, put($recipe, 'websocket_guard_ignore lb-no-affinity;' => ''), @addresses);
like(silent_test($t), qr/^\[notice\] .* "app" without session affinity; add "ip_hash;" .* \[lb-no-affinity\] in [^\n]*$/,
    'the notice');

# Each line of the table.

my $cookie;

for my $affinity ('ip_hash;', 'hash $remote_addr consistent;', 'hash $arg_room consistent;', 'sticky cookie route;') {
    write_recipe($t, put($recipe, 'least_conn;' => $affinity, 'websocket_guard_ignore lb-no-affinity;' => ''),
        @addresses);
    if ($affinity =~ /^sticky/ && !$sticky) {
        like(silent_test($t), qr/unknown directive "sticky"/, "$affinity: not in this nginx");
        pass('which is what the page says') for 1 .. 3;
        next;
    }
    is(silent_test($t), '', "$affinity: nginx -t is silent, without a word about affinity");
    ok(reload($t), "$affinity: reloaded");
    my @servers = map { client($affinity, 'a') } 1 .. 5;
    is(join(' ', @servers), join(' ', ($servers[0]) x 5), "$affinity: one server");
    if ($affinity =~ /room/) {
        my %servers = map { client($affinity, "room-$_") => 1 } 1 .. 40;
        is_deeply([sort keys %servers], [8081, 8082], "$affinity: other rooms are elsewhere");
    } else {
        is_deeply([run_time_log($t, 'notice')], [], "$affinity: nothing to say about it");
    }
}

sub client {
    my ($affinity, $room) = @_;
    my $ws = websocket(path => "/ws/?room=$room", $cookie && $affinity =~ /sticky/ ? (headers => ["Cookie: $cookie"]) : ());
    ($cookie) = ($ws->header('Set-Cookie') // '') =~ /^(route=[^;]+)/ if $affinity =~ /sticky/ && !$cookie;
    return server_of($ws);
}

sub open_tunnel {
    my $ws = websocket(path => '/ws/');
    push @{ $open{ server_of($ws) } }, $ws;
}

sub server_of { return $_[0]->recv // 'none' }
