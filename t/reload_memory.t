#!/usr/bin/perl

# Reload after reload, with many guarded locations, and the master does not grow.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

# AddressSanitizer keeps freed memory for a while; here it would hide what is not freed.
$ENV{ASAN_OPTIONS} = join ':', $ENV{ASAN_OPTIONS} // (), 'quarantine_size_mb=0', 'thread_local_quarantine_size_kb=0';

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

$t->write_file_expand('nginx.conf', <<'EOC' =~ s/%%LOCATIONS%%/$locations/r)->plan(7);

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
$t->run();

is(websocket(path => '/1000/')->echo('hello'), 'hello', 'before');
my $master = master_pid($t);

is(reloads(3), 3, 'three reloads');

# What is not freed is missing after each reload; what the heap makes of it differs from time to time.
my ($growth, @growths);
for (1 .. 5) {
    my $before = rss_kib($master);
    reloads(10) == 10 or last;
    push @growths, rss_kib($master) - $before;
    ($growth) = sort { $a <=> $b } @growths;
    last if $growth < 128;
}
note("ten reloads: @growths KiB");
cmp_ok($growth, '<', 128, 'the master does not grow by ten reloads');
is(master_pid($t), $master, 'and is the same');

is(websocket(path => '/1000/')->echo('hello'), 'hello', 'afterwards');
is(websocket(path => '/999/')->echo('hello'), 'hello', 'in "on" too');
is_deeply([guard_log($t, 'error')], [], 'nothing to complain about');

sub reloads {
    my ($count) = @_;
    return scalar grep { reload($t) } 1 .. $count;
}
