#!/usr/bin/perl

# A backend may send 103 (Early Hints) before the 101. nginx knows that status from 1.29.0 on and waits for the next;
# before, it is the answer, which is no switch and is diagnosed as such.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy /);
my $knows = $t->has_version('1.29.0');

$t->write_file_expand('nginx.conf', <<'EOC')->plan(6);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /on/ {
            websocket_guard on;
            proxy_pass      http://127.0.0.1:8081;
        }

        location /auto/ {
            websocket_guard auto;
            proxy_pass      http://127.0.0.1:8081;
        }
    }
}
EOC

run_backend($t, 8081, handlers => {
    hints => sub {
        my ($c) = @_;
        $c->write("HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n");
        $c->upgrade && $c->echo;
    },
});
$t->run();

my $expected = $knows ? qr/^101\z/ : qr/^\d+, \[error\] upgrade failed: backend \S+ sent 103 .* \[backend-not-websocket\]\z/;
for my $path (qw{ /on/hints /auto/hints }) {
    my $echo = '';
    like(outcome($t, sub {
        # A client may wait for what comes after the 103.
        my $ws = websocket(path => $path, $knows ? () : (timeout => 1));
        $echo = $ws->echo('hello') if $ws->is_open;
        return $ws;
    }), $expected, $path);
    is($echo, $knows ? 'hello' : '', "$path: a tunnel");
    is(outcome($t, path => $path =~ s/hints//r), 101, "$path: without hints");
}
