#!/usr/bin/perl

# A backend that answers something that is no HTTP, more of it than a buffer holds: nginx frees the buffer
# in which the answer begins long before the request is logged. Whether that was TLS is known all the same.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy rewrite /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(43);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen             127.0.0.1:8080;
        server_name        localhost;
        proxy_buffering    on;

        location /off/ {
            include     recipe.conf;
            proxy_pass  http://127.0.0.1:8081/;
        }

        # larger than what malloc serves from its heap: what was freed is no memory any more
        location /large-buffer/ {
            include            recipe.conf;
            proxy_buffer_size  256k;
            proxy_buffers      8 256k;
            proxy_busy_buffers_size 512k;
            proxy_pass         http://127.0.0.1:8081/;
        }

        location /auto/ {
            websocket_guard  auto;
            proxy_pass       http://127.0.0.1:8081/;
        }

        location /on/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081/;
        }

        location /buffered/ {
            websocket_guard  on;
            proxy_buffering  on;
            proxy_pass       http://127.0.0.1:8081/;
        }
    }
}
EOC

$t->write_file('recipe.conf', <<'EOF_RECIPE');
proxy_http_version  1.1;
proxy_set_header    Upgrade $http_upgrade;
proxy_set_header    Connection "upgrade";
EOF_RECIPE

my $size = 600 * 1024;
run_backend($t, 8081, handlers => {
    noise => sub { $_[0]->write('N' x $size); $_[0]->disconnect },
    alert => sub { $_[0]->write("\x15\x03\x01\x00\x02\x02\x46" . 'x' x $size); $_[0]->disconnect },
    # only the first byte of an alert, and then the rest
    slow  => sub { $_[0]->write("\x15"); select undef, undef, undef, 0.2; $_[0]->write("\x03\x01" . 'x' x $size); $_[0]->disconnect },
    # begins like one and is none
    near  => sub { $_[0]->write("\x15\x13" . 'x' x $size); $_[0]->disconnect },
});
$t->run();

wait_until(sub { worker_pids($t) > 0 });
my @workers = worker_pids($t);
my $peer = 'backend 127.0.0.1:' . port(8081);
my %expected = (
    noise => "$peer answered with something that is no HTTP; ",
    near  => "$peer answered with something that is no HTTP; ",
    alert => "$peer seems to expect TLS and was sent plain HTTP; ",
    slow  => "$peer seems to expect TLS and was sent plain HTTP; ",
);

# All of it reaches the client, as without the module, and there is one line.
sub received {
    my ($uri, @headers) = @_;
    my $client = connection();
    $client->write(join "\r\n", "GET $uri HTTP/1.1", 'Host: localhost', @headers, '', '');
    return length($client->read($size, 20) // '');
}

my @key = ('Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==');
my @handshake = ('Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Version: 13', @key);

for my $location (qw! off large-buffer auto on buffered !) {
    for my $answer (sort keys %expected) {
        my $since = log_size($t);
        is(received("/$location/$answer", @handshake), $size, "/$location/$answer: the client gets it");
        ok(wait_log($t, qr/upgrade failed: \Q$expected{$answer}\E/, 5, since => $since), 'and the log has it');
    }
}
is(received('/large-buffer/noise', @key), $size, 'a key alone');
is_deeply([worker_pids($t)], \@workers, 'no worker was lost');
unlike($t->read_file('error.log'), qr/exited on signal/, 'nor does nginx say so');
