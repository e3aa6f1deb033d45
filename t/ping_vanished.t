#!/usr/bin/perl

# Clients that are there no more, though their connection has not ended: their packets are dropped, or the process stands
# still. Pings find out (websocket_guard_ping). And those that are there are kept by Pings beyond the idle limit of an
# nginx in front.
#
# It runs in a network namespace of its own, whose loopback interface it takes down; the backend has a Unix socket.

use strict;
use warnings;

BEGIN {
    unless ($ENV{WEBSOCKET_GUARD_OWN_NETWORK}) {
        $ENV{WEBSOCKET_GUARD_OWN_NETWORK} = 1;
        exec 'unshare', $> ? '-rn' : '-n', $^X, (map {"-I$_"} @INC), $0 or die "unshare: $!\n";
    }
    system(qw/ ip link set lo up /) == 0 or die "ip: $?\n";
}

use IO::Socket::UNIX ();
use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;
use Time::HiRes qw/ sleep time /;

my $t = Test::Nginx->new()->has(qw/ http proxy http_ssl socket_ssl /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(28);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    error_log  %%TESTDIR%%/error.log info;

    log_format  ends '$request_uri $websocket_guard_end $websocket_guard_close_code $msec';
    access_log  %%TESTDIR%%/ends.log ends;

    map $http_upgrade $connection_upgrade {
        default  upgrade;
        ''       close;
    }

    # The nginx in front.
    server {
        listen       127.0.0.1:8081;
        server_name  localhost;

        access_log   off;

        proxy_read_timeout  1s;
        proxy_http_version  1.1;
        proxy_set_header    Upgrade $http_upgrade;
        proxy_set_header    Connection $connection_upgrade;

        location / {
            proxy_pass  http://127.0.0.1:8080;
        }
    }

    server {
        listen       127.0.0.1:8080 sndbuf=32k;
        listen       127.0.0.1:8443 ssl sndbuf=32k;
        server_name  localhost;

        ssl_certificate      localhost.crt;
        ssl_certificate_key  localhost.key;

        websocket_guard         on;
        websocket_guard_tunnel  pump;

        location /silent/ {
            proxy_pass  http://unix:%%TESTDIR%%/backend.sock;
        }

        location /asked/ {
            websocket_guard_ping  200ms;
            proxy_pass            http://unix:%%TESTDIR%%/backend.sock;
        }

        location /timeout/ {
            send_timeout          3s;
            websocket_guard_ping  300ms timeout=1s;
            proxy_pass            http://unix:%%TESTDIR%%/backend.sock;
        }

        location /patient/ {
            websocket_guard_ping  1s;
            proxy_pass            http://unix:%%TESTDIR%%/backend.sock;
        }
    }
}
EOC

my %handlers = (
    # Notes what it gets until its connection ends: messages, Pongs, the code of a Close.
    note => sub { my ($c, $request) = @_; $c->upgrade; take_notes($c, $request->args) },

    # The same, and says something all the time.
    chatter => sub {
        my ($c, $request) = @_;
        $c->upgrade;
        if (!fork) {
            1 while $c->send('x' x 20_000) && sleep 0.01;
            POSIX::_exit(0);
        }
        take_notes($c, $request->args);
    },

    # A Ping of its own before one of the guard's.
    ask => sub {
        my ($c, $request) = @_;
        $c->upgrade;
        sleep 0.6;
        $c->send('is anyone there', 'ping');
        take_notes($c, $request->args);
    },
);

make_certificate($t);
my $listener = IO::Socket::UNIX->new(Local => $t->testdir . '/backend.sock', Listen => 128) or die "backend.sock: $!";
chmod 0666, $t->testdir . '/backend.sock';
$t->run_daemon(\&websocket_backend, $t, 8082, handlers => \%handlers, listener => $listener);
close $listener;
$t->run();

# ---- an idle limit in front --------------------------------------------------------------------------

my $begin = time;
my $ws = websocket(port => 8081, path => '/silent/');
ok($ws->closed_within(10), 'an nginx in front cuts a tunnel on which nothing happens');
cmp_ok(time - $begin, '>', 0.8, 'at its idle limit');

$ws = websocket(port => 8081, path => '/asked/');
my $pings = stay($ws, 3);
cmp_ok($pings, '>', 4, 'Pings');
is($ws->echo('hello'), 'hello', 'keep it open');
ok($ws->close, 'and it ends as usual');

# ---- a Ping of the application -----------------------------------------------------------------------

$ws = websocket(path => '/patient/ask?asked');
my @came;
$begin = time;
while (time - $begin < 6) {
    defined(my $payload = $ws->recv_frame(0.2)) or next;
    push @came, [$payload, time];
    last if @came == 3;
}
is($came[0][0], 'is anyone there', 'a Ping of the application');
is(length $came[1][0], 12, 'then one of the guard');
cmp_ok($came[1][1] - $came[0][1], '>', 0.8, 'not before its time, which begins anew');
is(length $came[2][0], 12, 'and further ones, though the first has no answer');
$ws->send($_->[0], 'pong') for @came;
$ws->close;
is(noted('asked'), 'Pong is anyone there, Close 1000', 'only the Pong to its own reaches the backend');

# ---- clients that stand still ------------------------------------------------------------------------

my @uris = ('/timeout/note?stopped', '/timeout/note?stopped-tls', '/timeout/chatter?stopped-busy');
my @clients = map { client($uris[$_], $_ == 1) } 0 .. 2;
sleep 2.5;
ok(!ended($_, 0), "$_: a client that answers Pings") for @uris;
kill 'STOP', @clients;
like(ended($uris[$_], 15), qr/^ping-timeout 1001 /, "$uris[$_]: stopped, the end") for 0, 1;
like(ended($uris[2], 15), qr/^(?:ping-timeout|client-stalled) 1001 /, "$uris[2]: stopped, the end");
is(noted($_ =~ s/.*\?//r), 'said, Close 1001', "$_: the backend is told") for @uris;
ok(wait_log($t, qr/tunnel cut after \S+: no answer of the client to a Ping for 1s \(.*\[tunnel-client-dead\]/), 'the line');
kill $_, @clients for qw/ CONT KILL /;
waitpid $_, 0 for @clients;

# ---- a client that vanishes --------------------------------------------------------------------------

@uris = ('/timeout/note?gone', '/timeout/chatter?gone-busy', '/silent/note?unasked');
@clients = (client($uris[0], 1), client($uris[1], 0), client($uris[2], 0));
sleep 1.5;
ok(!ended($_, 0), "$_: there") for @uris;
system(qw/ ip link set lo down /) == 0 or die "ip: $?";
like(ended($uris[$_], 15), qr/^(?:ping-timeout|client-stalled) 1001 /, "$uris[$_]: vanished, the end") for 0, 1;
is(noted('gone'), 'said, Close 1001', 'the backend is told');
ok(!ended($uris[2], 0), 'nobody knows without Pings');
system(qw/ ip link set lo up /) == 0 or die "ip: $?";
kill 'KILL', @clients;
waitpid $_, 0 for @clients;
is(websocket(path => '/timeout/')->echo('hello'), 'hello', 'and others are served');

# A process that opens a WebSocket, says something and answers Pings.
sub client {
    my ($uri, $ssl) = @_;
    my $pid = fork // die "fork: $!";
    if ($pid == 0) {
        my $ws = websocket(path => $uri, ssl => $ssl);
        $ws->send('said');
        1 while defined $ws->recv(60);
        POSIX::_exit(0);
    }
    return $pid;
}

# Answers Pings for so long, and counts them.
sub stay {
    my ($ws, $seconds) = @_;
    my ($until, $pings) = (time + $seconds, 0);
    while (time < $until) {
        defined(my $payload = $ws->recv_frame(0.2)) or next;
        $pings++ if $ws->opcode == 9;
        $ws->send($payload, 'pong');
    }
    return $pings;
}

sub take_notes {
    my ($c, $name) = @_;
    my $frame = Protocol::WebSocket::Frame->new(max_payload_size => 0);
    my @noted;
    while (length(my $bytes = $c->read_some(1 << 16, 60))) {
        $frame->append($bytes);
        while (defined(my $payload = $frame->next_bytes)) {
            push @noted, $frame->is_close ? 'Close ' . unpack('n', $payload) : $frame->is_pong ? "Pong $payload" : $payload;
        }
        last if @noted && $noted[-1] =~ /^Close/;
    }
    $t->write_file("$name.new", join ', ', @noted);
    rename $t->testdir . "/$name.new", $t->testdir . "/$name";
    $c->disconnect;
}

sub noted {
    my ($name) = @_;
    wait_until(sub { -e $t->testdir . "/$name" }, 10) or return 'nothing';
    return $t->read_file($name);
}

# What the access log says of a request, within so many seconds.
sub ended {
    my ($uri, $seconds) = @_;
    my $end;
    wait_until(sub { ($end) = $t->read_file('ends.log') =~ m!^\Q$uri\E (.*)$!m }, $seconds);
    return $end;
}
