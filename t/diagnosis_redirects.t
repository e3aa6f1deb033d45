#!/usr/bin/perl

# redirected: a redirect from http to https where TLS ends in front of nginx, and one to a sign-in. The remedy that each line names
# works.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy rewrite auth_request map http_ssl /);

my $RECIPE = 'proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; '
    . 'proxy_set_header Host $http_host; proxy_read_timeout 1h; proxy_pass http://127.0.0.1:8081;';

$t->write_file_expand('nginx.conf', <<"EOC")->plan(14);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    map \$http_cookie \$signed_in {
        default      401;
        "~session="  204;
    }

    server {
        listen       127.0.0.1:8080;
        server_name  example.com;

        if (\$scheme = http) {
            return  308 https://\$host\$request_uri;  # rule
        }
        location / {
            $RECIPE
        }
    }

    # the remedy
    server {
        listen       127.0.0.1:8082;
        server_name  example.com;

        if (\$http_x_forwarded_proto = http) {
            return  308 https://\$host\$request_uri;
        }
        location / {
            $RECIPE
        }
    }

    server {
        listen       127.0.0.1:8083;
        listen       127.0.0.1:8084 ssl;
        server_name  example.com;
        websocket_guard  on;

        ssl_certificate      %%TESTDIR%%/localhost.crt;
        ssl_certificate_key  %%TESTDIR%%/localhost.key;

        location /rule/ {
            rewrite     ^ https://\$host\$uri permanent;  # a rewrite
            proxy_pass  http://127.0.0.1:8081;
        }

        # to another URL
        location /other/ {
            if (\$http_upgrade) {
                return  302 https://www.example.com\$request_uri;
            }
            proxy_pass  http://127.0.0.1:8081;
        }

        location /private/ {
            auth_request  /auth;  # session
            error_page    401 = \@signin;
            proxy_pass    http://127.0.0.1:8081;
        }

        location \@signin {
            return  302 https://example.com/private/;
        }

        # the sign-in is another application
        location /proxied/ {
            auth_request  /auth;  # session there
            error_page    401 = /sign-in/status?302;
            proxy_pass    http://127.0.0.1:8081;
        }

        location /sign-in/ {
            websocket_guard  off;
            proxy_pass       http://127.0.0.1:8081;
        }

        location = /auth {
            internal;
            if (\$signed_in = 401) {
                return  401;
            }
            return  204;
        }
    }
}

EOC

make_certificate($t, 'localhost', 'DNS:localhost');
run_backend($t, 8081);
$t->run();

my $FOLLOW = 'and WebSocket clients do not follow redirects';
my $HTTPS  = 'use wss:// in the client; if TLS ends in front of this nginx, have the proxy there send X-Forwarded-Proto and let the rule '
    . 'look at $http_x_forwarded_proto in place of $scheme [redirected]';
my @HTTPS  = (headers => ['X-Forwarded-Proto: https']);

# ---- TLS ends in front

is(at(8080, '/chat', @HTTPS), "308, [error] upgrade failed: the server (no location) answered 308 to \"https://example.com/chat\" by "
    . '"return" in an "if" (' . line('rule') . "), $FOLLOW; this one uses TLS already, which ends in front of this nginx "
    . '(X-Forwarded-Proto "https"); let that rule look at this header in place of $scheme [redirected]', 'a rule for http');
is(at(8082, '/chat', @HTTPS), '101', 'the remedy');
like(at(8082, '/chat', headers => ['X-Forwarded-Proto: http']), qr/^308, .*; \Q$HTTPS\E$/, 'and a client without TLS');
like(at(8083, '/rule/x?a=b', headers => ['Forwarded: for=10.0.0.1;proto=https']),
    qr/^301, .* by "rewrite" \(\Q${\ line('a rewrite')}\E\), .* uses TLS already.*\(Forwarded "for=10.0.0.1;proto=https"\); let that rule /,
    'another header, a rewrite, a marked location');
like(at(8080, '/chat', headers => ['X-Forwarded-Ssl: on']), qr/^308, .*\(X-Forwarded-Ssl "on"\)/, 'and another header');
like(at(8080, '/chat'), qr/^308, .*answered 308 [^;]*; \Q$HTTPS\E$/, 'nobody says so');

# ---- near

like(at(8083, '/other/', @HTTPS), qr{^302, (?!.*TLS|.*\$scheme).*; use wss:// or the final URL in the client \[redirected\]$}, 'another host');
like(at(8084, '/rule/x', ssl => 1, @HTTPS), qr/^301, (?!.*uses TLS already).*\[redirected\]$/, 'TLS does not end in front');

# ---- a sign-in

my ($asked, $asked_there) = (line('session'), line('session there'));
is(at(8083, '/private/'), qq{302, [error] upgrade failed: "auth_request" ($asked) refused location "/private/" (X) with 401, and an }
    . qq{error_page made 302 to "https://example.com/private/" of it, $FOLLOW; sign in first, with a page of the same site: the cookie of }
    . 'its session goes with the handshake [redirected]', 'to a sign-in');
is(at(8083, '/private/', headers => ['Cookie: session=1']), '101', 'the remedy');
like(at(8083, '/private/', @HTTPS), qr/^302, (?!.*TLS|.*\$scheme).*sign in first/, 'and TLS ends in front');
like(at(8083, '/proxied/'), qr/^302, .* "auth_request" \(\Q$asked_there\E\) refused location "\/proxied\/" \(X\) with 401, .*sign in first/,
    'another application');
is(at(8083, '/proxied/', headers => ['Cookie: session=1']), '101', 'the remedy');

# Of a plain request nothing is said.
my $since = log_size($t);
raw_request("GET /chat HTTP/1.1\r\nHost: example.com\r\nX-Forwarded-Proto: https\r\nConnection: close\r\n\r\n");
is_deeply([guard_log($t, undef, since => $since)], [], 'a plain request');

sub at {
    my ($port, $path, %options) = @_;
    my $outcome = outcome($t, port => $port, path => $path, authority => 'example.com', %options);
    $outcome =~ s/(location "[^"]+") \([^)]*\)/$1 (X)/g;
    return $outcome;
}

sub line { return $t->testdir . '/nginx.conf:' . conf_line($t, qr/# \Q$_[0]\E$/) }
