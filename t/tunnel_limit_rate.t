#!/usr/bin/perl

# A limit on the rate of responses, wherever it comes from, neither holds the rest of a 101 back nor
# keeps a connection open when the tunnel is over; and a 101 that the client's socket does not take at
# once arrives whole, before the tunnel's bytes.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;
use Time::HiRes qw/ time /;

my $t = Test::Nginx->new()->has(qw/ http proxy rewrite http_ssl socket_ssl stub_status /);

$t->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    error_log  %%TESTDIR%%/error.log info;

    server {
        listen       127.0.0.1:8080 sndbuf=8k;
        listen       127.0.0.1:8443 ssl sndbuf=8k;
        server_name  localhost;

        ssl_certificate      localhost.crt;
        ssl_certificate_key  localhost.key;

        websocket_guard    on;
        proxy_buffer_size  512k;
        proxy_buffers      8 512k;
        proxy_busy_buffers_size  512k;
        large_client_header_buffers  4 16k;

        location / {
            proxy_pass  http://127.0.0.1:8081;
        }

        location /variable/ {
            limit_rate  $arg_rate;
            proxy_pass  http://127.0.0.1:8081;
        }

        location /10k/ {
            limit_rate  10k;
            proxy_pass  http://127.0.0.1:8081;
        }

        location /auto/ {
            websocket_guard  auto;
            limit_rate       10k;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /after/ {
            limit_rate        60;
            limit_rate_after  1k;
            proxy_pass        http://127.0.0.1:8081;
        }

        location /set/ {
            set         $limit_rate 100;
            proxy_pass  http://127.0.0.1:8081;
        }

        location /upstream/ {
            limit_rate        60;
            proxy_limit_rate  60;
            proxy_pass        http://127.0.0.1:8081;
        }

        location /now/ {
            limit_rate       60;
            postpone_output  0;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /chunk/ {
            sendfile_max_chunk  100;
            proxy_pass          http://127.0.0.1:8081;
        }

        location /short/ {
            send_timeout  1s;
            limit_rate    10k;
            proxy_pass    http://127.0.0.1:8081;
        }
    }

    server {
        listen       127.0.0.1:8084;
        server_name  localhost;

        location = /status {
            stub_status;
        }
    }
}
EOC

# The arguments: the size of the header, the rate that the backend asks for, whether the backend closes.
my $handler = sub {
    my ($c, $request) = @_;
    my %arg = $request->args =~ /(\w+)=(\w+)/g;
    my @headers = ('X-Large: ' . 'x' x ($arg{size} // 10));
    push @headers, "X-Accel-Limit-Rate: $arg{accel}" if $arg{accel};
    $c->upgrade(headers => \@headers, bytes => $c->frame(text => 'greeting')) or return;
    $arg{close} ? $c->disconnect : $c->echo;
};

# Each limit by itself, with a header that nginx sends with the flush and one that it sends before.
my @limited = map {
    my $size = $_;
    (map({"/variable/ws?rate=$_&size=$size"} qw/ 60 10k 100k 150k 400k 0 /),
        map({"/ws?accel=$_&size=$size"} qw/ 50 20000 150000 /),
        map {"$_?size=$size"} qw! /10k/ws /auto/ws /after/ws /set/ws /upstream/ws /now/ws /chunk/ws !);
} 10, 3000;
my @tls  = map {"$_?size=3000"} qw! /10k/ws /after/ws /now/ws /chunk/ws !;
my @slow = ('/ws?size=400000', '/10k/ws?size=400000', '/after/ws?size=400000');

my @runs = ((map { [$_, 0] } @limited), (map { [$_, 1] } @tls));
$t->plan(4 * @runs + 2 * 3 * @slow + 3);

make_certificate($t, 'localhost');
run_backend($t, 8081, handlers => { ws => $handler });
$t->run();

for my $run (@runs) {
    my ($path, $ssl) = @$run;
    my $name = $path . ($ssl ? ', TLS' : '');

    my $ws = websocket(path => $path, ssl => $ssl, timeout => 5);
    is(conversation($ws), '101 greeting hello', "$name: a tunnel");
    $ws->close;
    ok(all_closed(), "$name: the client says goodbye");

    $ws = websocket(path => "$path&close=1", ssl => $ssl, timeout => 5);
    is(join(' ', $ws->status, $ws->recv // 'none', $ws->closed_within(5) ? 'closed' : 'open'), '101 greeting closed',
        "$name: the backend closes at once");
    $ws->disconnect;

    # Both before anything of the 101 is read.
    my $client = connection(ssl => $ssl);
    $client->write(scalar handshake_request(path => "$path&close=1"));
    $client->disconnect;
    ok(all_closed(), "$name: both close at once");
}

# More than the sockets on the way take.
for my $path (@slow) {
    for my $ssl (0, 1) {
        my $name = $path . ($ssl ? ', TLS' : '');

        my $ws = unread($path, $ssl);
        $ws->read_response(timeout => 20);
        is(conversation($ws), '101 greeting hello', "$name: read late");
        $ws->close;

        $ws = unread("$path&close=1", $ssl);
        $ws->read_response(timeout => 20);
        is(join(' ', $ws->status, $ws->recv // 'none', $ws->closed_within(5) ? 'closed' : 'open'), '101 greeting closed',
            "$name: read late, the backend is gone");
        $ws->disconnect;

        unread("$path&close=1", $ssl)->disconnect;
        ok(all_closed(), "$name: never read, both close");
    }
}

my $unread = unread('/short/ws?size=400000', 0);
ok(all_closed(), 'never read: send_timeout');

# The limit is lifted for tunnels only.
my $start = time;
is(length(raw_request("GET /auto/size?20000 HTTP/1.1\r\nHost: localhost\r\n\r\n")->body // ''), 20_000, 'a plain response');
cmp_ok(time - $start, '>', 0.5, 'is limited');

sub conversation {
    my ($ws) = @_;
    return join ' ', $ws->status, $ws->recv // 'none', $ws->status == 101 ? $ws->echo('hello') // 'none' : ();
}

# Once the first bytes of the answer are there, which nobody reads.
sub unread {
    my ($path, $ssl) = @_;
    my $client = connection(ssl => $ssl);
    delete $client->{greedy};
    $client->write(scalar handshake_request(path => $path));
    vec(my $bit = '', fileno $client->{socket}, 1) = 1;
    select $bit, undef, undef, 10 or die "no answer to $path";
    return $client;
}

# nginx counts the connection that asks.
sub all_closed {
    return wait_until(sub { http_get('/status', PeerAddr => '127.0.0.1:' . port(8084)) =~ /^Active connections: 1 $/m }, 10);
}
