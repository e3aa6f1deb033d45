#!/usr/bin/perl

# A backend that nginx may not connect to, one whose queue is full, one that there is no way to, and an address that
# proxy_bind cannot have: each has a line and a remedy of its own, none of them "start the backend".

use strict;
use warnings;

use IO::Socket::UNIX;
use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy scgi unix /)->plan(25);

my $conf = <<'EOC';

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    upstream pool {
        server unix:%%TESTDIR%%/mode.sock max_fails=0;
        server unix:%%TESTDIR%%/folder/search.sock backup;
    }

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        websocket_guard      MODE;
        proxy_http_version   1.1;
        proxy_set_header     Upgrade $http_upgrade;
        proxy_set_header     Connection upgrade;

        location /mode {
            proxy_pass  http://unix:%%TESTDIR%%/mode.sock;
        }

        location /search {
            proxy_pass  http://unix:%%TESTDIR%%/folder/search.sock;
        }

        location /scgi {
            scgi_pass  unix:%%TESTDIR%%/mode.sock;
        }

        location /pool {
            proxy_pass  http://pool;
        }

        location /absent {
            proxy_pass  http://unix:%%TESTDIR%%/absent.sock;
        }

        location /full {
            proxy_pass  http://unix:%%TESTDIR%%/full.sock;
        }

        location /route {
            proxy_pass  http://224.0.0.1:8081;
        }

        location /bound {
            proxy_bind  BIND;
            proxy_pass  http://127.0.0.1:8081;
        }
    }
}
EOC

my $dir = $t->testdir;
mkdir "$dir/folder" or die "mkdir: $!";
chmod 0755, $dir;
for my $name ('mode', 'folder/search') {
    my $listener = listener($name, 16);
    chmod 0777, "$dir/$name.sock";
    $t->run_daemon(\&websocket_backend, $t, 8082, listener => $listener);
}
chmod 0700, "$dir/mode.sock";
chmod 0000, "$dir/mode.sock" if $> != 0;
chmod 0600, "$dir/folder";

my $full = listener('full', 0);
chmod 0777, "$dir/full.sock";
my $waiting = IO::Socket::UNIX->new(Peer => "$dir/full.sock") or die "connect: $!";

run_backend($t, 8081);
configure('on', '192.0.2.1');
$t->run();

my $forbidden = 'nginx may not connect to backend unix:%s (13: Permission denied); let the user that nginx\'s workers '
    . 'run as write to that socket, and search the folders above it [backend-forbidden]';
my $bound = sprintf 'nginx did not ask backend 127.0.0.1:%d: the address of proxy_bind cannot be had (99: Cannot assign '
    . 'requested address); correct that directive: it needs an address of this host, of the same family as the '
    . 'backend\'s [backend-unreachable]', port(8081);

for my $mode (qw/ on off /) {
    if ($mode eq 'off') {
        configure($mode, '192.0.2.1');
        reload($t);
    }
    my @cases = (
        ['/mode',   502, sprintf($forbidden, "$dir/mode.sock")],
        ['/search', 502, sprintf($forbidden, "$dir/folder/search.sock")],
        ['/scgi',   502, sprintf($forbidden, "$dir/mode.sock")],
        ['/pool',   502, sprintf($forbidden, "$dir/folder/search.sock")],
        ['/bound',  500, $bound],
        ['/absent', 502, "no connection to backend unix:$dir/absent.sock (2: No such file or directory); start the "
            . 'backend, or correct the address in proxy_pass [backend-unreachable]'],
        ['/full', 502, "no connection to backend unix:$dir/full.sock: its queue of connections is full (11: Resource "
            . 'temporarily unavailable); see why the backend accepts none, or raise its listen backlog (and the '
            . 'host\'s net.core.somaxconn) [backend-unreachable]'],
        ['/route', 502, 'no connection to backend 224.0.0.1:8081 (101: Network is unreachable); correct '
            . 'the address in proxy_pass, or this host\'s routes and firewall [backend-unreachable]'],
    );
    for my $case (@cases) {
        my ($path, $status, $reason) = @$case;
        is(outcome($t, path => $path), "$status, [error] upgrade failed: $reason", "$mode, $path");
    }
}

# What the lines say.
chmod 0777, "$dir/mode.sock";
is(outcome($t, path => '/mode'), 101, 'the mode of the socket');
is(outcome($t, path => '/pool'), 101, 'one server of two');
chmod 0711, "$dir/folder";
is(outcome($t, path => '/search'), 101, 'the mode of the folder');
unlink "$dir/full.sock" or die "unlink: $!";
$t->run_daemon(\&websocket_backend, $t, 8082, listener => listener('full', 16));
is(outcome($t, path => '/full'), 101, 'a longer queue');
configure('off', '127.0.0.2');
reload($t);
is(outcome($t, path => '/bound'), 101, 'an address of this host');

# A refusal of the backend's own is no such thing.
is(outcome($t, path => '/mode/status?403'), "403, [error] upgrade failed: backend unix:$dir/mode.sock refused access "
    . q{with 403 and said "status"; see the backend's log, and that cookies or tokens reach it [backend-auth]}, 'refused by the backend');

# Another line of the same connection changes nothing.
like(outcome($t, path => '/absent'), qr/^502, .* \(2: No such file or directory\);/, 'after all that');
my $log = $t->read_file('error.log');
is(scalar(() = $log =~ /connect\(\) to unix:\S+ failed \(\d+: .*?\) while connecting to upstream, client: 127/g),
    scalar(() = $log =~ /connect\(\) to unix:/g), 'nginx\'s own lines are as ever');
unlike($log, qr/websocket_guard: .* \(0: /, 'no error without a number');

sub configure {
    my ($mode, $address) = @_;
    $t->write_file_expand('nginx.conf', $conf =~ s/MODE/$mode/r =~ s/BIND/$address/r);
}

sub listener {
    my ($name, $backlog) = @_;
    my $listener = IO::Socket::UNIX->new(Local => "$dir/$name.sock", Listen => $backlog) or die "listen: $!";
    listen $listener, $backlog;
    chmod 0777, "$dir/$name.sock";
    return $listener;
}
