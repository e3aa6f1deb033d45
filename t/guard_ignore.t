#!/usr/bin/perl

# websocket_guard_ignore silences single findings by name. An unknown name stops "nginx -t", with the one that
# was probably meant.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy /);

my $conf = <<'EOC';

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    websocket_guard_ignore  backend-not-found;

    server {
        listen           127.0.0.1:8080;
        server_name      localhost;
        websocket_guard  on;

        location /inherited/ {
            proxy_pass              http://127.0.0.1:8081;
        }

        location /own/ {
            websocket_guard_ignore  handshake-key stripped-upgrade;
            websocket_guard_ignore  not-websocket;
            proxy_pass              http://127.0.0.1:8081;
        }

        location /off/ {
            websocket_guard         off;
            websocket_guard_ignore  wrong-location;
            proxy_pass              http://127.0.0.1:8081;
        }
    }
}
EOC

$t->write_file_expand('nginx.conf', $conf)->plan(16);
run_backend($t, 8081);
$t->run();

is(outcome($t, path => '/inherited/status?404'), '404', 'ignored by http {}');
like(outcome($t, path => '/inherited/', key => 'test'), qr/^400, .* \[handshake-key\]$/, 'another finding');

is(outcome($t, path => '/own/', key => 'test'), '400', 'ignored by the location: it is still refused');
is(outcome($t, path => '/own/', without => ['Upgrade']), '200', 'the second name');
is(outcome($t, path => '/own/', headers => ['Upgrade: h2c']), '200', 'another line of the same level');
like(outcome($t, path => '/own/', headers => ['Sec-WebSocket-Version: 8']), qr/^426, .* \[handshake-version\]$/, 'not ignored');
like(outcome($t, path => '/own/status?404'), qr/^404, .* \[backend-not-found\]$/, 'what is ignored above is not inherited');
is(outcome($t, path => '/off/'), '200', 'in a location that is not guarded');
is(outcome($t, path => '/own/'), '101', 'nothing is wrong');

# ---- names

my %wrong = (
    'handshake-kay'          => 'did you mean "handshake-key"?',
    'Backend_Origin'         => 'did you mean "backend-origin"?',
    'tunnel-idel'            => 'did you mean "tunnel-idle"?',
    'missing-upgrade-header' => 'did you mean "missing-upgrade"?',
    'all'                    => 'it is not the name of a finding',
    "\"a\\nb\""              => 'it is not the name of a finding',
);
for my $name (sort keys %wrong) {
    my ($code, $output) = nginx_test($t, $conf =~ s/(ignore  )backend-not-found/$1stripped-upgrade $name/r);
    my $line = conf_line($t, qr/websocket_guard_ignore/, 'nginx-test.conf');
    my $shown = $name =~ /n/ && $name =~ /"/ ? 'a\x0Ab' : $name;
    my @messages = map { s/^nginx: //r } grep {/\[emerg\]/} split /\n/, $output;
    is($code != 0 && "@messages", qq{[emerg] invalid value "$shown" in "websocket_guard_ignore" directive, $wrong{$name} in }
        . $t->testdir . "/nginx-test.conf:$line", "unknown: $shown");
}

my ($code) = nginx_test($t, $conf =~ s/(ignore  )backend-not-found/$1missing-upgrade tunnel-idle backend-dns/r);
is($code, 0, 'findings of every kind');
