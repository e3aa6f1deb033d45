#!/usr/bin/perl

# A TLS listener that speaks HTTP/2 as well: WebSocket clients choose HTTP/1.1, and plain requests
# over HTTP/2 are not disturbed.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy http_ssl http_v2 socket_ssl socket_ssl_alpn /)->has_daemon('curl');

# "listen ... http2" is obsolete since 1.25.1.
my ($http2, $listen) = $t->has_version('1.25.1') ? ('http2 on;', 'ssl') : ('', 'ssl http2');

$t->write_file_expand('nginx.conf', <<'EOC' =~ s/%%HTTP2%%/$http2/r =~ s/%%LISTEN%%/$listen/r)->plan(13);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen       127.0.0.1:8443 %%LISTEN%%;
        server_name  localhost;
        %%HTTP2%%

        ssl_certificate      localhost.crt;
        ssl_certificate_key  localhost.key;

        location /on/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /auto/ {
            websocket_guard  auto;
            proxy_pass       http://127.0.0.1:8081;
        }
    }
}
EOC

make_certificate($t);
run_backend($t, 8081);
$t->run();

for my $path (qw! /on/ /auto/ !) {
    my $ws = websocket(path => $path, ssl => 1, alpn => ['http/1.1']);
    is($ws->{socket}->alpn_selected, 'http/1.1', "$path: HTTP/1.1 is chosen");
    is($ws->echo('hello'), 'hello', "$path: echo");
    is($ws->echo_bytes(1 << 20), 1 << 20, "$path: 1 MiB");

    my $url = "https://127.0.0.1:${\ port(8443)}$path";
    my $answer = `curl -sk --max-time 10 --http2 -w '\nHTTP/%{http_version} %{http_code}' -d body '$url'`;
    like($answer, qr!^HTTP/2 200\z!m, "$path: plain request over HTTP/2");
    like($answer, qr!^method: POST\n.*^body-length: 4$!ms, "$path: as it was sent");
}

is(websocket(path => '/on/', ssl => 1)->echo('hello'), 'hello', 'without ALPN');
is_deeply([map { [$_->header('Upgrade')] } grep { $_->method eq 'POST' } requests_seen($t, 8081)],
    [[], []], 'no Upgrade for plain requests');
is_deeply([guard_log($t, 'error')], [], 'nothing to complain about');
