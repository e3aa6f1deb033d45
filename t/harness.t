#!/usr/bin/perl

# The harness itself, on an nginx with a hand-written WebSocket configuration.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;
use Time::HiRes qw/ time /;

my $t = Test::Nginx->new()->has(qw/ http proxy http_ssl rewrite upstream_keepalive socket_ssl /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(50);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    map $http_upgrade $connection_upgrade {
        default upgrade;
        ''      '';
    }

    upstream kept {
        server 127.0.0.1:8081;
        keepalive 4;
    }

    upstream encrypted {
        server 127.0.0.1:8082;
    }

    proxy_http_version 1.1;
    proxy_set_header   Upgrade $http_upgrade;
    proxy_set_header   Connection $connection_upgrade;

    server {
        listen       127.0.0.1:8080;
        listen       [::1]:%%PORT_8080%%;
        listen       127.0.0.1:8443 ssl;
        server_name  localhost;

        ssl_certificate      localhost.crt;
        ssl_certificate_key  localhost.key;

        location / {
            proxy_pass       http://127.0.0.1:8081;
            proxy_buffering  off;
        }

        location /kept/ {
            proxy_pass  http://kept;
        }

        location /tls/ {
            proxy_pass  https://encrypted;
        }

        location /idle/ {
            proxy_pass          http://127.0.0.1:8081;
            proxy_read_timeout  1s;
        }

        location /version {
            return 200 "one\n";
        }
    }
}
EOC

make_certificate($t);
run_backend($t, 8081, handlers => {
    own => sub { my ($c, $request) = @_; $c->respond(200, 'own ' . $request->args) },
});
run_backend($t, 8082, ssl => 'localhost');
$t->run();

# A handshake and messages.

my $ws = websocket(path => '/chat?room=1', headers => ['X-Odd: a', 'x-odd:  b']);
is($ws->status, 101, 'handshake');
ok($ws->is_open, 'open');
is($ws->echo('hello'), 'hello', 'text');
is($ws->opcode, 1, 'as text');
is($ws->echo(''), '', 'empty message');
is($ws->echo('x' x 70000), 'x' x 70000, 'longer than 16 bits');
$ws->send("\0\xff", 'binary');
is($ws->recv, "\0\xff", 'binary');
is($ws->opcode, 2, 'as binary');
$ws->send('you there', 'ping');
is($ws->recv_frame, 'you there', 'pong');
is($ws->opcode, 10, 'as pong');
ok($ws->open_for(0.2), 'stays open');
ok($ws->close, 'closing handshake');
is($ws->close_code, 1000, 'close code');

my ($seen) = requests_seen($t, 8081);
is($seen->uri, '/chat?room=1', 'recorded uri');
is_deeply([$seen->header('x-odd')], ['a', 'b'], 'recorded header lines');
is_deeply([$seen->header('Upgrade')], ['websocket'], 'recorded Upgrade');
ok($seen->has_token(connection => 'upgrade'), 'recorded Connection');

is(websocket(pipeline_message => 'early')->recv, 'early', 'message pipelined with the handshake');
is(websocket(path => '/greet?hi')->recv, 'hi', 'message sent with the 101');
is(websocket(path => '/own?x')->body, 'own x', 'own handler');
is(websocket(path => '/status?403')->status, 403, 'refused handshake');
is(websocket(path => '/close')->status, 502, 'no answer');

$ws = websocket(path => '/bad-accept');
is($ws->status, 101, 'wrong accept');
ok(!$ws->is_open, 'is not open');

$ws = websocket(path => '/bye?1001');
is($ws->recv, undef, 'closed by the backend');
is($ws->close_code, 1001, 'with its code');

# Much data.

$ws = websocket();
is($ws->echo_bytes(10 << 20), 10 << 20, '10 MiB in one message');
is($ws->echo_bytes(1_000_001, 1000), 1_000_001, 'many small ones');
is($ws->echo('still here'), 'still here', 'in step afterwards');

# Other ways in and out.

is(websocket(ssl => 1)->echo('tls'), 'tls', 'TLS listener');
is(websocket(ssl => 1)->echo_bytes(1 << 20), 1 << 20, 'TLS listener, 1 MiB');
is(websocket(family => 6)->echo('v6'), 'v6', 'IPv6 listener');
is(websocket(path => '/tls/')->echo('tls'), 'tls', 'TLS backend');

# Plain requests.

like(http_get('/plain?x=1'), qr/200 OK.*uri: \/plain\?x=1/s, 'GET');
my $body = 'b' x 100000;
like(raw_request("POST /post HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    . "Content-Length: 100000\r\n\r\n$body")->body, qr/^body-length: 100000$/m, 'POST');
is(raw_request("BROKEN\r\n\r\n")->status, 400, 'a broken request');

my $before = requests_seen($t, 8081);
http_get("/kept/$_") for 1 .. 3;
my @kept = grep { $_->uri =~ /kept/ } requests_seen($t, 8081, count => $before + 3);
is_deeply([map { $_->request } @kept], [1, 2, 3], 'kept connection, counted');
is(keys %{ { map { $_->connection => 1 } @kept } }, 1, 'one connection');

my $stream = raw_request("GET /sse?3,0.5 HTTP/1.1\r\nHost: x\r\n\r\n", body => 0);
my @times = map { $stream->read_until(qr/event \d\r?\n\r?\n/); time } 1 .. 2;
cmp_ok($times[1] - $times[0], '>', 0.3, 'events one by one');
undef $stream;

# Ends.

$ws = websocket(path => '/idle/');
ok($ws->is_open && $ws->closed_within(3), 'idle tunnel is cut');

# Reload: an open tunnel goes on, new requests see new settings.

$ws = websocket();
my $conf = $t->read_file('nginx.conf');
$t->write_file('nginx.conf', $conf =~ s/"one/"two/r);
ok(reload($t), 'reload');
like(http_get('/version'), qr/two/, 'new settings');
is($ws->echo('survived'), 'survived', 'old tunnel');
is(scalar(worker_pids($t, old => 1)), 1, 'in the old worker');
$ws->close;
ok(wait_until(sub { !worker_pids($t, old => 1) }), 'which then ends');

$t->write_file('nginx.conf', 'nonsense;');
ok(!reload($t), 'reload of a broken configuration');
cmp_ok(rss_kib(master_pid($t)), '>', 100, 'memory of the master');

# nginx -t and the log.

my ($code, $output) = nginx_test($t, "%%TEST_GLOBALS%%\nevents {}\nnonsense;\n");
is($code, 1, 'nginx -t');
like($output, qr/unknown directive "nonsense" in \S+:${\ conf_line($t, qr!nonsense!, 'nginx-test.conf') }$/m, 'its message');

is_deeply([guard_lines(<<'EOL', 'warn')], ['[warn] websocket_guard: a', '[error] websocket_guard: b'], 'lines of the guard');
nginx: [warn] websocket_guard: a
2026/01/02 03:04:05 [error] 12#12: *3 websocket_guard: b
2026/01/02 03:04:05 [info] 12#12: *3 websocket_guard: c
2026/01/02 03:04:05 [error] 12#12: *3 about websocket_guard: d
EOL
