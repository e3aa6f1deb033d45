package Test::WebSocketGuard::Corpus;

# Whole configurations, right and wrong ones, and what the audit says about them at "nginx -t". How
# they are written is in t/corpus/README.md.

use strict;
use warnings;

use Carp;
use Exporter 'import';
use File::Path ();
use POSIX ();
use Test::Nginx ();
use Test::WebSocketGuard ();

our @EXPORT = qw/ corpus conf_in_form audit_confs /;

# How many nginx -t run at the same time.
my $WORKERS = 2;

# The configurations in t/corpus/KIND by their names, each as its lines.
sub corpus {
    my ($kind) = @_;
    my %corpus;
    for my $file (glob "t/corpus/$kind/*.conf") {
        open my $handle, '<', $file or croak "Can't open $file: $!";
        my ($name) = $file =~ m!([^/]+)\.conf$!;
        chomp(my @lines = <$handle>);
        $corpus{$name} = \@lines;
    }
    return \%corpus;
}

# What each form does with the parts of a configuration that are marked.
my %FORM = (
    none  => {},
    hand  => { hand => 1 },
    check => { hand => 1, on => 'check' },
    both  => { hand => 1, on => 1 },
    on    => { on => 1 },
    auto  => { on => 'auto' },
    http  => { level => "websocket_guard auto;" },
);

# A configuration as the job for audit_confs. Its lines keep their numbers.
sub conf_in_form {
    my ($lines, $form) = @_;
    my $wanted = $FORM{$form} or croak "no form $form";
    my (%job, $part);
    my $body = '';
    for my $line (@$lines) {
        my $text = '';
        if ($line =~ /^\s*#\[(\w+)(?: (\S+))?$/) {
            $part = { kind => $1, file => $2 };
        } elsif ($line =~ /^\s*#\]$/) {
            undef $part;
        } elsif (!$part) {
            $text = $line;
        } elsif ($part->{kind} eq 'file') {
            push @{ $job{files}{ $part->{file} } }, $line;
        } elsif (my $how = $wanted->{ $part->{kind} }) {
            $text = $line;
            if ($how ne 1) {
                $text =~ s/^(\s*websocket_guard )\w+;/$1$how;/;
                $text = '' if $how eq 'check' && $text =~ /websocket_guard_/;
            }
        }
        $body .= "$text\n";
    }
    return { %job, body => $body, level => $wanted->{level} // '' };
}

# Runs nginx -t on each of the jobs and returns a result for each: "output", whether it is "ok", and
# the findings as "reports" with level, name, file, line (of the body or of an included file) and text.
sub audit_confs {
    my ($t, @jobs) = @_;
    my @dirs = map { _directory($t, $_) } 1 .. $WORKERS;
    my (@results, @running);
    my $next = 0;

    # Test::Nginx looks here for alerts and reports of sanitizers at the end.
    open my $log, '>', $t->testdir . '/error.log' or croak "Can't create error.log: $!";
    while (@running || $next < @jobs) {
        if (@running < $WORKERS && $next < @jobs) {
            push @running, { job => $next, %{ _start($t, $dirs[$next % $WORKERS], $jobs[$next]) } };
            $next++;
            next;
        }
        my $oldest = shift @running;
        my $result = $results[ $oldest->{job} ] = _finish($oldest);
        print $log delete $result->{log};
    }
    close $log;
    return @results;
}

# What configurations expect to find beside them.
sub _directory {
    my ($t, $number) = @_;
    my $dir = $t->testdir . "/$number";
    if (!-d $dir) {
        -e $t->testdir . '/site.crt' or Test::WebSocketGuard::make_certificate($t, 'site');
        File::Path::make_path("$dir/cache", "$dir/snippets");
        symlink "../site.$_", "$dir/site.$_" or croak "symlink: $!" for qw/ crt key /;
        _write("$dir/fastcgi_params", "fastcgi_param REQUEST_METHOD \$request_method;\n");
        _write("$dir/uwsgi_params", "uwsgi_param REQUEST_METHOD \$request_method;\n");
    }
    return $dir;
}

sub _start {
    my ($t, $dir, $job) = @_;
    my $head = join '', "pid nginx.pid;\nerror_log error.log info;\n", $ENV{TEST_NGINX_GLOBALS} // '',
        $t->test_globals_modules, "\nevents {\n}\nhttp {\n", $t->test_globals_http, "\n", $job->{level}, "\n";
    my $body = $job->{body};
    # For nginx a name, and for the resolver of the system the address 127.0.0.1.
    $body =~ s!^(\s*(?:server|proxy_pass)\s+(?:https?://)?)[\w-]+\.internal\b!${1}0x7f000001!mg;
    $body =~ s/^(\s*listen\s+)(\[::1?\]:)?(\d+)\b/$1 . _address($dir, $3, $2)/mge;

    _write("$dir/nginx.conf", "$head$body}\n");
    _write("$dir/error.log", '');
    for my $name (keys %{ $job->{files} // {} }) {
        _write("$dir/$name", join '', map {"$_\n"} @{ $job->{files}{$name} });
    }
    my $pid = open(my $pipe, '-|') // croak "fork: $!";
    if ($pid == 0) {
        open STDERR, '>&', \*STDOUT;
        exec $Test::Nginx::NGINX, '-t', '-p', "$dir/", '-c', 'nginx.conf', '-e', 'error.log' or POSIX::_exit(127);
    }
    return { dir => $dir, pipe => $pipe, offset => $head =~ tr/\n// };
}

# The ports 80 and 443 are sockets in the file system: they need no privileges, and say no more about
# the port than the real ones do.
sub _address {
    my ($dir, $port, $ipv6) = @_;
    return "unix:$dir/$port" . ($ipv6 ? '-6' : '') . '.sock' if $port == 80 || $port == 443;
    return ($ipv6 ? '[::1]:' : '127.0.0.1:') . Test::Nginx::port($port);
}

sub _finish {
    my ($run) = @_;
    my $dir = $run->{dir};
    local $/;
    my $pipe   = $run->{pipe};
    my $output = <$pipe> // '';
    my $ok     = close $pipe;
    open my $log, '<', "$dir/error.log" or croak "Can't open error.log: $!";
    my $text = $output . <$log>;

    # The same line may be on standard error and in the log.
    my (@reports, %seen);
    for my $line (Test::WebSocketGuard::guard_lines($text)) {
        $seen{$line}++ and next;
        my ($level, $what, $name, $file, $number) =
            $line =~ /^\[(\w+)\] websocket_guard: (.*) \[([a-z0-9-]+)\] in (\S+):(\d+)$/ or next;
        $file =~ s!^\Q$dir\E/!!;
        $number -= $run->{offset} if $file eq 'nginx.conf';
        push @reports, { level => $level, name => $name, file => $file, line => $number, text => $what };
    }
    return { ok => $ok, output => $output, log => $text, reports => \@reports };
}

sub _write {
    my ($name, $text) = @_;
    open my $file, '>', $name or croak "Can't create $name: $!";
    print $file $text;
    close $file or croak "Can't write $name: $!";
}

1;
