#!/usr/bin/perl

# What refuses or answers an upgrade without a backend is named with its line: a return, also one in an if of the server, a deny,
# an auth_basic, an auth_request. Its remedy works.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy rewrite map access auth_basic auth_request limit_req /);

my $RECIPE = 'proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; '
    . 'proxy_set_header Host $http_host; proxy_read_timeout 1h; proxy_pass http://127.0.0.1:8081;';

$t->write_file('maintenance.conf', "if (\$maintenance) {\n    return 503;\n}\n");
$t->write_file('users', "ann:{PLAIN}secret\n");
$t->write_file_expand('nginx.conf', <<"EOC")->plan(24);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    map \$arg_maintenance \$maintenance {
        default  \$arg_maintenance;
    }

    limit_req_zone  \$binary_remote_addr zone=narrow:1m rate=1r/m;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        if (\$http_x_from != 10.0.0.1) {
            return  404;  # of the server
        }

        location / {
            $RECIPE
        }
    }

    # the remedy is applied
    server {
        listen       127.0.0.1:8082;
        server_name  localhost;

        set \$refused \$http_x_from;
        if (\$http_upgrade) {
            set \$refused 10.0.0.1;
        }
        if (\$refused != 10.0.0.1) {
            return  404;
        }

        location / {
            $RECIPE
        }
    }

    server {
        listen       127.0.0.1:8083;
        server_name  localhost;

        include maintenance.conf;

        location / {
            $RECIPE
        }

        location /if/ {
            websocket_guard  on;
            if (\$arg_forbid) {
                return  403;  # forbidden
            }
            if (\$arg_moved) {
                rewrite  ^ /elsewhere redirect;  # moved
            }
            proxy_pass  http://127.0.0.1:8081;
        }

        location /gone/ {
            $RECIPE
            return  444;  # gone
        }

        location /page/ {
            error_page  410 /forbidden.html;
            if (\$arg_forbid) {
                return  410;  # with a page
            }
            $RECIPE
        }

        location = /forbidden.html {
        }

        location /denied/ {
            deny  all;  # denied
            $RECIPE
        }

        location /denied/remedy/ {
            allow  127.0.0.1;
            deny   all;
            $RECIPE
        }

        location /denied/some/ {
            deny  10.0.0.1;  # denied from here
            deny  127.0.0.1;
            $RECIPE
        }

        location /password/ {
            auth_basic            realm;  # password
            auth_basic_user_file  %%TESTDIR%%/users;
            $RECIPE

            location /password/remedy/ {
                auth_basic  off;
                $RECIPE
            }
        }

        location /asked/ {
            auth_request  /auth;  # asked
            $RECIPE
        }

        location /confused/ {
            auth_request  /confused_auth;  # confused
            $RECIPE
        }

        location = /auth {
            if (\$http_cookie) {
                return  204;
            }
            return  401;
        }

        location = /confused_auth {
            return  426;
        }

        location /limited/ {
            limit_req  zone=narrow;
            $RECIPE
        }

        # near: it is the backend that refuses
        location /backend/ {
            if (\$arg_never) {
                return  403;
            }
            deny  10.0.0.1;
            $RECIPE
        }

        # near: files without an index
        location /files/ {
            allow  all;
            deny   10.0.0.1;
        }
    }
}

EOC

mkdir $t->testdir . '/files';
$t->write_file('forbidden.html', 'no');
run_backend($t, 8081);
$t->run();

my $NO_BACKEND = 'no backend was asked';
my $CONDITION  = 'correct the condition of that "if", or let upgrades pass it';
my $FAILED     = '[error] upgrade failed:';

# ---- return

my $server = $t->testdir . '/nginx.conf:' . (conf_line($t, qr/listen .*:${\ port(8080)};/) - 1);
is(outcome($t), qq{404, $FAILED the server (no location) answered 404 by "return" in an "if" (${\ line('of the server')}), $NO_BACKEND; }
    . "$CONDITION [not-proxied]", 'an if of the server');
is(outcome($t, headers => ["X-From: 10.0.0.1"]), '101', 'who is let through');
is(outcome($t, port => 8082), '101', 'the remedy');

is(at(8083, '/?maintenance=1'), qq{503, $FAILED the server (no location) answered 503 by "return" in an "if" }
    . "(${\ $t->testdir}/maintenance.conf:2), $NO_BACKEND; $CONDITION [not-proxied]", 'in an include');
is(at(8083, '/if/?forbid=1'), qq{403, $FAILED location "/if/" (X) refused access with 403 by "return" in an "if" (${\ line('forbidden')}); }
    . "$CONDITION [access-denied]", 'in an if of a marked location');
like(at(8083, '/if/?moved=1'), qr/^302, .*answered 302 to "\S+" by "rewrite" in an "if" \(\Q${\ line('moved')}\E\), and .* \[redirected\]$/,
    'a rewrite');
is(at(8083, '/if/'), '101', 'none of them');
like(at(8083, '/gone/'), qr/without an answer \(444\) by "return" \(\Q${\ line('gone')}\E\); put a proxy_pass in its place, or .*access-denied/,
    'without a condition');
like(at(8083, '/page/?forbid=1'), qr/^410, .* answered 410 by "return" in an "if" \(\Q${\ line('with a page')}\E\), no backend was asked; \Q$CONDITION/,
    'with an error page');
is(at(8083, '/page/'), '101', 'the same without the condition');

# ---- deny, auth_basic, auth_request

is(at(8083, '/denied/'), qq{403, $FAILED location "/denied/" (X) refused access with 403 by "deny" (${\ line('denied')}); }
    . q{put an "allow" for the client's address before it [access-denied]}, 'deny');
is(at(8083, '/denied/remedy/'), '101', 'the remedy');
like(at(8083, '/denied/some/'), qr/^403, .* by one of 2 "deny" \(the first is \Q${\ line('denied from here')}\E\); put an "allow"/, 'several rules');
like(at(8083, '/password/'), qr/^401, .* refused access with 401 by "auth_basic" \(\Q${\ line('password')}\E\); send the credentials with /,
    'auth_basic');
is(at(8083, '/password/remedy/'), '101', 'the remedy');
is(at(8083, '/password/', headers => ["Authorization: Basic YW5uOnNlY3JldA=="]), '101', 'the other remedy');
like(at(8083, '/asked/'), qr/^401, .* refused access with 401 by "auth_request" \(\Q${\ line('asked')}\E\); send with the handshake what /,
    'auth_request');
is(at(8083, '/asked/', headers => ["Cookie: a=b"]), '101', 'the remedy');
like(at(8083, '/confused/'), qr/^500, .* failed: "auth_request" \(\Q${\ line('confused')}\E\) in location \S+ \(X\) was answered with 426, /,
    'an answer that auth_request does not understand');

# ---- near

at(8083, '/limited/');
like(at(8083, '/limited/'), qr/^503, .* limit_req refused .* \[rate-limited\]$/, 'a limit');
like(at(8083, '/backend/status?403'), qr/^403, (?!.*"return"|.*"deny").*\[backend-\w+\]$/, 'the backend');
like(at(8083, '/files/'), qr/^403, (?!.*"deny").*\[access-denied\]$/, 'files');
unlike(at(8083, '/files/none'), qr/"return"|"deny"/, 'a file that is not there');
is(at(8083, '/backend/'), '101', 'what is let through');

# The same with the places of locations left out.
sub at {
    my ($port, $path, %options) = @_;
    my $outcome = outcome($t, port => $port, path => $path, %options);
    $outcome =~ s/(location "[^"]+") \([^)]*\)/$1 (X)/g;
    return $outcome;
}

# Where the line with this comment is.
sub line { return $t->testdir . '/nginx.conf:' . conf_line($t, qr/# \Q$_[0]\E$/) }
