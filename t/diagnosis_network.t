#!/usr/bin/perl

# What the network says to a connection that is not even tried: a route that prohibits it, one that leads nowhere, no local port
# left. Each has a line of its own with the system's error, and what it says helps.
#
# It runs in a network namespace of its own, with routes and a range of ports of its own.

use strict;
use warnings;

BEGIN {
    unless ($ENV{WEBSOCKET_GUARD_OWN_NETWORK}) {
        $ENV{WEBSOCKET_GUARD_OWN_NETWORK} = 1;
        exec 'unshare', $> ? '-rn' : '-n', $^X, (map {"-I$_"} @INC), $0 or die "unshare: $!\n";
    }
    system(qw/ ip link set lo up /) == 0 or die "ip: $?\n";
}

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy uwsgi /);

my $conf = <<'EOC';

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    upstream pool {
        server 203.0.113.1:%%PORT_8080%% max_fails=0;
        server 203.0.113.2:%%PORT_8080%% backup;
    }

    server {
        listen       0.0.0.0:%%PORT_8080%%;
        server_name  localhost;

        location / {
            websocket_guard  on;
            BIND
            proxy_pass       http://127.0.0.1:8081;
        }

        location /prohibited/ {
            websocket_guard  on;
            proxy_pass       http://203.0.113.1:%%PORT_8080%%/;
        }

        location /prohibited/uwsgi/ {
            websocket_guard  on;
            uwsgi_pass       203.0.113.1:%%PORT_8080%%;
        }

        location /pool/ {
            websocket_guard  on;
            proxy_pass       http://pool/;
        }

        location /nowhere/ {
            proxy_http_version  1.1;
            proxy_set_header    Upgrade $http_upgrade;
            proxy_set_header    Connection upgrade;
            proxy_pass          http://203.0.113.2:%%PORT_8080%%/;
        }

        location /absent/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8089;
        }
    }
}
EOC

ip(qw/ route add prohibit 203.0.113.1 /);
ip(qw/ route add unreachable 203.0.113.2 /);
run_backend($t, 8081);
configure('');
$t->plan(15)->run();

my ($prohibited, $nowhere) = map {"203.0.113.$_:" . port(8080)} 1, 2;
my $forbidden = "nginx may not connect to backend $prohibited (13: Permission denied); allow it where that is configured: SELinux "
    . '("setsebool -P httpd_can_network_connect 1"), the firewall or the routes of this host [backend-forbidden]';
my $unrouted = "no connection to backend $nowhere (113: No route to host); correct the address in proxy_pass, or this host's routes "
    . 'and firewall [backend-unreachable]';
is(outcome($t, path => '/prohibited/ws'), "502, [error] upgrade failed: $forbidden", 'prohibited');
is(outcome($t, path => '/prohibited/uwsgi/ws'), "502, [error] upgrade failed: $forbidden", 'prohibited, uwsgi');
is(outcome($t, path => '/nowhere/ws'), "502, [error] upgrade failed: $unrouted", 'no route');
is(outcome($t, path => '/pool/ws'), "502, [error] upgrade failed: $unrouted", 'the last one of a pool');
like(outcome($t, path => '/absent/ws'), qr/^502, .* \(111: Connection refused\); start the backend, .*\[backend-unreachable\]$/, 'near: nobody is there');

# Both are this host now.
for my $n (1, 2) {
    ip('route', 'del', $n == 1 ? 'prohibit' : 'unreachable', "203.0.113.$n");
    ip('addr', 'add', "203.0.113.$n/32", 'dev', 'lo');
}
is(outcome($t, path => "$_/ws") =~ s/(?:, 101)+$//r, '101', "$_, the routes are right") for qw{ /prohibited /nowhere /pool };

# ---- no local port is left

# Clients have other addresses to connect to, so that they have ports of their own.
ports(40000, 40001);
my @tunnels = map { websocket(path => '/ws', host => "127.0.0.$_") } 2, 3;
is(join(' ', map { $_->status } @tunnels), '101 101', 'as many tunnels as ports');
my $none = 'nginx did not ask backend 127.0.0.1:' . port(8081) . ': no local port is left for a connection to it (99: Cannot assign '
    . "requested address); widen the host's net.ipv4.ip_local_port_range, or spread the connections over several local addresses "
    . '(proxy_bind) [connections-exhausted]';
is(outcome($t, path => '/ws', host => '127.0.0.4'), "502, [error] upgrade failed: $none", 'none is left');
like(outcome($t, path => '/absent/ws', host => '127.0.0.5'), qr/^502, .* \(111: Connection refused\); start the backend/, 'near: there are some for another address');

# The remedies.
configure('proxy_bind 127.0.0.9;');
reload($t);
is(outcome($t, path => '/ws', host => '127.0.0.6'), '101', 'another local address');
configure('');
reload($t);
is(outcome($t, path => '/ws', host => '127.0.0.7'), "502, [error] upgrade failed: $none", 'none is left again');
ports(40000, 41000);
is(outcome($t, path => '/ws', host => '127.0.0.8'), '101', 'more ports');
is(scalar(grep { $_->echo('hello') eq 'hello' } @tunnels), 2, 'the tunnels are there');
$_->disconnect for @tunnels;

sub configure { my ($bind) = @_; $t->write_file_expand('nginx.conf', $conf =~ s/BIND/$bind/r) }

sub ip { system('ip', @_) == 0 or die "ip @_: $?\n" }

# Those of this namespace.
sub ports {
    my (@range) = @_;
    open my $file, '>', '/proc/sys/net/ipv4/ip_local_port_range' or die "ip_local_port_range: $!\n";
    print $file "@range\n";
    close $file or die "ip_local_port_range: $!\n";
}
