#!/usr/bin/perl

# websocket_guard_log: the level of the diagnoses that have none of their own; "off" silences all. A stock error_log, which has
# the level error, shows them by default.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(28);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen           127.0.0.1:8080;
        server_name      example.com;
        websocket_guard  on;

        location /default/ {
        }

        location /debug/ {
            websocket_guard_log  debug;
        }

        location /info/ {
            websocket_guard_log  info;
        }

        location /notice/ {
            websocket_guard_log  notice;
        }

        location /warn/ {
            websocket_guard_log  warn;
        }

        location /error/ {
            websocket_guard_log  error;
        }

        location /crit/ {
            websocket_guard_log  crit;
        }

        location /emerg/ {
            websocket_guard_log  emerg;
        }

        location /off/ {
            websocket_guard_log  off;

            location /off/inherited/ {
            }

            location /off/again/ {
                websocket_guard_log  notice;
            }
        }
    }

    # error_log of the same place, at other levels
    server {
        listen           127.0.0.1:8082;
        server_name      example.com;
        websocket_guard  on;

        error_log        %%TESTDIR%%/stock.log;

        location /default/ {
        }

        location /warn/ {
            websocket_guard_log  warn;
        }

        location /crit/ {
            websocket_guard_log  crit;
        }
    }

    server {
        listen           127.0.0.1:8083;
        server_name      example.com;
        websocket_guard  on;

        error_log        %%TESTDIR%%/warn.log warn;

        location /default/ {
        }

        location /warn/ {
            websocket_guard_log  warn;
        }

        location /notice/ {
            websocket_guard_log  notice;
        }
    }
}
EOC

$t->run();

my %level = (default => 'error', map { $_ => $_ } qw/ debug info notice warn error crit emerg /);
for my $name (sort keys %level) {
    is(outcome($t, path => "/$name/none", version => '1.0'), "400, [$level{$name}] upgrade failed: the request is HTTP/1.0 where a "
        . 'WebSocket handshake needs HTTP/1.1; let the proxy in front speak HTTP/1.1 (an outer nginx: "websocket_guard on;") '
        . '[handshake-http-version]', $name);
}
is(outcome($t, path => "/off/$_", version => '1.0'), '400', "off: $_") for '', 'inherited/';
like(outcome($t, path => '/off/again/', version => '1.0'), qr/^400, \[notice\] .* \[handshake-http-version\]$/, 'off, and on again below');

# A diagnosis with a level of its own keeps it.
like(outcome($t, path => "/$_/", headers => ['Upgrade: h2c']), qr/^40\d, \[info\] .* \[not-websocket\]$/, "$_: h2c")
    for qw/ default emerg debug /;
is(outcome($t, path => '/off/', headers => ['Upgrade: h2c']), '404', 'off: h2c');

# The whole line, as nginx ends it.
my $since = log_size($t);
outcome($t, path => '/default/?a=1', version => '1.0', authority => 'example.com', headers => ['Connection: keep-alive, upgrade']);
my ($line) = guard_log($t, undef, since => $since, raw => 1);
like($line, qr!^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[error\] \d+#\d+: \*\d+ websocket_guard: upgrade failed: .* \[handshake-http-version\](?#
    ), client: 127\.0\.0\.1, server: example\.com, request: "GET /default/\?a=1 HTTP/1\.0", host: "example\.com"$!, 'context');

# What the error_log of the server shows.
for my $case ([8082, 'stock.log', default => 1, warn => 0, crit => 1], [8083, 'warn.log', default => 1, warn => 1, notice => 0]) {
    my ($port, $file, %shown) = @$case;
    for my $name (sort keys %shown) {
        is(outcome($t, path => "/$name/", port => $port, version => '1.0'), '400', "$file, $name: not in another log");
        my @lines = guard_lines($t->read_file($file));
        is(scalar(grep { /handshake-http-version/ && / \Q\/$name\/\E / } @lines), $shown{$name}, "$file, $name");
    }
}
