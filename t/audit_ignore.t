#!/usr/bin/perl

# websocket_guard_ignore silences single findings of the audit at each level. And where a finding is said to be:
# in the file and line that a person would open, with included files too.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy /)->plan(29);

# Both locations cut silent tunnels and do not pass Host on.
sub conf {
    my (%ignore) = @_;
    my %text = map { $_ => $ignore{$_} ? "websocket_guard_ignore $ignore{$_};" : '' } qw/ http server location nested /;
    return <<"EOC";
%%TEST_GLOBALS%%
worker_shutdown_timeout 1h;
events {
}
http {
    %%TEST_GLOBALS_HTTP%%
    $text{http}

    server {
        listen 127.0.0.1:8080;
        $text{server}

        location /a/ {
            websocket_guard auto;
            $text{location}
            proxy_read_timeout 20s;
            proxy_pass http://127.0.0.1:8081;

            location /a/b/ {
                websocket_guard auto;
                $text{nested}
                proxy_read_timeout 20s;
                proxy_pass http://127.0.0.1:8081;
            }
        }
    }

    server {
        listen 127.0.0.1:8082;
        location /c/ {
            websocket_guard auto;
            proxy_read_timeout 20s;
            proxy_pass http://127.0.0.1:8081;
        }
    }
}
EOC
}

# The lines of the guard at nginx -t, of all levels but without those that only say what is guarded. What is true of several
# locations is told of the first, and the others are named at level info.
sub audit_lines {
    my ($text) = @_;
    my ($code) = nginx_test($t, $text);
    my $log = $t->read_file('nginx-test.log');
    return "refused: $log" if $code != 0;
    return grep { !/\[info\] / || /the same is true of/ } guard_lines($log);
}

# Which location has which finding, as "/a/ short-read-timeout".
sub findings {
    my ($text) = @_;
    return join ', ', sort map { /location "([^"]+)".* \[([\w-]+)\] in / ? "$1 $2" : $_ } audit_lines($text);
}

sub all_but {
    my %without = map { $_ => 1 } @_;
    my $first = 1;
    # Equal notices of several locations are one line, for the first.
    return join ', ', grep { !/host-not/ || $first-- > 0 } grep { !$without{$_} } map { ("$_ host-not-forwarded", "$_ short-read-timeout") } qw( /a/ /a/b/ /c/ );
}

# ---- levels --------------------------------------------------------------------------------------

is(findings(conf()), all_but(), 'nothing is ignored');
is(findings(conf(http => 'short-read-timeout')), all_but(map {"$_ short-read-timeout"} qw( /a/ /a/b/ /c/ )), 'ignored in http');
is(findings(conf(server => 'short-read-timeout')), all_but(map {"$_ short-read-timeout"} qw( /a/ /a/b/ )), 'in a server');
is(findings(conf(location => 'short-read-timeout')), all_but(map {"$_ short-read-timeout"} qw( /a/ /a/b/ )),
    'in a location: in those within it too');
is(findings(conf(nested => 'short-read-timeout')), all_but('/a/b/ short-read-timeout'), 'in a nested location: only there');
is(findings(conf(http => 'short-read-timeout host-not-forwarded')), '', 'several names');
is(findings(conf(http => 'short-read-timeout', nested => 'host-not-forwarded')),
    all_but('/a/ short-read-timeout', '/c/ short-read-timeout', '/a/b/ host-not-forwarded'),
    'a list of its own replaces the one above');
is(findings(conf(http => 'tunnel-idle no-proxy', server => 'missing-upgrade')), all_but(), 'other names change nothing');

# What is about the whole configuration is ignored where all that is guarded ignores it.
{
    my $capacity = sub {
        my (%ignore) = @_;
        nginx_test($t, conf(%ignore));
        return scalar grep { /\[capacity\]/ } guard_lines($t->read_file('nginx-test.log'));
    };
    is($capacity->(), 1, 'capacity: once');
    is($capacity->(http => 'capacity'), 0, 'capacity: ignored everywhere');
    is($capacity->(server => 'capacity'), 1, 'capacity: ignored in one of two servers');
}

# ---- unknown names -------------------------------------------------------------------------------

for my $case (
    ['short-read-timout', 'did you mean "short-read-timeout"?'],
    ['lb-no-afinity',     'did you mean "lb-no-affinity"?'],
    ['MISSING_UPGRADE',   'did you mean "missing-upgrade"?'],
    ['everything',        'it is not the name of a finding'],
) {
    my ($name, $hint) = @$case;
    for my $level (qw/ http location /) {
        my ($code, $output) = nginx_test($t, conf($level => "capacity $name"));
        my $place = $t->testdir . '/nginx-test.conf:' . conf_line($t, qr/_ignore/, 'nginx-test.conf');
        my ($message) = $code ? $output =~ /^nginx: (\[emerg\] .*)/m : ();
        is($message, qq{[emerg] invalid value "$name" in "websocket_guard_ignore" directive, $hint in $place},
            "unknown in $level: $name");
    }
}

# ---- places --------------------------------------------------------------------------------------

my ($short, $files) = (
    'cuts a tunnel that is silent for 20s (proxy_read_timeout); remove the proxy_read_timeout or add "websocket_guard_timeout 1h;", '
        . 'or have the application send pings more often [short-read-timeout]',
    'has nothing in it that could carry a WebSocket; add a proxy_pass to the location, or move websocket_guard to the '
        . 'location that has one [no-proxy]',
);
my $dir = $t->testdir;

$t->write_file_expand('locations.conf', <<'EOC');
# Line 1.
location /one/ {
    websocket_guard on;
    proxy_pass http://127.0.0.1:8081;
    include %%TESTDIR%%/timeout.conf;
}
location /two/ {
    websocket_guard on;
}
EOC
$t->write_file('timeout.conf', "# Line 1.\nproxy_set_header Host \$http_host;\n\nproxy_read_timeout 20s;\n");

sub servers {
    my (@servers) = @_;
    my $text = "%%TEST_GLOBALS%%\nworker_shutdown_timeout 1h;\nevents {\n}\nhttp {\n%%TEST_GLOBALS_HTTP%%\n";
    for my $n (0 .. $#servers) {
        $text .= "server {\nlisten 127.0.0.1:8080;\nserver_name s$n;\n$servers[$n]\n}\n";
    }
    return "$text}\n";
}

my @once = (
    qq{[warn] websocket_guard: location "/one/" $short in $dir/timeout.conf:4},
    qq{[error] websocket_guard: location "/two/" $files in $dir/locations.conf:7},
);
is_deeply([audit_lines(servers('include %%TESTDIR%%/locations.conf;'))], \@once, 'an included file, and one included in that');
is_deeply([audit_lines(servers('include locations.conf;'))], \@once, 'with a name relative to nginx.conf');
is_deeply([audit_lines(servers('include locat*.conf;'))], \@once, 'with a pattern');

# The name of a location that is in several servers does not tell which one is meant.
sub of_server { my ($line, $server) = @_; return $line =~ s/(location "\S+")/$1 of $server/r }
sub and_another { my ($line) = @_; return $line =~ s/(?= (?:cuts|has nothing) )/ (and in another location)/r }
sub named { my ($line) = @_; return $line =~ s/^\S+ websocket_guard: (location .*?) (?:cuts|has nothing) .* (?=\[)/[info] websocket_guard: the same is true of $1 /r }

my @first  = map { of_server($_, 'server "s0"') } @once;
my @second = map { named(of_server($_, 'server "s1"')) } @once;
is_deeply([audit_lines(servers(('include locations.conf;') x 2))], [map({ and_another($_) } @first), @second],
    'in two servers: said of the first, the other is named');
is_deeply([audit_lines(servers('include locations.conf;', "websocket_guard_ignore no-proxy;\ninclude locations.conf;"))],
    [and_another($first[0]), $first[1], $second[0]], 'in two servers, one of which ignores a finding');

# Neither does the name of the server, where two have the same, or none.
for my $name ('s0', '""') {
    my $conf = servers(('include locations.conf;') x 2) =~ s/server_name s\d;/server_name $name;/gr;
    my @found = audit_lines($conf);
    my @lines  = split /\n/, $t->read_file('nginx-test.conf');
    my @opened = grep { $lines[$_ - 1] =~ /^server \{/ } 1 .. @lines;
    my ($in_first, $in_second) = map { my $server = "the server in $dir/nginx-test.conf:$_"; [map { of_server($_, $server) } @once] } @opened;
    is_deeply(\@found, [map({ and_another($_) } @$in_first), map { named($_) } @$in_second], "in two servers that are called $name");
}

is(join(', ', audit_lines(servers("location /around/ {\nproxy_pass http://127.0.0.1:8081;\nlocation /around/two/ {\n"
    . "websocket_guard on;\ninclude timeout.conf;\n}\n}"))) =~ s/.* in //r,
    "$dir/nginx-test.conf:" . conf_line($t, qr{location /around/two/}, 'nginx-test.conf'),
    'what is missing is said of the line that opens the location');

# The line of the directive, where that is above the location.
my @above = audit_lines(servers("include timeout.conf;\nproxy_http_version 1.1;\nproxy_set_header Upgrade \$http_upgrade;\n"
    . "proxy_set_header Connection close;\nlocation /below/ {\nwebsocket_guard check;\nproxy_pass http://127.0.0.1:8081;\n}"));
is_deeply(\@above, [
    '[error] websocket_guard: location "/below/" sends Connection "close" for an upgrade, without the token "upgrade"; set '
        . '"websocket_guard auto;" in the location, which sends that with plain requests only '
        . "[connection-wrong] in $dir/nginx-test.conf:" . conf_line($t, qr/Connection close/, 'nginx-test.conf'),
    '[warn] websocket_guard: location "/below/" cuts a tunnel that is silent for 20s (proxy_read_timeout); set "websocket_guard on;" '
        . qq{in the location, or "proxy_read_timeout 1h;" [short-read-timeout] in $dir/timeout.conf:4},
], 'directives above the location');

$t->write_file('guarded.conf', "\nlocation /g/ {\n    websocket_guard on;\n    proxy_pass http://127.0.0.1:1;\n}\n");
nginx_test($t, servers(('include guarded.conf;') x 2));
my @summaries = grep { /is guarded/ } guard_lines($t->read_file('nginx-test.log'));
is(scalar(grep { / in \Q$dir\E\/guarded\.conf:2$/ } @summaries), 2, 'what is guarded, in a file that is included in two servers');
