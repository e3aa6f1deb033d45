#!/usr/bin/perl

# wrong-location: the request fell into another location than the marked one. not-proxied: nginx answered it itself.
# redirected, slash-redirect: it answered with a redirect.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy rewrite map /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(29);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    # marked locations
    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /ws/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }

        location / {
            try_files  $uri /index.html;
        }

        location /api/ {
            proxy_pass  http://127.0.0.1:8081;
        }

        location /text/ {
            return  200 text;
        }

        location = /gone {
            return  410;
        }

        location /app/terminal/ws {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }

        # forwards the upgrade by hand
        location /by-hand/ {
            proxy_http_version  1.1;
            proxy_set_header    Upgrade $http_upgrade;
            proxy_set_header    Connection upgrade;
            proxy_pass          http://127.0.0.1:8081;
        }

        location /denied/ {
            deny        all;
            proxy_pass  http://127.0.0.1:8081;
        }

        location /moved/ {
            return  301 https://$host$request_uri;
        }
    }

    # no marked location
    server {
        listen       127.0.0.1:8082;
        server_name  localhost;

        location /files/ {
        }

        location / {
            try_files  $uri /index.html;
        }

        location /text/ {
            return  200 text;
        }

        location /checked/ {
            websocket_guard  check;
        }

        location /moved/ {
            return  308 wss://$host$request_uri;
        }

        location /rewritten/ {
            rewrite  ^/rewritten/(.*) /chat/$1 redirect;
        }

        location /slash/ {
            proxy_pass  http://127.0.0.1:8081;
        }
    }

    # marked, but nothing there to carry a WebSocket
    server {
        listen           127.0.0.1:8083;
        server_name      localhost;
        websocket_guard  on;

        location /files/ {
        }

        location /text/ {
            return  200 text;
        }

        location /moved/ {
            return  302 /login?next=$request_uri;
        }

        location /slash/ {
            proxy_pass  http://127.0.0.1:8081;
        }

        location = /exact {
            proxy_pass  http://127.0.0.1:8081;
        }

        location /exact/ {
            proxy_pass  http://127.0.0.1:8081;
        }
    }
}
EOC

mkdir $t->testdir . '/files';
mkdir $t->testdir . '/files/dir';
$t->write_file('index.html', 'the application');
run_backend($t, 8081);
$t->run();

# ---- wrong-location

for my $case (
    ['/',         '/chat/1', 200],
    ['/api/',     '/api/ws', 200],
    ['/text/',    '/text/',  200],
    ['/gone',     '/gone',   410],
) {
    my ($location, $uri, $status) = @$case;
    is(outcome($t, path => $uri), "$status, [error] upgrade failed: \"$uri\" falls into " . place_of($t, $location)
        . ', not into the marked location "/ws/"; correct the URL in the client, or mark that location too [wrong-location]', $uri);
}
is(outcome($t, path => '/ws/1'), '101', 'the marked location');
is(outcome($t, path => '/by-hand/'), '101', 'one that forwards');

# Of several the one that was meant.
like(outcome($t, path => $_), qr{, not into the marked location "/app/terminal/ws"; .* \[wrong-location\]$}, $_)
    for '/app/terminal/socket', '/app/term';

# It forwards, redirects or refuses: then that is what there is to say.
like(outcome($t, path => '/by-hand/status?404'), qr/^404, .* \[backend-not-found\]$/, 'the backend refused');
is(outcome($t, path => '/denied/'), '403, [error] upgrade failed: ' . place_of($t, '/denied/')
    . ' refused access with 403 by "deny" (' . after(8080, '/denied/') . q{); put an "allow" for the client's address before it }
    . '[access-denied]', 'nginx refused');
is(outcome($t, path => '/moved/x'), '301, [error] upgrade failed: ' . place_of($t, '/moved/')
    . ' answered 301 to "https://localhost/moved/x" by "return" (' . after(8080, '/moved/') . '), and WebSocket clients do not follow '
    . 'redirects; use wss:// in the client; if TLS ends in front of this nginx, have the proxy there send X-Forwarded-Proto and let the '
    . 'rule look at $http_x_forwarded_proto in place of $scheme [redirected]', 'nginx redirected');
is(outcome($t, path => '/ws'), '301, [error] upgrade failed: ' . place_of($t, '/ws/')
    . ' redirected "/ws" to "http://localhost:' . port(8080) . '/ws/", and WebSocket clients do not follow redirects; use the URL with '
    . 'the slash in the client, or add an exact location for the one without [slash-redirect]', 'without its slash');

# ---- not-proxied

my $returned = 'no backend was asked; put a proxy_pass in its place, or correct the URL in the client [not-proxied]';
my $not_proxied = 'no backend was asked; add a proxy_pass to the location, or correct the URL in the client [not-proxied]';
is(outcome($t, port => 8082, path => '/files/none'), '404, [error] upgrade failed: ' . place(8082, '/files/')
    . " serves files and answered 404, $not_proxied", 'static 404');
is(outcome($t, port => 8082, path => '/app/ws'), '200, [error] upgrade failed: ' . place(8082, '/')
    . " serves files and answered 200, $not_proxied", 'index.html of an application');
is(outcome($t, port => 8082, path => '/text/'), '200, [error] upgrade failed: ' . place(8082, '/text/')
    . ' answered 200 by "return" (' . after(8082, '/text/') . "), $returned", 'return 200');
is(outcome($t, port => 8082, path => '/checked/none'), '404, [error] upgrade failed: ' . place(8082, '/checked/')
    . " serves files and answered 404, $not_proxied", 'check');
is(outcome($t, port => 8083, path => '/files/none'), '404, [error] upgrade failed: ' . place(8083, '/files/')
    . " serves files and answered 404, $not_proxied", 'marked, static 404');
is(outcome($t, port => 8083, path => '/text/'), '200, [error] upgrade failed: ' . place(8083, '/text/')
    . ' answered 200 by "return" (' . after(8083, '/text/') . "), $returned", 'marked, return 200');
is(outcome($t, port => 8083, path => '/nowhere'), '404, [error] upgrade failed: the server (' . $t->testdir . '/nginx.conf:'
    . (conf_line($t, qr/marked, but/) + 1) . ") serves files and answered 404, $not_proxied", 'no location at all');

# ---- redirected

my $redirected = 'and WebSocket clients do not follow redirects; use wss:// or the final URL in the client [redirected]';
is(outcome($t, port => 8082, path => '/moved/x?a'), '308, [error] upgrade failed: ' . place(8082, '/moved/')
    . ' answered 308 to "wss://localhost/moved/x?a" by "return" (' . after(8082, '/moved/') . '), and WebSocket clients do not follow '
    . 'redirects; use wss:// in the client; if TLS ends in front of this nginx, have the proxy there send X-Forwarded-Proto and let the '
    . 'rule look at $http_x_forwarded_proto in place of $scheme [redirected]', 'return 308');
is(outcome($t, port => 8082, path => '/rewritten/x'), '302, [error] upgrade failed: ' . place(8082, '/rewritten/')
    . ' answered 302 to "http://localhost:' . port(8082) . '/chat/x" by "rewrite" (' . after(8082, '/rewritten/') . "), $redirected", 'rewrite redirect');
is(outcome($t, port => 8082, path => '/files/dir'), '301, [error] upgrade failed: ' . place(8082, '/files/')
    . ' answered 301 to "http://localhost:' . port(8082) . "/files/dir/\", $redirected", 'a directory');
is(outcome($t, port => 8083, path => '/moved/x'), '302, [error] upgrade failed: ' . place(8083, '/moved/')
    . ' answered 302 to "http://localhost:' . port(8083) . '/login?next=/moved/x" by "return" (' . after(8083, '/moved/') . "), $redirected", 'marked, to a sign-in page');

# ---- slash-redirect

for my $port (8082, 8083) {
    is(outcome($t, port => $port, path => '/slash?a=1'), '301, [error] upgrade failed: ' . place($port, '/slash/')
        . " redirected \"/slash?a=1\" to \"http://localhost:${\ port($port)}/slash/?a=1\", and WebSocket clients do not follow "
        . 'redirects; use the URL with the slash in the client, or add an exact location for the one without [slash-redirect]',
        "$port: without the slash");
}
is(outcome($t, port => 8083, path => $_), '101', "$_: with the slash, or an exact location") for '/slash/', '/exact', '/exact/';

# Plain requests are no business of ours.
my $since = log_size($t);
raw_request("GET $_ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", port => 8083) for qw! /files/none /text/ /moved/ /slash !;
is_deeply([guard_log($t, undef, since => $since)], [], 'plain requests');

# The line after the one that opens a location.
sub after {
    my ($file, $line) = place(@_) =~ /\((.*):(\d+)\)/;
    return "$file:" . ($line + 1);
}

# The location of that name in the server on that port.
sub place {
    my ($port, $name) = @_;
    my ($number, $server) = (0, 0);
    for my $line (split /\n/, $t->read_file('nginx.conf')) {
        $number++;
        $server = $1 if $line =~ /listen .*:(\d+)/;
        next unless $server == port($port) && $line =~ /location (?:= )?\Q$name\E \{/;
        return qq{location "$name" (${\ $t->testdir}/nginx.conf:$number)};
    }
}
