#!/usr/bin/perl

# Nobody can flood the log: of one finding in one location ten lines are written, the others are summed
# up in one when ten seconds are over or the worker ends. Other findings and locations have their own ten.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(18);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /on/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /off/ {
            proxy_pass          http://127.0.0.1:8081;
            proxy_http_version  1.1;
            proxy_set_header    Upgrade $http_upgrade;
            proxy_set_header    Connection upgrade;
        }

        location /short/ {
            # only the tunnel has it: a handshake may take longer on a busy machine
            websocket_guard          auto;
            websocket_guard_timeout  100ms;
            proxy_pass               http://127.0.0.1:8081;
        }

        location /silent/ {
            websocket_guard_log  off;
            proxy_pass           http://127.0.0.1:8081;
        }
    }
}
EOC

run_backend($t, 8081);
$t->run();

my ($on, $off, $short) = map { place_of($t, $_) } qw{ /on/ /off/ /short/ };

# As many lines as the log gets of each finding and location.
is_deeply(lines(sub { attempts(50, '/on/status?404') }), { '/on/ backend-not-found' => 10 }, 'ten lines of fifty');
is_deeply(lines(sub { attempts(5, '/on/status?404') }), {}, 'then none');
is_deeply(lines(sub { attempts(12, '/on/status?500') }), { '/on/ backend-error' => 10 }, 'another finding');
is_deeply(lines(sub { attempts(11, '/off/status?404') }), { '/off/ backend-not-found' => 10 }, 'another location');
is_deeply(lines(sub { attempts(10, '/off/status?500') }), { '/off/ backend-error' => 10 }, 'exactly ten');
is_deeply(lines(sub { attempts(12, '/silent/status?404') }), {}, 'a location that has no log');
is_deeply(lines(sub {
    my @tunnels = map { websocket(path => '/short/ws') } 1 .. 13;
    $_->closed_within(5) for @tunnels;
    return scalar @tunnels;
}), { '/short/ tunnel-idle' => 10 }, 'ends of tunnels');

# After the window.
is_deeply([sums(0)], [], 'no sums yet');
ok(wait_log($t, qr/ more in the last .* \[tunnel-idle\]/, 15), 'the window ends');
my @sums = sort(
    "[error] websocket_guard: 45 more in the last 10s: $on [backend-not-found]",
    "[error] websocket_guard: 2 more in the last 10s: $on [backend-error]",
    "[error] websocket_guard: 1 more in the last 10s: $off [backend-not-found]",
    "[error] websocket_guard: 3 more in the last 10s: $short [tunnel-idle]",
);
is_deeply([sums(0)], \@sums, 'one sum of each');

# The next window, which ends with the worker.
my $since = log_size($t);
is_deeply(lines(sub { attempts(14, '/on/status?404') }), { '/on/ backend-not-found' => 10 }, 'ten lines again');
ok(reload($t), 'reload');
my $sum = "[error] websocket_guard: 4 more in the last 10s: $on [backend-not-found]";
ok(wait_until(sub { my @sums = sums($since); @sums > 0 }), 'the worker ends');
is_deeply([sums($since)], [$sum], 'its sum');

$since = log_size($t);
is_deeply(lines(sub { attempts(14, '/on/status?404') }), { '/on/ backend-not-found' => 10 }, 'the next worker');
is_deeply([sums($since)], [], 'no sum yet');
$t->stop();
is_deeply([sums($since)], [$sum], 'a stop');

is(scalar(run_time_log($t)), 10 * 7 + 6, 'nothing else');

sub attempts {
    my ($count, $path) = @_;
    websocket(path => $path) for 1 .. $count;
    return $count;
}

# How many lines of each location and finding the log gets meanwhile.
sub lines {
    my ($act) = @_;
    my ($since, $ended) = (log_size($t), ended());
    my $count = $act->();

    # The access log is written last.
    wait_until(sub { ended() >= $ended + $count });
    my %lines;
    for (run_time_log($t, undef, since => $since)) {
        $lines{"$2 $1"}++ if /\[([\w-]+)\], client: .* "GET (\/\w+\/)/;
    }
    return \%lines;
}

sub sums {
    my ($since) = @_;
    return sort grep {/ more in the last /} run_time_log($t, undef, since => $since);
}

sub ended { return scalar(() = $t->read_file('access.log') =~ /\n/g) }
