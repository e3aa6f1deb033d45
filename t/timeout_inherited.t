#!/usr/bin/perl

# An inherited proxy_read_timeout of one second cuts no idle tunnel, in whatever kind of location;
# one in the guarded location itself does.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy rewrite map access /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(21);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    map $uri $backend {
        default  127.0.0.1:8081;
    }

    proxy_read_timeout  1s;
    proxy_send_timeout  1s;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /on/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;

            location /on/auto/ {
                websocket_guard  auto;
                proxy_pass       http://127.0.0.1:8081;
            }
        }

        location /auto/ {
            websocket_guard  auto;
            proxy_pass       http://127.0.0.1:8081;

            location /auto/on/ {
                websocket_guard  on;
                proxy_pass       http://127.0.0.1:8081;
            }
        }

        location /on/own/ {
            websocket_guard     on;
            proxy_pass          http://127.0.0.1:8081;
            proxy_read_timeout  1s;
        }

        location /auto/own/ {
            websocket_guard     auto;
            proxy_pass          http://127.0.0.1:8081;
            proxy_read_timeout  1s;
        }

        # In "auto" the tunnel only is to live longer than its request, which is more to do.

        location ~ ^/regex/ {
            websocket_guard  auto;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /variable/ {
            websocket_guard  auto;
            proxy_pass       http://$backend;
        }

        location /variable/own/ {
            websocket_guard     auto;
            proxy_pass          http://$backend;
            proxy_read_timeout  1s;
        }

        location /named/ {
            try_files  $uri @named;
        }

        location @named {
            websocket_guard  auto;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /if/ {
            websocket_guard  auto;
            proxy_pass       http://127.0.0.1:8081;

            if ($arg_to = other) {
                proxy_pass   http://127.0.0.1:8082;
            }

            if ($arg_to = variable) {
                proxy_pass   http://$backend;
            }

            if ($arg_quiet) {
                access_log   off;
            }
        }

        location /if-variable/ {
            websocket_guard  auto;
            proxy_pass       http://$backend;

            if ($arg_quiet) {
                access_log   off;
            }
        }

        location /limit/ {
            websocket_guard  auto;
            proxy_pass       http://127.0.0.1:8081;

            limit_except POST {
                allow  all;
            }
        }

        location /limit-other/ {
            websocket_guard  auto;
            proxy_pass       http://127.0.0.1:8081;

            limit_except POST {
                proxy_pass   http://127.0.0.1:8082;
            }
        }

        location /limit-variable/ {
            websocket_guard  auto;
            proxy_pass       http://$backend;

            limit_except POST {
                allow  all;
            }
        }
    }
}
EOC

run_backend($t, 8081);
run_backend($t, 8082);
$t->run();

my %own = map { $_ => websocket(path => $_) } qw{ /on/own/ws /auto/own/ws /variable/own/ws };
my %long = map { $_ => websocket(path => $_) } qw{
    /on/ws /on/auto/ws /auto/ws /auto/on/ws /regex/ws /variable/ws /named/ws
    /if/ws /if/ws?to=other /if/ws?to=variable /if/ws?quiet=1 /if-variable/ws?quiet=1
    /limit/ws /limit-other/ws /limit-variable/ws
};
ok($own{$_}->is_open, "$_, open") for sort keys %own;

# Each has been idle for more than two seconds, one after the other.

(values %long)[0]->open_for(2.2);
is($long{$_}->echo('still there'), 'still there', $_) for sort keys %long;
ok($own{$_}->closed_within(0.5), "$_, cut") for sort keys %own;
