#!/usr/bin/perl

# What nginx refuses before it looks for a location, where an error_page brings it to one: a page, a named location, another status,
# a backend. It is said to be refused early, and why if that is known, and never of a location that had nothing to do with it.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy rewrite http_ssl socket_ssl /);

my %pages = (
    file    => 'error_page 400 405 414 494 495 496 497 /err.html;',
    return  => 'error_page 400 405 414 494 495 496 497 /said;',
    named   => 'error_page 400 405 414 494 495 496 497 @said;',
    ok      => 'error_page 400 405 414 494 495 496 497 =200 /err.html;',
    backend => 'error_page 400 405 414 494 495 496 497 /backend/;',
    marked  => 'error_page 400 405 414 494 495 496 497 /ws/err;',
);
my @kinds = sort keys %pages;
my $port = 8090;
my %port = map { $_ => $port++ } @kinds;
my $servers = join '', map { <<"EOC" } @kinds;
    server {
        listen       127.0.0.1:$port{$_};
        server_name  localhost;
        $pages{$_}
        include      locations.conf;
    }
EOC

$t->write_file_expand('nginx.conf', <<"EOC");

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    client_header_buffer_size    1k;
    large_client_header_buffers  2 1k;
    ssl_certificate              localhost.crt;
    ssl_certificate_key          localhost.key;
    ssl_client_certificate       trusted.crt;

$servers
    server {
        listen             127.0.0.1:8098 ssl;
        server_name        localhost;
        ssl_verify_client  on;
        error_page         495 496 497 \@said;
        include            locations.conf;
    }

    # the remedy
    server {
        listen                       127.0.0.1:8099;
        server_name                  localhost;
        large_client_header_buffers  2 8k;
        error_page                   400 414 494 /said;
        include                      locations.conf;
    }
}
EOC
$t->write_file_expand('locations.conf', <<'EOC');
location / {
    proxy_pass  http://127.0.0.1:8081;
}

location /ws/ {
    websocket_guard  on;
    proxy_pass       http://127.0.0.1:8081;
}

location /no {
    websocket_guard  on;
    return           400 no;
}

location = /err.html {
}

location = /said {
    return  400 "said";
}

location @said {
    return  400 "said";
}

location /backend/ {
    proxy_pass  http://127.0.0.1:8081/;
}
EOC

make_certificate($t, $_) for qw/ localhost trusted stranger /;
$t->write_file('err.html', 'error');
run_backend($t, 8081);
$t->plan(10 * @kinds + 6)->run();

my $key = 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==';
my $version = 'Sec-WebSocket-Version: 13';
my $cookie  = 'Cookie: ' . 'a' x 3000;
my $large   = '[error] upgrade failed: the request header is larger than large_client_header_buffers; raise large_client_header_buffers '
    . 'in the default server of that address, or send less in cookies and query [header-too-large]';
my $early = qr/\[error\] upgrade failed: nginx refused the request (?:with \d+ before it looked for a location|before it looked for a location, and an error_page made 200 of it); see what nginx says about it with "error_log ... info" \[not-proxied\]/;

for my $kind (@kinds) {
    my $got = sub { ask($port{$kind}, @_) };

    is($got->('GET /ws/ HTTP/1.1', 'Host: localhost', 'Upgrade: websocket', 'Connection: upgrade', $key, $version, $cookie), $large,
        "$kind: Chromium's order, then too much");
    is($got->('GET /ws/ HTTP/1.1', 'Host: localhost', $version, $key, 'Connection: keep-alive, Upgrade', $cookie, 'Upgrade: websocket'),
        $large, "$kind: Firefox's order, Upgrade was not read");
    is($got->('GET / HTTP/1.1', 'Host: localhost', 'Upgrade: websocket', $cookie, 'Connection: upgrade', $key, $version), $large,
        "$kind: the key was not read");
    is($got->('GET /' . 'a' x 3000 . ' HTTP/1.1', 'Host: localhost', 'Upgrade: websocket'), '', "$kind: a long line, of which nothing is known");
    is($got->('GET / HTTP/1.1', 'Host: localhost', $cookie), '', "$kind: a plain request");

    # Read to its end, and refused.
    like($got->('GET /ws/ HTTP/1.1', 'Upgrade: websocket', 'Connection: upgrade', $key, $version), qr/^$early$/, "$kind: no Host");
    like($got->('GET /ws/ HTTP/1.1', 'Host: localhost', 'Upgrade: websocket', 'Connection: upgrade', $key, 'Bad Header : x', $version),
        qr/^$early$/, "$kind: a bad header");
    like($got->('GET /ws/ HTTP/1.1', 'Host: localhost', 'Upgrade: websocket', 'Connection: upgrade', 'Bad Header : x', $key, $version),
        qr/^$early$/, "$kind: a bad header before the key");

    # Near: a location says 400.
    like($got->('GET /no HTTP/1.1', 'Host: localhost', 'Upgrade: websocket', 'Connection: upgrade', $key, $version),
        qr/"return" \(\S+\), no backend was asked.*\[not-proxied\]/, "$kind: a return, in the rewrite phase");
    like($got->('GET /ws/ HTTP/1.1', 'Host: localhost', 'Upgrade: websocket', 'Connection: upgrade', 'Sec-WebSocket-Key: test', $version),
        qr/\[handshake-key\]/, "$kind: the gate");
}

# The remedy.
is(outcome($t, port => 8099, path => '/ws/', headers => [$cookie]), '101', 'with larger buffers');
is(outcome($t, port => 8099, path => '/ws/', without => ['Upgrade'], headers => [$cookie, 'Upgrade: websocket']), '101',
    "with larger buffers, Firefox's order");

# TLS.
is(outcome($t, port => 8098, path => '/ws/'), '400, [error] upgrade failed: a plain HTTP request was sent to a TLS port; use wss:// in the '
    . 'client, or the plain port [tls-mismatch]', 'ws:// on a TLS port');
like(outcome($t, port => 8098, path => '/ws/', ssl => 1), qr/^400, .*: the client sent no certificate .* \[client-certificate\]$/, 'no certificate');
like(outcome($t, sub {
    my $client = connection(port => 8098);
    my $file = $t->testdir . '/stranger';
    $client->start_tls(SSL_verify_mode => 0, SSL_cert_file => "$file.crt", SSL_key_file => "$file.key");
    $client->handshake(path => '/ws/');
}), qr/^400, .*: the client's certificate was not accepted .* \[client-certificate\]$/, 'the certificate of a stranger');

is_deeply([grep { $_->is_upgrade } requests_seen($t)], [grep { $_->uri eq '/ws/' && $_->is_upgrade } requests_seen($t)],
    'nothing of all this was passed on');

# What the guard says of a request of these lines.
sub ask {
    my ($port, @lines) = @_;
    my $said = outcome($t, sub { raw_request(join("\r\n", @lines, '', ''), port => $port) });
    return $said =~ s/^\d+(?:, )?//r;
}
