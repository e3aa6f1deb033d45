#!/usr/bin/perl

# One allocation of a worker in thirty fails, for 2,000 requests of all modes: the worker lives, and tunnels that are
# open go on. The module itself asks for none: on the request path its memory is that of nginx's pools.
#
# TEST_SEED=N makes other allocations fail. AddressSanitizer has an allocator of its own, which none can be put
# before: on such an nginx the same requests run with all the memory they want.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $REQUESTS = 2000;
my $PERIOD   = 30;
my $SEED     = $ENV{TEST_SEED} || 9;

my $t = Test::Nginx->new()->has(qw/ http proxy map auth_request /);

my $sanitized = `$ENV{TEST_NGINX_BINARY} -V 2>&1` =~ /-fsanitize=address/;

$t->write_file_expand('nginx.conf', <<'EOC')->plan($sanitized ? 12 : 18);

%%TEST_GLOBALS%%

daemon off;
worker_processes 1;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    error_log        %%TESTDIR%%/error.log info;
    lingering_close  off;

    log_format  guard  '$request_uri $status [$websocket_guard] [$websocket_guard_reason] $failed '
                       '[$websocket_guard_upgrade] [$websocket_guard_connection] [$websocket_guard_host]';
    access_log  %%TESTDIR%%/guard.log guard;
    add_header  X-Reason "$websocket_guard_reason" always;
    add_header  X-Guard  "$websocket_guard" always;

    map $websocket_guard $failed {
        default   1;
        ''        0;
        upgraded  0;
    }

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /off/ {
            proxy_pass          http://127.0.0.1:8081;
            proxy_http_version  1.1;
            proxy_set_header    Upgrade $http_upgrade;
            proxy_set_header    Connection upgrade;
        }

        location /unmarked/ {
            proxy_pass       http://127.0.0.1:8081;
        }

        location /check/ {
            websocket_guard  check;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /auto/ {
            websocket_guard            auto;
            websocket_guard_forwarded  on;
            websocket_guard_origin     same none ~^https://app\d+\.example\.com$;
            proxy_pass                 http://127.0.0.1:8081;
        }

        location /on/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /regex/ {
            websocket_guard         on;
            websocket_guard_origin  ~^https://app\d+\.example\.com$ ~*[a-z]-STAGING;
            proxy_pass              http://127.0.0.1:8081;
        }

        location /lenient/ {
            websocket_guard            on;
            websocket_guard_handshake  lenient;
            websocket_guard_upgrade    websocket chat foo/2;
            proxy_pass                 http://127.0.0.1:8081;
        }

        location /native/ {
            websocket_guard         on;
            websocket_guard_tunnel  native;
            websocket_guard_upgrade websocket chat foo/2;
            proxy_pass              http://127.0.0.1:8081;
        }

        location /auth/ {
            websocket_guard  on;
            auth_request     /check/plain;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /page/ {
            websocket_guard  on;
            error_page       404 502 = /unmarked/page;
            proxy_intercept_errors on;
            proxy_pass       http://127.0.0.1:8081;
        }
    }
}
EOC

my $control = $t->testdir . '/control';
my ($worker) = start();

my %tunnels = map { $_ => websocket(path => "/$_/ws", origin => 'https://app1.example.com') }
    qw/ off auto on regex native /;
is($tunnels{$_}->echo('before'), 'before', "$_: a tunnel") for sort keys %tunnels;

note "seed $SEED";
srand $SEED;
control($worker, $PERIOD, $SEED) unless $sanitized;

my @locations = qw/ off unmarked check auto on regex lenient native auth page /;
my @segments  = qw/ ws greet?hello bad-accept 101 close reset status?404 status?302 no-upgrade-header big-header?6000 /;
my @headers   = (
    ([]) x 3,
    ['Origin: https://app7.example.com'], ['Origin: https://my-staging.example'], ['Origin: https://evil.example'],
    ['Upgrade: chat, websocket, h2c, foo/2'], ['Upgrade: foo/2, chat'], ['Upgrade: h2c'],
    ['Sec-WebSocket-Key: x'], ['Sec-WebSocket-Version: 8'], ['Connection: close'],
);
my %statuses;
for my $number (1 .. $REQUESTS) {
    my ($location, $segment, $headers) = map { $_->[rand @$_] } \@locations, \@segments, \@headers;
    my $client = websocket(path => "/$location/$segment", headers => $headers, timeout => 5);
    $statuses{ $client->status }++;
    if ($client->is_open && $segment eq 'ws') {
        # More than a buffer now and then.
        $client->echo('x' x ($number % 5 ? 5 : 200_000), 5);
    }
    # Leaves no port in TIME_WAIT.
    $client->reset;
    next if $number % 100;
    my @silent = grep { ($tunnels{$_}->echo($number) // '') ne $number } sort keys %tunnels;
    @silent and diag("after $number requests these tunnels are silent: @silent"), last;
}
note join ', ', map {"$_: $statuses{$_}"} sort keys %statuses;

my %seen = $sanitized ? () : control($worker, 0, 1);
is_deeply([worker_pids($t)], [$worker], 'the worker lives');
is($tunnels{$_}->echo('after'), 'after', "$_: the tunnel goes on") for sort keys %tunnels;
cmp_ok($statuses{101}, '>', 100, 'many requests became tunnels');
if (!$sanitized) {
    cmp_ok($seen{failed}, '>', $REQUESTS / 10, 'many allocations failed');
    cmp_ok($statuses{0} + ($statuses{500} // 0), '>', 50, 'and requests with them');
    is($seen{library}, 0, 'the module has asked for none') or diag(sprintf 'the first at 0x%x', $seen{offset});

    # Those would be seen.
    control(master_pid($t), 0, 1);
    ok(reload($t), 'reload');
    %seen = control(0, 0, 1);
    cmp_ok($seen{library}, '>', 0, 'but it does where it reads a configuration');
}

# Starts nginx with the library that makes allocations fail, and returns the worker.
sub start {
    run_backend($t, 8081);
    my %preload;
    if (!$sanitized) {
        my $library = $t->testdir . '/failing_malloc.so';
        my ($source) = __FILE__ =~ m!(.*/)! ? "$1lib/failing_malloc.c" : 'lib/failing_malloc.c';
        is(system('gcc', qw/ -Wall -Werror -O2 -shared -fPIC -o /, $library, $source), 0, 'gcc');
        $t->write_file('control', "\0" x 56);
        %preload = (LD_PRELOAD => $library, FAILING_MALLOC => $control, FAILING_MALLOC_LIBRARY => 'websocket_guard');
    }
    local @ENV{ keys %preload } = values %preload;
    $t->run();
    my @workers;
    wait_until(sub { @workers = worker_pids($t) });
    return @workers;
}

# What was counted; from now on one allocation in so many fails.
sub control {
    my ($pid, $period, $seed) = @_;
    open my $file, '+<:raw', $control or die "control: $!\n";
    sysread $file, my $data, 56;
    my %seen;
    @seen{qw/ pid period random asked failed library offset /} = unpack 'Q*', $data;
    note join ', ', map {"$_: $seen{$_}"} sort keys %seen;
    sysseek $file, 0, 0;
    syswrite $file, pack 'Q*', $pid, $period, $seed * 0x9E3779B1, (0) x 4;
    return %seen;
}
