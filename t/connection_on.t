#!/usr/bin/perl

# Plain requests with "websocket_guard on": no Upgrade, and "Connection: close", or none where the
# upstream keeps connections open, so that these are really used again.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy rewrite upstream_keepalive /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(20);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    upstream kept {
        server     127.0.0.1:8081;
        keepalive  4;
    }

    upstream Kept-Too {
        server     127.0.0.1:8082;
        keepalive  4;
    }

    upstream plain {
        server     127.0.0.1:8083;
    }

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        websocket_guard  on;

        location /kept/ {
            proxy_pass  http://kept;
        }

        location /variable/ {
            set         $name kept-too;
            proxy_pass  http://$name;
        }

        location /plain/ {
            proxy_pass  http://plain;
        }

        location /address/ {
            proxy_pass  http://127.0.0.1:8083;
        }

        location /variable-address/ {
            set         $name 127.0.0.1:8083;
            proxy_pass  http://$name;
        }
    }
}
EOC

run_backend($t, $_) for 8081, 8082, 8083;
$t->run();

# Handshakes do not disturb the kept connections, and keep to their own.

for my $case (['/kept/' => 8081], ['/variable/' => 8082]) {
    my ($path, $backend) = @$case;
    request($path);
    my $tunnel = websocket(path => "${path}ws");
    request($path) for 1, 2;
    is($tunnel->echo('hello'), 'hello', "$path, tunnel");

    my @seen = requests_seen($t, $backend);
    my ($handshake) = splice @seen, 1, 1;
    is_deeply([$handshake->header('Connection')], ['upgrade'], "$path, Connection of the handshake");
    is_deeply([map { $_->header('Connection') } @seen], [], "$path, no Connection in plain requests");
    is_deeply([map { $_->header('Upgrade') } @seen], [], "$path, no Upgrade either");
    is(keys %{ { map { $_->connection => 1 } @seen } }, 2, "$path, two connections for four requests");
    is($seen[-1]->request, $seen[-2]->request + 1, "$path, used again");
}

my @close = $t->has_version('1.29.7') ? () : ('close');

for my $path (qw{ /plain/ /address/ /variable-address/ }) {
    request($path);
    my $seen = (requests_seen($t, 8083))[-1];
    is_deeply([$seen->header('Connection')], \@close, "$path, Connection");
    is($seen->header('Upgrade'), undef, "$path, Upgrade");
}

# What a client says of its own connection goes no further.

request('/plain/', 'Connection: Upgrade');
is_deeply([(requests_seen($t, 8083))[-1]->header('Connection')], \@close, 'Connection without Upgrade');

is_deeply([guard_log($t, 'error')], [], 'nothing to complain about');

sub request {
    my ($path, @headers) = @_;
    my $response = raw_request(join "\r\n", "GET ${path}page HTTP/1.1", 'Host: localhost', @headers, '', '');
    $response->status == 200 or die 'status ' . $response->status;
}
