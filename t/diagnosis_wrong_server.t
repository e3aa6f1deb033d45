#!/usr/bin/perl

# wrong-server: no server_name fits the Host, the default server of the socket took the request, and another one has the location for it.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy rewrite /);

my $RECIPE = 'proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; '
    . 'proxy_set_header Host $http_host; proxy_read_timeout 1h; proxy_pass http://127.0.0.1:8081;';

$t->write_file_expand('nginx.conf', <<"EOC")->plan(16);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen       127.0.0.1:8080 default_server;  # default
        listen       127.0.0.1:8082;
        server_name  fallback.example;

        location /redirected/ {
            return  301 https://example.com/;
        }

        location /by-hand/ {
            $RECIPE
        }

        location / {
        }
    }

    server {
        listen       127.0.0.1:8080;
        server_name  example.com;

        location /chat/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /redirected/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }

        location = /exact {
            $RECIPE
        }

        location /by-hand/ {
            $RECIPE
        }

        location /plain/ {
            proxy_pass  http://127.0.0.1:8081;
        }
    }

    # the remedy
    server {
        listen       127.0.0.1:8082;
        server_name  example.com www.example.com;

        location /chat/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }
    }

    # a server that closes the connection is the default one
    server {
        listen       127.0.0.1:8083;
        return       444;
    }

    server {
        listen       127.0.0.1:8083;
        server_name  ~^(a|b)\\.example\$;

        location ~ ^/ws/\\d+\$ {
            $RECIPE
        }
    }
}

EOC

run_backend($t, 8081);
$t->run();

my $default = $t->testdir . '/nginx.conf:' . (conf_line($t, qr/# default$/) - 1);
my $FIX = 'add that name to its server_name, or correct the URL in the client [wrong-server]';

is(at('www.example.com', '/chat/x'), '404, [error] upgrade failed: no server_name fits Host "www.example.com", so the server '
    . "\"fallback.example\" ($default) took the request as the default server of its socket, and not server \"example.com\" with its "
    . 'location "/chat/" (' . opened('/chat/') . "); $FIX", 'a name that no server has');
is(at('www.example.com', '/chat/x', port => 8082), '101', 'the remedy');
is(at('example.com', '/chat/x'), '101', 'the other remedy');

like(at('www.example.com:80', '/exact'), qr/^404, .* fits Host "www\.example\.com:80", .* location "\/exact" .*\Q$FIX\E$/, 'by hand, an exact location');
like(at('192.0.2.1', '/redirected/'), qr/^301, .* no server_name fits .*\Q$FIX\E$/, 'the default server redirects');
like(at('c.example', '/ws/12', port => 8083), qr/^0, .* fits Host "c\.example", so the server \(\S+\) took .* server "~\^\(a\|b\)\S*example\$" with .*\Q$FIX\E$/,
    'the default server closes the connection, names by a regular expression');
is(at('b.example', '/ws/12', port => 8083), '101', 'a name that the expression has');

# ---- near

like(at('fallback.example', '/chat/x'), qr/^404, .* \[not-proxied\]$/, 'the name of the default server');
like(at('example.com', '/none'), qr/^404, .* \[(?:not-proxied|wrong-location)\]$/, 'the right server');
like(at('www.example.com', '/exact/more'), qr/^404, .* \[not-proxied\]$/, 'a URI for which there is no such location');
like(at('www.example.com', '/plain/'), qr/^404, .* \[not-proxied\]$/, 'one that forwards no upgrade');
is(at('www.example.com', '/by-hand/'), '101', 'the default server forwards it');
like(at('www.example.com', '/by-hand/status?404'), qr/^404, .* \[backend-not-found\]$/, 'and the backend refuses');
like(at('c.example', '/ws/x', port => 8083), qr/^0, .* \[access-denied\]$/, 'a URI that the expression does not have');

# Of a plain request nothing is said.
my $since = log_size($t);
raw_request("GET /chat/ HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\n\r\n");
is_deeply([guard_log($t, undef, since => $since)], [], 'a plain request');
is(at('example.com', '/exact'), '101', 'the exact location');

sub at {
    my ($host, $path, %options) = @_;
    return outcome($t, authority => $host, path => $path, %options);
}

# Where the last location of that name is opened.
sub opened {
    my ($name) = @_;
    return $t->testdir . '/nginx.conf:' . conf_line($t, qr/location (?:\S+ )?\Q$name\E \{/);
}
