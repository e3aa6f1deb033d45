#!/usr/bin/perl

# A backend answers handshakes with random mutations of a 101, always the same ones unless WEBSOCKET_GUARD_SEED is set, and
# as many times more as WEBSOCKET_GUARD_FUZZ says ("make stress"): nginx survives each, a
# guarded location makes a tunnel only of those that prove to be right, and has at most one line for each.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(7);

%%TEST_GLOBALS%%

daemon off;
worker_processes 1;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    access_log          off;
    lingering_close     off;
    proxy_read_timeout  500ms;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        error_log  %%TESTDIR%%/fuzz.log info;

        location /on/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /auto/ {
            websocket_guard    auto;
            proxy_set_header   Upgrade "websocket, foo";
            proxy_set_header   Connection upgrade;
            proxy_buffer_size  2k;
            proxy_pass         http://127.0.0.1:8081;
        }

        location /intercepted/ {
            websocket_guard         on;
            proxy_intercept_errors  on;
            error_page              400 404 426 502 504 = @other;
            proxy_pass              http://127.0.0.1:8081;
        }

        location @other {
            websocket_guard  auto;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /off/ {
            proxy_pass          http://127.0.0.1:8081;
            proxy_http_version  1.1;
            proxy_set_header    Upgrade $http_upgrade;
            proxy_set_header    Connection upgrade;
        }
    }
}
EOC

my $seed = $ENV{WEBSOCKET_GUARD_SEED} // 6455;
my $total = 800 * ($ENV{WEBSOCKET_GUARD_FUZZ} // 1);
diag "seed $seed, $total handshakes" if $total != 800;
time_limit(120 * ($ENV{WEBSOCKET_GUARD_FUZZ} // 1));

my $accept = 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=';

$t->run_daemon(\&switches, Test::WebSocketGuard::Backend::listener(8081));
$t->run();

wait_until(sub { worker_pids($t) }, 5);
my ($worker) = worker_pids($t);

my ($attempts, @wrong, %statuses) = (0);
while ($attempts < $total) {
    my $location = (qw! /on/ /auto/ /intercepted/ /off/ !)[$attempts++ % 4];
    my $client = connection();
    $client->write(scalar handshake_request(path => "${location}ws", key => 'dGhlIHNhbXBsZSBub25jZQ==',
        headers => ['Sec-WebSocket-Protocol: chat', 'Sec-WebSocket-Extensions: permessage-deflate']));
    my $status = $client->read_response(timeout => 0.3)->status;
    $client->fill(0.002) if $status != 101;
    $statuses{$status}++;
    push @wrong, $client->head if $location ne '/off/' && $status == 101
        && ("@{[$client->header('Sec-WebSocket-Accept')]}" !~ /^(?:\Q$accept\E ?)+$/ || ($client->header('Upgrade') // '') !~ /^(?:,? *websocket)+$/i);
    push @wrong, 'a tunnel after a 502' if $status == 502 && $client->{in} =~ /INTERNAL/;
    rand() < 0.2 ? $client->disconnect : $client->reset;
}
note join ', ', map {"$_: $statuses{$_}"} sort keys %statuses;

is_deeply([worker_pids($t)], [$worker], 'the worker lives');
is(join("\n", @wrong), '', 'no tunnel that is none');
cmp_ok($statuses{101} // 0, '>', 50, 'some are right');
cmp_ok($statuses{502} // 0, '>', 50, 'some are not');

my @lines = grep {/websocket_guard: /} split /\n/, $t->read_file('fuzz.log');
my @odd = grep { !/ \[[a-z0-9-]+\](?:$|, client: )/ } @lines;
cmp_ok(scalar(@lines), '>', 20, 'lines in the log');
cmp_ok(scalar(@lines), '<=', 2 * $attempts, 'not too many');
is(join("\n", @odd), '', 'they end as they should');

sub switches {
    my ($listener) = @_;
    local $SIG{PIPE} = 'IGNORE';
    srand $seed;
    my $any = sub { $_[rand @_] };
    while (my $socket = $listener->accept) {
        my $in = '';
        1 while $in !~ /\r\n\r\n/ && sysread $socket, $in, 65536, length $in;
        my @lines = ('HTTP/1.1 101 Switching Protocols', 'Upgrade: websocket', 'Connection: Upgrade', "Sec-WebSocket-Accept: $accept");
        for (1 .. rand 4) {
            my $at = 1 + int rand(@lines - 1);
            my $how = rand 10;
            if    ($how < 2) { splice @lines, $at, 1 if @lines > 2 }
            elsif ($how < 4) { push @lines, $any->("Sec-WebSocket-Accept: $accept", 'Sec-WebSocket-Accept: x', 'Upgrade: h2c',
                'Upgrade: websocket', 'Upgrade: foo', 'Connection: close', 'Sec-WebSocket-Protocol: chat', 'Sec-WebSocket-Protocol: a, b',
                'Sec-WebSocket-Extensions: permessage-deflate; x=1', 'Sec-WebSocket-Extensions: y', 'Content-Length: 0',
                'Transfer-Encoding: chunked', 'X-Accel-Redirect: /intercepted/', 'Location: /x', 'X-Big: ' . 'x' x $any->(100, 3000, 9000)) }
            elsif ($how < 5) { $lines[0] = 'HTTP/1.' . $any->(0, 1, 2) . ' ' . $any->(100, 101, 101, 103, 200, 204, 304, 400, 404, 426, 500, 999, 1) . ' X' }
            elsif ($how < 7) { substr $lines[$at], rand length $lines[$at], 0, $any->("\0", "\r", "\n", "\xff", ',', ' ', "\t", ':', "\r\n ", '"') }
            elsif ($how < 8) { $lines[$at] =~ s/(.)/rand() < 0.3 ? uc $1 : $1/ge }
            elsif ($how < 9) { @lines[1 .. $#lines] = reverse @lines[1 .. $#lines] }
            else             { push @lines, ($lines[$at]) x $any->(1, 20) }
        }
        my $answer = join "\r\n", @lines, '', 'INTERNAL';
        $answer = substr $answer, 0, rand length $answer if rand() < 0.05;
        $answer = $any->('', "\x15\x03\x01\x00\x02\x02\x46", 'SSH-2.0-x', "\0" x 100, $answer) if rand() < 0.05;
        if (rand() < 0.2) {
            syswrite $socket, substr $answer, 0, my $part = rand length $answer;
            select undef, undef, undef, 0.003;
            $answer = substr $answer, $part;
        }
        syswrite $socket, $answer;
        # A tunnel ends soon.
        setsockopt $socket, Socket::SOL_SOCKET(), Socket::SO_LINGER(), pack 'ii', 1, 0 if rand() < 0.2;
        select undef, undef, undef, 0.001;
        close $socket;
    }
}
