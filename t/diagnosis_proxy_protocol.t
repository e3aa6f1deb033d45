#!/usr/bin/perl

# proxy-protocol: a load balancer puts a header of the PROXY protocol in front of the request, and the listener does not expect one.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy http_ssl /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(14);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen       127.0.0.1:8080;  # marked
        listen       127.0.0.1:8443 ssl;
        listen       127.0.0.1:8084 proxy_protocol;  # the remedy
        server_name  example.com;

        ssl_certificate      localhost.crt;
        ssl_certificate_key  localhost.key;

        location / {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }
    }

    server {
        listen       127.0.0.1:8082;
        server_name  localhost;

        location / {
            proxy_pass  http://127.0.0.1:8081;
        }
    }
}
EOC

make_certificate($t, 'localhost', 'DNS:localhost');
run_backend($t, 8081);
$t->run();

my $V1 = "PROXY TCP4 192.0.2.1 192.0.2.2 1024 80\r\n";
my $V2 = "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" . pack 'C8 n2', 192, 0, 2, 1, 192, 0, 2, 2, 1024, 80;
my $server = $t->testdir . '/nginx.conf:' . (conf_line($t, qr/# marked$/) - 1);
my $LINE = '[error] upgrade failed: the connection from 127.0.0.1 begins with a header of the PROXY protocol (version %d), which the '
    . "server \"example.com\" ($server) does not expect; add \"proxy_protocol\" to the listen directive of that server, or turn it off "
    . 'in the load balancer [proxy-protocol]';

is(after($V1), '400, ' . sprintf($LINE, 1), 'in front of a handshake');
is(after("PROXY UNKNOWN\r\n"), '400, ' . sprintf($LINE, 1), 'of an unknown client');
is(after($V2), '400, ' . sprintf($LINE, 2), 'version 2');
is(after($V1, port => 8443), '400, ' . sprintf($LINE, 1), 'on a TLS listener');
like(after($V1, port => 8082), qr/^400, .*\[proxy-protocol\]$/, 'nothing is marked');
is(alone($V1), '400, ' . sprintf($LINE, 1), 'alone, since the handshake is yet to come');
is(after($V1, port => 8084), '101', 'the remedy');
is(after('', port => 8080), '101', 'the other remedy');
is(after($V2, port => 8084), '101', 'version 2 where it is expected');

# ---- near

is(alone($V1, port => 8082), '400', 'alone, where no WebSocket is expected');
is(alone("PROXY x\r\n"), '400', 'another method');
is(alone("GET\r\n\r\n"), '400', 'another fault');
is(outcome($t, sub { raw_request("GET / HTTP/1.1\r\nHost: a b\r\n\r\n") }), '400', 'another fault of the header');
is(alone("GET /?PROXY TCP4 HTTP/1.1\r\nHost: a b\r\n\r\n"), '400', 'such bytes elsewhere');

sub after {
    my ($preface, %options) = @_;
    return outcome($t, sub { raw_request($preface . handshake_request(), %options) });
}

sub alone {
    my ($bytes, %options) = @_;
    return outcome($t, sub { raw_request($bytes, %options) });
}
