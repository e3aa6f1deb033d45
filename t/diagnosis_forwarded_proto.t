#!/usr/bin/perl

# A backend that redirects http to https by X-Forwarded-Proto, where TLS ends in nginx or in front of it: the line tells
# what was sent and what came, and what it advises works. "websocket_guard_origin same" behind such a proxy as well.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy http_ssl realip socket_ssl /);

my $by_hand = 'proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;';

# Location, what is in it. What a line advises takes the place of %FIX% later.
my %locations = (
    '/on/'       => 'websocket_guard on; websocket_guard_forwarded on; %FIX%',
    '/above/'    => 'websocket_guard auto; %FIX%',
    '/own/'      => 'websocket_guard on; proxy_set_header X-Forwarded-Proto $scheme; %FIX%',
    '/hand/'     => "$by_hand proxy_set_header X-Forwarded-Proto \$scheme; %FIX%",
    '/plain-on/' => 'websocket_guard on; websocket_guard_forwarded off; %FIX%',
    '/plain/'    => "$by_hand websocket_guard_forwarded off; %FIX%",
);
my %fix;

sub conf {
    my $locations = join '', map {
        my ($name, $fix) = ($_, $fix{$_} // '');
        my $text = $locations{$name};
        # A directive that is there already is set, not repeated.
        my ($directive) = $fix =~ /^(websocket_guard_forwarded|proxy_set_header \S+)/;
        $text =~ s/\Q$directive\E [^;]*;// if defined $directive;
        $text =~ s/%FIX%/$fix/;
        "        location $name { $text proxy_pass http://127.0.0.1:8081; }\n"
    } sort keys %locations;
    my $trust = $fix{same} // '';
    return <<"EOC";

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    ssl_certificate      localhost.crt;
    ssl_certificate_key  localhost.key;

    websocket_guard_forwarded  on;

    server {
        listen       127.0.0.1:8080;
        listen       127.0.0.1:8443 ssl;
        server_name  localhost;

$locations
    }

    server {
        listen       127.0.0.1:8083;
        server_name  localhost;

        $trust

        location / {
            websocket_guard         on;
            websocket_guard_origin  same;
            proxy_pass              http://127.0.0.1:8081;
        }
    }
}
EOC
}

make_certificate($t);
$t->write_file_expand('nginx.conf', conf())->plan(24);

run_backend($t, 8081, handlers => {
    # As frameworks do that are told to use TLS only.
    secure => sub {
        my ($c, $request) = @_;
        return $c->upgrade && $c->echo if ($request->header('X-Forwarded-Proto') // '') =~ /^https/;
        $c->respond(301, '', 'Location: https://localhost' . $request->uri);
    },
    # One that believes nobody, and a sign-in.
    always => sub { my ($c, $request) = @_; $c->respond(301, '', 'Location: https://localhost' . $request->uri) },
    login  => sub { $_[0]->respond(302, '', 'Location: /login') },
});
$t->run();

my $for    = 'X-Forwarded-For: 192.0.2.7';
my $https  = 'X-Forwarded-Proto: https';
my $start  = 'upgrade failed: backend 127.0.0.1:' . port(8081) . ' answered';
my $no     = 'and WebSocket clients do not follow redirects';
my $usual  = 'use the final URL in the client, or sign in first if that is a sign-in';

# ---- what is said

my $replaced = 'it was sent X-Forwarded-Proto "http" in place of "https", which came';
my $by_guard = 'set "websocket_guard_forwarded host;" in the location, which passes X-Forwarded-Proto on as it came, or have realip '
    . 'trust the proxy in front (set_real_ip_from)';
my $by_own   = 'send what came: "proxy_set_header X-Forwarded-Proto $http_x_forwarded_proto;"';
my $ssl      = 'that the client uses TLS was said by X-Forwarded-Ssl, and X-Forwarded-Proto was not "https"; say it so that the '
    . 'backend knows it: "proxy_set_header X-Forwarded-Proto https;"';
my $nothing  = 'the client uses TLS, and no X-Forwarded-Proto was sent';
my $add      = 'add "websocket_guard_forwarded on;" to the location';
my $no_tls   = 'use wss:// in the client; if TLS ends in front of this nginx, have the proxy there send X-Forwarded-Proto, and pass '
    . 'it on with "proxy_set_header X-Forwarded-Proto $http_x_forwarded_proto;"';

for my $case (
    # path, what the line says behind the redirect, the handshake
    ['/on/',       "$replaced; $by_guard", headers => [$for, $https]],
    ['/above/',    "$replaced; $by_guard", headers => [$for, $https]],
    ['/own/',      "$replaced; $by_own",   headers => [$for, $https]],
    ['/hand/',     $replaced =~ s/"https"/"https, http"/r . "; $by_own", headers => ['X-Forwarded-Proto: https, http']],
    ['/on/',       $ssl,                   headers => ['X-Forwarded-Ssl: on']],
    ['/plain/',    $ssl,                   headers => ['X-Forwarded-Ssl: on']],
    ['/plain-on/', "$nothing; $add",       ssl => 1],
    ['/plain/',    "$nothing; say so: \"proxy_set_header X-Forwarded-Proto \$scheme;\"", ssl => 1],
    ['/plain/',    $no_tls],
    ['/hand/',     $no_tls],
) {
    my ($path, $said, @handshake) = @$case;
    is(outcome($t, path => "${path}secure", @handshake),
        "301, [error] $start 301 to \"https://localhost${path}secure\", $no; $said [backend-redirect]", "$path, $said");
}

# Near: it was told, or the redirect has nothing to do with it.

my $trusted = 'it was sent X-Forwarded-Proto "https"; have the application believe it of this nginx (its setting for trusted proxies)';
is(outcome($t, path => '/plain/always', headers => [$https]),
    "301, [error] $start 301 to \"https://localhost/plain/always\", $no; $trusted [backend-redirect]", 'told, in front');
is(outcome($t, path => '/on/always', ssl => 1),
    "301, [error] $start 301 to \"https://localhost/on/always\", $no; $trusted [backend-redirect]", 'told, here');
is(outcome($t, path => '/on/login', headers => [$for, $https]),
    "302, [error] $start 302 to \"/login\", $no; $usual [backend-redirect]", 'a sign-in');

# ---- what is advised

sub advised {
    my ($path, @handshake) = @_;
    my $line = outcome($t, path => "${path}secure", @handshake);
    my ($fix) = $line =~ /; [^;]*"((?:websocket_guard_forwarded|proxy_set_header)[^"]*;)"/;
    return $fix;
}

my @in_front = (headers => [$for, $https]);
for my $case (['/on/', @in_front], ['/above/', @in_front], ['/own/', @in_front], ['/hand/', @in_front],
    ['/plain-on/', ssl => 1], ['/plain/', ssl => 1]) {
    my ($path, @handshake) = @$case;
    $fix{$path} = advised($path, @handshake);
}
my @browser = (port => 8083, authority => 'app.example.com', origin => 'https://app.example.com', headers => [$for, $https]);
my $denied = outcome($t, @browser);
is($denied, '403, [error] upgrade failed: origin "https://app.example.com" is not allowed, allowed: "same", which is '
    . '"http://app.example.com" here; trust the X-Forwarded-Proto of the proxy in front with "set_real_ip_from 127.0.0.1; '
    . 'real_ip_header X-Forwarded-For;", or add that origin to websocket_guard_origin [origin-denied]', 'same');
($fix{same}) = $denied =~ /with "([^"]+)"/;

$t->write_file_expand('nginx.conf', conf());
reload($t);
for my $case (['/on/', @in_front], ['/above/', @in_front], ['/own/', @in_front], ['/hand/', @in_front],
    ['/plain-on/', ssl => 1], ['/plain/', ssl => 1]) {
    my ($path, @handshake) = @$case;
    is(websocket(path => "${path}secure", @handshake)->echo('hello'), 'hello', "$path, with $fix{$path}");
}
is(websocket(@browser)->echo('hello'), 'hello', "same, with $fix{same}");
is(websocket(@browser, origin => 'http://app.example.com')->status, 403, 'same, and the page without TLS is another');

# The other header that says so.

%fix = map { $_ => 'proxy_set_header X-Forwarded-Proto https;' } '/on/', '/plain/';
$t->write_file_expand('nginx.conf', conf());
reload($t);
for my $path ('/on/', '/plain/') {
    is(websocket(path => "${path}secure", headers => ['X-Forwarded-Ssl: on'])->echo('hello'), 'hello', "$path, X-Forwarded-Ssl");
}
