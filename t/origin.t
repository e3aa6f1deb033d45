#!/usr/bin/perl

# websocket_guard_origin: which pages may open a WebSocket, whatever mode and strictness the guarded location has.
# Schemes and hosts are compared without case, a port that is not given is the scheme's own (RFC 6454).

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(75);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        websocket_guard  on;

        location /exact/ {
            websocket_guard_origin  https://app.example.com;
            proxy_pass              http://127.0.0.1:8081;
        }

        location /ipv6/ {
            websocket_guard_origin  http://[2001:db8::1]:8080;
            proxy_pass              http://127.0.0.1:8081;
        }

        location /wildcard/ {
            websocket_guard_origin  https://*.example.com;
            proxy_pass              http://127.0.0.1:8081;
        }

        location /regex/ {
            websocket_guard_origin  ~^https://app\d+\.example\.com$ ~*^https://.*-STAGING\.example$;
            proxy_pass              http://127.0.0.1:8081;
        }

        location /none/ {
            websocket_guard_origin  none https://app.example.com;
            proxy_pass              http://127.0.0.1:8081;
        }

        location /null/ {
            websocket_guard_origin  null;
            proxy_pass              http://127.0.0.1:8081;
        }

        location /any/ {
            websocket_guard_origin  any;
            proxy_pass              http://127.0.0.1:8081;
        }

        location /default/ {
            proxy_pass              http://127.0.0.1:8081;
        }

        # inherited, in all modes
        location /modes/ {
            websocket_guard_origin  https://app.example.com;

            location /modes/auto/ {
                websocket_guard            auto;
                proxy_pass                 http://127.0.0.1:8081;
            }

            location /modes/lenient/ {
                websocket_guard_handshake  lenient;
                proxy_pass                 http://127.0.0.1:8081;
            }

            location /modes/chat/ {
                websocket_guard_upgrade    websocket chat;
                proxy_pass                 http://127.0.0.1:8081;
            }

            location /modes/check/ {
                websocket_guard            check;
                proxy_pass                 http://127.0.0.1:8081;
            }

            location /modes/any/ {
                websocket_guard_origin     any;
                proxy_pass                 http://127.0.0.1:8081;
            }
        }
    }
}
EOC

run_backend($t, 8081);
$t->run();

my %allowed = (
    '/exact/' => ['https://app.example.com', 'https://app.example.com:443', 'HTTPS://App.Example.COM'],
    '/ipv6/' => ['http://[2001:db8::1]:8080', 'http://[2001:DB8:0::1]:8080'],
    '/wildcard/' => ['https://a.example.com', 'https://a.b.example.com', 'https://A.EXAMPLE.com:443'],
    '/regex/'    => ['https://app7.example.com', 'https://my-staging.example'],
    '/none/'     => [undef, 'https://app.example.com'],
    '/null/'     => ['null'],
    '/any/'      => [undef, 'null', 'https://evil.example', 'x'],
    '/default/'  => [undef, 'null', 'https://evil.example', 'x'],
    '/modes/any/'     => ['https://evil.example'],
    map { $_ => ['https://app.example.com'] } qw! /modes/auto/ /modes/lenient/ /modes/chat/ !,
);
for my $path (sort keys %allowed) {
    is(outcome($t, path => $path, origin => $_), '101', "$path: " . ($_ // 'no Origin')) for @{ $allowed{$path} };
}

my $seen = requests_seen($t);
my %words = (
    '/exact/'    => 'https://app.example.com',
    '/ipv6/'     => 'http://[2001:db8::1]:8080',
    '/wildcard/' => 'https://*.example.com',
    '/regex/'    => '~^https://app\x5Cd+\x5C.example\x5C.com$ ~*^https://.*-STAGING\x5C.example$',
    '/none/'     => 'none https://app.example.com',
    '/null/'     => 'null',
    map { $_ => 'https://app.example.com' } qw! /modes/auto/ /modes/lenient/ /modes/chat/ !,
);
my %denied = (
    '/exact/' => ['http://app.example.com', 'https://app.example.com:8443', 'https://app.example.com.evil.example',
        'https://evil.example/https://app.example.com', 'https://app.example.com/', 'app.example.com', '', 'https://app.example.com https://evil.example'],
    '/ipv6/' => ['http://[2001:db8::1]', 'http://[2001:db8::2]:8080'],
    '/wildcard/' => ['https://example.com', 'https://evilexample.com', 'https://.example.com', 'http://a.example.com',
        'https://a.example.com:8443', 'https://a.example.com.evil.example'],
    '/regex/' => ['https://app.example.com', 'https://APP7.example.com', 'https://evil.example https://app7.example.com'],
    '/none/'  => ['https://evil.example', 'null'],
    '/null/'  => ['NULL', 'https://evil.example'],
    map { $_ => ['https://evil.example'] } qw! /modes/auto/ /modes/lenient/ /modes/chat/ !,
);
for my $path (sort keys %denied) {
    is(outcome($t, path => $path, origin => $_), denied($path, qq{origin "$_" is not allowed}), "$path: \"$_\"")
        for @{ $denied{$path} };

    my $second = 'https://app.example.com';
    is(outcome($t, path => $path, headers => ["Origin: $second", "Origin: $second"]),
        denied($path, "Origin is given twice, the second is \"$second\"", 'correct the client, or the proxy in front of this nginx'), "$path: two Origin headers");

    next if $path eq '/none/';
    is(outcome($t, path => $path), denied($path, 'a request without Origin is not allowed', 'add "none" to websocket_guard_origin if '
        . 'clients that are no browsers may connect'), "$path: no Origin");
}

# The origin of a protocol other than WebSocket that goes on.
my @chat = (path => '/modes/chat/', headers => ['Upgrade: chat']);
is(outcome($t, @chat, origin => 'https://evil.example'), denied('/modes/chat/', 'origin "https://evil.example" is not allowed'),
    'chat');
is(requests_seen($t), $seen, 'nothing of all this was passed on');

# Where nothing is refused, the origin is not the cause.
is(outcome($t, path => '/modes/check/', origin => 'https://evil.example'), '200, [error] upgrade failed: '
    . place_of($t, '/modes/check/') . ' passes the request on without its Upgrade header; set "websocket_guard on;" in it '
    . '[upgrade-not-forwarded]', 'check');

# What does not go on as an upgrade has no need of an origin.
for my $path ('/exact/', '/modes/auto/') {
    is(raw_request("GET $path HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\nConnection: close\r\n\r\n")->status,
        200, "$path: plain request");
    like(outcome($t, path => $path, headers => ['Upgrade: h2c'], origin => 'https://evil.example'), qr/^200, .*\[not-websocket\]$/,
        "$path: h2c");
}

sub denied {
    my ($path, $what, $fix) = @_;
    $fix //= 'add it to websocket_guard_origin if the page is yours';
    return "403, [error] upgrade failed: $what, allowed: \"$words{$path}\"; $fix [origin-denied]";
}
