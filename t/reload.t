#!/usr/bin/perl

# Reload: an open tunnel goes on with what it started with, new ones have the new settings; a
# configuration that is refused changes nothing.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(34);

%%TEST_GLOBALS%%

daemon off;
worker_processes 2;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /limit/ {
            websocket_guard          auto;
            websocket_guard_timeout  1h;
            proxy_pass               http://127.0.0.1:8081;
        }

        location /mode/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /protocol/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }
    }
}
EOC

run_backend($t, 8081, handlers => {
    'chat' => sub { my ($c) = @_; $c->upgrade(upgrade => 'chat') && $c->echo },
});
$t->run();
my $conf = $t->read_file('nginx.conf');

my %old = map { $_ => websocket(path => "/$_/") } qw/ limit mode protocol /;
ok($old{$_}->is_open, "$_: open") for sort keys %old;

# New settings.

$t->write_file('nginx.conf', $conf
    =~ s/websocket_guard_timeout  1h/websocket_guard_timeout  1s/r
    =~ s/(mode.*?)websocket_guard  on/$1websocket_guard  off/sr
    =~ s/(protocol.*?websocket_guard  on;)/$1 websocket_guard_upgrade chat;/sr);
ok(reload($t), 'reload');
is(scalar(worker_pids($t)), 2, 'new workers');

my $new = websocket(path => '/limit/');
is($new->echo('hello'), 'hello', 'limit: a new tunnel');
ok($new->closed_within(3), 'limit: has the new limit');
is($old{limit}->echo('hello'), 'hello', 'limit: the old one has not');

is(websocket(path => '/mode/')->status, 200, 'mode: no new tunnels');
is($old{mode}->echo_bytes(1 << 20), 1 << 20, 'mode: the old one goes on');

is(websocket(path => '/protocol/')->status, 200, 'protocol: another one is allowed now');
is(websocket(path => '/protocol/chat', headers => ['Upgrade: chat'])->status, 101, 'protocol: this one');
is($old{protocol}->echo('hello'), 'hello', 'protocol: the old tunnel goes on');

# Refused configurations: an error of nginx, and some of the guard's own.

my %refused = (
    'an unknown directive'  => 'nonsense on;',
    'an unknown mode'       => 'websocket_guard maybe;',
    'no time'               => 'websocket_guard_timeout soon;',
    'an error behind'       => 'websocket_guard on; websocket_guard_upgrade websocket; proxy_read_timeout never;',
);
for my $name (sort keys %refused) {
    $t->write_file('nginx.conf', $conf =~ s/(location .mode)/location \/refused\/ { $refused{$name} }\n$1/r);
    my @workers = sort(worker_pids($t));
    ok(!reload($t), "$name: refused");
    is_deeply([sort(worker_pids($t))], \@workers, "$name: the workers stay");
    is($old{mode}->echo('hello'), 'hello', "$name: the old tunnel goes on");
}
is(websocket(path => '/mode/')->status, 200, 'the settings in force are still those of before');
is(websocket(path => '/protocol/chat', headers => ['Upgrade: chat'])->status, 101, 'all of them');

# Back, and at last the old workers may go.

$t->write_file('nginx.conf', $conf);
ok(reload($t), 'reload');
is(websocket(path => '/mode/')->echo('hello'), 'hello', 'the first settings again');
ok($old{$_}->close, "$_: closed") for sort keys %old;
ok(wait_until(sub { !worker_pids($t, old => 1) }), 'the old workers are gone');
is(join(' ', guard_findings($t, 'error', count => 3)), 'tunnel-idle wrong-location wrong-location', 'nothing but what failed');
