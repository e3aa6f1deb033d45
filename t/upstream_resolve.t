#!/usr/bin/perl

# A server of an upstream block is resolved anew while nginx runs: `resolve`, in nginx from 1.27.3 on (before, in its
# commercial edition). Handshakes go to the addresses of now, failed ones are diagnosed with the address.

use strict;
use warnings;

use IO::Socket::INET;
use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy upstream_zone /);
my $knows = $t->has_version('1.27.3');

$t->write_file_expand('nginx.conf', my $conf = <<'EOC')->plan($knows ? 9 : 4);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    upstream moving {
        zone     moving 256k;
        resolver 127.0.0.1:%%PORT_8090_UDP%%;
        server   backend.example:%%PORT_8081%% resolve;
    }

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /on/ {
            websocket_guard on;
            proxy_pass      http://moving;
        }

        location /auto/ {
            websocket_guard auto;
            proxy_pass      http://moving;
        }
    }
}
EOC

if ($knows) {
    $t->write_file('address', '127.0.0.1');
    run_resolver();
    run_backend($t, 8081);
    $t->run();

    # nginx resolves it after its start.
    ok(wait_until(sub { websocket(path => '/on/')->status == 101 }, 20), 'the address is known');
    my %first = map { $_ => websocket(path => $_) } qw{ /on/ /auto/ };
    is($first{$_}->echo('hello'), 'hello', "$_: a tunnel") for sort keys %first;

    # Nobody is there.
    $t->write_file('address', '127.0.0.2');
    ok(wait_until(sub { websocket(path => '/on/')->status == 502 }, 20), 'the address changes');
    for my $path (qw{ /on/ /auto/ }) {
        is(outcome($t, path => $path), '502, [error] upgrade failed: no connection to backend 127.0.0.2:' . port(8081)
            . ' (111: Connection refused); start the backend, or correct the address in proxy_pass [backend-unreachable]', "$path: diagnosed");
        is($first{$path}->echo('again'), 'again', "$path: the open tunnel stays");
    }
    $t->write_file('address', '127.0.0.1');
    ok(wait_until(sub { websocket(path => '/auto/')->status == 101 }, 30), 'and back');
} else {
    my ($status, $output) = nginx_test($t, $t->read_file('nginx.conf'));
    isnt($status, 0, 'it is refused');
    like($output, qr/"resolver" directive is not allowed here/, 'because of the resolver');
    $t->write_file_expand('nginx.conf', $conf =~ s/^ *upstream .*?^    }//msr =~ s,http://moving,http://127.0.0.1:8081,gr);
    run_backend($t, 8081);
    $t->run();
    is(websocket(path => $_)->status, 101, "without it, $_") for qw{ /on/ /auto/ };
}

# Answers with the address in the file, good for a second.
sub run_resolver {
    my $socket = IO::Socket::INET->new(Proto => 'udp', LocalAddr => '127.0.0.1', LocalPort => port(8090, udp => 1))
        or die "udp: $!";
    $t->run_daemon(sub {
        while (defined $socket->recv(my $query, 65536)) {
            my ($id, $question) = unpack 'a2 x10 a*', $query;
            my ($type) = unpack 'n', substr $question, -4;
            my $address = IO::Socket::INET::inet_aton($t->read_file('address')) or next;
            my $answer = $type == 1 ? pack('n n n N n', 0xc00c, 1, 1, 1, 4) . $address : '';
            $socket->send($id . pack('n5', 0x8180, 1, $type == 1, 0, 0) . $question . $answer);
        }
    });
    close $socket;
}
