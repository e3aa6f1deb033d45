#!/usr/bin/perl

# No connection to the backend: nobody listens, no server of the upstream is left, its name does not
# resolve. One line says so, however many servers were tried; none does if one of them answered.

use strict;
use warnings;

use IO::Socket::INET;
use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy uwsgi rewrite upstream_zone unix /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(74);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    upstream dead {
        server 127.0.0.1:8089;
    }

    upstream both_dead {
        server 127.0.0.1:8089 max_fails=0;
        server 127.0.0.1:8088 max_fails=0 backup;
    }

    upstream first_dead {
        server 127.0.0.1:8089 max_fails=0;
        server 127.0.0.1:8081 backup;
    }

    upstream down {
        server 127.0.0.1:8081 down;
        server 127.0.0.1:8082 down;
    }

    upstream full {
        zone   full 128k;
        server 127.0.0.1:8081 max_conns=1;
    }

    upstream dead_then_full {
        zone   dead_then_full 128k;
        server 127.0.0.1:8089 max_fails=0;
        server 127.0.0.1:8081 max_conns=1 backup;
    }

    server {
        listen           127.0.0.1:8080;
        server_name      localhost;
        websocket_guard  on;
        include          locations.conf;
    }

    server {
        listen           127.0.0.1:8083;
        server_name      localhost;
        websocket_guard  auto;
        include          locations.conf;
    }

    server {
        listen              127.0.0.1:8084;
        server_name         localhost;
        proxy_http_version  1.1;
        proxy_set_header    Upgrade $http_upgrade;
        proxy_set_header    Connection upgrade;
        include             locations.conf;
    }

    server {
        listen           127.0.0.1:8085;
        server_name      localhost;
        websocket_guard  on;

        location / {
            set         $name known.example;
            proxy_pass  http://$name:%%PORT_8081%%;
        }
    }
}
EOC

$t->write_file_expand('locations.conf', <<'EOC');
resolver          127.0.0.1:%%PORT_8090_UDP%% ipv6=off;
resolver_timeout  1s;

location / {
    proxy_pass  http://127.0.0.1:8089;
}

location /socket {
    proxy_pass  http://unix:%%TESTDIR%%/nobody.sock;
}

location /upstream {
    proxy_pass  http://dead;
}

location /variable {
    set         $address 127.0.0.1:8089;
    proxy_pass  http://$address;
}

location /variable-upstream {
    set         $address dead;
    proxy_pass  http://$address;
}

location /uwsgi {
    uwsgi_pass  127.0.0.1:8089;
}

location /scgi {
    scgi_pass  127.0.0.1:8089;
}

location /both-dead {
    proxy_pass  http://both_dead;
}

location /first-dead {
    proxy_pass  http://first_dead;
}

location /down {
    proxy_pass  http://down;
}

location /full {
    proxy_pass  http://full;
}

location /dead-then-full {
    proxy_pass  http://dead_then_full;
}

location ~ ^/resolved/(?<name>.*) {
    proxy_pass  http://$name:%%PORT_8081%%;
}

location /invalid {
    set         $address "";
    proxy_pass  http://$address;
}
EOC

run_backend($t, 8081);
run_resolver();
$t->run();

my $unreachable = '[error] upgrade failed: no connection to %s; start the backend, or correct the address in proxy_pass '
    . '[backend-unreachable]';
my $refused = '(111: Connection refused)';
my $no_live = '[error] upgrade failed: no server of upstream "%s" is free or alive; see why its servers failed, or '
    . 'raise max_conns [backend-no-live]';
my $dns = q{[error] upgrade failed: the backend's name "%s" did not resolve; correct the name in proxy_pass, or the }
    . 'resolver directive [backend-dns]';

my ($first, $second) = map { 'backend 127.0.0.1:' . port($_) } 8089, 8088;
my @cases = (
    ['/',                   502, $unreachable, "$first $refused"],
    ['/socket',             502, $unreachable, 'backend unix:' . $t->testdir . '/nobody.sock (2: No such file or directory)'],
    ['/upstream',           502, $unreachable, "$first $refused"],
    ['/variable',           502, $unreachable, "$first $refused"],
    ['/variable-upstream',  502, $unreachable, "$first $refused"],
    ['/uwsgi',              502, $unreachable, "$first $refused"],
    ['/scgi',               502, $unreachable, "$first $refused"],
    ['/both-dead',          502, $unreachable, "$second $refused"],
    ['/invalid',            500, $unreachable, 'the backend'],
    ['/down',               502, $no_live, 'down'],
    ['/resolved/unknown.example', 502, $dns, 'unknown.example'],
    ['/resolved/silent.example',  502, $dns, 'silent.example'],
);

for my $port (8080, 8083, 8084) {
    my $server = { 8080 => 'on', 8083 => 'auto', 8084 => 'hand-made' }->{$port};

    for my $case (@cases) {
        my ($path, $status, $format, $value) = @$case;
        is(outcome($t, path => $path, port => $port), sprintf("$status, $format", $value), "$server, $path");
    }

    for my $path (qw{ /first-dead /full /dead-then-full /resolved/known.example }) {
        my $echo;
        is(outcome($t, sub { my $ws = websocket(path => $path, port => $port); $echo = $ws->echo('hello'); $ws }),
            101, "$server, $path, nothing to complain about");
        is($echo, 'hello', "$server, $path, a tunnel");
    }

    # A socket holds its place for life.
    for my $case (['/full', 'full'], ['/dead-then-full', 'dead_then_full']) {
        my ($path, $name) = @$case;
        my $holder = websocket(path => $path, port => $port);
        is(outcome($t, path => $path, port => $port), sprintf("502, $no_live", $name), "$server, $path, taken");
        is(outcome($t, sub {$holder}), 101, "$server, $path, its holder");
    }
}

is(outcome($t, port => 8085), sprintf("502, $dns", 'known.example'), 'no resolver');

is(outcome($t, sub { raw_request("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n") }), 502, 'a plain request');

# Answers for known.example with 127.0.0.1, for unknown.example that there is none, for others not at all.
sub run_resolver {
    my $socket = IO::Socket::INET->new(Proto => 'udp', LocalAddr => '127.0.0.1', LocalPort => port(8090, udp => 1))
        or die "udp: $!";
    $t->run_daemon(sub {
        while (defined $socket->recv(my $query, 65536)) {
            my ($id, $question) = unpack 'a2 x10 a*', $query;
            if ($question =~ /^\x05known\x07example\0/) {
                my $answer = pack 'n n n N n C4', 0xc00c, 1, 1, 60, 4, 127, 0, 0, 1;
                $socket->send($id . pack('n5', 0x8180, 1, 1, 0, 0) . $question . $answer);
            } elsif ($question =~ /^\x07unknown\x07example\0/) {
                $socket->send($id . pack('n5', 0x8183, 1, 0, 0, 0) . $question);
            }
        }
    });
    close $socket;
}
