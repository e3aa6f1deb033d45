package Test::Nginx;

# A small implementation of the Test::Nginx interface of nginx's own test suite, so that the tests
# need no download. They run unchanged with the original library as well.

use strict;
use warnings;

use Exporter 'import';
use File::Path ();
use File::Spec ();
use File::Temp ();
use IO::Socket::INET;
use POSIX ();
use Test::More ();
use Time::HiRes qw/ sleep time /;

our @EXPORT    = qw/ http http_get http_head log_in log_out port /;
our @EXPORT_OK = qw/ http_start http_end http_content /;

our $NGINX = $ENV{TEST_NGINX_BINARY} // '/usr/sbin/nginx';

# How long nginx may take to start, a helper process to listen, a request to be answered.
my $PATIENCE = 10 * ($ENV{TEST_NGINX_SLOWNESS} // 1);

# Leaks are not looked for: nginx leaves its configuration to the end of the process.
$ENV{ASAN_OPTIONS} //= 'detect_leaks=0';

# ---- the object ----------------------------------------------------------------------------------

sub new {
    my ($class) = @_;

    -x $NGINX or Test::More::BAIL_OUT("no nginx binary at $NGINX, set TEST_NGINX_BINARY");

    my $testdir = File::Temp::tempdir('nginx-test-XXXXXXXXXX', TMPDIR => 1);

    # The workers of an nginx started by root run as another user and write request bodies here.
    chmod 0755, $testdir or die "chmod $testdir: $!\n";

    return bless {
        testdir => $testdir,
        owner   => $$,
        daemons => [],
        alerts  => 1,
    }, $class;
}

sub DESTROY {
    my ($self) = @_;

    # Forked helpers inherit the object; only the test itself may clean up.
    return if $self->{owner} != $$;

    local ($?, $@, $!);
    $self->stop();
    $self->stop_daemons();

    if (Test::More->builder->expected_tests) {
        my $log = -e "$self->{testdir}/error.log" ? $self->read_file('error.log') : '';

        Test::More->builder->todo_start('alerts') unless $self->{alerts};
        Test::More::is(join("\n", $log =~ /^.*\[alert\].*$/mg), '', 'no alerts');
        Test::More->builder->todo_end() unless $self->{alerts};

        my @reports = $log =~ /^.*(?:Sanitizer|runtime error:).*$/mg;
        Test::More::is(join("\n", @reports), '', 'no sanitizer errors');
        _show_report($log) if @reports;
    }

    if ($ENV{TEST_NGINX_LEAVE}) {
        Test::More::diag("left $self->{testdir}");
    } else {
        File::Path::remove_tree($self->{testdir}, { error => \my $ignored });
    }
}

# The stack of the first sanitizer report, without the debug log around it.
sub _show_report {
    my ($log) = @_;
    my @lines = grep { !m!^\d{4}/\d\d/\d\d ! } split /\n/, $log;
    splice @lines, 60 if @lines > 60;
    Test::More::diag(join "\n", @lines);
}

sub plan {
    my ($self, $tests) = @_;

    # The two checks at the end count too.
    Test::More::plan(tests => $tests + 2);
    return $self;
}

sub todo_alerts {
    my ($self) = @_;
    $self->{alerts} = 0;
    return $self;
}

sub testdir { $_[0]{testdir} }

# ---- what must be there --------------------------------------------------------------------------

# Modules which configure leaves out unless it is told to build them; all others are built in
# unless configure is told to leave them out.
my %OPTIONAL = map { $_ => 1 } qw/
    addition auth_request dav degradation flv gunzip gzip_static image_filter mp4 perl
    random_index realip secure_link slice ssl stub_status sub v2 v3 xslt
/;

my %BUILT_IN = map { $_ => 1 } qw/
    access auth_basic autoindex browser charset empty_gif fastcgi geo grpc gzip limit_conn limit_req
    map memcached mirror proxy referer rewrite scgi split_clients ssi userid uwsgi
    upstream_hash upstream_ip_hash upstream_keepalive upstream_least_conn upstream_random
    upstream_zone
/;

my %FEATURE = (
    http   => sub { shift !~ /--without-http(?!\S)/ },
    cache  => sub { shift !~ /--without-http-cache/ },
    pcre   => sub { shift !~ /--without-pcre/ },
    debug  => sub { shift =~ /--with-debug/ },
    sni    => sub { shift =~ /TLS SNI support enabled/ },
    mail   => sub { shift =~ /--with-mail(?!\S)/ },
    stream => sub { shift =~ /--with-stream(?!\S)/ },
    unix   => sub { 1 },
    socket_ssl => sub { eval { require IO::Socket::SSL } },
    socket_ssl_sni  => sub { eval { require IO::Socket::SSL; IO::Socket::SSL->can_client_sni } },
    socket_ssl_alpn => sub { eval { require IO::Socket::SSL; IO::Socket::SSL->can_alpn } },
);

# Nothing is skipped here: a test that cannot run has failed.
sub has {
    my ($self, @features) = @_;
    for my $feature (@features) {
        $self->has_module($feature)
            or die "this test needs \"$feature\", which $NGINX or this machine lacks\n";
    }
    return $self;
}

sub has_module {
    my ($self, $feature) = @_;
    my $built = $self->_build_info;

    return $FEATURE{$feature}->($built) ? 1 : 0 if $FEATURE{$feature};

    (my $module = $feature) =~ s/^http_//;
    return $built =~ /--with-http_${module}_module(?!\S)/ ? 1 : 0 if $OPTIONAL{$module};
    return $built !~ /--without-http_${module}_module/ ? 1 : 0 if $BUILT_IN{$module};

    # As in the original, anything else is a pattern for the output of nginx -V.
    return $built =~ /$feature/ ? 1 : 0;
}

sub has_version {
    my ($self, $wanted) = @_;
    my ($version) = $self->_build_info =~ m!nginx version: nginx/([\d.]+)!;
    my @have = split /\./, $version;
    for my $part (split /\./, $wanted) {
        my $have = shift(@have) // 0;
        return $have > $part ? 1 : 0 if $have != $part;
    }
    return 1;
}

sub has_daemon {
    my ($self, $program) = @_;
    grep { -x "$_/$program" } File::Spec->path
        or die "this test needs the program \"$program\", which is not installed\n";
    return $self;
}

sub _build_info {
    my ($self) = @_;
    return $self->{build_info} //= `$NGINX -V 2>&1`;
}

# ---- files ---------------------------------------------------------------------------------------

sub read_file {
    my ($self, $name) = @_;
    open my $file, '<:raw', "$self->{testdir}/$name" or die "Can't open $name: $!\n";
    local $/;
    return scalar <$file>;
}

sub write_file {
    my ($self, $name, $content) = @_;
    open my $file, '>:raw', "$self->{testdir}/$name" or die "Can't create $name: $!\n";
    print $file $content;
    close $file or die "Can't write $name: $!\n";
    return $self;
}

sub write_file_expand {
    my ($self, $name, $content) = @_;

    $content =~ s/%%TEST_GLOBALS%%/$self->test_globals/ge;
    $content =~ s/%%TEST_GLOBALS_HTTP%%/$self->test_globals_http/ge;
    $content =~ s/%%TESTDIR%%/$self->{testdir}/g;
    $content =~ s/127\.0\.0\.1:(8\d{3})(?!\d)/'127.0.0.1:' . port($1)/ge;
    $content =~ s/%%PORT_(\d+)%%/port($1)/ge;
    $content =~ s/%%PORT_(\d+)_UDP%%/port($1, udp => 1)/ge;

    return $self->write_file($name, $content);
}

sub test_globals {
    my ($self) = @_;
    return $self->{globals} //= join '',
        "pid $self->{testdir}/nginx.pid;\n",
        "error_log $self->{testdir}/error.log debug;\n",
        $ENV{TEST_NGINX_GLOBALS} // '',
        $self->test_globals_modules;
}

# load_module lines for what nginx has as dynamic modules, as far as they are installed.
sub test_globals_modules {
    my ($self) = @_;
    my (undef, $beside_nginx) = File::Spec->splitpath($NGINX);
    my $dir = File::Spec->rel2abs($ENV{TEST_NGINX_MODULES} // $beside_nginx);

    my @dynamic = $self->_build_info =~ /--with-(\w+)=dynamic/g;
    my @files = map { my $name = $_; $name =~ s/_module$//; "$dir/ngx_${name}_module.so" } @dynamic;
    return join '', map {"load_module $_;\n"} grep { -e } @files;
}

sub test_globals_http {
    my ($self) = @_;
    my $dir = $self->{testdir};
    return $self->{globals_http} //= join '',
        "root $dir;\n",
        "access_log $dir/access.log;\n",
        "client_body_temp_path $dir/client_body_temp;\n",
        (map {"${_}_temp_path $dir/${_}_temp;\n"}
            grep { $self->has_module($_) } qw/ proxy fastcgi uwsgi scgi /),
        $ENV{TEST_NGINX_GLOBALS_HTTP} // '';
}

# ---- nginx ---------------------------------------------------------------------------------------

sub run {
    my ($self, $conf) = @_;

    if (defined $conf) {
        open my $file, '<:raw', $conf or die "Can't open $conf: $!\n";
        local $/;
        $self->write_file_expand('nginx.conf', scalar <$file>);
    }

    my $pid = fork() // die "Can't fork: $!\n";
    if ($pid == 0) {
        exec @{ $self->_command } or POSIX::_exit(127);
    }

    if (!$self->waitforfile("$self->{testdir}/nginx.pid", $pid)) {
        kill 'KILL', $pid;
        die "Can't start nginx\n";
    }

    $self->{started} = $pid;
    return $self;
}

# For what an nginx may not support: here too, that is a failure.
sub try_run {
    my ($self, $message) = @_;
    eval { $self->run(); 1 } or die "$message: $@";
    return $self;
}

sub reload {
    my ($self) = @_;
    kill 'HUP', $self->_master if $self->{started};
    return $self;
}

sub stop {
    my ($self) = @_;
    return $self unless $self->{started};

    my $pid = $self->_master;
    for my $try ([QUIT => 30], [TERM => 5], [KILL => 5]) {
        my ($signal, $seconds) = @$try;
        kill $signal, $pid;
        last if $self->_gone($pid, $seconds);
        Test::More::diag("nginx did not stop on SIG$signal within $seconds seconds");
    }

    $self->{started} = 0;
    return $self;
}

sub dump_config {
    my ($self) = @_;
    my $command = join ' ', map {"'$_'"} @{ $self->_command('-T') };
    return scalar `$command 2>&1`;
}

sub _command {
    my ($self, @options) = @_;
    my $dir = $self->{testdir};

    # A configuration without %%TEST_GLOBALS%% still has to say where nginx can be found.
    my @globals = $self->{globals} ? ()
        : ('-g', "pid $dir/nginx.pid; error_log $dir/error.log debug;");
    return [$NGINX, @options, '-p', "$dir/", '-c', 'nginx.conf', '-e', 'error.log', @globals];
}

sub _master {
    my ($self) = @_;
    my ($pid) = $self->read_file('nginx.pid') =~ /^(\d+)/;
    return $pid // $self->{started};
}

# Waits for the end of a process, child or not.
sub _gone {
    my ($self, $pid, $seconds) = @_;
    my $until = time + $seconds;
    while (time < $until) {
        my $reaped = waitpid $pid, POSIX::WNOHANG();
        return 1 if $reaped == $pid or $reaped == -1 && !kill 0, $pid;
        sleep 0.02;
    }
    return 0;
}

# ---- helper processes ----------------------------------------------------------------------------

sub run_daemon {
    my ($self, $code, @args) = @_;

    my $pid = fork() // die "Can't fork a daemon: $!\n";
    if ($pid == 0) {
        if (ref $code eq 'CODE') {
            eval { $code->(@args); 1 } or warn "daemon: $@";
        } else {
            exec $code, @args or warn "Can't run $code: $!\n";
        }
        POSIX::_exit(0);
    }

    push @{ $self->{daemons} }, $pid;
    return $self;
}

sub stop_daemons {
    my ($self) = @_;
    while (my $pid = shift @{ $self->{daemons} }) {
        kill 'TERM', $pid;
        next if $self->_gone($pid, 5);
        kill 'KILL', $pid;
        $self->_gone($pid, 5);
    }
    return $self;
}

# True when the file is there; false when it does not come, or the process that writes it ends.
sub waitforfile {
    my ($self, $file, $pid) = @_;
    my $until = time + $PATIENCE;
    while (time < $until) {
        return 1 if -e $file;
        return 0 if $pid && waitpid($pid, POSIX::WNOHANG()) != 0;
        sleep 0.02;
    }
    return 0;
}

sub waitforsocket {
    my ($self, $peer) = @_;
    my $until = time + $PATIENCE;
    while (time < $until) {
        return 1 if IO::Socket::INET->new(Proto => 'tcp', PeerAddr => $peer);
        sleep 0.02;
    }
    return 0;
}

# ---- ports ---------------------------------------------------------------------------------------

my %ports;

# The real port that stands for a port number of the test. Tests run in parallel, so that a UDP
# socket (for a UDP port: a TCP one) of the same number is held as long as the test runs. The
# range lies below the ports that Linux gives to outgoing connections. A port at which connections of
# another test are in TIME_WAIT is no free one: some sockets are bound without SO_REUSEADDR.
sub port {
    my ($number, %options) = @_;

    $ports{$number} //= do {
        my ($proto, $lock_proto) = $options{udp} ? qw/ udp tcp / : qw/ tcp udp /;
        my ($port, $lock);
        for (1 .. 100) {
            $port = 10000 + int rand 22000;
            $lock = _bind($lock_proto, $port) or next;
            last if _bind($proto, $port);
            undef $lock;
        }
        $lock or die "no free port\n";
        { port => $port, lock => $lock };
    };

    return $options{socket} ? $ports{$number}{lock} : $ports{$number}{port};
}

sub _bind {
    my ($proto, $port) = @_;
    return IO::Socket::INET->new(
        Proto     => $proto,
        LocalAddr => '127.0.0.1',
        LocalPort => $port,
        $proto eq 'tcp' ? (Listen => 1) : (),
    );
}

# ---- plain requests ------------------------------------------------------------------------------

sub http_get {
    my ($uri, %options) = @_;
    return http("GET $uri HTTP/1.0\nHost: localhost\n\n", %options);
}

sub http_head {
    my ($uri, %options) = @_;
    return http("HEAD $uri HTTP/1.0\nHost: localhost\n\n", %options);
}

sub http {
    my ($request, %options) = @_;
    my $socket = http_start($request, %options);
    return $socket if $options{start} or !defined $socket;
    return http_end($socket, %options);
}

sub http_start {
    my ($request, %options) = @_;
    return _in_time(sub {
        my $socket = $options{socket} // IO::Socket::INET->new(
            Proto    => 'tcp',
            PeerAddr => '127.0.0.1:' . port($options{SSL} ? 8443 : 8080),
            %options
        ) // die "Can't connect to nginx: $!\n";

        if ($options{SSL}) {
            require IO::Socket::SSL;
            IO::Socket::SSL->start_SSL($socket,
                SSL_verify_mode => IO::Socket::SSL::SSL_VERIFY_NONE(), %options)
                or die "TLS: " . IO::Socket::SSL::errstr() . "\n";
        }

        log_out($request);
        $socket->print($request);
        sleep $options{sleep} if $options{sleep};
        return '' if $options{aborted};

        if ($options{body}) {
            log_out($options{body});
            $socket->print($options{body});
        }
        return $socket;
    });
}

sub http_end {
    my ($socket) = @_;
    return _in_time(sub {
        local $/;
        my $response = $socket->getline;
        $socket->close;
        log_in($response);
        return $response;
    });
}

# The body of a response, with its chunks joined.
sub http_content {
    my ($response) = @_;
    return undef unless defined $response;

    my ($head, $body) = $response =~ /\A(.*?)\r?\n\r?\n(.*)\z/s or return undef;
    return $body unless $head =~ /^Transfer-Encoding: *chunked/mi;

    my $content = '';
    while ($body =~ s/\A(?:\r?\n)?([0-9a-f]+)[^\n]*\n//i) {
        my $length = hex $1;
        return $content if $length == 0;
        $content .= substr $body, 0, $length, '';
    }
    return $content . '[no-last-chunk]';
}

# Runs the code; undef if it dies or takes too long.
sub _in_time {
    my ($code) = @_;
    my $result = eval {
        local $SIG{ALRM} = sub { die "timeout\n" };
        local $SIG{PIPE} = sub { die "sigpipe\n" };
        alarm $PATIENCE;
        my $value = $code->();
        alarm 0;
        $value;
    };
    alarm 0;
    log_in("died: $@") if $@;
    return $result;
}

sub log_out { log_core('>>', @_) }
sub log_in  { log_core('<<', @_) }

sub log_core {
    my ($prefix, $text) = @_ > 1 ? @_ : ('', @_);
    return unless $ENV{TEST_NGINX_VERBOSE} && defined $text;
    $text = substr($text, 0, 2048) . '...' if length $text > 2048;
    $text =~ s/([^\x20-\x7e\n])/sprintf '\\x%02x', ord $1/ge;
    Test::More::note(map {"$prefix $_\n"} split /\n/, $text);
}

1;

__END__

=head1 NAME

Test::Nginx - start an nginx for a test

=head1 SYNOPSIS

    my $t = Test::Nginx->new()->has(qw/ http proxy /)->plan(1);
    $t->write_file_expand('nginx.conf', $text);
    $t->run();
    like(http_get('/'), qr/200 OK/);

=head1 DESCRIPTION

The interface is that of the library of the same name in nginx's own test suite; only what our tests
use is here. It differs in two points: a missing feature fails the test instead of skipping it, and
dynamic modules of nginx that are not installed are not loaded.

C<plan(N)> adds two tests, made when the object goes away: no [alert] and no sanitizer report in
error.log. Where nginx runs with AddressSanitizer, its reports are in error.log, because nginx points its
standard error there; C<ASAN_OPTIONS> is left as it is if set.

In C<write_file_expand> these are replaced: C<%%TEST_GLOBALS%%>, C<%%TEST_GLOBALS_HTTP%%>,
C<%%TESTDIR%%>, C<%%PORT_8080%%> for any number, C<%%PORT_8080_UDP%%>, and any 127.0.0.1:8000 to
127.0.0.1:8999. C<port(8080)> gives the real number. Ports have to be asked for before a daemon is forked that is to
see the same number.

=head1 ENVIRONMENT

=over

=item TEST_NGINX_BINARY

The nginx to test, /usr/sbin/nginx if unset.

=item TEST_NGINX_GLOBALS, TEST_NGINX_GLOBALS_HTTP

More text for C<%%TEST_GLOBALS%%> and C<%%TEST_GLOBALS_HTTP%%>: for us, C<load_module>.

=item TEST_NGINX_MODULES

Where nginx's own dynamic modules are, if not beside the binary.

=item TEST_NGINX_LEAVE

Set to keep the test's directory.

=item TEST_NGINX_VERBOSE

Set to show what is sent and received.

=back

=cut
