#!/usr/bin/perl

# What the access log can tell of a tunnel: how it ended, the first Close, and what both sides sent.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(14);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    log_format  ends escape=none
                     '$request_uri "$websocket_guard_end" "$websocket_guard_close_code" "$websocket_guard_close_reason" '
                     '$websocket_guard_client_messages/$websocket_guard_client_bytes '
                     '$websocket_guard_backend_messages/$websocket_guard_backend_bytes';
    access_log  %%TESTDIR%%/ends.log ends;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /pump/ {
            websocket_guard         on;
            websocket_guard_tunnel  pump;
            websocket_guard_upgrade websocket foo;
            proxy_pass              http://127.0.0.1:8081;
        }

        location /native/ {
            websocket_guard         on;
            websocket_guard_tunnel  native;
            proxy_pass              http://127.0.0.1:8081;
        }

        location /by-hand/ {
            proxy_pass          http://127.0.0.1:8081;
            proxy_http_version  1.1;
            proxy_set_header    Upgrade $http_upgrade;
            proxy_set_header    Connection upgrade;
        }
    }
}
EOC

run_backend($t, 8081, handlers => {
    foo => sub { my ($c) = @_; $c->upgrade(upgrade => 'foo', accept => undef, bytes => 'neither frames'); $c->closed_within(10) },
});
$t->run();

my $ws = websocket(path => '/pump/echo', pipeline_message => 'early');
is($ws->recv, 'early', 'a message with the handshake');
is($ws->echo('x' x $_) , 'x' x $_, "$_ bytes") for 0, 1, 200, 70_000;
$ws->close(4711, "go\xc3\xb6d\"bye\n");
is(ended('echo'), '/pump/echo "client-close" "4711" "go\xC3\xB6d\x22bye\x0A" 5/70206 5/70206', 'the client closes');

websocket(path => '/pump/bye?4000,0.1')->recv;
is(ended('bye'), '/pump/bye?4000,0.1 "backend-close" "4000" "" 0/0 0/0', 'the backend closes');

$ws = websocket(path => '/pump/none');
$ws->send('', 'close');
$ws->closed_within(5);
$ws->disconnect;
is(ended('none'), '/pump/none "client-close" "1005" "" 0/0 0/0', 'a Close without a code');

# The backend's part of a message that does not end.
$ws = websocket(path => '/pump/greet?hello', pipeline => "\x01\x85abcd" . ('hello' ^ 'abcda'));
is($ws->read(14), "\x81\x05hello\x01\x05hello", 'half a message, and a whole one');
$ws->disconnect;
is(ended('greet'), '/pump/greet?hello "client-gone" "1001" "" 0/5 1/10', 'bytes of half a message');

# What only frames tell is empty where nobody looks at them.
for my $path (qw{ /native/ /by-hand/ }) {
    $ws = websocket(path => "${path}echo");
    $ws->echo('hello');
    $ws->close;
    is(ended("${path}echo"), qq{${path}echo "" "" "" / /}, $path);
}
$ws = websocket(path => '/pump/foo', headers => ['Upgrade: foo']);
is($ws->read(14), 'neither frames', 'another protocol');
$ws->disconnect;
is(ended('foo'), '/pump/foo "" "" "" / /', 'has none');

sub ended {
    my ($name) = @_;
    my $line;
    wait_until(sub { ($line) = $t->read_file('ends.log') =~ m!^(\S*$name.*)$!m });
    return $line // 'not ended';
}
