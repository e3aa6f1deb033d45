#!/usr/bin/perl

# A filter that puts an error in the place of the response (412 for If-Match) makes nginx forget the
# contexts of its modules: the balancer still gets its peer back, and the diagnosis is not lost.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy cache upstream_zone /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(10);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    proxy_cache_path  %%TESTDIR%%/cache  keys_zone=cache:1m;

    upstream single {
        zone    single 64k;
        server  127.0.0.1:8081 max_conns=1;
    }

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /cached/ {
            proxy_pass         http://single;
            proxy_cache        cache;
            proxy_cache_key    $request_id;
            proxy_cache_valid  200 1h;
        }

        location /files/ {
        }
    }
}
EOC

mkdir $t->testdir . '/files';
$t->write_file('files/page', 'page');

run_backend($t, 8081, handlers => {
    etag => sub { my ($c) = @_; $c->respond(200, 'body', 'ETag: "a"', 'Connection: close') },
});
$t->run();

my $not_forwarded = qr/^412, \[error\] upgrade failed: location "\/cached\/" \(\S+\) passes the request on without its Upgrade header; .* \[upgrade-not-forwarded\]\z/;
for my $attempt (1 .. 3) {
    like(outcome($t, path => '/cached/etag', headers => ['If-Match: "b"']), $not_forwarded, "attempt $attempt, not cached");
}
is(raw_request("GET /cached/etag HTTP/1.1\r\nHost: localhost\r\nIf-Match: $_\r\n\r\n")->status, $_ eq '"a"' ? 200 : 412, "plain, $_")
    for '"b"', '"a"', '"b"', '"a"';

like(outcome($t, path => '/files/page', headers => ['If-Match: "b"']),
    qr/^412, \[error\] upgrade failed: location "\/files\/" \(\S+\) serves files and answered 412, no backend was asked; .* \[not-proxied\]\z/, 'a file');
like(outcome($t, path => '/files/page', headers => ['If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT']),
    qr/^412, .* \[not-proxied\]\z/, 'a file that was modified');
is(scalar(guard_log($t, 'error')), 5, 'and nothing else');
