#!/usr/bin/perl

# Failures that look like others: a directory without an index is no access rule, a TRACE no return, a location that no URL leads to
# no remedy, a line that is no header no closed connection, a 103 no answer, an error_page no other module.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy uwsgi rewrite access /);
my $knows_hints = $t->has_version('1.29.0');

my $conf = <<'EOC';

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    proxy_http_version  1.1;
    proxy_set_header    Upgrade $http_upgrade;
    proxy_set_header    Connection upgrade;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;
        root         %%TESTDIR%%;

        # files
        location /dir/ {
            DIR
        }

        location /dir/denied/ {
            deny  all;
        }

        location /dir/allowed/ {
            allow  127.0.0.1;
            deny   all;
        }

        # only a named location is marked
        location /app/ {
            try_files  $uri @app;
        }

        location @app {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /elsewhere/ {
            ELSEWHERE
        }

        location /said/ {
            return  101;
        }

        location /said/if/ {
            if ($arg_no) {
                return  101;
            }
            proxy_pass  http://127.0.0.1:8081;
        }

        location /backend/ {
            proxy_pass  http://127.0.0.1:8081;
        }

        # the page of an error is a backend of its own
        location /dead/ {
            error_page  502 EQUALS/backend/;
            proxy_pass  http://127.0.0.1:8089;
        }

        location /dead/named/ {
            error_page  502 EQUALS@named;
            proxy_pass  http://127.0.0.1:8089;
        }

        location @named {
            proxy_pass  http://127.0.0.1:8081;
        }

        location /uwsgi/ {
            uwsgi_pass   127.0.0.1:8082;
            uwsgi_param  REQUEST_METHOD $request_method;
            uwsgi_param  REQUEST_URI $request_uri;
            UWSGI
        }
    }

    # two marked locations, the first of which is named
    server {
        listen       127.0.0.1:8083;
        server_name  localhost;

        location @app {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /ws/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }

        location / {
            root  %%TESTDIR%%;
        }
    }
}
EOC

run_backend($t, $_, $_ == 8082 ? (protocol => 'uwsgi') : (), handlers => {
    'bad-line' => sub { my ($c) = @_; $c->write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nBad Header\r\n\r\n"); sleep 2 },
    'bad-name' => sub { my ($c) = @_; $c->write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-\0: y\r\n\r\n"); sleep 2 },
    'cut'      => sub { my ($c) = @_; $c->write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"); $c->disconnect },
    twice      => sub {
        my ($c, $request) = @_;
        $c->upgrade(headers => ['Upgrade: websocket']) && $c->echo;
    },
    hints => sub {
        my ($c) = @_;
        $c->write("HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n");
        $c->upgrade && $c->echo;
    },
    fake => sub { my ($c) = @_; $c->write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"); $c->disconnect },
}) for 8081, 8082;
mkdir $t->testdir . "/$_" for qw{ dir dir/empty dir/denied dir/allowed };
configure();
$t->plan(28)->run();

my $backend = 'backend 127.0.0.1:' . port(8081);
my $uwsgi   = 'backend 127.0.0.1:' . port(8082);
my $proxy   = 'add a proxy_pass to the location, or correct the URL in the client [not-proxied]';

# ---- a directory without an index

is(try('/dir/empty/'), '403, [error] upgrade failed: ' . place_of($t, '/dir/') . " serves files and answered 403, no backend was asked; $proxy",
    'a directory');
like(try('/dir/denied/'), qr/^403, .* refused access with 403 by "deny" \(\S+\).* \[access-denied\]$/, 'a directory that is denied');
# A rule that may have been it.
like(try('/dir/allowed/'), qr/^403, .* refused access with 403;.* \[access-denied\]$/, 'a directory with access rules');

# ---- methods that nginx serves nowhere

my $trace = sub {
    my ($method, $target) = @_;
    raw_request("$method $target HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
        . "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n", port => 8080);
};
my $method = 'where a WebSocket handshake is a GET; correct the client';
like(outcome($t, sub { $trace->('TRACE', '/said/') }), qr/^405, \[error\] upgrade failed: the method is "TRACE" \Q$method\E.*\[handshake-method\]$/, 'TRACE');
like(outcome($t, sub { $trace->('TRACE', '/backend/ws') }), qr/^405, .*\[handshake-method\]$/, 'TRACE, where something is proxied');
like(outcome($t, sub { $trace->('OPTIONS', '/dir/empty/') }), qr/^405, .* "OPTIONS" .*\[handshake-method\]$/, 'another method');

# ---- the marked location

is(try('/elsewhere/x'), '404, [error] upgrade failed: ' . place_of($t, '/elsewhere/') . " serves files and answered 404, no backend was asked; $proxy",
    'only a named location is marked');
is(try('/app/x'), '101', 'by try_files');
like(try('/x', port => 8083), qr{^404, .*, not into the marked location "/ws/"; .* \[wrong-location\]$}, 'the one that has a URL is told of');

# ---- return 101

for my $case (['/said/x', '"return"'], ['/said/if/x?no=1', '"return" in an "if"']) {
    my ($path, $by) = @$case;
    like(try($path), qr/^101, \[error\] upgrade failed: location "[^"]+" \(\S+\) answered 101 by \Q$by\E \(\S+\), no backend was asked; .*\[not-proxied\]$/, $path);
}
is(try('/said/if/x'), '101', 'not that return');

# ---- an error_page without "="

my $equals = 'write that error_page with a "=" behind its status, such as "error_page 502 = /other;" [switch-replaced]';
for my $case (['/dead/x', '/backend/'], ['/dead/named/x', '@named']) {
    my ($path, $page) = @$case;
    is(try($path), "502, [error] upgrade failed: $backend answered 101 in " . place_of($t, $page) . ', to which an error_page had brought '
        . "the request, and that keeps the status 502; $equals", $path);
}

# ---- what is no header

my $invalid = 'answered with a header that has an invalid line; correct the header that the backend sends; the line of nginx itself '
    . 'before this one shows it [backend-not-websocket]';
is(try("/backend/$_"), "502, [error] upgrade failed: $backend $invalid", $_) for qw/ bad-line bad-name /;
like($t->read_file('error.log'), qr/upstream sent invalid header.*?has an invalid line; correct/s, 'the line before shows it');
like(try('/backend/cut'), qr/^502, .* closed the connection before it answered; .*\[backend-closed\]$/, 'a header that is cut');
like(try('/backend/close'), qr/^502, .* closed the connection before it answered; .*\[backend-closed\]$/, 'no header');

# ---- a header twice

is(try('/backend/twice'), "101, [error] upgrade failed: $backend answered 101 with two Upgrade headers, which browsers refuse; correct the "
    . 'backend, or what stands between it and nginx [bad-switch]', 'two Upgrade headers');
is(try('/backend/ws'), '101', 'one of each');

# ---- a 103

is(outcome($t, sub { websocket(path => '/backend/hints', $knows_hints ? () : (timeout => 1)) }) =~ s/^\d+(?:, )?//r,
    $knows_hints ? '' : "[error] upgrade failed: $backend sent 103 (Early Hints) before its answer, and this nginx takes that for the answer; "
    . 'have the backend send nothing before the 101, or use nginx 1.29.0 or later [backend-not-websocket]', 'a 103');

# ---- uwsgi

like(outcome($t, sub { raw_request("GET /uwsgi/fake HTTP/1.1\r\nHost: localhost\r\n\r\n", port => 8080, timeout => 2) }), qr/see that no uwsgi_param or scgi_param sets HTTP_UPGRADE \[unsolicited-101\]$/, 'uwsgi, a 101 that nobody asked for');
like(outcome($t, sub { raw_request("GET /backend/fake HTTP/1.1\r\nHost: localhost\r\n\r\n", port => 8080, timeout => 2) }), qr/see that no proxy_set_header sets Upgrade to a constant \[unsolicited-101\]$/, 'proxy, a 101 that nobody asked for');

# ---- what the lines say

configure('=', 'proxy_pass http://127.0.0.1:8081;');
reload($t);
is(try($_), '101', "$_: the remedy") for qw{ /dir/empty/ /elsewhere/x /dead/x /dead/named/x };

sub configure {
    my ($equals, $pass) = @_;
    my $text = $conf =~ s/EQUALS/$equals ? '= ' : ''/ger;
    $text =~ s/DIR$|ELSEWHERE/$pass \/\/ ''/gem;
    $text =~ s/UWSGI$//m;
    $t->write_file_expand('nginx.conf', $text);
}

sub try { my ($path, %options) = @_; return outcome($t, path => $path, %options) }
