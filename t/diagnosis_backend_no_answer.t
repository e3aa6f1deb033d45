#!/usr/bin/perl

# The backend is reached and gives no answer to the handshake, or one that is too large. The line names
# the timeout or the buffer.

use strict;
use warnings;

use IO::Socket::INET;
use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy uwsgi scgi rewrite /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(54);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    upstream pool {
        server 127.0.0.1:8082 max_fails=0;
        server 127.0.0.1:8081 backup;
    }

    server {
        listen           127.0.0.1:8080;
        server_name      localhost;
        websocket_guard  on;
        include          locations.conf;
    }

    server {
        listen           127.0.0.1:8083;
        server_name      localhost;
        websocket_guard  auto;
        include          locations.conf;
    }

    server {
        listen              127.0.0.1:8084;
        server_name         localhost;
        proxy_http_version  1.1;
        proxy_set_header    Upgrade $http_upgrade;
        proxy_set_header    Connection upgrade;
        include             locations.conf;
    }
}
EOC

# In "on" a location without a read timeout of its own waits for an hour, whatever goes wrong.
$t->write_file_expand('locations.conf', <<'EOC');
location / {
    proxy_pass             http://127.0.0.1:8081;
    proxy_read_timeout     1s;
    proxy_connect_timeout  1s;
}

location /variable/ {
    set                    $address 127.0.0.1:8081;
    proxy_pass             http://$address;
    proxy_read_timeout     1s;
}

location /not-accepted {
    proxy_pass             http://127.0.0.1:8087;
    proxy_connect_timeout  500ms;
    proxy_read_timeout     10s;
}

location /uwsgi {
    uwsgi_pass             127.0.0.1:8088;
    uwsgi_read_timeout     1s;
    uwsgi_connect_timeout  10s;
}

location /scgi {
    scgi_pass             127.0.0.1:8087;
    scgi_connect_timeout  1s;
    scgi_read_timeout     10s;
}

location /pool/ {
    proxy_pass          http://pool/;
    proxy_read_timeout  10s;
}

location /pool/once/ {
    proxy_pass                   http://pool/;
    proxy_next_upstream          off;
    proxy_read_timeout           10s;
}

location /large-buffer/ {
    proxy_pass               http://127.0.0.1:8081;
    proxy_buffer_size        16k;
    proxy_busy_buffers_size  16k;
    proxy_read_timeout       10s;
}
EOC

my %handlers = (
    half         => sub { my ($c) = @_; $c->write("HTTP/1.1 101 Switching"); $c->disconnect },
    'half-reset' => sub { my ($c) = @_; $c->write("HTTP/1.1 101 Switching"); select undef, undef, undef, 0.2; $c->reset },
);
run_backend($t, 8081, handlers => \%handlers);
run_backend($t, 8082, handlers => { websocket => sub { $_[0]->disconnect } });

# Of these two, one is full and accepts no connection, and one accepts all and never reads.
my ($full, $deaf) = map {
    IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => port($_->[0]), Listen => $_->[1]) // die "listen: $!"
} [8087, 1], [8088, 100];
my @waiting;
do {
    @waiting < 20 or die "the queue does not get full\n";
    push @waiting, IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => port(8087), Blocking => 0) // die "connect: $!";
} while is_connected($waiting[-1]);

$t->run();

my %backend = map { $_ => 'backend 127.0.0.1:' . port($_) } 8081, 8082, 8087, 8088;

my $timeout = 'see what the backend is doing, or raise that timeout [backend-timeout]';
my $closed  = q{see the backend's log; if it expects TLS, use https:// in proxy_pass [backend-closed]};
my $large   = 'raise that buffer size, or set fewer cookies in the backend [backend-header-too-big]';

my @cases = (
    ['/slow?3', 504, "$backend{8081} did not answer the handshake within 1s (proxy_read_timeout); $timeout"],
    ['/variable/slow?3', 504, "$backend{8081} did not answer the handshake within 1s (proxy_read_timeout); $timeout"],
    ['/not-accepted', 504, "$backend{8087} did not accept the connection within 500ms (proxy_connect_timeout); $timeout"],
    ['/uwsgi', 504, "$backend{8088} did not answer the handshake within 1s (uwsgi_read_timeout); $timeout"],
    ['/scgi', 504, "$backend{8087} did not accept the connection within 1s (scgi_connect_timeout); $timeout"],

    ['/close', 502, "$backend{8081} closed the connection before it answered; $closed"],
    ['/variable/close', 502, "$backend{8081} closed the connection before it answered; $closed"],
    ['/half', 502, "$backend{8081} closed the connection before it answered; $closed"],
    ['/reset', 502, "$backend{8081} reset the connection before it answered; $closed"],
    ['/half-reset', 502, "$backend{8081} reset the connection before it answered; $closed"],
    ['/pool/once/ws', 502, "$backend{8082} closed the connection before it answered; $closed"],

    ['/big-header?9000', 502, "the header of the answer of $backend{8081} is larger than proxy_buffer_size; $large"],
    ['/variable/big-header?9000', 502, "the header of the answer of $backend{8081} is larger than proxy_buffer_size; $large"],
);

for my $port (8080, 8083, 8084) {
    my $server = { 8080 => 'on', 8083 => 'auto', 8084 => 'hand-made' }->{$port};

    for my $case (@cases) {
        my ($path, $status, $reason) = @$case;
        is(outcome($t, path => $path, port => $port), "$status, [error] upgrade failed: $reason", "$server, $path");
    }

    is(outcome($t, path => '/slow?0.5', port => $port), 101, "$server, in time");
    is(outcome($t, path => '/pool/ws', port => $port), 101, "$server, the second of the pool answers");

    # That it fits does not make it an upgrade.
    for my $path (qw{ /big-header?3000 /large-buffer/big-header?9000 }) {
        is(outcome($t, path => $path, port => $port), "200, [error] upgrade failed: $backend{8081} answered 200 to "
            . "\"$path\", it has no WebSocket there; correct the path in the client, or enable WebSocket in the backend "
            . '[backend-not-websocket]', "$server, $path");
    }

    is(outcome($t, sub {
        raw_request("GET /close HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", port => $port)
    }), 502, "$server, a plain request");
}

# Whether a connection is made soon.
sub is_connected {
    my ($socket) = @_;
    my $bit = '';
    vec($bit, fileno $socket, 1) = 1;
    return select undef, $bit, undef, 1;
}
