#!/usr/bin/perl

# websocket_guard_tunnel and websocket_guard_buffer_size: who moves the bytes of a location's tunnels,
# and in which pieces.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy debug /);

# Without %%TEST_GLOBALS_HTTP%%, which may name a tunnel of its own.
my $conf = <<'EOC';

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    access_log  off;

    websocket_guard_buffer_size  60000;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        proxy_http_version  1.1;
        proxy_set_header    Upgrade $http_upgrade;
        proxy_set_header    Connection upgrade;
        proxy_pass_request_headers on;

        location /on/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;

            location /on/native/ {
                websocket_guard_tunnel  native;
                proxy_pass              http://127.0.0.1:8081;
            }
        }

        location /auto/ {
            websocket_guard  auto;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /by-hand/ {
            proxy_pass  http://127.0.0.1:8081;
        }

        location /by-hand/pump/ {
            websocket_guard_tunnel  pump;
            proxy_pass              http://127.0.0.1:8081;
        }

        location /check/ {
            websocket_guard         check;
            websocket_guard_tunnel  pump;
            proxy_pass              http://127.0.0.1:8081;
        }
    }

    server {
        listen       127.0.0.1:8083;
        server_name  localhost;

        websocket_guard         on;
        websocket_guard_tunnel  native;

        location /native/ {
            proxy_pass  http://127.0.0.1:8081;
        }

        location /pump/ {
            websocket_guard_tunnel  pump;
            proxy_pass              http://127.0.0.1:8081;
        }
    }
}
EOC

$t->write_file_expand('nginx.conf', $conf)->plan(24);

run_backend($t, 8081);
$t->run();

is(tunnel($_), 'pump', $_) for qw! /on/ /auto/ !;
is(tunnel($_), 'native', $_) for qw! /on/native/ /by-hand/ /by-hand/pump/ /check/ !;
is(tunnel('/pump/', 8083), 'pump', 'below a server with "native"');
is(tunnel('/native/', 8083), 'native', 'inherited');

# Other sizes, of which none may lose a byte.
for my $size (1, 14, 4095, '1m', undef) {
    my $line = defined $size ? "websocket_guard_buffer_size $size;" : '';
    $t->write_file_expand('nginx.conf', $conf =~ s/websocket_guard_buffer_size .*?;/$line/r);
    ok(reload($t), defined $size ? "pieces of $size" : 'the default');
    my $read = { '1m' => 1 << 20 }->{ $size // '' } // $size // 65_536;
    is(tunnel('/on/', 8080, $read), 'pump', 'are read');
}

my %refused = (
    'websocket_guard_buffer_size 0;'      => qr/"0" in "websocket_guard_buffer_size" directive, a tunnel needs a buffer/,
    'websocket_guard_buffer_size big;'    => qr/"big" in "websocket_guard_buffer_size" directive, write a size/,
    'websocket_guard_buffer_size 2g;'     => qr/"2g" in "websocket_guard_buffer_size" directive, write a size/,
    'websocket_guard_buffer_size 1; websocket_guard_buffer_size 1;' => qr/"websocket_guard_buffer_size" directive is duplicate/,
    'websocket_guard_tunnel maybe;'       => qr/"maybe" in "websocket_guard_tunnel" directive, it must be "pump" or "native"/,
    'websocket_guard_tunnel pump; websocket_guard_tunnel pump;' => qr/"websocket_guard_tunnel" directive is duplicate/,
);
for my $line (sort keys %refused) {
    my ($code, $output) = nginx_test($t, $conf =~ s/websocket_guard_buffer_size .*?;/$line/r);
    like($output, $refused{$line}, $line);
}

# Only the guard's loop reads as much at once as its buffer has room for. It is the default.
sub tunnel {
    my ($path, $port, $size) = @_;
    my $since = log_size($t);
    my $ws = websocket(path => $path, port => $port // 8080);
    $ws->echo_bytes(2000) == 2000 && $ws->close or return 'lost';
    my $log = substr $t->read_file('error.log'), $since;
    # The size, and the longest header of a frame.
    my $room = ($size // 60_000) + 14;
    return $log =~ /recv: fd:\d+ -?\d+ of $room$/m ? 'pump' : 'native';
}
