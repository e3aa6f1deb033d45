#!/usr/bin/perl

# A directive of the guard that stands where nothing is guarded has no effect, which is said of each of them. What is said
# to do about it is done here.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy auth_request /);

# What each directive may say, as far as that has no effect in such a location.
my %says = (
    timeout      => '1m',
    handshake    => 'strict',
    origin       => 'same',
    forwarded    => 'on',
    tunnel       => 'pump',
    buffer_size  => '32k',
    close        => 'on',
    frames       => 'strict',
    ping         => '20s both',
    max_message  => '64k',
    message_rate => '10r/s',
    lifetime     => '1h',
    drain        => '10s',
);
# What it says where it asks for nothing; and those that have an effect anywhere, or are the mark itself.
my %idle = (
    handshake => 'lenient', origin => 'any', forwarded => 'off', tunnel => 'native', close => 'off', ping => 'off',
    max_message => 'off', message_rate => 'off', lifetime => 'off', drain => 'off',
);
my @anywhere = qw/ upgrade log ignore /;

open my $docs, '<', 'docs/directives.md' or die "docs/directives.md: $!";
my @documented = map { /^- \[websocket_guard_(\w+)\]/ ? $1 : () } <$docs>;

my $proxy = "proxy_pass http://127.0.0.1:8081;\n";
$t->plan(@documented + keys(%idle) + 29);

# A directive that is made tomorrow has to say which kind it is.
for my $name (@documented) {
    if (grep { $_ eq $name } @anywhere) {
        my $value = { upgrade => 'websocket tcp', log => 'warn', ignore => 'no-proxy' }->{$name};
        is(join(', ', unused(in_location("websocket_guard_$name $value;\n$proxy"))), '', "$name has an effect anywhere");
        next;
    }
    my $value = $says{$name} // 'unknown';
    my $text = $name eq 'buffer_size' ? in_http("websocket_guard_$name $value;") : in_location("websocket_guard_$name $value;\n$proxy");
    like(join(', ', unused($text)), qr/^\[(?:warn|notice)\] \S+ (?:location "\/x\/"|http) has websocket_guard_$name, which has no effect .*websocket_guard_$name\b/, $name);
}
for my $name (sort keys %idle) {
    is(join(', ', unused(in_location("websocket_guard_$name $idle{$name};\n$proxy"))), '', "$name $idle{$name} asks for nothing");
}

# ---- locations -----------------------------------------------------------------------------------

my $two = "websocket_guard_origin same;\nwebsocket_guard_ping 20s;\n$proxy";
my $what = 'has websocket_guard_origin and websocket_guard_ping, which have no effect where websocket_guard is';

# The remedies, applied.
for my $case (
    ['off by default', '',                       'warn',   'off',       'add "websocket_guard on;" to the location'],
    ['off',            "websocket_guard off;\n", 'notice', 'off',       'set "websocket_guard on;" in the location'],
    ['check',          "websocket_guard check;\n", 'notice', '"check"', 'set "websocket_guard on;" in the location'],
) {
    my ($name, $mark, $level, $state, $fix) = @$case;
    is(join(', ', unused(in_location("$mark$two"))), "[$level] websocket_guard: location \"/x/\" $what $state; $fix, or remove them "
        . '[unused-directive] in: websocket_guard_origin same;', "$name: one line, at the first of them");
    # "add" is a line more, "set" another word in the line that is there.
    my $added = ($fix =~ /^set/ ? '' : $mark) . "websocket_guard on;\n";
    is(join(', ', unused(in_location("$added$two"))), '', "$name: marked");
    is(join(', ', unused(in_location("$mark$proxy"))), '', "$name: removed");
}

my $inherited = "websocket_guard check;\n" . location('/x/', $two);
like(join(', ', unused(in_server($inherited))), qr/^\[notice\] .* is "check"; add "websocket_guard on;" to the location, or/, 'check from above');
is(join(', ', unused(in_server($inherited =~ s/(?=websocket_guard_origin)/websocket_guard on;\n/r))), '', 'added');

like(join(', ', unused(in_server("websocket_guard on;\n" . location('/ws/', $proxy) . location('/x/', "websocket_guard off;\n$two")))),
    qr/^\[notice\] .*"\/x\/" .* is off; set "websocket_guard on;" in the location, or/, 'off below on');

# Without a backend a mark would be wrong.
my $files = "websocket_guard_origin same;\nroot /nowhere;\n";
is(join(', ', unused(in_location($files))), '[warn] websocket_guard: location "/x/" has websocket_guard_origin, which has no effect where '
    . 'websocket_guard is off; move what WebSocket needs to the location that proxies it, or remove it [unused-directive] in: websocket_guard_origin same;', 'files');
is(join(', ', unused(in_server(location('/x/', "root /nowhere;\n") . location('/ws/', "websocket_guard on;\nwebsocket_guard_origin same;\n$proxy")))), '', 'moved');
is(join(', ', findings(in_location("websocket_guard check;\n$files"))), 'no-proxy', 'what cannot carry a WebSocket is told of that alone');

my $auth = location('= /auth', "internal;\nwebsocket_guard_ping 20s;\n$proxy");
like(join(', ', unused(in_server(location('/ws/', "websocket_guard on;\nauth_request /auth;\n$proxy") . $auth))), qr/"\/auth" has websocket_guard_ping, .* is off; move what /,
    'a location for subrequests is not to be guarded');
is(join(', ', unused(in_server("websocket_guard_ping 20s;\n" . location('/ws/', "websocket_guard on;\n$proxy") . location('/', "root /nowhere;\n")))), '',
    'a server with a guarded location: the others may do without');
is(join(', ', unused(in_location("websocket_guard_ping 20s;\nroot /nowhere;\n" . location('/x/y/', "websocket_guard auto;\n$proxy")))), '', 'a guarded location inside');
is(join(', ', unused(in_server("websocket_guard auto;\n" . location('/x/', $two)))), '', 'auto from above');
is(join(', ', unused(in_location("$two\nif (\$arg_x) { return 404; }\nlimit_except GET { deny all; }\n"))), join(', ', unused(in_location($two))), 'blocks in it are not locations');

# An include that is of use somewhere.
$t->write_file('shared.conf', "websocket_guard_origin same;\nwebsocket_guard_ping 20s;\n");
my $shared = "include shared.conf;\n$proxy";
is(join(', ', unused(in_server(location('/ws/', "websocket_guard on;\n$shared") . location('/x/', $shared)))), '', 'an include that is of use in another location');
like(join(', ', unused(in_server(location('/w/', $shared) . location('/x/', $shared)))), qr/^\[warn\] .*"\/w\/" \(and in another location\) has [^,]*, which have [^\[]*\[unused-directive\] in shared.conf:1, \[info\] .*the same is true of location "\/x\/"/,
    'and one that is of use nowhere');

# ---- above locations -----------------------------------------------------------------------------

my $server = "websocket_guard_lifetime 1h;\n";
is(join(', ', unused(in_server($server . location('/', $proxy)))), '[warn] websocket_guard: server "one" has websocket_guard_lifetime, which has no effect '
    . 'where no location is guarded; set "websocket_guard on;" in the location that is for WebSocket, or remove it [unused-directive] in: websocket_guard_lifetime 1h;',
    'a server');
is(join(', ', unused(in_server($server . location('/', "websocket_guard on;\n$proxy")))), '', 'a server: marked');
like(join(', ', unused(in_server($server . location('/', "websocket_guard check;\n$proxy")))), qr/^\[notice\] websocket_guard: server "one" has /, 'a dry run');
like(join(', ', unused(in_http("websocket_guard_lifetime 1h;\n"))), qr/^\[notice\] websocket_guard: http has websocket_guard_lifetime, which has no effect where no location is guarded; /, 'http');
is(join(', ', unused(in_http("websocket_guard_origin same;\nwebsocket_guard auto;"))), '', 'http: guarded');

# ---- ignored -------------------------------------------------------------------------------------

my $ignore = "websocket_guard_ignore unused-directive;\n";
is(join(', ', unused(in_location("$ignore$two"))), '', 'ignored in the location');
is(join(', ', unused(in_server("$ignore$server" . location('/', $two)))), '', 'in the server');

sub location { my ($name, $body) = @_; return "location $name {\n$body}\n" }
sub in_location { return in_server(location('/x/', @_)) }
sub in_server { return conf('', "listen 127.0.0.1:8080;\nserver_name one;\n$_[0]") }
sub in_http { return conf($_[0], "listen 127.0.0.1:8080;\n" . location('/', $proxy)) }

sub conf {
    my ($http, $server) = @_;
    return "%%TEST_GLOBALS%%\nworker_shutdown_timeout 1h;\nevents {\n}\nhttp {\n%%TEST_GLOBALS_HTTP%%\n$http\nserver {\n$server}\n}\n";
}

sub lines {
    my ($text) = @_;
    my ($code, $output) = nginx_test($t, $text);
    return "refused: $output" if $code != 0;
    return guard_lines($t->read_file('nginx-test.log'));
}

# The lines about this, with the line of the configuration in place of its number.
sub unused {
    my @lines = lines(@_);
    my @text  = split /\n/, $t->read_file('nginx-test.conf');
    my $dir   = $t->testdir;
    return map { s/ in \Q$dir\E\/nginx-test\.conf:(\d+)$/ in: $text[$1 - 1]/r =~ s/\Q$dir\E\///r } grep { /unused-directive|^refused/ } @lines;
}

sub findings {
    return map { /\[info\]/ ? () : /\[([\w-]+)\] in / ? $1 : () } lines(@_);
}
