#!/usr/bin/perl

# One side reads slowly or not at all for a while: nothing is lost, nginx takes no more from the other
# side than it can keep, the opposite direction goes on, and the memory comes back.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;
use Time::HiRes qw/ sleep time /;

my $t = Test::Nginx->new()->has(qw/ http proxy http_ssl socket_ssl /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(4 * 5 + 5);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    # What passes here is no frames.
    websocket_guard_ignore  tunnel-frame-error;

    error_log  %%TESTDIR%%/error.log info;

    server {
        # Sockets that grow as the system likes hold more than what is sent.
        listen       127.0.0.1:8080 sndbuf=32k rcvbuf=64k;
        listen       127.0.0.1:8443 ssl sndbuf=32k rcvbuf=64k;
        server_name  localhost;

        ssl_certificate      localhost.crt;
        ssl_certificate_key  localhost.key;

        location /plain/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /tls/ {
            websocket_guard  on;
            proxy_pass       https://127.0.0.1:8082;
        }
    }
}
EOC

my $LENGTH = 12 << 20;
my $piece  = join '', map { chr int rand 256 } 1 .. 7919;
my $stream = substr $piece x (1 + $LENGTH / 7919), 0, $LENGTH;

my %handlers = (
    # Sends everything at once, and answers what comes meanwhile.
    pour => sub {
        my ($c) = @_;
        $c->upgrade;
        $c->{greedy} = 1;
        $c->write($stream, 60);
        $c->write($c->read(5, 30) // 'none') and $c->closed_within(30);
    },

    # Reads after a while, slowly at first.
    doze => sub {
        my ($c) = @_;
        $c->upgrade;
        $c->write('hello');
        sleep 1.5;
        my $got = '';
        for (1 .. 200) { $got .= $c->read_some(1000, 10); sleep 0.001 }
        $got .= $c->read($LENGTH - length $got, 60) // '';
        $c->write($got eq $stream ? 'same' : 'else') and $c->closed_within(30);
    },
);

make_certificate($t, 'localhost');
run_backend($t, 8081, handlers => \%handlers);
run_backend($t, 8082, handlers => \%handlers, ssl => 'localhost');
$t->run();

for my $path (qw! /plain/ /tls/ !) {
    for my $ssl (0, 1) {
        my $name = $path . ($ssl ? ', TLS client' : '');

        # A client that does not read. Its own bytes get through.
        my $ws = websocket(path => "${path}pour", ssl => $ssl);
        delete $ws->{greedy};
        sleep 0.5;
        $ws->write('ready');
        my $got = '';
        for (1 .. 200) { $got .= $ws->read_some(1000, 10); sleep 0.001 }
        $got .= $ws->read($LENGTH - length $got, 60) // '';
        ok($got eq $stream, "$name: a slow client has everything");
        is($ws->read(5, 10), 'ready', "$name: and was heard");
        $ws->disconnect;

        # A backend that does not read.
        my $start = time;
        $ws = websocket(path => "${path}doze", ssl => $ssl);
        is($ws->read(5, 10), 'hello', "$name: before a slow backend");
        $ws->write($stream, 60);
        cmp_ok(time - $start, '>', 1.4, "$name: a slow backend slows the client");
        is($ws->read(4, 60), 'same', "$name: a slow backend has everything");
        $ws->disconnect;
    }
}

# Many blocked tunnels, of plain and of TLS clients.

my ($worker) = worker_pids($t);
my $before = rss_kib($worker);
my @blocked = map { websocket(path => '/plain/pour', ssl => $_ % 2) } 1 .. 40;
sleep 0.5;
cmp_ok(rss_kib($worker) - $before, '<', 40 * 512, 'blocked tunnels hold little');
is(scalar(grep { ($_->read(1 << 20, 30) // '') eq substr $stream, 0, 1 << 20 } @blocked), 40, 'all of them flow');
$_->disconnect for @blocked;

ok(wait_until(sub { open_sockets($worker) < 20 }), 'no connection is left');
is((worker_pids($t))[0], $worker, 'the worker is the same');
# The backend pours bytes that are no frames.
is_deeply([grep { !/tunnel-client-reset|tunnel-frame-error/ } guard_log($t, 'error')], [], 'nothing else to complain about');

sub open_sockets {
    my ($pid) = @_;
    return scalar grep { (readlink $_ // '') =~ /^socket/ } glob "/proc/$pid/fd/*";
}
