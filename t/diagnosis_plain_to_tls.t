#!/usr/bin/perl

# Plain HTTP to a backend that expects TLS: it closes, or answers a 400 that says so, in words of its own. The line says to
# use https, and that helps. A 400 that speaks of HTTPS for another reason is another matter.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy http_ssl socket_ssl /)->plan(16);

my $conf = <<'EOC';

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen           127.0.0.1:8080;
        server_name      localhost;
        websocket_guard  MODE;

        proxy_http_version  1.1;
        proxy_set_header    Upgrade $http_upgrade;
        proxy_set_header    Connection upgrade;

        location / {
            proxy_pass  http://127.0.0.1:8081;
        }

        location /nginx/ {
            proxy_pass  SCHEME://127.0.0.1:8086;
        }

        location /closes/ {
            proxy_pass  SCHEME://127.0.0.1:8082;
        }
    }

    # Another nginx.
    server {
        listen               127.0.0.1:8086 ssl;
        access_log           off;
        websocket_guard      on;
        websocket_guard_log  off;
        ssl_certificate      app.example.crt;
        ssl_certificate_key  app.example.key;

        location / {
            proxy_pass  http://127.0.0.1:8081;
        }
    }
}
EOC

my $says = 'Client sent an HTTP request to an HTTPS server.';
make_certificate($t, 'app.example');
run_backend($t, 8081, handlers => {
    go => sub {
        my ($c) = @_;
        $c->write("HTTP/1.0 400 Bad Request\r\n\r\n$says\n");
        $c->disconnect;
    },
    chunked => sub {
        my ($c) = @_;
        my $text = 'This combination of host and port requires TLS.';
        $c->write(sprintf "HTTP/1.1 400 \r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", length $text, $text);
    },
    required  => sub { $_[0]->respond(400, 'HTTPS is required here') },
    forbidden => sub { $_[0]->respond(403, $says) },
});
run_backend($t, 8082, ssl => 'app.example');
configure('on', 'http');
$t->run();

my ($plain, $closes, $nginx) = map { 'backend 127.0.0.1:' . port($_) } 8081, 8082, 8086;
my $remedy = 'use https:// in proxy_pass [backend-tls]';
for my $mode (qw/ on off /) {
    if ($mode eq 'off') {
        configure($mode, 'http');
        reload($t);
    }
    is(outcome($t, path => '/go'), "400, [error] upgrade failed: $plain expects TLS and was sent plain HTTP, it answered 400 and "
        . qq{said "$says"; $remedy}, "$mode: HTTP/1.0");
    is(outcome($t, path => '/chunked'), "400, [error] upgrade failed: $plain expects TLS and was sent plain HTTP, it answered 400 "
        . qq{and said "This combination of host and port requires TLS."; $remedy}, "$mode: chunked");
    is(outcome($t, path => '/nginx/'), "400, [error] upgrade failed: $nginx expects TLS and was sent plain HTTP, it answered 400; "
        . $remedy, "$mode: another nginx");
    # With what was sent unread, the system makes a reset of that.
    is(outcome($t, path => '/closes/') =~ s/ reset the / closed the /r, "502, [error] upgrade failed: $closes closed the connection "
        . q{before it answered; see the backend's log; if it expects TLS, use https:// in proxy_pass [backend-closed]},
        "$mode: closes");

    # What does not say that.
    like(outcome($t, path => '/required'), qr/^400, .* to a correct handshake .* said "HTTPS is required here"; see the .*handshake\]$/,
        "$mode: HTTPS for another reason");
    like(outcome($t, path => '/forbidden'), qr/^403, .* refused access with 403 .*\[backend-auth\]$/, "$mode: another status");
}

configure('off', 'https');
reload($t);
is(outcome($t, path => '/nginx/'), 101, 'another nginx, https');
is(outcome($t, path => '/closes/'), 101, 'closes, https');
like(outcome($t, path => '/nginx/status?400'), qr/^400, .* to a correct handshake /, 'a 400 over TLS');
is(outcome($t, sub { raw_request("GET /go HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n") }), 400,
    'a plain request');

sub configure {
    my ($mode, $scheme) = @_;
    $t->write_file_expand('nginx.conf', $conf =~ s/MODE/$mode/r =~ s/SCHEME/$scheme/gr);
}
