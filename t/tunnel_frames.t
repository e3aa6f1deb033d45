#!/usr/bin/perl

# Frames that break RFC 6455: websocket_guard_frames check reports the first of a tunnel and lets everything pass,
# strict ends the tunnel with 1002 and lets nothing of that frame pass.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy /);

my $MASK = "\x80\x01\x02\x03";

# What breaks which rule, from the client and from the backend; the second byte has the bit for masked frames
# where they are.
my @rules = (
    ['5.1: a frame of a client is not masked', 'client', "\x81\x02hi"],
    ['5.1: a frame of a server is masked', 'backend', "\x81\x82${MASK}hi"],
    map({ my ($side, $bit, $mask) = @$_;
        my $frame = sub { my ($first, $length, $rest) = @_; $first . ($bit | $length) . $mask . $rest };
        (
            ['5.2: the opcode 0x3 is unknown', $side, $frame->("\x83", "\x01", 'x')],
            ['5.2: the opcode 0xb is unknown', $side, $frame->("\x8b", "\x00", '')],
            (map { ['5.2: a reserved bit is set that no negotiated extension has a meaning for', $side, $frame->($_, "\x01", 'x')] }
                "\xc1", "\xa1", "\x91", "\xc9"),
            ['5.2: a length is not in its shortest form', $side, "\x82" . ($bit | "\x7e") . "\x00\x7d$mask"],
            ['5.2: a length is not in its shortest form', $side, "\x82" . ($bit | "\x7f") . pack('Q>', 65535) . $mask],
            ['5.2: the highest bit of a length is set', $side, "\x82" . ($bit | "\x7f") . pack('Q>', 1 << 63) . $mask],
            ['5.4: a continuation frame has nothing to continue', $side, $frame->("\x80", "\x01", 'x')],
            ['5.4: a message begins inside a fragmented one', $side, $frame->("\x01", "\x00", '') . $frame->("\x81", "\x00", '')],
            ['5.5: a control frame is fragmented', $side, $frame->("\x09", "\x00", '')],
            ['5.5: the payload of a control frame is longer than 125 bytes', $side, "\x89" . ($bit | "\x7e") . "\x00\x7e$mask" . 'x' x 126],
            ['5.5.1: the payload of a Close frame is one byte', $side, $frame->("\x88", "\x01", 'x')],
            (map { ["7.4: the code $_ must not be in a Close frame", $side,
                $frame->("\x88", "\x02", pack('n', $_) ^ substr "$mask\0\0", 0, 2)] } 0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535),
        )
    } ['client', "\x80", $MASK], ['backend', "\x00", '']),
);

my @near = (
    map({ my ($side, $bit, $mask) = @$_;
        (
            ['a text of 125 bytes', $side, "\x81" . ($bit | "\x7d") . $mask . 'x' x 125],
            ['a message of 65,536 bytes', $side, "\x82" . ($bit | "\x7f") . pack('Q>', 65536) . $mask . 'x' x 65536],
            ['fragments with a Ping between them', $side, join '', map { $_ . ($bit | "\x00") . $mask } "\x01", "\x89", "\x00", "\x80"],
            (map { ["a Close with the code $_", $side,
                "\x88" . ($bit | "\x02") . $mask . (pack('n', $_) ^ substr "$mask\0\0", 0, 2)] } 1000, 1003, 1007, 1014, 3000, 4999),
        )
    } ['client', "\x80", $MASK], ['backend', "\x00", '']),
);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(2 * @rules + 2 * @near + 13);

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
        listen           127.0.0.1:8080;
        server_name      localhost;
        websocket_guard  on;

        websocket_guard_close  off;

        include  locations.conf;

        location /check/ {
            websocket_guard_tunnel  pump;
            proxy_pass              http://127.0.0.1:8081;
        }

        location /strict/ {
            websocket_guard_tunnel  pump;
            websocket_guard_frames  strict;
            proxy_pass              http://127.0.0.1:8081;

            location /strict/inherited/ {
                proxy_pass  http://127.0.0.1:8081;
            }

            location /strict/not/ {
                websocket_guard_frames  check;
                proxy_pass              http://127.0.0.1:8081;
            }
        }
    }
}
EOC

# No location writes the same finding often.
my $CASES = 9;
$t->write_file_expand('locations.conf', join '', map { my $number = $_; map {<<EOL} qw/ check strict / } 0 .. 2 * (@rules + @near) / $CASES);
location /$_/$number/ {
    websocket_guard_tunnel  pump;
    websocket_guard_frames  $_;
    proxy_pass              http://127.0.0.1:8081;
}
EOL

# Sends what is in the file NAME.send, and writes down what it got: /raw?NAME.
run_backend($t, 8081, handlers => {
    raw => sub {
        my ($c, $request) = @_;
        my $name = $request->args;
        $c->upgrade;
        $c->write($t->read_file("$name.send"));
        my $got = '';
        while (length(my $some = $c->read_some(1 << 20, 20))) { $got .= $some }
        $t->write_file("$name.new", $got);
        rename $t->testdir . "/$name.new", $t->testdir . "/$name.got";
        $c->disconnect;
    },
    extended => sub {
        my ($c, $request) = @_;
        $c->upgrade(headers => ['Sec-WebSocket-Extensions: ' . $request->args]) && $c->echo;
    },
});
$t->run();

my $count = 0;
for my $rule (@rules) {
    my ($text, $side, $bytes) = @$rule;
    my $name = "$side, $text, " . unpack 'H*', substr $bytes, 0, 16;
    my $who = $side eq 'client' ? 'the client' : 'backend 127.0.0.1:' . port(8081);

    my ($got, $end, @log) = pass_on('check', $side, $bytes, length $bytes);
    is_deeply([unpack('H*', $got), @log], [unpack('H*', $bytes), "$who broke RFC 6455 section $text; its tunnel goes on"],
        "check, $name");

    # Of two frames the first is well. What follows it is the Close.
    my $well = $text =~ /inside a fragmented/ ? substr $bytes, 0, length($bytes) / 2 : '';
    ($got, $end, @log) = pass_on('strict', $side, $bytes, length($well) + ($side eq 'client' ? 8 : 4));
    my $passed = substr $got, 0, length $well;
    is_deeply([unpack('H*', $passed), close_code(substr $got, length $well), $end, @log],
        [unpack('H*', $well), 1001, 'frame-error 1002', "tunnel cut: $who broke RFC 6455 section $text"], "strict, $name");
}

for my $near (@near) {
    my ($text, $side, $bytes) = @$near;
    for my $mode (qw/ check strict /) {
        my ($got, $end, @log) = pass_on($mode, $side, $bytes, length $bytes);
        ok($got eq $bytes && !@log, "$mode, $side, $text") or diag(length $got, @log);
    }
}

# A negotiated extension gives the bits a meaning. The one who breaks a rule is told which code that has.
for my $case (['permessage-deflate', "\xc1", 1], ['permessage-deflate; server_no_context_takeover', "\xc2", 1],
    ['permessage-deflate', "\xa1", 0], ['x-unknown', "\xf1", 1], ['permessage-deflate, x-unknown', "\xb1", 1])
{
    my ($extension, $first, $may) = @$case;
    my $ws = websocket(path => '/strict/extended?' . ($extension =~ s/ /%20/gr), headers => ["Sec-WebSocket-Extensions: $extension"]);
    $ws->write("$first\x82" . $MASK . ('hi' ^ substr $MASK, 0, 2));
    my $answer = $ws->read(4, 5) // '';
    is(unpack('H*', $answer), unpack('H*', $may ? "$first\x02hi" : "\x88\x02" . pack 'n', 1002), "$extension, " . unpack 'H*', $first);
}

# The first fault is reported, once, and then nothing is known of who closed.
$t->write_file('many.send', '');
my $since = log_size($t);
my $ws = websocket(path => '/check/raw?many');
$ws->write("\x81\x01x\x83\x00\x81\x01x" x 100);
$ws->disconnect;
like(ended('many'), qr/^\/check\/raw\?many  $/, 'many faults, and no guess how it ended');
is(scalar(grep {/\[tunnel-frame-error\]/} guard_log($t, undef, since => $since)), 1, 'one line');

# Inherited, and not.
for my $case (['/strict/inherited/', 1001], ['/strict/not/', 'none']) {
    my ($path, $code) = @$case;
    $t->write_file('inherit.send', "\x83\x00");
    my $ws = websocket(path => "${path}raw?inherit");
    is(close_code($ws->read(4, 1) // ''), $code, $path);
}

my $conf = $t->read_file('nginx.conf');
for my $case (
    ['websocket_guard_frames lax;', qr/invalid value "lax" in "websocket_guard_frames" directive, it must be "check" or "strict"/],
    ['websocket_guard_close maybe;', qr/invalid value "maybe" in "websocket_guard_close" directive, it must be "on" or "off"/],
    ['websocket_guard_frames strict; websocket_guard_tunnel native;', qr/\[emerg\] "websocket_guard_frames" needs the guard's own loop, which "websocket_guard_tunnel native" at the same level takes away; remove one of the two in \S+nginx-test.conf:\d+$/m],
    ['websocket_guard_tunnel native; websocket_guard_close on;', qr/\[emerg\] "websocket_guard_close" needs the guard's own loop/],
) {
    my ($line, $expected) = @$case;
    my ($code, $output) = nginx_test($t, $conf =~ s/(location \/check\/ \{)\s+websocket_guard_tunnel  pump;/$1\n$line/r);
    like($output, $expected, $line);
}

# What the other side received, at least so many bytes of it, how the tunnel ended, and the lines about that.
sub pass_on {
    my ($mode, $side, $bytes, $length) = @_;
    my $name = 'case' . ++$count;
    my $since = log_size($t);
    $t->write_file("$name.send", $side eq 'backend' ? $bytes : '');
    my $ws = websocket(path => "/$mode/" . int($count / $CASES) . "/raw?$name");
    $ws->write($bytes) if $side eq 'client';
    my $got = $side eq 'backend' ? $ws->read($length, 10) // '' : '';
    $ws->disconnect;
    my $end = ended($name) =~ s/^\S+ //r;
    wait_until(sub { -e $t->testdir . "/$name.got" });
    $got = $t->read_file("$name.got") if $side eq 'client';
    my @log = map { /websocket_guard: (tunnel cut) after \w+(: .*?) \(client/ ? "$1$2" : /websocket_guard: (.*; its tunnel goes on)/ ? $1 : () }
        guard_log($t, undef, since => $since);
    return ($got, $end, @log);
}

sub ended {
    my ($name) = @_;
    my $line;
    wait_until(sub { ($line) = $t->read_file('ends.log') =~ m!^(/\S+/raw\?$name .*)$!m });
    return $line // 'not ended';
}

sub close_code {
    my ($bytes) = @_;
    return $bytes =~ /^\x88\x82(..)..(..)/s ? unpack('n', $1 ^ $2) : $bytes =~ /^\x88\x02(..)/s ? unpack('n', $1) : 'none';
}
