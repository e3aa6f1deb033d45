#!/usr/bin/perl

# $websocket_guard and $websocket_guard_reason: what became of a handshake, for log_format, "access_log if=", map and add_header.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy map rewrite /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(38);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    log_format  guard escape=none '$request_uri [$websocket_guard] [$websocket_guard_reason] $kind';

    map $websocket_guard $kind {
        default   failed;
        ''        plain;
        upgraded  tunnel;
    }

    map $websocket_guard $failed {
        default   1;
        ''        0;
        upgraded  0;
    }

    access_log  %%TESTDIR%%/access.log;
    access_log  %%TESTDIR%%/all.log guard;
    access_log  %%TESTDIR%%/failed.log guard if=$failed;

    add_header  X-Guard "[$websocket_guard]" always;
    add_header  X-Reason "[$websocket_guard_reason]" always;
    add_header  X-Kind $kind always;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /on/ {
            websocket_guard         on;
            websocket_guard_origin  none https://app.example.com;
            proxy_pass              http://127.0.0.1:8081;
        }

        location /silent/ {
            websocket_guard         on;
            websocket_guard_log     off;
            websocket_guard_ignore  handshake-key;
            proxy_pass              http://127.0.0.1:8081;
        }

        # it is no good in the phases before the answer
        location /early/ {
            websocket_guard  on;
            set              $early "$websocket_guard";
            add_header       X-Early "[$early]" always;
            proxy_pass       http://127.0.0.1:8081;
        }
    }

    server {
        listen       127.0.0.1:8082;
        server_name  localhost;

        location /off/ {
            proxy_pass  http://127.0.0.1:8081;
        }

        location /check/ {
            websocket_guard  check;
            proxy_pass       http://127.0.0.1:8081;
        }
    }
}
EOC

run_backend($t, 8081);
$t->run();

my $key = "Sec-WebSocket-Key \"test\" is not 16 bytes in base64; correct the client; with curl add "
    . "\"-H 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='\"";
my $off = sub { place_of($t, $_[0]) . ' passes the request on without its Upgrade header; add "websocket_guard on;" to it' };
my $backend = 'backend 127.0.0.1:' . port(8081);

# name, handshake, status, $websocket_guard, $websocket_guard_reason
my @cases = (
    ['a tunnel', [path => '/on/1'], 101, 'upgraded', ''],
    ['refused', [path => '/on/2', key => 'test'], 400, 'handshake-key', "upgrade failed: $key"],
    ['of a foreign page', [path => '/on/3', origin => 'https://evil.example'], 403, 'origin-denied',
        'upgrade failed: origin "https://evil.example" is not allowed, allowed: "none https://app.example.com"; add it to '
            . 'websocket_guard_origin if the page is yours'],
    ['refused by the backend', [path => '/on/status?500'], 500, 'backend-error',
        "upgrade failed: $backend answered 500; see the backend's log"],
    ['another protocol', [path => '/on/4', headers => ['Upgrade: h2c']], 200, 'not-websocket',
        'Upgrade "h2c" does not name websocket, served as plain HTTP; nothing is to be done, clients that offer it go on without it'],
    ['silenced in the log', [path => '/silent/5', key => 'test'], 400, 'handshake-key', "upgrade failed: $key"],
    ['not forwarded', [path => '/off/6', port => 8082], 200, 'upgrade-not-forwarded', 'upgrade failed: ' . $off->('/off/')],
    ['not forwarded, check', [path => '/check/7', port => 8082], 200, 'upgrade-not-forwarded', 'upgrade failed: ' . $off->('/check/') =~ s!add (.*) to it!set $1 in it!r],
    ['a plain request', [path => '/on/8', without => ['Upgrade', 'Sec-WebSocket-Key', 'Connection'], headers => ['Accept: */*']],
        200, '', ''],
);

for my $case (@cases) {
    my ($name, $handshake, $status, $outcome, $reason) = @$case;
    my $answer;
    outcome($t, sub { $answer = websocket(@$handshake) });
    is($answer->status, $status, "$name: status");

    my $kind = $outcome eq '' ? 'plain' : $outcome eq 'upgraded' ? 'tunnel' : 'failed';
    is_deeply([map { $answer->header($_) } qw/ X-Guard X-Reason X-Kind /], ["[$outcome]", "[$reason]", $kind], "$name: add_header");

    my ($uri) = {@$handshake}->{path};
    my $line = "$uri [$outcome] [$reason] $kind";
    my $logged = sub { my ($file) = @_; return join "\n", grep {/^\Q$uri\E /} split /\n/, $t->read_file($file) };
    wait_until(sub { $logged->('all.log') }, 5);
    is($logged->('all.log'), $line, "$name: log_format");
    is($logged->('failed.log'), $kind eq 'failed' ? $line : '', "$name: if=");
}

is(websocket(path => '/early/')->header('X-Early'), '[]', 'nothing is known before the answer');
is_deeply([grep {m{/silent/}} run_time_log($t, undef, raw => 1)], [], 'silenced in the log');
