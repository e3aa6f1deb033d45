#!/usr/bin/perl

# Two Upgrade lines are one list (RFC 9110 section 5.3). $http_upgrade holds all of it from nginx 1.23.0 on, before only
# the first line, so that a recipe by hand is at the mercy of their order. A guarded location is not.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy rewrite /);
my $joined = $t->has_version('1.23.0');

$t->write_file_expand('nginx.conf', <<'EOC')->plan(14);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location / {
            add_header X-Seen $http_upgrade;
            return     204;
        }

        location /on/ {
            websocket_guard on;
            proxy_pass      http://127.0.0.1:8081;
        }

        location /auto/ {
            websocket_guard auto;
            proxy_pass      http://127.0.0.1:8081;
        }

        location /by-hand/ {
            proxy_pass         http://127.0.0.1:8081;
            proxy_http_version 1.1;
            proxy_set_header   Upgrade $http_upgrade;
            proxy_set_header   Connection "upgrade";
        }
    }
}
EOC

run_backend($t, 8081);
$t->run();
for my $case (['foo/1', 'websocket'], ['websocket', 'foo/1']) {
    my @headers = map {"Upgrade: $_"} @$case;
    my $name = join ' and ', @$case;
    my $variable = $joined ? join ', ', @$case : $case->[0];

    is(websocket(path => '/', headers => \@headers)->header('X-Seen'), $variable, "$name: \$http_upgrade");
    for my $path (qw{ /on/ /auto/ /by-hand/ }) {
        my $status = $path eq '/by-hand/' && $variable eq 'foo/1' ? 200 : 101;
        is(websocket(path => $path, headers => \@headers)->status, $status, "$name: $path");
        my ($seen) = reverse requests_seen($t, 8081);
        is($seen->header('Upgrade'), $path eq '/by-hand/' ? $variable : 'websocket', "$name: $path sends");
    }
}
