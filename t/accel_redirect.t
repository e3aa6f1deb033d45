#!/usr/bin/perl

# A 101 with X-Accel-Redirect is no tunnel: nginx makes another request of it. The line says so, and its
# remedy works.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy rewrite /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(8);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    log_format  guard  '$request_uri $websocket_guard';
    access_log  %%TESTDIR%%/guard.log guard;
    access_log  %%TESTDIR%%/access.log;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /on/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /by-hand/ {
            proxy_http_version  1.1;
            proxy_set_header    Upgrade $http_upgrade;
            proxy_set_header    Connection "upgrade";
            proxy_pass          http://127.0.0.1:8081;
        }

        location /remedy/ {
            websocket_guard       on;
            proxy_ignore_headers  X-Accel-Redirect;
            proxy_pass            http://127.0.0.1:8081;
        }

        location /page/ {
            return  200 "page\n";
        }

        location /none/ {
        }

        # What takes the place of the 101 may be a handshake itself.
        location /other/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8082;
        }
    }
}
EOC

run_backend($t, 8081, handlers => {
    map { my $to = $_; ($to => sub { $_[0]->upgrade(headers => ["X-Accel-Redirect: /$to/"]) && $_[0]->echo }) } qw/ page none other /,
});
run_backend($t, 8082);
$t->run();

my $line = sub {
    my ($to) = @_;
    return '[error] upgrade failed: backend 127.0.0.1:' . port(8081) . " answered 101 with X-Accel-Redirect \"/$to/\", of which nginx "
        . 'makes another request; have the backend leave that header out, or add "proxy_ignore_headers X-Accel-Redirect;" to the location '
        . '[switch-replaced]';
};
is(outcome($t, path => '/on/page'), '200, ' . $line->('page'), 'on, to a page');
is(outcome($t, path => '/on/none'), '404, ' . $line->('none'), 'on, to nothing');
is(outcome($t, path => '/by-hand/page'), '200, ' . $line->('page'), 'by hand');
is(outcome($t, path => '/on/other'), '101', 'to another handshake');
is(outcome($t, path => '/remedy/page'), '101', 'the remedy');
is(websocket(path => '/remedy/page')->echo('hello'), 'hello', 'it is a tunnel');

my %outcome = map { /^(\S+) (\S*)$/ ? ($1 => $2) : () } split /\n/, $t->read_file('guard.log');
is($outcome{'/on/page'}, 'switch-replaced', 'the variable');
is($outcome{'/remedy/page'}, 'upgraded', 'the variable, with the remedy');
