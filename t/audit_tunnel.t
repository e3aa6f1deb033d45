#!/usr/bin/perl

# The audit of what is asked for tunnels: Pings that come too late, a drain that has no time, and limits of which one
# frame is the end.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy /)->plan(16);

my $conf = <<'EOC';
daemon off;
%%TEST_GLOBALS%%
worker_shutdown_timeout 30s;
events { }
http {
    websocket_guard_drain  DRAIN;
    server {
        listen 127.0.0.1:8080;
        server_name localhost;
        location /a/ {
            websocket_guard          on;
            websocket_guard_timeout  30s;
            websocket_guard_ping     PING;
            TUNNEL
            proxy_pass               http://127.0.0.1:8081;
            proxy_set_header         Host $http_host;
        }
    }
}
EOC

is_deeply([warnings('25s', '29s', '')], [], 'in time: as long as both together');
is_deeply([warnings('24s', '29s', '')], [], 'in time: shorter');
is_deeply([warnings('29s wait=1s', '29s', '')], [], 'in time: a short wait');
is_deeply([warnings('30s wait=0', '29s', '')], [], 'in time: no wait');
like(join("\n", warnings('20s wait=11s', '10s', '')), qr/ takes up to 31s to close .* \[drain-cut-short\]/, 'a wait too long');
like(join("\n", warnings('25s', '30s', '')), qr/^\[warn\] websocket_guard: location "\/a\/" sends a Ping after 30s of silence, and cuts a tunnel that is silent for 30s; make the interval of websocket_guard_ping shorter than the idle limit \[ping-too-late\] in \S+: websocket_guard_ping +30s;$/, 'a Ping too late');
like(join("\n", warnings('26s', '10s', '')), qr/^\[warn\] websocket_guard: location "\/a\/" takes up to 31s to close the tunnels of a worker that leaves \(websocket_guard_drain and its wait\), which are cut after 30s \(worker_shutdown_timeout\); make worker_shutdown_timeout longer than websocket_guard_drain and its wait together \[drain-cut-short\] in \S+: websocket_guard_drain +26s;$/, 'a drain too long');
is_deeply([warnings('31s', '10s', 'websocket_guard_drain off;')], [], 'not in this location');
is_deeply([warnings('off', 'off', '')], [], 'nothing is asked for');
is_deeply([warnings('31s', 'off', 'websocket_guard_tunnel native;')], [], 'nor in tunnels of nginx');

my ($size, $rate, $check) = ('websocket_guard_max_message 64k both;', 'websocket_guard_message_rate 9r/s;', 'websocket_guard_frames check;');
for my $limit ($size, $rate) {
    my @told = said('notice', 'off', 'off', "$limit $check");
    is(scalar @told, 1, "one line: $limit");
    like($told[0], qr/^\[notice\] websocket_guard: location "\/a\/" limits messages until one frame breaks RFC 6455, and not from then on \("websocket_guard_frames check"\); remove "websocket_guard_frames check;", or write "websocket_guard_frames strict;" \[limits-let-go\] in \S+: .*websocket_guard_frames check;$/, $limit);
}
is_deeply([map { said('notice', 'off', 'off', $_) } "$size $rate", "$size websocket_guard_frames strict;", $check], [], 'limits that hold, or none');
is_deeply([said('notice', 'off', 'off', "$check websocket_guard_max_message off; websocket_guard_message_rate off;")], [], 'none');

sub warnings {
    return said('warn', @_);
}

sub said {
    my ($level, $drain, $ping, $tunnel) = @_;
    my $text = $conf =~ s/DRAIN/$drain/r =~ s/PING/$ping/r =~ s/TUNNEL/$tunnel/r;
    my ($code, $output) = nginx_test($t, $text);
    my @text = split /\n/, $t->read_file('nginx-test.conf');
    # The same line is on standard error and in the log, as far as it has its level. The line in place of its number.
    my %lines = map { $_ => 1 } guard_lines($output . $t->read_file('nginx-test.log'), $level);
    return map { s/:(\d+)$/:$text[$1 - 1]/r =~ s/: +/: /gr } sort keys %lines;
}
