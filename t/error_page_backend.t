#!/usr/bin/perl

# An error page comes from another backend, which has troubles of its own. What is said is about the backend
# that was to be upgraded.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy rewrite upstream_least_conn /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(16);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    upstream dead {
        server 127.0.0.1:8089;
    }

    upstream none {
        server 127.0.0.1:8089 down;
    }

    upstream other {
        least_conn;
        server 127.0.0.1:8082;
    }

    server {
        listen              127.0.0.1:8080;
        server_name         localhost;
        proxy_read_timeout  700ms;

        location /on/ {
            websocket_guard          on;
            websocket_guard_timeout  700ms;
            error_page               502 504 /page/;
            proxy_pass               http://127.0.0.1:8081/;
        }

        location /none/ {
            websocket_guard  on;
            error_page       502 /page/;
            proxy_pass       http://none;
        }

        location /dead/ {
            websocket_guard  on;
            error_page       502 =200 @page;
            proxy_pass       http://dead;
        }

        # its backend answers, has no server, is not there, closes
        location /page/ {
            proxy_pass  http://other/plain;
            error_page  502 503 504 @page;
            if ($arg_page = none) { proxy_pass http://none; }
            if ($arg_page = dead) { proxy_pass http://dead; }
            if ($arg_page = close) { proxy_pass http://other; rewrite ^ /close break; }
        }

        location @page {
            proxy_pass  http://other;
        }
    }
}
EOC

run_backend($t, 8081, handlers => {
    'big'   => sub { $_[0]->respond(200, '', 'X-Big: ' . 'x' x 9000) },
    'silent' => sub { sleep 30 },
});
run_backend($t, 8082);
$t->run();

my $peer = 'backend 127.0.0.1:' . port(8081);
my $dead = 'backend 127.0.0.1:' . port(8089);
my $big = "the header of the answer of $peer is larger than proxy_buffer_size; ";
for my $page (qw/ plain none dead close /) {
    like(outcome($t, path => "/on/big?page=$page"), qr/, \[error\] upgrade failed: \Q$big\E.*\[backend-header-too-big\]$/,
        "header too big, page $page");
    like(outcome($t, path => "/on/silent?page=$page"),
        qr/, \[error\] upgrade failed: \Q$peer\E did not answer the handshake within \d+ms \(.*\[backend-timeout\]$/, "timeout, page $page");
    like(outcome($t, path => "/none/?page=$page"),
        qr/, \[error\] upgrade failed: no server of upstream "none" is free or alive; .*\[backend-no-live\]$/, "no server, page $page");
    like(outcome($t, path => "/dead/?page=$page"),
        qr/, \[error\] upgrade failed: no connection to \Q$dead\E \(111: [^)]*\); .*\[backend-unreachable\]$/, "no backend, page $page");
}
