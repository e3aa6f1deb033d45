#!/usr/bin/perl

# nginx and the backend do not agree on TLS: the handshake fails, the certificate is not the right one,
# the backend needs SNI, or one of the two speaks plain HTTP.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy http_ssl rewrite socket_ssl sni /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(33);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    upstream encrypted {
        server 127.0.0.1:8086;
    }

    server {
        listen           127.0.0.1:8080;
        server_name      localhost;
        websocket_guard  on;
        include          locations.conf;
    }

    server {
        listen           127.0.0.1:8083;
        server_name      localhost;
        websocket_guard  auto;
        include          locations.conf;
    }

    server {
        listen              127.0.0.1:8084;
        server_name         localhost;
        proxy_http_version  1.1;
        include             locations.conf;
    }

    # Backends: plain, and TLS for one name only.

    server {
        listen               127.0.0.1:8085;
        access_log           off;
        websocket_guard_log  off;
        return               204;
    }

    server {
        listen                127.0.0.1:8086 ssl default_server;
        access_log            off;
        websocket_guard_log   off;
        ssl_reject_handshake  on;
    }

    server {
        listen               127.0.0.1:8086 ssl;
        server_name          app.example;
        access_log           off;
        websocket_guard_log  off;
        ssl_certificate      app.example.crt;
        ssl_certificate_key  app.example.key;

        location / {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }
    }
}
EOC

$t->write_file_expand('locations.conf', <<'EOC');
proxy_set_header       Upgrade $http_upgrade;
proxy_set_header       Connection upgrade;
proxy_set_header       Host app.example;
proxy_ssl_server_name  on;
proxy_ssl_name         app.example;

# A session goes on without a look at names and certificates.
proxy_ssl_session_reuse  off;

location /plain-backend {
    proxy_pass  https://127.0.0.1:8085;
}

location /tls-backend/ {
    proxy_pass  http://127.0.0.1:8081;
}

location /without-sni {
    proxy_pass             https://127.0.0.1:8086;
    proxy_ssl_server_name  off;
}

location /other-sni {
    proxy_pass      https://127.0.0.1:8086;
    proxy_ssl_name  other.example;
}

location /upstream/other-sni {
    proxy_pass      https://encrypted;
    proxy_ssl_name  other.example;
}

location /variable/other-sni {
    set             $address 127.0.0.1:8086;
    proxy_pass      https://$address;
    proxy_ssl_name  other.example;
}

location /unverified {
    proxy_pass                     https://127.0.0.1:8086;
    proxy_ssl_verify               on;
    proxy_ssl_trusted_certificate  other.example.crt;
}

location /other-name {
    proxy_pass                     https://127.0.0.1:8082;
    proxy_ssl_verify               on;
    proxy_ssl_trusted_certificate  other.example.crt;
}

location /good {
    proxy_pass                     https://127.0.0.1:8086;
    proxy_ssl_verify               on;
    proxy_ssl_trusted_certificate  app.example.crt;
}
EOC

make_certificate($t, $_) for qw/ app.example other.example /;
run_backend($t, 8081, handlers => {
    # What a TLS server of OpenSSL makes of plain HTTP: "unexpected message".
    alert => sub { my ($c) = @_; $c->write("\x15\x03\x01\x00\x02\x02\x0a"); $c->disconnect },
});
run_backend($t, 8082, ssl => 'other.example');
$t->run();

my $fix = 'check http:// or https:// in proxy_pass, proxy_ssl_server_name and proxy_ssl_name [backend-tls]';
my $failed = '502, [error] upgrade failed: the TLS handshake with backend 127.0.0.1:%d failed (SNI %s); ' . $fix;

my @cases = (
    ['/plain-backend',      sprintf $failed, port(8085), '"app.example"'],
    ['/without-sni',        sprintf $failed, port(8086), 'not sent'],
    ['/other-sni',          sprintf $failed, port(8086), '"other.example"'],
    ['/upstream/other-sni', sprintf $failed, port(8086), '"other.example"'],
    ['/variable/other-sni', sprintf $failed, port(8086), '"other.example"'],
    ['/unverified',         sprintf $failed, port(8086), '"app.example"'],
    ['/other-name',         sprintf $failed, port(8082), '"app.example"'],

    # nginx takes the alert for an answer of HTTP/0.9.
    ['/tls-backend/alert', '0, [error] upgrade failed: backend 127.0.0.1:' . port(8081) . ' seems to expect TLS and '
        . 'was sent plain HTTP; use https:// in proxy_pass [backend-tls]'],
);

for my $port (8080, 8083, 8084) {
    my $server = { 8080 => 'on', 8083 => 'auto', 8084 => 'hand-made' }->{$port};

    for my $case (@cases) {
        my ($path, $outcome) = @$case;
        is(outcome($t, path => $path, port => $port, timeout => 1), $outcome, "$server, $path");
    }

    for my $path (qw{ /good /tls-backend/ }) {
        is(outcome($t, path => $path, port => $port), 101, "$server, $path");
    }

    is(outcome($t, sub {
        raw_request("GET /other-sni HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", port => $port)
    }), 502, "$server, a plain request");
}
