#!/usr/bin/perl

# "websocket_guard_origin same": the page comes from the scheme, host and port that the handshake was sent to. Behind a
# proxy that ends TLS, the scheme is what X-Forwarded-Proto says, if realip trusts that proxy.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy http_ssl realip socket_ssl /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(33);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    websocket_guard         on;
    websocket_guard_origin  same;

    ssl_certificate      localhost.crt;
    ssl_certificate_key  localhost.key;

    server {
        listen       127.0.0.1:8080;
        listen       [::1]:%%PORT_8080%%;
        server_name  localhost;

        location / {
            proxy_pass  http://127.0.0.1:8081;
        }

        location /or/ {
            websocket_guard_origin  same https://app.example.com;
            proxy_pass              http://127.0.0.1:8081;
        }
    }

    server {
        listen       127.0.0.1:8443 ssl;
        server_name  localhost;

        location / {
            proxy_pass  http://127.0.0.1:8081;
        }
    }

    # what stands in front of it is trusted
    server {
        listen       127.0.0.1:8082;
        server_name  localhost;

        set_real_ip_from  127.0.0.1;
        real_ip_header    X-Forwarded-For;

        location / {
            proxy_pass  http://127.0.0.1:8081;
        }
    }

    # what stands in front of it is not
    server {
        listen       127.0.0.1:8083;
        server_name  localhost;

        set_real_ip_from  192.0.2.1;
        real_ip_header    X-Forwarded-For;

        location / {
            proxy_pass  http://127.0.0.1:8081;
        }
    }
}
EOC

make_certificate($t);
run_backend($t, 8081);
$t->run();

my @forwarded = ('X-Forwarded-For: 192.0.2.7', 'X-Forwarded-Proto: https');
my @cases = (
    # port, Host, Origin, open?, more headers
    [8080, 'localhost', 'http://localhost', 1],
    [8080, 'localhost', 'http://localhost:80', 1],
    [8080, 'LOCALHOST:80', 'HTTP://localhost', 1],
    [8080, 'localhost:8080', 'http://localhost:8080', 1],
    [8080, '[::1]:8080', 'http://[0:0::1]:8080', 1],
    [8080, '192.0.2.1:8080', 'http://192.0.2.1:8080', 1],
    [8080, 'localhost', 'https://localhost', 0],
    [8080, 'localhost:8080', 'http://localhost', 0],
    [8080, 'localhost', 'http://localhost:8080', 0],
    [8080, 'localhost', 'http://other', 0],
    [8080, 'localhost', 'http://sub.localhost', 0],
    [8080, '[::1]:8080', 'http://[::2]:8080', 0],
    [8080, 'localhost', 'null', 0],
    # Without realip anybody could say so.
    [8080, 'localhost', 'https://localhost', 0, @forwarded],
    [8080, 'localhost', 'http://localhost', 1, @forwarded],

    [8443, 'localhost', 'https://localhost', 1],
    [8443, 'localhost:8443', 'https://localhost:8443', 1],
    [8443, 'localhost:443', 'https://localhost', 1],
    [8443, 'localhost', 'http://localhost', 0],
    [8443, 'localhost', 'https://localhost:8443', 0],
    [8443, 'localhost', 'http://localhost', 0, 'X-Forwarded-Proto: http'],

    [8082, 'app.example.com', 'https://app.example.com', 1, @forwarded],
    [8082, 'app.example.com', 'http://app.example.com', 0, @forwarded],
    [8082, 'app.example.com:8443', 'https://app.example.com:8443', 1, @forwarded],
    [8082, 'app.example.com', 'http://app.example.com', 1, 'X-Forwarded-For: 192.0.2.7'],
    [8082, 'app.example.com', 'https://app.example.com', 0, 'X-Forwarded-For: 192.0.2.7'],

    [8083, 'app.example.com', 'https://app.example.com', 0, @forwarded],
    [8083, 'app.example.com', 'http://app.example.com', 1, @forwarded],
);

for my $case (@cases) {
    my ($port, $host, $origin, $open, @headers) = @$case;
    is(outcome($t, port => $port, ssl => $port == 8443, authority => $host, origin => $origin, headers => \@headers),
        $open ? '101' : denied($origin, here($port, $host, @headers), fix($port, $host, $origin, @headers)), "$port, Host $host, Origin $origin, @headers");
}

is(outcome($t, family => 6, authority => '[::1]:8080', origin => 'http://[::1]:8080'), '101', 'over IPv6');
is(outcome($t, path => '/or/', origin => $_), '101', "listed beside: $_") for 'http://localhost', 'https://app.example.com';
is(outcome($t, path => '/or/', origin => 'https://evil.example'), denied('https://evil.example', 'http://localhost',
    'add it to websocket_guard_origin if the page is yours', 'same https://app.example.com'), 'neither of the two');
is(outcome($t), denied(undef, 'http://localhost', 'add "none" to websocket_guard_origin if clients that are no browsers may '
    . 'connect'), 'no Origin');

# What the origin would have to be.
sub here {
    my ($port, $host, @headers) = @_;
    my $trusted = $port == 8082 && "@headers" =~ /X-Forwarded-Proto: https/;
    return ($port == 8443 || $trusted ? 'https' : 'http') . "://$host";
}

# Where only TLS is in the way, that may end in front of nginx.
sub fix {
    my ($port, $host, $origin, @headers) = @_;
    return 'add it to websocket_guard_origin if the page is yours'
        if here($port, $host, @headers) =~ /^https/ || $origin ne "https://$host";
    return 'if TLS ends in front of this nginx, add that origin to websocket_guard_origin' if "@headers" !~ /Proto: https/;
    return 'trust the X-Forwarded-Proto of the proxy in front with "set_real_ip_from 127.0.0.1; real_ip_header X-Forwarded-For;", '
        . 'or add that origin to websocket_guard_origin';
}

sub denied {
    my ($origin, $here, $fix, $allowed) = @_;
    my $what = defined $origin ? "origin \"$origin\"" : 'a request without Origin';
    return sprintf '403, [error] upgrade failed: %s is not allowed, allowed: "%s", which is "%s" here; %s [origin-denied]', $what,
        $allowed // 'same', $here, $fix;
}
