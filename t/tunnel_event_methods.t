#!/usr/bin/perl

# Whatever tells nginx that a connection is ready: epoll, which tells it once, and those that tell it
# again and again, as far as this nginx has them.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;
use Time::HiRes qw/ sleep /;

my $t = Test::Nginx->new()->has(qw/ http proxy http_ssl socket_ssl /);

my @methods = ('epoll', grep { $t->has_module("--with-${_}_module") } qw/ poll select /);
$t->plan(@methods * 17);

my $LENGTH = 10 << 20;
my $piece  = join '', map { chr int rand 256 } 1 .. 7919;
my $stream = substr $piece x (1 + $LENGTH / 7919), 0, $LENGTH;

make_certificate($t, 'localhost');
run_backend($t, 8081, handlers => {
    pour => sub { my ($c) = @_; $c->upgrade; $c->write($stream, 60); $c->disconnect },
});

for my $method (@methods) {
    $t->write_file_expand('nginx.conf', <<"EOC");

%%TEST_GLOBALS%%

daemon off;

events {
    use $method;
}

http {
    %%TEST_GLOBALS_HTTP%%

    # What passes here is no frames.
    websocket_guard_ignore  tunnel-frame-error;

    error_log  %%TESTDIR%%/error.log info;

    server {
        listen       127.0.0.1:8080 sndbuf=32k;
        listen       127.0.0.1:8443 ssl sndbuf=32k;
        server_name  localhost;

        ssl_certificate      localhost.crt;
        ssl_certificate_key  localhost.key;

        location / {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /short/ {
            websocket_guard          on;
            websocket_guard_timeout  1s;
            proxy_pass               http://127.0.0.1:8081;
        }
    }
}
EOC
    $t->run();
    ok(wait_log($t, qr/using the "$method" event method/, 5), "$method: in use");

    for my $ssl (0, 1) {
        my $name = $method . ($ssl ? ', TLS' : '');
        my $ws = websocket(ssl => $ssl);
        is($ws->echo('hello'), 'hello', "$name: echo");
        is($ws->echo_bytes($_), $_, "$name: $_ bytes there and back") for 65_536, 10 << 20;
        is($ws->echo_bytes(1 << 20, 1000), 1 << 20, "$name: many messages");
        ok($ws->close, "$name: close");

        $ws = websocket(path => '/pour', ssl => $ssl);
        delete $ws->{greedy};
        sleep 0.5;
        ok(($ws->read_all(30) // '') eq $stream, "$name: a slow client has everything, then the end");

        $ws = websocket(path => '/short/', ssl => $ssl);
        ok($ws->closed_within(5), "$name: the idle limit");
    }
    # Nobody must be busy with tunnels on which nothing happens.
    my @idle = map { websocket(ssl => $_) } 0, 1;
    my ($worker) = worker_pids($t);
    my $before = cpu($worker);
    sleep 0.5;
    cmp_ok(cpu($worker) - $before, '<', 10, "$method: nothing to do, nothing done");
    $_->disconnect for @idle;
    is_deeply([grep { !/tunnel-idle/ } guard_log($t, 'error')], [], "$method: nothing else to complain about");
    $t->stop();
}

# In hundredths of a second.
sub cpu {
    my ($pid) = @_;
    open my $stat, '<', "/proc/$pid/stat" or die "no process $pid\n";
    return eval { my @fields = split / /, <$stat>; $fields[13] + $fields[14] };
}
