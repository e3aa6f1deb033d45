#!/usr/bin/perl

# worker_shutdown_timeout cuts the tunnels of an old worker, which is told for each; tunnels that end in
# time are not mentioned. A tunnel that is being drained then is cut as well, and its backend told.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(15);

%%TEST_GLOBALS%%

daemon off;

worker_shutdown_timeout  1s;

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

        location /auto/ {
            websocket_guard  auto;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /drained/ {
            websocket_guard         auto;
            websocket_guard_tunnel  pump;
            websocket_guard_drain   0 wait=1m;
            proxy_pass              http://127.0.0.1:8081;
        }

        location /hand-made/ {
            proxy_pass          http://127.0.0.1:8081;
            proxy_http_version  1.1;
            proxy_set_header    Upgrade $http_upgrade;
            proxy_set_header    Connection upgrade;
        }
    }
}
EOC

run_backend($t, 8081, handlers => {
    # Notes all that it gets.
    note => sub {
        my ($c) = @_;
        $c->upgrade;
        my $frame = Protocol::WebSocket::Frame->new;
        my $noted = '';
        while (length(my $bytes = $c->read_some(1 << 16, 30))) {
            $frame->append($bytes);
            while (defined(my $payload = $frame->next_bytes)) {
                $noted .= $frame->is_close ? 'close ' . unpack('n', $payload) . ' ' : "$payload ";
            }
        }
        $t->write_file('noted.new', "${noted}end");
        rename $t->testdir . '/noted.new', $t->testdir . '/noted';
    },
});
$t->run();

my @paths = qw{ /on/ /auto/ /hand-made/ };
my %kept   = map { $_ => websocket(path => "${_}kept") } @paths;
my %closed = map { $_ => websocket(path => "${_}closed") } @paths;
$_->echo('hello') for values %kept, values %closed;
my $drained = websocket(path => '/drained/note');

ok(reload($t), 'reload');
is($kept{$_}->echo('still there'), 'still there', "$_, an old tunnel goes on") for @paths;
ok($closed{$_}->close, "$_, one is closed in time") for @paths;
ok($kept{$_}->closed_within(5), "$_, the other is cut") for @paths;
$drained->recv(5);
is($drained->close_code, 1012, 'a client is told that its worker leaves, and does not answer');
wait_until(sub { -s $t->testdir . '/noted' });
is($t->read_file('noted'), 'close 1001 end', 'its backend is told when the tunnel is cut');
wait_until(sub { !worker_pids($t, old => 1) });

my @lines = grep { !/tunnel-drained/ } run_time_log($t);
is(scalar(@lines), @paths, 'a line each');
my $silent = qr/(?:\d+ms|\ds)/;
my %cut = map {
    /^\[error\] websocket_guard: tunnel cut after \ds: the old worker was shut down by worker_shutdown_timeout after a reload \(client silent for $silent, backend silent for $silent\); raise worker_shutdown_timeout, and have clients reconnect \[tunnel-shutdown\], client: 127\.0\.0\.1, server: localhost, request: "GET (\S+) HTTP/
        ? ($1 => 1) : ()
} @lines;
is_deeply(\%cut, { map { ("${_}kept" => 1) } @paths }, 'for each that was cut');

is(websocket(path => '/on/')->echo('hello'), 'hello', 'the new worker');
