#!/usr/bin/perl

# Nobody gets rid of a limit by a frame that breaks RFC 6455: it ends the tunnel where the messages of its side are
# limited, unless websocket_guard_frames check is written.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy /);

# A name, what is written in the location, and the sides whose first bad frame ends the tunnel.
my @cases = (
    ['none', '', ''],
    ['size', 'websocket_guard_max_message 100;', 'client'],
    ['size-backend', 'websocket_guard_max_message 100 backend;', 'backend'],
    ['size-both', 'websocket_guard_max_message 100 both;', 'client backend'],
    ['size-off', 'websocket_guard_max_message off;', ''],
    ['delay', 'websocket_guard_message_rate 1000r/s burst=1000;', 'client'],
    ['close', 'websocket_guard_message_rate 1000r/s burst=1000 close;', 'client'],
    ['rate-off', 'websocket_guard_message_rate off;', ''],
    ['rate-and-backend', 'websocket_guard_message_rate 1000r/s burst=1000; websocket_guard_max_message 100 backend;', 'client backend'],
    ['strict', 'websocket_guard_max_message 100; websocket_guard_frames strict;', 'client backend'],
    ['check', 'websocket_guard_max_message 100 both; websocket_guard_frames check;', ''],
    ['check-rate', 'websocket_guard_message_rate 1000r/s burst=1000; websocket_guard_frames check;', ''],
    ['inner', 'websocket_guard_max_message 100; location /inner/nested/ { proxy_pass http://127.0.0.1:8081; }', 'client'],
    ['inner/nested', undef, 'client'],
    ['asks', 'websocket_guard_frames check; location /asks/nested/ { websocket_guard_max_message 100 both; proxy_pass http://127.0.0.1:8081; }', ''],
    ['asks/nested', undef, ''],
    ['outer', 'websocket_guard_max_message 100 both; location /outer/nested/ { websocket_guard_max_message off; proxy_pass http://127.0.0.1:8081; }', 'client backend'],
    ['outer/nested', undef, ''],
);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(2 * @cases + 3);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    error_log  %%TESTDIR%%/error.log info;

    log_format  ends '$request_uri $websocket_guard_end';
    access_log  %%TESTDIR%%/ends.log ends;

    server {
        listen                  127.0.0.1:8080;
        server_name             localhost;
        websocket_guard         on;

        include  locations.conf;
    }
}
EOC

$t->write_file_expand('locations.conf', join '', map { my ($name, $text) = @$_; defined $text ? <<EOL : () } @cases);
location /$name/ {
    websocket_guard_tunnel  pump;
    proxy_pass              http://127.0.0.1:8081;
    $text
}
EOL

run_backend($t, 8081, handlers => {
    bad => sub {
        my ($c) = @_;
        $c->upgrade(bytes => "\x83\x00\x81\x01x");
        1 while length $c->read_some(1 << 16, 20);
        $c->disconnect;
    },
    silent => sub { my ($c) = @_; $c->upgrade; 1 while length $c->read_some(1 << 16, 20); $c->disconnect },
});
$t->run();

for my $case (@cases) {
    my ($name, undef, $sides) = @$case;

    # A message in a continuation that continues nothing.
    my $ws = websocket(path => "/$name/silent");
    $ws->write("\x80\x81\x01\x02\x03\x04x");
    my $close = $ws->read(4, 1) // '';
    is(unpack('H*', $close), $sides =~ /client/ ? '880203ea' : '', "$name: what a client gets for a bad frame");
    $ws->disconnect;

    # An opcode that is not known.
    $ws = websocket(path => "/$name/bad");
    is(unpack('H*', $ws->read($sides =~ /backend/ ? 4 : 5, 2) // ''), $sides =~ /backend/ ? '880203e9' : '8300810178',
        "$name: what a backend's becomes");
    $ws->disconnect;
}

# What is let go, and what is not.
for my $name (qw/ check size /) {
    my $ws = websocket(path => "/$name/");
    is(length($ws->echo('x' x 100)), 100, "$name: within the limit");
    $ws->disconnect;
}
ok(wait_until(sub { $t->read_file('ends.log') =~ m!^/size/silent frame-error$!m }), 'the end in the access log');
