#!/usr/bin/perl

# proxy_request_buffering off: nginx frees the chain that holds the request's head while it sends a body that
# is still coming, and uses its links for other things. What is said of the request afterwards is right, and no
# worker is lost over it, whether or not the location is marked.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy rewrite ssi /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(41);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    log_format  guard  '$request_uri $status $websocket_guard';
    access_log  %%TESTDIR%%/guard.log guard;

    upstream app {
        server 127.0.0.1:8081;
    }

    server {
        listen                   127.0.0.1:8080;
        server_name              localhost;
        proxy_http_version       1.1;
        proxy_request_buffering  off;

        location /off/ {
            proxy_pass  http://app/;
        }

        location /check/ {
            websocket_guard  check;
            proxy_pass       http://127.0.0.1:8081/;
        }

        location /auto/ {
            websocket_guard  auto;
            proxy_pass       http://127.0.0.1:8081/;
        }

        location /lenient/ {
            websocket_guard            on;
            websocket_guard_handshake  lenient;
            proxy_pass                 http://127.0.0.1:8081/;
        }

        location /by-hand/ {
            proxy_set_header  Upgrade $http_upgrade;
            proxy_set_header  Connection "upgrade";
            proxy_pass        http://127.0.0.1:8081/;
        }

        # an address in a variable: nothing of nginx's upstream block has a part in it
        location ~ ^/variable(?<path>/.*) {
            proxy_set_header  Upgrade $http_upgrade;
            proxy_set_header  Connection "upgrade";
            proxy_pass        http://127.0.0.1:8081$path;
        }

        location /ssi/ {
            ssi        on;
            ssi_types  *;
            proxy_pass http://127.0.0.1:8081/;
        }

        location /page/ {
            error_page  502 /ssi/plain;
            proxy_pass  http://127.0.0.1:8081/;
        }
    }
}
EOC

run_backend($t, 8081);
$t->run();

wait_until(sub { worker_pids($t) > 0 });
my @workers = worker_pids($t);

# The first byte of the body comes with the header, the others later.
sub in_pieces {
    my ($uri, @headers) = @_;
    my $client = connection();
    $client->write(join "\r\n", "POST $uri HTTP/1.1", 'Host: localhost', 'Content-Length: 40', @headers, '', 'a');
    for my $piece ('b' x 13, 'c' x 26) {
        select undef, undef, undef, 0.05;
        $client->write($piece);
    }
    $client->read_response;
    return $client;
}

my @handshake = ('Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==');

for my $location (qw! off check auto lenient by-hand variable ssi !) {
    my @attempts = (['all of it', @handshake], ['only a key', $handshake[-1]], ['another protocol', 'Upgrade: foo']);
    for my $attempt (@attempts) {
        my ($what, @headers) = @$attempt;
        is(in_pieces("/$location/close", @headers)->status, 502, "/$location/, $what: the backend closes");
    }
    is(in_pieces("/$location/plain", $handshake[-1])->status, 200, "/$location/: the backend answers");
}
# nginx waits for the rest of the body before it sends the page.
in_pieces('/page/close', @handshake)->disconnect for 1 .. 3;

# What was sent is known, although its chain is gone: a handshake with an empty body goes the same way.
my $closed = 'backend 127.0.0.1:' . port(8081) . ' closed the connection before it answered';
my $not_forwarded = 'location "/off/" (' . $t->testdir . '/nginx.conf:' . conf_line($t, qr!location /off/!)
    . ') passes the request on without its Upgrade header';
my %expected = (off => $not_forwarded, auto => $closed, lenient => $closed, 'by-hand' => $closed, variable => $closed);
for my $location (sort keys %expected) {
    my $line = outcome($t, path => "/$location/close", headers => ['Content-Length: 0']);
    like($line, qr/^502, \[error\] upgrade failed: (?:\Q$expected{$location}\E|"\S+" falls into .* \[wrong-location\]$)/,
        "/$location/: what was sent");
}

is_deeply([worker_pids($t)], \@workers, 'no worker was lost');
unlike($t->read_file('error.log'), qr/exited on signal/, 'nor does nginx say so');

# A near miss: the same in one piece, and with a body that nginx waits for.
is(raw_request(join "\r\n", 'POST /off/plain HTTP/1.1', 'Host: localhost', 'Content-Length: 2', @handshake, '', 'ab')->status,
    200, 'a body in one piece');
is(websocket(path => '/auto/')->echo('hello'), 'hello', 'a WebSocket, auto');
is(websocket(path => '/lenient/')->echo('hello'), 'hello', 'and on');
is(websocket(path => '/by-hand/')->echo('hello'), 'hello', 'and by hand');
is(websocket(path => '/variable/')->echo('hello'), 'hello', 'and to an address in a variable');
is_deeply([worker_pids($t)], \@workers, 'with the same worker');
