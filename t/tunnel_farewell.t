#!/usr/bin/perl

# A side of a tunnel whose other side is gone gets a Close, so that it sees a code and not just the end of the
# connection: websocket_guard_close, which is on by default in "on" and off in "auto".

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;
use Time::HiRes qw/ sleep time /;

my $t = Test::Nginx->new()->has(qw/ http proxy http_ssl socket_ssl /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(66);

%%TEST_GLOBALS%%

daemon off;
worker_shutdown_timeout 1s;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    error_log  %%TESTDIR%%/error.log info;

    log_format  ends '$request_uri $websocket_guard_end $websocket_guard_close_code';
    access_log  %%TESTDIR%%/ends.log ends;

    # Else nginx would read on for seconds.
    lingering_close  off;

    server {
        listen       127.0.0.1:8080 sndbuf=32k;
        listen       127.0.0.1:8443 ssl sndbuf=32k;
        server_name  localhost;

        ssl_certificate      localhost.crt;
        ssl_certificate_key  localhost.key;

        websocket_guard  on;

        location /plain/ {
            websocket_guard_tunnel  pump;
            proxy_pass              http://127.0.0.1:8081;
        }

        location /tls/ {
            websocket_guard_tunnel  pump;
            proxy_pass              https://127.0.0.1:8082;
        }

        location /short/ {
            websocket_guard_tunnel   pump;
            websocket_guard_timeout  1s;
            proxy_pass               http://127.0.0.1:8081;
        }

        location /stalled/ {
            websocket_guard_tunnel  pump;
            send_timeout            1s;
            proxy_send_timeout      1s;
            proxy_pass              http://127.0.0.1:8081;
        }

        location /off/ {
            websocket_guard_tunnel  pump;
            websocket_guard_close   off;
            proxy_pass              http://127.0.0.1:8081;
        }

        location /auto/ {
            websocket_guard         auto;
            websocket_guard_tunnel  pump;
            proxy_pass              http://127.0.0.1:8081;

            location /auto/on/ {
                websocket_guard_tunnel  pump;
                websocket_guard_close   on;
                proxy_pass              http://127.0.0.1:8081;
            }
        }
    }
}
EOC

my $piece = 'x' x (1 << 20);

my %handlers = (
    # Notes what a client sent in frames, up to the end: the codes of Closes in hexadecimal, and the text of messages.
    note => sub { my ($c, $request) = @_; $c->upgrade; take_notes($c) },

    # The same, and then there is something to be read that nobody reads.
    chatter => sub { my ($c, $request) = @_; $c->upgrade; $c->send("message $_") for 1 .. 200; take_notes($c) },

    # Half a frame, then the end.
    half => sub { my ($c) = @_; $c->upgrade(bytes => "\x82\x05he"); sleep 0.2; $c->disconnect },

    # Half a header, then the end.
    header => sub { my ($c) = @_; $c->upgrade(bytes => "\x82\x7e\x01"); sleep 0.2; $c->disconnect },

    # A large message, then the end.
    large => sub { my ($c) = @_; $c->upgrade; $c->write($c->frame(binary => $piece), 30); $c->disconnect },

    # A message without end.
    flood => sub { my ($c) = @_; $c->upgrade; $c->write("\x82\x7f" . pack('Q>', 1 << 40)); 1 while $c->write($piece, 5) },

    # Answers a Close with the end of the connection.
    'hang-up' => sub { my ($c) = @_; $c->upgrade; $c->read(8); $c->disconnect },
);

make_certificate($t);
run_backend($t, 8081, handlers => \%handlers);
run_backend($t, 8082, handlers => \%handlers, ssl => 'localhost');
$t->run();

for my $path (qw{ /plain/ /tls/ }) {
    for my $ssl (0, 1) {
        my $name = $path . ($ssl ? ', TLS client' : '');

        my $ws = websocket(path => "${path}drop?0.2", ssl => $ssl);
        is(farewell($ws), 1014, "$name: the backend ends its connection");
        is(end("${path}drop?0.2"), 'backend-gone 1014', "$name: the end");

        $ws = websocket(path => "${path}large", ssl => $ssl);
        $ws->{greedy} = 0;
        sleep 0.3;
        is(length($ws->recv(20) // ''), 1 << 20, "$name: a large message for a client that waits");
        is(farewell($ws), 1014, "$name: then the Close");
        end("${path}large");

        $ws = websocket(path => "${path}note", ssl => $ssl);
        $ws->send('hello');
        $ws->disconnect;
        is(noted(), 'hello, close 1001', "$name: the client ends its connection");
        is(end("${path}note"), 'client-gone 1001', "$name: the end");

        # Unread bytes make a system reset a connection, and what was sent is lost.
        $ws = websocket(path => "${path}chatter", ssl => $ssl);
        $ws->send('hello');
        sleep 0.2;
        $ws->reset;
        is(noted(), 'hello, close 1001', "$name: the client resets its connection");
        like(end("${path}chatter"), qr/^client-(?:reset|gone) 1001$/, "$name: the end");

        # The client's own code, without a line.
        my $since = log_size($t);
        $ws = websocket(path => "${path}hang-up", ssl => $ssl);
        $ws->send(pack('n', 4711), 'close');
        is(farewell($ws), 4711, "$name: a backend that answers a Close with the end");
        is(end("${path}hang-up"), 'client-close 4711', "$name: the end");
        is(join('', guard_log($t, undef, since => $since)), '', "$name: no line");
    }
}

# Nothing fits into half a frame.
my $ws = websocket(path => '/plain/half');
is(farewell($ws), 'none', 'half a frame: no Close');
is(end('/plain/half'), 'backend-gone ', 'half a frame: the end');

# Nothing of a frame whose header never came has been sent.
is(farewell(websocket(path => '/plain/header')), 1014, 'half a header: the Close in its place');
end('/plain/header');
$ws = websocket(path => '/off/header');
is(unpack('H*', $ws->read_all(5) // ''), '827e01', 'half a header, without a Close: as it came');
end('/off/header');

# The idle limit, for both sides.
$ws = websocket(path => '/short/note');
is(farewell($ws), 1001, 'idle: the client');
is(noted(), 'close 1001', 'idle: the backend');
is(end('/short/note'), 'idle 1001', 'idle: the end');

# A side that does not read. What waits for it is lost.
$ws = websocket(path => '/stalled/stall');
$ws->write("\x82\xff" . pack('Q>', 1 << 40) . 'mask');
$ws->{greedy} = 1;
1 while $ws->write($piece, 2);
is(farewell($ws), 1014, 'a backend that does not read: the client');
is(end('/stalled/stall'), 'backend-stalled 1014', 'a backend that does not read: the end');

# Off, and the default of "auto".
for my $path (qw{ /off/ /auto/ }) {
    is(farewell(websocket(path => "${path}drop?0.2")), 'none', "$path: the client");
    is(end("${path}drop?0.2"), 'backend-gone ', "$path: the end");
    websocket(path => "${path}note")->disconnect;
    is(noted(), 'end', "$path: the backend");
    is(end("${path}note"), 'client-gone ', "$path: the end");
}
is(farewell(websocket(path => '/auto/on/drop?0.2')), 1014, 'on, below "auto"');
end('/auto/on/drop?0.2');

# The end of the worker.
$ws = websocket(path => '/plain/note');
ok(reload($t), 'reload');
is(farewell($ws), 1012, 'worker_shutdown_timeout: the client');
is(noted(), 'close 1012', 'worker_shutdown_timeout: the backend');
is(end('/plain/note'), 'shutdown 1012', 'worker_shutdown_timeout: the end');

# The code of the Close, or "none"; the client answers nothing, and goes when the connection does.
sub farewell {
    my ($ws) = @_;
    $ws->recv(10);
    my $closed = $ws->closed_within(5);
    $ws->disconnect;
    return $closed ? $ws->close_code // 'none' : 'not closed';
}

# What became of the last request, as the access log tells.
sub end {
    my ($uri) = @_;
    my $file = $t->testdir . '/ends.log';
    my $end;
    wait_until(sub { -e $file && (($end) = $t->read_file('ends.log') =~ /^\Q$uri\E (.*)$/m) }) or return 'no end';
    open my $empty, '>', $file;
    return $end;
}

sub noted {
    my $file = $t->testdir . '/noted';
    wait_until(sub { -s $file }, 10) or return 'nothing';
    my $noted = $t->read_file('noted');
    unlink $file;
    return $noted;
}

sub take_notes {
    my ($c) = @_;
    my $frame = Protocol::WebSocket::Frame->new(max_payload_size => 0);
    my @noted;
    while (length(my $bytes = $c->read_some(1 << 16, 20))) {
        $frame->append($bytes);
        while (defined(my $payload = $frame->next_bytes)) {
            push @noted, $frame->is_close ? 'close ' . unpack('n', $payload) : $payload;
        }
    }
    push @noted, 'end' unless @noted;
    open my $file, '>', $t->testdir . '/noted.new';
    print $file join ', ', @noted;
    close $file;
    rename $t->testdir . '/noted.new', $t->testdir . '/noted';
    $c->disconnect;
}
