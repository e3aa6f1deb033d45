#!/usr/bin/perl

# The audit reads the files of a configuration a second time, but only regular ones: of a pipe or a device nginx has
# read nothing, and a second look at a named pipe would wait for ever.

use strict;
use warnings;

use Fcntl qw/ O_NONBLOCK O_WRONLY /;
use POSIX ();
use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy /)->plan(10);

my $conf = <<'EOC';

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /ws/ {
            websocket_guard     check;
            proxy_http_version  1.1;
            proxy_set_header    Upgrade $http_upgrade;
            proxy_set_header    Connection upgrade;
            include             %%INCLUDED%%;
            proxy_pass          http://127.0.0.1:8081;
        }
    }
}
EOC

my $dir = $t->testdir;
mkdir "$dir/$_" for qw/ pipes files /;
POSIX::mkfifo("$dir/pipes/$_.conf", 0600) for qw/ a b /;
$t->write_file('files/a.conf', 'proxy_read_timeout 30s;');
symlink "$dir/files/a.conf", "$dir/link.conf";

# Where nginx reads no timeout, the location has none of its own.
my $LOCATION = qr/location/;
for (
    ['a pipe',                   'pipes/a.conf', ['pipes/a.conf'],                 $LOCATION],
    ['pipes that a mask finds',  'pipes/*',      ['pipes/a.conf', 'pipes/b.conf'], $LOCATION],
    ['a device',                 '/dev/null',    [],                               $LOCATION],
    ['a regular file',           'files/*.conf', [],                               'files/a.conf:1'],
    ['a link to a regular file', 'link.conf',    [],                               'link.conf:1'],
) {
    my ($title, $included, $pipes, $place) = @$_;
    my @writers = map { writer("$dir/$_") } @$pipes;
    my ($code, $output) = nginx_test($t, $conf =~ s/%%INCLUDED%%/$included/r);
    my $waited = grep { $_ } map { stopped_waiting($_) } @writers;

    is_deeply([$code, $waited], [0, 0], "$title: nginx reads it, and nobody waits for it again");
    my ($found) = $output =~ /\[short-read-timeout\] in (\S+)$/m;
    $place = 'nginx-test.conf:' . conf_line($t, $place, 'nginx-test.conf') if ref $place;
    is($found, "$dir/$place", "$title: the audit says where the timeout is wrong");
}

# Writes into a pipe once it is opened, which nginx does not read. Who opens it again and waits for a writer gets one
# after a while.
sub writer {
    my ($path) = @_;
    my $pid = fork() // die "fork: $!";
    return $pid if $pid;

    $SIG{TERM} = 'DEFAULT';
    $SIG{PIPE} = 'IGNORE';
    sysopen my $pipe, $path, O_WRONLY or POSIX::_exit(2);
    syswrite $pipe, 'proxy_read_timeout 1h;';
    close $pipe;
    do { sleep 5 } until sysopen $pipe, $path, O_WRONLY | O_NONBLOCK;
    POSIX::_exit(1);
}

# Whether a writer was needed once more.
sub stopped_waiting {
    my ($pid) = @_;
    kill 'TERM', $pid;
    waitpid $pid, 0;
    return $? != POSIX::SIGTERM;
}
