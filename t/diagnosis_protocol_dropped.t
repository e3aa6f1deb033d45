#!/usr/bin/perl

# protocol-dropped: the guard took away an Upgrade that the backend wanted. unsolicited-101: the backend switched all
# the same. Both lines name websocket_guard_upgrade, and with what they say the protocol works.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy /);

# The locations are built from a list, to be able to put a remedy into one.
my %own = map { $_ => '' } qw! /on/ /auto/ /foo/ !;
$own{'/foo/'} = 'websocket_guard_upgrade Foo;';

sub conf {
    my $locations = join '', map {
        my $mode = $_ eq '/auto/' ? 'auto' : 'on';
        "        location $_ { websocket_guard $mode; $own{$_} proxy_pass http://127.0.0.1:8081; }\n"
    } sort keys %own;
    return <<"EOC";

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    log_format  short  "\$status \$websocket_guard";
    access_log  %%TESTDIR%%/access.log short;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

$locations
        location /check/ { websocket_guard check; proxy_pass http://127.0.0.1:8081; }
        location /off/ { proxy_pass http://127.0.0.1:8081; }
        location /files/ { websocket_guard on; }
    }
}
EOC
}

$t->write_file_expand('nginx.conf', conf())->plan(28);

# As servers do that speak another protocol: without Upgrade it is an error.
my %handlers = map {
    my ($protocol, $status) = @$_;
    $protocol => sub {
        my ($c, $request) = @_;
        return $c->respond($status, "no upgrade\n") unless $request->has_token(Upgrade => $protocol);
        $c->upgrade(upgrade => $protocol, accept => undef) && $c->echo;
    }
} ['tcp', 400], ['SPDY', 426], ['tailscale-control-protocol', 500];
$handlers{always} = sub { my ($c, $request) = @_; $c->upgrade(upgrade => $request->args, accept => undef) && $c->echo };
run_backend($t, 8081, handlers => \%handlers);
$t->run();

my $backend = 'backend 127.0.0.1:' . port(8081);
my @no_key = (without => ['Sec-WebSocket-Key', 'Sec-WebSocket-Version']);
my @post = (method => 'POST', @no_key);

sub dropped {
    my ($name, $status, $listed) = @_;
    return "$status, [error] upgrade failed: Upgrade \"$name\" was not passed on, and $backend answered $status to what was "
        . "left; add \"websocket_guard_upgrade $listed $name;\" to the location [protocol-dropped]";
}

for my $case (
    # path, Upgrade, status, what is listed; in another method, mode, place of a list
    ['/on/tcp',  'tcp',  400, 'websocket'],
    ['/on/SPDY', 'SPDY', 426, 'websocket'],
    ['/auto/tailscale-control-protocol', 'tailscale-control-protocol', 500, 'websocket'],
    ['/foo/tcp', 'tcp',  400, 'Foo'],
) {
    my ($path, $name, $status, $listed) = @$case;
    is(outcome($t, path => $path, @post, headers => ["Upgrade: $name", 'Content-Length: 0']), dropped($name, $status, $listed),
        "$path, POST");
    is(outcome($t, path => $path, @no_key, headers => ["Upgrade: h2c, $name"]), dropped($name, $status, $listed),
        "$path, GET, in a list");
}
is(outcome($t, path => '/foo/status?400'), dropped('websocket', 400, 'Foo'), 'WebSocket where it is not listed');

# ---- a 101 all the same

my $refused = "502, [error] $backend answered 101, although Upgrade \"tcp\" was not passed on; "
    . 'add "websocket_guard_upgrade websocket tcp;" to the location [unsolicited-101]';
is(outcome($t, path => "${_}always?tcp", @post, headers => ['Upgrade: tcp', 'Content-Length: 0']), $refused, "$_, 101, POST")
    for qw! /on/ /auto/ !;
is(outcome($t, path => '/on/always?tcp', @no_key, headers => ['Upgrade: tcp']), $refused, '101, GET');

# ---- near

for my $case (
    ['h2c cannot be listed',     '400', 'not-websocket', path => '/on/tcp', @no_key, headers => ['Upgrade: h2c']],
    ['nor what is no protocol',  '400', 'not-websocket', path => '/on/tcp', @no_key, headers => ['Upgrade: "tcp"']],
    ['served all the same',      '200', 'not-websocket', path => '/on/page', @no_key, headers => ['Upgrade: tcp']],
    ['no upgrade is asked for',  '400', 'not-websocket', path => '/on/tcp', @no_key, headers => ['Upgrade: tcp', 'Connection: close']],
    ['HTTP/1.0',                 '400', 'not-websocket', path => '/on/tcp', @no_key, version => '1.0', headers => ['Upgrade: tcp']],
    ['nothing is proxied',       '404', 'not-websocket', path => '/files/x', @no_key, headers => ['Upgrade: tcp']],
    ['check takes nothing away', '400', 'not-websocket', path => '/check/tcp', @no_key, headers => ['Upgrade: tcp']],
    ['nor does off',             '400', 'not-websocket', path => '/off/tcp', @no_key, headers => ['Upgrade: tcp']],
) {
    my ($name, $status, $finding, @request) = @$case;
    like(outcome($t, @request), qr/^$status, \[info\] Upgrade .* \[$finding\]$/, $name);
}
is(outcome($t, path => '/on/always?h2c', @no_key, headers => ['Upgrade: h2c']), "502, [error] $backend answered 101, although "
    . 'Upgrade "h2c" was not passed on; correct the backend, and see that no proxy_set_header sets Upgrade to a constant '
    . '[unsolicited-101]', 'h2c and a 101');
like(outcome($t, path => '/on/always?tcp', without => ['Upgrade', 'Connection', 'Sec-WebSocket-Key', 'Sec-WebSocket-Version']),
    qr/answered 101 to a request that asked for no upgrade; correct the backend/, 'nothing was asked for');
like($t->read_file('access.log'), qr/^400 protocol-dropped$/m, '$websocket_guard');

# ---- what the lines say, works

my %remedy;
for my $line (guard_log($t, 'error', raw => 1)) {
    my ($directive) = $line =~ /; add "([^"]+)" to the location/ or next;
    my ($location) = $line =~ m!request: "\S+ (/\w+/)! or next;
    $remedy{$location}{ $line =~ /Upgrade "([^"]+)"/ ? $1 : '' } = $directive;
}
for my $case (['/on/', 'tcp'], ['/auto/', 'tailscale-control-protocol'], ['/foo/', 'tcp']) {
    my ($location, $name) = @$case;
    $own{$location} = $remedy{$location}{$name};
}
$t->write_file_expand('nginx.conf', conf());
reload($t);
for my $case (['/on/', 'tcp'], ['/auto/', 'tailscale-control-protocol'], ['/foo/', 'tcp']) {
    my ($location, $name) = @$case;
    my $tunnel = websocket(path => "$location$name", @post, headers => ["Upgrade: $name", 'Content-Length: 0']);
    is($tunnel->echo('hello'), 'hello', "$location, $own{$location}");
}
is(websocket(path => '/on/always?tcp', @no_key, headers => ['Upgrade: tcp'])->echo('hello'), 'hello', 'the 101 as well');
is(websocket(path => '/on/ws')->echo('hello'), 'hello', 'and WebSocket still');
