#!/usr/bin/perl

# Session affinity: `sticky` in an upstream block, in nginx from 1.29.6 on, brings a handshake to the server that the
# client's cookie names. Older ones do not know the directive.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy /);
my $knows = $t->has_version('1.29.6');

my $conf = <<'EOC';

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    upstream pair {
        server 127.0.0.1:8081;
        server 127.0.0.1:8082;
        server 127.0.0.1:8089;
        sticky cookie route;
    }

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /on/ {
            websocket_guard on;
            proxy_pass      http://pair;
        }

        location /auto/ {
            websocket_guard auto;
            proxy_pass      http://pair;
        }
    }
}
EOC

$t->write_file_expand('nginx.conf', $conf)->plan($knows ? 18 : 4);

if (!$knows) {
    my ($status, $output) = nginx_test($t, $t->read_file('nginx.conf'));
    isnt($status, 0, 'sticky is refused');
    like($output, qr/unknown directive "sticky"/, 'as unknown');
    $t->write_file_expand('nginx.conf', $conf =~ s/^ *sticky .*\n//mr);
}

run_backend($t, $_) for 8081, 8082;
$t->run();

if ($knows) {
    for my $path (qw{ /on/ /auto/ }) {
        my %cookies;
        for (1 .. 6) {
            my $ws = websocket(path => $path);
            my ($cookie) = ($ws->header('Set-Cookie') // '') =~ /^(route=[^;]+)/ or next;
            $cookies{$cookie} = 1;
        }
        is(keys %cookies, 2, "$path: a cookie of each server that is alive");
        for my $cookie (sort keys %cookies) {
            my %served = map { $_ => scalar requests_seen($t, $_) } 8081, 8082;
            for (1 .. 3) {
                my $ws = websocket(path => $path, headers => ["Cookie: $cookie"]);
                is($ws->is_open && $ws->echo('hello'), 'hello', "$path: with the cookie");
            }
            my @more = sort map { requests_seen($t, $_) - $served{$_} } 8081, 8082;
            is_deeply(\@more, [0, 3], "$path: one server has them all");
        }
    }
} else {
    is(websocket(path => $_)->status, 101, "without it, $_") for qw{ /on/ /auto/ };
}
