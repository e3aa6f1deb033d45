#!/usr/bin/perl

# Reload after reload, with many guarded locations, and the master does not grow.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;
use Test::WebSocketGuard::Heap;

my $t = Test::Nginx->new()->has(qw/ http proxy /);

my $locations = join '', map {<<"EOC"} 1 .. 1000;

        location /$_/ {
            websocket_guard          @{[$_ % 2 ? 'on' : 'auto']};
            websocket_guard_timeout  ${_}m;
            websocket_guard_upgrade  websocket protocol-$_;
            proxy_set_header         X-Location $_;
            proxy_cache_bypass       \$arg_$_;
            proxy_pass               http://127.0.0.1:8081;
        }
EOC

$t->write_file_expand('nginx.conf', <<'EOC' =~ s/%%LOCATIONS%%/$locations/r)->plan(8);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        proxy_set_header  X-Server yes;
%%LOCATIONS%%
    }
}
EOC

time_limit(200);
run_backend($t, 8081);
run_with_heap_meter($t);

is(websocket(path => '/1000/')->echo('hello'), 'hello', 'before');
my $master = master_pid($t);

is(reloads(3), 3, 'three reloads');

my $before = heap_bytes($t, $master);
is(reloads(30), 30, 'thirty more');
my $growth = heap_bytes($t, $master) - $before;
note("$growth bytes more than $before");
# AddressSanitizer counts what was asked for. glibc counts its blocks, which have 32 bytes at least, and are larger by
# a few in places where no other would fit behind them.
my $leak = `$ENV{TEST_NGINX_BINARY} -V 2>&1` =~ /-fsanitize=address/ ? 1 : 16;
cmp_ok($growth, '<', 30 * $leak, 'none of which leaves anything behind in the master');
is(master_pid($t), $master, 'and is the same');

is(websocket(path => '/1000/')->echo('hello'), 'hello', 'afterwards');
is(websocket(path => '/999/')->echo('hello'), 'hello', 'in "on" too');
is_deeply([guard_log($t, 'error')], [], 'nothing to complain about');

sub reloads {
    my ($count) = @_;
    return scalar grep { reload($t) } 1 .. $count;
}
