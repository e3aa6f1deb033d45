package Test::WebSocketGuard;

# What the tests need beyond Test::Nginx, ours or the original: a WebSocket client, backends, and a
# look at nginx's log and processes.

use strict;
use warnings;

use Carp;
use Exporter 'import';
use IO::Handle ();
use JSON::PP ();
use POSIX ();
use Scalar::Util ();
use Test::More ();
use Test::Nginx ();
use Test::WebSocketGuard::Backend;
use Test::WebSocketGuard::Client;
use Test::WebSocketGuard::Head;
use Time::HiRes qw/ sleep time /;

our @EXPORT = qw/
    websocket raw_request handshake_request connection streams
    run_backend websocket_backend run_tunnels requests_seen false_upgrades
    make_certificate nginx_test conf_line place_of packaged_modules
    guard_log run_time_log guard_lines guard_findings log_size wait_log outcome
    reload master_pid worker_pids rss_kib
    wait_until time_limit
/;

# An nginx that is so many times slower than usual, under valgrind, gets so many times longer for everything.
my $slowness = $ENV{TEST_NGINX_SLOWNESS} // 1;

# ---- clients -------------------------------------------------------------------------------------

sub connection { return Test::WebSocketGuard::Client->connect(@_) }

sub websocket {
    my (%options) = @_;
    return connection(%options)->handshake(%options);
}

sub raw_request {
    my ($bytes, %options) = @_;
    return connection(%options)->request($bytes, %options);
}

sub handshake_request { return Test::WebSocketGuard::Client::handshake_request(@_) }

# Whether two events arrive as the backend sends them, one after the other.
sub streams {
    my ($path, %options) = @_;
    my $stream = raw_request("GET ${path}sse?2,0.6 HTTP/1.1\r\nHost: localhost\r\n\r\n", %options, body => 0);
    my ($first, $second) = map {
        $stream->read_until(qr/event $_/, 10) // croak "no event $_ from $path";
        time;
    } 1, 2;
    return $second - $first > 0.3;
}

# ---- backends ------------------------------------------------------------------------------------

# It listens before it is forked, so that there is nothing to wait for.
sub run_backend {
    my ($t, $number, %options) = @_;
    my $listener = Test::WebSocketGuard::Backend::listener($number, %options);
    $t->run_daemon(\&websocket_backend, $t, $number, %options, listener => $listener);
    close $listener;
    return $t;
}

sub websocket_backend { Test::WebSocketGuard::Backend::serve(@_) }

# Clients and backends of many tunnels in one process: a script of t/lib/tunnels/. It gets a structure, and the time
# that it has ("seconds"), and prints objects, each of which is handed over as it comes.
sub run_tunnels {
    my ($script, $conf, $take) = @_;
    my $directory = __FILE__ =~ s{Test/WebSocketGuard\.pm$}{tunnels}r;
    $conf = { seconds => 60 * $slowness, %$conf };
    open my $pipe, '-|', 'python3', '-B', "$directory/$script", JSON::PP::encode_json($conf) or croak "python3: $!";
    while (my $line = <$pipe>) { $take->(JSON::PP::decode_json($line)) }
    close $pipe or croak "$script: exit code $?";
}

# Each as an object, in the order of arrival; connections are numbered from 1. count => N waits
# for at least so many.
sub requests_seen {
    my ($t, $number, %options) = @_;
    $number //= 8081;
    my $file = $t->testdir . "/requests-$number.json";

    my @lines;
    wait_until(sub {
        @lines = -e $file ? split /\n/, $t->read_file("requests-$number.json") : ();
        return @lines >= ($options{count} // 0);
    }, 5);

    my %connections;
    return map {
        my $seen = JSON::PP::decode_json($_);
        $connections{ $seen->{connection} } //= 1 + keys %connections;
        Test::WebSocketGuard::Request->new($seen->{head},
            connection => $connections{ $seen->{connection} }, request => $seen->{request});
    } @lines;
}

# Of what it received: the requests with an Upgrade header that are not one well-formed handshake. Those
# whose URI matches lenient => qr/../ may lack what RFC 6455 wants in Connection, key and version.
sub false_upgrades {
    my ($t, $number, %options) = @_;
    return map { $_->head } grep {
        my ($request, @upgrade) = ($_, $_->header('Upgrade'));
        my ($key, @more_keys) = $request->header('Sec-WebSocket-Key');
        my $http = lc "@upgrade" eq 'websocket' && $request->method eq 'GET' && $request->version eq 'HTTP/1.1'
            && !$request->header('Content-Length') && !defined $request->header('Transfer-Encoding');
        my $websocket = !@more_keys && ($key // '') =~ m!^[A-Za-z0-9+/]{22}==\z!
            && $request->has_token(Connection => 'upgrade')
            && ($request->header('Sec-WebSocket-Version') // '') eq '13';
        @upgrade && !($http && ($websocket || $options{lenient} && $request->uri =~ $options{lenient}));
    } requests_seen($t, $number);
}

# A self-signed certificate, NAME.crt and NAME.key in the test's directory.
sub make_certificate {
    my ($t, $name, @names) = @_;
    $name //= 'localhost';
    @names = ($name, 'localhost') unless @names;

    my $base = $t->testdir . "/$name";
    my $output = _output('openssl', qw/ req -x509 -nodes -days 2 -newkey ec /,
        '-pkeyopt' => 'ec_paramgen_curve:prime256v1', '-subj' => "/CN=$name",
        '-addext' => 'subjectAltName=IP:127.0.0.1,' . join(',', map {"DNS:$_"} @names),
        '-keyout' => "$base.key", '-out' => "$base.crt");
    $? == 0 or croak "openssl: $output";
    return $t;
}

# ---- configuration -------------------------------------------------------------------------------

# nginx -t on a text: exit code and everything it wrote. It touches neither the pid file nor the
# error.log of an nginx that runs; what it logged is in nginx-test.log.
sub nginx_test {
    my ($t, $text) = @_;
    my $dir = $t->testdir;

    $t->write_file_expand('nginx-test.conf', $text);
    my $conf = $t->read_file('nginx-test.conf');
    $conf =~ s!\Q$dir\E/nginx\.pid!$dir/nginx-test.pid!g;
    $conf =~ s!\Q$dir\E/error\.log!$dir/nginx-test.log!g;
    $t->write_file('nginx-test.conf', $conf);
    $t->write_file('nginx-test.log', '');

    my $output = _output($Test::Nginx::NGINX, '-t', '-p', "$dir/", '-c', 'nginx-test.conf', '-e', 'nginx-test.log');
    my $code = $? & 127 ? 128 + ($? & 127) : $? >> 8;
    $output =~ /Sanitizer|runtime error:/ and croak "nginx -t: $output";
    return ($code, $output);
}

# The number of the first line of a file that matches, to compare with the one in a message.
sub conf_line {
    my ($t, $pattern, $name) = @_;
    $name //= 'nginx.conf';
    my $number = 0;
    for my $line (split /\n/, $t->read_file($name)) {
        $number++;
        return $number if $line =~ $pattern;
    }
    croak "no line of $name matches $pattern";
}

# How the guard's lines name a location.
sub place_of {
    my ($t, $name) = @_;
    my $line = conf_line($t, qr/^\s*location (?:\S+ )?\Q$name\E \{/);
    return qq{location "$name" (${\ $t->testdir}/nginx.conf:$line)};
}

# load_module lines for modules of Debian's packages. They fit one nginx only; with another one under test, that is
# all that there is to say.
sub packaged_modules {
    my (@names) = @_;
    my ($tested, $packaged) = map { -x $_ ? _output($_, '-V') : 'none' } $Test::Nginx::NGINX, '/usr/sbin/nginx';
    if ($tested ne $packaged) {
        Test::More::plan(tests => 1);
        Test::More::isnt($tested, $packaged, "@names: not for this nginx");
        exit;
    }
    my ($directory) = $packaged =~ /--modules-path=(\S+)/ or croak 'the packaged nginx has no modules';
    return join '', map {
        -e "$directory/$_.so" or croak "$directory/$_.so is not installed";
        "load_module $directory/$_.so;\n";
    } @names;
}

sub _output {
    my @command = @_;
    my $pid = open(my $pipe, '-|') // croak "fork: $!";
    if ($pid == 0) {
        open STDERR, '>&', \*STDOUT;
        exec @command or POSIX::_exit(127);
    }
    local $/;
    my $output = <$pipe>;
    close $pipe;
    return $output;
}

# ---- the log -------------------------------------------------------------------------------------

my @LEVELS = qw/ emerg alert crit error warn notice info debug /;
my %RANK = map { $LEVELS[$_] => $_ } 0 .. $#LEVELS;

# The guard's lines in error.log as "[level] websocket_guard: ...": all, or those of that level and
# worse. since => log_size($t) taken before leaves older ones out; raw => 1 keeps whole lines.
sub guard_log {
    my ($t, $level, %options) = @_;
    my $log = -e $t->testdir . '/error.log' ? $t->read_file('error.log') : '';
    return guard_lines(substr($log, $options{since} // 0), $level, %options);
}

# Those of requests and tunnels only: the ones of the audit end with a file and a line.
sub run_time_log { return grep { !/ in \S+:\d+$/ } guard_log(@_) }

# The same from any text, such as the output of nginx_test.
sub guard_lines {
    my ($text, $level, %options) = @_;
    !defined $level or defined $RANK{$level} or croak "no such level: $level";
    my @lines;
    for my $line (split /\n/, $text) {
        my ($its, $message) = $line =~ /^(?:\S+ \S+|nginx:) \[(\w+)\] (?:\d+#\d+: )?(?:\*\d+ )?(websocket_guard: .*)/
            or next;
        next if defined $level && $RANK{$its} > $RANK{$level};
        push @lines, $options{raw} ? $line : "[$its] $message";
    }
    return @lines;
}

# The names of the findings in error.log, of that level and worse, in their order. nginx writes them
# when a request is done, maybe after the client has its answer: count => N waits for so many.
sub guard_findings {
    my ($t, $level, %options) = @_;
    wait_until(sub { guard_log($t, $level) >= ($options{count} // 0) }, 5);
    return map { / \[([\w-]+)\](?: in |, client: |$)/ ? $1 : $_ } guard_log($t, $level);
}

# What became of one handshake, as "502, [error] upgrade failed: ... [bad-accept]": the status that the
# client got, then the guard's lines without what nginx adds to them; the status alone if there are none.
# Options as for websocket; a sub may do the handshake instead, and whatever else belongs to it.
sub outcome {
    my ($t, @attempt) = @_;
    my $attempt = ref $attempt[0] ? $attempt[0] : sub { websocket(@attempt) };
    my $access_log = $t->testdir . '/access.log';
    # An earlier request may be just ending.
    my $size = -1;
    wait_until(sub { my $last = $size; $size = -s $access_log || 0; $size == $last }, 2);
    my ($since, $requests) = (log_size($t), $size);

    my $client = $attempt->();
    my $status = $client->status;
    # With a Close, since a tunnel that ends without one leaves a line.
    $client->send(pack('n', 1000), 'close') && $client->closed_within(0.5) if $status == 101 && !$client->eof;
    $client->disconnect;

    # nginx writes the access log when a request is done, after everything else about it.
    wait_until(sub { (-s $access_log || 0) > $requests }, 10) or croak 'the request does not end';
    my @lines = guard_log($t, undef, since => $since);
    s/^(\[\w+\]) websocket_guard: (.* \[[\w-]+\])(?:, client: .*)?\z/$1 $2/ for @lines;
    return join ', ', $status, @lines;
}

sub log_size { return -s $_[0]->testdir . '/error.log' || 0 }

# Waits until error.log has a match, and returns it.
sub wait_log {
    my ($t, $pattern, $seconds, %options) = @_;
    my $found;
    wait_until(sub {
        return substr($t->read_file('error.log'), $options{since} // 0) =~ $pattern && ($found = $&, 1);
    }, $seconds);
    return $found;
}

# ---- processes -----------------------------------------------------------------------------------

# nginx makes the file first and writes into it later.
sub master_pid {
    my ($t) = @_;
    my $pid;
    wait_until(sub { ($pid) = $t->read_file('nginx.pid') =~ /^(\d+)\n/ }) or croak 'nginx.pid stays empty';
    return $pid;
}

# The workers that take new connections; those that finish their old ones with old => 1. nginx tells by their
# titles which is which; valgrind keeps those to itself, and error.log tells.
sub worker_pids {
    my ($t, %options) = @_;
    my $master = master_pid($t);
    my %title = map { $_ => _slurp("/proc/$_/cmdline") } _children($master);
    %title = map { $_ => _title_in_log($t, $_) } keys %title if !grep {/^nginx: /} values %title;

    my @workers = sort { $a <=> $b } grep { $title{$_} =~ /worker process/ } keys %title;
    return grep { ($title{$_} =~ /is shutting down/ ? 1 : 0) == ($options{old} ? 1 : 0) } @workers;
}

sub _title_in_log {
    my ($t, $pid) = @_;
    my $log = $t->read_file('error.log');
    my $title = $log =~ m{\[notice\] \d+#\d+: start worker process $pid$}m ? 'worker process' : '';
    return $log =~ /\[notice\] $pid#\d+: gracefully shutting down$/m ? "$title is shutting down" : $title;
}

sub rss_kib {
    my ($pid) = @_;
    return _slurp("/proc/$pid/status") =~ /^VmRSS:\s+(\d+) kB/m ? $1 : croak "no process $pid";
}

sub _slurp {
    my ($name) = @_;
    open my $file, '<', $name or return '';
    local $/;
    return scalar(<$file>) // '';
}

# SIGHUP. True once only new workers take connections; false if the new configuration is refused.
sub reload {
    my ($t) = @_;
    my $since = log_size($t);
    my $master = master_pid($t);

    # Right after its start nginx may still be forking.
    wait_until(sub { worker_pids($t) > 0 }, 5) or croak 'nginx has no workers';
    my %old = map { $_ => 1 } worker_pids($t);

    kill 'HUP', $master or croak "nginx is gone";
    my $done;
    wait_until(sub {
        my @now = worker_pids($t);
        return $done = 1 if @now && !grep { $old{$_} } @now;
        return substr($t->read_file('error.log'), $since) =~ /\[emerg\] $master#/;
    }, 20);

    # The title says it a moment before the old worker closes its sockets.
    sleep 0.05;
    return $done;
}

# ---- time ----------------------------------------------------------------------------------------

# Asks again and again until it is true; false if it is not in time.
sub wait_until {
    my ($condition, $seconds) = @_;
    my $until = time + ($seconds // 10) * $slowness;
    while (!$condition->()) {
        return 0 if time > $until;
        sleep 0.02 * $slowness;
    }
    return 1;
}

# No test hangs: a watchdog process ends it, with its nginx. It cannot be alarm(), which http()
# uses. The limit is from now on.
my $watchdog;

sub time_limit {
    my ($seconds) = @_;
    $watchdog->syswrite($slowness * $seconds . "\n");
}

sub _watch {
    my ($limit) = @_;
    my $test = $$;
    pipe my $reader, $watchdog or die "pipe: $!";

    # An exit, unlike the signal itself, lets the test clean up.
    $SIG{TERM} = $SIG{INT} = sub {
        POSIX::_exit(1) if $$ != $test;
        Test::More::diag('the test took too long or was ended');
        exit 124;
    };

    my $pid = fork() // die "fork: $!";
    return close $reader if $pid != 0;

    $SIG{TERM} = 'DEFAULT';
    $SIG{INT}  = 'IGNORE';
    close $_ for $watchdog, \*STDIN, \*STDOUT, \*STDERR;
    my $until = time + $limit;
    while ((my $left = $until - time) > 0) {
        my $bit = '';
        vec($bit, fileno $reader, 1) = 1;
        next unless select $bit, undef, undef, $left;
        sysread $reader, my $line, 64 or POSIX::_exit(0);
        $until = time + $1 if $line =~ /(\d+)\n\z/;
    }

    # First the test may clean up, then its nginx and backends are told to end, then it is killed.
    my @steps = ([sub { kill 'TERM', $test }, 10],
        [sub { kill 'TERM', grep { $_ != $$ } _children($test) }, 10],
        [sub { kill 'KILL', $test }, 0]);
    for my $step (@steps) {
        last if getppid != $test;
        $step->[0]->();
        my $end = time + $step->[1];
        sleep 0.1 while time < $end && getppid == $test;
    }
    POSIX::_exit(0);
}

sub _children {
    my ($parent) = @_;
    return map { _slurp($_) =~ /^(\d+) \(.*\) \S $parent /s ? $1 : () } glob '/proc/[0-9]*/stat';
}

_watch(120 * $slowness);

# ---- the original library ------------------------------------------------------------------------

# nginx leaves its configuration to the end of the process.
$ENV{ASAN_OPTIONS} //= 'detect_leaks=0';

{
    no warnings qw/ redefine prototype /;

    # Objects still alive at the end (any that a named sub mentions) are too late for the plan.
    my %alive;

    # Workers that run as another user must get into the directory.
    my $new = \&Test::Nginx::new;
    *Test::Nginx::new = sub {
        my $t = $new->(@_);
        chmod 0755, $t->testdir;
        Scalar::Util::weaken($alive{ Scalar::Util::refaddr($t) } = $t);
        return $t;
    };

    # An open tunnel would keep nginx from stopping.
    my $destroy = \&Test::Nginx::DESTROY;
    *Test::Nginx::DESTROY = sub {
        exists $alive{ Scalar::Util::refaddr($_[0]) } or return;
        delete $alive{ Scalar::Util::refaddr($_[0]) };
        Test::WebSocketGuard::Client::close_all();
        goto &$destroy;
    };

    my $test = $$;
    END { $$ == $test and $_->DESTROY for grep {defined} values %alive }

    # Debian builds nginx with dynamic modules whose packages need not be installed.
    my $modules = \&Test::Nginx::test_globals_modules;
    *Test::Nginx::test_globals_modules = sub {
        return join '', grep { /load_module (.*);/ && -e $1 } split /^/, $modules->(@_);
    };
}

1;

__END__

=head1 NAME

Test::WebSocketGuard - WebSocket through nginx, for tests

=head1 SYNOPSIS

    run_backend($t, 8081);
    $t->run();
    my $ws = websocket(path => '/ws');
    ok($ws->is_open, 'open');
    is($ws->echo('hello'), 'hello', 'echo');
    my ($seen) = requests_seen($t, 8081);
    is_deeply([$seen->header('Upgrade')], ['websocket'], 'one Upgrade header');

=head1 CLIENT

Ports are always the numbers of nginx.conf (8080 stands for C<port(8080)>); default 8080, with C<ssl> 8443.

=over

=item websocket(path, port, host, family, ssl, sni, alpn, preface, timeout, authority, origin, subprotocol, headers, without, method, version, key, pipeline, pipeline_message)

Connects, sends a handshake, reads the answer: a L<Test::WebSocketGuard::Client>, whether or not it is open.
C<family> 6 connects to ::1, C<preface> are bytes before everything (PROXY protocol), C<authority> is the Host
header. C<headers> is a list of raw lines; one of a default header's name takes its place, and duplicates stay. C<without>
names defaults to leave out. C<pipeline> are bytes sent together with the handshake, C<pipeline_message> a text message.

=item raw_request($bytes, port, host, family, ssl, ..., body)

Sends the bytes, reads one response. C<< body => 0 >> leaves its body unread (an event stream).

=item streams($path, port, ...)

Whether events of the backend's $path . 'sse' arrive one by one, not buffered.

=item handshake_request(...), connection(...)

The text of a handshake; a connection on which nothing was sent.

=back

=head1 BACKEND

=over

=item run_backend($t, 8081, handlers, ssl, host, protocol)

An echo backend which records every request: L<Test::WebSocketGuard::Backend>. C<ssl> names a certificate of
C<make_certificate>. C<websocket_backend> is the same for C<< $t->run_daemon(\&websocket_backend, $t, 8081) >>.

=item requests_seen($t, 8081, count)

What it received, as L<Test::WebSocketGuard::Head> requests.

=item false_upgrades($t, 8081, lenient)

Of those, the heads of requests with an Upgrade header that are not well-formed handshakes.

=item run_tunnels($script, $conf, $take)

Both ends of many tunnels, in one Python process: a script of F<t/lib/tunnels/>, which gets the structure as JSON, and
prints objects that C<$take> is called with.

=item make_certificate($t, $name, @names)

=back

=head1 NGINX

C<nginx_test($t, $conf)> gives exit code and output of nginx -t; C<conf_line($t, qr/../, $file)> the number of a line;
C<place_of($t, '/ws/')> how the guard's lines name that location;
C<packaged_modules('ngx_http_lua_module')> the load_module lines for Debian's modules, or the end of a test that they do not concern;
C<outcome($t, path => ..)> what the client and the log say about one handshake;
C<guard_log($t, $level, since, raw)> the guard's lines in error.log; C<run_time_log> without those of the audit; C<guard_lines($text, $level)> those in a text;
C<guard_findings($t, $level, count)> the names of the findings; C<log_size($t)> a mark
for C<since>; C<wait_log($t, qr/../, $seconds, since)>; C<reload($t)>; C<master_pid($t)>, C<worker_pids($t, old)>, C<rss_kib($pid)>.

=head1 TIME

C<wait_until(sub { ... }, $seconds)>. A test that takes more than 120 seconds is ended; C<time_limit($seconds)>
sets another limit.

=cut
