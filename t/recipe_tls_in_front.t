#!/usr/bin/perl

# docs/recipes.md, TLS that ends in front: the nginx in front and the one behind it, both from the page; what happens
# to a proxy that nobody trusts, and with the PROXY protocol.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;
use Test::WebSocketGuard::Recipe;

my $t = Test::Nginx->new()->has(qw/ http proxy http_ssl realip socket_ssl /)->plan(25);

my ($recipe, $denied, $front) = blocks('docs/recipes.md', 'TLS that ends in front');
my @addresses = ('listen 80' => 'websocket_guard_tunnel pump; listen 127.0.0.1:8080',
    '127.0.0.1:3000' => '127.0.0.1:8081', 'websocket_guard_ping 30s;' => 'websocket_guard_ping 1s;');
my $trusted = '10.0.0.0/24';
# Another nginx in truth: this one does not believe its clients.
my $in_front = put($front, 'listen 443 ssl;' => 'set_real_ip_from unix:; listen 443 ssl;', 'listen 443 ssl;' => 'listen 127.0.0.1:8443 ssl;', '10.0.1.10' => '127.0.0.1:8080',
    '/etc/nginx/tls/app.example.com' => $t->testdir . '/app.example.com');

make_certificate($t, 'app.example.com');
write_recipe($t, "$recipe$in_front", @addresses, $trusted => '127.0.0.1');
is(silent_test($t), '', 'nginx -t is silent');

# As frameworks do that are told to use TLS only.
run_backend($t, 8081, handlers => { secure => sub {
    my ($c, $request) = @_;
    my $proto = $request->header('X-Forwarded-Proto') // '';
    return $c->respond(301, '', 'Location: https://app.example.com/secure') if $proto ne 'https';
    $c->upgrade && $c->echo;
} });
$t->run();

# A browser, from outside.

my $ws = websocket(browser());
is($ws->status, 101, 'through both');
is($ws->echo('hello'), 'hello', 'echo');
is(defined $ws->recv_frame && $ws->opcode, 9, 'a Ping');
my ($seen) = reverse requests_seen($t, 8081);
is($seen->header('Host'), 'app.example.com', 'the Host');
is($seen->header('X-Forwarded-Proto'), 'https', 'the scheme of the client');
is($seen->header('X-Real-IP'), '192.0.2.66', 'the address that the last untrusted hop had');
is(websocket(browser(), origin => 'https://evil.example')->status, 403, 'another origin');
ok(wait_log($t, qr/"https:\/\/evil.example" is not allowed, allowed: "same", which is "https:.*\[origin-denied\]/, 5),
    'which is told');

# A proxy in front that nobody trusts.

my $since = log_size($t);
write_recipe($t, put("$recipe$in_front", "set_real_ip_from $trusted" => '#'), @addresses);
ok(reload($t), 'reloaded without set_real_ip_from');
is(websocket(browser())->status, 403, 'every browser is refused');
wait_log($t, qr/\[origin-denied\]/, 5, since => $since);
is_deeply([map { /(.*\[origin-denied\]), client/ } run_time_log($t, 'error', since => $since)],
    [as_printed($t, $denied, '10.0.0.5' => '127.0.0.1')], 'the line on the page');
write_recipe($t, put("$recipe$in_front", "set_real_ip_from $trusted" => '#', 'websocket_guard_origin same;' => ''),
    @addresses);
ok(reload($t), 'reloaded without a check of the origin');
is(websocket(browser())->status, 301, 'the backend does not know that it was TLS');

# A load balancer that passes on bytes, and a header of the PROXY protocol before them.

write_recipe($t, put($recipe, 'listen 80;' => 'listen 80 proxy_protocol;', 'X-Forwarded-For;' => 'proxy_protocol;',
    'same;' => 'https://app.example.com; proxy_set_header X-Forwarded-Proto https;'), @addresses,
    $trusted => '127.0.0.1');
is(silent_test($t), '', 'PROXY protocol: nginx -t is silent');
ok(reload($t), 'PROXY protocol: reloaded');
$ws = websocket(browser(), ssl => 0, port => 8080, preface => "PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n");
is($ws->status, 101, 'PROXY protocol: a browser');
($seen) = reverse requests_seen($t, 8081);
is($seen->header('X-Real-IP'), '192.0.2.7', 'PROXY protocol: the address');
is($seen->header('X-Forwarded-Proto'), 'https', 'PROXY protocol: the scheme');

# The PROXY protocol in front of the recipe as it is.

$since = log_size($t);
write_recipe($t, $recipe, @addresses, $trusted => '127.0.0.1');
ok(reload($t), 'reloaded without proxy_protocol');
is(websocket(browser(), ssl => 0, port => 8080, preface => "PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n")->status, 400,
    'a header of the PROXY protocol that is not expected');
ok(wait_log($t, qr/\[proxy-protocol\]/, 5, since => $since), 'is told, too');

# What a proxy in front does that knows no WebSocket.

for my $case (
    ['stripped-upgrade',     'without Upgrade',    [without => ['Upgrade', 'Connection']]],
    ['handshake-connection', 'without Connection', [headers => ['Connection: close']]],
) {
    my ($name, $what, $changed) = @$case;
    $since = log_size($t);
    websocket(browser(), ssl => 0, port => 8080, @$changed);
    ok(wait_log($t, qr/\[$name\]/, 5, since => $since), "$what, $name");
}

# The nginx in front has its own line about what the one behind it answers.
my @findings = sort qw/ origin-denied backend-origin origin-denied backend-auth backend-redirect backend-redirect proxy-protocol
    stripped-upgrade handshake-connection /;
wait_until(sub { run_time_log($t, 'error') >= @findings }, 5);
is_deeply([sort map { /\[([\w-]+)\],/ } run_time_log($t, 'error')], \@findings, 'nothing else to say');

# The test has the address of the proxy in front; what is behind "for" tells it from that.
sub browser {
    return (headers => ['X-Forwarded-For: 192.0.2.66', 'X-Forwarded-Proto: http'],
        path => '/secure', ssl => 1, port => 8443, sni => 'app.example.com', authority => 'app.example.com',
        origin => 'https://app.example.com');
}
