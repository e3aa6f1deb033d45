#!/usr/bin/perl

# Reload without the load_module line, and with it again: open tunnels go on in the workers that
# have the module, and new workers serve with what they have.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy /);

my $conf = <<'EOC';

%%TEST_GLOBALS%%

daemon off;
worker_processes 2;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location / {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }
    }
}
EOC

$t->write_file_expand('nginx.conf', $conf)->plan(39);
my $with = $t->read_file('nginx.conf');

# The line stands in TEST_GLOBALS.
my $without = unguarded($with =~ s/load_module \S*websocket_guard\S*;//r);
isnt($without, unguarded($with), 'the module is loaded by the configuration');

run_backend($t, 8081);
$t->run();
my @tunnels = websocket();
is($tunnels[0]->echo('hello'), 'hello', 'open');

# Its directives cannot stay alone: such a configuration is refused.

$t->write_file('nginx.conf', $with =~ s/load_module \S*websocket_guard\S*;//r);
my $since = log_size($t);
ok(!reload($t), 'reload without the line, but with the directive');
ok(wait_log($t, qr/unknown directive "websocket_guard/, 2, since => $since), 'is refused');
is($tunnels[0]->echo('hello'), 'hello', 'open tunnel');
is(websocket()->status, 101, 'and new ones');

for my $round (1 .. 3) {
    $t->write_file('nginx.conf', $without);
    ok(reload($t), "$round: reload without the module");
    is(loaded($_), 0, "$round: not in the worker") for worker_pids($t);
    is($_->echo_bytes(1 << 20), 1 << 20, "$round: open tunnel") for @tunnels;
    is(websocket()->status, 200, "$round: no new ones");
    like(http_get('/'), qr/200 OK/, "$round: plain request");

    $t->write_file('nginx.conf', $with);
    ok(reload($t), "$round: reload with it");
    push @tunnels, websocket();
    is($tunnels[-1]->echo('hello'), 'hello', "$round: a new tunnel");
}

# A tunnel that outlives its configuration ends as any other.

ok($_->close, 'orderly end') for @tunnels;
ok(wait_until(sub { !worker_pids($t, old => 1) }), 'the old workers are gone');
is_deeply([guard_log($t, 'error')], [], 'nothing to complain about');

# Without any directive of the module.
sub unguarded { return $_[0] =~ s/^\s*websocket_guard\w* .*?;//mgr }

sub loaded {
    my ($pid) = @_;
    open my $maps, '<', "/proc/$pid/maps" or die "cannot read the maps of $pid: $!\n";
    return scalar grep {/websocket_guard/} <$maps>;
}
