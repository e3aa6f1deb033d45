#!/usr/bin/perl

# access-denied: nginx refused access. access-check-failed: auth_request got an answer that it does not understand.
# rate-limited: limit_req or limit_conn.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy rewrite access auth_basic auth_request limit_req limit_conn map /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(36);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    limit_req_zone   $uri zone=requests:1m rate=1r/m;
    limit_conn_zone  $server_name zone=connections:1m;

    server {
        listen           127.0.0.1:8080;
        server_name      localhost;
        websocket_guard  on;

        location /password/ {
            auth_basic            secret;
            auth_basic_user_file  %%TESTDIR%%/htpasswd;
            proxy_pass            http://127.0.0.1:8081;
        }

        location /deny/ {
            deny        all;
            proxy_pass  http://127.0.0.1:8081;
        }

        location /return/ {
            return  403;
        }

        location /silent/ {
            return  444;
        }

        location /either/ {
            satisfy       any;
            auth_request  /check/401;
            deny          all;
            proxy_pass    http://127.0.0.1:8081;
        }

        location /ask/204/ {
            auth_request  /check/204;
            proxy_pass    http://127.0.0.1:8081;
        }

        location /ask/401/ {
            auth_request  /check/401;
            proxy_pass    http://127.0.0.1:8081;
        }

        location /ask/403/ {
            auth_request  /check/403;
            proxy_pass    http://127.0.0.1:8081;
        }

        location /ask/400/ {
            auth_request  /check/400;
            proxy_pass    http://127.0.0.1:8081;
        }

        location /ask/426/ {
            auth_request  /check/426;
            proxy_pass    http://127.0.0.1:8081;
        }

        location /ask/500/ {
            auth_request  /check/500;
            proxy_pass    http://127.0.0.1:8081;
        }

        location /ask/dead/ {
            auth_request  /dead;
            proxy_pass    http://127.0.0.1:8081;
        }

        # to a sign-in page
        location /sign-in/ {
            auth_request  /check/401;
            error_page    401 =302 https://sso.example.com/;
            proxy_pass    http://127.0.0.1:8081;
        }

        location /sign-in/named/ {
            auth_request  /check/401;
            error_page    401 = @sign-in;
            proxy_pass    http://127.0.0.1:8081;
        }

        location @sign-in {
            return  303 https://sso.example.com/?back=$request_uri;
        }

        location /check/ {
            internal;
            rewrite     ^/check/(.*) /status?$1 break;
            proxy_pass  http://127.0.0.1:8081;
        }

        location = /dead {
            internal;
            proxy_pass  http://127.0.0.1:8089;
        }

        location /requests/ {
            limit_req   zone=requests;
            proxy_pass  http://127.0.0.1:8081;
        }

        location /requests/429/ {
            limit_req         zone=requests;
            limit_req_status  429;
            proxy_pass        http://127.0.0.1:8081;
        }

        location /requests/dry/ {
            limit_req          zone=requests;
            limit_req_dry_run  on;
            proxy_pass         http://127.0.0.1:8081;
        }

        location /connections/ {
            limit_conn  connections 1;
            proxy_pass  http://127.0.0.1:8081;
        }

        location /connections/429/ {
            limit_conn         connections 1;
            limit_conn_status  429;
            proxy_pass         http://127.0.0.1:8081;
        }

        location /maintenance/ {
            return  503;
        }
    }

    # not guarded
    server {
        listen       127.0.0.1:8082;
        server_name  unguarded;

        location /unguarded/password/ {
            auth_basic            secret;
            auth_basic_user_file  %%TESTDIR%%/htpasswd;
            proxy_pass            http://127.0.0.1:8081;
        }

        location /unguarded/ask/401/ {
            auth_request  /check/401;
            proxy_pass    http://127.0.0.1:8081;
        }

        # a check that is passed the whole handshake
        location /unguarded/ask/426/ {
            auth_request  /check/426;
            proxy_pass    http://127.0.0.1:8081;
        }

        location /check/ {
            internal;
            rewrite     ^/check/(.*) /status?$1 break;
            proxy_pass  http://127.0.0.1:8081;
        }

        location /unguarded/requests/ {
            limit_req   zone=requests;
            proxy_pass  http://127.0.0.1:8081;
        }

        location /unguarded/connections/ {
            limit_conn          connections 1;
            proxy_http_version  1.1;
            proxy_set_header    Upgrade $http_upgrade;
            proxy_set_header    Connection upgrade;
            proxy_pass          http://127.0.0.1:8081;
        }
    }
}
EOC

$t->write_file('htpasswd', 'user:{PLAIN}secret');
run_backend($t, 8081);
$t->run();

# ---- access-denied

is(outcome($t, path => '/password/'), '401, ' . denied('/password/', 401, 'auth_basic'), 'auth_basic');
is(outcome($t, path => '/password/', headers => ['Authorization: Basic dXNlcjpzZWNyZXQ=']), '101', 'auth_basic, with the password');
is(outcome($t, path => '/password/', headers => ['Authorization: Basic dXNlcjp3cm9uZw==']),
    '401, ' . denied('/password/', 401, 'auth_basic'), 'auth_basic, with another');
is(outcome($t, path => '/deny/'), '403, ' . denied('/deny/', 403, 'deny'), 'deny');
is(outcome($t, path => '/return/'), '403, ' . denied('/return/', 403, 'return'), 'return 403');
is(outcome($t, path => '/silent/'), '0, ' . denied('/silent/', 444, 'return'), 'return 444');
is(outcome($t, path => '/ask/401/'), '401, ' . denied('/ask/401/', 401, 'auth_request'), 'auth_request, 401');
is(outcome($t, path => '/ask/403/'), '403, ' . denied('/ask/403/', 403, 'auth_request'), 'auth_request, 403');
is(outcome($t, path => '/either/'), '401, ' . denied('/either/', 401, 'auth_request'), 'satisfy any, neither');
is(outcome($t, path => '/ask/204/'), '101', 'auth_request, 204');

for my $case (['/password/', 401, 'auth_basic'], ['/ask/401/', 401, 'auth_request']) {
    my ($path, $status, $directive) = @$case;
    is(outcome($t, path => "/unguarded$path", port => 8082),
        "$status, " . denied("/unguarded$path", $status, $directive), "$path, not guarded");
}
like(outcome($t, path => '/ask/204/status?403'), qr/^403, .* \[backend-auth\]$/, 'the backend refused');

my $redirected = 'and WebSocket clients do not follow redirects; sign in first, with a page of the same site: the cookie of its session '
    . 'goes with the handshake [redirected]';
is(outcome($t, path => '/sign-in/'), '302, [error] upgrade failed: "auth_request" (' . line_of('/sign-in/', 'auth_request') . ') refused '
    . place_of($t, '/sign-in/') . " with 401, and an error_page made 302 to \"https://sso.example.com/\" of it, $redirected", 'a sign-in page');
is(outcome($t, path => '/sign-in/named/'), '303, [error] upgrade failed: "auth_request" (' . line_of('/sign-in/named/', 'auth_request')
    . ') refused ' . place_of($t, '/sign-in/named/') . ' with 401, and an error_page made 303 to '
    . "\"https://sso.example.com/?back=/sign-in/named/\" of it, $redirected", 'a sign-in page, by a named location');

# ---- access-check-failed

for my $status (400, 426, 500) {
    is(outcome($t, path => "/ask/$status/"), '500, ' . check_failed("/ask/$status/", $status), "auth_request, $status");
}
is(outcome($t, path => '/ask/dead/'), '500, ' . check_failed('/ask/dead/', 502), 'auth_request, nobody there');
is(outcome($t, path => '/unguarded/ask/426/', port => 8082), '500, ' . check_failed('/unguarded/ask/426/', 426),
    'auth_request, 426, not guarded');
like(outcome($t, path => '/ask/204/status?500'), qr/^500, .* \[backend-error\]$/, 'the backend failed');

# ---- rate-limited

for my $case (['/requests/', 503, 8080], ['/requests/429/', 429, 8080]) {
    my ($path, $status, $port) = @$case;
    is(outcome($t, path => $path), '101', "$path: the first request");
    is(outcome($t, path => $path), "$status, " . limited("limit_req refused the request with $status in " . place_of($t, $path)),
        "$path: the second");
}
is(outcome($t, path => '/requests/dry/'), '101', "dry run: request $_") for 1, 2;
like(outcome($t, path => '/requests/status?503'), qr/^503, .* \[backend-error\]$/, 'the backend has a limit of its own');

outcome($t, path => '/unguarded/requests/', port => 8082);
is(outcome($t, path => '/unguarded/requests/', port => 8082),
    '503, ' . limited('limit_req refused the request with 503 in ' . place_of($t, '/unguarded/requests/')), 'limit_req, not guarded');

my $open = websocket(path => '/connections/');
ok($open->is_open, 'one connection');
for my $case (['/connections/', 503], ['/connections/429/', 429]) {
    my ($path, $status) = @$case;
    is(outcome($t, path => $path), "$status, " . limited("limit_conn refused the request with $status in " . place_of($t, $path)),
        "$path: another one");
}
ok($open->close, 'it ends');
is(outcome($t, path => '/connections/'), '101', 'and another one is allowed');

$open = websocket(path => '/unguarded/connections/', port => 8082);
is(outcome($t, path => '/unguarded/connections/', port => 8082),
    '503, ' . limited('limit_conn refused the request with 503 in ' . place_of($t, '/unguarded/connections/')), 'limit_conn, not guarded');

my $return = line_of('/maintenance/', 'return');
like(outcome($t, path => '/maintenance/'), qr/^503, .* answered 503 by "return" \(\Q$return\E\), .*\[not-proxied\]$/, 'return 503');

# The line of that directive in a location.
sub line_of {
    my ($path, $directive) = @_;
    my ($opened, $number) = (conf_line($t, qr/^\s*location (?:\S+ )?\Q$path\E \{/), 0);
    for my $line (split /\n/, $t->read_file('nginx.conf')) {
        return $t->testdir . "/nginx.conf:$number" if ++$number > $opened && $line =~ /^\s*$directive\b/;
    }
}

sub denied {
    my ($path, $status, $directive) = @_;
    my %fix = (
        return       => 'put a proxy_pass in its place, or correct the URL in the client',
        deny         => q{put an "allow" for the client's address before it},
        auth_basic   => 'send the credentials with the handshake, or use "auth_basic off;" there and check a cookie or a query argument',
        auth_request => q{send with the handshake what that subrequest asks for: a page's cookies go with it, a header of its own cannot},
    );
    my $what = $status == 444 ? 'closed the connection without an answer (444)' : "refused access with $status";
    return '[error] upgrade failed: ' . place_of($t, $path) . " $what by \"$directive\" (" . line_of($path, $directive)
        . "); $fix{$directive} [access-denied]";
}

sub check_failed {
    my ($path, $status) = @_;
    return '[error] upgrade failed: "auth_request" (' . line_of($path, 'auth_request') . ') in ' . place_of($t, $path) . " was answered with $status, which nginx turns into 500; "
        . 'set Upgrade and Connection to "" in the location that auth_request names, and see the auth backend\'s log '
        . '[access-check-failed]';
}

sub limited { return "[error] upgrade failed: $_[0]; raise the limit for this location [rate-limited]" }
