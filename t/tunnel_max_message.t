#!/usr/bin/perl

# websocket_guard_max_message: a message whose frames have more payload ends the tunnel, when the header of the frame
# comes with which they do. Nothing of that frame reaches the other side; what came before it does.

use strict;
use warnings;

use Compress::Raw::Zlib;
use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;
use Time::HiRes qw/ sleep /;

my $t = Test::Nginx->new()->has(qw/ http proxy http_ssl socket_ssl /);

# What a message of a browser becomes (RFC 7692 section 7.2.1): it has more bytes than the limit, and is sent in fewer.
my $deflated = deflate('hello ' x 500);
# And one that becomes larger.
my $noise = deflate(join '', map { chr int rand 256 } 1 .. 99);

# The frames, how many of them are passed on, and the size for which the next one is refused. A frame is its first
# byte and its payload, or the length that it only claims to have. The limit is 100 bytes.
my @cases = (
    ['as large as it may be', [[0x81, 'x' x 100]], 1],
    ['one byte more', [[0x82, 'x' x 101]], 0, 101],
    ['many, each as large as it may be', [map { [0x82, 'x' x 100] } 1 .. 5], 5],
    ['one more, behind others', [[0x81, 'x' x 100], [0x81, ''], [0x81, 'x' x 101]], 2, 101],
    ['fragments', [[0x01, 'x' x 50], [0x00, 'x' x 50], [0x80, '']], 3],
    ['fragments, one byte more', [[0x01, 'x' x 50], [0x00, 'x' x 50], [0x80, 'x']], 2, 101],
    ['control frames in between do not count',
        [[0x01, 'x' x 50], [0x89, 'p' x 125], [0x8a, 'p' x 125], [0x80, 'x' x 50]], 4],
    ['nor when there is one byte more', [[0x01, 'x' x 50], [0x89, 'p' x 125], [0x80, 'x' x 51]], 2, 101],
    ['the next message begins anew', [[0x01, 'x' x 60], [0x80, 'x' x 40], [0x02, 'x' x 60], [0x80, 'x' x 40]], 4],
    ['compressed, it counts as it is sent', [[0xc1, $deflated]], 1],
    ['compressed, and larger for that', [[0xc2, $noise]], 0, length $noise],
    ['compressed, in fragments', [[0x41, substr $noise, 0, 60], [0x80, substr $noise, 60]], 1, length $noise],
    ['65,535 bytes, of which none came', [[0x82, 0xffff]], 0, 65535],
    ['1 TiB', [[0x82, 1 << 40]], 0, 1 << 40],
    ['2^63 - 1', [[0x82, ~0 >> 1]], 0, ~0 >> 1],
    ['2^63, which no frame may have', [[0x82, 1 << 63]], 0, 1 << 63],
    ['2^64 - 1', [[0x82, ~0]], 0, ~0],
    ['fragments, and then 2^63 - 1', [[0x01, 'x' x 100], [0x89, ''], [0x00, ~0 >> 1]], 2, (~0 >> 1) + 100],
    ['fragments, and then 2^64 - 1', [[0x01, 'x' x 100], [0x00, ~0]], 1, ~0],
);
$t->write_file_expand('nginx.conf', <<'EOC')->plan(2 + 2 * 3 * @cases + 43);

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

        include  locations.conf;

        location /default/ {
            websocket_guard_tunnel       pump;
            websocket_guard_max_message  100;
            proxy_pass                   http://127.0.0.1:8081;

            location /default/inherited/ {
                proxy_pass  http://127.0.0.1:8081;
            }

            location /default/off/ {
                websocket_guard_max_message  off;
                proxy_pass                   http://127.0.0.1:8081;
            }
        }

        location /backend/ {
            websocket_guard_tunnel       pump;
            websocket_guard_max_message  100 backend;
            proxy_pass                   http://127.0.0.1:8081;
        }

        location /large/ {
            websocket_guard_tunnel       pump;
            websocket_guard_max_message  1m both;
            proxy_pass                   http://127.0.0.1:8081;
        }

        location /tls/ {
            websocket_guard_tunnel       pump;
            websocket_guard_max_message  100 both;
            proxy_pass                   https://127.0.0.1:8082;
        }
    }
}
EOC

cmp_ok(length $deflated, '<', 100, 'compressed');
cmp_ok(length $noise, '>', 100, 'not compressible');

# No location writes the same finding often.
$t->write_file_expand('locations.conf', join '', map {<<EOL} 0 .. 2 * 3 * @cases / 5);
location /$_/ {
    websocket_guard_tunnel       pump;
    websocket_guard_max_message  100 both;
    proxy_pass                   http://127.0.0.1:8081;
}
EOL

make_certificate($t, 'localhost');
my %handlers = (
    # Sends what is in the file NAME.send, at once or byte by byte, and writes down what it got: /raw?NAME.
    raw => sub {
        my ($c, $request) = @_;
        my $name = $request->args;
        my ($bytes, $trickles) = ($t->read_file("$name.send"), $name =~ /trickle/);
        $c->upgrade(headers => ['Sec-WebSocket-Extensions: permessage-deflate'], $name =~ /leftover/ ? (bytes => $bytes) : ());
        send_to($c, $bytes, $trickles) if $name !~ /leftover/;
        my $got = read_to_close($c, 'backend', $bytes ne '');
        $t->write_file("$name.new", $got);
        rename $t->testdir . "/$name.new", $t->testdir . "/$name.got";
        $c->disconnect;
    },

    # Messages without end, in frames larger than any buffer, with half a frame at the end of each write.
    pour => sub {
        my ($c) = @_;
        $c->upgrade;
        my $frame = $c->frame(binary => 'x' x 300_000);
        my $next = substr($frame, 100) . substr($frame, 0, 100);
        $c->write(substr $frame, 0, 100);
        1 while $c->write($next, 5);
    },
);
run_backend($t, 8081, handlers => \%handlers);
run_backend($t, 8082, handlers => \%handlers, ssl => 'localhost');
$t->run();

# ---- all cases, from both sides ----------------------------------------------------------------------

my $count = 0;
for my $case (@cases) {
    my ($text, $frames, $passes, $size) = @$case;
    for my $sender (qw/ client backend /) {
        my @frames = map { frame($sender, @$_) } @$frames;
        my $passed = join '', @frames[0 .. $passes - 1];
        for my $way ('', 'trickle', 'ssl') {
            my $name = join '-', 'case', ++$count, $way || 'whole';
            my @found = pass_on('/' . int($count / 5), $sender, $name, join('', @frames), length $passed, defined $size);
            my $who = $sender eq 'client' ? 'the client' : 'backend 127.0.0.1:' . port(8081);
            my @expected = defined $size
                ? (1001, 1009, 'message-too-large 1009', "[error] a message of $who has $size bytes or more, and the limit is 100")
                : (undef, undef, 'client-gone ');
            is_deeply(\@found, [unpack('H*', $passed), @expected], "$text, $name of the $sender");
        }
    }
}

# ---- sides, and what is inherited --------------------------------------------------------------------

for my $case (
    ['/default', 'client', 1], ['/default', 'backend', 0], ['/default/inherited', 'client', 1], ['/default/off', 'client', 0],
    ['/backend', 'client', 0], ['/backend', 'backend', 1], ['/tls', 'client', 1], ['/tls', 'backend', 1],
) {
    my ($path, $sender, $is_refused) = @$case;
    my $frame = frame($sender, 0x82, 'x' x 101);
    my (undef, undef, undef, $end) = pass_on($path, $sender, 'side-' . ++$count, $frame, $is_refused ? 0 : length $frame, $is_refused);
    is($end, $is_refused ? 'message-too-large 1009' : 'client-gone ', "$path, the $sender");
}

# What comes together with the handshake, or the answer.
for my $sender (qw/ client backend /) {
    my ($well, $bad) = (frame($sender, 0x81, 'x' x 100), frame($sender, 0x81, 'x' x 101));
    my @found = pass_on($sender eq 'client' ? '/default' : '/backend', $sender, 'leftover-' . ++$count, "$well$bad", length $well, 1);
    is_deeply([@found[0 .. 3]], [unpack('H*', $well), 1001, 1009, 'message-too-large 1009'], "at the very beginning, the $sender");
}

# ---- large messages, which come in many reads ----------------------------------------------------------

for my $case ([1 << 20, 'within'], [(1 << 20) + 1, 'above']) {
    my ($size, $text) = @$case;
    for my $fragments (1, 16) {
        my $ws = websocket(path => '/large/');
        my $echo = '';
        if ($fragments == 1) {
            $ws->send('x' x $size, 'binary');
        } else {
            my $part = 1 << 16;
            $ws->write(frame('client', $_ ? 0x00 : 0x02, 'x' x $part)) for 0 .. 14;
            $ws->write(frame('client', 0x80, 'x' x ($size - 15 * $part)));
        }
        $echo = $ws->recv(20) // '';
        is(length $echo, $text eq 'within' ? $size : 0, "$size bytes in $fragments: what comes back");
        is($ws->close_code, $text eq 'within' ? undef : 1009, 'the code');
        $ws->disconnect;
    }
}

# A client that goes on sending what was refused, and then closes, is gone soon.
my $ws = websocket(path => '/large/');
$ws->write(substr frame('client', 0x82, 'x' x 3_000_000), 0, 1_000_000);
$ws->recv(10);
is($ws->close_code, 1009, 'half a message');
$ws->write('x' x 2_000_014);
$ws->send(pack('n', 1009), 'close');
ok($ws->closed_within(10), 'the other half, and a Close');
is($ws->error, '', 'in order');

# ---- a backend that keeps sending ------------------------------------------------------------------------

my $connections = open_connections();
for my $ssl (0, 1) {
    for my $reads (1, 0) {
        my $ws = websocket(path => '/large/pour', ssl => $ssl);
        delete $ws->{greedy};
        $ws->recv(10) if $reads;
        $ws->write(substr frame('client', 0x82, 'x' x 3_000_000), 0, 1000);
        my $text = ($reads ? 'reads' : 'does not read') . ($ssl ? ', TLS' : '');
        if ($reads) {
            1 while defined $ws->recv(10);
            is($ws->close_code, 1009, "a client that $text, while the backend keeps sending: the code");
        } else {
            ok(wait_until(sub { () = $t->read_file('ends.log') =~ m!^/large/pour message-too-large!mg; }, 20), "a client that $text: the end");
        }
        ok($ws->closed_within(10), 'the connection ends');
    }
}
ok(wait_until(sub { open_connections() <= $connections }, 10), 'nothing is left open');

# ---- the remedy ------------------------------------------------------------------------------------------

my ($line) = grep {/has 101 bytes/} guard_log($t, 'error');
like($line, qr/\(websocket_guard_max_message; client silent for .*\); have it send smaller messages, or raise websocket_guard_max_message \[tunnel-message-too-large\]/,
    'the line has a remedy');
my $conf = $t->read_file('nginx.conf');
$t->write_file('nginx.conf', $conf =~ s/(location \/default\/ \{.*?max_message)  100;/$1  101;/sr);
ok(reload($t), 'reload with a larger limit');
is(length(websocket(path => '/default/')->echo('x' x 101)), 101, 'it works');

# ---- words -------------------------------------------------------------------------------------------------

my $value = sub { my ($value, $reason) = @_; [$value, qr/invalid value "\Q$value\E" in "websocket_guard_max_message" directive, $reason/] };
for my $case (
    $value->('0', 'no message is that small'),
    $value->('large', 'write a size such as "64k" or "1m"'),
    $value->('-1', 'write a size'),
    $value->('9223372036854775808', 'write a size'),
    ['1m all', qr/invalid value "all" in "websocket_guard_max_message" directive, it must be "client", "backend" or "both"/],
    ['off client', qr/invalid value "client" in "websocket_guard_max_message" directive, nothing may follow "off"/],
    ['1m client backend', qr/invalid number of arguments in "websocket_guard_max_message" directive/],
    ['1m; websocket_guard_max_message 1m', qr/"websocket_guard_max_message" directive is duplicate/],
    ['1m; websocket_guard_tunnel native', qr/\[emerg\] "websocket_guard_max_message" needs the guard's own loop, which "websocket_guard_tunnel native"/],
) {
    my ($value, $expected) = @$case;
    my ($code, $output) = nginx_test($t, $conf =~ s/websocket_guard_tunnel       pump;\s+(websocket_guard_max_message)  100;/$1 $value;/r);
    like($output, $expected, "'$value'");
}
my ($code) = nginx_test($t, $conf =~ s/websocket_guard_tunnel       pump;\s+websocket_guard_max_message  100;/websocket_guard_max_message OFF; websocket_guard_tunnel native;/r);
is($code, 0, '"off" asks for nothing');

# ------------------------------------------------------------------------------------------------------------

sub deflate {
    my ($text) = @_;
    my ($deflate) = Compress::Raw::Zlib::Deflate->new(-WindowBits => -15, -AppendOutput => 1);
    my $bytes = '';
    $deflate->deflate($text, $bytes);
    $deflate->flush($bytes, Z_SYNC_FLUSH);
    return substr $bytes, 0, -4;
}

# A frame in its shortest form, or the header of one that is not there.
sub frame {
    my ($sender, $first, $payload) = @_;
    my $is_there = $payload =~ /\D/ || $payload eq '';
    my $length = $is_there ? length $payload : $payload;
    my ($bit, $mask) = $sender eq 'client' ? (0x80, "\x80\x01\x02\x03") : (0, '');
    my $header = $length < 126 ? pack('CC', $first, $bit | $length)
        : $length < 65536 ? pack('CCn', $first, $bit | 126, $length)
        :                   pack('CCQ>', $first, $bit | 127, $length);
    $payload ^= substr $mask x (1 + $length / 4), 0, $length if $is_there && $mask ne '';
    return $header . $mask . ($is_there ? $payload : '');
}

sub send_to {
    my ($stream, $bytes, $trickles) = @_;
    return $stream->write($bytes) unless $trickles;
    for my $byte (split //, $bytes) {
        $stream->write($byte) or last;
        sleep 0.001;
    }
}

# What the other side received, in hexadecimal and at least so many bytes, and the code of the Close behind it; the code
# that the sender got, how the tunnel ended, and the line about that.
sub pass_on {
    my ($path, $sender, $name, $bytes, $passes, $is_refused) = @_;
    my $since = log_size($t);
    my $leftover = $name =~ /leftover/;
    $t->write_file("$name.send", $sender eq 'backend' ? $bytes : '');
    my $ws = websocket(path => "$path/raw?$name", ssl => scalar($name =~ /ssl/),
        headers => ['Sec-WebSocket-Extensions: permessage-deflate'], $sender eq 'client' && $leftover ? (pipeline => $bytes) : ());
    send_to($ws, $bytes, $name =~ /trickle/) if $sender eq 'client' && !$leftover;
    my $got = $is_refused ? read_to_close($ws, 'client', $sender eq 'client') : $sender eq 'backend' ? $ws->read($passes, 20) // '' : '';
    $ws->disconnect;
    my $end = ended("$path/raw?$name");
    wait_until(sub { -e $t->testdir . "/$name.got" });
    my $other = $t->read_file("$name.got");
    my ($received, $answer) = $sender eq 'client' ? ($other, $got) : ($got, $other);
    my @log = map { /(\[\w+\]) .* tunnel closed after \w+: (.*?) \(websocket_guard_max_message; / ? "$1 $2" : () }
        guard_log($t, undef, since => $since, raw => 1);
    my $code = close_code(substr $received, $passes);
    $received = substr $received, 0, $passes if defined $code;
    return (unpack('H*', $received), $code, close_code($answer), $end, @log);
}

# All that comes. A Close is answered, or the connection closed.
sub read_to_close {
    my ($stream, $side, $leaves) = @_;
    my ($got, $answered) = ('', 0);
    while (length(my $some = $stream->read_some(1 << 20, 20))) {
        $got .= $some;
        next if $answered || $got !~ /\x88(?:\x82.{6}|\x02..)\z/s;
        last if $leaves;
        $stream->write(frame($side, 0x88, "\x03\xf1"));
        $answered = 1;
    }
    return $got;
}

sub ended {
    my ($uri) = @_;
    my $end;
    wait_until(sub { ($end) = $t->read_file('ends.log') =~ m!^\Q$uri\E (.*)$!m });
    return $end // 'not ended';
}

# The code of the Close that all of the bytes are.
sub close_code {
    my ($bytes) = @_;
    return $bytes =~ /^\x88\x82(..)..(..)\z/s ? unpack('n', $1 ^ $2) : $bytes =~ /^\x88\x02(..)\z/s ? unpack('n', $1) : undef;
}

# Connections of nginx's with clients and backends.
sub open_connections {
    my %ports = map { sprintf('%04X', port($_)) => 1 } 8080, 8081, 8082, 8443;
    my $count = 0;
    open my $file, '<', '/proc/net/tcp' or die "/proc/net/tcp: $!\n";
    while (<$file>) {
        my ($local, $remote, $state) = /^\s*\d+: \w+:(\w+) \w+:(\w+) (\w+)/ or next;
        $count++ if $state eq '01' && ($ports{$local} || $ports{$remote});
    }
    return $count;
}
