#!/usr/bin/perl

# uwsgi_pass and scgi_pass: upgrades, with the limits of a tunnel; in "on" long timeouts and no
# buffering for all requests, in "auto" for the tunnel only.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http uwsgi scgi /);

my $conf = <<'EOC';

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    uwsgi_param  REQUEST_METHOD $request_method;
    uwsgi_param  REQUEST_URI    $request_uri;
    scgi_param   REQUEST_METHOD $request_method;
    scgi_param   REQUEST_URI    $request_uri;
    scgi_param   CONTENT_LENGTH $content_length;

    uwsgi_read_timeout  1s;
    scgi_read_timeout   1s;

EOC

my %port = (uwsgi => 8080, scgi => 8090);
my %backend = (uwsgi => 8081, scgi => 8091);

$conf .= <<'EOC' =~ s/PROTOCOL/$_/gr =~ s/FRONT/$port{$_}/r =~ s/BACK/$backend{$_}/gr for qw/ uwsgi scgi /;
    server {
        listen       127.0.0.1:FRONT;
        server_name  localhost;

        location /on/ {
            websocket_guard  on;
            PROTOCOL_pass    127.0.0.1:BACK;
        }

        location /auto/ {
            websocket_guard  auto;
            PROTOCOL_pass    127.0.0.1:BACK;
        }

        location /limited/ {
            websocket_guard          auto;
            websocket_guard_timeout  1s;
            PROTOCOL_read_timeout    10s;
            PROTOCOL_pass            127.0.0.1:BACK;
        }

        location /explicit/ {
            websocket_guard        on;
            PROTOCOL_read_timeout  1s;
            PROTOCOL_buffering     on;
            PROTOCOL_pass          127.0.0.1:BACK;
        }
    }

EOC

$t->write_file_expand('nginx.conf', "$conf}\n")->plan(45);

run_backend($t, $backend{$_}, protocol => $_) for keys %backend;
$t->run();

for my $protocol (qw/ uwsgi scgi /) {
    my $port = $port{$protocol};
    my $name = sub {"$protocol: $_[0]"};

    # What takes its time is started at once and looked at afterwards.
    my %slow = map { $_ => get("$_/slow?2", $port) } qw! /on /auto /limited /explicit !;
    my %idle = map { $_ => websocket(path => "$_/", port => $port) } qw! /on /auto /limited /explicit !;

    ok(streams('/on/', port => $port), $name->('/on: events come one by one'));
    ok(!streams("$_/", port => $port), $name->("$_: events are buffered")) for qw! /auto /explicit !;

    is($idle{$_}->status, 101, $name->("$_: handshake")) for sort keys %idle;
    for my $path (qw! /limited /explicit !) {
        ok($idle{$path}->closed_within(4), $name->("$path: the idle tunnel is cut"));
    }
    is($slow{$_}->read_response->status, 504, $name->("$_: a slow plain request too")) for qw! /auto /explicit !;
    is($slow{$_}->read_response->status, 200, $name->("$_: a slow plain request is not")) for qw! /on /limited !;
    for my $path (qw! /on /auto !) {
        is($idle{$path}->echo('hello'), 'hello', $name->("$path: the idle tunnel is not"));
        is($idle{$path}->echo_bytes(1 << 20), 1 << 20, $name->("$path: 1 MiB"));
        ok($idle{$path}->close, $name->("$path: orderly end"));
    }

    is(websocket(path => '/on/greet?hi', port => $port, pipeline_message => 'early')->recv, 'hi', $name->('a message with the 101'));
    is(websocket(path => '/on/h2c', port => $port, headers => ['Upgrade: h2c'])->status, 200, $name->('h2c'));
    my ($h2c) = grep { $_->uri eq '/on/h2c' } requests_seen($t, $backend{$protocol});
    is(join('', $h2c->header('Upgrade')), '', $name->('is not passed on'));
}

is(join(' ', guard_findings($t, 'error', count => 4)), 'tunnel-idle tunnel-idle tunnel-idle tunnel-idle', 'nothing but what failed');

# Sends the request; the response is still to be read.
sub get {
    my ($uri, $port) = @_;
    my $client = connection(port => $port);
    $client->write("GET $uri HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    return $client;
}
