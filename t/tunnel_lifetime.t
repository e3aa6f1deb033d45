#!/usr/bin/perl

# The longest life of a tunnel (websocket_guard_lifetime), given as a time or by a variable.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;
use Time::HiRes qw/ time /;

my $t = Test::Nginx->new()->has(qw/ http proxy http_ssl socket_ssl /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(46);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    error_log  %%TESTDIR%%/error.log info;

    log_format  ends '$request_uri $websocket_guard_end $websocket_guard_close_code';
    access_log  %%TESTDIR%%/ends.log ends;

    server {
        listen       127.0.0.1:8080;
        listen       127.0.0.1:8443 ssl;
        server_name  localhost;

        ssl_certificate      localhost.crt;
        ssl_certificate_key  localhost.key;

        websocket_guard        on;
        websocket_guard_close  off;

        location /time/ {
            websocket_guard_tunnel    pump;
            websocket_guard_lifetime  2s;
            proxy_pass                http://127.0.0.1:8081;

            location /time/off/ {
                websocket_guard_lifetime  off;
                proxy_pass                http://127.0.0.1:8081;
            }
        }

        location /tls/ {
            websocket_guard_tunnel    pump;
            websocket_guard_lifetime  2s;
            proxy_pass                https://127.0.0.1:8082;
        }

        location /jitter/ {
            websocket_guard_tunnel    pump;
            websocket_guard_lifetime  1h jitter=1h;
            proxy_pass                http://127.0.0.1:8081;
        }

        location /short-jitter/ {
            websocket_guard_tunnel    pump;
            websocket_guard_lifetime  2s jitter=1s;
            proxy_pass                http://127.0.0.1:8081;
        }

        location /variable/ {
            websocket_guard_tunnel    pump;
            websocket_guard_lifetime  $http_x_expires;
            proxy_pass                http://127.0.0.1:8081;
        }
    }
}
EOC

# Large frames without end, with half a one at the end of each write.
sub stream_to {
    my ($stream, $frame) = @_;
    my $next = substr($frame, 100) . substr($frame, 0, 100);
    $stream->write(substr $frame, 0, 100);
    1 while !$stream->eof && $stream->write($next, 5);
}

my %handlers = (
    # Sends more than anybody takes.
    pour => sub { my ($c) = @_; $c->upgrade; my $frame = $c->frame(binary => 'x' x 60_000); 1 while $c->write($frame, 10) },

    stream => sub { my ($c) = @_; $c->upgrade; stream_to($c, $c->frame(binary => 'x' x 300_000)) },

    # Writes down the sizes of its messages and its Close.
    note => sub {
        my ($c) = @_;
        $c->upgrade;
        my $frame = Protocol::WebSocket::Frame->new(max_payload_size => 0);
        my %seen;
        while (!%seen || !$frame->is_close) {
            $frame->append($c->read_some(1 << 20, 20) || last);
            while (defined(my $payload = $frame->next_bytes)) {
                $seen{ $frame->is_close ? 'close ' . unpack('n', $payload) : length $payload }++;
            }
        }
        $t->write_file('noted', join ' ', sort keys %seen);
        $c->disconnect;
    },
);

make_certificate($t);
run_backend($t, 8081, handlers => \%handlers);
run_backend($t, 8082, handlers => \%handlers, ssl => 'localhost');
$t->run();

# What lives on is asked at the end.
my %lives = map { $_ => websocket(path => '/variable/', headers => ["X-Expires: $_"]) } '', '3600', time + 3600 | 0, '1e3', 'soon';
$lives{off}    = websocket(path => '/time/off/');
$lives{jitter} = websocket(path => '/jitter/');

# A tunnel that is used ends as well.
my ($begin, $ws) = (time, websocket(path => '/time/'));
my $echoes = 0;
while (defined($ws->echo('hello')) && time < $begin + 20) { $echoes++; select undef, undef, undef, 0.05 }
is($ws->close_code, 1008, 'a busy one gets a Close');
cmp_ok(time - $begin, '>=', 1.9, 'when its time is over');
cmp_ok($echoes, '>', 3, 'and not before');
$ws->send(pack('n', 1008), 'close');
ok($ws->closed_within(5), 'then the connection ends');
like(ended('/time/'), qr/ lifetime 1008$/, 'the access log');
ok(wait_log($t, qr/\[info\] .* tunnel closed after 2s: its lifetime was over \(.*\[tunnel-lifetime\]/), 'the line');

# Where large frames are on their way all the time, one of them is waited for.
$ws = websocket(path => '/time/stream');
my %sizes;
while (defined(my $message = $ws->recv(10))) { $sizes{ length $message }++ }
is($ws->close_code, 1008, 'a backend that sends large frames: the code');
is_deeply([keys %sizes], [300_000], 'behind whole ones');
$ws->disconnect;

$ws = websocket(path => '/time/note');
stream_to($ws, $ws->_frame(binary => 'x' x 300_000));
ok(wait_until(sub { -e $t->testdir . '/noted' && -s _ }), 'a client that sends large frames');
is($t->read_file('noted'), '300000 close 1008', 'the backend has whole ones and the code');

# A client that does not answer, and a frame that does not end.
$begin = time;
$ws = websocket(path => '/time/stall');
$ws->recv(10);
is($ws->close_code, 1008, 'a backend that does not read: the code');
ok($ws->closed_within(5), 'nobody answers');
cmp_ok(time - $begin, '<', 10, 'that takes no longer');

# What waits for somebody who takes nothing is given up, with TLS too, where nothing more can be said then.
$ws = websocket(path => '/time/pour', ssl => 1);
like(ended('/time/pour'), qr/ lifetime/, 'a TLS client that does not read');
$ws->disconnect;
$ws = websocket(path => '/tls/stall');
$ws->{greedy} = 1;
$begin = time;
1 while time < $begin + 10 && $ws->write($ws->_frame(binary => 'x' x 60_000), 0.5);
like(ended('/tls/stall'), qr/ lifetime/, 'a TLS backend that does not read');
$ws->disconnect;
is(websocket(path => '/time/off/')->echo('hello'), 'hello', 'others go on');
is(join('', $t->read_file('error.log') =~ /^.*\[crit\].*$/mg), '', 'OpenSSL does not complain');

$begin = time;
$ws = websocket(path => '/short-jitter/');
$ws->recv(10);
is($ws->close_code, 1008, 'jitter');
cmp_ok(time - $begin, '>=', 0.9, 'within the time');

for my $expires ('0', '-1', '1', time - 60 | 0, time + 1 | 0) {
    $ws = websocket(path => "/variable/?$expires", headers => ["X-Expires: $expires"]);
    is($ws->status, 101, "expires $expires");
    $ws->recv(10);
    is($ws->close_code, 1008, 'is closed');
    like(ended("/variable/?$expires"), qr/ lifetime 1008$/, 'and logged');
}

is($lives{$_}->echo('hello'), 'hello', "'$_' lives on") for grep { $_ ne 'jitter' } sort keys %lives;
$_->disconnect for values %lives;
is(scalar(() = $t->read_file('error.log') =~ /\[error\] .* websocket_guard: a tunnel has no limit, for "(?:soon|1e3)" in websocket_guard_lifetime is no number of seconds; let the variable be a number of seconds, a Unix time, or empty \[tunnel-lifetime-unknown\], client: /g),
    2, 'what is no number is told');

# A client that says what the variable is floods no log.
my $since = log_size($t);
websocket(path => '/variable/', headers => ["X-Expires: flood$_"])->disconnect for 1 .. 15;
cmp_ok(scalar(grep {/"flood\d+" in websocket_guard_lifetime/} guard_log($t, undef, since => $since)), '<=', 10, 'no flood of lines');

my $conf = $t->read_file('nginx.conf');
for my $case (
    ['0', qr/invalid value "0" in "websocket_guard_lifetime" directive, a tunnel needs a time to live/],
    ['never', qr/invalid value "never" in "websocket_guard_lifetime" directive, write a time/],
    ['1h 5s', qr/invalid value "5s" in "websocket_guard_lifetime" directive, only "jitter=TIME" may follow/],
    ['off jitter=5s', qr/invalid value "jitter=5s" in "websocket_guard_lifetime" directive/],
) {
    my ($value, $expected) = @$case;
    my ($code, $output) = nginx_test($t, $conf =~ s/(websocket_guard_lifetime)  2s;/$1 $value;/r);
    like($output, $expected, $value);
}

sub ended {
    my ($uri) = @_;
    my $line;
    wait_until(sub { ($line) = $t->read_file('ends.log') =~ m!^(\Q$uri\E .*)$!m });
    return $line // 'not ended';
}
