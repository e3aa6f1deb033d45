#!/usr/bin/perl

# Remedies that other files only read: the words in quotation marks are taken from the line, put where it says, and the
# WebSocket opens, or the finding is gone. host-not-forwarded at nginx -t, redirects of the backend, refused origins.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy realip /)->plan(24);

my $by_hand = 'proxy_http_version 1.1; proxy_read_timeout 1h; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;';

# Location, what stands in it, where it leads. What a line says is put behind %IN%, or beside the lines of the server.
our %locations = (
    '/block/'     => ['websocket_guard auto; %IN%', 'http://pool'],
    '/address/'   => ['websocket_guard auto; proxy_set_header X-Own 1; %IN%', 'http://127.0.0.1:8081'],
    '/domain/'    => ['websocket_guard auto; proxy_set_header X-Own 1; %IN%', 'http://app.internal'],
    '/hand/'      => ["$by_hand %IN%", 'http://pool'],
    '/inherited/' => ['websocket_guard check;', 'http://pool'],
    '/tls/on/'    => ['websocket_guard on; %IN%', 'http://127.0.0.1:8081'],
    '/tls/hand/'  => ["$by_hand %IN%", 'http://127.0.0.1:8081'],
    '/replaced/'  => ['websocket_guard on; websocket_guard_forwarded on; proxy_set_header X-Own 1; %IN%', 'http://127.0.0.1:8081'],
    '/origin/'    => ['websocket_guard on; websocket_guard_origin %ORIGINS%;', 'http://127.0.0.1:8081'],
    '/same/'      => ['websocket_guard on; websocket_guard_origin %SAME%;', 'http://127.0.0.1:8081'],
    '/none/'      => ['websocket_guard auto; websocket_guard_origin %NONE%;', 'http://127.0.0.1:8081'],
);
my (%in, $beside, $trusted);
my %origins = (ORIGINS => 'https://app.example', SAME => 'same', NONE => 'https://app.example');

sub conf {
    my $of_server = join ' ', $by_hand, $beside // ();
    my $realip    = $trusted // '';
    my $text      = join '', map {
        my ($name, $body, $to) = ($_, @{ $locations{$_} });
        my $in = $in{$name} // '';
        $body =~ s/%IN%/$in/;
        $body =~ s/%(ORIGINS|SAME|NONE)%/$origins{$1}/;
        "location $name {\n$body\nproxy_pass $to;\n}\n";
    } sort keys %locations;
    return <<"EOC";

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    upstream pool {
        server 127.0.0.1:8081;
    }

    upstream app.internal {
        server 127.0.0.1:8081;
    }

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;
        $realip
        $of_server
        $text
    }
}
EOC
}

run_backend($t, 8081, handlers => {
    host   => sub { my ($c, $request) = @_; $c->upgrade(headers => ['X-Host: ' . ($request->header('Host'))[0]]) && $c->echo },
    secure => sub {
        my ($c, $request) = @_;
        return $c->upgrade && $c->echo if ($request->header('X-Forwarded-Proto') // '') eq 'https';
        $c->respond(301, '', 'Location: https://localhost' . $request->uri);
    },
    moved => sub { my ($c) = @_; $c->respond(302, '', 'Location: /tls/on/ws') },
});
$t->write_file_expand('nginx.conf', conf());
$t->run();

# ---- host-not-forwarded

# What nginx -t says of it, by location: in another location too is said of the first, so each is asked for alone.
my %told = map { my ($name) = /location "([^"]+)"/; $name => $_ } map { host_findings($_) } qw{ /block/ /address/ /domain/ /hand/ /inherited/ };
is(join(' ', sort keys %told), '/address/ /block/ /domain/ /hand/ /inherited/', 'each is told of');
for my $name (qw{ /block/ /address/ /domain/ /hand/ }) {
    ($in{$name}) = $told{$name} =~ /; (?:add|set) "([^"]+;)" (?:to|in) the location/;
}
($beside, my $line) = $told{'/inherited/'} =~ /; add "([^"]+;)" beside the lines that it inherits \(\S+:(\d+)\)/;
is($line, conf_line($t, qr/^\s*proxy_http_version/, 'nginx-test.conf'), 'where the inherited lines stand');
is(join(' | ', map { $in{$_} // '' } qw{ /block/ /address/ /domain/ /hand/ }, ), 'websocket_guard_forwarded host; | '
    . 'websocket_guard_forwarded host; | proxy_set_header Host $http_host; | proxy_set_header Host $http_host;', 'what is to be added');

my %before = map { $_ => host_of($_) } qw{ /block/ /address/ /domain/ /hand/ /inherited/ };
unlike(join(' ', values %before), qr/app\.example/, "the backend does not get the client's Host");
apply();
is(host_of($_), 'app.example:81', "$_: it does with the remedy") for sort keys %before;
is(join(' ', map { host_findings($_) } sort keys %before), '', 'and nothing is said any more');

# ---- the backend redirects to https

my @in_front = (headers => ['X-Forwarded-Proto: https', 'X-Forwarded-For: 192.0.2.7']);
(%in, $beside) = ();
apply();
for my $name (qw{ /tls/on/ /tls/hand/ }) {
    my $said = outcome($t, path => "${name}secure");
    like($said, qr/^301, .*; use wss:.* have the proxy there send X-Forwarded-Proto, and pass it on with "[^"]+;" \[backend-redirect\]$/, "$name: TLS in front");
    ($in{$name}) = $said =~ /pass it on with "([^"]+;)"/;
}
my $said = outcome($t, path => '/replaced/secure', @in_front);
my ($realip) = $said =~ /or have realip trust the proxy in front \((set_real_ip_from)\)/;
is($realip, 'set_real_ip_from', '/replaced/: realip is advised');
my $moved = outcome($t, path => '/tls/on/moved');
like($moved, qr/^302, .* to "\/tls\/on\/ws", .*; use the final URL in the client/, 'another URL');
$in{'/tls/on/'}   = $in{'/tls/on/'} . ' ' . $by_hand;
$trusted = "$realip 127.0.0.1; real_ip_header X-Forwarded-For;";
apply();
is(outcome($t, path => "${_}secure", @in_front), '101', "${_}: with the remedy, and a proxy that does") for qw{ /tls/on/ /tls/hand/ /replaced/ };
is(outcome($t, path => ($moved =~ / to "([^"]+)"/)[0]), '101', 'the final URL');
undef $trusted;

# ---- an origin is refused

my @page = (authority => 'app.example', origin => 'https://other.example');
my @own  = (authority => 'app.example', origin => 'https://app.example');
apply();
for my $case (['/origin/', 'ORIGINS', @page], ['/same/', 'SAME', @page], ['/same/', 'SAME', @own]) {
    my ($path, $list, %page) = @$case;
    my $denied = outcome($t, path => $path, %page);
    my ($origin) = $denied =~ /origin "([^"]+)" is not allowed, .*; [^;]*add (?:it|that origin) to websocket_guard_origin/;
    is($origin, $page{origin}, "$path, $page{origin}: which one to add");
    $origins{$list} .= " $origin";
}
like(outcome($t, path => '/none/'), qr/^403, .*; add "none" to websocket_guard_origin if clients that are no browsers may connect/, 'no Origin');
$origins{NONE} .= ' none';
apply();
is(join(' ', map { outcome($t, path => $_->[0], @$_[1 .. $#$_]) } ['/origin/', @page], ['/same/', @page], ['/same/', @own], ['/none/']),
    '101 101 101 101', 'with them');
like(outcome($t, path => '/origin/', origin => 'https://third.example'), qr/^403/, 'and no others');

sub apply {
    $t->write_file_expand('nginx.conf', conf());
    reload($t);
}

# The Host that the backend gets.
sub host_of { return websocket(path => "$_[0]host", authority => 'app.example:81')->header('X-Host') // 'none' }

# host-not-forwarded of one location, without the others.
sub host_findings {
    my ($name) = @_;
    local %locations = ($name => $locations{$name});
    nginx_test($t, conf());
    return grep {/\[host-not-forwarded\]/} guard_lines($t->read_file('nginx-test.log'));
}
