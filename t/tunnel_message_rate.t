#!/usr/bin/perl

# websocket_guard_message_rate: a client that sends faster is read no further until there is room (delay), and nothing
# is lost; or its tunnel ends with 1008 (close). What else happens in a tunnel goes on meanwhile.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;
use Time::HiRes qw/ sleep time /;

my $t = Test::Nginx->new()->has(qw/ http proxy http_ssl socket_ssl /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(111);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    error_log  %%TESTDIR%%/error.log info;

    log_format  ends '$request_uri $websocket_guard_end $websocket_guard_close_code $websocket_guard_client_messages';
    access_log  %%TESTDIR%%/ends.log ends;

    server {
        listen       127.0.0.1:8080;
        listen       127.0.0.1:8443 ssl;
        server_name  localhost;

        ssl_certificate      localhost.crt;
        ssl_certificate_key  localhost.key;

        websocket_guard        on;
        websocket_guard_close  off;

        location /delay/ {
            websocket_guard_tunnel        pump;
            websocket_guard_message_rate  10r/s;
            proxy_pass                    http://127.0.0.1:8081;

            location /delay/inherited/ {
                proxy_pass  http://127.0.0.1:8081;
            }

            location /delay/off/ {
                websocket_guard_message_rate  off;
                proxy_pass                    http://127.0.0.1:8081;
            }
        }

        location /fast/ {
            websocket_guard_tunnel        pump;
            websocket_guard_message_rate  1000r/s burst=10 delay;
            proxy_pass                    http://127.0.0.1:8081;
        }

        location /tls/ {
            websocket_guard_tunnel        pump;
            websocket_guard_message_rate  10r/s burst=5;
            proxy_pass                    https://127.0.0.1:8082;
        }

        location /burst/ {
            websocket_guard_tunnel        pump;
            websocket_guard_message_rate  10r/s burst=20;
            proxy_pass                    http://127.0.0.1:8081;
        }

        location /close/ {
            websocket_guard_tunnel        pump;
            websocket_guard_message_rate  60r/m burst=5 close;
            proxy_pass                    http://127.0.0.1:8081;
        }

        # A message in three seconds.
        location /slow/ {
            websocket_guard_tunnel        pump;
            websocket_guard_message_rate  20r/m;
            proxy_pass                    http://127.0.0.1:8081;

            location /slow/idle/ {
                websocket_guard_timeout  2s;
                proxy_pass               http://127.0.0.1:8081;
            }

            location /slow/ping/ {
                websocket_guard_ping  1s both timeout=1s;
                proxy_pass            http://127.0.0.1:8081;
            }

            location /slow/lifetime/ {
                websocket_guard_lifetime  2s;
                proxy_pass                http://127.0.0.1:8081;
            }

            location /slow/drain/ {
                websocket_guard_drain  1s wait=10s;
                proxy_pass             http://127.0.0.1:8081;
            }

            location /slow/size/ {
                websocket_guard_max_message  100;
                proxy_pass                   http://127.0.0.1:8081;
            }
        }
    }
}
EOC

make_certificate($t, 'localhost');
my %handlers = (
    # Writes down each message as it comes, with the time, and a Close, which it answers: /note?NAME.
    note => sub {
        my ($c, $request) = @_;
        $c->upgrade;
        open my $file, '>', $t->testdir . '/' . $request->args or die;
        $file->autoflush;
        my $frame = Protocol::WebSocket::Frame->new(max_fragments_amount => 1_000_000, max_payload_size => 0);
        while (length(my $bytes = $c->read_some(1 << 20, 60))) {
            $frame->append($bytes);
            while (defined(my $payload = $frame->next_bytes)) {
                if ($frame->is_close) {
                    printf {$file} "close %d %.3f\n", unpack('n', $payload), time;
                    $c->send($payload, 'close');
                } elsif ($frame->is_ping) {
                    printf {$file} "ping %.3f\n", time if $payload =~ /^own/;
                    $c->send($payload, 'pong');
                } elsif (!$frame->is_pong) {
                    printf {$file} "%s %.3f\n", length $payload > 100 ? length $payload : $payload, time;
                }
            }
            last if $frame->is_close;
        }
        print {$file} "end\n";
        CORE::close($file);
        $c->disconnect;
    },
    # The same, and messages without end meanwhile.
    pour => sub { my ($c) = @_; $c->upgrade; 1 while $c->write($c->frame(binary => 'x' x 20_000), 5) },
);
run_backend($t, 8081, handlers => \%handlers);
run_backend($t, 8082, handlers => \%handlers, ssl => 'localhost');
$t->run();

# ---- delay ---------------------------------------------------------------------------------------------

# Many at once: all of them come, in order, at the rate. 10r/s shows that on a busy machine, 1000r/s that the steps of
# the clock take nothing away.
my @many = map { my ($path, $count, $burst, $rate, %options) = @$_;
    { path => $path, count => $count, burst => $burst, rate => $rate, options => \%options, name => 'many-' . ++our $number } } (
    # path, messages, at once, per second
    ['/delay/', 31, 1, 10], ['/delay/', 31, 1, 10, ssl => 1], ['/delay/inherited/', 21, 1, 10], ['/tls/', 25, 5, 10], ['/burst/', 40, 20, 10],
    ['/fast/', 3010, 10, 1000], ['/fast/', 3010, 10, 1000, ssl => 1],
);
for my $case (@many) {
    my $ws = $case->{ws} = websocket(path => "$case->{path}note?$case->{name}", %{ $case->{options} });
    $ws->write(join '', map { $ws->_frame(text => "m$_") } 1 .. $case->{count});
    $ws->send(pack('n', 1000), 'close');
}
for my $case (@many) {
    my ($path, $count, $burst, $rate, $name, $ws) = @$case{qw/ path count burst rate name ws /};
    my $text = "$count messages through $path" . (%{ $case->{options} } ? ', TLS' : '');
    my @noted = noted($name, 60);
    is_deeply([map { $_->[0] } @noted], [(map {"m$_"} 1 .. $count), 'close'], "$text: all, in order");
    my @at = map { $_->[-1] } @noted;
    my $expected = ($count - $burst) / $rate;
    cmp_ok($at[$count - 1] - $at[0], '>', $expected - 0.25, 'not too fast');
    cmp_ok($at[$count - 1] - $at[0], '<', $expected + 10, 'nor much too slow');
    # A busy machine may bring late what left in time.
    my $most = 0;
    for my $first ($burst .. $count - 1) {
        my $in_second = grep { $_ >= $at[$first] && $_ < $at[$first] + 1 } @at[$first .. $count - 1];
        $most = $in_second if $in_second > $most;
    }
    cmp_ok($most, '<=', 2 * $rate + $burst, 'no second has much more than its share');
    ok($ws->closed_within(10), 'the connection ends');
    like(ended("${path}note?$name"), qr/^client-close 1000 $count$/, 'and is counted');
}

# What is in between is no message, and goes in its order.
my $ws = websocket(path => '/slow/note?between');
$ws->write(frame(0x01, 'a') . frame(0x89, 'own-1') . frame(0x00, 'b') . frame(0x80, 'c') . frame(0x89, 'own-2') . frame(0x81, 'later') . frame(0x89, 'own-3'));
ok(wait_until(sub { lines('between') == 3 }, 5), 'fragments, and Pings, do not wait');
sleep 1;
is_deeply([map { $_->[0] } noted_now('between')], [qw/ ping abc ping /], 'but the next message, and what is behind it');
ok(wait_until(sub { lines('between') == 5 }, 15), 'until there is room');
is_deeply([map { $_->[0] } noted_now('between')], [qw/ ping abc ping later ping /], 'in order');
$ws->disconnect;

# Byte by byte, in large frames, and more than a buffer holds.
$ws = websocket(path => '/delay/note?bytes');
for my $byte (split //, join '', map { frame(0x81, "m$_") } 1 .. 10) { $ws->write($byte); sleep 0.002 }
ok(wait_until(sub { lines('bytes') == 10 }, 20), 'byte by byte');
is_deeply([map { $_->[0] } noted_now('bytes')], [map {"m$_"} 1 .. 10], 'they are the same');
$ws->disconnect;
$ws = websocket(path => '/delay/note?large');
$ws->write(join('', map { frame(0x82, chr(64 + $_) x 150_000) } 1 .. 8), 30);
ok(wait_until(sub { lines('large') == 8 }, 30), 'large ones');
is_deeply([map { $_->[0] } noted_now('large')], [(150_000) x 8], 'are whole');
$ws->disconnect;

# With the handshake.
$ws = websocket(path => '/delay/note?early', pipeline => join('', map { frame(0x81, "m$_") } 1 .. 8));
ok(wait_until(sub { lines('early') == 8 }, 20), 'what comes with the handshake');
my @early = noted_now('early');
cmp_ok($early[-1][1] - $early[0][1], '>', 0.5, 'waits, too');
$ws->disconnect;

# Who was silent may send a burst again, and no more.
$ws = websocket(path => '/burst/note?rest');
$ws->send("a$_") for 1 .. 25;
ok(wait_until(sub { lines('rest') == 25 }, 20), 'a burst');
sleep 2.5;
$ws->send("b$_") for 1 .. 40;
ok(wait_until(sub { lines('rest') == 65 }, 20), 'another, after a while');
my @rest = noted_now('rest');
cmp_ok($rest[-1][1] - $rest[25][1], '>', 1.2, 'is not larger');
$ws->disconnect;

# Without a limit, and the other direction.
$ws = websocket(path => '/delay/off/');
my $begin = time;
$ws->echo('x') // last for 1 .. 50;
cmp_ok(time - $begin, '<', 4, 'off is off');
$ws->disconnect;
$ws = websocket(path => '/slow/push?50,0');
my $got = 0;
$got++ while $got < 50 && defined $ws->recv(5);
is($got, 50, 'messages of the backend are not limited');
$ws->disconnect;

# ---- what goes on while messages wait ----------------------------------------------------------------------

# Messages of the backend.
$ws = held('/slow/push?0,0', 3);
$ws->disconnect;
$ws = held('/slow/pour', 3);
ok(defined $ws->recv(5), 'the backend is heard');
$ws->disconnect;

# The idle limit: three seconds without a byte are not the tunnel's silence.
$ws = held('/slow/idle/note?idle', 3);
ok(wait_until(sub { lines('idle') == 3 }, 30), 'it is not idle while it waits');
ok($ws->closed_within(10), 'but then');
like(ended('/slow/idle/note?idle'), qr/^idle /, 'it is');

# Pings of the guard's, both ways. The client does not answer, since nobody would read it.
$ws = held('/slow/ping/note?ping', 3);
my $pings = 0;
$begin = time;
while (time < $begin + 8 && lines('ping') < 3) {
    $ws->recv_frame(0.5) // next;
    $pings++ if $ws->opcode == 9;
}
ok(wait_until(sub { lines('ping') == 3 }, 10), 'a client that is not read is not dead');
cmp_ok($pings, '<=', 2, 'nor asked');
$ws->disconnect;

# The lifetime, and the other limit.
$ws = held('/slow/lifetime/note?lifetime', 3);
$ws->recv(10);
is($ws->close_code, 1008, 'the lifetime of a tunnel ends while it waits');
$ws->send(pack('n', 1008), 'close');
ok($ws->closed_within(5), 'and the connection');
like(ended('/slow/lifetime/note?lifetime'), qr/^lifetime 1008/, 'in the access log');
is_deeply([map { "@$_[0, 1]" =~ s/ \d+\.\d+//r } noted('lifetime', 10)], ['m1', 'close 1008'], 'the backend is told behind what has passed');

$ws = websocket(path => '/slow/size/note?size');
$ws->write(frame(0x81, 'x' x 100) . frame(0x01, 'y') . frame(0x80, 'y' x 100));
ok(wait_until(sub { lines('size') == 1 }, 5), 'one passes');
$ws->recv(15);
is($ws->close_code, 1009, 'a message that waited is too large');
$ws->disconnect;
like(ended('/slow/size/note?size'), qr/^message-too-large 1009/, 'in the access log');

# A backend that ends, and clients that do, in order or not.
$ws = held('/slow/drop?2', 3);
ok($ws->closed_within(10), 'a backend that ends');
like(ended('/slow/drop?2'), qr/^backend-(?:gone|reset) /, 'ends the tunnel');
$ws = held('/slow/note?gone', 3);
$ws->disconnect;
is_deeply([map { $_->[0] } noted('gone', 40)], ['m1', 'm2', 'm3'], 'what a client sent before it ended comes through');
like(ended('/slow/note?gone'), qr/^client-gone /, 'and then it ends');
$ws = held('/slow/pour', 3);
$ws->reset;
ok(wait_until(sub { ended('/slow/pour', 0) =~ /^client/ }, 20), 'a reset ends it');
$ws = held('/slow/note?reset', 3);
$ws->reset;
ok(wait_until(sub { ended('/slow/note?reset', 0) =~ /^client-reset/ }, 2), 'also where the backend is silent');

# ---- reload ------------------------------------------------------------------------------------------------

my %old = (stays => held('/slow/note?stays', 3), drained => held('/slow/drain/note?drained', 5));
my ($worker) = worker_pids($t);
ok(reload($t), 'reload');
$old{drained}->recv(10);
is($old{drained}->close_code, 1012, 'a drain');
$old{drained}->send('last');
$old{drained}->send(pack('n', 1012), 'close');
is_deeply([map { $_->[0] } noted('drained', 8)], ['m1', 'm2', 'm3', 'm4', 'm5', 'last', 'close'], 'loses nothing and waits for nothing');
ok($old{drained}->closed_within(5), 'and ends');
ok(wait_until(sub { lines('stays') == 3 }, 25), 'another one goes on in the old worker, and loses nothing');
ok(kill(0, $worker), 'which is there');
$old{stays}->disconnect;
ok(wait_until(sub { !kill 0, $worker }, 20), 'and leaves then');

# ---- close -------------------------------------------------------------------------------------------------

$ws = websocket(path => '/close/note?close');
$ws->send("m$_") for 1 .. 5;
ok(wait_until(sub { lines('close') == 5 }, 5), 'close: a burst');
ok($ws->open_for(0.5), 'goes through');
$ws->write(frame(0x89, 'own') . frame(0x81, 'm6'));
ok(wait_until(sub { lines('close') > 5 }, 5), 'one more does not, but what is before it');
$ws->recv(10);
is($ws->close_code, 1008, 'the code');
$ws->send(pack('n', 1008), 'close');
ok($ws->closed_within(5), 'the connection ends');
is_deeply([map { $_->[0] eq 'close' ? "@$_[0, 1]" : $_->[0] } noted('close', 10)], [(map {"m$_"} 1 .. 5), 'ping', 'close 1001'], 'what the backend has');
like(ended('/close/note?close'), qr/^message-rate 1008 [56]$/, 'in the access log');
my ($line) = grep {/tunnel-message-rate/} guard_log($t, 'error');
like($line, qr/tunnel closed after \S+: the client sent more than 5 messages, which is faster than 60r\/m burst=5 \(websocket_guard_message_rate; client silent for .*\); have the client send less often, raise the rate or the burst of websocket_guard_message_rate, or have it "delay" \[tunnel-message-rate\]/, 'the line');

# The remedies.
my $conf = $t->read_file('nginx.conf');
for my $remedy ('60r/m burst=6 close', '100r/s burst=5 close', '60r/m burst=5 delay') {
    $t->write_file('nginx.conf', $conf =~ s/60r\/m burst=5 close/$remedy/r);
    reload($t);
    my $name = $remedy =~ tr/a-z0-9/-/cr;
    my $ws = websocket(path => "/close/note?$name");
    for (1 .. 6) { $ws->send("m$_"); sleep 0.05 }
    ok(wait_until(sub { lines($name) == 6 }, 10), "\"$remedy\" lets it through");
    $ws->disconnect;
}

# ---- words -------------------------------------------------------------------------------------------------

my $value = sub { my ($value, $reason) = @_; [$value, qr/invalid value "\Q$value\E" in "websocket_guard_message_rate" directive, $reason/] };
for my $case (
    (map { $value->($_, 'write a rate such as "10r/s" or "30r/m"') } '10', '0r/s', '-1r/s', '10r/h', '4294967296r/s', '1.5r/s', 'fast'),
    (map { ["10r/s $_", qr/invalid value "\Q$_\E" in "websocket_guard_message_rate" directive, a burst is a number of messages, from 1 on/] } 'burst=0', 'burst=', 'burst=-1', 'burst=1m'),
    ['10r/s nodelay', qr/invalid value "nodelay" in "websocket_guard_message_rate" directive, it must be "delay" or "close"/],
    ['off close', qr/invalid value "close" in "websocket_guard_message_rate" directive, nothing may follow "off"/],
    ['10r/s delay close', qr/"websocket_guard_message_rate" directive is duplicate/],
    ['10r/s burst=1 burst=2', qr/"websocket_guard_message_rate" directive is duplicate/],
    ['10r/s; websocket_guard_message_rate 10r/s', qr/"websocket_guard_message_rate" directive is duplicate/],
    ['10r/s; websocket_guard_tunnel native', qr/\[emerg\] "websocket_guard_message_rate" needs the guard's own loop, which "websocket_guard_tunnel native"/],
) {
    my ($value, $expected) = @$case;
    my ($code, $output) = nginx_test($t, $conf =~ s/websocket_guard_tunnel        pump;\s+(websocket_guard_message_rate)  10r\/s;/$1 $value;/r);
    like($output, $expected, "'$value'");
}

# ------------------------------------------------------------------------------------------------------------

# A tunnel in which one message passed and others wait.
sub held {
    my ($path, $count) = @_;
    my $ws = websocket(path => $path);
    $ws->write(join '', map { $ws->_frame(text => "m$_") } 1 .. $count);
    my ($name) = $path =~ /note\?(.*)/;
    wait_until(sub { lines($name) == 1 }, 5) if defined $name;
    return $ws;
}

sub frame {
    my ($first, $payload) = @_;
    my $length = length $payload;
    my $mask = "\x80\x01\x02\x03";
    my $header = $length < 126 ? pack('CC', $first, 0x80 | $length)
        : $length < 65536 ? pack('CCn', $first, 0xfe, $length)
        :                   pack('CCQ>', $first, 0xff, $length);
    return $header . $mask . ($payload ^ substr $mask x (1 + $length / 4), 0, $length);
}

# What a backend has written down up to now.
sub noted_now {
    my ($name) = @_;
    return -e $t->testdir . "/$name" ? map { [split ' '] } grep {/^\S.*\n/} split /^/, $t->read_file($name) : ();
}

sub lines { my ($name) = @_; return scalar(() = noted_now($name)) }

# The same, once its connection has ended.
sub noted {
    my ($name, $seconds) = @_;
    wait_until(sub { my @noted = noted_now($name); @noted && $noted[-1][0] eq 'end' }, $seconds);
    return grep { $_->[0] ne 'end' } noted_now($name);
}

sub ended {
    my ($uri, $seconds) = @_;
    my $end;
    my $look = sub { ($end) = $t->read_file('ends.log') =~ m!^\Q$uri\E (.*)$!m };
    defined $seconds ? $look->() : wait_until($look);
    return $end // 'not ended';
}
