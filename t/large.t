#!/usr/bin/perl

# 100 MiB through a tunnel and back, every byte compared. What limits requests and buffers responses
# has no say in a tunnel, and nginx's memory does not grow.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(8);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    # a debug log of every buffer would take longer than the test
    error_log  %%TESTDIR%%/error.log info;

    log_format  bytes '$uri $upstream_bytes_sent $upstream_bytes_received $bytes_sent';
    access_log  %%TESTDIR%%/bytes.log bytes;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        client_max_body_size     1k;
        client_body_buffer_size  1k;
        proxy_buffer_size        4k;
        proxy_buffers            2 4k;
        proxy_busy_buffers_size  4k;
        proxy_max_temp_file_size 0;

        location /on/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /auto/ {
            websocket_guard  auto;
            proxy_pass       http://127.0.0.1:8081;
        }
    }
}
EOC

my $MIB = 1 << 20;

run_backend($t, 8081);
$t->run();

my $ws = websocket(path => '/on/');
is($ws->echo_bytes($MIB), $MIB, 'a start');
my ($worker) = worker_pids($t);
my $before = rss_kib($worker);

is(eval { $ws->echo_bytes(100 * $MIB, undef, 100) } // $@, 100 * $MIB, '100 MiB in one message');
is($ws->echo('still here'), 'still here', 'in step afterwards');
cmp_ok(rss_kib($worker) - $before, '<', 8 * 1024, 'the worker holds none of it');

$ws->close;
wait_until(sub { $t->read_file('bytes.log') =~ /\n/ });
my (undef, @bytes) = split / /, $t->read_file('bytes.log');
is(scalar(grep { $_ > 101 * $MIB && $_ < 102 * $MIB } @bytes), 3, 'nginx counted as much, each way');

is(websocket(path => '/auto/')->echo_bytes(20 * $MIB, 65_535, 60), 20 * $MIB, 'in many messages, "auto"');

is(raw_request("POST /on/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 1025\r\n\r\n")->status,
    413, 'the limit of requests is in force');
is(join(' ', guard_findings($t, 'error', count => 1)), 'body-too-large', 'nothing but what failed');
