#!/usr/bin/perl

# An upstream that keeps connections alive, and many upgrades one after the other: no connection that
# was a tunnel is used again.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy upstream_keepalive /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(11);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    upstream kept {
        server 127.0.0.1:8081;
        keepalive 8;
    }

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /on/ {
            websocket_guard  on;
            proxy_pass       http://kept;
        }

        location /auto/ {
            websocket_guard   auto;
            proxy_pass        http://kept;
        }
    }
}
EOC

run_backend($t, 8081);
$t->run();

for my $path (qw! /on/ /auto/ !) {
    my (@echoes, @statuses);
    for my $number (1 .. 25) {
        my $ws = websocket(path => $path);
        push @echoes, $ws->echo("hello $number");

        # The client may leave in an orderly way or not.
        $number % 2 ? $ws->close : $ws->disconnect;
        push @statuses, status("$path$number");
    }
    is_deeply(\@echoes, [map {"hello $_"} 1 .. 25], "$path: upgrades");
    is_deeply(\@statuses, [(200) x 25], "$path: plain requests between them");

    is(websocket(path => "${path}status?403")->status, 403, "$path: refused");
    is(websocket(path => $path)->echo('hello'), 'hello', "$path: another upgrade");
}

# The backend sees no request on a connection after its upgrade, but kept connections are used.

my (%upgraded, $again);
my @seen = requests_seen($t, 8081);
for my $request (@seen) {
    $again++ if $upgraded{ $request->connection };
    $upgraded{ $request->connection } = 1 if $request->is_upgrade && $request->path !~ /status/;
}
is($again, undef, 'no tunnel was used again');

cmp_ok(scalar(grep { $_->request > 1 } @seen), '>', 10, 'kept connections were');
is(join(' ', guard_findings($t, 'error', count => 2)), 'backend-auth backend-auth', 'nothing but what failed');

sub status { return raw_request("GET $_[0] HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")->status }
