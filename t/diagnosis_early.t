#!/usr/bin/perl

# What nginx refuses before it looks for a location, and answers with 400: ws:// on a TLS port (tls-mismatch), a certificate that is
# missing or not trusted (client-certificate), a header that is too large (header-too-large).

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy rewrite http_ssl socket_ssl /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(32);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    client_header_buffer_size    1k;
    large_client_header_buffers  2 1k;

    ssl_certificate         localhost.crt;
    ssl_certificate_key     localhost.key;
    ssl_client_certificate  trusted.crt;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location / {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /rewritten/ {
            websocket_guard  on;
            rewrite          ^/rewritten(.*) $1 break;
            proxy_pass       http://127.0.0.1:8081;
        }
    }

    # the remedy
    server {
        listen       127.0.0.1:8083;
        server_name  localhost;
        large_client_header_buffers  2 4k;

        location / {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }
    }

    # not guarded
    server {
        listen       127.0.0.1:8082;
        server_name  localhost;

        location / {
            proxy_pass  http://127.0.0.1:8081;
        }
    }

    server {
        listen       127.0.0.1:8443 ssl;
        server_name  localhost;

        location / {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }
    }

    # the common way to send browsers to https
    server {
        listen       127.0.0.1:8444 ssl;
        server_name  localhost;
        error_page   497 =301 https://$host$request_uri;

        location / {
            proxy_pass  http://127.0.0.1:8081;
        }
    }

    server {
        listen             127.0.0.1:8445 ssl;
        server_name        localhost;
        ssl_verify_client  on;

        location / {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }
    }

    server {
        listen             127.0.0.1:8446 ssl;
        server_name        localhost;
        ssl_verify_client  optional;
        error_page         495 496 /certificate.html;

        location / {
            websocket_guard  auto;
            proxy_pass       http://127.0.0.1:8081;
        }

        location = /certificate.html {
            internal;
        }
    }

    # whoever it is
    server {
        listen             127.0.0.1:8447 ssl;
        server_name        localhost;
        ssl_verify_client  optional_no_ca;

        location /rewritten/ {
            websocket_guard  on;
            rewrite          ^/rewritten(.*) $1 break;
            proxy_pass       http://127.0.0.1:8081;
        }
    }
}
EOC

make_certificate($t, $_) for qw/ localhost trusted stranger /;
$t->write_file('certificate.html', 'certificate');
run_backend($t, 8081);
$t->run();

# ---- tls-mismatch

my $tls = '[error] upgrade failed: a plain HTTP request was sent to a TLS port; use wss:// in the client, or the plain port [tls-mismatch]';
is(outcome($t, port => 8443), "400, $tls", 'ws:// on a TLS port');
is(outcome($t, port => 8443, without => ['Sec-WebSocket-Key']), "400, $tls", 'that is the cause, whatever else is wrong');
is(outcome($t, port => 8444), "301, $tls", 'with an error_page that redirects');
is(outcome($t, port => 8443, ssl => 1), '101', 'wss://');
is(outcome($t, sub { raw_request("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", port => 8443) }), '400', 'plain request');

# ---- client-certificate

my $missing = '[error] upgrade failed: the client sent no certificate and ssl_verify_client requires one';
my $rejected = '[error] upgrade failed: the client\'s certificate was not accepted by ssl_verify_client';
my $fix = 'install a trusted certificate in the client, or use "ssl_verify_client optional;" and check $ssl_client_verify where it '
    . 'matters [client-certificate]';
is(outcome($t, port => 8445, ssl => 1), "400, $missing; $fix", 'no certificate');
is(with_certificate(8445, 'stranger'), "400, $rejected; $fix", 'one that nobody knows');
is(with_certificate(8445, 'trusted'), '101', 'a trusted one');
is(outcome($t, port => 8445), "400, $tls", 'no TLS at all');
is(outcome($t, port => 8446, ssl => 1), '101', 'optional, none');
is(with_certificate(8446, 'trusted'), '101', 'optional, a trusted one');
is(with_certificate(8446, 'stranger'), "400, $rejected; $fix", 'optional, one that nobody knows');
like(with_certificate(8447, 'stranger', path => '/rewritten/status?400'), qr/^400, .* \[backend-bad-handshake\]$/, 'anybody is let in');
is(outcome($t, sub { raw_request("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", port => 8445, ssl => 1) }), '400', 'plain request');

# ---- header-too-large

my $large = '[error] upgrade failed: the request header is larger than large_client_header_buffers; raise large_client_header_buffers '
    . 'in the default server of that address, or send less in cookies and query [header-too-large]';
my ($cookie, $cookies) = ('Cookie: ' . 'x' x 2000, [map { "X-$_: " . 'x' x 900 } 1 .. 4]);
for my $port (8080, 8082) {
    is(outcome($t, port => $port, headers => [$cookie]), "400, $large", "$port: one line");
    is(outcome($t, port => $port, headers => $cookies), "400, $large", "$port: many lines");

    # What nginx has not read is not missing.
    is(outcome($t, port => $port, without => ['Upgrade'], headers => [$cookie, 'Upgrade: websocket']), "400, $large",
        "$port: a late Upgrade, after the key");
    is(outcome($t, port => $port, without => ['Upgrade'], headers => [@$cookies, 'Upgrade: websocket']), "400, $large",
        "$port: the same with many lines");
    is(outcome($t, port => $port, without => ['Upgrade', 'Sec-WebSocket-Key'],
        headers => [$cookie, 'Upgrade: websocket', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==']), '400', "$port: a late key too");
    is(outcome($t, port => $port, path => '/?' . 'x' x 2000), '414', "$port: a long URI");
    is(outcome($t, sub { raw_request("GET / HTTP/1.1\r\nHost: localhost\r\n$cookie\r\n\r\n", port => $port) }), '400',
        "$port: plain request");
}
is(outcome($t, headers => ['Cookie: ' . 'x' x 800]), '101', 'large, but not too large');
is(outcome($t, port => 8083, without => ['Upgrade'], headers => [$cookie, 'Upgrade: websocket']), '101', 'the remedy');
like(outcome($t, path => '/rewritten/status?414'), qr/^414, .* answered 414 to "\/status\?414", .* \[backend-not-websocket\]$/,
    'the backend has a limit of its own');

is_deeply([grep { !$_->is_upgrade } requests_seen($t)], [], 'nothing of all this was passed on');

sub with_certificate {
    my ($port, $name, %options) = @_;
    return outcome($t, sub {
        my $client = connection(port => $port);
        my $file = $t->testdir . "/$name";
        $client->start_tls(SSL_verify_mode => 0, SSL_cert_file => "$file.crt", SSL_key_file => "$file.key");
        $client->handshake(%options);
    });
}
