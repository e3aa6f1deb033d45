#!/usr/bin/perl

# Nobody can flood the log by having many locations and findings: a window has a bounded number of lines, sums
# included, and lines and sums together tell how many attempts failed, no more and no less.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;
use Time::HiRes qw/ time /;

my $LOCATIONS = 3000;

my $t = Test::Nginx->new()->has(qw/ http proxy /);

my $locations = join '', map {<<"EOC"} 1 .. $LOCATIONS;

        location = /$_ {
            websocket_guard         on;
            websocket_guard_origin  none;
            proxy_pass              http://127.0.0.1:8081;
        }
EOC

$t->write_file_expand('nginx.conf', <<'EOC' =~ s/%%LOCATIONS%%/$locations/r)->plan(12);

%%TEST_GLOBALS%%

daemon off;
worker_processes 1;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    error_log           %%TESTDIR%%/error.log error;
    keepalive_requests  1000000;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        %%LOCATIONS%%
    }
}
EOC

time_limit(240);
$t->run();

# Each is answered with another status, and the connection stays.
my %findings = ('origin-denied' => 'Origin: https://evil.example', 'handshake-version' => 'Sec-WebSocket-Version: 8');

# As many lines as a window has at most: ten of each finding and location, but 500 of all together beyond the first
# of each, of which 512 have a count of their own; the others are one more; and the sums.
my $PAIRS = 512 + 1;
my $BOUND = $PAIRS + 500 + $PAIRS;

# ---- all of them in turns ------------------------------------------------------------------------

my $begun = time;
my $count = attempts(3, 1 .. $LOCATIONS);
my $lasted = time - $begun;
is($count, 3 * 2 * $LOCATIONS, "$count attempts, two findings in each of $LOCATIONS locations");
ok(reload($t) && wait_until(sub { !worker_pids($t, old => 1) }), 'the worker ends');
my %seen = seen(0);
is($seen{lines} + $seen{sum}, $count, 'lines and sums tell how many failed');

# A window begins with the first line after the one before.
my $windows = 1 + int $lasted / 10;
cmp_ok($seen{lines} + $seen{sums}, '<=', $windows * $BOUND, "few lines in $windows windows");
cmp_ok($seen{others}, '<=', $windows, 'the others are one sum for each window');
cmp_ok($seen{others}, '>=', 1, 'there are others');
cmp_ok($seen{pairs}, '>', 250, 'many findings and locations have lines of their own');

# ---- few of them, each often ---------------------------------------------------------------------

my $since = log_size($t);
$begun = time;
$count = attempts(15, 1 .. 100);
$windows = 1 + int((time - $begun) / 10);
ok(reload($t) && wait_until(sub { !worker_pids($t, old => 1) }), 'the worker ends');
%seen = seen($since);
is($seen{lines} + $seen{sum}, $count, 'lines and sums tell how many failed');
cmp_ok($seen{lines}, '<=', $windows * (200 + 500), 'not ten lines of each');
is($seen{pairs}, 200, 'but one of each at least');
is($seen{others}, 0, 'and a sum of its own');

# So many of each finding in each of the locations; returns how many failed.
sub attempts {
    my ($times, @locations) = @_;
    my $client = connection();
    my $failed = 0;
    for my $header ((map { $findings{$_} } sort keys %findings) x $times) {
        my @left = @locations;
        while (my @some = splice @left, 0, 100) {
            $client->write(join '', map { scalar handshake_request(path => "/$_", key => 'dGhlIHNhbXBsZSBub25jZQ==',
                headers => [$header, 'Connection: keep-alive, Upgrade']) } @some);
            $failed += grep { $client->read_response(timeout => 30)->status =~ /^4(?:03|26)$/ } @some;
        }
    }
    $client->disconnect;
    return $failed;
}

# What is in the log since then.
sub seen {
    my ($since) = @_;
    my %seen = map { $_ => 0 } qw/ lines sum sums others /;
    my %pairs;
    for my $line (run_time_log($t, undef, since => $since)) {
        if ($line =~ /websocket_guard: (\d+) more in the last 10s: (?:(other findings and locations)$)?/) {
            $seen{sums}++;
            $seen{sum} += $1;
            $seen{others}++ if $2;
        } elsif ($line =~ m! \[([\w-]+)\], client: .* "GET /(\d+) !) {
            $seen{lines}++;
            $pairs{"$1 $2"} = 1;
        }
    }
    $seen{pairs} = keys %pairs;
    note join ', ', map {"$_: $seen{$_}"} sort keys %seen;
    return %seen;
}
