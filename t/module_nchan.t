#!/usr/bin/perl

# nchan answers a handshake itself: a 101 without a backend. Such a socket works, so that no line is written about it where
# nothing is marked; nor is it a wrong location or a lost client where something is.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $modules = packaged_modules('ngx_nchan_module');
my $t = Test::Nginx->new()->has(qw/ http proxy /);

$t->write_file_expand('nginx.conf', <<'EOC' =~ s/%%MODULES%%/$modules/r)->plan(30);

%%TEST_GLOBALS%%
%%MODULES%%

daemon off;
worker_processes 1;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    log_format  outcome "$uri $status [$websocket_guard]";

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        access_log  %%TESTDIR%%/access.log;
        access_log  %%TESTDIR%%/outcome.log outcome;

        location /proxied/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /unmarked/ {
            nchan_subscriber  websocket eventsource;
            nchan_channel_id  $arg_id;
        }

        location /marked/ {
            websocket_guard   on;
            nchan_subscriber  websocket eventsource;
            nchan_channel_id  $arg_id;
        }

        location /forbidden/ {
            deny              all;
            nchan_subscriber  websocket;
            nchan_channel_id  $arg_id;
        }

        location /publish {
            nchan_publisher   http;
            nchan_channel_id  $arg_id;
        }
    }

    # Nothing is marked at all.
    server {
        listen       127.0.0.1:8083;
        server_name  localhost;

        access_log  %%TESTDIR%%/access.log;
        access_log  %%TESTDIR%%/outcome.log outcome;

        location /alone/ {
            nchan_subscriber  websocket eventsource;
            nchan_channel_id  $arg_id;
        }
    }
}
EOC

run_backend($t, 8081);
$t->run();
my @workers = living();

sub living { wait_until(sub { worker_pids($t) == 1 }, 5); return worker_pids($t) }

# Subscribes, gets what is published, and leaves in one of the ways.
my $channel = 0;
sub subscribe {
    my ($place, $leave) = @_;
    my $id = ++$channel;
    my $message;
    my ($status, @lines) = split /, (?=\[)/, outcome($t, sub {
        my $ws = websocket(path => "$place?id=$id", port => $place eq '/alone/' ? 8083 : 8080);
        raw_request("POST /publish?id=$id HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 4\r\n\r\nnews");
        $message = $ws->recv if $ws->status == 101;
        $leave->($ws);
        return $ws;
    });
    return ($status, $message, @lines);
}

my %ways = (
    'closing handshake' => sub { $_[0]->close },
    'without a word'    => sub { $_[0]->disconnect },
    'reset'             => sub { $_[0]->reset },
);
for my $place (qw! /alone/ /unmarked/ /marked/ !) {
    for my $way (sort keys %ways) {
        my ($status, $message, @lines) = subscribe($place, $ways{$way});
        is($status . ' ' . ($message // ''), '101 news', "$place, $way: the socket works");
        my @wrong = $place eq '/marked/' ? grep {/\[(?:wrong-location|client-gone|not-proxied)\]/} @lines : @lines;
        is("@wrong", '', "$place, $way: no line says that it does not");
        # The request ends when its connection does.
        my $pattern = qr!^\Q$place\E (\d+) \[(.*)\]$!m;
        wait_until(sub { $t->read_file('outcome.log') =~ $pattern }, 5);
        my @outcomes = $t->read_file('outcome.log') =~ /$pattern/g;
        unlike($outcomes[-1] // 'no line', qr/wrong-location|client-gone|not-proxied|no line/, "$place, $way: nor does the variable");
    }
}

# What fails there still has its line.
like(outcome($t, path => '/forbidden/?id=x'), qr/^403, \[error\] .* \[access-denied\]$/, 'a subscriber that is refused');
is(websocket(path => '/proxied/ws')->echo('there'), 'there', 'a proxied one beside them');

is_deeply([living()], \@workers, 'one worker did all that');
