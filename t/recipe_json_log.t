#!/usr/bin/perl

# docs/recipes.md, the access log as JSON: each line is JSON, whatever is quoted in it; tunnels and failed
# upgrades have a file of their own.

use strict;
use warnings;

use JSON::PP ();
use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;
use Test::WebSocketGuard::Recipe;

my $t = Test::Nginx->new()->has(qw/ http proxy map /)->plan(18);

my ($recipe, $example) = blocks('docs/recipes.md', 'The access log as JSON');

# With the frames of the tunnel looked at, and Pings in one location.
write_recipe($t, $recipe, 'listen 80;' => 'listen 127.0.0.1:8080; websocket_guard_tunnel pump;',
    '127.0.0.1:3000' => '127.0.0.1:8081', '/var/log/nginx' => $t->testdir, "proxy_pass" =>
    'location /ws/ping/ { websocket_guard_ping 1s; proxy_pass http://127.0.0.1:8081; } proxy_pass');
is(silent_test($t), '', 'nginx -t is silent');

run_backend($t, 8081, handlers => { insulting => sub {
    my ($c) = @_;
    $c->respond(403, qq("no"\n\\ \x01 \xff {));
} });
$t->run();

my $ws = websocket(path => '/ws/', authority => 'app.example.com');
is($ws->echo('hello'), 'hello', 'a tunnel');
$ws->send(pack('n', 1000) . 'bye', 'close');
$ws->closed_within(5);
my ($tunnel) = logged('tunnels', 1);

# As the page has it, but for what is different each time.
my $printed = JSON::PP::decode_json($example);
is_deeply([sort keys %$tunnel], [sort keys %$printed], 'the fields on the page');
for my $key (qw/ time client backend seconds /) {
    like($tunnel->{$key}, $printed->{$key} =~ /^\d+\.\d+$/ ? qr/^\d+\.\d+$/ : qr/^[\dT:.+-]+$/, $key);
    $tunnel->{$key} = $printed->{$key};
}
is_deeply($tunnel, $printed, 'the line on the page');

# All variables of the module are there, but those that are for the backend.

open my $table, '<', 'src/handshake/variables.rs' or die "src/handshake/variables.rs: $!\n";
my @variables = grep { !/_(?:upgrade|connection|host|internal_\w+)$/ } map { /\bc"(websocket_guard\w*)"/ } <$table>;
is_deeply([sort { $a cmp $b } $recipe =~ /"\$(websocket_guard\w*)"/g], [sort @variables], 'each variable');

# What others say.

websocket(path => '/ws/insulting', headers => [qq{Origin: "http://a\\b"\x80}]);
my ($failed) = logged('failed-upgrades', 1);
is($failed->{status}, 403, 'a failed upgrade');
like($failed->{outcome}, qr/^backend-/, 'its finding');
like($failed->{reason}, qr/answered 403|refused access with 403/, 'its sentence');

$ws = websocket(path => '/ws/');
$ws->send(pack('n', 4000) . qq{"quoted" \\ gr\xc3\xbc\xc3\x9fe}, 'close');
$ws->closed_within(5);
($tunnel) = reverse logged('tunnels', 2);
is($tunnel->{close_code}, 4000, 'a code of an application');
like($tunnel->{close_reason}, qr/^\\x22quoted\\x22 \\x5C gr\\xC3\\xBC\\xC3\\x9Fe$/i, 'a reason with everything in it');

$ws = websocket(path => '/ws/ping/');
my $ping = $ws->recv_frame;
is($ws->opcode, 9, 'a Ping of the guard');
$ws->send($ping, 'pong');
$ws->close;
($tunnel) = reverse logged('tunnels', 3);
like($tunnel->{client_rtt}, qr/^\d+\.\d{3}$/, 'the time of a Pong');

# Plain requests have neither.

http_get('/ws/');
ok(wait_until(sub { $t->read_file('access.log') =~ m{"GET /ws/ HTTP/1.0" 200} }), 'a plain request is in access.log');
is_deeply([scalar logged('tunnels', 3), scalar logged('failed-upgrades', 1)], [3, 1], 'and in neither other file');

sub logged {
    my ($name, $count) = @_;
    my @lines;
    wait_until(sub { @lines = split /\n/, $t->read_file("$name.json"); @lines >= $count }, 5);
    return map { JSON::PP::decode_json($_) } @lines;
}
