#!/usr/bin/perl

# Tunnels that flood do not hold up the others, plain or TLS.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;
use Time::HiRes qw/ sleep time /;

my $t = Test::Nginx->new()->has(qw/ http proxy http_ssl socket_ssl /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(5);

%%TEST_GLOBALS%%

daemon off;
worker_processes 1;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    error_log  %%TESTDIR%%/error.log info;

    server {
        listen       127.0.0.1:8080;
        listen       127.0.0.1:8443 ssl;
        server_name  localhost;

        ssl_certificate      localhost.crt;
        ssl_certificate_key  localhost.key;

        location / {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }
    }
}
EOC

my $block = 'x' x (1 << 20);

make_certificate($t, 'localhost');
run_backend($t, 8081, handlers => {
    flood => sub { my ($c) = @_; $c->upgrade; 1 while $c->write($block, 60); $c->disconnect },
});
$t->run();

my @quiet = map { websocket() } 1 .. 100;
is(scalar(grep { $_->echo('hello') eq 'hello' } @quiet), 100, 'all quiet tunnels');

# Somebody who reads as fast as it goes, and counts.
for my $ssl (0, 1) {
    my $count = $t->testdir . "/flood-$ssl";
    $t->run_daemon(sub {
        my ($bytes, $told) = (0, 0);
        my $ws = websocket(path => '/flood', ssl => $ssl);
        while (length(my $data = $ws->read_some(1 << 20, 10))) {
            $bytes += length $data;
            $t->write_file("flood-$ssl", $bytes) if $bytes > $told + (10 << 20) && ($told = $bytes);
        }
    });
    ok(wait_until(sub { -s $count }, 20), ($ssl ? 'TLS' : 'plain') . ': the flood has come');

    my @times = sort { $a <=> $b } map {
        my $start = time;
        $_->echo('hello') eq 'hello' or die 'lost';
        time - $start;
    } (@quiet) x 2;
    # As the machine is busy, too, not the worst counts.
    cmp_ok($times[ $#times * 0.9 ], '<', 0.25, ($ssl ? 'TLS' : 'plain') . ': the others are served');
}
$t->stop_daemons();
