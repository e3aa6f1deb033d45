#!/usr/bin/perl

# Frames that do not wait: the client's in the same packet as the handshake, the backend's in the same
# packet as the 101. None is lost, none comes twice, the order stays.

use strict;
use warnings;

use Protocol::WebSocket::Frame;
use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy http_ssl socket_ssl /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(27);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen       127.0.0.1:8080;
        listen       127.0.0.1:8443 ssl;
        server_name  localhost;

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

# More than the buffers hold that the heads are read into.
my @greetings = ('one', 'two', 'x' x 60_000, 'four');

make_certificate($t);
run_backend($t, 8081, handlers => {
    greetings => sub {
        my ($c) = @_;
        $c->upgrade(bytes => join '', map { $c->frame(text => $_) } @greetings) && $c->echo;
    },
});
$t->run();

for my $case (['/on/', 0], ['/auto/', 0], ['/on/', 1]) {
    my ($path, $ssl) = @$case;
    my $name = $path . ($ssl ? ' over TLS' : '');

    my $ws = websocket(path => $path, ssl => $ssl, pipeline_message => 'early');
    is($ws->recv, 'early', "$name: a frame right behind the handshake");
    is($ws->echo('later'), 'later', "$name: and one later");

    my @early = map {"early $_"} 1 .. 5;
    $ws = websocket(path => $path, ssl => $ssl, pipeline => frames(@early));
    is_deeply([map { $ws->recv } @early], \@early, "$name: several");

    my @large = ('a' x 1000, 'b' x 100_000, 'c');
    $ws = websocket(path => $path, ssl => $ssl, pipeline => frames(@large));
    is_deeply([map { $ws->recv } @large], \@large, "$name: large ones");

    $ws = websocket(path => "${path}greet?hello", ssl => $ssl);
    is($ws->recv, 'hello', "$name: a frame right behind the 101");
    is($ws->echo('later'), 'later', "$name: and one later");

    $ws = websocket(path => "${path}greetings", ssl => $ssl);
    is_deeply([map { $ws->recv } @greetings], \@greetings, "$name: several");

    $ws = websocket(path => "${path}greetings", ssl => $ssl, pipeline => frames(@large));
    is_deeply([map { $ws->recv } @greetings, @large], [@greetings, @large], "$name: both ways at once");
}

is(scalar(grep { $_->request > 1 } requests_seen($t, 8081)), 0, 'no frame was taken for a request');
is_deeply([guard_log($t, 'error')], [], 'nothing to complain about');
is(scalar(requests_seen($t, 8081)), 18, 'each handshake was passed on once');

sub frames {
    return join '', map {
        Protocol::WebSocket::Frame->new(buffer => $_, masked => 1, max_payload_size => 0)->to_bytes
    } @_;
}
