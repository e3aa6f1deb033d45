#!/usr/bin/perl

# What a server asks of its tunnels holds in its locations, unless a location says "off".

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(10);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    log_format  ends '$request_uri $websocket_guard_end [$websocket_guard_client_rtt]';
    access_log  %%TESTDIR%%/ends.log ends;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        # By default it sends no Close.
        websocket_guard         auto;
        websocket_guard_tunnel  pump;
        websocket_guard_close   on;
        websocket_guard_ping    200ms;
        websocket_guard_drain   0 code=4000;

        location / {
            proxy_pass  http://127.0.0.1:8081;

            location /nested/ {
                proxy_pass  http://127.0.0.1:8081;
            }
        }

        location /off/ {
            websocket_guard_close  off;
            websocket_guard_ping   off;
            websocket_guard_drain  off;
            proxy_pass             http://127.0.0.1:8081;
        }
    }

    server {
        listen       127.0.0.1:8083;
        server_name  localhost;

        websocket_guard           auto;
        websocket_guard_tunnel    pump;
        websocket_guard_lifetime  1s;

        location / {
            proxy_pass  http://127.0.0.1:8081;
        }

        location /off/ {
            websocket_guard_lifetime  off;
            proxy_pass                http://127.0.0.1:8081;
        }
    }
}
EOC

run_backend($t, 8081, handlers => { gone => sub { my ($c) = @_; $c->upgrade; $c->disconnect } });
$t->run();

# ---- websocket_guard_close -------------------------------------------------------------------------

for my $case (['/', 1014], ['/nested/', 1014], ['/off/', 'none']) {
    my ($path, $code) = @$case;
    my $ws = websocket(path => "${path}gone");
    $ws->recv(10);
    is($ws->close_code // 'none', $code, "close: $path");
}

# ---- websocket_guard_ping --------------------------------------------------------------------------

# Pings are answered while nothing else comes.
my %client = map { $_ => websocket(path => "${_}ping") } qw! / /off/ !;
$_->recv(2), $_->close for values %client;
like(ended('/ping'), qr/ client-close \[\d+\.\d+\]$/, 'ping: there was a Pong');
like(ended('/off/ping'), qr/ client-close \[\]$/, 'ping: off');

# ---- websocket_guard_lifetime ----------------------------------------------------------------------

%client = map { $_ => websocket(port => 8083, path => $_) } qw! / /off/ !;
$client{'/'}->recv(10);
is($client{'/'}->close_code, 1008, 'lifetime');
is($client{'/off/'}->echo('hello'), 'hello', 'lifetime: off');

# ---- websocket_guard_drain -------------------------------------------------------------------------

%client = map { $_ => websocket(path => $_) } qw! / /off/ !;
ok(reload($t), 'reload');
$client{'/'}->recv(10);
is($client{'/'}->close_code, 4000, 'drain');
is($client{'/off/'}->echo('hello'), 'hello', 'drain: off');
$_->close for values %client;

# The access log's line of a tunnel.
sub ended {
    my ($uri) = @_;
    my $line;
    wait_until(sub { ($line) = $t->read_file('ends.log') =~ m!^(\Q$uri\E .*)$!m });
    return $line // 'not ended';
}
