#!/usr/bin/perl

# docs/operations.md, the configuration to begin with: what a client sees at a reload, a binary upgrade, and both kinds of
# stop, each with the nginx as a daemon, since only such a one can be upgraded.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;
use Test::WebSocketGuard::Recipe;
use Time::HiRes qw/ time /;

my $t = Test::Nginx->new()->has(qw/ http proxy /)->plan(23);

my ($main, $recipe) = blocks('docs/operations.md', 'A configuration to begin with');

# With shorter times. nginx hands the environment on to one that replaces it only as far as it is told to.
write_recipe($t, $recipe, 'listen 80;' => 'listen 127.0.0.1:8080; websocket_guard_tunnel pump;',
    '127.0.0.1:3000' => '127.0.0.1:8081', 'drain 60s' => 'drain 2s');
$t->write_file('nginx.conf', "env ASAN_OPTIONS;\n" . put($main, '90s' => '20s') . $t->read_file('nginx.conf'));
is(silent_test($t), '', 'nginx -t is silent');
$t->write_file('nginx.conf', put($t->read_file('nginx.conf'), 'daemon off;' => '', 'worker_processes 2' => 'worker_processes 1'));

run_backend($t, 8081);

my $dir = $t->testdir;
my @started;
END { kill 'TERM', grep { defined && kill 0, $_ } @started }

start();
my $first = $started[-1];

# ---- a reload ----------------------------------------------------------------------------------------

my @tunnels = tunnels(4);
kill 'HUP', $first;
told('a reload', 1012, @tunnels);
is(tunnel()->echo('hello'), 'hello', 'a reload: the new worker serves');

# ---- a binary upgrade --------------------------------------------------------------------------------

@tunnels = tunnels(4);
kill 'USR2', $first;
my $second;
ok(wait_until(sub { -e "$dir/nginx.pid.oldbin" && ($second = pid()) && $second != $first }, 20), 'SIGUSR2: a second master');
push @started, $second;
is($tunnels[0]->echo('hello'), 'hello', 'SIGUSR2: tunnels go on');
kill 'WINCH', $first;
told('SIGWINCH', 1012, @tunnels);
is(tunnel()->echo('hello'), 'hello', 'SIGWINCH: the new nginx serves');
kill 'QUIT', $first;
ok(gone($first), 'SIGQUIT: the old master ends');

# ---- a graceful stop ---------------------------------------------------------------------------------

@tunnels = tunnels(4);
kill 'QUIT', $started[-1];
told('SIGQUIT', 1012, @tunnels);
ok(gone($started[-1]), 'SIGQUIT: nginx ends');

# ---- a fast one --------------------------------------------------------------------------------------

start();
@tunnels = tunnels(4);
kill 'TERM', $started[-1];
ok(gone($started[-1]), 'SIGTERM: nginx ends');
told('SIGTERM', 1012, @tunnels);
my $log = $t->read_file('error.log');
my @sums = $log =~ /: (\d+) tunnels of this worker were drained, 0 of them without an answer in time \[tunnel-drained\]$/mg;
is("@sums", '4 4 4', 'the sum of each drain');

# What is told to each client, and that they end.
sub told {
    my ($name, $code, @tunnels) = @_;
    my @codes;
    for my $ws (@tunnels) {
        $ws->recv(10);
        push @codes, $ws->close_code // 'none';
        $ws->send(pack('n', $code), 'close');
    }
    is("@codes", join(' ', ($code) x @tunnels), "$name: what clients are told");
    is(scalar(grep { $_->closed_within(10) } @tunnels), scalar @tunnels, "$name: they end");
}

sub tunnel { return websocket(path => '/ws/', authority => 'app.example.com') }

sub tunnels {
    my ($count) = @_;
    my @tunnels = map { tunnel() } 1 .. $count;
    is(scalar(grep { ($_->echo('hello') // '') eq 'hello' } @tunnels), $count, "$count tunnels");
    return @tunnels;
}

sub start {
    system($Test::Nginx::NGINX, '-p', "$dir/", '-c', 'nginx.conf', '-e', 'error.log') == 0 or die "nginx: $?\n";
    my $pid;
    ok(wait_until(sub { $pid = pid() }, 20), 'nginx is started');
    push @started, $pid;
}

# False until nginx has written it.
sub pid { return -e "$dir/nginx.pid" && $t->read_file('nginx.pid') =~ /^(\d+)\n/ ? $1 : 0 }

sub gone {
    my ($pid) = @_;
    return wait_until(sub { !kill 0, $pid }, 20);
}
