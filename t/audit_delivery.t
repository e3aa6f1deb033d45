#!/usr/bin/perl

# Where the lines of the audit land: each of them once in the configured error_log for every start and
# every reload, as far as its level lets it, and warnings and errors once on the terminal.

use strict;
use warnings;

use IO::Socket::UNIX;
use POSIX ();
use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy /)->plan(142);

# Two findings of each level, and what the info lines say of the two guarded locations.
my $broken = <<'EOC';
    upstream pool {
        server 127.0.0.1:8081 max_conns=10;
    }

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /files/ {
            websocket_guard  on;
        }

        location /moved/ {
            websocket_guard  auto;
            return           301 https://$host$request_uri;
        }

        location /ws/ {
            websocket_guard  auto;
            proxy_pass       http://pool;
        }

        location /short/ {
            websocket_guard     auto;
            proxy_read_timeout  20s;
            proxy_pass          http://127.0.0.1:8081;
        }
    }
EOC

my $correct = <<'EOC';
    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /ws/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }
    }
EOC

my %UP_TO = (error => [qw/ no-proxy redirect-in-location /]);
$UP_TO{warn} = [@{ $UP_TO{error} }, qw/ max-conns short-read-timeout /];
$UP_TO{notice} = [@{ $UP_TO{warn} }, qw/ host-not-forwarded /];
$UP_TO{info} = [@{ $UP_TO{notice} }, qw/ shutdown-unbounded capacity summary summary /];

# ---- nginx -t and -T -----------------------------------------------------------------------------

for my $option (qw/ -t -T /) {
    for my $level (qw/ warn error info /) {
        my $nginx = instance("test$option-$level", main => "error_log configured.log $level;", http => $broken);
        is(run_once($nginx, $option), 0, "$option, $level: the configuration is accepted");
        found($nginx, 'stderr',    $UP_TO{warn}, "$option, $level: once on the terminal");
        found($nginx, 'start.log', $UP_TO{info}, "$option, $level: everything in the log that nginx uses for a test");
        is(content($nginx, 'configured.log'), '', "$option, $level: a test leaves the configured log alone");
    }
}

{
    my $nginx = instance('same-log', main => 'error_log start.log info;', http => $broken);
    run_once($nginx, '-t');
    found($nginx, 'start.log', $UP_TO{info}, '-t, one log for both: once');
    found($nginx, 'stderr',    $UP_TO{warn}, '-t, one log for both: once on the terminal');

    $nginx = instance('on-terminal', main => 'error_log stderr info;', http => $broken);
    run_once($nginx, '-t');
    found($nginx, 'stderr', $UP_TO{warn}, '-t, error_log stderr: once on the terminal');

    $nginx = instance('start-on-terminal', main => 'error_log stderr info;', http => $broken);
    run_once($nginx, '-t', log => 'stderr');
    found($nginx, 'stderr', $UP_TO{info}, '-t -e stderr: everything, once');

    $nginx = instance('quiet', main => 'error_log configured.log warn;', http => $broken);
    run_once($nginx, '-t', more => ['-q']);
    found($nginx, 'stderr',    $UP_TO{warn}, '-t -q: what is wrong is still said');
    found($nginx, 'start.log', $UP_TO{warn}, '-t -q: and no more');
}

# ---- a start and reloads -------------------------------------------------------------------------

for my $case (
    ['main, warn',       'warn',  main => 'error_log configured.log warn;'],
    ['main, error',      'error', main => 'error_log configured.log error;'],
    ['main, no level',   'error', main => 'error_log configured.log;'],
    ['main, info',       'info',  main => 'error_log configured.log info;'],
    ['main, warn, daemon', 'warn', main => 'error_log configured.log warn;', daemon => 1],
    ['main, info, daemon', 'info', main => 'error_log configured.log info;', daemon => 1],
) {
    my ($name, $level, %conf) = @$case;
    my $nginx = instance($name =~ s/\W+/-/gr, %conf, http => $broken);
    start($nginx);
    found($nginx, 'configured.log', $UP_TO{$level}, "$name: once at the start");
    found($nginx, 'stderr',         $UP_TO{warn},   "$name: once on the terminal");
    found($nginx, 'start.log',      $UP_TO{notice}, "$name: once in the log of the start");

    my $before = length content($nginx, 'start.log');
    for my $how (qw/ HUP -s HUP /) {
        my $mark = length content($nginx, 'configured.log');
        hup($nginx, $how);
        found($nginx, 'configured.log', $UP_TO{$level}, "$name, reload by $how: once", since => $mark);
    }
    is(length content($nginx, 'start.log'), $before, "$name: nothing more in the log of the start");
    found($nginx, 'stderr', $UP_TO{warn}, "$name: nothing more on the terminal");
    found($nginx, 'signaller', [], "$name: nginx -s says nothing of its own");
    stop($nginx);
}

# With an error_log in http {}, the one at the top is still where nginx speaks of the configuration.
for my $level (qw/ warn error /) {
    my $nginx = instance("http-$level", main => 'error_log configured.log warn;',
        http => "    error_log http.log $level;\n$broken");
    start($nginx);
    found($nginx, 'configured.log', $UP_TO{warn}, "error_log in http, $level: once in the one at the top");
    hup($nginx, 'HUP');
    found($nginx, 'configured.log', [(@{ $UP_TO{warn} }) x 2], "error_log in http, $level: once more after a reload");
    found($nginx, 'stderr', $UP_TO{warn}, "error_log in http, $level: once on the terminal");
    stop($nginx);
}

# Only in http {}: nginx then uses that of its own start at the top.
{
    my $nginx = instance('http-only', http => "    error_log http.log warn;\n$broken");
    start($nginx);
    found($nginx, 'start.log', $UP_TO{notice}, 'error_log only in http: once in the log of the start');
    my $mark = length content($nginx, 'start.log');
    hup($nginx, 'HUP');
    found($nginx, 'start.log', $UP_TO{error}, 'error_log only in http: once after a reload, at its level', since => $mark);
    stop($nginx);
}

# The same file at the start and later, by another name too.
for my $file ('start.log', '../same-file/start.log') {
    my $nginx = instance('same-file', main => "error_log $file info;", http => $broken);
    start($nginx);
    found($nginx, 'start.log', $UP_TO{info}, "$file: once at the start");
    stop($nginx);
}

# On the terminal for good, and in a file beside it.
{
    my $nginx = instance('stderr', main => "error_log stderr warn;\nerror_log configured.log error;", http => $broken);
    start($nginx);
    found($nginx, 'stderr',         $UP_TO{warn},  'error_log stderr: once');
    found($nginx, 'configured.log', $UP_TO{error}, 'error_log stderr, and a file: once');
    my ($terminal, $file) = map { length content($nginx, $_) } qw/ stderr configured.log /;
    hup($nginx, 'HUP');
    found($nginx, 'stderr',         $UP_TO{warn},  'error_log stderr, reload: once', since => $terminal);
    found($nginx, 'configured.log', $UP_TO{error}, 'error_log stderr, and a file, reload: once', since => $file);
    stop($nginx);
}

# A reload brings another log and other findings.
{
    my $nginx = instance('changed', main => 'error_log configured.log warn;', http => $correct);
    start($nginx);
    found($nginx, $_, [], "a correct configuration: nothing in $_") for qw/ configured.log stderr start.log /;

    configure($nginx, main => 'error_log other.log warn;', http => $broken);
    my $mark = length content($nginx, 'configured.log');
    hup($nginx, 'HUP');
    found($nginx, 'other.log', $UP_TO{warn}, 'reload into another log: once in the new one');
    found($nginx, 'configured.log', $UP_TO{warn}, 'reload into another log: once in the old one, where nginx reports',
        since => $mark);

    configure($nginx, main => 'error_log other.log warn;', http => $correct);
    $mark = length content($nginx, 'other.log');
    hup($nginx, '-s');
    found($nginx, 'other.log', [], 'reload into a correct configuration: nothing', since => $mark);
    stop($nginx);
}

# Another syslog server is another log.
{
    my @syslog = map { IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => $t->testdir . "/syslog$_") // die "syslog: $!" } 0, 1;
    my $to    = sub { 'error_log syslog:server=unix:' . $t->testdir . "/syslog$_[0] warn;" };
    my $nginx = instance('syslog', main => $to->(0), http => $broken);
    start($nginx);
    received($nginx, $syslog[0], $UP_TO{warn}, 'error_log syslog: once at the start');
    hup($nginx, 'HUP');
    received($nginx, $syslog[0], $UP_TO{warn}, 'error_log syslog: once at a reload');
    configure($nginx, main => $to->(1), http => $broken);
    hup($nginx, 'HUP');
    received($nginx, $syslog[0], $UP_TO{warn}, 'reload into another syslog: once in the old one');
    received($nginx, $syslog[1], $UP_TO{warn}, 'reload into another syslog: once in the new one');
    stop($nginx);
}

# ---- a correct configuration ---------------------------------------------------------------------

{
    my $nginx = instance('correct', main => "worker_shutdown_timeout 1h;\nerror_log configured.log info;", http => $correct);
    run_once($nginx, '-t');
    my ($line) = lines($nginx, 'start.log', qr/guarded/);
    my $file = "$nginx->{dir}/nginx.conf";
    my $number = conf_line($t, qr{location /ws/}, 'correct/nginx.conf');
    is($line, "[info] websocket_guard: location \"/ws/\" is guarded (on); set by the guard: Upgrade, Connection, "
        . "Host, HTTP/1.1, idle limit 1h, buffering off in $file:$number", 'correct, -t: what the guard set');
    found($nginx, 'start.log', [qw/ capacity summary /], 'correct, -t: and nothing else');
    found($nginx, 'stderr', [], 'correct, -t: nothing on the terminal');

    start($nginx);
    found($nginx, 'configured.log', [qw/ capacity summary /], 'correct: the same at the start, at level info');
    stop($nginx);
}

# ---- many ----------------------------------------------------------------------------------------

# Of 200 locations in 3 servers, each third is guarded and right, each third wrong in its own way. What is equal is
# told of the first; the others are named for those who read what is only worth knowing.
{
    my $http = "    upstream pool {\n        server 127.0.0.1:8081 max_conns=10;\n    }\n";
    my %expected;
    my $number = 0;
    for my $server (1 .. 3) {
        $http .= "    server {\n        listen 127.0.0.1:8080;\n        server_name s$server;\n";
        for (1 .. ($server == 3 ? 66 : 67)) {
            my $name = '/l' . ++$number . '/';
            my ($text, $finding) = (
                ["proxy_set_header Host \$http_host; proxy_pass http://127.0.0.1:8081;"],
                ["proxy_read_timeout 5s; proxy_set_header Host \$http_host; proxy_pass http://127.0.0.1:8081;", 'short-read-timeout'],
                ["root html;", 'no-proxy'],
            )[$number % 3]->@*;
            $http .= "        location $name { websocket_guard on; $text }\n";
            $expected{"$name $finding"} = 1 if $finding;
            $expected{"$name summary"}  = 1 if $number % 3 != 2;
        }
        $http .= "    }\n";
    }
    is($number, 200, '200 locations');
    my %warnings = ('/l1/ short-read-timeout' => 1, '/l2/ no-proxy' => 1);

    my $nginx = instance('many', main => "worker_shutdown_timeout 1h;\nerror_log configured.log info;", http => $http);
    run_once($nginx, '-t');
    is_deeply(by_location($nginx, 'stderr'), \%warnings, '200 locations, -t: each finding once on the terminal');
    is(join(' ', map {/(\(and in \d+ other locations\))/} lines($nginx, 'stderr', qr/location "/)),
        '(and in 66 other locations) (and in 66 other locations)', '200 locations, -t: with their number');
    is_deeply(by_location($nginx, 'start.log'), \%expected, '200 locations, -t: and one line for each that is guarded');

    start($nginx);
    is_deeply(by_location($nginx, 'configured.log'), \%expected, '200 locations, start: each line once');
    my $mark = length content($nginx, 'configured.log');
    hup($nginx, 'HUP');
    is_deeply(by_location($nginx, 'configured.log', $mark), \%expected, '200 locations, reload: each line once more');
    stop($nginx);
}

# ---- thousands -----------------------------------------------------------------------------------

# What is true of each of 3000 locations, in the same words or in words of its own, takes no megabytes.
{
    my $http = "    websocket_guard check;\n    server {\n        listen 127.0.0.1:8080;\n";
    $http .= "        location /l$_ { proxy_http_version 1.0; proxy_set_header Host \$http_host; proxy_pass http://127.0.0.1:8081/; "
        . "proxy_read_timeout ${\ (1000 + $_)}ms; proxy_set_header Upgrade \$http_upgrade; }\n" for 1 .. 3000;
    my $nginx = instance('thousands', main => "worker_shutdown_timeout 1h;\nerror_log configured.log;", http => "$http    }\n");
    is(run_once($nginx, '-t'), 0, '3000 locations: a right configuration');

    my %lines;
    push @{ $lines{ name_of($_) } }, $_ for lines($nginx, 'stderr', qr/location "/);
    is(scalar(@{ $lines{$_} // [] }), 1, "3000 locations: one line of $_") for qw/ http10-upstream missing-connection /;
    like($lines{'http10-upstream'}[0], qr{location "/l1" \(and in 2999 other locations\)}, '3000 locations: their number');
    # The time is another one in each.
    is(scalar(@{ $lines{'short-read-timeout'} // [] }), 51, '3000 locations: not all lines of short-read-timeout');
    like($lines{'short-read-timeout'}[-1], qr{location "/l51" \(and something like it in 2949 others\)}, '3000 locations: the rest of them');
    cmp_ok(length content($nginx, 'stderr'), '<', 60_000, '3000 locations: a page or two');

    configure($nginx, main => "worker_shutdown_timeout 1h;\nerror_log configured.log info;", http => "$http    }\n");
    run_once($nginx, '-t');
    cmp_ok(length content($nginx, 'start.log'), '<', 500_000, '3000 locations: also for those who want to know all');
}

# ---- an nginx of its own -------------------------------------------------------------------------

# A prefix with a configuration: lines at the top, lines in http {}.
sub instance {
    my ($name, %conf) = @_;
    my $nginx = { name => $name, dir => $t->testdir . "/$name" };
    mkdir $nginx->{dir};
    unlink glob "$nginx->{dir}/*";
    configure($nginx, %conf);
    return $nginx;
}

sub configure {
    my ($nginx, %conf) = @_;
    my $daemon = $conf{daemon} ? 'on' : 'off';
    my $head = join "\n", 'pid nginx.pid;', "daemon $daemon;", $conf{main} // '';
    $nginx->{daemon} = $conf{daemon};
    $t->write_file_expand("$nginx->{name}/nginx.conf",
        "$head\n" . ($ENV{TEST_NGINX_GLOBALS} // '') . $t->test_globals_modules
        . "\nevents {\n}\nhttp {\n    %%TEST_GLOBALS_HTTP%%\n$conf{http}}\n");
}

# Runs nginx until it ends; its exit code.
sub run_once {
    my ($nginx, $option, %how) = @_;
    waitpid launch($nginx, 'stderr', [$option, @{ $how{more} // [] }], $how{log}), 0;
    return $? >> 8;
}

sub launch {
    my ($nginx, $terminal, $options, $log) = @_;
    my $dir = $nginx->{dir};
    my $pid = fork() // die "fork: $!";
    if ($pid == 0) {
        open STDOUT, '>', "$dir/stdout";
        open STDERR, '>>', "$dir/$terminal";
        exec $Test::Nginx::NGINX, @$options, '-p', "$dir/", '-c', 'nginx.conf', '-e', $log // 'start.log'
            or POSIX::_exit(127);
    }
    return $pid;
}

sub start {
    my ($nginx) = @_;
    unlink "$nginx->{dir}/stderr", "$nginx->{dir}/start.log";
    my $pid = launch($nginx, 'stderr', []);
    waitpid $pid, 0 if $nginx->{daemon};
    wait_until(sub { content($nginx, 'nginx.pid') =~ /^\d+\n/ }, 20) or die "nginx does not start\n";
    ($nginx->{master}) = content($nginx, 'nginx.pid') =~ /(\d+)/;
    wait_until(sub { workers($nginx) > 0 }, 20) or die "nginx has no workers\n";
}

sub hup {
    my ($nginx, $how) = @_;
    my %old = map { $_ => 1 } workers($nginx);
    if ($how eq '-s') {
        waitpid launch($nginx, 'signaller', [qw/ -s reload /], 'signaller'), 0;
    } else {
        kill $how, $nginx->{master};
    }
    wait_until(sub { my @now = workers($nginx); @now && !grep { $old{$_} } @now }, 20) or die "no reload\n";
}

sub workers {
    my ($nginx) = @_;
    open my $children, '<', "/proc/$nginx->{master}/task/$nginx->{master}/children" or return;
    return split ' ', <$children> // '';
}

sub stop {
    my ($nginx) = @_;
    kill 'QUIT', $nginx->{master};
    waitpid $nginx->{master}, 0 unless $nginx->{daemon};
    wait_until(sub { !kill 0, $nginx->{master} }, 20) or kill 'KILL', $nginx->{master};
    unlike(content($nginx, 'stderr'), qr/Sanitizer|runtime error/, "$nginx->{name}: nothing from a sanitizer");
}

# ---- its logs ------------------------------------------------------------------------------------

sub content {
    my ($nginx, $file) = @_;
    return -e "$nginx->{dir}/$file" ? $t->read_file("$nginx->{name}/$file") : '';
}

sub lines {
    my ($nginx, $file, $pattern, $since) = @_;
    return grep { /$pattern/ } guard_lines(substr(content($nginx, $file), $since // 0));
}

sub name_of {
    my ($line) = @_;
    return $line =~ / \[([\w-]+)\] in \S+:\d+$/ ? $1 : $line =~ / is guarded / ? 'summary' : $line;
}

sub found {
    my ($nginx, $file, $expected, $name, %options) = @_;
    my @names = map { name_of($_) } lines($nginx, $file, qr/./, $options{since});
    is(join(' ', sort @names), join(' ', sort @$expected), $name);
}

# What has come to a syslog server since the last time.
sub received {
    my ($nginx, $socket, $expected, $name) = @_;
    my $log = '';
    $socket->blocking(0);
    while (defined $socket->recv(my $message, 65536)) {
        $log .= "$message\n" =~ s/^<\d+>.*?(?=\d{4}\/)//r;
    }
    $t->write_file("$nginx->{name}/received", $log);
    found($nginx, 'received', $expected, $name);
}

# How often each location is named with each finding.
sub by_location {
    my ($nginx, $file, $since) = @_;
    my %found;
    for my $line (lines($nginx, $file, qr/location "/, $since)) {
        my ($location) = $line =~ /location "([^"]+)"/;
        $found{ "$location " . name_of($line) }++;
    }
    return \%found;
}
