#!/usr/bin/perl

# Clients and backends that leave in any phase of a handshake and of its tunnel, also while the configuration
# is read anew, and many at once: the workers live, and nothing is left of those connections.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;
use Time::HiRes qw/ sleep /;

my $t = Test::Nginx->new()->has(qw/ http proxy stub_status upstream_keepalive upstream_zone /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(14);

%%TEST_GLOBALS%%

daemon off;
worker_processes 2;
worker_rlimit_nofile 4096;

events {
    worker_connections 2048;
}

http {
    %%TEST_GLOBALS_HTTP%%

    lingering_close  off;

    upstream kept {
        zone       kept 128k;
        server     127.0.0.1:8081 max_fails=0 max_conns=600;
        server     127.0.0.1:8082 max_fails=0 max_conns=600;
        keepalive  8;
    }

    server {
        listen       127.0.0.1:8080 backlog=1024;
        server_name  localhost;

        location / {
            websocket_guard        on;
            proxy_next_upstream    error timeout invalid_header;
            proxy_pass             http://kept;
        }

        location = /status {
            stub_status;
        }
    }
}
EOC

my %broken = (
    half    => sub { my ($c) = @_; $c->write("HTTP/1.1 101 Switching Protocols\r\nUpgr"); $c->reset },
    frame   => sub { my ($c) = @_; $c->upgrade(bytes => "\x81\x7e") && $c->reset },
    orderly => sub { my ($c) = @_; $c->upgrade(bytes => "\x81\x7e") && $c->disconnect },
    hangs   => sub { my ($c) = @_; sleep 0.3; $c->reset },
);
run_backend($t, $_, handlers => \%broken) for 8081, 8082;
$t->run();
wait_until(sub { worker_pids($t) == 2 }, 5);
my @workers = sort { $a <=> $b } worker_pids($t);

# The client, wherever it stands in its handshake.
my $handshake = handshake_request(path => '/slow?0.2');
for my $length (map { int length($handshake) * $_ / 8 } 1 .. 8) {
    for my $how (qw/ reset disconnect /) {
        my $client = connection();
        $client->write(substr $handshake, 0, $length);
        sleep 0.01;
        $client->$how;
    }
}
for my $wait (0, 0.001, 0.01, 0.1, 0.2, 0.21, 0.22, 0.25) {
    my $client = connection();
    $client->write($handshake);
    sleep $wait;
    $client->reset;
}
lives('clients that leave during the handshake');

for my $bytes ("\x81", "\x81\xfe\x01", "\x81\xff" . "\0" x 8, 'x' x 100_000) {
    for my $how (qw/ reset disconnect /) {
        my $client = websocket(path => '/ws');
        $client->write($bytes);
        $client->$how;
    }
}
websocket(path => '/push?100,0.01')->reset for 1 .. 5;
lives('clients that leave within a frame');

# The backend.
for my $path (qw! /close /reset /half /hangs !) {
    is(websocket(path => $path)->status, 502, "backend: $path");
}
for my $path (qw! /frame /orderly /drop /cut !) {
    my $client = websocket(path => $path);
    ok($client->status == 101 && $client->closed_within(5), "backend: $path");
}
lives('backends that leave');

# Five hundred at once.
my @crowd = map { my $c = connection(); $c->write(scalar handshake_request(path => '/ws')); $c } 1 .. 500;
is(scalar(grep { $_->read_response->status == 101 } @crowd), 500, 'five hundred tunnels');
rand() < 0.5 ? $_->reset : $_->disconnect for @crowd;
lives('and none');

# While attempts are under way, the workers change.
my @open = map { my $c = connection(); $c->write(scalar handshake_request(path => '/slow?0.5')); $c } 1 .. 20;
reload($t);
my $left = shift @open;
$left->reset;
is(scalar(grep { $_->read_response->status == 101 && $_->echo('hello') eq 'hello' } @open), 19, 'attempts outlive a reload');
$_->reset for @open;

sub lives {
    my ($name) = @_;
    my $quiet = wait_until(sub { raw_request("GET /status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")->body
        =~ /^Active connections: 1 / }, 10);
    ok($quiet && "@workers" eq join(' ', sort { $a <=> $b } worker_pids($t)), $name);
}
