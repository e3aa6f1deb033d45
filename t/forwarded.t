#!/usr/bin/perl

# websocket_guard_forwarded: the backend learns the host as the client asked for it, the client's
# address and the scheme, unless the location says otherwise.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy http_ssl socket_ssl /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(30);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    ssl_certificate      localhost.crt;
    ssl_certificate_key  localhost.key;

    server {
        listen       127.0.0.1:8080;
        listen       [::1]:%%PORT_8080%%;
        listen       127.0.0.1:8443 ssl;
        server_name  named.example.com;

        websocket_guard_forwarded  on;

        location /on/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /auto/ {
            websocket_guard  auto;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /off/ {
            websocket_guard            on;
            websocket_guard_forwarded  off;
            proxy_pass                 http://127.0.0.1:8081;
        }

        location /unguarded/ {
            websocket_guard  off;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /own/ {
            websocket_guard   on;
            proxy_pass        http://127.0.0.1:8081;
            proxy_set_header  host own.example.com;
            proxy_set_header  X-Forwarded-For "";
            proxy_set_header  X-Own yes;
        }

        location /own/all/ {
            websocket_guard   on;
            proxy_pass        http://127.0.0.1:8081;
            proxy_set_header  Host a;
            proxy_set_header  X-Real-IP b;
            proxy_set_header  X-Forwarded-For c;
            proxy_set_header  X-Forwarded-Proto d;
        }
    }

    server {
        listen       127.0.0.1:8083;
        server_name  localhost;

        proxy_set_header  Host inherited.example.com;
        proxy_set_header  X-Level server;

        location / {
            websocket_guard            on;
            websocket_guard_forwarded  on;
            proxy_pass                 http://127.0.0.1:8081;
        }

        location /without/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }
    }
}
EOC

make_certificate($t);
run_backend($t, 8081);
$t->run();

my @forwarded = qw/ Host X-Real-IP X-Forwarded-For X-Forwarded-Proto /;
my $backend = '127.0.0.1:' . port(8081);

# On: for handshakes and plain requests.

for my $path (qw{ /on/ /auto/ }) {
    handshake([path => "${path}ws", authority => 'app.example.com:8443'],
        ['app.example.com:8443', '127.0.0.1', '127.0.0.1', 'http']);
    plain("GET ${path}page HTTP/1.1\r\nHost: App.example.com:81\r\n\r\n",
        ['App.example.com:81', '127.0.0.1', '127.0.0.1', 'http']);
}

handshake([path => '/on/ws', ssl => 1, authority => 'app.example.com'],
    ['app.example.com', '127.0.0.1', '127.0.0.1', 'https']);
handshake([path => '/on/ws', family => 6, authority => '[::1]:' . port(8080)],
    ['[::1]:' . port(8080), '::1', '::1', 'http']);

# Proxies in front are kept in one list; what a client says otherwise is replaced.

handshake([path => '/on/ws', headers => ['X-Forwarded-For: 192.0.2.1, 192.0.2.2', 'X-Real-IP: 192.0.2.1',
    'X-Forwarded-Proto: gopher']], ['localhost', '127.0.0.1', '192.0.2.1, 192.0.2.2, 127.0.0.1', 'http']);
handshake([path => '/on/ws', family => 6, headers => ['X-Forwarded-For: 192.0.2.1']],
    ['localhost', '::1', '192.0.2.1, ::1', 'http']);

# Without a Host.

plain("GET http://line.example.com/on/page HTTP/1.0\r\n\r\n",
    ['line.example.com', '127.0.0.1', '127.0.0.1', 'http']);
plain("GET /on/page HTTP/1.0\r\n\r\n", ['named.example.com', '127.0.0.1', '127.0.0.1', 'http']);

# What the location sets itself or inherits, stays.

handshake([path => '/own/ws'], ['own.example.com', '127.0.0.1', undef, 'http']);
is((requests_seen($t))[-1]->header('X-Own'), 'yes', 'beside others');
handshake([path => '/own/all/ws'], [qw/ a b c d /]);
handshake([path => '/ws', port => 8083], ['inherited.example.com', '127.0.0.1', '127.0.0.1', 'http']);
is((requests_seen($t))[-1]->header('X-Level'), 'server', 'beside others');

# Off: in the location, by default, and without the guard.

handshake([path => '/off/ws'], [$backend, undef, undef, undef]);
handshake([path => '/without/ws', port => 8083], ['inherited.example.com', undef, undef, undef]);
plain("GET /unguarded/page HTTP/1.1\r\nHost: localhost\r\n\r\n", [$backend, undef, undef, undef]);

is_deeply([guard_log($t, 'error')], [], 'nothing to complain about');

sub handshake {
    my ($options, $expected) = @_;
    my $ws = websocket(@$options);
    is($ws->echo('hello'), 'hello', "@$options");
    seen("@$options, headers", $expected);
}

sub plain {
    my ($request, $expected) = @_;
    raw_request($request);
    seen($request =~ s/\r\n/ /gr, $expected);
}

# Each header once, or not at all.
sub seen {
    my ($name, $expected) = @_;
    my $seen = (requests_seen($t))[-1];
    is_deeply([map { [$seen->header($_)] } @forwarded], [map { [$_ // ()] } @$expected], $name);
}
