#!/usr/bin/perl

# Request bodies pass through guarded locations, and answers come back as they are.

use strict;
use warnings;

use Digest::MD5 qw/ md5_hex /;
use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy upstream_keepalive /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(43);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    client_max_body_size  2m;

    upstream kept {
        server     127.0.0.1:8081;
        keepalive  4;
    }

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /on/ {
            websocket_guard  on;
            proxy_pass       http://kept;
        }

        location /auto/ {
            websocket_guard  auto;
            proxy_pass       http://kept;
        }

        location /unbuffered/ {
            websocket_guard          on;
            proxy_pass               http://kept;
            proxy_request_buffering  off;
        }
    }
}
EOC

run_backend($t, 8081);
$t->run();

my $large = join '', map { pack 'N', int rand 2**32 } 1 .. 2**18;

for my $path (qw{ /on/ /auto/ /unbuffered/ }) {
    # On one connection, so that each must end where it should.
    my $client = connection();
    for my $body ('', 'small', $large) {
        my $size = length $body;
        my $length = $client->request("POST ${path}page HTTP/1.1\r\nHost: localhost\r\n"
            . "Content-Length: $size\r\n\r\n$body");
        is(summary($length), "POST $size " . md5_hex($body), "$path, $size bytes");

        my $chunks = join '', map { sprintf "%x\r\n%s\r\n", length, $_ } unpack '(a70000)*', $body;
        my $chunked = $client->request("PUT ${path}page HTTP/1.1\r\nHost: localhost\r\n"
            . "Transfer-Encoding: chunked\r\n\r\n${chunks}0\r\n\r\n");
        is(summary($chunked), "PUT $size " . md5_hex($body), "$path, $size bytes in chunks");
    }

    is($client->request("HEAD ${path}size?1000 HTTP/1.1\r\nHost: localhost\r\n\r\n")->status, 200, "$path, HEAD");
    is($client->header('Content-Length'), 1000, "$path, its Content-Length");

    is($client->request("GET ${path}status?404 HTTP/1.1\r\nHost: localhost\r\n\r\n")->status, 404, "$path, 404");
    is($client->body, "status\n", "$path, its body");

    is($client->request("GET ${path}size?1000000 HTTP/1.1\r\nHost: localhost\r\n\r\n")->body, 'x' x 1e6,
        "$path, a large answer");
    is(length($client->{in}), 0, "$path, and nothing more");
    is(websocket(path => "${path}ws")->echo('hello'), 'hello', "$path, a tunnel beside them");
    is(scalar(grep { $_->path =~ /^${path}(?!ws)/ && defined $_->header('Upgrade') } requests_seen($t)), 0, "$path, no Upgrade");
}

is_deeply([guard_log($t, 'error')], [], 'nothing to complain about');

# What the backend says it received.
sub summary {
    my ($response) = @_;
    my %field = $response->body =~ /^(\S+): (\S+)$/mg;
    return "$field{method} $field{'body-length'} $field{'body-md5'}";
}
