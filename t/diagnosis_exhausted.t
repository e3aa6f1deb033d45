#!/usr/bin/perl

# nginx runs out of connections or file descriptors: the line names the directive, and not the backend, which was not
# asked. With that directive raised the same sockets open. A backend that is not there is still told as that, though
# it takes the last connection to see it.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy uwsgi rewrite /)->plan(25)->todo_alerts();

my $conf = <<'EOC';

%%TEST_GLOBALS%%

daemon off;
worker_processes 1;
worker_rlimit_nofile FILES;

events {
    worker_connections CONNECTIONS;
}

http {
    %%TEST_GLOBALS_HTTP%%

    proxy_http_version  1.1;
    proxy_set_header    Upgrade $http_upgrade;
    proxy_set_header    Connection upgrade;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location / {
            proxy_pass  http://127.0.0.1:8081;
        }

        location /auto {
            websocket_guard  auto;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /uwsgi {
            websocket_guard  on;
            uwsgi_pass       127.0.0.1:8082;
        }

        location /variable {
            set         $backend 127.0.0.1:8081;
            proxy_pass  http://$backend;
        }

        location /dead {
            proxy_pass  http://127.0.0.1:8089;
        }
    }
}
EOC

my ($proxied, $uwsgi, $dead) = map { 'backend 127.0.0.1:' . port($_) } 8081, 8082, 8089;
my @paths = (['/', $proxied], ['/auto', $proxied], ['/uwsgi', $uwsgi], ['/variable', $proxied]);
my $unreachable = "no connection to $dead (111: Connection refused); start the backend, or correct the address in "
    . 'proxy_pass [backend-unreachable]';

run_backend($t, 8081);
run_backend($t, 8082, protocol => 'uwsgi');

# One connection is the listener's, one the channel's to the master: 15 are left, which is 7 tunnels and one client.
configure(17, 1024);
$t->run();

my $taken = 'all 17 worker_connections of this worker are taken, and each WebSocket takes two; raise '
    . 'worker_connections, and worker_rlimit_nofile where that is lower [connections-exhausted]';
my @tunnels = tunnels(6);
my $idle = connection();
is(outcome($t, path => '/dead'), "502, [error] upgrade failed: $unreachable", 'refused with the last connection');
$idle->disconnect;
push @tunnels, tunnels(1);

for my $case (@paths) {
    my ($path, $backend) = @$case;
    is(outcome($t, path => $path), "500, [error] upgrade failed: nginx did not ask $backend: $taken", "$path, 17");
}
is(outcome($t, sub { raw_request("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n") }), 500,
    'a plain request, 17');

# What the line says.
configure(64, 1024);
reload($t);
push @tunnels, tunnels(7);
is(outcome($t, path => $_->[0]), 101, "$_->[0], 64") for @paths;
$_->disconnect for splice @tunnels;

# An odd number of descriptors, for tunnels and one client. A worker that follows another has those of both for a while.
my $limit = 48;
configure(64, $limit);
$t->stop();
$t->run();
@tunnels = tunnels(1);
my ($worker) = worker_pids($t);
my $free = $limit - grep { /(\d+)$/ && $1 < $limit } glob "/proc/$worker/fd/*";
$idle = connection() if $free % 2 == 0;
push @tunnels, tunnels(int(($free - 1) / 2));

my $files = 'this worker has no file descriptor left (24: Too many open files), and each WebSocket takes two; raise '
    . 'worker_rlimit_nofile [connections-exhausted]';
for my $case (@paths) {
    my ($path, $backend) = @$case;
    is(outcome($t, path => $path), "500, [error] upgrade failed: nginx did not ask $backend: $files", "$path, files");
}

configure(64, 1024);
reload($t);
push @tunnels, tunnels(7);
is(outcome($t, path => $_->[0]), 101, "$_->[0], more files") for @paths;
is(outcome($t, path => '/dead'), "502, [error] upgrade failed: $unreachable", 'refused with enough of all');

sub configure {
    my ($connections, $files) = @_;
    $t->write_file_expand('nginx.conf', $conf =~ s/FILES/$files/r =~ s/CONNECTIONS/$connections/r);
}

sub tunnels {
    my ($count) = @_;
    my @open = map { websocket() } 1 .. $count;
    is((grep { $_->is_open } @open), $count, "$count tunnels");
    return @open;
}
