#!/usr/bin/perl

# The backend answers a correct handshake with anything but 101: why, as far as its answer tells.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy uwsgi rewrite /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(93);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    upstream pool {
        server 127.0.0.1:8081;
    }

    server {
        listen           127.0.0.1:8080;
        server_name      localhost;
        websocket_guard  on;
        include          locations.conf;

        websocket_guard_forwarded  off;
    }

    server {
        listen           127.0.0.1:8083;
        server_name      localhost;
        websocket_guard  auto;
        include          locations.conf;
    }

    server {
        listen              127.0.0.1:8084;
        server_name         localhost;
        proxy_http_version  1.1;
        proxy_set_header    Upgrade $http_upgrade;
        proxy_set_header    Connection upgrade;
        include             locations.conf;
    }
}
EOC

$t->write_file_expand('locations.conf', <<'EOC');
location / {
    proxy_pass  http://127.0.0.1:8081;
}

location /upstream/ {
    proxy_pass  http://pool;
}

location /variable/ {
    set         $address 127.0.0.1:8081;
    proxy_pass  http://$address;
}

location /uwsgi/ {
    uwsgi_pass   127.0.0.1:8082;
    uwsgi_param  REQUEST_METHOD $request_method;
    uwsgi_param  REQUEST_URI $request_uri;
}

location /moved {
    proxy_pass  http://127.0.0.1:8081/;
}

location /host/ {
    proxy_pass        http://pool;
    proxy_set_header  Upgrade $http_upgrade;
    proxy_set_header  Connection upgrade;
    proxy_set_header  Host $http_host;
}

location /intercepted/ {
    proxy_pass              http://127.0.0.1:8081;
    proxy_intercept_errors  on;
    error_page              404 =200 /page.html;
}

location = /page.html {
    return 200 "sorry";
}
EOC

run_backend($t, $_, $_ == 8082 ? (protocol => 'uwsgi') : (), handlers => {
    "no-content" => sub { my ($c) = @_; $c->write("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"); $c->disconnect },
    "login"      => sub { $_[0]->respond(302, '', 'Location: /login?next=%2Fws') },
    "bare"       => sub { $_[0]->respond(307, '') },
    "slow-body"  => sub {
        my ($c) = @_;
        $c->write("HTTP/1.1 403 No\r\nContent-Length: 99\r\n\r\n");
        sleep 60;
    },
}) for 8081, 8082;
$t->run();

my ($proxied, $uwsgi) = map { 'backend 127.0.0.1:' . port($_) } 8081, 8082;
my $address = '127.0.0.1:' . port(8081);

my $origin = 'which looks like another site; set "websocket_guard_forwarded host;" in the location, or allow the origin in the '
    . 'backend [backend-origin]';
my $other = 'which looks like another site; allow that origin in the backend: it is not the host that the client asked for [backend-origin]';
my $said = ' and said "status"';
my $list = q{allow that origin in the application's own list of origins if it has one, else see the backend's log, and that }
    . 'cookies or tokens reach it [backend-auth]';
my $auth = q{see the backend's log, and that cookies or tokens reach it [backend-auth]};
my $redirect = ', and WebSocket clients do not follow redirects; use the final URL in the client, or sign in first if that is '
    . 'a sign-in [backend-redirect]';
my $path = 'correct the path in the client, or the URI in proxy_pass [backend-not-found]';
my $refused = qq{to a correct handshake that offers no subprotocol$said; } . q{see the backend's log; with several servers check session affinity, else the }
    . 'list of trusted proxies, and whether the backend wants a subprotocol [backend-bad-handshake]';
my $none = 'it has no WebSocket there; correct the path in the client, or enable WebSocket in the backend [backend-not-websocket]';
my $error = q{see the backend's log [backend-error]};

my $app = 'http://app.example';
my @cases = (
    ['/status?403', "$app:81", 403, qq{$proxied answered 403: it was sent Host "$address" with Origin "$app:81", $origin}],
    ['/status?400', "$app:81", 400, qq{$proxied answered 400: it was sent Host "$address" with Origin "$app:81", $origin}],
    ['/upstream/status?403', "$app:81", 403, qq{$proxied answered 403: it was sent Host "pool" with Origin "$app:81", $origin}],
    ['/variable/status?403', "$app:81", 403, qq{$proxied answered 403: it was sent Host "$address" with Origin "$app:81", $origin}],
    ['/host/status?403', 'http://other.example', 403,
        qq{$proxied answered 403: it was sent Host "app.example:81" with Origin "http://other.example", $other}],
    ['/host/status?403', $app, 403, qq{$proxied answered 403: it was sent Host "app.example:81" with Origin "$app", $other}],
    ['/host/status?403', "$app:81", 403, qq{$proxied refused access with 403$said; it was sent Origin "$app:81", of the same site as Host; $list}],
    ['/status?403', undef, 403, "$proxied refused access with 403$said; $auth"],
    ['/status?401', undef, 401, "$proxied refused access with 401$said; $auth"],

    ['/redirect?https://app.example/ws', undef, 302, qq{$proxied answered 302 to "https://app.example/ws"$redirect}],
    ['/login', undef, 302, qq{$proxied answered 302 to "/login?next=%2Fws"$redirect}],
    ['/bare', undef, 307, "$proxied answered 307$redirect"],

    ['/status?404', undef, 404, qq{$proxied answered 404 to "/status?404", the path that the client asked for; $path}],
    ['/moved/status?404', undef, 404, qq{$proxied answered 404 to "//status?404", the client asked for "/moved/status?404"; $path}],
    ['/intercepted/status?404', undef, 200,
        qq{$proxied answered 404 to "/intercepted/status?404", the path that the client asked for; $path}],

    ['/status?400', undef, 400, "$proxied answered 400 $refused"],
    ['/status?426', $app,  426, "$proxied answered 426 $refused"],
    ['/host/status?400', "$app:81", 400, "$proxied answered 400 $refused"],

    ['/size?10', undef, 200, qq{$proxied answered 200 to "/size?10", $none}],
    ['/no-content', $app, 204, qq{$proxied answered 204 to "/no-content", $none}],
    ['/status?405', undef, 405, qq{$proxied answered 405 to "/status?405", $none}],

    ['/status?500', $app, 500, "$proxied answered 500; $error"],
    ['/upstream/status?503', undef, 503, "$proxied answered 503; $error"],

    ['/uwsgi/status?403', $app, 403, "$uwsgi refused access with 403$said; $auth"],
    ['/uwsgi/status?404', undef, 404, qq{$uwsgi answered 404, the client asked for "/uwsgi/status?404"; $path}],
    ['/uwsgi/size?10', undef, 200, qq{$uwsgi answered 200 to "/uwsgi/size?10", $none}],
);

for my $port (8080, 8083, 8084) {
    my $server = { 8080 => 'on', 8083 => 'auto', 8084 => 'hand-made' }->{$port};

    for my $case (@cases) {
        my ($path, $origin, $status, $reason) = @$case;
        if ($server eq 'hand-made') {
            # What only works in a guarded location is not advised.
            $reason =~ s/set "websocket_guard_forwarded host;" in the location/set "proxy_set_header Host \$http_host;" where Upgrade is set/;
        }
        is(outcome($t, path => $path, port => $port, origin => $origin, authority => 'app.example:81'),
            "$status, [error] upgrade failed: $reason", join ' ', "$server, $path", $origin // ());
    }

    is(outcome($t, path => '/ws', port => $port, origin => $app), 101, "$server, a tunnel");
    is(outcome($t, sub {
        raw_request("GET /status?$_ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", port => $port)
    }), $_, "$server, $_, a plain request") for 404, 403, 500;

    # The client does not wait for all of it. Where nginx buffers the answer it has not even seen the start.
    like(outcome($t, path => '/slow-body', port => $port, timeout => 0.5),
        qr/^(?:0|403), \[error\] upgrade failed: \Q$proxied refused access with 403; $auth\E$/,
        "$server, leaves before the end");
}
